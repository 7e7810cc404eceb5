/** What a thread shows, line by line: its messages, and where a day begins. */
import type { Message } from '../core/model';
import { isSameDay } from '../i18n/i18n';
import type { Entry } from '../state/thread';

export interface ThreadRow {
  readonly entry: Entry;
  /** When a day begins with it: a moment of that day. */
  readonly day: string | null;
  readonly quoted: Message | null;
  /** Came in while the reader looks on. */
  readonly fresh: boolean;
}

/** More than that at once are a burst, which would only flicker if each came in smoothly. */
const SMOOTH_MAX = 3;

export class ThreadRows {
  private known: ReadonlySet<string> | null = null;
  private conversationId: number | null = null;

  rows(conversationId: number, entries: readonly Entry[], loaded: boolean): readonly ThreadRow[] {
    if (conversationId !== this.conversationId) this.known = null;
    this.conversationId = conversationId;
    const known = this.known;
    const added = known ? entries.filter(({ key }) => !known.has(key)).length : 0;
    const smooth = added > 0 && added <= SMOOTH_MAX;
    const byProviderId = messagesAnswered(entries);
    let before: Date | null = null;
    const rows = entries.map((entry): ThreadRow => {
      const date = new Date(entry.message.timestamp);
      const begins = before === null || !isSameDay(before, date);
      before = date;
      return {
        entry,
        day: begins ? entry.message.timestamp : null,
        quoted: byProviderId.get(entry.message.reply_to ?? '') ?? null,
        fresh: smooth && known !== null && !known.has(entry.key),
      };
    });
    if (loaded) this.known = new Set(entries.map(({ key }) => key));
    return rows;
  }
}

function messagesAnswered(entries: readonly Entry[]): ReadonlyMap<string, Message> {
  const byProviderId = new Map<string, Message>();
  if (!entries.some(({ message }) => message.reply_to !== null)) return byProviderId;
  for (const { message } of entries) {
    if (message.wa_message_id !== null) byProviderId.set(message.wa_message_id, message);
  }
  return byProviderId;
}
