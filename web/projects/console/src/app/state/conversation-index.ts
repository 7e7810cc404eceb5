/**
 * The conversations that this browser knows, newest activity first, as the server lists them.
 *
 * **Invariant:** `order` holds each conversation once and is sorted; a change moves one entry and
 * never sorts the list. At most `CONVERSATIONS_MAX` are kept: beyond it the oldest are forgotten,
 * and the search finds them.
 */
import type { Conversation } from '../core/model';
import { lowerBound } from './sorted';

export const CONVERSATIONS_MAX = 20_000;

export class ConversationIndex {
  private readonly byId = new Map<number, Conversation>();
  private order: Conversation[] = [];
  private shown: readonly Conversation[] | null = null;

  constructor(private readonly max = CONVERSATIONS_MAX) {}

  get size(): number {
    return this.byId.size;
  }

  get(id: number): Conversation | undefined {
    return this.byId.get(id);
  }

  /** The list as it is now; the same array until something changes. */
  list(): readonly Conversation[] {
    return (this.shown ??= this.order.slice());
  }

  replaceAll(conversations: readonly Conversation[]): void {
    this.byId.clear();
    this.order = [];
    this.shown = null;
    for (const conversation of conversations) this.upsert(conversation);
  }

  /** Takes in a conversation unless what is known of it is newer. */
  upsert(conversation: Conversation): boolean {
    const known = this.byId.get(conversation.id);
    if (known && known.updated_at > conversation.updated_at) return false;
    if (known) this.order.splice(lowerBound(this.order, known, byActivity), 1);
    this.order.splice(lowerBound(this.order, conversation, byActivity), 0, conversation);
    this.byId.set(conversation.id, conversation);
    this.forgetBeyondMax();
    this.shown = null;
    return true;
  }

  private forgetBeyondMax(): void {
    while (this.order.length > this.max) {
      const oldest = this.order.pop();
      if (oldest) this.byId.delete(oldest.id);
    }
  }
}

/** The time that the server orders by; RFC 3339 in UTC sorts as text. */
export function activeAt(conversation: Conversation): string {
  return conversation.last_message?.timestamp ?? conversation.created_at;
}

function byActivity(a: Conversation, b: Conversation): number {
  const [left, right] = [activeAt(a), activeAt(b)];
  if (left !== right) return left > right ? -1 : 1;
  return b.id - a.id;
}
