import { ChangeDetectionStrategy, Component, computed, inject, input } from '@angular/core';

import type { MessageStatus } from '../core/model';
import { I18n } from '../i18n/i18n';
import { Icon, type IconName } from '../ui/icon';

const ICONS: Record<MessageStatus | 'sending' | 'unsent', IconName | null> = {
  received: null,
  sending: 'clock',
  queued: 'clock',
  sent: 'tick',
  delivered: 'ticks',
  read: 'ticks',
  failed: 'alert',
  unsent: 'alert',
};

/** How far an outbound message has come. */
@Component({
  selector: 'cc-status-tick',
  imports: [Icon],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    @if (icon(); as icon) {
      <cc-icon [name]="icon" />
      <span class="visually-hidden">{{ t().thread.statuses[status()] }}</span>
    }
  `,
  styles: `
    :host {
      display: inline-flex;
      flex: none;
      color: var(--soft);
      --icon-size: 1.05rem;
    }
    :host([data-status='read']) {
      color: var(--read-tick);
    }
    :host([data-status='failed']),
    :host([data-status='unsent']) {
      color: var(--bad);
    }
  `,
  host: { '[attr.data-status]': 'status()', '[title]': 't().thread.statuses[status()]' },
})
export class StatusTick {
  protected readonly t = inject(I18n).t;
  readonly status = input.required<MessageStatus | 'sending' | 'unsent'>();
  protected readonly icon = computed(() => ICONS[this.status()]);
}
