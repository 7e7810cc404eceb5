/** Waits of `2^n` seconds with jitter and a ceiling. */
export class Backoff {
  private exponent = 0;

  constructor(
    private readonly baseMs: number,
    private readonly maxMs: number,
    private readonly random: () => number,
  ) {}

  /** The next wait, half of it at least: many clients that fail together come back apart. */
  next(): number {
    const full = Math.min(this.maxMs, this.baseMs * 2 ** this.exponent);
    if (full < this.maxMs) this.exponent += 1;
    return Math.round(full * (0.5 + this.random() / 2));
  }

  reset(): void {
    this.exponent = 0;
  }

  /** As long as it gets, for what waiting alone does not mend. */
  longest(): number {
    return Math.round(this.maxMs * (0.5 + this.random() / 2));
  }
}
