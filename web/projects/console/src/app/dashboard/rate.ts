import { ChangeDetectionStrategy, Component, computed, inject, input } from '@angular/core';

import { I18n } from '../i18n/i18n';

/** A share of a whole, as a number and as a bar. */
@Component({
  selector: 'cc-rate',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <p>
      <span class="soft">{{ label() }}</span>
      <strong>{{ text() }}</strong>
    </p>
    <div class="bar" aria-hidden="true"><i [style.transform]="'scaleX(' + rate() + ')'"></i></div>
  `,
  styles: `
    :host {
      display: grid;
      gap: 0.35rem;
    }
    p {
      display: flex;
      justify-content: space-between;
      align-items: baseline;
    }
    strong {
      font-size: 1.125rem;
      font-variant-numeric: tabular-nums;
    }
    .bar {
      height: 0.5rem;
      border-radius: 99px;
      background: var(--sunken);
      overflow: hidden;
    }
    i {
      display: block;
      height: 100%;
      border-radius: 99px;
      background: var(--accent);
      transform-origin: left;
      transition: transform var(--slow) var(--ease);
    }
  `,
})
export class Rate {
  private readonly i18n = inject(I18n);
  readonly label = input.required<string>();
  readonly rate = input.required<number>();
  protected readonly text = computed(() => this.i18n.percent(this.rate()));
}
