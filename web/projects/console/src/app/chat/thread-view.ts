import {
  ChangeDetectionStrategy,
  Component,
  computed,
  DestroyRef,
  effect,
  ElementRef,
  inject,
  input,
  output,
  signal,
  untracked,
  viewChild,
} from '@angular/core';
import { RouterLink } from '@angular/router';

import type { Conversation, Message } from '../core/model';
import { Notices } from '../core/notices';
import { ProblemText } from '../core/problem-text';
import { I18n } from '../i18n/i18n';
import type { Entry } from '../state/thread';
import { ThreadStore } from '../state/thread-store';
import { TypingStore } from '../state/typing-store';
import { Avatar } from '../ui/avatar';
import { Icon } from '../ui/icon';
import { Composer } from './composer';
import { MessageBubble } from './message-bubble';
import { ReadMarker } from './read-marker';
import { ThreadRows } from './thread-rows';

const AT_END_PX = 60;
const LOAD_OLDER_PX = 240;

/** The open conversation: its messages, following the newest while the reader is at the end. */
@Component({
  selector: 'cc-thread-view',
  imports: [Avatar, Composer, Icon, MessageBubble, RouterLink],
  providers: [ReadMarker],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './thread-view.html',
  styleUrl: './thread-view.css',
})
export class ThreadView {
  protected readonly store = inject(ThreadStore);
  private readonly typingStore = inject(TypingStore);
  private readonly notices = inject(Notices);
  private readonly problems = inject(ProblemText);
  private readonly readMarker = inject(ReadMarker);
  protected readonly i18n = inject(I18n);
  protected readonly t = this.i18n.t;

  readonly conversation = input.required<Conversation>();
  readonly detailsOpen = input(false);
  readonly toggleDetails = output<void>();

  private readonly scroller = viewChild.required<ElementRef<HTMLElement>>('scroller');
  private readonly content = viewChild.required<ElementRef<HTMLElement>>('content');
  private readonly threadRows = new ThreadRows();
  /** The last message that the reader saw before leaving the end. */
  private readonly seenKey = signal<string | null>(null);
  private heightBeforeOlder: number | null = null;
  private scrollTop = 0;

  protected readonly atEnd = signal(true);
  protected readonly replyTo = signal<Message | null>(null);
  protected readonly conversationId = computed(() => this.conversation().id);
  protected readonly rows = computed(() =>
    this.threadRows.rows(this.conversationId(), this.store.entries(), this.store.loaded()),
  );
  protected readonly newCount = computed(() => {
    const seen = this.seenKey();
    if (seen === null) return 0;
    const entries = this.store.entries();
    return entries.length - 1 - entries.findIndex(({ key }) => key === seen);
  });
  protected readonly name = computed(() => {
    const { name, phone, username } = this.conversation().contact;
    return name ?? phone ?? username ?? this.t().chat.noName;
  });
  protected readonly typing = computed(() => this.typingStore.agents().get(this.conversationId()));

  constructor() {
    effect(() => {
      this.conversationId();
      untracked(() => this.begin());
    });
    effect(() => this.readMarker.look(this.conversation(), this.atEnd() && this.store.loaded()));
    effect((onCleanup) => {
      // Whatever makes the content grow, a message or an image that has loaded.
      const observer = new ResizeObserver(() => this.keepPlace());
      observer.observe(this.content().nativeElement);
      observer.observe(this.scroller().nativeElement);
      onCleanup(() => observer.disconnect());
    });
    inject(DestroyRef).onDestroy(() => this.store.close());
  }

  protected scrolled(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller().nativeElement;
    // The end also moves away by what comes in: only going up leaves it.
    const wentUp = scrollTop < this.scrollTop;
    this.scrollTop = scrollTop;
    if (scrollHeight - scrollTop - clientHeight < AT_END_PX) this.setAtEnd(true);
    else if (wentUp) this.setAtEnd(false);
    if (wentUp && scrollTop < LOAD_OLDER_PX) void this.loadOlder();
  }

  protected async loadOlder(): Promise<void> {
    if (!this.store.hasOlder() || this.store.loadingOlder()) return;
    const element = this.scroller().nativeElement;
    // With the end in view all older ones would be trimmed again.
    this.setAtEnd(false);
    this.heightBeforeOlder = element.scrollHeight;
    await this.store.loadOlder();
  }

  /** Arrow keys go from message to message. */
  protected moveFocus(event: Event, by: 1 | -1): void {
    const { target, currentTarget } = event;
    if (!(target instanceof HTMLElement) || target.tagName !== 'CC-MESSAGE-BUBBLE') return;
    const bubbles = (currentTarget as HTMLElement).querySelectorAll<HTMLElement>(target.tagName);
    const next = bubbles[[...bubbles].indexOf(target) + by];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  protected toEnd(): void {
    this.setAtEnd(true);
    const element = this.scroller().nativeElement;
    element.scrollTop = element.scrollHeight;
  }

  protected async react(message: Message, emoji: string): Promise<void> {
    await this.attempt(() => this.store.react(message, emoji));
  }

  protected async resend(entry: Entry): Promise<void> {
    if (entry.delivery === 'unsent') this.store.sendAgain(entry);
    else await this.attempt(() => this.store.retry(entry.message));
  }

  protected sent(): void {
    this.replyTo.set(null);
    this.toEnd();
  }

  private begin(): void {
    this.replyTo.set(null);
    this.seenKey.set(null);
    this.heightBeforeOlder = null;
    this.scrollTop = 0;
    this.setAtEnd(true);
  }

  private setAtEnd(atEnd: boolean): void {
    if (this.atEnd() !== atEnd) {
      this.seenKey.set(atEnd ? null : (this.store.entries().at(-1)?.key ?? null));
    }
    this.atEnd.set(atEnd);
    this.store.atEnd = atEnd;
  }

  private keepPlace(): void {
    const element = this.scroller().nativeElement;
    if (this.atEnd()) {
      element.scrollTop = element.scrollHeight;
    } else if (this.heightBeforeOlder !== null && !this.store.loadingOlder()) {
      element.scrollTop += element.scrollHeight - this.heightBeforeOlder;
      this.heightBeforeOlder = null;
    }
  }

  private async attempt(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (failure) {
      this.notices.show('bad', this.problems.of(failure));
    }
  }
}
