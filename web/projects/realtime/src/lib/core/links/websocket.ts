/** The feed over WebSocket, `GET /v1/ws`. */
import type { SocketLike } from '../platform';
import {
  describe,
  feedUrl,
  readFrame,
  withoutToken,
  type EndCause,
  type Link,
  type LinkContext,
  type LinkEnd,
  type LinkHandlers,
  type LinkRequest,
} from './link';

const OPEN = 1;

export function openWebSocket(
  request: LinkRequest,
  handlers: LinkHandlers,
  context: LinkContext,
): Link {
  return new WebSocketLink(request, handlers, context);
}

class WebSocketLink implements Link {
  readonly kind = 'websocket';
  private socket: SocketLike | null = null;
  private isUp = false;
  private isOver = false;
  /** The server's own words before it closes a connection that may not be. */
  private refusal: string | null = null;

  constructor(
    private readonly request: LinkRequest,
    private readonly handlers: LinkHandlers,
    private readonly context: LinkContext,
  ) {
    context.tokens.get().then(
      (token) => this.open(token),
      (error: unknown) => this.end(withoutToken(error)),
    );
  }

  send(text: string): boolean {
    if (this.socket?.readyState !== OPEN || this.isOver) return false;
    this.socket.send(text);
    return true;
  }

  close(): void {
    this.isOver = true;
    this.release();
  }

  private open(token: string): void {
    if (this.isOver) return;
    this.handlers.opening();
    const { platform, options } = this.context;
    if (!platform.openSocket) {
      return this.end({
        cause: 'refused',
        code: 'no_websocket',
        message: 'This browser has no WebSocket.',
      });
    }
    // Its own pings are not seen by a page, so frames are asked for.
    const url = feedUrl('/v1/ws', this.request, this.context, token, { ping: 'true' });
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const protocols = ['condorito.v1', ...(options.tokenInUrl ? [] : [`bearer.${token}`])];
    try {
      this.socket = platform.openSocket(url.href, protocols);
    } catch (error) {
      // A token with characters that a subprotocol can't have, or a forbidden address.
      return this.end({ cause: 'refused', code: 'not_openable', message: describe(error) });
    }
    this.socket.onmessage = ({ data }) => this.receive(data);
    this.socket.onclose = ({ code, reason }) => this.closed(code, reason);
  }

  private receive(data: unknown): void {
    if (this.isOver) return;
    const frame = typeof data === 'string' ? readFrame(data) : null;
    if (!frame) {
      return this.end({ cause: 'broken', code: 'bad_frame', message: 'A message was no frame.' });
    }
    this.handlers.alive();
    if (frame.type === 'hello' && !this.isUp) {
      this.isUp = true;
      this.handlers.up();
    }
    if (frame.type === 'error' && !this.isUp) {
      this.refusal = frame.data.message;
      return;
    }
    this.handlers.frame(frame);
  }

  private closed(code: number, reason: string): void {
    const cause = CAUSES.get(code) ?? (this.isUp ? 'broken' : 'refused');
    const message = this.refusal ?? `The WebSocket was closed with ${code}.`;
    this.end({ cause, code: reason || `ws_${code}`, message });
  }

  private end(end: LinkEnd): void {
    if (this.isOver) return;
    this.isOver = true;
    this.release();
    this.handlers.ended(end);
  }

  private release(): void {
    const socket = this.socket;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    this.socket = null;
    if (socket.readyState <= OPEN) socket.close(1000);
  }
}

/** Close codes of the contract that say more than that the connection is gone. */
const CAUSES: ReadonlyMap<number, EndCause> = new Map([
  [1001, 'draining'],
  [1012, 'busy'],
  [4400, 'forbidden'],
  [4401, 'unauthorized'],
  [4403, 'forbidden'],
  [4429, 'busy'],
]);
