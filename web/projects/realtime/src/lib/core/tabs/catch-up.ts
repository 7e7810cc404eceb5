/** Fetches what a tab has missed of the feed, by polling, until it stands where it should. */
import { Backoff } from '../backoff';
import { compareCursors, isAfter } from '../cursor';
import type { Gate } from '../gate';
import { Intake } from '../intake';
import type { Link, LinkContext } from '../links/link';
import { openPolling } from '../links/polling';
import { Timers } from '../timers';
import type { Cursor, Frame } from '../types';

export interface CatchUpHandlers {
  frame(frame: Frame): void;
  /** It has come further, or to its end. */
  moved(): void;
}

export class CatchUp {
  private target: Cursor | null = null;
  private link: Link | null = null;
  private readonly timers = new Timers<'retry'>();
  private readonly backoff: Backoff;
  private readonly intake: Intake;

  constructor(
    private readonly gate: Gate,
    private readonly context: LinkContext,
    private readonly handlers: CatchUpHandlers,
  ) {
    const { snapshot } = context.options;
    this.intake = new Intake(gate, snapshot, { frame: handlers.frame, moved: () => {} });
    const { backoffBaseMs, backoffMaxMs } = context.options.timings;
    this.backoff = new Backoff(backoffBaseMs, backoffMaxMs, context.platform.random);
  }

  get isRunning(): boolean {
    return this.target !== null;
  }

  to(target: Cursor): void {
    const wasRunning = this.isRunning;
    if (this.target === null || (compareCursors(target, this.target) ?? 1) > 0)
      this.target = target;
    if (!wasRunning) this.open();
  }

  close(): void {
    this.target = null;
    this.link?.close();
    this.link = null;
    this.timers.clearAll();
  }

  private open(): void {
    const { gate, handlers } = this;
    const { snapshot: wantsSnapshot, filter } = this.context.options;
    const snapshot = wantsSnapshot && gate.cursor === null;
    // A state as new as what the others have, whichever instance is asked.
    const cursor = gate.cursor ?? this.target;
    if (!snapshot && gate.cursor === null) gate.restart(cursor);
    this.link = openPolling(
      { cursor, snapshot, filter },
      {
        opening: () => {},
        up: () => this.backoff.reset(),
        alive: () => {},
        frame: (frame) => this.take(frame),
        moved: (reached) => {
          this.intake.move(reached);
          this.finishIfReached();
          handlers.moved();
        },
        ended: () => {
          this.link = null;
          this.timers.set('retry', this.backoff.next(), () => this.open());
        },
      },
      this.context,
    );
  }

  private take(frame: Frame): void {
    if (this.intake.take(frame) !== 'reset') return;
    this.link?.close();
    this.timers.set('retry', this.backoff.next(), () => this.open());
  }

  private finishIfReached(): void {
    const { cursor } = this.gate;
    if (cursor === null || this.target === null) return;
    if (compareCursors(this.target, cursor) === null || isAfter(this.target, cursor)) return;
    this.close();
  }
}
