/** The texts and the ways to write times and numbers in the language that the reader chose. */
import { Injectable, computed, effect, inject } from '@angular/core';

import { Preferences } from '../core/preferences';
import { en } from './en';
import { es, type Texts } from './es';

const TEXTS: Record<'es' | 'en', Texts> = { es, en };
const MINUTE_MS = 60_000;

@Injectable({ providedIn: 'root' })
export class I18n {
  private readonly preferences = inject(Preferences);

  readonly language = this.preferences.language;
  readonly t = computed(() => TEXTS[this.language()]);

  private readonly formats = computed(() => {
    const language = this.language();
    const format = (options: Intl.DateTimeFormatOptions) =>
      new Intl.DateTimeFormat(language, options);
    return {
      number: new Intl.NumberFormat(language),
      percent: new Intl.NumberFormat(language, { style: 'percent', maximumFractionDigits: 1 }),
      time: format({ hour: '2-digit', minute: '2-digit' }),
      day: format({ day: 'numeric', month: 'short' }),
      longDay: format({ weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' }),
      dateTime: format({ day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' }),
    };
  });

  constructor() {
    effect(() => document.documentElement.setAttribute('lang', this.language()));
  }

  number(value: number): string {
    return this.formats().number.format(value);
  }

  percent(share: number): string {
    return this.formats().percent.format(share);
  }

  time(at: string): string {
    return this.formats().time.format(new Date(at));
  }

  dateTime(at: string): string {
    return this.formats().dateTime.format(new Date(at));
  }

  day(at: string): string {
    return this.formats().day.format(new Date(at));
  }

  /** As clocks and calendars of another time zone write it. */
  inZone(timeZone: string) {
    const language = this.language();
    const writer = (options: Intl.DateTimeFormatOptions) => {
      const format = new Intl.DateTimeFormat(language, { ...options, timeZone });
      return (at: string) => format.format(new Date(at));
    };
    return {
      time: writer({ hour: '2-digit', minute: '2-digit' }),
      day: writer({ day: 'numeric', month: 'short' }),
      dateTime: writer({ day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' }),
    };
  }

  /** The time of today, the day of what is older. */
  timeOrDay(at: string): string {
    return isSameDay(new Date(at), new Date()) ? this.time(at) : this.day(at);
  }

  /** A heading for a day: «Hoy», «Ayer», or the date. */
  dayHeading(at: string): string {
    const [day, today] = [new Date(at), new Date()];
    if (isSameDay(day, today)) return this.t().thread.today;
    const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
    if (isSameDay(day, yesterday)) return this.t().thread.yesterday;
    return this.formats().longDay.format(day);
  }

  /** A span of time with its two largest units: «3 h 20 min». */
  span(milliseconds: number): string {
    if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`;
    if (milliseconds < MINUTE_MS) return `${Math.round(milliseconds / 1_000)} s`;
    const minutes = Math.floor(milliseconds / MINUTE_MS);
    const seconds = Math.floor((milliseconds % MINUTE_MS) / 1_000);
    if (minutes < 60)
      return seconds > 0 && minutes < 10 ? `${minutes} min ${seconds} s` : `${minutes} min`;
    const hours = Math.floor(minutes / 60);
    return minutes % 60 > 0 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  }
}

export function isSameDay(a: Date, b: Date): boolean {
  return a.toDateString() === b.toDateString();
}
