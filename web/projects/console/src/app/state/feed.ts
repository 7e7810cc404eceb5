/**
 * The way of the feed into the page: the library hands over snapshot and events in their order;
 * they are gathered per animation frame, folded into the stores, and published once.
 *
 * **Invariant:** a store's signals change at most once per frame, whatever the rate of events.
 */
import { Injectable, inject, signal } from '@angular/core';
import { WhatsAppRealtimeService } from '@condorito/realtime';

import type { PublicEvent, Snapshot } from '../core/model';
import { I18n } from '../i18n/i18n';
import { Notices } from '../core/notices';
import { BulkStore } from './bulk-store';
import { ConversationStore } from './conversation-store';
import { FrameQueue } from './frame-queue';
import { OverviewStore } from './overview-store';
import { ThreadStore } from './thread-store';
import { TypingStore } from './typing-store';

type Arrival = { snapshot: Snapshot } | { event: PublicEvent };

@Injectable({ providedIn: 'root' })
export class Feed {
  private readonly realtime = inject(WhatsAppRealtimeService);
  private readonly conversations = inject(ConversationStore);
  private readonly threads = inject(ThreadStore);
  private readonly overview = inject(OverviewStore);
  private readonly bulks = inject(BulkStore);
  private readonly typing = inject(TypingStore);
  private readonly notices = inject(Notices);
  private readonly i18n = inject(I18n);
  private readonly queue = new FrameQueue<Arrival>((batch) => this.takeIn(batch));
  /** How long after it happened the last event was shown here, by both machines' clocks. */
  readonly lagMs = signal<number | null>(null);
  private hasState = false;
  private started = false;

  start(): void {
    if (this.started) return;
    this.started = true;
    this.realtime.onMessage('snapshot').subscribe((snapshot) => this.queue.push({ snapshot }));
    this.realtime.events().subscribe((event) => this.queue.push({ event }));
    this.realtime.onMessage('typing').subscribe((data: unknown) => this.typing.take(data));
    this.realtime.connect().subscribe();
  }

  private takeIn(batch: readonly Arrival[]): void {
    for (const arrival of batch) {
      if ('snapshot' in arrival) this.begin(arrival.snapshot);
      else this.fold(arrival.event);
    }
    const last = batch[batch.length - 1];
    if ('event' in last) this.lagMs.set(Math.max(0, Date.now() - Date.parse(last.event.time)));
    this.conversations.publishSoon();
    this.threads.publish();
    this.overview.publish();
    this.bulks.publish();
  }

  private begin(snapshot: Snapshot): void {
    this.conversations.begin(snapshot.conversations, snapshot.stats.conversations.total);
    this.threads.begin();
    this.overview.begin(snapshot);
    this.bulks.begin(snapshot.bulks);
    if (this.hasState) this.notices.show('plain', this.i18n.t().connection.reloaded);
    this.hasState = true;
  }

  private fold(event: PublicEvent): void {
    switch (event.type) {
      case 'new_message': {
        const { message, conversation } = event.data;
        this.conversations.take(conversation);
        this.threads.take(message);
        this.typing.wrote(message);
        if (message.direction === 'inbound' && message.sender === 'contact') {
          const name = conversation.contact.name ?? conversation.contact.phone;
          const { notices } = this.i18n.t();
          const title = name ? notices.from(name) : notices.newMessage;
          this.notices.onDesktop(title, message.text ?? '', `message-${message.id}`);
        }
        break;
      }
      case 'message_status_updated': {
        const { message_id, conversation_id, status, error } = event.data;
        this.threads.advance(conversation_id, message_id, status, error ?? null, event.time);
        break;
      }
      case 'conversation_updated':
        this.conversations.take(event.data.conversation);
        break;
      case 'stats_updated':
        this.overview.takeStats(event.data.stats);
        break;
      case 'bot_status_changed':
        this.overview.takeBot(event.data.botStatus);
        break;
      case 'whatsapp_status_changed':
        this.overview.takeWhatsApp(event.data.whatsappState);
        break;
      case 'bulk_message_progress':
        this.bulks.progress(event.data.bulk_id, event.data.progress);
        break;
      case 'bulk_message_completed':
        this.bulks.completed(event.data);
        break;
      case 'bulk_message_error':
        this.bulks.failed(event.data.bulk_id, event.data.error);
        break;
    }
  }
}
