import {
  ChangeDetectionStrategy,
  Component,
  computed,
  effect,
  inject,
  signal,
  untracked,
} from '@angular/core';
import { WhatsAppRealtimeService, type ConnectionStatus } from '@condorito/realtime';

import { Notices } from '../core/notices';
import { I18n } from '../i18n/i18n';
import { Feed } from '../state/feed';
import { Dismiss } from '../ui/dismiss';
import { now } from '../ui/now';

/** Whether what the page shows is live, and by which way; the details on click. */
@Component({
  selector: 'cc-connection-indicator',
  imports: [Dismiss],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <div class="menu" (ccDismiss)="open.set(false)">
      <button
        type="button"
        class="indicator"
        [attr.data-level]="level()"
        [attr.aria-expanded]="open()"
        (click)="open.set(!open())"
      >
        <i aria-hidden="true"></i>
        <span role="status">{{ label() }}</span>
      </button>
      @if (open()) {
        <div class="panel" role="dialog" [attr.aria-label]="t().connection.title">
          <dl>
            <dt>{{ t().connection.transport }}</dt>
            <dd>{{ transport() }}</dd>
            <dt>{{ t().connection.lag }}</dt>
            <dd>{{ lag() }}</dd>
            <dt>{{ t().connection.cursorAge }}</dt>
            <dd>{{ cursorAge() }}</dd>
            <dt>{{ t().connection.cursor }}</dt>
            <dd class="mono">{{ status().cursor ?? '-' }}</dd>
            <dt>{{ t().connection.leader }}</dt>
            <dd>{{ status().role === 'follower' ? t().connection.shared : t().connection.own }}</dd>
            <dt>{{ t().connection.lastError }}</dt>
            <dd>{{ lastError() }}</dd>
          </dl>
        </div>
      }
    </div>
  `,
  styles: `
    .menu {
      position: relative;
    }
    .indicator {
      display: inline-flex;
      align-items: center;
      gap: 0.5rem;
      min-height: 2.25rem;
      padding: 0.2rem 0.75rem;
      border: 1px solid var(--line);
      border-radius: 99px;
      background: var(--panel);
      font-size: 0.8125rem;
      font-weight: 550;
      color: var(--colour);
      --colour: var(--grey);
    }
    .indicator:hover {
      background: var(--hover);
    }
    i {
      width: 0.6rem;
      height: 0.6rem;
      border-radius: 50%;
      background: currentColor;
    }
    [data-level='live'] {
      --colour: var(--good);
    }
    [data-level='connecting'] {
      --colour: var(--warn);
    }
    [data-level='error'] {
      --colour: var(--bad);
    }
    [data-level='connecting'] i {
      animation: breathe 1.1s ease-in-out infinite alternate;
    }
    @keyframes breathe {
      to {
        opacity: 0.25;
      }
    }
    .panel {
      position: absolute;
      z-index: 20;
      top: calc(100% + 0.4rem);
      right: 0;
      width: min(24rem, calc(100vw - 1.5rem));
      padding: 1rem;
      border: 1px solid var(--line);
      border-radius: var(--radius);
      background: var(--raised);
      box-shadow: var(--shadow-high);
    }
    dl {
      display: grid;
      grid-template-columns: auto minmax(0, 1fr);
      gap: 0.35rem 1rem;
      font-size: 0.8125rem;
    }
    dt {
      color: var(--soft);
    }
    dd {
      overflow-wrap: anywhere;
    }
    @media (max-width: 46rem) {
      .indicator span {
        max-width: 9rem;
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .panel {
        right: -3rem;
      }
    }
  `,
})
export class ConnectionIndicator {
  private readonly i18n = inject(I18n);
  private readonly feed = inject(Feed);
  private readonly notices = inject(Notices);
  private readonly now = now();
  protected readonly t = this.i18n.t;
  protected readonly status = inject(WhatsAppRealtimeService).indicator;
  protected readonly level = computed(() => this.status().level);
  protected readonly open = signal(false);

  protected readonly label = computed(() => {
    const texts = this.t().connection;
    const labels: Record<ConnectionStatus['level'], string> = {
      live: texts.connected,
      connecting: texts.connecting,
      error: texts.error,
      polling: texts.polling,
      off: texts.disconnected,
    };
    return labels[this.level()];
  });

  protected readonly transport = computed(() => {
    const { transport } = this.status();
    const texts = this.t().connection;
    return transport === null ? texts.none : texts.transports[transport];
  });

  protected readonly lag = computed(() => {
    const lag = this.feed.lagMs();
    return lag === null ? '-' : this.i18n.span(lag);
  });

  protected readonly cursorAge = computed(() => {
    const { cursorMovedAt } = this.status();
    return cursorMovedAt === null ? '-' : this.i18n.span(Math.max(0, this.now() - cursorMovedAt));
  });

  protected readonly lastError = computed(() => {
    const { lastError } = this.status();
    if (lastError === null) return this.t().connection.noError;
    const at = new Date(lastError.at).toISOString();
    return `${lastError.code}: ${lastError.message} (${this.i18n.time(at)})`;
  });

  constructor() {
    let wasBroken = false;
    effect(() => {
      const level = this.level();
      if (level === 'error') wasBroken = true;
      if (level !== 'live' || !wasBroken) return;
      wasBroken = false;
      untracked(() => this.notices.show('good', this.t().connection.caughtUp));
    });
  }
}
