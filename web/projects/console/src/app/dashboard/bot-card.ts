import { ChangeDetectionStrategy, Component, computed, inject, signal } from '@angular/core';

import { Api } from '../core/api';
import { ProblemText } from '../core/problem-text';
import { I18n } from '../i18n/i18n';
import { OverviewStore } from '../state/overview-store';

@Component({
  selector: 'cc-bot-card',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <section class="card">
      <h2>{{ t().dashboard.bot }}</h2>
      @if (bot(); as bot) {
        <p>
          <span class="chip" [class]="tone()">{{ t().dashboard.botStatuses[bot.status] }}</span>
        </p>
        <button
          type="button"
          class="switch"
          role="switch"
          [attr.aria-checked]="bot.status === 'active'"
          [disabled]="busy()"
          (click)="toggle()"
        >
          {{ t().dashboard.botActive }}
        </button>
        @if (bot.reason) {
          <p class="small">{{ bot.reason }}</p>
        }
        @if (bot.changed_by; as who) {
          <p class="small soft">
            {{ t().dashboard.changedBy(who, i18n.dateTime(bot.changed_at)) }}
          </p>
        }
      } @else {
        <p class="soft">{{ t().app.loading }}</p>
      }
      @if (problem(); as problem) {
        <p class="problem" role="alert">{{ problem }}</p>
      }
    </section>
  `,
  styles: `
    section {
      display: grid;
      align-content: start;
      justify-items: start;
      gap: 0.6rem;
      height: 100%;
    }
  `,
})
export class BotCard {
  private readonly api = inject(Api);
  private readonly problems = inject(ProblemText);
  protected readonly i18n = inject(I18n);
  protected readonly t = this.i18n.t;
  protected readonly bot = inject(OverviewStore).bot;

  protected readonly busy = signal(false);
  protected readonly problem = signal<string | null>(null);
  protected readonly tone = computed(() => {
    const tones = { active: 'good', paused: 'warn', error: 'bad', offline: '' };
    return tones[this.bot()?.status ?? 'offline'];
  });

  /** The switch moves when the event comes back: it shows what is, for everybody. */
  protected async toggle(): Promise<void> {
    this.busy.set(true);
    this.problem.set(null);
    try {
      await this.api.setBot(this.bot()?.status === 'active' ? 'paused' : 'active');
    } catch (failure) {
      this.problem.set(this.problems.of(failure));
    } finally {
      this.busy.set(false);
    }
  }
}
