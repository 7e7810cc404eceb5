/** Short notices on the page, and on the desktop while the page is not looked at. */
import { Injectable, inject, signal } from '@angular/core';

import { Preferences } from './preferences';

const SHOWN_MAX = 4;
const SHOWN_MS = 7_000;

export interface Notice {
  readonly id: number;
  readonly tone: 'good' | 'bad' | 'plain';
  readonly text: string;
}

@Injectable({ providedIn: 'root' })
export class Notices {
  private readonly preferences = inject(Preferences);
  private readonly list = signal<readonly Notice[]>([]);
  private nextId = 1;

  readonly shown = this.list.asReadonly();

  show(tone: Notice['tone'], text: string): void {
    const notice = { id: this.nextId++, tone, text };
    this.list.update((list) => [...list, notice].slice(-SHOWN_MAX));
    if (tone !== 'bad') setTimeout(() => this.dismiss(notice.id), SHOWN_MS);
  }

  dismiss(id: number): void {
    this.list.update((list) => list.filter((notice) => notice.id !== id));
  }

  /** One `tag`, one notice, however many tabs are open. */
  onDesktop(title: string, text: string, tag: string): void {
    if (!this.preferences.desktopNotices() || !document.hidden) return;
    if (!('Notification' in window) || Notification.permission !== 'granted') return;
    const body = this.preferences.noticesWithText() ? text : undefined;
    const notice = new Notification(title, { body, tag, icon: 'favicon.svg' });
    notice.onclick = () => {
      window.focus();
      notice.close();
    };
  }

  async allowOnDesktop(): Promise<boolean> {
    if (!('Notification' in window)) return false;
    return (await Notification.requestPermission()) === 'granted';
  }
}
