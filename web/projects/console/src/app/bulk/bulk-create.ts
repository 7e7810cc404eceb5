import { ChangeDetectionStrategy, Component, computed, inject, signal } from '@angular/core';
import { Router, RouterLink } from '@angular/router';

import type { BulkAccepted, NewBulk } from '../core/model';
import { ProblemText } from '../core/problem-text';
import { I18n } from '../i18n/i18n';
import { BulkStore } from '../state/bulk-store';
import { Icon } from '../ui/icon';
import { BulkContent, type Content } from './bulk-content';
import { parseCsv } from './csv';
import { checkRecipients, phoneColumn, placeholders, type RowProblem } from './recipients';

const FILE_BYTES_MAX = 20 * 1024 * 1024;
const PREVIEW_ROWS = 5;
const RATE_DEFAULT = 20;

@Component({
  selector: 'cc-bulk-create',
  imports: [BulkContent, Icon, RouterLink],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './bulk-create.html',
  styleUrl: './bulk-create.css',
})
export class BulkCreate {
  private readonly store = inject(BulkStore);
  private readonly router = inject(Router);
  private readonly problems = inject(ProblemText);
  protected readonly t = inject(I18n).t;

  protected readonly rateDefault = RATE_DEFAULT;
  protected readonly csvText = signal('');
  protected readonly fileName = signal<string | null>(null);
  protected readonly fileProblem = signal<string | null>(null);
  protected readonly content = signal<Content | null>(null);
  protected readonly later = signal(false);
  protected readonly busy = signal(false);
  protected readonly problem = signal<string | null>(null);
  protected readonly accepted = signal<BulkAccepted | null>(null);
  private key = crypto.randomUUID();

  protected readonly csv = computed(() => parseCsv(this.csvText()));
  protected readonly hasRows = computed(() => this.csv().header.length > 0);
  protected readonly hasPhones = computed(() => phoneColumn(this.csv()) >= 0);
  protected readonly columns = computed(() => placeholders(this.csv()));
  protected readonly preview = computed(() => this.csv().rows.slice(0, PREVIEW_ROWS));
  protected readonly checked = computed(() =>
    checkRecipients(this.csv(), this.content()?.needed ?? []),
  );
  /** The first row's values, for showing how the message will read. */
  protected readonly sample = computed<ReadonlyMap<string, string>>(() => {
    const { header, rows } = this.csv();
    const columns = placeholders(this.csv());
    const named = header.flatMap((name, index) => (name === '' ? [] : [index]));
    return new Map(columns.map((column, place) => [column, rows[0]?.[named[place]] ?? '']));
  });
  protected readonly canStart = computed(
    () => this.content() !== null && this.hasPhones() && this.checked().good > 0 && !this.busy(),
  );

  protected async chose(picker: HTMLInputElement): Promise<void> {
    const file = picker.files?.[0];
    picker.value = '';
    if (!file) return;
    this.fileName.set(file.name);
    const isTooLarge = file.size > FILE_BYTES_MAX;
    this.fileProblem.set(isTooLarge ? this.t().bulk.tooLarge : null);
    this.csvText.set(isTooLarge ? '' : await file.text());
  }

  protected pasted(text: string): void {
    this.fileName.set(null);
    this.fileProblem.set(null);
    this.csvText.set(text);
  }

  protected describe(problem: RowProblem): string {
    const texts = this.t().bulk;
    switch (problem.kind) {
      case 'duplicate':
        return texts.duplicate(problem.row);
      case 'missingValue':
        return texts.missingValue(problem.column);
      default:
        return texts[problem.kind];
    }
  }

  protected async start(event: Event, name: string, when: string, rate: number): Promise<void> {
    event.preventDefault();
    const content = this.content();
    if (!content || !this.canStart()) return;
    this.busy.set(true);
    this.problem.set(null);
    const bulk: Omit<NewBulk, 'recipients'> = {
      name: name.trim(),
      rate_per_second: rate,
      ...content.body,
    };
    if (this.later() && when !== '') bulk.scheduled_at = new Date(when).toISOString();
    try {
      const accepted = await this.store.create(bulk, this.csvText(), this.key);
      this.key = crypto.randomUUID();
      if (accepted.rejected_count > 0 || accepted.duplicates > 0) this.accepted.set(accepted);
      else await this.router.navigate(['/bulk', accepted.bulk.id]);
    } catch (failure) {
      this.problem.set(this.problems.of(failure));
      // The body may be another one next time, which the same key would not allow.
      this.key = crypto.randomUUID();
    } finally {
      this.busy.set(false);
    }
  }
}
