/**
 * Gathers what comes in and hands it over once per animation frame, so that a burst of events
 * costs one rendering. A hidden page has no frames: there a timer takes their place.
 */
const HIDDEN_FLUSH_MS = 250;

export interface FrameClock {
  isHidden(): boolean;
  requestFrame(callback: () => void): void;
  setTimer(callback: () => void, milliseconds: number): void;
}

export const BROWSER_CLOCK: FrameClock = {
  isHidden: () => document.hidden,
  requestFrame: (callback) => void requestAnimationFrame(callback),
  setTimer: (callback, milliseconds) => void setTimeout(callback, milliseconds),
};

export class FrameQueue<T> {
  private waiting: T[] = [];

  constructor(
    private readonly handle: (batch: readonly T[]) => void,
    private readonly clock: FrameClock = BROWSER_CLOCK,
  ) {}

  push(item: T): void {
    this.waiting.push(item);
    if (this.waiting.length > 1) return;
    const flush = () => this.flush();
    // Frames stop when the page is hidden after asking for one: the timer is there for that.
    this.clock.setTimer(flush, HIDDEN_FLUSH_MS);
    if (!this.clock.isHidden()) this.clock.requestFrame(flush);
  }

  /** Hands over what waits, now. */
  flush(): void {
    if (this.waiting.length === 0) return;
    const batch = this.waiting;
    this.waiting = [];
    this.handle(batch);
  }
}
