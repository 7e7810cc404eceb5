/** Which other agents are writing, by conversation. What was heard of holds for a while only. */
import { Injectable, signal } from '@angular/core';

import type { Message } from '../core/model';

const HOLDS_MS = 8_000;

interface Typing {
  conversation_id: number;
  agent: string;
  typing: boolean;
}

@Injectable({ providedIn: 'root' })
export class TypingStore {
  private readonly timers = new Map<number, ReturnType<typeof setTimeout>>();
  readonly agents = signal<ReadonlyMap<number, string>>(new Map());

  take(data: unknown): void {
    if (!isTyping(data)) return;
    this.set(data.conversation_id, data.typing ? data.agent : null);
  }

  /** Who has written does not write any more. */
  wrote(message: Message): void {
    if (message.sender === 'agent' && this.agents().has(message.conversation_id)) {
      this.set(message.conversation_id, null);
    }
  }

  private set(conversationId: number, agent: string | null): void {
    clearTimeout(this.timers.get(conversationId));
    this.timers.delete(conversationId);
    if (agent !== null) {
      const end = () => this.set(conversationId, null);
      this.timers.set(conversationId, setTimeout(end, HOLDS_MS));
    }
    this.agents.update((agents) => {
      const next = new Map(agents);
      if (agent === null) next.delete(conversationId);
      else next.set(conversationId, agent);
      return next;
    });
  }
}

function isTyping(data: unknown): data is Typing {
  const typing = data as Partial<Typing> | null;
  return typeof typing?.conversation_id === 'number' && typeof typing.agent === 'string';
}
