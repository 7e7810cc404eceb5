/**
 * The bulks that this browser knows, newest first. Events tell how far a bulk has come; its other
 * figures are read from the server.
 */
import type { Bulk } from '../core/model';

export const BULKS_MAX = 500;

export interface BulkView extends Bulk {
  /** Number of the conversation whose message was taken last. */
  readonly currentConversation: number | null;
}

export class BulkList {
  private readonly byId = new Map<string, BulkView>();
  private shown: readonly BulkView[] | null = null;

  list(): readonly BulkView[] {
    // Ids are made in the order of time.
    return (this.shown ??= [...this.byId.values()].sort((a, b) => (a.id < b.id ? 1 : -1)));
  }

  get(id: string): BulkView | undefined {
    return this.byId.get(id);
  }

  replaceAll(bulks: readonly Bulk[]): void {
    this.byId.clear();
    for (const bulk of bulks) this.take(bulk);
    this.shown = null;
  }

  take(bulk: Bulk): void {
    const currentConversation = this.byId.get(bulk.id)?.currentConversation ?? null;
    this.put({ ...bulk, currentConversation });
  }

  progress(id: string, progress: { sent: number; total: number; currentConversation: string }) {
    const bulk = this.byId.get(id);
    if (!bulk) return;
    const current = Number(progress.currentConversation);
    this.put({
      ...bulk,
      sent: progress.sent,
      total: progress.total,
      currentConversation: current > 0 ? current : bulk.currentConversation,
    });
  }

  private put(bulk: BulkView): void {
    this.byId.set(bulk.id, bulk);
    this.shown = null;
    if (this.byId.size <= BULKS_MAX) return;
    const oldest = this.list().at(-1);
    if (oldest) this.byId.delete(oldest.id);
    this.shown = null;
  }
}

/** What is settled of a bulk, of its total. */
export function doneOf({ sent, failed }: Bulk): number {
  return sent + failed;
}

export function isActive({ status }: Bulk): boolean {
  return status === 'running' || status === 'scheduled' || status === 'paused';
}
