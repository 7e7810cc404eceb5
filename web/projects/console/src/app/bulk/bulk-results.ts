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

import { Api } from '../core/api';
import type { Bulk, BulkRecipient, BulkResult } from '../core/model';
import { ProblemText } from '../core/problem-text';
import { I18n } from '../i18n/i18n';
import { Icon } from '../ui/icon';

const RESULTS: readonly BulkResult[] = [
  'waiting',
  'in_doubt',
  'sent',
  'delivered',
  'read',
  'failed',
  'opted_out',
  'erased',
  'invalid',
];
const TONES: Partial<Record<BulkResult, string>> = {
  sent: 'good',
  delivered: 'good',
  read: 'good',
  failed: 'bad',
  invalid: 'bad',
  in_doubt: 'warn',
};
const PAGE = 100;
/** What one reading renews at most; further pages stay as they were read. */
const RENEWED_MAX = 1_000;
const READ_EVERY_MS = 2_000;

/** What became of each recipient: filtered, and as a file. */
@Component({
  selector: 'cc-bulk-results',
  imports: [Icon, RouterLink],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './bulk-results.html',
  styles: `
    section {
      display: grid;
      grid-template-columns: minmax(0, 1fr);
      gap: 0.75rem;
    }
    header {
      display: flex;
      flex-wrap: wrap;
      align-items: center;
      gap: 0.5rem 0.75rem;
    }
    h2 {
      margin-right: auto;
    }
    select {
      width: auto;
    }
    .scroll {
      overflow-x: auto;
    }
    td {
      white-space: nowrap;
    }
    td.error {
      white-space: normal;
      min-width: 14rem;
    }
  `,
})
export class BulkResults {
  private readonly api = inject(Api);
  private readonly problems = inject(ProblemText);
  protected readonly i18n = inject(I18n);
  protected readonly t = this.i18n.t;

  readonly bulk = input.required<Bulk>();
  private readonly id = computed(() => this.bulk().id);
  protected readonly results = RESULTS;
  protected readonly tones = TONES;
  protected readonly filter = signal<BulkResult | ''>('');
  protected readonly recipients = signal<readonly BulkRecipient[]>([]);
  protected readonly next = signal<string | null>(null);
  protected readonly loading = signal(true);
  protected readonly problem = signal<string | null>(null);
  private timer: ReturnType<typeof setTimeout> | undefined;
  private reading = 0;

  constructor() {
    effect(() => {
      this.id();
      this.filter();
      untracked(() => {
        this.recipients.set([]);
        void this.read();
      });
    });
    effect(() => {
      this.bulk();
      untracked(() => this.readLater());
    });
    inject(DestroyRef).onDestroy(() => clearTimeout(this.timer));
  }

  protected async more(): Promise<void> {
    await this.attempt(async (isCurrent) => {
      const page = await this.api.recipients(this.id(), {
        result: this.filter() || undefined,
        after: this.next(),
        limit: PAGE,
      });
      if (!isCurrent()) return;
      this.recipients.update((list) => [...list, ...page.recipients]);
      this.next.set(page.next);
    });
  }

  protected async export(): Promise<void> {
    await this.attempt(async () => {
      const file = await this.api.recipientsCsv(this.id(), this.filter() || undefined);
      const link = document.createElement('a');
      link.href = URL.createObjectURL(file);
      link.download = `${this.bulk().name}${this.filter() ? `-${this.filter()}` : ''}.csv`;
      link.click();
      URL.revokeObjectURL(link.href);
    });
  }

  private readLater(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      if (this.recipients().length <= RENEWED_MAX) void this.read();
    }, READ_EVERY_MS);
  }

  private async read(): Promise<void> {
    await this.attempt(async (isCurrent) => {
      const page = await this.api.recipients(this.id(), {
        result: this.filter() || undefined,
        limit: Math.min(RENEWED_MAX, Math.max(PAGE, this.recipients().length)),
      });
      if (!isCurrent()) return;
      this.recipients.set(page.recipients);
      this.next.set(page.next);
    });
  }

  private async attempt(action: (isCurrent: () => boolean) => Promise<void>): Promise<void> {
    const reading = ++this.reading;
    this.loading.set(true);
    try {
      await action(() => reading === this.reading);
      this.problem.set(null);
    } catch (failure) {
      this.problem.set(this.problems.of(failure));
    } finally {
      this.loading.set(false);
    }
  }
}
