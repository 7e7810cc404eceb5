/**
 * Keeps one connection to the feed, over whichever transport works, for as long as it is wanted.
 *
 * One link is the primary one. Beside it there may be a challenger (a better transport on
 * probation, or the same one with a newer token), and beside an event stream that has not shown yet
 * that nothing holds it back, a companion that polls. All of them go through the gate, so it does
 * not matter how they overlap.
 *
 * Decides about waiting and trying; which transport comes next is the ladder's business, whether a
 * link still lives is `Live`'s, and what is taken of what it brings is the intake's.
 */
import { Backoff } from './backoff';
import { isAfter } from './cursor';
import type { Gate } from './gate';
import { Intake, type IntakeHandlers } from './intake';
import { Ladder } from './ladder';
import type { LinkContext, LinkEnd } from './links/link';
import { Live, type LiveHandlers } from './live';
import { Renewal } from './renewal';
import type { ConnectorReport } from './report';
import { SleepWatch } from './sleep-watch';
import type { ConnectionError, TransportKind } from './status';
import { Timers } from './timers';
import type { Cursor, EventFilter, Frame } from './types';

/** A companion has brought an event: so long may the stream take to bring it too. */
const COMPANION_LEAD_MS = 5_000;
/** Resets that follow on one another faster are waited with. */
const RESET_INTERVAL_MS = 5_000;

/** What comes out: in the feed's order, each event once. */
export interface ConnectorHandlers extends IntakeHandlers {
  /** What `report` says has changed. */
  changed(): void;
}

export class Connector {
  private primary: Live | null = null;
  private challenger: Live | null = null;
  private companion: Live | null = null;
  private filter: EventFilter;

  private readonly ladder: Ladder;
  private readonly backoff: Backoff;
  private readonly renewal: Renewal;
  private readonly intake: Intake;
  private readonly sleepWatch: SleepWatch;
  private readonly timers = new Timers<
    'retry' | 'stable' | 'probe' | 'probation' | 'companion' | 'drain'
  >();
  private isRunning = false;
  private failures = 0;
  private hasRefreshedToken = false;
  private resetAt = -Infinity;
  private retryAt: number | null = null;
  private lastError: ConnectionError | null = null;
  private heardAt: number | null = null;

  constructor(
    private readonly gate: Gate,
    private readonly context: LinkContext,
    private readonly handlers: ConnectorHandlers,
  ) {
    const { transports, timings, filter, snapshot } = context.options;
    this.filter = filter;
    this.intake = new Intake(gate, snapshot, handlers);
    this.sleepWatch = new SleepWatch(context.platform.now, timings.sleepAfterMs, () =>
      this.wake('sleep'),
    );
    this.ladder = new Ladder(transports, timings);
    this.backoff = new Backoff(
      timings.backoffBaseMs,
      timings.backoffMaxMs,
      context.platform.random,
    );
    this.renewal = new Renewal(context, {
      send: (text) => this.primary?.send(text) ?? false,
      replace: () => this.replacePrimary(),
      failed: (error) => {
        this.fail('token_unavailable', error, this.primary?.kind ?? null);
        handlers.changed();
      },
    });
  }

  start(): void {
    if (this.isRunning) return;
    this.isRunning = true;
    this.sleepWatch.start();
    this.attempt();
  }

  stop(): void {
    this.isRunning = false;
    this.dropLinks();
    this.sleepWatch.stop();
    this.timers.clearAll();
    this.failures = 0;
    this.handlers.changed();
  }

  report(): ConnectorReport {
    const primary = this.primary?.isUp ? this.primary : null;
    return {
      transport: primary?.kind ?? null,
      failures: this.failures,
      retryAt: this.retryAt,
      heardAt: this.lastHeard(),
      silentSince: primary?.silentSince ?? null,
      lastError: this.lastError,
    };
  }

  /** Sends a command over the connection, if it is one that takes commands. */
  send(text: string): boolean {
    return this.primary?.takesCommands === true && this.primary.send(text);
  }

  /** Asks for other events from now on. */
  setFilter(filter: EventFilter): void {
    this.filter = filter;
    this.drop('challenger');
    this.drop('companion');
    if (this.primary) {
      this.primary.close();
      this.attempt();
    }
  }

  /** The network is back, the page is looked at, or the machine has slept. */
  wake(reason: 'online' | 'visible' | 'sleep'): void {
    if (!this.isRunning) return;
    this.backoff.reset();
    if (!this.primary) return this.attempt();
    if (reason === 'visible') return this.primary.verify();
    this.ladder.forgetNetwork();
    if (this.primary.takesCommands) this.primary.verify();
    else if (this.primary.isUp) this.restartPrimary();
    if (this.ladder.better.length > 0) this.scheduleProbe();
  }

  // Attempts ------------------------------------------------------------------------------

  private attempt(): void {
    this.timers.clear('retry');
    this.timers.clear('drain');
    this.retryAt = null;
    if (!this.isRunning) return;
    this.heardAt = this.lastHeard();
    this.primary = this.open(this.ladder.kind);
    this.handlers.changed();
  }

  private open(kind: TransportKind): Live {
    const { cursor } = this.gate;
    const snapshot = this.context.options.snapshot && cursor === null;
    return new Live(
      kind,
      { cursor, snapshot, filter: this.filter },
      this.liveHandlers,
      this.context,
    );
  }

  private retryAfter(delayMs: number): void {
    this.retryAt = this.context.platform.now() + delayMs;
    this.timers.set('retry', delayMs, () => this.attempt());
    this.handlers.changed();
  }

  private readonly liveHandlers: LiveHandlers = {
    up: (live) => this.up(live),
    proved: (live) => this.proved(live),
    frame: (live, frame) => this.frame(live, frame),
    moved: (_live, cursor) => this.moved(cursor),
    silence: () => this.handlers.changed(),
    ended: (live, end) => this.ended(live, end),
  };

  // A link's life -------------------------------------------------------------------------

  private up(live: Live): void {
    this.hasRefreshedToken = false;
    if (live === this.challenger && live.kind === this.ladder.kind) return this.promote(live);
    if (live !== this.primary) return;
    this.failures = 0;
    this.ladder.cameUp();
    this.settle();
    this.handlers.changed();
  }

  private proved(live: Live): void {
    if (live === this.primary) {
      this.ladder.wasProved();
      this.drop('companion');
    } else if (live === this.challenger) {
      const { probationMs } = this.context.options.timings;
      const newest = this.intake.newestEvent;
      this.timers.set('probation', probationMs, () => {
        if (isBehind(live, newest)) live.fail(...HELD_BACK);
        else this.promote(live);
      });
    }
  }

  /** The challenger takes the primary's place. */
  private promote(live: Live): void {
    this.timers.clear('probation');
    this.challenger = null;
    this.heardAt = this.lastHeard();
    this.primary?.close();
    this.primary = live;
    this.ladder.climbTo(live.kind);
    if (live.isProved) this.ladder.wasProved();
    this.renewal.stop();
    if (live.tokenExpiresAt) this.renewal.watch(live.kind, live.tokenExpiresAt);
    this.settle();
    this.handlers.changed();
  }

  /** What follows when there is a working primary. */
  private settle(): void {
    const { timings } = this.context.options;
    this.drop('companion');
    this.timers.clear('retry');
    this.timers.set('stable', timings.stableAfterMs, () => this.backoff.reset());
    this.accompany();
    if (this.ladder.better.length > 0) this.scheduleProbe();
    else this.timers.clear('probe');
  }

  private ended(live: Live, end: LinkEnd): void {
    if (live === this.companion) {
      this.companion = null;
    } else if (live === this.challenger) {
      this.challenger = null;
      this.timers.clear('probation');
      this.challengerFailed(live, end);
    } else if (live === this.primary) {
      this.heardAt = this.lastHeard();
      const wasDraining = this.timers.has('drain');
      this.primary = null;
      this.drop('challenger');
      this.drop('companion');
      this.timers.clear('stable');
      this.timers.clear('probe');
      this.timers.clear('drain');
      this.renewal.stop();
      this.fail(end.code, end.message, live.kind);
      this.primaryEnded(live, wasDraining ? { ...end, cause: 'draining' } : end);
    }
  }

  private primaryEnded(live: Live, end: LinkEnd): void {
    const atLeast = (delayMs: number): number => Math.max(delayMs, end.retryAfterMs ?? 0);
    switch (end.cause) {
      case 'draining':
        this.backoff.reset();
        return this.retryAfter(end.retryAfterMs ?? this.backoff.next());
      case 'unauthorized': {
        this.context.tokens.forget();
        const isFirst = !this.hasRefreshedToken && end.code !== 'token_unavailable';
        this.hasRefreshedToken = true;
        if (isFirst) return this.attempt();
        this.failures += 1;
        return this.retryAfter(this.backoff.next());
      }
      case 'forbidden':
        this.failures += 1;
        return this.retryAfter(atLeast(this.backoff.longest()));
      case 'busy':
        this.failures += live.isUp ? 0 : 1;
        return this.retryAfter(atLeast(this.backoff.next()));
      case 'broken':
        this.ladder.broke(this.context.platform.now() - live.upAt);
        return this.retryAfter(this.backoff.next());
      case 'silent':
      case 'refused':
        return this.tryNext(
          end.cause === 'silent' ? this.ladder.wentSilent() : this.ladder.failedToOpen(),
        );
    }
  }

  private tryNext(next: 'now' | 'wait'): void {
    if (next === 'now') return this.attempt();
    this.failures += 1;
    this.retryAfter(this.backoff.next());
  }

  // Beside the primary --------------------------------------------------------------------

  private scheduleProbe(): void {
    this.timers.set('probe', this.ladder.nextProbeDelay(), () => this.probe(this.ladder.better[0]));
  }

  private probe(kind: TransportKind | undefined): void {
    if (!kind || !this.primary?.isUp || this.gate.cursor === null) return;
    if (this.challenger) return this.scheduleProbe();
    this.challenger = this.open(kind);
  }

  private challengerFailed(live: Live, end: LinkEnd): void {
    const { better } = this.ladder;
    const next = better[better.indexOf(live.kind) + 1];
    if (end.cause === 'unauthorized') this.context.tokens.forget();
    if (live.kind === this.ladder.kind) this.renewal.retry();
    else if (next && end.cause !== 'busy' && end.cause !== 'unauthorized') this.probe(next);
    else if (better.length > 0) this.scheduleProbe();
  }

  /** Opens the same transport anew beside the working one, which ends when the new one is up. */
  private replacePrimary(): void {
    if (!this.primary?.isUp) return;
    this.drop('challenger');
    this.challenger = this.open(this.primary.kind);
  }

  private restartPrimary(): void {
    this.primary?.close();
    this.drop('challenger');
    this.drop('companion');
    this.attempt();
  }

  /** Polls beside a stream that may be held back, so that nothing is late meanwhile. */
  private accompany(): void {
    const { primary } = this;
    if (primary?.kind !== 'sse' || !primary.isUp || primary.isProved) return;
    if (this.companion || this.ladder.isProved('sse') || this.gate.cursor === null) return;
    this.companion = this.open('polling');
  }

  /** The companion has brought something: the stream has to bring it soon, or it is held back. */
  private compareWithCompanion(cursor: Cursor): void {
    if (this.timers.has('companion')) return;
    this.timers.set('companion', COMPANION_LEAD_MS, () => {
      const stream = this.primary;
      if (this.companion && stream && isBehind(stream, cursor)) stream.fail(...HELD_BACK);
    });
  }

  // Frames --------------------------------------------------------------------------------

  private frame(live: Live, frame: Frame): void {
    const isPrimary = live === this.primary;
    switch (frame.type) {
      case 'ping':
      case 'pong':
        return this.handlers.changed();
      case 'hello':
        if (isPrimary) this.renewal.watch(live.kind, frame.data.token_expires_at);
        break;
      case 'draining':
        if (isPrimary) this.drain(frame.data.reconnect_after_ms);
        break;
      case 'ack':
      case 'error':
        if (isPrimary && this.renewal.takes(frame)) return;
        break;
    }
    const taken = this.intake.take(frame);
    if (taken === 'reset') return this.startOver();
    if (taken === 'taken' && live === this.companion && 'id' in frame) {
      this.compareWithCompanion(frame.id);
    }
    if (frame.type === 'hello' || frame.type === 'snapshot') this.accompany();
  }

  private moved(cursor: Cursor): void {
    if (!this.intake.move(cursor)) this.handlers.changed();
  }

  /** The feed can't be continued: a connection of its own loads the state. */
  private startOver(): void {
    if (!this.isRunning) return;
    this.dropLinks();
    const now = this.context.platform.now();
    const isFrequent = now - this.resetAt < RESET_INTERVAL_MS;
    this.resetAt = now;
    if (isFrequent) this.retryAfter(this.backoff.next());
    else this.attempt();
  }

  /** The instance stops then: by that time the next connection is due. */
  private drain(afterMs: number): void {
    this.backoff.reset();
    this.drop('challenger');
    this.timers.clear('probe');
    this.timers.set('drain', afterMs, () => this.restartPrimary());
  }

  // Housekeeping --------------------------------------------------------------------------

  private fail(code: string, message: string, transport: TransportKind | null): void {
    this.lastError = { code, message, transport, at: this.context.platform.now() };
  }

  private drop(which: 'challenger' | 'companion'): void {
    this[which]?.close();
    this[which] = null;
    this.timers.clear(which === 'challenger' ? 'probation' : 'companion');
  }

  private dropLinks(): void {
    this.heardAt = this.lastHeard();
    this.drop('challenger');
    this.drop('companion');
    this.primary?.close();
    this.primary = null;
    this.renewal.stop();
    for (const name of ['retry', 'stable', 'probe', 'drain'] as const) this.timers.clear(name);
    this.retryAt = null;
  }

  private lastHeard(): number | null {
    const heard = [this.heardAt, this.primary?.heardAt, this.companion?.heardAt].map(
      (at) => at ?? 0,
    );
    return Math.max(...heard) || null;
  }
}

const HELD_BACK = ['held_back', 'Events are there that this connection does not bring.'] as const;

function isBehind(live: Live, cursor: Cursor | null): boolean {
  return cursor !== null && (live.reached === null || isAfter(cursor, live.reached));
}
