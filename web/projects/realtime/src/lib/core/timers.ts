/** Named timers: setting one anew replaces it, and all of them end together. */
export class Timers<Name extends string> {
  private readonly running = new Map<Name, ReturnType<typeof setTimeout>>();

  set(name: Name, delayMs: number, run: () => void): void {
    this.clear(name);
    const timer = setTimeout(
      () => {
        this.running.delete(name);
        run();
      },
      Math.min(Math.max(0, delayMs), MAX_DELAY_MS),
    );
    this.running.set(name, timer);
  }

  has(name: Name): boolean {
    return this.running.has(name);
  }

  clear(name: Name): void {
    clearTimeout(this.running.get(name));
    this.running.delete(name);
  }

  clearAll(): void {
    for (const timer of this.running.values()) clearTimeout(timer);
    this.running.clear();
  }
}

/** Beyond it browsers fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;
