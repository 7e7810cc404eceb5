import {
  ChangeDetectionStrategy,
  Component,
  computed,
  effect,
  inject,
  input,
  output,
  signal,
} from '@angular/core';

import type { NewBulk } from '../core/model';
import {
  componentsFor,
  filledText,
  keyOf,
  variablesOf,
  type Variable,
} from '../core/template-text';
import { I18n } from '../i18n/i18n';
import { isApproved, TemplateStore } from '../state/template-store';

const PLACEHOLDER = /\{\{\s*([^{}]+?)\s*\}\}/g;
const FIXED = 'fixed';

/** What is sent to all: the part of the bulk, and which columns each recipient must have. */
export interface Content {
  readonly body: Pick<NewBulk, 'text' | 'template'>;
  readonly needed: readonly string[];
}

interface Source {
  /** A column, or `FIXED`. */
  readonly from: string;
  readonly text: string;
}

@Component({
  selector: 'cc-bulk-content',
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './bulk-content.html',
  styles: `
    section {
      display: grid;
      grid-template-columns: minmax(0, 1fr);
      gap: 0.9rem;
    }
    .kinds {
      display: flex;
      gap: 1.25rem;
    }
    .source {
      display: grid;
      grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr));
      gap: 0.4rem;
    }
    figure p {
      width: fit-content;
      max-width: 34rem;
      margin-top: 0.25rem;
      padding: 0.6rem 0.8rem;
      border-radius: 14px 4px 14px 14px;
      background: var(--bubble-out);
      white-space: pre-wrap;
      overflow-wrap: anywhere;
    }
  `,
})
export class BulkContent {
  protected readonly store = inject(TemplateStore);
  protected readonly t = inject(I18n).t;

  /** What can be filled in, by the names of placeholders. */
  readonly columns = input.required<readonly string[]>();
  /** The first recipient's values. */
  readonly sample = input.required<ReadonlyMap<string, string>>();
  readonly changed = output<Content | null>();

  protected readonly fixed = FIXED;
  protected readonly keyOf = keyOf;
  protected readonly kind = signal<'template' | 'text'>('template');
  protected readonly text = signal('');
  protected readonly index = signal(0);
  private readonly sources = signal<ReadonlyMap<string, Source>>(new Map());

  protected readonly templates = computed(() => this.store.templates()?.filter(isApproved) ?? []);
  protected readonly template = computed(() => this.templates()[this.index()] ?? null);
  protected readonly variables = computed(() => {
    const template = this.template();
    return template ? variablesOf(template) : [];
  });
  /** As chosen; else the column of the variable's name, or the one that stands at its place. */
  protected readonly chosen = computed(() => {
    const columns = this.columns();
    const others = columns.filter((column) => column !== 'phone');
    return this.variables().map((variable, place) => {
      const guess = columns.includes(variable.name) ? variable.name : (others[place] ?? FIXED);
      const source = this.sources().get(keyOf(variable)) ?? { from: guess, text: '' };
      return { variable, source };
    });
  });
  private readonly content = computed<Content | null>(() =>
    this.kind() === 'text' ? this.textContent() : this.templateContent(),
  );
  protected readonly preview = computed(() => {
    const sample = this.sample();
    const fill = (text: string) =>
      text.replace(PLACEHOLDER, (whole, name: string) => sample.get(name) || whole);
    if (this.kind() === 'text') return fill(this.text());
    const template = this.template();
    if (!template) return '';
    const values = [...this.values()].map(([key, value]) => [key, fill(value)] as const);
    return filledText(template, new Map(values));
  });

  constructor() {
    this.store.load();
    effect(() => this.changed.emit(this.content()));
  }

  protected choose(index: number): void {
    this.index.set(index);
    this.sources.set(new Map());
  }

  protected setSource(variable: Variable, source: Source): void {
    this.sources.update((sources) => new Map(sources).set(keyOf(variable), source));
  }

  private values(): Map<string, string> {
    return new Map(
      this.chosen().map(({ variable, source }) => [
        keyOf(variable),
        source.from === FIXED ? source.text : `{{${source.from}}}`,
      ]),
    );
  }

  private templateContent(): Content | null {
    const template = this.template();
    const values = this.values();
    if (!template || [...values.values()].some((value) => value.trim() === '')) return null;
    const { name, language } = template;
    const components = componentsFor(template, values);
    const needed = this.chosen().flatMap(({ source }) =>
      source.from === FIXED || source.from === 'phone' ? [] : [source.from],
    );
    return { body: { template: { name, language, components } }, needed };
  }

  private textContent(): Content | null {
    const text = this.text().trim();
    if (text === '') return null;
    const named = [...text.matchAll(PLACEHOLDER)].map(([, name]) => name);
    return { body: { text }, needed: named.filter((name) => name !== 'phone') };
  }
}
