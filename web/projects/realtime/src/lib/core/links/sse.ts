/**
 * The feed as Server-Sent Events, `GET /v1/events/stream`, by fetch: the token stays in a header,
 * and heartbeats are seen.
 */
import { SseParser, type SseBlock } from '../sse-parser';
import { endOf, endOfFailure, readProblem } from './http';
import {
  authorization,
  feedUrl,
  readFrame,
  withoutToken,
  type Link,
  type LinkContext,
  type LinkEnd,
  type LinkHandlers,
  type LinkRequest,
} from './link';

export function openSse(request: LinkRequest, handlers: LinkHandlers, context: LinkContext): Link {
  return new SseLink(request, handlers, context);
}

class SseLink implements Link {
  readonly kind = 'sse';
  private readonly abort = new AbortController();
  private isUp = false;
  private isOver = false;

  constructor(
    private readonly request: LinkRequest,
    private readonly handlers: LinkHandlers,
    private readonly context: LinkContext,
  ) {
    void this.run();
  }

  close(): void {
    this.isOver = true;
    this.abort.abort();
  }

  private async run(): Promise<void> {
    let token: string;
    try {
      token = await this.context.tokens.get();
    } catch (error) {
      return this.end(withoutToken(error));
    }
    if (this.isOver) return;
    this.handlers.opening();
    try {
      const url = feedUrl('/v1/events/stream', this.request, this.context, token, { ping: 'true' });
      const response = await this.context.platform.fetch(url.href, {
        headers: { ...authorization(this.context, token), Accept: 'text/event-stream' },
        cache: 'no-store',
        signal: this.abort.signal,
      });
      const type = response.headers.get('content-type') ?? '';
      if (response.status === 200 && response.body && type.startsWith('text/event-stream')) {
        await this.follow(response.body);
      } else {
        this.end(endOf(response, await readProblem(response)));
      }
    } catch (error) {
      this.end(endOfFailure(error, this.isUp));
    }
  }

  private async follow(body: ReadableStream<Uint8Array>): Promise<void> {
    const parser = new SseParser();
    const decoder = new TextDecoder();
    const reader = body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (this.isOver) return;
      if (done) break;
      this.handlers.alive();
      for (const block of parser.push(decoder.decode(value, { stream: true }))) {
        this.take(block);
        if (this.isOver) return;
      }
    }
    const cause = this.isUp ? 'broken' : 'refused';
    this.end({ cause, code: 'stream_ended', message: 'The event stream ended.' });
  }

  private take({ id, data }: SseBlock): void {
    if (data === null) {
      if (id) this.handlers.moved(id);
      return;
    }
    const frame = readFrame(data);
    if (!frame) {
      return this.end({ cause: 'broken', code: 'bad_frame', message: 'A message was no frame.' });
    }
    if (frame.type === 'hello' && !this.isUp) {
      this.isUp = true;
      this.handlers.up();
    }
    this.handlers.frame(frame);
  }

  private end(end: LinkEnd): void {
    if (this.isOver) return;
    this.isOver = true;
    this.abort.abort();
    this.handlers.ended(end);
  }
}
