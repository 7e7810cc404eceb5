import { DestroyRef, Injectable, inject, signal } from '@angular/core';

import type { Conversation } from '../core/model';
import { ConversationStore } from '../state/conversation-store';

const MARK_AFTER_MS = 400;
/** In a stream of messages the conversation is marked every so often, not for each. */
const MARK_EVERY_MS = 2_000;

/** Marks the open conversation as read when its newest messages are really looked at. */
@Injectable()
export class ReadMarker {
  private readonly store = inject(ConversationStore);
  private readonly visible = signal(isLookedAt());
  private timer: ReturnType<typeof setTimeout> | undefined;
  private markedAt = 0;

  constructor() {
    const update = () => this.visible.set(isLookedAt());
    const events = ['visibilitychange', 'focus', 'blur'] as const;
    for (const event of events) window.addEventListener(event, update, true);
    inject(DestroyRef).onDestroy(() => {
      for (const event of events) window.removeEventListener(event, update, true);
      this.stop();
    });
  }

  /** Called in an effect, with what is shown now. */
  look({ id, unread_count }: Conversation, endIsShown: boolean): void {
    if (!this.visible() || !endIsShown || unread_count === 0) {
      this.stop();
      return;
    }
    if (this.timer !== undefined) return;
    const sinceMarked = Date.now() - this.markedAt;
    this.timer = setTimeout(
      () => {
        this.timer = undefined;
        this.markedAt = Date.now();
        // What cannot be marked now is marked with the next change of the conversation.
        this.store.markRead(id).catch(() => undefined);
      },
      Math.max(MARK_AFTER_MS, MARK_EVERY_MS - sinceMarked),
    );
  }

  private stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}

function isLookedAt(): boolean {
  return !document.hidden && document.hasFocus();
}
