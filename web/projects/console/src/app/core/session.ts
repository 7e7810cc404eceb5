/**
 * Who is signed in: a token, from the link's fragment or the form. Browsers don't send the fragment
 * to servers; it is taken out of the address bar at once, and the token kept for this tab only.
 */
import { Injectable, computed, signal } from '@angular/core';

import { readClaims } from './token';

const KEY = 'condorito.token';
/** The library asks for another token a minute before the end; one that holds longer is good. */
const RENEW_BELOW_MS = 65_000;

@Injectable({ providedIn: 'root' })
export class Session {
  private readonly current = signal<string | null>(
    takeFromFragment() ?? sessionStorage.getItem(KEY),
  );
  private handedOut: string | null = null;
  private waiting: ((token: string) => void)[] = [];

  readonly token = this.current.asReadonly();
  readonly claims = computed(() => {
    const token = this.current();
    return token === null ? null : readClaims(token);
  });
  /** `soon`: a new token is asked for while the old one holds. `now`: it does not any more. */
  readonly renewal = signal<'soon' | 'now' | null>(null);

  constructor() {
    const token = this.current();
    if (token !== null) sessionStorage.setItem(KEY, token);
  }

  signIn(token: string): void {
    sessionStorage.setItem(KEY, token);
    this.current.set(token);
    this.renewal.set(null);
    const waiting = this.waiting;
    this.waiting = [];
    if (waiting.length > 0) this.handedOut = token;
    for (const give of waiting) give(token);
  }

  /** Starts anew, so that nothing of one user is left for the next. */
  signOut(): void {
    sessionStorage.removeItem(KEY);
    location.assign('/');
    location.reload();
  }

  /** For the library: a token that holds, asking the user for one where needed. */
  freshToken(): Promise<string> {
    const token = this.current();
    if (token !== null && (token !== this.handedOut || this.leftMs() > RENEW_BELOW_MS)) {
      this.handedOut = token;
      return Promise.resolve(token);
    }
    this.renewal.set(this.leftMs() > 0 ? 'soon' : 'now');
    setTimeout(() => this.ended(), Math.max(0, this.leftMs()));
    return new Promise((give) => this.waiting.push(give));
  }

  /** A request was answered with 401. */
  refused(): void {
    if (this.current() !== null) this.renewal.set('now');
  }

  /** Who closed the reminder is asked again when there is no going on without an answer. */
  private ended(): void {
    if (this.waiting.length > 0 && this.leftMs() <= 0) this.renewal.set('now');
  }

  private leftMs(): number {
    return (this.claims()?.expiresAt ?? 0) - Date.now();
  }
}

function takeFromFragment(): string | null {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token !== null) history.replaceState(null, '', location.pathname + location.search);
  return token;
}
