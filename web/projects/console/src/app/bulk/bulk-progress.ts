import { ChangeDetectionStrategy, Component, computed, inject, input } from '@angular/core';

import type { Bulk } from '../core/model';
import { I18n } from '../i18n/i18n';
import { doneOf } from '../state/bulk-list';

/** How far a bulk has come, as a bar of what became of its messages. */
@Component({
  selector: 'cc-bulk-progress',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <div
      class="bar"
      role="progressbar"
      aria-valuemin="0"
      [attr.aria-valuemax]="bulk().total"
      [attr.aria-valuenow]="done()"
      [attr.aria-label]="t().bulk.progress"
      [attr.aria-valuetext]="text()"
      [class.running]="bulk().status === 'running'"
    >
      @for (part of parts(); track part.name) {
        <i [attr.data-part]="part.name" [style.width.%]="part.percent"></i>
      }
    </div>
    <p class="small">
      <strong>{{ text() }}</strong>
      <span class="soft">{{ percent() }}</span>
    </p>
  `,
  styles: `
    :host {
      display: grid;
      gap: 0.35rem;
    }
    .bar {
      display: flex;
      height: 0.7rem;
      border-radius: 99px;
      background: var(--sunken);
      overflow: hidden;
    }
    i {
      flex: none;
      height: 100%;
      background: var(--accent);
      transition: width 400ms var(--ease);
    }
    [data-part='read'] {
      background: var(--chart-read);
    }
    [data-part='delivered'] {
      background: var(--chart-delivered);
    }
    [data-part='sent'] {
      background: var(--chart-sent);
    }
    [data-part='failed'] {
      background: var(--chart-failed);
    }
    [data-part='in_doubt'] {
      background: var(--grey);
    }
    .running i {
      background-image: linear-gradient(
        115deg,
        rgb(255 255 255 / 0.22) 25%,
        transparent 25% 50%,
        rgb(255 255 255 / 0.22) 50% 75%,
        transparent 75%
      );
      background-size: 1.5rem 100%;
      animation: run 0.9s linear infinite;
    }
    @keyframes run {
      to {
        background-position-x: 1.5rem;
      }
    }
    p {
      display: flex;
      justify-content: space-between;
      font-variant-numeric: tabular-nums;
    }
  `,
})
export class BulkProgress {
  private readonly i18n = inject(I18n);
  protected readonly t = this.i18n.t;
  readonly bulk = input.required<Bulk>();

  protected readonly done = computed(() => doneOf(this.bulk()));
  protected readonly text = computed(() => {
    const [done, total] = [this.done(), this.bulk().total].map((n) => this.i18n.number(n));
    return this.t().bulk.progressOf(done, total);
  });
  protected readonly percent = computed(() => {
    const { total } = this.bulk();
    return this.i18n.percent(total === 0 ? 0 : this.done() / total);
  });
  /** Those read were delivered, and those delivered were sent: each stands once here. */
  protected readonly parts = computed(() => {
    const { total, sent, delivered, read, failed, in_doubt } = this.bulk();
    const counts = {
      read,
      delivered: Math.max(0, delivered - read),
      sent: Math.max(0, sent - delivered),
      failed,
      in_doubt,
    };
    return Object.entries(counts).map(([name, count]) => ({
      name,
      percent: total === 0 ? 0 : (100 * count) / total,
    }));
  });
}
