import {
  ChangeDetectionStrategy,
  Component,
  computed,
  inject,
  input,
  output,
  signal,
} from '@angular/core';

import type { Template } from '../core/model';
import { filledText, keyOf, variablesOf } from '../core/template-text';
import { I18n } from '../i18n/i18n';
import { isApproved, TemplateStore } from '../state/template-store';
import { Modal } from '../ui/modal';

/** Chooses a template, fills it, and shows how it will read. */
@Component({
  selector: 'cc-template-picker',
  imports: [Modal],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <cc-modal
      [heading]="t().composer.template"
      [closeLabel]="t().app.close"
      (dismissed)="dismissed.emit()"
    >
      @if (store.problem(); as problem) {
        <p class="problem" role="alert">
          {{ problem }}
          <button type="button" class="link-button" (click)="store.load()">
            {{ t().app.retry }}
          </button>
        </p>
      } @else if (templates() === null) {
        <p class="soft" role="status">{{ t().app.loading }}</p>
      } @else if (templates()!.length === 0) {
        <p class="soft">{{ t().composer.noTemplates }}</p>
      } @else {
        <form (submit)="submit($event)">
          <div class="field">
            <label for="template">{{ t().composer.chooseTemplate }}</label>
            <select #box id="template" (change)="choose(box.selectedIndex)">
              @for (one of templates(); track one.name + one.language) {
                <option>{{ one.name }} ({{ one.language }})</option>
              }
            </select>
          </div>
          @for (variable of variables(); track key(variable)) {
            <div class="field">
              <label [for]="'value-' + key(variable)">
                {{ t().composer.parameter(variable.name) }}
              </label>
              <input
                #value
                type="text"
                required
                maxlength="1024"
                [id]="'value-' + key(variable)"
                [value]="values().get(key(variable)) ?? ''"
                (input)="set(key(variable), value.value)"
              />
            </div>
          }
          <figure>
            <figcaption class="small soft">{{ t().composer.preview }}</figcaption>
            <p>{{ preview() }}</p>
          </figure>
          <button class="button primary" [disabled]="!isFilled()">
            {{ t().composer.sendTemplate }}
          </button>
        </form>
      }
    </cc-modal>
  `,
  styles: `
    form {
      display: grid;
      gap: 0.8rem;
    }
    figure p {
      margin-top: 0.25rem;
      padding: 0.6rem 0.8rem;
      border-radius: 14px 4px 14px 14px;
      background: var(--bubble-out);
      white-space: pre-wrap;
      overflow-wrap: anywhere;
    }
  `,
})
export class TemplatePicker {
  protected readonly store = inject(TemplateStore);
  protected readonly t = inject(I18n).t;

  /** A first guess for the first variable. */
  readonly contactName = input<string | null>(null);
  readonly chosen = output<{ template: Template; values: ReadonlyMap<string, string> }>();
  readonly dismissed = output<void>();

  protected readonly key = keyOf;
  protected readonly templates = computed(() => this.store.templates()?.filter(isApproved) ?? null);
  private readonly index = signal(0);
  private readonly given = signal<ReadonlyMap<string, string>>(new Map());

  private readonly template = computed(() => this.templates()?.[this.index()] ?? null);
  protected readonly variables = computed(() => {
    const template = this.template();
    return template ? variablesOf(template) : [];
  });
  protected readonly values = computed<ReadonlyMap<string, string>>(() => {
    const values = new Map(this.given());
    const [first] = this.variables();
    const name = this.contactName();
    if (first && name !== null && !values.has(keyOf(first))) values.set(keyOf(first), name);
    return values;
  });
  protected readonly preview = computed(() => {
    const template = this.template();
    return template ? filledText(template, this.values()) : '';
  });
  protected readonly isFilled = computed(() =>
    this.variables().every((variable) => !!this.values().get(keyOf(variable))?.trim()),
  );

  constructor() {
    this.store.load();
  }

  protected choose(index: number): void {
    this.index.set(index);
    this.given.set(new Map());
  }

  protected set(key: string, value: string): void {
    this.given.update((given) => new Map(given).set(key, value));
  }

  protected submit(event: Event): void {
    event.preventDefault();
    const template = this.template();
    if (template) this.chosen.emit({ template, values: this.values() });
  }
}
