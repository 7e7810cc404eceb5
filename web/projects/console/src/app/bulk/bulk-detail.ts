import {
  ChangeDetectionStrategy,
  Component,
  computed,
  DestroyRef,
  effect,
  inject,
  input,
  signal,
  untracked,
} from '@angular/core';
import { RouterLink } from '@angular/router';

import { ProblemText } from '../core/problem-text';
import { I18n } from '../i18n/i18n';
import { isActive } from '../state/bulk-list';
import { BulkStore } from '../state/bulk-store';
import { ConversationStore } from '../state/conversation-store';
import { Icon } from '../ui/icon';
import { BulkProgress } from './bulk-progress';
import { BulkResults } from './bulk-results';
import { BulkStatus } from './bulk-status';

const COUNTS = ['sent', 'delivered', 'read', 'failed', 'in_doubt', 'waiting', 'left_out'] as const;
/** What events do not tell: that somebody else paused it, and how deliveries go on after its end. */
const READ_EVERY_MS = 3_000;

@Component({
  selector: 'cc-bulk-detail',
  imports: [BulkProgress, BulkResults, BulkStatus, Icon, RouterLink],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './bulk-detail.html',
  styleUrl: './bulk-detail.css',
})
export class BulkDetail {
  private readonly store = inject(BulkStore);
  private readonly conversations = inject(ConversationStore);
  private readonly problems = inject(ProblemText);
  protected readonly i18n = inject(I18n);
  protected readonly t = this.i18n.t;

  /** From the address. */
  readonly id = input.required<string>();
  protected readonly busy = signal(false);
  protected readonly problem = signal<string | null>(null);

  protected readonly bulk = computed(() => {
    this.store.bulks();
    return this.store.get(this.id());
  });
  protected readonly active = computed(() => {
    const bulk = this.bulk();
    return bulk !== undefined && isActive(bulk);
  });
  protected readonly current = computed(() => {
    const number = this.bulk()?.currentConversation ?? null;
    if (number === null) return null;
    this.conversations.conversations();
    const contact = this.conversations.get(number)?.contact;
    return { number, name: contact?.name ?? contact?.phone ?? `#${number}` };
  });
  protected readonly counts = computed(() => {
    const bulk = this.bulk();
    const { inDoubt, leftOut, ...texts } = this.t().bulk;
    const labels = { ...texts, in_doubt: inDoubt, left_out: leftOut };
    return COUNTS.map((name) => ({ name, label: labels[name], count: bulk?.[name] ?? 0 }));
  });

  constructor() {
    effect(() => {
      this.id();
      untracked(() => void this.read());
    });
    const timer = setInterval(() => void this.read(), READ_EVERY_MS);
    inject(DestroyRef).onDestroy(() => clearInterval(timer));
  }

  protected async steer(action: 'pause' | 'resume' | 'cancel'): Promise<void> {
    if (action === 'cancel' && !confirm(this.t().bulk.cancelSure)) return;
    this.busy.set(true);
    await this.attempt(() => this.store.steer(this.id(), action));
    this.busy.set(false);
  }

  private async read(): Promise<void> {
    if (document.hidden) return;
    await this.attempt(() => this.store.read(this.id()));
  }

  private async attempt(action: () => Promise<unknown>): Promise<void> {
    try {
      await action();
      this.problem.set(null);
    } catch (failure) {
      this.problem.set(this.problems.of(failure));
    }
  }
}
