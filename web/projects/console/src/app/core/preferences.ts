/** What the reader chose; it is kept in this browser. */
import { Injectable, computed, effect, signal } from '@angular/core';

export const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];
export const LANGUAGES = ['es', 'en'] as const;
export type Language = (typeof LANGUAGES)[number];

@Injectable({ providedIn: 'root' })
export class Preferences {
  readonly language = signal<Language>(oneOf(LANGUAGES, read('language')) ?? 'es');
  readonly theme = signal<Theme>(oneOf(THEMES, read('theme')) ?? 'system');
  readonly desktopNotices = signal(read('desktop-notices') === 'on');
  /** Whether desktop notices may show what a message says: others may see the screen. */
  readonly noticesWithText = signal(read('notices-with-text') === 'on');

  private readonly systemIsDark = signal(false);
  readonly isDark = computed(() =>
    this.theme() === 'system' ? this.systemIsDark() : this.theme() === 'dark',
  );

  constructor() {
    const dark = window.matchMedia('(prefers-color-scheme: dark)');
    this.systemIsDark.set(dark.matches);
    dark.addEventListener('change', ({ matches }) => this.systemIsDark.set(matches));
    effect(() => {
      document.documentElement.setAttribute('data-theme', this.isDark() ? 'dark' : 'light');
    });
    effect(() => write('language', this.language()));
    effect(() => write('theme', this.theme()));
    effect(() => write('desktop-notices', this.desktopNotices() ? 'on' : 'off'));
    effect(() => write('notices-with-text', this.noticesWithText() ? 'on' : 'off'));
  }
}

function oneOf<T extends string>(known: readonly T[], value: string | null): T | undefined {
  return known.find((one) => one === value);
}

function read(name: string): string | null {
  return localStorage.getItem(`condorito.${name}`);
}

function write(name: string, value: string): void {
  localStorage.setItem(`condorito.${name}`, value);
}
