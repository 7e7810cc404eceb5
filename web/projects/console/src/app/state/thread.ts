/**
 * The messages of one conversation as they are shown: history pages, live events and what was just
 * sent here, in one order.
 *
 * **Invariants:** a message stands once, however often and by whichever way it is heard of; its
 * status only advances; the entry of a message sent here keeps its `key` when the server's copy
 * arrives. Messages are ordered as the server's history is; what is still being sent stands last.
 * Everything kept is bounded: messages by `MESSAGES_MAX`, and by less while the reader is at the
 * end (`trim`).
 */
import type { Message, MessageError, MessageStatus } from '../core/model';
import { Amendments } from './amendments';
import { advances } from './message-status';
import { Reactions } from './reactions';
import { lowerBound } from './sorted';

export const MESSAGES_MAX = 2_000;
export const MESSAGES_AT_END_MAX = 60;
const STATUSES_AHEAD_MAX = 500;

export interface Entry {
  /** Stays the same for as long as the message is shown. */
  readonly key: string;
  readonly message: Message;
  /** `server`: the server has it. `sending`: on its way there. `unsent`: it did not get there. */
  readonly delivery: 'server' | 'sending' | 'unsent';
  /** Why it is `unsent`. */
  readonly problem: string | null;
  /** Emojis of the contact and of the company. */
  readonly reactions: readonly string[];
}

interface StatusAhead {
  status: MessageStatus;
  error: MessageError | null;
}

export class Thread {
  /** Whether the newest page of the history is here. */
  loaded = false;
  /** `before` of the next older page; `null` at the beginning of the conversation. */
  older: string | null = null;

  /**
   * Whether something names a message by a provider's id that may be one's of here: events do not
   * tell the ids that sent messages get, the history does.
   */
  lacksIds = false;

  private list: Entry[] = [];
  private readonly byId = new Map<string, Entry>();
  private readonly byRef = new Map<string, Entry>();
  private readonly statusesAhead = new Map<string, StatusAhead>();
  private readonly amendments = new Amendments();
  private readonly reactions = new Reactions();
  private shown: readonly Entry[] | null = null;

  constructor(readonly conversationId: number) {}

  /** What is shown, oldest first; the same array until something changes. */
  entries(): readonly Entry[] {
    return (this.shown ??= this.list.slice());
  }

  find(id: string): Entry | undefined {
    return this.byId.get(id);
  }

  /** The message that a `reply_to` names, if it is among those here. */
  findByProviderId(waMessageId: string): Entry | undefined {
    return this.list.find((entry) => entry.message.wa_message_id === waMessageId);
  }

  addPage(newestFirst: readonly Message[], next: string | null): void {
    const isNewest = !this.loaded;
    for (const message of newestFirst) this.receive(message);
    if (isNewest || newestFirst.length > 0) this.older = next;
    this.loaded = true;
    // The history has told all that there is to learn.
    this.lacksIds = false;
  }

  /** A message from the server, live or from the history. */
  receive(message: Message): void {
    if (this.amendments.take(message)) {
      const target = this.byId.get(this.amendments.targetOf(message));
      if (target) this.put({ ...target, message: this.amendments.apply(target.message) });
      return;
    }
    if (message.type === 'reaction') {
      const target = this.reactions.take(message);
      if (target) this.refreshReactions(target);
      this.noteTarget(target);
      return;
    }
    const known = this.byId.get(message.id) ?? this.stillSending(message.client_ref);
    const current = known && known.delivery === 'server' ? known.message : null;
    const merged = this.withStatusAhead(this.amendments.apply(furthest(current, message)));
    this.put({
      key: known?.key ?? message.id,
      message: merged,
      delivery: 'server',
      problem: null,
      reactions: this.reactions.of(merged.wa_message_id),
    });
    this.noteTarget(merged.reply_to);
  }

  advance(id: string, status: MessageStatus, error: MessageError | null, at: string): void {
    const entry = this.byId.get(id);
    if (!entry) {
      const withdrawn = status === 'failed' ? this.reactions.withdraw(id) : null;
      if (withdrawn) this.refreshReactions(withdrawn);
      else this.keepAhead(id, { status, error });
      return;
    }
    const { message } = entry;
    if (advances(message.status, status)) {
      this.put({ ...entry, message: { ...message, status, error, status_at: at } });
    } else if (message.status === 'queued' && status === 'queued') {
      this.put({ ...entry, message: { ...message, error } });
    }
  }

  /** Shows a message at once that is being sent from here. */
  addSending(message: Message, clientRef: string): void {
    this.put({ key: clientRef, message, delivery: 'sending', problem: null, reactions: [] });
  }

  /** The message did not reach the server; it stays, and can be sent again. */
  notSent(clientRef: string, problem: string): void {
    const entry = this.byRef.get(clientRef);
    if (entry?.delivery === 'sending') this.put({ ...entry, delivery: 'unsent', problem });
  }

  sendingAgain(clientRef: string): void {
    const entry = this.byRef.get(clientRef);
    if (entry?.delivery === 'unsent') {
      this.put({ ...entry, delivery: 'sending', problem: null });
    }
  }

  discard(clientRef: string): void {
    const entry = this.byRef.get(clientRef);
    if (entry && entry.delivery !== 'server') this.remove(entry);
  }

  /** Forgets the oldest messages beyond `max`; they are read again when scrolled to. */
  trim(max: number): void {
    const beyond = this.list.length - max;
    if (beyond <= 0) return;
    for (const entry of this.list.splice(0, beyond)) this.forget(entry);
    const oldest = this.list.find((entry) => entry.delivery === 'server');
    this.older = oldest?.message.id ?? this.older;
    this.shown = null;
  }

  private noteTarget(waMessageId: string | null): void {
    if (waMessageId === null || this.lacksIds || this.findByProviderId(waMessageId)) return;
    this.lacksIds = this.list.some(
      ({ message }) =>
        message.direction === 'outbound' &&
        message.wa_message_id === null &&
        isWithProvider(message),
    );
  }

  /** References are others' too, and not unique: one counts while its message is being sent. */
  private stillSending(clientRef: string | null): Entry | undefined {
    const entry = clientRef === null ? undefined : this.byRef.get(clientRef);
    return entry?.delivery === 'server' ? undefined : entry;
  }

  private put(entry: Entry): void {
    const before = this.byId.get(entry.message.id) ?? this.stillSending(entry.key);
    if (before && compare(before, entry) === 0) {
      this.list[lowerBound(this.list, before, compare)] = entry;
      this.remember(entry);
    } else {
      if (before) this.remove(before);
      this.list.splice(lowerBound(this.list, entry, compare), 0, entry);
      this.remember(entry);
      if (this.list.length > MESSAGES_MAX) this.trim(MESSAGES_MAX);
    }
    this.shown = null;
  }

  private remember(entry: Entry): void {
    this.byId.set(entry.message.id, entry);
    if (entry.key === entry.message.client_ref) this.byRef.set(entry.key, entry);
  }

  private remove(entry: Entry): void {
    const place = lowerBound(this.list, entry, compare);
    if (this.list[place]?.key === entry.key) this.list.splice(place, 1);
    this.forget(entry);
    this.shown = null;
  }

  private forget(entry: Entry): void {
    this.byId.delete(entry.message.id);
    if (entry.key === entry.message.client_ref) this.byRef.delete(entry.key);
  }

  private refreshReactions(waMessageId: string): void {
    const target = this.findByProviderId(waMessageId);
    if (target) this.put({ ...target, reactions: this.reactions.of(waMessageId) });
  }

  /** A status may be heard of before the message it belongs to is read. */
  private keepAhead(id: string, ahead: StatusAhead): void {
    const known = this.statusesAhead.get(id);
    if (known && !advances(known.status, ahead.status)) return;
    this.statusesAhead.set(id, ahead);
    if (this.statusesAhead.size > STATUSES_AHEAD_MAX) {
      const [oldest] = this.statusesAhead.keys();
      this.statusesAhead.delete(oldest);
    }
  }

  private withStatusAhead(message: Message): Message {
    const ahead = this.statusesAhead.get(message.id);
    if (!ahead) return message;
    this.statusesAhead.delete(message.id);
    return advances(message.status, ahead.status) ? { ...message, ...ahead } : message;
  }
}

/** WhatsApp has it, so it can be answered and reacted to. */
export function isWithProvider({ status, type }: Message): boolean {
  return status !== 'queued' && status !== 'failed' && type !== 'system';
}

/** The newer copy of a message, with the furthest status of both. */
function furthest(known: Message | null, heard: Message): Message {
  if (!known || !advances(heard.status, known.status)) return heard;
  const { status, error, status_at, wa_message_id } = known;
  return {
    ...heard,
    status,
    error,
    status_at,
    wa_message_id: heard.wa_message_id ?? wa_message_id,
  };
}

function compare(a: Entry, b: Entry): number {
  const [aPending, bPending] = [a.delivery !== 'server', b.delivery !== 'server'];
  if (aPending !== bPending) return aPending ? 1 : -1;
  const [left, right] = [a.message, b.message];
  if (left.timestamp !== right.timestamp) return left.timestamp < right.timestamp ? -1 : 1;
  if (left.id === right.id) return 0;
  return left.id < right.id ? -1 : 1;
}
