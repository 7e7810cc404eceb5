/**
 * The conversation that is open, and some that were: they go on taking in events, so that coming
 * back to them shows them at once and complete.
 */
import { Injectable, inject, signal } from '@angular/core';

import { Api } from '../core/api';
import type { Message, MessageError, MessageStatus, SendMessage } from '../core/model';
import { ProblemText } from '../core/problem-text';
import { Outgoing, type Draft } from './outgoing';
import { type Entry, MESSAGES_AT_END_MAX, Thread } from './thread';

const THREADS_KEPT_MAX = 8;
const PAGE = 50;

@Injectable({ providedIn: 'root' })
export class ThreadStore {
  private readonly api = inject(Api);
  private readonly problems = inject(ProblemText);
  private readonly outgoing = new Outgoing();
  /** The least recently opened first. */
  private readonly threads = new Map<number, Thread>();
  private active: Thread | null = null;

  readonly entries = signal<readonly Entry[]>([]);
  readonly loaded = signal(false);
  readonly hasOlder = signal(false);
  readonly loadingOlder = signal(false);
  readonly problem = signal<string | null>(null);
  /** Whether the reader sees the newest messages; then older ones need not be kept. */
  atEnd = true;

  open(conversationId: number): void {
    this.problem.set(null);
    this.atEnd = true;
    this.active = this.thread(conversationId);
    this.publish();
    if (!this.active.loaded) void this.loadNewest(this.active);
  }

  close(): void {
    this.active = null;
    this.publish();
  }

  /** After a snapshot: events may be missing from what was read before. */
  begin(): void {
    const open = this.active;
    this.threads.clear();
    if (open === null) return;
    this.active = this.thread(open.conversationId);
    for (const entry of open.entries()) {
      if (entry.delivery === 'server') continue;
      this.active.addSending(entry.message, entry.key);
      if (entry.delivery === 'unsent') this.active.notSent(entry.key, entry.problem ?? '');
    }
    void this.loadNewest(this.active);
  }

  take(message: Message): void {
    this.threads.get(message.conversation_id)?.receive(message);
  }

  advance(
    conversationId: number,
    messageId: string,
    status: MessageStatus,
    error: MessageError | null,
    at: string,
  ): void {
    this.threads.get(conversationId)?.advance(messageId, status, error, at);
  }

  publish(): void {
    for (const thread of this.threads.values()) {
      if (thread !== this.active || this.atEnd) thread.trim(MESSAGES_AT_END_MAX);
    }
    if (this.active?.loaded && this.active.lacksIds) void this.learnIds(this.active);
    this.entries.set(this.active?.entries() ?? []);
    this.loaded.set(this.active?.loaded ?? false);
    this.hasOlder.set(this.active?.older !== null && (this.active?.loaded ?? false));
  }

  async loadOlder(): Promise<void> {
    const thread = this.active;
    if (!thread?.older || this.loadingOlder()) return;
    this.loadingOlder.set(true);
    try {
      const page = await this.api.messages(thread.conversationId, {
        before: thread.older,
        limit: PAGE,
      });
      thread.addPage(page.messages, page.next);
    } catch (failure) {
      this.problem.set(this.problems.of(failure));
    } finally {
      this.loadingOlder.set(false);
      this.publish();
    }
  }

  reload(): void {
    if (this.active) void this.loadNewest(this.active);
  }

  /** Shows the message at once and sends it; what becomes of it shows at its entry. */
  send(conversationId: number, clientId: number, draft: Draft): void {
    const { body, message, clientRef } = this.outgoing.compose(conversationId, clientId, draft);
    const thread = this.thread(conversationId);
    thread.addSending(message, clientRef);
    this.publish();
    void this.post(thread, clientRef, body);
  }

  /** Again, for a message that did not get to the server. */
  sendAgain(entry: Entry): void {
    const body = this.outgoing.again(entry.key);
    const thread = this.threads.get(entry.message.conversation_id);
    if (!body || !thread) return;
    thread.sendingAgain(entry.key);
    this.publish();
    void this.post(thread, entry.key, body);
  }

  discard(entry: Entry): void {
    this.outgoing.forget(entry.key);
    this.threads.get(entry.message.conversation_id)?.discard(entry.key);
    this.publish();
  }

  /** Again, for a message that WhatsApp did not take, or of which nobody knows. */
  async retry(message: Message): Promise<void> {
    this.take(await this.api.retry(message.conversation_id, message.id));
    this.publish();
  }

  async react(message: Message, emoji: string): Promise<void> {
    const reaction = { message_id: message.id, emoji };
    const key = crypto.randomUUID();
    this.take(await this.api.send(message.conversation_id, { reaction }, key));
    this.publish();
  }

  private async post(thread: Thread, clientRef: string, body: SendMessage): Promise<void> {
    try {
      const key = this.outgoing.keyOf(clientRef);
      thread.receive(await this.api.send(thread.conversationId, body, key));
      this.outgoing.forget(clientRef);
    } catch (failure) {
      this.outgoing.failed(clientRef, failure);
      thread.notSent(clientRef, this.problems.of(failure));
    }
    this.publish();
  }

  private async loadNewest(thread: Thread): Promise<void> {
    this.problem.set(null);
    try {
      const page = await this.api.messages(thread.conversationId, { limit: PAGE });
      thread.addPage(page.messages, page.next);
    } catch (failure) {
      if (thread === this.active) this.problem.set(this.problems.of(failure));
    }
    this.publish();
  }

  private async learnIds(thread: Thread): Promise<void> {
    thread.lacksIds = false;
    try {
      const page = await this.api.messages(thread.conversationId, { limit: PAGE });
      thread.addPage(page.messages, thread.older);
      this.publish();
    } catch {
      // Only the quotes stay without their text.
    }
  }

  private thread(conversationId: number): Thread {
    const thread = this.threads.get(conversationId) ?? new Thread(conversationId);
    this.threads.delete(conversationId);
    this.threads.set(conversationId, thread);
    if (this.threads.size > THREADS_KEPT_MAX) {
      const [oldest] = this.threads.keys();
      this.threads.delete(oldest);
    }
    return thread;
  }
}
