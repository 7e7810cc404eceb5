/**
 * What is being sent from here. A message keeps its `client_ref`, by which the server's copy is
 * recognised, and its idempotency key for as long as nobody knows whether the server has it: sent
 * again with the same key it is the same message.
 */
import type { Media, Message, SendMessage } from '../core/model';
import { ApiProblem } from '../core/problem';

const DRAFTS_MAX = 200;

export interface Draft {
  text?: string;
  media?: Media;
  template?: { name: string; language: string; components: unknown[]; text: string };
  location?: { latitude: number; longitude: number };
  replyTo?: Message;
}

interface Sending {
  body: SendMessage;
  key: string;
}

export class Outgoing {
  private readonly byRef = new Map<string, Sending>();

  compose(conversationId: number, clientId: number, draft: Draft) {
    const clientRef = crypto.randomUUID();
    const body = bodyOf(draft, clientRef);
    this.byRef.set(clientRef, { body, key: clientRef });
    if (this.byRef.size > DRAFTS_MAX) {
      const [oldest] = this.byRef.keys();
      this.byRef.delete(oldest);
    }
    const now = new Date().toISOString();
    const message: Message = {
      id: `local:${clientRef}`,
      conversation_id: conversationId,
      client_id: clientId,
      direction: 'outbound',
      sender: 'agent',
      type: typeOf(draft),
      text: draft.template?.text ?? draft.text ?? null,
      media: draft.media ?? null,
      payload: draft.template ? { name: draft.template.name } : (draft.location ?? null),
      reply_to: draft.replyTo?.wa_message_id ?? null,
      client_ref: clientRef,
      bulk_id: null,
      status: 'queued',
      error: null,
      wa_message_id: null,
      timestamp: now,
      created_at: now,
      status_at: now,
    };
    return { body, message, clientRef };
  }

  again(clientRef: string): SendMessage | undefined {
    return this.byRef.get(clientRef)?.body;
  }

  keyOf(clientRef: string): string {
    return this.byRef.get(clientRef)?.key ?? clientRef;
  }

  /** The server refused: the next attempt is another request. */
  failed(clientRef: string, failure: unknown): void {
    const sending = this.byRef.get(clientRef);
    if (!sending || !(failure instanceof ApiProblem) || failure.isUncertain) return;
    this.byRef.set(clientRef, { ...sending, key: crypto.randomUUID() });
  }

  forget(clientRef: string): void {
    this.byRef.delete(clientRef);
  }
}

function bodyOf(draft: Draft, clientRef: string): SendMessage {
  const body: SendMessage = { client_ref: clientRef };
  if (draft.replyTo) body.reply_to = draft.replyTo.id;
  if (draft.text) body.text = draft.text;
  if (draft.media) body.media = { id: draft.media.id, filename: draft.media.filename };
  if (draft.location) body.location = draft.location;
  if (draft.template) {
    const { name, language, components } = draft.template;
    body.template = { name, language, components };
  }
  return body;
}

function typeOf(draft: Draft): Message['type'] {
  if (draft.template) return 'template';
  if (draft.location) return 'location';
  return draft.media ? mediaType(draft.media.mime_type) : 'text';
}

function mediaType(mimeType: string | null): Message['type'] {
  const [kind] = (mimeType ?? '').split('/');
  if (mimeType === 'image/webp') return 'sticker';
  return kind === 'image' || kind === 'audio' || kind === 'video' ? kind : 'document';
}
