import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';

const HUES = 8;

/** The initials on one of a few calm grounds. */
@Component({
  selector: 'cc-avatar',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `{{ initials() }}`,
  styles: `
    :host {
      display: inline-grid;
      place-items: center;
      flex: none;
      width: 2.75rem;
      height: 2.75rem;
      border-radius: 50%;
      background: light-dark(hsl(var(--hue) 38% 88%), hsl(var(--hue) 28% 24%));
      color: light-dark(hsl(var(--hue) 60% 24%), hsl(var(--hue) 55% 82%));
      font-size: 0.9375rem;
      font-weight: 600;
      user-select: none;
    }
  `,
  host: { 'aria-hidden': 'true', '[style.--hue]': 'hue()' },
})
export class Avatar {
  readonly name = input.required<string>();
  readonly seed = input(0);

  protected readonly hue = computed(() => 150 + ((this.seed() * 5) % HUES) * (360 / HUES));
  protected readonly initials = computed(() => {
    const words = this.name().split(/\s+/u);
    const letters = words.map((word) => /\p{L}/u.exec(word)?.[0]).filter((letter) => !!letter);
    if (letters.length === 0) return '#';
    return (letters[0]! + (letters.length > 1 ? letters.at(-1)! : '')).toUpperCase();
  });
}
