/** The client without any framework: one tab's view of the feed. */
import { Backoff } from './backoff';
import {
  failure,
  isCommand,
  RealtimeCommandError,
  type AnyCommand,
  type AnswerFrame,
} from './commands';
import { Gate } from './gate';
import { describe, type LinkContext } from './links/link';
import { resolveOptions, type RealtimeOptions, type ResolvedOptions } from './options';
import { browserPlatform, type Platform } from './platform';
import { NOTHING_KNOWN, type ConnectorReport } from './report';
import { Session } from './session';
import type { ConnectionStatus } from './status';
import { StatusBoard } from './status-board';
import { Timers } from './timers';
import { identityOf, TokenSource } from './token';
import type { Ack, Command, Frame } from './types';

/** Commands given before it is known who the user is. */
const EARLY_COMMANDS_MAX = 64;

type Listener = (frame: Frame) => void;

export class RealtimeClient {
  private readonly options: ResolvedOptions;
  private readonly platform: Platform;
  private readonly context: LinkContext;
  private readonly gate = new Gate();
  private readonly board: StatusBoard;
  private readonly backoff: Backoff;
  private readonly timers = new Timers<'identify'>();
  private readonly listeners = new Set<Listener>();
  private session: Session | null = null;
  private isStarted = false;
  /** Told apart from `start` to `start`, for what comes back late. */
  private runs = 0;
  private identity: string | null = null;
  private signIn: ConnectorReport = NOTHING_KNOWN;
  private early: (() => void)[] = [];
  private endSignals: () => void = () => {};

  constructor(options: RealtimeOptions, platform: Partial<Platform> = {}) {
    this.platform = { ...browserPlatform(), ...platform };
    this.options = resolveOptions(options, this.platform.pageUrl);
    const { timings, token } = this.options;
    const { now, random } = this.platform;
    const tokens = new TokenSource(token, timings, now, (given) => this.checkIdentity(given));
    this.context = { platform: this.platform, options: this.options, tokens };
    this.backoff = new Backoff(timings.backoffBaseMs, timings.backoffMaxMs, random);
    this.board = new StatusBoard(now, () => ({
      role: 'alone',
      report: this.isStarted ? this.signIn : null,
      ...this.session?.board,
      cursor: this.gate.cursor,
    }));
  }

  get status(): ConnectionStatus {
    return this.board.status;
  }

  /** Connects, and stays connected until `stop`. */
  start(): void {
    if (this.isStarted) return;
    this.isStarted = true;
    this.runs += 1;
    this.endSignals = this.platform.onSignal((signal) => this.session?.signal(signal));
    this.context.tokens.forget();
    void this.begin(this.runs);
    this.board.changed();
  }

  /** Ends the connection. `start` goes on where it was, for the same user. */
  stop(): void {
    if (!this.isStarted) return;
    this.isStarted = false;
    this.endSignals();
    this.timers.clearAll();
    this.endSession();
    this.signIn = NOTHING_KNOWN;
    this.releaseEarly();
    this.board.stop();
  }

  /** Hears all frames: events, each once and in order, and control frames. */
  onFrame(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  onStatus(listener: (status: ConnectionStatus) => void): () => void {
    return this.board.listen(listener);
  }

  /** Sends a command; its answer comes as a frame, `ack` or `error`. */
  send(command: unknown): void {
    if (!isCommand(command)) {
      const message = 'A command is an object with a string `type`.';
      return this.emit(failure(null, 'invalid_request', message));
    }
    void this.execute(command).then((answer) => this.emit(answer));
  }

  /** Sends a command and waits for its answer. */
  async request(command: Command): Promise<Ack> {
    const answer = await this.execute(command as AnyCommand);
    if (answer.type === 'error') throw new RealtimeCommandError(answer.data);
    return answer.data;
  }

  private async execute(command: AnyCommand): Promise<AnswerFrame> {
    if (!this.session && this.isStarted && this.early.length < EARLY_COMMANDS_MAX) {
      await new Promise<void>((resolve) => this.early.push(resolve));
    }
    const { session } = this;
    if (session) return session.execute(command, drawKey());
    return failure(command.ref, 'not_connected', 'There is no connection: call connect() first.');
  }

  /** Finds out who the user is, and begins. */
  private async begin(run: number): Promise<void> {
    let token: string;
    try {
      token = await this.context.tokens.get();
    } catch (error) {
      if (run !== this.runs || !this.isStarted) return;
      const delayMs = this.backoff.next();
      const now = this.platform.now();
      const lastError = {
        code: 'token_unavailable',
        message: describe(error),
        transport: null,
        at: now,
      };
      const failures = this.signIn.failures + 1;
      this.signIn = { ...NOTHING_KNOWN, failures, retryAt: now + delayMs, lastError };
      this.timers.set('identify', delayMs, () => void this.begin(run));
      return this.board.changed();
    }
    if (run !== this.runs || !this.isStarted || this.session) return;
    this.backoff.reset();
    const sharedAs = this.options.shareBetweenTabs ? this.sharedName(token) : null;
    this.session = new Session(this.gate, this.context, sharedAs, {
      frame: (frame) => {
        this.emit(frame);
        this.board.moved(this.gate.cursor);
      },
      moved: () => this.board.moved(this.gate.cursor),
      changed: () => this.board.changed(),
    });
    this.releaseEarly();
    this.board.changed();
  }

  /** Tabs with the same name share: same server, same filter, same user. */
  private sharedName(token: string): string | null {
    const { baseUrl, filter, snapshot, transports, sharingKey } = this.options;
    const who = sharingKey ?? identityOf(token);
    if (who === null) return null;
    return JSON.stringify([
      baseUrl,
      who,
      filter.types ?? [],
      filter.conversationId,
      snapshot,
      transports,
    ]);
  }

  /** Another user's token: nothing of the first one's may stay. */
  private checkIdentity(token: string): void {
    const identity = identityOf(token);
    const hasChanged = this.identity !== null && identity !== this.identity;
    this.identity = identity;
    if (!hasChanged) return;
    this.endSession();
    this.gate.restart(null);
    this.emit({ type: 'reset', data: { reason: 'identity_changed', cursor: null } });
    if (!this.isStarted) return;
    this.runs += 1;
    void this.begin(this.runs);
  }

  /** Nothing that it says of itself while it ends is shown. */
  private endSession(): void {
    const { session } = this;
    this.session = null;
    session?.close();
  }

  private releaseEarly(): void {
    for (const resolve of this.early.splice(0)) resolve();
  }

  private emit(frame: Frame): void {
    for (const listener of this.listeners) {
      try {
        listener(frame);
      } catch (error) {
        // A listener's mistake is its own: it must not cost the others this frame.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}

/** A mark that nobody else draws; `crypto.randomUUID` is not there on plain HTTP. */
function drawKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
