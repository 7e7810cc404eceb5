/**
 * Decides which events this tab takes: each once, whichever transport or tab brings it.
 *
 * Every link brings the feed in order and without a gap from where it began, at or before the
 * gate's cursor. So what lies after the cursor is new, and what lies before was had already, even
 * when several links overlap. Should a broken network still reorder frames, the one that was
 * overtaken is taken late rather than lost; a state event only when no later one of its key was
 * taken.
 */
import { compareCursors } from './cursor';
import type { Cursor, PublicEvent } from './types';

export type Verdict =
  | 'new'
  /** It was overtaken: out of order, but not had before. */
  | 'late'
  | 'duplicate'
  /** Nothing is taken before it is known where this tab stands. */
  | 'early'
  /** Of another event store than the cursor: the feed can't be continued. */
  | 'foreign';

/** How many of the newest events are known by their id, to tell the late from the repeated. */
const RECENT_MAX = 4_096;

export class Gate {
  private position: Cursor | null = null;
  /** At or before it everything counts as had. */
  private floor: Cursor | null = null;
  /** Ids taken after the floor, with their state keys, in the order of taking. */
  private readonly recent = new Map<Cursor, string | null>();
  private readonly newestByKey = new Map<string, Cursor>();

  /** Where this tab stands; `null` before the first hello or snapshot, and after a reset. */
  get cursor(): Cursor | null {
    return this.position;
  }

  /** Stands at `cursor` from now on, wherever it stood before. */
  restart(cursor: Cursor | null): void {
    this.position = cursor;
    this.floor = cursor;
    this.recent.clear();
    this.newestByKey.clear();
  }

  /** Moves past what a filter hid. Never backwards. Returns whether it moved. */
  moveTo(cursor: Cursor): boolean {
    if (this.position === null || (compareCursors(cursor, this.position) ?? 0) <= 0) return false;
    this.position = cursor;
    return true;
  }

  judge(event: PublicEvent): Verdict {
    if (this.position === null || this.floor === null) return 'early';
    const order = compareCursors(event.id, this.position);
    if (order === null) return 'foreign';
    if (order > 0) {
      this.position = event.id;
      this.remember(event);
      return 'new';
    }
    if (this.recent.has(event.id) || (compareCursors(event.id, this.floor) ?? 0) <= 0) {
      return 'duplicate';
    }
    const key = stateKey(event);
    const newest = key === null ? undefined : this.newestByKey.get(key);
    if (newest !== undefined && (compareCursors(newest, event.id) ?? 0) > 0) return 'duplicate';
    this.remember(event);
    return 'late';
  }

  private remember(event: PublicEvent): void {
    const key = stateKey(event);
    this.recent.set(event.id, key);
    if (key !== null) this.newestByKey.set(key, event.id);
    if (this.recent.size <= RECENT_MAX) return;
    const [oldest, oldestKey] = this.recent.entries().next().value!;
    this.recent.delete(oldest);
    if ((compareCursors(oldest, this.floor!) ?? 0) > 0) this.floor = oldest;
    if (oldestKey !== null && this.newestByKey.get(oldestKey) === oldest) {
      this.newestByKey.delete(oldestKey);
    }
  }
}

/** What a later state event supersedes; `null` for facts, which nothing supersedes. */
function stateKey(event: PublicEvent): string | null {
  switch (event.type) {
    case 'conversation_updated':
      return `${event.type}:${event.data.conversation.id}`;
    case 'bulk_message_progress':
      return `${event.type}:${event.data.bulk_id}`;
    case 'stats_updated':
    case 'bot_status_changed':
    case 'whatsapp_status_changed':
      return event.type;
    default:
      return null;
  }
}
