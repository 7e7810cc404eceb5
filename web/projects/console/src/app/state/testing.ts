/** Conversations and messages for tests, complete and valid. */
import type { Conversation, Message } from '../core/model';

export const at = (second: number) => new Date(Date.UTC(2026, 10, 25, 10, 0, second)).toISOString();

export function message(id: string, more: Partial<Message> = {}): Message {
  return {
    id,
    conversation_id: 1,
    client_id: 1,
    direction: 'outbound',
    sender: 'agent',
    type: 'text',
    text: `text of ${id}`,
    media: null,
    payload: null,
    reply_to: null,
    client_ref: null,
    bulk_id: null,
    status: 'queued',
    error: null,
    wa_message_id: null,
    timestamp: at(0),
    created_at: at(0),
    status_at: at(0),
    ...more,
  };
}

export function conversation(id: number, activeAt: string, more: Partial<Conversation> = {}) {
  return {
    id,
    client_id: 1,
    contact: {
      phone: `+5690000${id}`,
      name: `Contact ${id}`,
      wa_id: null,
      user_id: null,
      username: null,
    },
    status: 'open',
    unread_count: 0,
    last_message: {
      id: `last-${id}`,
      text: 'hello',
      type: 'text',
      direction: 'inbound',
      status: 'received',
      timestamp: activeAt,
    },
    assigned_to: null,
    labels: [],
    bot_enabled: true,
    window_expires_at: null,
    created_at: at(0),
    updated_at: activeAt,
    ...more,
  } satisfies Conversation;
}
