/**
 * What is told of a message after it was written: edited, withdrawn, its medium arrived or was
 * given up. It comes as a `new_message` of type `system` whose payload names the message, and may
 * come before the message itself is read; so it is kept for a while, bounded.
 */
import type { Message } from '../core/model';

const AMENDED_MESSAGES_MAX = 200;
const EVENTS = ['edited', 'revoked', 'media_stored', 'media_failed'] as const;
type AmendmentEvent = (typeof EVENTS)[number];

export class Amendments {
  private readonly byTarget = new Map<string, Map<AmendmentEvent, Message>>();

  /** Keeps the notice, if `message` is one. */
  take(message: Message): boolean {
    const event = eventOf(message);
    if (!event) return false;
    const target = this.targetOf(message);
    const notices = this.byTarget.get(target) ?? new Map<AmendmentEvent, Message>();
    this.byTarget.delete(target);
    this.byTarget.set(target, notices.set(event, message));
    if (this.byTarget.size > AMENDED_MESSAGES_MAX) {
      const [oldest] = this.byTarget.keys();
      this.byTarget.delete(oldest);
    }
    return true;
  }

  targetOf(notice: Message): string {
    return String(notice.payload?.['message_id']);
  }

  /** The message with all that is known of it since. */
  apply(message: Message): Message {
    const notices = this.byTarget.get(message.id);
    if (!notices) return message;
    let amended = message;
    for (const [event, notice] of notices) amended = amend(amended, event, notice);
    return amended;
  }
}

function eventOf(message: Message): AmendmentEvent | undefined {
  if (message.type !== 'system' || message.sender !== 'system') return undefined;
  return EVENTS.find((event) => event === message.payload?.['event']);
}

function amend(message: Message, event: AmendmentEvent, notice: Message): Message {
  const at = notice.payload?.['at'];
  switch (event) {
    case 'edited':
      if (isAtLeast(message.payload?.['edited_at'], at)) return message;
      return { ...message, text: notice.text, payload: { ...message.payload, edited_at: at } };
    case 'revoked':
      return {
        ...message,
        text: null,
        media: null,
        payload: { ...message.payload, revoked_at: at },
      };
    case 'media_stored':
    case 'media_failed':
      if (message.media?.status === 'stored') return message;
      return { ...message, media: notice.media ?? message.media };
  }
}

function isAtLeast(known: unknown, at: unknown): boolean {
  return typeof known === 'string' && typeof at === 'string' && known >= at;
}
