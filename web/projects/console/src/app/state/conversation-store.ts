/** The conversations as signals, and how more of them are read than the snapshot has. */
import { Injectable, computed, inject, signal } from '@angular/core';

import { Api } from '../core/api';
import type { ChangeConversation, Conversation } from '../core/model';
import { CONVERSATIONS_MAX, ConversationIndex } from './conversation-index';

const PAGE = 200;
const PUBLISH_EVERY_MS = 150;

@Injectable({ providedIn: 'root' })
export class ConversationStore {
  private readonly api = inject(Api);
  private readonly index = new ConversationIndex();
  private readonly list = signal<readonly Conversation[]>([]);
  private nextPage: string | null | undefined;
  private generation = 0;
  private publishedAt = -Infinity;
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** Newest activity first. */
  readonly conversations = this.list.asReadonly();
  /** Whether the snapshot is here. */
  readonly ready = signal(false);
  readonly loadingMore = signal(false);
  /** Whether the server has conversations that are not here. */
  readonly hasMore = signal(false);
  /** All labels in use among the conversations here. */
  readonly labels = computed(() => {
    const all = new Set<string>();
    for (const { labels } of this.list()) for (const label of labels) all.add(label);
    return [...all].sort((a, b) => a.localeCompare(b));
  });

  get(id: number): Conversation | undefined {
    return this.index.get(id);
  }

  /** `total`: how many there are in all; the snapshot has the newest. */
  begin(conversations: readonly Conversation[], total: number): void {
    this.index.replaceAll(conversations);
    this.nextPage = undefined;
    this.generation++;
    this.publishedAt = -Infinity;
    this.hasMore.set(total > conversations.length);
    this.ready.set(true);
  }

  take(conversation: Conversation): void {
    this.index.upsert(conversation);
  }

  publish(): void {
    this.list.set(this.index.list());
  }

  /** At once after a quiet while; in a stream some times a second, which is all one can read. */
  publishSoon(): void {
    if (this.timer !== undefined) return;
    const wait = PUBLISH_EVERY_MS - (performance.now() - this.publishedAt);
    const publish = () => {
      this.timer = undefined;
      this.publishedAt = performance.now();
      this.publish();
    };
    if (wait <= 0) publish();
    else this.timer = setTimeout(publish, wait);
  }

  /** Reads a page more. Its marks are the server's, so the first pages repeat the snapshot. */
  async loadMore(): Promise<void> {
    if (this.loadingMore() || !this.hasMore()) return;
    this.loadingMore.set(true);
    const { generation } = this;
    try {
      const known = this.index.size;
      do {
        const page = await this.api.conversations({ after: this.nextPage, limit: PAGE });
        if (generation !== this.generation) return;
        for (const conversation of page.conversations) this.index.upsert(conversation);
        this.nextPage = page.next;
        this.hasMore.set(page.next !== null && this.index.size < CONVERSATIONS_MAX);
      } while (this.hasMore() && this.index.size === known);
      this.publish();
    } finally {
      this.loadingMore.set(false);
    }
  }

  /** The conversation, from the server if it is not among those here. */
  async ensure(id: number): Promise<Conversation> {
    const known = this.index.get(id);
    if (known) return known;
    return this.keep(await this.api.conversation(id));
  }

  async change(id: number, change: ChangeConversation): Promise<void> {
    this.keep(await this.api.changeConversation(id, change));
  }

  async open(phone: string): Promise<Conversation> {
    return this.keep(await this.api.openConversation(phone));
  }

  async markRead(id: number): Promise<void> {
    await this.api.markRead(id);
  }

  /** Full-text search in contacts and messages; what is found is kept, and so stays live. */
  async search(query: string): Promise<readonly number[]> {
    const page = await this.api.conversations({ q: query, limit: PAGE });
    for (const conversation of page.conversations) this.index.upsert(conversation);
    this.publish();
    return page.conversations.map(({ id }) => id);
  }

  private keep(conversation: Conversation): Conversation {
    this.index.upsert(conversation);
    this.publish();
    return conversation;
  }
}
