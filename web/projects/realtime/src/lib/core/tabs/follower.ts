/**
 * A tab that lets another one hold the connection. It takes what that one tells, sees by `before`
 * when it has missed something, and fetches that by polling.
 */
import { failure, type AnyCommand, type AnswerFrame, type CommandDesk } from '../commands';
import type { ConnectorReport } from '../report';
import { compareCursors, isAfter } from '../cursor';
import type { Gate } from '../gate';
import type { LinkContext } from '../links/link';
import { Timers } from '../timers';
import type { ControlFrame, Cursor, Frame } from '../types';
import { CatchUp } from './catch-up';
import type { TabMessage } from './messages';

/** What is told while something missed is fetched; beyond it that is fetched too. */
const WAITING_MAX = 2_000;
const COMMANDS_MAX = 256;

type Told = Extract<TabMessage, { kind: 'feed' }>;

export interface FollowerHandlers {
  frame(frame: Frame): void;
  moved(): void;
  changed(): void;
  /** The tab with the connection does not answer any more. */
  deserted(): void;
}

export class Follower implements CommandDesk {
  private report: ConnectorReport | null = null;
  private leader: string | null = null;
  private waiting: Told[] = [];
  private readonly catchUp: CatchUp;
  private readonly timers = new Timers<'silence' | 'desertion'>();
  private readonly commands = new Map<string, Pending>();

  constructor(
    private readonly id: string,
    private readonly gate: Gate,
    private readonly context: LinkContext,
    private readonly post: (message: TabMessage) => void,
    private readonly handlers: FollowerHandlers,
    /** How long it is waited for the first answer of the tab with the connection. */
    patienceMs: number,
  ) {
    this.catchUp = new CatchUp(gate, context, {
      frame: (frame) => handlers.frame(frame),
      moved: () => this.workOff(),
    });
    this.ask(patienceMs);
  }

  /** How the connection is, as the tab that holds it says. */
  get connection(): ConnectorReport | null {
    return this.report;
  }

  hear(message: TabMessage): void {
    switch (message.kind) {
      case 'beat':
        return this.hearBeat(message.from, message.cursor, message.report);
      case 'feed':
        return this.take(message);
      case 'answer':
        if (message.to === this.id) this.commands.get(message.key)?.settle(message.frame);
        return;
    }
  }

  execute(command: AnyCommand, key: string): Promise<AnswerFrame> {
    if (this.commands.size >= COMMANDS_MAX) {
      const message = 'Too many commands are waiting for their answers.';
      return Promise.resolve(failure(command.ref, 'too_many_commands', message));
    }
    // Longer than the tab that does it tries.
    const limitMs = this.context.options.timings.commandTimeoutMs * 1.5;
    return new Promise((resolve) => {
      const settle = (frame: AnswerFrame): void => {
        clearTimeout(timer);
        this.commands.delete(key);
        resolve(frame);
      };
      const timer = setTimeout(
        () => settle(failure(command.ref, 'timeout', 'There was no answer.')),
        limitMs,
      );
      this.commands.set(key, { command, settle });
      this.post({ kind: 'command', from: this.id, key, command });
    });
  }

  /** Ends, and hands back the commands that have no answer yet. */
  close(): Map<string, Pending> {
    this.timers.clearAll();
    this.catchUp.close();
    this.waiting = [];
    return this.commands;
  }

  private ask(patienceMs: number): void {
    this.post({ kind: 'present', from: this.id, asks: true });
    this.timers.set('desertion', patienceMs, () => {
      this.report = null;
      this.handlers.changed();
      this.handlers.deserted();
      this.ask(patienceMs);
    });
  }

  private hearBeat(from: string, cursor: Cursor | null, report: ConnectorReport): void {
    const isNew = this.leader !== from;
    this.leader = from;
    this.report = report;
    this.timers.clear('desertion');
    const { leaderTimeoutMs, leaderAnswerMs } = this.context.options.timings;
    this.timers.set('silence', leaderTimeoutMs, () => this.ask(leaderAnswerMs));
    this.post({ kind: 'present', from: this.id, asks: false });
    // A command given to a tab that is gone is given to its successor; it is done once.
    if (isNew) {
      for (const [key, { command }] of this.commands) {
        this.post({ kind: 'command', from: this.id, key, command });
      }
    }
    this.handlers.changed();
    if (cursor !== null && !this.hasReached(cursor)) this.catchUp.to(cursor);
  }

  private take(told: Told): void {
    const { before, frame, cursor } = told;
    if (frame && !('id' in frame)) return this.takeControl(frame, cursor);
    if (this.isNext(before)) return this.apply(told);
    if (this.waiting.length >= WAITING_MAX) this.waiting = [];
    this.waiting.push(told);
    if (cursor !== null) this.catchUp.to(cursor);
  }

  private takeControl(frame: ControlFrame, cursor: Cursor | null): void {
    const isState = frame.type === 'snapshot';
    if (isState && this.gate.cursor !== null) {
      // The other tab had nothing yet. This one goes on from where it stands.
      if (cursor !== null && !this.hasReached(cursor)) this.catchUp.to(cursor);
      return;
    }
    if (isState || frame.type === 'reset') {
      this.catchUp.close();
      this.waiting = [];
      this.gate.restart(cursor);
    }
    this.handlers.frame(frame);
  }

  /** Whether nothing lies between what this tab has and what comes after `before`. */
  private isNext(before: Cursor | null): boolean {
    const { cursor } = this.gate;
    if (this.catchUp.isRunning || cursor === null || before === null) return false;
    return (compareCursors(before, cursor) ?? 1) <= 0;
  }

  private apply({ frame, cursor }: Told): void {
    if (frame && 'id' in frame) {
      const verdict = this.gate.judge(frame);
      if (verdict === 'new' || verdict === 'late') this.handlers.frame(frame);
    } else if (cursor !== null && this.gate.moveTo(cursor)) {
      this.handlers.moved();
    }
  }

  /** What was fetched may reach what was told meanwhile. */
  private workOff(): void {
    this.handlers.moved();
    if (this.catchUp.isRunning) return;
    const waiting = this.waiting;
    this.waiting = [];
    for (const told of waiting) this.take(told);
  }

  private hasReached(cursor: Cursor): boolean {
    const here = this.gate.cursor;
    return here !== null && compareCursors(cursor, here) !== null && !isAfter(cursor, here);
  }
}

export interface Pending {
  command: AnyCommand;
  settle(frame: AnswerFrame): void;
}
