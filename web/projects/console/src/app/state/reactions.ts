/**
 * Reactions by the message they are for. The contact and the company have one each, and the latest
 * holds; an empty one takes it back. Bounded by messages.
 */
import type { Message } from '../core/model';

const REACTED_MESSAGES_MAX = 1_000;

interface Reaction {
  id: string;
  emoji: string;
  timestamp: string;
}

type BySide = Partial<Record<Message['direction'], Reaction>>;

export class Reactions {
  private readonly byTarget = new Map<string, BySide>();

  /** Takes a reaction in; the provider's id of the message it is for, if it changed something. */
  take(message: Message): string | null {
    const target = targetOf(message);
    if (target === null) return null;
    const sides = this.byTarget.get(target) ?? {};
    const known = sides[message.direction];
    if (known && isNewer(known, message)) return null;
    const emoji = message.status === 'failed' ? '' : (message.text ?? '');
    const reaction = { id: message.id, emoji, timestamp: message.timestamp };
    this.byTarget.set(target, { ...sides, [message.direction]: reaction });
    this.forgetBeyondMax();
    return target;
  }

  /** A reaction that could not be sent is not shown. */
  withdraw(id: string): string | null {
    for (const [target, sides] of this.byTarget) {
      if (sides.outbound?.id !== id) continue;
      this.byTarget.set(target, { ...sides, outbound: undefined });
      return target;
    }
    return null;
  }

  of(waMessageId: string | null): readonly string[] {
    const sides = waMessageId === null ? undefined : this.byTarget.get(waMessageId);
    return [sides?.inbound?.emoji, sides?.outbound?.emoji].filter((emoji) => !!emoji) as string[];
  }

  private forgetBeyondMax(): void {
    if (this.byTarget.size <= REACTED_MESSAGES_MAX) return;
    const [oldest] = this.byTarget.keys();
    this.byTarget.delete(oldest);
  }
}

function targetOf(message: Message): string | null {
  const named = message.payload?.['message_id'];
  return typeof named === 'string' ? named : message.reply_to;
}

function isNewer(known: Reaction, message: Message): boolean {
  if (known.timestamp !== message.timestamp) return known.timestamp > message.timestamp;
  return known.id > message.id;
}
