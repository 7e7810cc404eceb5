/** The bulks as signals, with what can be done to them, and notices of how they ended. */
import { Injectable, inject, signal } from '@angular/core';

import { Api } from '../core/api';
import type { Bulk, NewBulk } from '../core/model';
import { Notices } from '../core/notices';
import { I18n } from '../i18n/i18n';
import { BulkList, type BulkView } from './bulk-list';

/** How often a bulk under way is read, for the figures that events do not tell. */
const READ_EVERY_MS = 1_000;
const PAGE = 50;

@Injectable({ providedIn: 'root' })
export class BulkStore {
  private readonly api = inject(Api);
  private readonly notices = inject(Notices);
  private readonly i18n = inject(I18n);
  private readonly known = new BulkList();
  private readonly reading = new Set<string>();

  readonly bulks = signal<readonly BulkView[]>([]);
  get(id: string): BulkView | undefined {
    return this.known.get(id);
  }

  begin(bulks: readonly Bulk[]): void {
    this.known.replaceAll(bulks);
  }

  progress(id: string, progress: { sent: number; total: number; currentConversation: string }) {
    this.known.progress(id, progress);
    this.readSoon(id);
  }

  completed(end: { bulk_id: string; successCount: number; errorCount: number }): void {
    this.readSoon(end.bulk_id, (bulk) => {
      const text = this.i18n.t().notices.bulkDone(bulk.name, end.successCount, end.errorCount);
      this.notices.show(end.errorCount > 0 ? 'plain' : 'good', text);
      this.notices.onDesktop(this.i18n.t().bulk.title, text, `bulk-${bulk.id}`);
    });
  }

  failed(id: string, error: string): void {
    this.readSoon(id, (bulk) => {
      const text = this.i18n.t().notices.bulkError(bulk.name, error);
      this.notices.show('bad', text);
      this.notices.onDesktop(this.i18n.t().bulk.title, text, `bulk-${bulk.id}`);
    });
  }

  publish(): void {
    this.bulks.set(this.known.list());
  }

  async create(bulk: Omit<NewBulk, 'recipients'>, csv: string, key: string) {
    const accepted = await this.api.createBulk(bulk, csv, key);
    this.keep(accepted.bulk);
    return accepted;
  }

  /** A page of older ones; answers where the next one begins. */
  async loadPage(after: string | null): Promise<string | null> {
    const page = await this.api.bulks({ after, limit: PAGE });
    for (const bulk of page.bulks) this.known.take(bulk);
    this.publish();
    return page.next;
  }

  async steer(id: string, action: 'pause' | 'resume' | 'cancel'): Promise<void> {
    this.keep(await this.api.steerBulk(id, action));
  }

  async read(id: string): Promise<BulkView> {
    this.keep(await this.api.bulk(id));
    return this.known.get(id) as BulkView;
  }

  /** Reads a bulk, once per second at most; `then` runs in any case. */
  private readSoon(id: string, then?: (bulk: BulkView) => void): void {
    if (then) {
      void this.read(id).then(then, () => {
        const bulk = this.known.get(id);
        if (bulk) then(bulk);
      });
      return;
    }
    if (this.reading.has(id)) return;
    this.reading.add(id);
    setTimeout(() => {
      this.reading.delete(id);
      // What cannot be read now is read with the next event.
      this.read(id).catch(() => undefined);
    }, READ_EVERY_MS);
  }

  private keep(bulk: Bulk): void {
    this.known.take(bulk);
    this.publish();
  }
}
