/** The server's REST interface, typed. Failures are `ApiProblem`s. */
import { Injectable, inject } from '@angular/core';

import type {
  Bulk,
  BulkAccepted,
  BulkPage,
  BulkRecipientPage,
  BulkResult,
  ChangeConversation,
  Conversation,
  ConversationPage,
  ConversationStatus,
  Message,
  MessagePage,
  NewBulk,
  SendMessage,
  StatsAnswer,
  Template,
  UploadedMedia,
} from './model';
import { ApiProblem, problemOf, readProblem } from './problem';
import { Session } from './session';

interface Call {
  method?: 'GET' | 'POST' | 'PATCH' | 'PUT';
  query?: Record<string, string | number | null | undefined>;
  body?: unknown;
  form?: FormData;
  /** Makes repeating the call harmless. */
  key?: string;
  accept?: string;
  signal?: AbortSignal;
}

@Injectable({ providedIn: 'root' })
export class Api {
  private readonly session = inject(Session);

  /** Whether the server takes a token, asked with the smallest of calls. */
  async checkToken(token: string): Promise<void> {
    const headers = { Authorization: `Bearer ${token}` };
    const answer = await reach('/v1/bot/status', { headers });
    if (answer.status === 401) throw await readProblem(answer);
  }

  conversations(query: {
    q?: string;
    status?: ConversationStatus;
    after?: string | null;
    limit?: number;
  }): Promise<ConversationPage> {
    return this.json('/v1/conversations', { query });
  }

  conversation(id: number): Promise<Conversation> {
    return this.json(`/v1/conversations/${id}`, {});
  }

  async openConversation(phone: string): Promise<Conversation> {
    const call: Call = { method: 'POST', body: { phone } };
    return (await this.json<{ conversation: Conversation }>('/v1/conversations', call))
      .conversation;
  }

  async changeConversation(id: number, body: ChangeConversation): Promise<Conversation> {
    const call: Call = { method: 'PATCH', body };
    const path = `/v1/conversations/${id}`;
    return (await this.json<{ conversation: Conversation }>(path, call)).conversation;
  }

  async markRead(id: number): Promise<void> {
    await this.json(`/v1/conversations/${id}/read`, { method: 'POST' });
  }

  messages(id: number, query: { before?: string; limit?: number }): Promise<MessagePage> {
    return this.json(`/v1/conversations/${id}/messages`, { query });
  }

  async send(id: number, body: SendMessage, key: string): Promise<Message> {
    const call: Call = { method: 'POST', body, key };
    return (await this.json<{ message: Message }>(`/v1/conversations/${id}/messages`, call))
      .message;
  }

  async retry(id: number, messageId: string): Promise<Message> {
    const path = `/v1/conversations/${id}/messages/${messageId}/retry`;
    return (await this.json<{ message: Message }>(path, { method: 'POST' })).message;
  }

  async templates(): Promise<readonly Template[]> {
    return (await this.json<{ templates: Template[] }>('/v1/templates', {})).templates;
  }

  stats(query: { bucket: 'hour' | 'day'; from?: string }): Promise<StatsAnswer> {
    return this.json('/v1/stats', { query });
  }

  async setBot(status: 'active' | 'paused'): Promise<void> {
    await this.json('/v1/bot/status', { method: 'PUT', body: { status } });
  }

  bulks(query: { after?: string | null; limit?: number }): Promise<BulkPage> {
    return this.json('/v1/bulk', { query });
  }

  bulk(id: string): Promise<Bulk> {
    return this.json(`/v1/bulk/${id}`, {});
  }

  /** The recipients go as a file, so that what is wrong is told by the file's rows. */
  createBulk(bulk: Omit<NewBulk, 'recipients'>, csv: string, key: string): Promise<BulkAccepted> {
    const form = new FormData();
    form.set('bulk', JSON.stringify(bulk));
    form.set('recipients', new Blob([csv], { type: 'text/csv' }), 'recipients.csv');
    return this.json('/v1/bulk', { method: 'POST', form, key });
  }

  async steerBulk(id: string, action: 'pause' | 'resume' | 'cancel'): Promise<Bulk> {
    const path = `/v1/bulk/${id}/${action}`;
    return (await this.json<{ bulk: Bulk }>(path, { method: 'POST' })).bulk;
  }

  recipients(
    id: string,
    query: { result?: BulkResult; after?: string | null; limit?: number },
  ): Promise<BulkRecipientPage> {
    return this.json(`/v1/bulk/${id}/recipients`, { query });
  }

  async recipientsCsv(id: string, result?: BulkResult): Promise<Blob> {
    const call: Call = { query: { result }, accept: 'text/csv' };
    return (await this.call(`/v1/bulk/${id}/recipients`, call)).blob();
  }

  async media(id: string, signal?: AbortSignal): Promise<Blob> {
    return (await this.call(`/v1/media/${id}`, { signal, accept: '*/*' })).blob();
  }

  /** Uploads a file; `fetch` does not tell how far it has come. */
  upload(file: File, onProgress: (share: number) => void): Promise<UploadedMedia> {
    return new Promise((done, failed) => {
      const request = new XMLHttpRequest();
      request.open('POST', `/v1/media?filename=${encodeURIComponent(file.name)}`);
      request.setRequestHeader('Authorization', `Bearer ${this.session.token()}`);
      request.setRequestHeader('Content-Type', file.type || 'application/octet-stream');
      request.responseType = 'json';
      request.upload.onprogress = ({ loaded, total }) => onProgress(total > 0 ? loaded / total : 0);
      request.onerror = () => failed(new ApiProblem(0, 'network', ''));
      request.onload = () => {
        if (request.status === 201) done(request.response as UploadedMedia);
        else failed(problemOf(request.status, request.response));
      };
      request.send(file);
    });
  }

  private async json<T>(path: string, call: Call): Promise<T> {
    return (await (await this.call(path, call)).json()) as T;
  }

  private async call(path: string, call: Call): Promise<Response> {
    const headers: Record<string, string> = {
      Authorization: `Bearer ${this.session.token()}`,
      Accept: call.accept ?? 'application/json',
    };
    if (call.body !== undefined) headers['Content-Type'] = 'application/json';
    if (call.key !== undefined) headers['Idempotency-Key'] = call.key;
    const answer = await reach(path + queryString(call.query), {
      method: call.method ?? 'GET',
      headers,
      body: call.form ?? (call.body === undefined ? undefined : JSON.stringify(call.body)),
      signal: call.signal,
    });
    if (answer.status === 401) this.session.refused();
    if (!answer.ok) throw await readProblem(answer);
    return answer;
  }
}

async function reach(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, init);
  } catch (failure) {
    if (init.signal?.aborted) throw failure;
    throw new ApiProblem(0, 'network', '');
  }
}

function queryString(query: Call['query']): string {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== null && value !== undefined && value !== '') given.set(name, String(value));
  }
  const text = given.toString();
  return text === '' ? '' : `?${text}`;
}
