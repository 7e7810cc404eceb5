/** The server's types under the names that this application uses; they come from `openapi/`, by way of the library. */
import type { components } from '@condorito/realtime';

type Schemas = components['schemas'];

export type BotStatus = Schemas['BotStatus'];
export type Bulk = Schemas['Bulk'];
export type BulkAccepted = Schemas['BulkAccepted'];
export type BulkPage = Schemas['BulkPage'];
export type BulkRecipient = Schemas['BulkRecipient'];
export type BulkRecipientPage = Schemas['BulkRecipientPage'];
export type BulkResult = Schemas['BulkResult'];
export type ChangeConversation = Schemas['ChangeConversation'];
export type Conversation = Schemas['Conversation'];
export type ConversationPage = Schemas['ConversationPage'];
export type ConversationStatus = Schemas['ConversationStatus'];
export type Media = Schemas['Media'];
export type Message = Schemas['Message'];
export type MessageError = Schemas['MessageError'];
export type MessagePage = Schemas['MessagePage'];
export type MessageStats = Schemas['MessageStats'];
export type MessageStatus = Schemas['MessageStatus'];
export type MessageType = Schemas['MessageType'];
export type NewBulk = Schemas['NewBulk'];
export type PublicEvent = Schemas['PublicEvent'];
export type SendMessage = Schemas['SendMessage'];
export type Snapshot = Schemas['Snapshot'];
export type StatsAnswer = Schemas['StatsAnswer'];
export type StatsSeries = Schemas['StatsSeries'];
export type Template = Schemas['Template'];
export type UploadedMedia = Schemas['UploadedMedia'];
export type WhatsAppState = Schemas['WhatsAppState'];
