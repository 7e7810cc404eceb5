/**
 * A link under watch: it has to come up in time, to show that it passes both ways, and to be heard
 * of regularly after. What fails one of these is ended as `silent`.
 *
 * A link is *proved* when it has shown that nothing on the way holds it back: a WebSocket by its
 * `pong`, an event stream by its `ping`, a poll by its answer.
 */
import type { Link, LinkContext, LinkEnd, LinkHandlers, LinkRequest, OpenLink } from './links/link';
import { openLongPolling, openPolling } from './links/polling';
import { openSse } from './links/sse';
import { openWebSocket } from './links/websocket';
import type { TransportKind } from './status';
import { Timers } from './timers';
import type { Cursor, Frame } from './types';

const OPENERS: Record<TransportKind, OpenLink> = {
  websocket: openWebSocket,
  sse: openSse,
  'long-polling': openLongPolling,
  polling: openPolling,
};

/** What the owner of a live link is told. */
export interface LiveHandlers {
  up(live: Live): void;
  proved(live: Live): void;
  frame(live: Live, frame: Frame): void;
  moved(live: Live, cursor: Cursor): void;
  /** It has become silent, or is heard again. */
  silence(live: Live): void;
  ended(live: Live, end: LinkEnd): void;
}

export class Live {
  readonly startedAt: number;
  isUp = false;
  isProved = false;
  upAt = 0;
  heardAt: number | null = null;
  silentSince: number | null = null;
  /** When the server ends it unless its token is renewed, as `hello` had it. */
  tokenExpiresAt: string | null = null;
  /** The last event's id, or where the feed is known to have come to on this link. */
  reached: Cursor | null;

  private readonly link: Link;
  private readonly timers = new Timers<'hello' | 'snapshot' | 'heartbeat' | 'pong'>();
  private heartbeatMs = 0;
  private isOver = false;

  constructor(
    readonly kind: TransportKind,
    private readonly request: LinkRequest,
    private readonly handlers: LiveHandlers,
    private readonly context: LinkContext,
  ) {
    this.startedAt = context.platform.now();
    this.reached = request.cursor;
    this.link = OPENERS[kind](request, this.linkHandlers(), context);
  }

  get takesCommands(): boolean {
    return this.isUp && this.link.send !== undefined;
  }

  send(text: string): boolean {
    return !this.isOver && (this.link.send?.(text) ?? false);
  }

  /** Asks the server for a word, where one can ask. */
  verify(): void {
    if (!this.isUp || this.timers.has('pong') || !this.send('{"type":"ping"}')) return;
    const { pongTimeoutMs } = this.context.options.timings;
    this.timers.set('pong', pongTimeoutMs, () => this.silent('pong_timeout'));
  }

  /** Gives it up: it is there, and of no use. */
  fail(code: string, message: string): void {
    this.end({ cause: 'silent', code, message });
  }

  close(): void {
    this.isOver = true;
    this.timers.clearAll();
    this.link.close();
  }

  private linkHandlers(): LinkHandlers {
    const { helloTimeoutMs } = this.context.options.timings;
    return {
      opening: () => {
        this.timers.set('hello', helloTimeoutMs, () => this.silent('hello_timeout'));
      },
      up: () => this.up(),
      frame: (frame) => this.frame(frame),
      moved: (cursor) => {
        this.reached = cursor;
        if (!this.isOver) this.handlers.moved(this, cursor);
      },
      alive: () => this.alive(),
      ended: (end) => this.end(end),
    };
  }

  private up(): void {
    if (this.isOver) return;
    this.isUp = true;
    this.upAt = this.context.platform.now();
    this.timers.clear('hello');
    this.handlers.up(this);
    if (this.isOver) return;
    if (this.request.snapshot) this.awaitSnapshot();
    else if (this.kind === 'websocket') this.verify();
    if (this.kind === 'long-polling' || this.kind === 'polling') this.prove();
  }

  private frame(frame: Frame): void {
    if (this.isOver) return;
    switch (frame.type) {
      case 'hello':
        this.heartbeatMs = frame.data.heartbeat_ms;
        this.tokenExpiresAt = frame.data.token_expires_at;
        this.watchHeartbeat();
        break;
      case 'snapshot':
        this.timers.clear('snapshot');
        this.reached = frame.data.cursor;
        this.verify();
        break;
      case 'ping':
        if (this.kind === 'sse') this.prove();
        break;
      case 'pong':
        this.timers.clear('pong');
        this.prove();
        break;
    }
    if ('id' in frame) this.reached = frame.id;
    this.handlers.frame(this, frame);
  }

  private alive(): void {
    if (this.isOver) return;
    this.heardAt = this.context.platform.now();
    // Any word after a question is an answer to whether the other side is there.
    if (this.isProved) this.timers.clear('pong');
    if (this.silentSince !== null) {
      this.silentSince = null;
      this.handlers.silence(this);
    }
  }

  private prove(): void {
    if (this.isProved || this.isOver) return;
    this.isProved = true;
    this.handlers.proved(this);
  }

  /** A state that is still arriving is waited for; one that stands still is not. */
  private awaitSnapshot(): void {
    const { helloTimeoutMs, requestTimeoutMs } = this.context.options.timings;
    // A WebSocket shows a message only when all of it is here.
    const quietMaxMs = this.kind === 'websocket' ? requestTimeoutMs : helloTimeoutMs;
    const quietMs = this.context.platform.now() - (this.heardAt ?? this.upAt);
    if (quietMs >= quietMaxMs) return this.silent('snapshot_timeout');
    this.timers.set('snapshot', quietMaxMs - quietMs, () => this.awaitSnapshot());
  }

  /** Looks whether heartbeats come: one that is due is first asked after, then given up. */
  private watchHeartbeat(): void {
    if (this.heartbeatMs === 0) return;
    const { heartbeatGraceMs } = this.context.options.timings;
    const quietMs = this.context.platform.now() - (this.heardAt ?? this.upAt);
    const dueMs = this.heartbeatMs + heartbeatGraceMs / 4;
    if (quietMs >= this.heartbeatMs + heartbeatGraceMs) return this.silent('heartbeat_timeout');
    if (quietMs >= dueMs && this.silentSince === null) {
      this.silentSince = (this.heardAt ?? this.upAt) + this.heartbeatMs;
      this.handlers.silence(this);
      this.verify();
    }
    const limitMs = quietMs < dueMs ? dueMs : this.heartbeatMs + heartbeatGraceMs;
    this.timers.set('heartbeat', limitMs - quietMs, () => this.watchHeartbeat());
  }

  private silent(code: string): void {
    // What was proved and falls silent is more likely a network that is gone. Of an event stream
    // that can't be told: it can't be asked.
    const isLost = this.isProved && this.kind !== 'sse';
    const cause = !this.isUp ? 'refused' : isLost ? 'broken' : 'silent';
    this.end({ cause, code, message: SILENCES[code] ?? code });
  }

  private end(end: LinkEnd): void {
    if (this.isOver) return;
    this.close();
    this.handlers.ended(this, end);
  }
}

const SILENCES: Record<string, string> = {
  hello_timeout: 'The server was reached, or something on the way to it, but said nothing.',
  snapshot_timeout: 'The state did not arrive in full.',
  heartbeat_timeout: 'No heartbeat came any more.',
  pong_timeout: 'A ping was not answered.',
};
