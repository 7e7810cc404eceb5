/**
 * The feed by asking, `GET /v1/events`: with a wait (long polling) or at intervals (plain).
 *
 * Where connections are cut after some seconds a long poll asks for shorter waits until it gets
 * answers, and gives up when none is short enough.
 */
import type { TransportKind } from '../status';
import { sleep } from '../within';
import type { Cursor, Snapshot } from '../types';
import { endOf, endOfFailure, readProblem } from './http';
import {
  asFrame,
  authorization,
  feedUrl,
  withoutToken,
  type Link,
  type LinkContext,
  type LinkEnd,
  type LinkHandlers,
  type LinkRequest,
} from './link';

/** Events in one answer. */
const LIMIT = 500;
/** A wait below it is no better than plain polling. */
const WAIT_MIN_MS = 2_000;
/** What fails sooner was not cut off while it waited, but never got through. */
const CUT_AFTER_MS = 1_000;

interface Page {
  events: unknown[];
  cursor: Cursor;
  has_more: boolean;
  snapshot?: Snapshot;
}

export function openLongPolling(
  request: LinkRequest,
  handlers: LinkHandlers,
  context: LinkContext,
): Link {
  return new PollingLink('long-polling', request, handlers, context);
}

export function openPolling(
  request: LinkRequest,
  handlers: LinkHandlers,
  context: LinkContext,
): Link {
  return new PollingLink('polling', request, handlers, context);
}

class PollingLink implements Link {
  private readonly abort = new AbortController();
  private isUp = false;
  private isOver = false;
  private cursor: Cursor | null;
  private wantsSnapshot: boolean;
  private waitMs: number;
  /** A poll that waited was answered: waiting gets through. */
  private hasWaited = false;

  constructor(
    readonly kind: TransportKind,
    private readonly request: LinkRequest,
    private readonly handlers: LinkHandlers,
    private readonly context: LinkContext,
  ) {
    this.cursor = request.cursor;
    this.wantsSnapshot = request.snapshot;
    this.waitMs = kind === 'polling' ? 0 : context.options.timings.longPollWaitMs;
    void this.run();
  }

  close(): void {
    this.isOver = true;
    this.abort.abort();
  }

  private async run(): Promise<void> {
    const { pollIntervalMs } = this.context.options.timings;
    // The first answer comes at once, so that it is known soon whether this works.
    let waitMs = 0;
    while (!this.isOver) {
      const [askedAt, before] = [this.context.platform.now(), this.cursor];
      const answer: Page | 'cut' | null = await this.ask(waitMs);
      if (answer === null) return;
      if (answer === 'cut') {
        waitMs = this.waitMs;
        continue;
      }
      // Whoever answers at once, though there is nothing, is not asked at once again.
      const tookMs = this.context.platform.now() - askedAt;
      const isVain = waitMs > 0 && tookMs < CUT_AFTER_MS && this.cursor === before;
      if (isVain || (waitMs === 0 && this.kind === 'polling' && !answer.has_more)) {
        await sleep(pollIntervalMs, this.abort.signal);
      }
      waitMs = answer.has_more ? 0 : this.waitMs;
    }
  }

  /** One poll, and what it brought handed on; `null` when the link is over. */
  private async ask(waitMs: number): Promise<Page | 'cut' | null> {
    let token: string;
    try {
      token = await this.context.tokens.get();
    } catch (error) {
      return this.end(withoutToken(error));
    }
    if (this.isOver) return null;
    if (!this.isUp) this.handlers.opening();
    const askedAt = this.context.platform.now();
    try {
      const response = await this.fetch(token, waitMs);
      if (this.isOver) return null;
      if (response.status === 200) {
        this.hasWaited ||= waitMs > 0;
        return this.take(await readPage(response));
      }
      const problem = await readProblem(response);
      if (response.status === 410 && problem?.cursor) {
        return this.reset(problem.code, problem.cursor);
      }
      // A proxy that does not wait that long.
      if (response.status === 504 && !problem && this.shortenWait(waitMs, askedAt)) return 'cut';
      return this.endPoll(endOf(response, problem), waitMs);
    } catch (error) {
      if (this.isOver) return null;
      if (this.shortenWait(waitMs, askedAt)) return 'cut';
      return this.endPoll(endOfFailure(error, this.isUp), waitMs);
    }
  }

  private async fetch(token: string, waitMs: number): Promise<Response> {
    const { platform, options } = this.context;
    const request: LinkRequest = {
      cursor: this.cursor,
      snapshot: this.wantsSnapshot,
      filter: this.request.filter,
    };
    const wait = `${Math.round(waitMs / 1_000)}`;
    const url = feedUrl('/v1/events', request, this.context, token, { limit: `${LIMIT}`, wait });
    const limit = new AbortController();
    const stop = (): void => limit.abort();
    const timer = setTimeout(stop, waitMs + options.timings.requestTimeoutMs);
    this.abort.signal.addEventListener('abort', stop);
    try {
      const response = await platform.fetch(url.href, {
        headers: authorization(this.context, token),
        cache: 'no-store',
        signal: limit.signal,
      });
      // Its body is read within the same limit.
      const body = await response.arrayBuffer();
      const { status, headers } = response;
      return new Response(status === 204 || status === 304 ? null : body, { status, headers });
    } finally {
      clearTimeout(timer);
      this.abort.signal.removeEventListener('abort', stop);
    }
  }

  private take(page: Page): Page | null {
    if (this.isOver) return null;
    this.handlers.alive();
    if (!this.isUp) {
      this.isUp = true;
      this.handlers.up();
    }
    if (page.snapshot) {
      this.wantsSnapshot = false;
      this.handlers.frame({ type: 'snapshot', data: page.snapshot });
    }
    for (const event of page.events) {
      const frame = asFrame(event);
      if (frame) this.handlers.frame(frame);
      if (this.isOver) return null;
    }
    this.cursor = page.cursor;
    this.handlers.moved(page.cursor);
    return page;
  }

  /** The feed can't be continued: told as streams tell it, and whoever hears it closes this. */
  private reset(reason: string, cursor: Cursor): null {
    this.handlers.alive();
    this.handlers.frame({ type: 'reset', data: { reason, cursor } });
    return null;
  }

  /** After a wait that was cut off, and did not fail at once: whether there is a shorter one. */
  private shortenWait(waitMs: number, askedAt: number): boolean {
    const waitedMs = this.context.platform.now() - askedAt;
    if (waitMs === 0 || waitedMs < CUT_AFTER_MS || this.waitMs / 2 < WAIT_MIN_MS) return false;
    this.waitMs /= 2;
    return true;
  }

  /** What does not get through once it has is broken; waits that never did are held back. */
  private endPoll(end: LinkEnd, waitMs: number): null {
    const isOfNetwork = end.cause === 'refused' || end.cause === 'broken';
    if (!this.isUp || !isOfNetwork) return this.end(end);
    const isHeldBack = waitMs > 0 && !this.hasWaited;
    return this.end({ ...end, cause: isHeldBack ? 'silent' : 'broken' });
  }

  private end(end: LinkEnd): null {
    if (!this.isOver) {
      this.isOver = true;
      this.abort.abort();
      this.handlers.ended(end);
    }
    return null;
  }
}

async function readPage(response: Response): Promise<Page> {
  const page: unknown = await response.json();
  const { events, cursor } = (page ?? {}) as Partial<Page>;
  if (!Array.isArray(events) || typeof cursor !== 'string') throw new Error('no page of events');
  return page as Page;
}
