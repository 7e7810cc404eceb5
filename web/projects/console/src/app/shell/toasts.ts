import { ChangeDetectionStrategy, Component, inject } from '@angular/core';

import { Notices } from '../core/notices';
import { I18n } from '../i18n/i18n';
import { Icon } from '../ui/icon';

@Component({
  selector: 'cc-toasts',
  imports: [Icon],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <ul aria-live="polite">
      @for (notice of notices.shown(); track notice.id) {
        <li [attr.data-tone]="notice.tone">
          <span>{{ notice.text }}</span>
          <button
            type="button"
            class="icon-button"
            [attr.aria-label]="t().notices.dismiss"
            (click)="notices.dismiss(notice.id)"
          >
            <cc-icon name="close" />
          </button>
        </li>
      }
    </ul>
  `,
  styles: `
    ul {
      position: fixed;
      z-index: 40;
      right: 1rem;
      bottom: 1rem;
      display: grid;
      gap: 0.5rem;
      width: min(24rem, calc(100vw - 2rem));
      pointer-events: none;
    }
    li {
      display: flex;
      align-items: center;
      justify-content: space-between;
      gap: 0.5rem;
      padding: 0.4rem 0.4rem 0.4rem 0.9rem;
      border: 1px solid var(--line);
      border-left: 4px solid var(--grey);
      border-radius: var(--radius-small);
      background: var(--raised);
      box-shadow: var(--shadow-high);
      pointer-events: auto;
      overflow-wrap: anywhere;
      animation: rise var(--slow) var(--ease);
    }
    [data-tone='good'] {
      border-left-color: var(--good);
    }
    [data-tone='bad'] {
      border-left-color: var(--bad);
    }
    @keyframes rise {
      from {
        opacity: 0;
        transform: translateY(12px);
      }
    }
    @media (max-width: 46rem) {
      ul {
        bottom: calc(4.25rem + env(safe-area-inset-bottom));
      }
    }
  `,
})
export class Toasts {
  protected readonly notices = inject(Notices);
  protected readonly t = inject(I18n).t;
}
