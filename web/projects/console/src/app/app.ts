import { ChangeDetectionStrategy, Component, computed, effect, inject } from '@angular/core';
import { RouterLink, RouterLinkActive, RouterOutlet } from '@angular/router';

import { Session } from './core/session';
import { I18n } from './i18n/i18n';
import { Brand } from './shell/brand';
import { ConnectionIndicator } from './shell/connection-indicator';
import { PreferencesMenu } from './shell/preferences-menu';
import { SignInForm } from './shell/sign-in-form';
import { SignInPage } from './shell/sign-in-page';
import { Toasts } from './shell/toasts';
import { Feed } from './state/feed';
import { OverviewStore } from './state/overview-store';
import { Icon } from './ui/icon';
import { Modal } from './ui/modal';

@Component({
  selector: 'cc-root',
  imports: [
    Brand,
    ConnectionIndicator,
    Icon,
    Modal,
    PreferencesMenu,
    RouterLink,
    RouterLinkActive,
    RouterOutlet,
    SignInForm,
    SignInPage,
    Toasts,
  ],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './app.html',
  styleUrl: './app.css',
})
export class App {
  protected readonly t = inject(I18n).t;
  protected readonly session = inject(Session);
  private readonly feed = inject(Feed);
  private readonly overview = inject(OverviewStore);

  protected readonly unread = computed(() => this.overview.stats()?.conversations.unread ?? 0);
  protected readonly sections = [
    { path: '/chat', icon: 'chat', name: 'chat' },
    { path: '/dashboard', icon: 'dashboard', name: 'dashboard' },
    { path: '/bulk', icon: 'bulk', name: 'bulk' },
  ] as const;

  constructor() {
    effect(() => {
      if (this.session.token() !== null) this.feed.start();
    });
    effect(() => {
      const unread = this.unread();
      document.title = unread > 0 ? `(${unread}) Condorito Realtime` : 'Condorito Realtime';
    });
  }

  protected skipTo(event: Event, main: HTMLElement): void {
    event.preventDefault();
    main.focus();
  }
}
