import { DestroyRef, inject, signal, type Signal } from '@angular/core';

/** The time, for what is shown as an age or a time left. */
export function now(everyMs = 1_000): Signal<number> {
  const time = signal(Date.now());
  const timer = setInterval(() => time.set(Date.now()), everyMs);
  inject(DestroyRef).onDestroy(() => clearInterval(timer));
  return time.asReadonly();
}
