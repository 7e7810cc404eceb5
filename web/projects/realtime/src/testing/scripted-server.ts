/**
 * A server in memory that speaks the contract, behind a network that can be told to misbehave.
 * Time is the test's: everything that waits does so with timers.
 */
import type { SocketLike } from '../lib/core/platform';
import type { EventType, PublicEvent } from '../lib/core/types';
import { event, snapshot } from './fixtures';
import { readClaims } from '../lib/core/token';

/** What the network does to a transport. */
export type Behaviour =
  | 'works'
  /** Closed at once, or answered by a proxy. */
  | 'refused'
  /** Accepted, and then nothing. */
  | 'mute'
  /** `hello` comes through, and then nothing. */
  | 'mute-after-hello';

interface Stream {
  transport: 'websocket' | 'sse';
  position: number;
  types: string[] | null;
  wantsSnapshot: boolean;
  token: string;
  write(frame: object, id?: string): void;
  end(code: number, reason: string): void;
  heartbeat: ReturnType<typeof setInterval>;
  expiry: ReturnType<typeof setTimeout>;
}

interface Answered {
  status: number;
  body: unknown;
}

export class ScriptedServer {
  epoch = 'k3v9q';
  log: PublicEvent[] = [];
  /** Before it the log is expired. */
  expiredUpTo = 0;
  websocket: Behaviour = 'works';
  sse: Behaviour = 'works';
  /** Polls that wait. */
  longPolling: 'works' | 'refused' | 'cut' | 'hasty' = 'works';
  polling: 'works' | 'refused' = 'works';
  isReachable = true;
  heartbeatMs = 25_000;
  /** What is written is lost, and the connection breaks a moment later. */
  isLossy = false;
  wasShuffled = false;
  /** Nothing is said any more on what is open. */
  isSilent = false;
  readonly refusedTokens = new Set<string>();
  readonly requests: string[] = [];
  readonly sockets: string[] = [];
  readonly protocols: string[][] = [];
  readonly commands: Record<string, unknown>[] = [];
  readonly posts: { url: string; key: string; body: unknown }[] = [];
  /** What the next requests are answered with, instead of what they ask for. */
  readonly answers: (() => Response)[] = [];
  /** What becomes of the next posts, before they work. */
  readonly postFaults: ('lost-answer' | 'unavailable')[] = [];
  private readonly done = new Map<string, Answered>();
  private readonly streams = new Set<Stream>();
  private readonly waiting = new Set<() => void>();

  get cursor(): string {
    return this.cursorAt(this.log.length);
  }

  get connections(): number {
    return this.streams.size;
  }

  emit(type: EventType = 'new_message'): PublicEvent {
    const next = event(this.cursorAt(this.log.length + 1), type);
    this.log.push(next);
    for (const stream of this.streams) this.advance(stream);
    for (const wake of [...this.waiting]) wake();
    return next;
  }

  /** All connections break, as with kill -9 or a cable. */
  cut(): void {
    for (const stream of [...this.streams]) this.close(stream, 1006, '');
    for (const wake of [...this.waiting]) wake();
  }

  drain(afterMs: number): void {
    for (const stream of this.streams) {
      stream.write({ type: 'draining', data: { reconnect_after_ms: afterMs } });
      setTimeout(() => this.close(stream, 1001, 'draining'), afterMs);
    }
  }

  /** Another event store: no cursor of before is known. */
  replaceStore(epoch: string): void {
    this.epoch = epoch;
    this.log = [];
    this.cut();
  }

  /** The last events once more, on all that is open. */
  repeat(times: number): void {
    for (const again of this.log.slice(-times)) {
      for (const stream of this.streams) {
        if (Number(again.id.split('-')[1]) <= stream.position) stream.write(again, again.id);
      }
    }
  }

  /** New events that arrive in the wrong order. */
  shuffle(times: number): void {
    this.wasShuffled = true;
    const first = this.log.length + 1;
    const news = Array.from({ length: times }, (_, n) => {
      return event(this.cursorAt(first + n), 'new_message');
    });
    this.log.push(...news);
    for (const stream of this.streams) {
      for (const next of news.toReversed()) stream.write(next, next.id);
      stream.position = this.log.length;
    }
    for (const wake of [...this.waiting]) wake();
  }

  /** Says something on all streams, whatever it is. */
  say(frame: object): void {
    for (const stream of this.streams) stream.write(frame);
  }

  readonly openSocket = (address: string, protocols: string[]): SocketLike => {
    this.sockets.push(address);
    this.protocols.push(protocols);
    const url = new URL(address);
    const token = protocols[1]?.replace(/^bearer\./, '') ?? url.searchParams.get('access_token')!;
    let isOpen = false;
    const later = (run: () => void): void => void setTimeout(run, 1);
    const close = (code: number, reason = ''): void => {
      if (socket.readyState === 3) return;
      socket.readyState = 3;
      later(() => socket.onclose?.({ code, reason }));
    };
    const socket = {
      readyState: 0,
      protocol: 'condorito.v1',
      onopen: null,
      onerror: null,
      onmessage: null as SocketLike['onmessage'],
      onclose: null as SocketLike['onclose'],
      send: (text: string) => stream && this.command(stream, JSON.parse(text), close),
      close: () => {
        if (stream) this.forget(stream);
        close(1000);
      },
    };
    let stream: Stream | null = null;
    later(() => {
      if (!this.isReachable || this.websocket === 'refused') return close(1006);
      if (socket.readyState !== 0) return;
      socket.readyState = 1;
      isOpen = true;
      if (this.websocket === 'mute') return;
      const say = (frame: object): void => {
        const data = JSON.stringify(frame);
        later(() => isOpen && socket.readyState === 1 && socket.onmessage?.({ data }));
      };
      if (!this.accepts(token)) {
        say({ type: 'error', data: { ref: null, code: 'token_expired', message: 'expired' } });
        return later(() => close(4401, 'token_expired'));
      }
      stream = this.open('websocket', url, token, this.websocket, say, (code, reason) => {
        close(code, reason);
      });
    });
    return socket;
  };

  readonly fetch = (async (input: string, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(input);
    this.requests.push(`${init.method ?? 'GET'} ${url.pathname}${url.search}`);
    const { signal } = init;
    await this.pause(1, signal);
    if (!this.isReachable) throw new TypeError('Failed to fetch');
    const answer = this.answers.shift();
    if (answer) return answer();
    const headers = new Headers(init.headers);
    const token =
      url.searchParams.get('access_token') ?? headers.get('authorization')?.slice('Bearer '.length);
    if (init.method === 'POST') return this.post(url, headers, String(init.body));
    const isStream = url.pathname.endsWith('/stream');
    const waits = Number(url.searchParams.get('wait') ?? 0) > 0;
    const isRefused = isStream
      ? this.sse === 'refused'
      : this.polling === 'refused' || (waits && this.longPolling === 'refused');
    if (isRefused) return new Response('<h1>Bad gateway</h1>', { status: 502 });
    if (!this.accepts(token ?? '')) return problem(401, 'token_expired');
    return isStream ? this.stream(url, token ?? '', signal) : this.poll(url, signal);
  }) as typeof fetch;

  private accepts(token: string): boolean {
    const { exp } = readClaims(token);
    return !this.refusedTokens.has(token) && (exp === undefined || exp * 1_000 > Date.now());
  }

  private cursorAt(position: number): string {
    return `${this.epoch}-${position}-0`;
  }

  /** Where a cursor stands; `null` when it can't be continued from. */
  private positionOf(cursor: string): number | null {
    const [epoch, position] = cursor.split('-');
    return epoch === this.epoch && Number(position) >= this.expiredUpTo ? Number(position) : null;
  }

  private open(
    transport: Stream['transport'],
    url: URL,
    token: string,
    behaviour: Behaviour,
    write: (frame: object, id?: string) => void,
    end: (code: number, reason: string) => void,
  ): Stream {
    let isMute = behaviour === 'mute';
    const say = (frame: object, id?: string): void => {
      if (!isMute && !this.isSilent) write(frame, id);
    };
    const exp = (readClaims(token).exp ?? 4_000_000_000) * 1_000;
    const stream: Stream = {
      transport,
      position: this.log.length,
      types: url.searchParams.get('types')?.split(',') ?? null,
      wantsSnapshot: url.searchParams.get('snapshot') === 'true',
      token,
      write: say,
      end,
      heartbeat: setInterval(() => say({ type: 'ping', data: {} }), this.heartbeatMs),
      expiry: this.expire(() => this.close(stream, 4401, 'token_expired'), exp),
    };
    const asked = url.searchParams.get('cursor');
    const position = asked === null ? this.log.length : this.positionOf(asked);
    const here = this.cursorAt(position ?? this.log.length);
    stream.position = position ?? this.log.length;
    const expires = new Date(exp).toISOString();
    const hello = {
      cursor: asked !== null && position !== null ? asked : here,
      protocol: 1,
      heartbeat_ms: this.heartbeatMs,
      connection_id: 'c1',
      token_expires_at: expires,
    };
    say({ type: 'hello', data: hello }, here);
    if (behaviour === 'mute-after-hello') isMute = true;
    if (position === null) {
      const reason = asked!.startsWith(this.epoch) ? 'expired_cursor' : 'unknown_cursor';
      say({ type: 'reset', data: { reason, cursor: here } }, here);
    }
    if (stream.wantsSnapshot) say({ type: 'snapshot', data: snapshot(here) }, here);
    this.streams.add(stream);
    this.advance(stream);
    return stream;
  }

  private expire(run: () => void, at: number): ReturnType<typeof setTimeout> {
    return setTimeout(run, Math.min(at - Date.now(), 2 ** 31 - 1));
  }

  private advance(stream: Stream): void {
    if (this.isLossy && stream.position < this.log.length) {
      stream.position = this.log.length;
      stream.write = () => {};
      setTimeout(() => this.close(stream, 1006, ''), 20);
      return;
    }
    for (const next of this.log.slice(stream.position)) {
      if (!stream.types || stream.types.includes(next.type)) stream.write(next, next.id);
    }
    stream.position = this.log.length;
  }

  private close(stream: Stream, code: number, reason: string): void {
    if (!this.streams.has(stream)) return;
    this.forget(stream);
    stream.end(code, reason);
  }

  private forget(stream: Stream): void {
    clearInterval(stream.heartbeat);
    clearTimeout(stream.expiry);
    this.streams.delete(stream);
  }

  private command(
    stream: Stream,
    command: { type: string; ref?: string; data?: Record<string, unknown> },
    close: (code: number, reason: string) => void,
  ): void {
    this.commands.push({ ...command });
    if (!this.isReachable) return;
    const ref = command.ref ?? null;
    if (command.type === 'ping') return stream.write({ type: 'pong', data: {} });
    if (command.type !== 'auth') return stream.write({ type: 'ack', data: { ref } });
    const token = String(command.data?.['token']);
    if (!this.accepts(token)) {
      const data = { ref, code: 'token_invalid', message: 'the token is not valid' };
      return stream.write({ type: 'error', data });
    }
    const exp = (readClaims(token).exp ?? 4_000_000_000) * 1_000;
    clearTimeout(stream.expiry);
    stream.expiry = this.expire(() => {
      this.forget(stream);
      close(4401, 'token_expired');
    }, exp);
    stream.write({ type: 'ack', data: { ref, token_expires_at: new Date(exp).toISOString() } });
  }

  private stream(url: URL, token: string, signal?: AbortSignal | null): Response {
    const encoder = new TextEncoder();
    let stream: Stream | null = null;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const write = (frame: object, id?: string): void => {
          const head = id ? `id: ${id}\n` : '';
          controller.enqueue(encoder.encode(`${head}data: ${JSON.stringify(frame)}\n\n`));
        };
        if (this.sse !== 'mute') controller.enqueue(encoder.encode('retry: 2000\n'));
        stream = this.open('sse', url, token, this.sse, write, (code) => {
          if (code === 1006) controller.error(new TypeError('network error'));
          else controller.close();
        });
        signal?.addEventListener('abort', () => {
          if (stream) this.forget(stream);
          controller.error(new DOMException('aborted', 'AbortError'));
        });
      },
    });
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  }

  private async poll(url: URL, signal?: AbortSignal | null): Promise<Response> {
    const asked = url.searchParams.get('cursor');
    if (url.searchParams.get('snapshot') === 'true') {
      return page([], this.cursor, { snapshot: snapshot(this.cursor) });
    }
    if (asked === null) return page([], this.cursor);
    const position = this.positionOf(asked);
    if (position === null) {
      const code = asked.startsWith(this.epoch) ? 'expired_cursor' : 'unknown_cursor';
      return problem(410, code, { cursor: this.cursor });
    }
    const waitMs = 1_000 * Number(url.searchParams.get('wait') ?? 0);
    if (waitMs > 0 && position === this.log.length && this.longPolling !== 'hasty') {
      const cutMs = this.longPolling === 'cut' ? Math.min(waitMs, 4_000) : waitMs;
      await this.pause(cutMs, signal, this.waiting);
      const isCut = this.longPolling === 'cut' && cutMs < waitMs;
      if (!this.isReachable || (isCut && position === this.log.length)) {
        throw new TypeError('network error');
      }
    }
    const limit = Number(url.searchParams.get('limit'));
    const types = url.searchParams.get('types')?.split(',');
    const found = this.log.slice(position, position + limit);
    const reached = position + found.length;
    const shown = found.filter(({ type }) => !types || types.includes(type));
    return page(shown, this.cursorAt(reached), { has_more: reached < this.log.length });
  }

  private post(url: URL, headers: Headers, text: string): Response {
    const fault = this.postFaults.shift();
    if (fault === 'unavailable') return problem(503, 'overloaded');
    const key = headers.get('idempotency-key') ?? '';
    const isNew = !this.done.has(key);
    if (isNew) {
      this.posts.push({ url: url.pathname, key, body: JSON.parse(text) });
      this.done.set(key, { status: 202, body: { cursor: this.emit('new_message').id } });
    }
    if (fault === 'lost-answer') throw new TypeError('network error');
    const { status, body } = this.done.get(key)!;
    return Response.json(body, { status });
  }

  /** Waits, or until it is woken or aborted. */
  private pause(
    delayMs: number,
    signal?: AbortSignal | null,
    wakers?: Set<() => void>,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const wake = (): void => {
        clearTimeout(timer);
        wakers?.delete(wake);
        if (signal?.aborted) reject(new DOMException('aborted', 'AbortError'));
        else resolve();
      };
      const timer = setTimeout(wake, delayMs);
      wakers?.add(wake);
      signal?.addEventListener('abort', wake);
      if (signal?.aborted) wake();
    });
  }
}

function page(events: PublicEvent[], cursor: string, more: object = {}): Response {
  return Response.json({ events, cursor, has_more: false, ...more });
}

export function problem(
  status: number,
  code: string,
  more: object = {},
  moreHeaders: Record<string, string> = {},
): Response {
  const body = { type: 'about:blank', title: code, status, detail: code, code, ...more };
  const headers = { 'content-type': 'application/problem+json', ...moreHeaders };
  return new Response(JSON.stringify(body), { status, headers });
}
