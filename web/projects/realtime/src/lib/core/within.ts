/** The promise's outcome, or a rejection when it takes longer. */
export function settleWithin<T>(promise: Promise<T>, limitMs: number, message: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(message)), limitMs);
    const end = (): void => clearTimeout(timer);
    promise.then(resolve, reject).finally(end);
  });
}

/** Waits, or until the signal says that nobody waits any more. */
export function sleep(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, delayMs);
    signal.addEventListener('abort', end);
  });
}
