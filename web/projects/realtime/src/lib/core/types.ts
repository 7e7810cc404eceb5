/** What goes over the wire, as types: named parts of `generated/schema.ts`. */
import type { components } from './generated/schema';

type Schemas = components['schemas'];

export type Message = Schemas['Message'];
export type Media = Schemas['Media'];
export type Conversation = Schemas['Conversation'];
export type Contact = Schemas['Contact'];
export type LastMessage = Schemas['LastMessage'];
export type MessageStats = Schemas['MessageStats'];
export type BotStatus = Schemas['BotStatus'];
export type WhatsAppState = Schemas['WhatsAppState'];
export type Bulk = Schemas['Bulk'];
export type Snapshot = Schemas['Snapshot'];
export type Problem = Schemas['ProblemBody'];

/** A place in the feed. Opaque, and the same on every transport and instance. */
export type Cursor = string;

/** The events of the feed, by type. */
export interface EventsByType {
  new_message: Schemas['NewMessageEvent'];
  message_status_updated: Schemas['MessageStatusUpdatedEvent'];
  conversation_updated: Schemas['ConversationUpdatedEvent'];
  stats_updated: Schemas['StatsUpdatedEvent'];
  bot_status_changed: Schemas['BotStatusChangedEvent'];
  whatsapp_status_changed: Schemas['WhatsappStatusChangedEvent'];
  bulk_message_progress: Schemas['BulkMessageProgressEvent'];
  bulk_message_completed: Schemas['BulkMessageCompletedEvent'];
  bulk_message_error: Schemas['BulkMessageErrorEvent'];
}

export type EventType = keyof EventsByType;
export type PublicEvent = EventsByType[EventType];

/** All types of events, in the order of the contract. */
export const EVENT_TYPES = [
  'new_message',
  'message_status_updated',
  'conversation_updated',
  'stats_updated',
  'bot_status_changed',
  'whatsapp_status_changed',
  'bulk_message_progress',
  'bulk_message_completed',
  'bulk_message_error',
] as const satisfies readonly EventType[];

/** Why the feed could not be continued. `identity_changed` is this client's own word. */
export type ResetReason =
  'unknown_cursor' | 'expired_cursor' | 'too_far_behind' | 'identity_changed' | (string & {});

/** What is shown is no longer sure: a `snapshot` follows, if snapshots are wanted. */
export interface ResetFrame {
  type: 'reset';
  data: { reason: ResetReason; cursor: Cursor | null };
}

/** Frames without an `id`: they do not move the cursor. */
export interface ControlFramesByType {
  hello: Schemas['HelloFrame'];
  snapshot: Schemas['SnapshotFrame'];
  reset: ResetFrame;
  ack: Schemas['AckFrame'];
  error: Schemas['ErrorFrame'];
  draining: Schemas['DrainingFrame'];
  ping: Schemas['PingFrame'];
  pong: Schemas['PongFrame'];
}

export type ControlFrame = ControlFramesByType[keyof ControlFramesByType];
export type Frame = PublicEvent | ControlFrame;

/** What `onMessage(type)` emits: the `data` of each type. */
export type DataByType = { [T in EventType]: EventsByType[T]['data'] } & {
  [T in keyof ControlFramesByType]: ControlFramesByType[T]['data'];
};

export type Ack = Schemas['AckFrame']['data'];
export type CommandError = Schemas['ErrorFrame']['data'];

/** What a client can ask for, as `sendMessage` takes it. `ref` is drawn when there is none. */
export type Command =
  | (Omit<Schemas['SendMessageCommand'], 'ref'> & { ref?: string })
  | (Omit<Schemas['MarkReadCommand'], 'ref'> & { ref?: string })
  | Schemas['TypingCommand']
  | Schemas['SubscribeCommand'];

/** What is asked of the feed. Nothing given: everything. */
export interface EventFilter {
  types?: readonly EventType[];
  conversationId?: number;
}
