/**
 * Which transport is tried next: the best one first, a lower one when it can't be opened or does
 * not hold, and the better ones again later.
 *
 * A transport that worked before and can't be opened now is more likely a server that is away than
 * a network that has changed, so it is tried once more before the next one is.
 */
import type { Timings } from './options';
import type { TransportKind } from './status';

/** So many short lives in a row, and a transport does not hold in this network. */
const SHORT_LIVES_MAX = 2;
/** So many vain openings of a transport that worked before, and others are tried. */
const VAIN_OPENINGS_MAX = 2;

export type Next =
  /** Try the ladder's present transport, at once. */
  | 'now'
  /** All was tried that there is: wait, then try the present one. */
  | 'wait';

export class Ladder {
  private index = 0;
  private readonly worked = new Set<TransportKind>();
  private readonly proved = new Set<TransportKind>();
  private vainOpenings = 0;
  private shortLives = 0;
  private probeDelayMs: number;
  /** The quick trial of what worked before was made. */
  private hasReturned = false;

  constructor(
    private readonly kinds: readonly TransportKind[],
    private readonly timings: Timings,
  ) {
    this.probeDelayMs = timings.probeAfterMs;
  }

  get kind(): TransportKind {
    return this.kinds[this.index];
  }

  /** The transports that would be better than the present one, the best first. */
  get better(): readonly TransportKind[] {
    return this.kinds.slice(0, this.index);
  }

  /** It was shown that nothing on the way holds back the present transport. */
  wasProved(): void {
    this.proved.add(this.kind);
  }

  isProved(kind: TransportKind): boolean {
    return this.proved.has(kind);
  }

  /** The present transport came up. */
  cameUp(): void {
    this.worked.add(this.kind);
    this.vainOpenings = 0;
    this.hasReturned = false;
  }

  /** The present transport could not be opened. */
  failedToOpen(): Next {
    this.vainOpenings += 1;
    if (this.worked.has(this.kind) && this.vainOpenings < VAIN_OPENINGS_MAX) return 'wait';
    return this.stepDown();
  }

  /** The present transport opened and then said nothing: something holds it back. */
  wentSilent(): Next {
    this.forgetKind();
    return this.stepDown();
  }

  /** The present transport was up for that long, and broke. */
  broke(livedMs: number): void {
    if (livedMs >= this.timings.stableAfterMs) {
      this.shortLives = 0;
      return;
    }
    this.shortLives += 1;
    if (this.shortLives < SHORT_LIVES_MAX || this.index === this.kinds.length - 1) return;
    this.probeDelayMs = Math.min(this.probeDelayMs * 2, this.timings.probeMaxMs);
    this.forgetKind();
    this.stepDown();
  }

  /** A better transport has taken over. */
  climbTo(kind: TransportKind): void {
    this.index = this.kinds.indexOf(kind);
    this.worked.add(kind);
    this.shortLives = this.vainOpenings = 0;
  }

  /** When better transports are to be tried again; longer each time. */
  nextProbeDelay(): number {
    if (this.better.some((kind) => this.worked.has(kind)) && !this.hasReturned) {
      this.hasReturned = true;
      return this.timings.returnAfterMs;
    }
    const delayMs = this.probeDelayMs;
    this.probeDelayMs = Math.min(delayMs * 2, this.timings.probeMaxMs);
    return delayMs;
  }

  /** The network may be another one: what was learnt of it is forgotten. */
  forgetNetwork(): void {
    this.probeDelayMs = this.timings.probeAfterMs;
    this.shortLives = 0;
  }

  private forgetKind(): void {
    this.worked.delete(this.kind);
    this.proved.delete(this.kind);
  }

  private stepDown(): Next {
    this.vainOpenings = this.shortLives = 0;
    this.index = (this.index + 1) % this.kinds.length;
    return this.index === 0 ? 'wait' : 'now';
  }
}
