/** Notices by a timer that is very late that the machine has slept. */
import { Timers } from './timers';

const TICK_MS = 5_000;

export class SleepWatch {
  private readonly timers = new Timers<'tick'>();
  private tickedAt = 0;

  constructor(
    private readonly now: () => number,
    /** Longer than browsers put off the timers of pages that are not looked at. */
    private readonly sleepAfterMs: number,
    private readonly woke: () => void,
  ) {}

  start(): void {
    this.tickedAt = this.now();
    this.timers.set('tick', TICK_MS, () => this.tick());
  }

  stop(): void {
    this.timers.clearAll();
  }

  private tick(): void {
    const lateMs = this.now() - this.tickedAt - TICK_MS;
    this.start();
    if (lateMs > this.sleepAfterMs) this.woke();
  }
}
