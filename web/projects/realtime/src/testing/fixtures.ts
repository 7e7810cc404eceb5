/** Small pieces of the wire for tests. */
import type { Conversation, EventsByType, EventType, Message, Snapshot } from '../lib/core/types';

const TIME = '2026-11-24T10:15:30.123Z';

export function conversation(id: number): Conversation {
  return {
    id,
    client_id: 1,
    contact: { phone: '+12025550142', name: 'Ann', wa_id: null, user_id: null, username: null },
    status: 'open',
    unread_count: 0,
    last_message: null,
    assigned_to: null,
    labels: [],
    bot_enabled: true,
    window_expires_at: null,
    created_at: TIME,
    updated_at: TIME,
  };
}

export function message(id: string, conversationId = 1): Message {
  return {
    id,
    conversation_id: conversationId,
    client_id: 1,
    direction: 'inbound',
    sender: 'contact',
    type: 'text',
    text: `text of ${id}`,
    media: null,
    payload: null,
    reply_to: null,
    client_ref: null,
    bulk_id: null,
    status: 'received',
    error: null,
    wa_message_id: null,
    timestamp: TIME,
    created_at: TIME,
    status_at: TIME,
  };
}

export const stats: Snapshot['stats'] = {
  total_messages: 0,
  received: 0,
  sent: 0,
  delivered: 0,
  read: 0,
  failed: 0,
  queued: 0,
  today: { received: 0, sent: 0, delivered: 0, read: 0, failed: 0 },
  conversations: { total: 0, open: 0, pending: 0, closed: 0, unread: 0 },
  delivery_rate: 0,
  read_rate: 0,
  avg_first_response_ms: null,
  updated_at: TIME,
};

export function snapshot(cursor: string): Snapshot {
  return {
    cursor,
    conversations: [conversation(1)],
    stats,
    botStatus: { status: 'active', reason: null, changed_by: null, changed_at: TIME },
    whatsappState: {
      status: 'connected',
      phone_number: null,
      name: null,
      qr: null,
      quality: null,
      reason: null,
      changed_at: TIME,
    },
    bulks: [],
  };
}

/** An event of each type, with data as the contract has it. */
export function event<T extends EventType>(id: string, type: T): EventsByType[T] {
  return { id, type, time: TIME, data: DATA[type](id) } as unknown as EventsByType[T];
}

const DATA: { [T in EventType]: (id: string) => EventsByType[T]['data'] } = {
  new_message: (id) => ({ message: message(`m-${id}`), conversation: conversation(1) }),
  message_status_updated: (id) => ({
    message_id: `m-${id}`,
    conversation_id: 1,
    status: 'delivered',
  }),
  conversation_updated: () => ({ conversation: conversation(1) }),
  stats_updated: () => ({ stats }),
  bot_status_changed: () => ({ botStatus: snapshot('').botStatus }),
  whatsapp_status_changed: () => ({ whatsappState: snapshot('').whatsappState }),
  bulk_message_progress: () => ({
    bulk_id: 'b1',
    progress: { sent: 1, total: 2, currentConversation: 'Ann' },
  }),
  bulk_message_completed: () => ({ bulk_id: 'b1', successCount: 2, errorCount: 0 }),
  bulk_message_error: () => ({ bulk_id: 'b1', error: 'no provider' }),
};

/** A JWT without a true signature. */
export function jwt(claims: { exp?: number; sub?: string; client_id?: number }): string {
  const part = (value: object): string =>
    btoa(JSON.stringify(value)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  return `${part({ alg: 'HS256' })}.${part({ client_id: 1, sub: 'ben', ...claims })}.c2ln`;
}
