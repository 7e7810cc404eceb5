import {
  ChangeDetectionStrategy,
  Component,
  computed,
  effect,
  ElementRef,
  inject,
  input,
  signal,
} from '@angular/core';

import { I18n } from '../i18n/i18n';

const PULSE_MS = 1_200;
const PULSE_EVERY_MS = 300;

/** A number that pulses green when it changes. */
@Component({
  selector: 'cc-counter',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <p class="label">{{ label() }}</p>
    <p class="value">{{ shown() }}</p>
  `,
  styles: `
    :host {
      display: grid;
      gap: 0.1rem;
      padding: 0.7rem 0.9rem;
      border: 1px solid var(--line);
      border-radius: var(--radius);
      background: var(--panel);
      box-shadow: var(--shadow);
    }
    .label {
      font-size: 0.8125rem;
      color: var(--soft);
    }
    .value {
      font-size: 1.6rem;
      font-weight: 650;
      letter-spacing: -0.02em;
      font-variant-numeric: tabular-nums;
    }
    :host([data-tone='bad']) .value {
      color: var(--bad);
    }
  `,
  host: {
    role: 'group',
    '[attr.aria-label]': 'label()',
    '[attr.data-tone]': "tone() === 'bad' && value() > 0 ? 'bad' : null",
    '[attr.data-pulses]': 'pulses()',
  },
})
export class Counter {
  private readonly i18n = inject(I18n);
  private readonly host = inject<ElementRef<HTMLElement>>(ElementRef).nativeElement;

  readonly label = input.required<string>();
  readonly value = input.required<number>();
  readonly tone = input<'plain' | 'bad'>('plain');

  protected readonly shown = computed(() => this.i18n.number(this.value()));
  /** How often it has pulsed. */
  protected readonly pulses = signal(0);

  constructor() {
    let before: number | null = null;
    let pulsedAt = 0;
    effect(() => {
      const value = this.value();
      const changed = before !== null && before !== value;
      before = value;
      if (!changed || performance.now() - pulsedAt < PULSE_EVERY_MS) return;
      pulsedAt = performance.now();
      this.pulses.update((pulses) => pulses + 1);
      this.pulse();
    });
  }

  private pulse(): void {
    if (matchMedia('(prefers-reduced-motion: reduce)').matches) return;
    const style = getComputedStyle(this.host);
    this.host.animate(
      [
        { backgroundColor: style.getPropertyValue('--pulse'), borderColor: 'transparent' },
        { backgroundColor: style.getPropertyValue('--panel') },
      ],
      { duration: PULSE_MS, easing: 'ease-out' },
    );
  }
}
