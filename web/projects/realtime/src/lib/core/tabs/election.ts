/**
 * Which tab holds the connection: the one that holds a Web Lock. The browser passes it on when that
 * tab ends in any way; a tab that lives and does not answer has it taken away.
 */
import type { LocksLike } from '../platform';

export interface ElectionHandlers {
  elected(): void;
  /** The lock was taken away: another tab has the connection now. */
  deposed(): void;
}

export class Election {
  private isOver = false;
  private waiting: AbortController | null = null;
  private release: (() => void) | null = null;

  constructor(
    private readonly name: string,
    private readonly locks: LocksLike,
    private readonly handlers: ElectionHandlers,
  ) {
    this.stand();
  }

  /** Takes the lock away from a tab that does not answer. */
  takeOver(): void {
    this.waiting?.abort();
    this.waiting = null;
    this.request({ steal: true });
  }

  close(): void {
    this.isOver = true;
    this.waiting?.abort();
    this.release?.();
  }

  /** Waits in line for the lock. */
  private stand(): void {
    const waiting = new AbortController();
    this.waiting = waiting;
    this.request({ signal: waiting.signal });
  }

  private request(options: { steal?: boolean; signal?: AbortSignal }): void {
    let wasElected = false;
    const held = (): Promise<void> => {
      if (this.isOver) return Promise.resolve();
      wasElected = true;
      this.waiting = null;
      return new Promise((resolve) => {
        this.release = resolve;
        this.handlers.elected();
      });
    };
    this.locks.request(this.name, options, held).catch(() => {
      // Taken away, or not waited for any more.
      if (!wasElected || this.isOver) return;
      this.release = null;
      this.handlers.deposed();
      this.stand();
    });
  }
}
