/**
 * Renews the token of an open connection before it ends: on a WebSocket with `auth`, on an event
 * stream by a second one that takes over. Polls bring a token each time.
 */
import { describe, type LinkContext } from './links/link';
import type { TransportKind } from './status';
import { Timers } from './timers';
import type { Frame } from './types';

/** What marks the answers to our own `auth` commands. */
const REF_PREFIX = 'auth:';
/** After a renewal that failed. */
const RETRY_MS = 5_000;

export interface RenewalHandlers {
  send(text: string): boolean;
  /** Connect anew with the new token, then let go of the old connection. */
  replace(): void;
  failed(message: string): void;
}

export class Renewal {
  private readonly timers = new Timers<'renew'>();
  private kind: TransportKind | null = null;
  private commands = 0;

  constructor(
    private readonly context: LinkContext,
    private readonly handlers: RenewalHandlers,
  ) {}

  /** The connection ends at that time unless it is renewed. */
  watch(kind: TransportKind, tokenExpiresAt: string): void {
    this.kind = kind;
    const expiresAt = Date.parse(tokenExpiresAt);
    if (Number.isNaN(expiresAt)) return;
    const { tokens, platform } = this.context;
    // A clock that is ahead must not make it ask without end.
    const delayMs = Math.max(tokens.renewalTime(expiresAt) - platform.now(), RETRY_MS);
    this.timers.set('renew', delayMs, () => void this.renew());
  }

  retry(): void {
    this.timers.set('renew', RETRY_MS, () => void this.renew());
  }

  stop(): void {
    this.kind = null;
    this.timers.clearAll();
  }

  /** Whether this was the answer to an `auth` of ours. */
  takes(frame: Frame): boolean {
    if (frame.type !== 'ack' && frame.type !== 'error') return false;
    const { ref } = frame.data;
    if (typeof ref !== 'string' || !ref.startsWith(REF_PREFIX)) return false;
    if (frame.type === 'ack') {
      const { token_expires_at } = frame.data;
      if (this.kind && token_expires_at) this.watch(this.kind, token_expires_at);
    } else {
      this.context.tokens.forget();
      this.handlers.failed(frame.data.message);
      this.retry();
    }
    return true;
  }

  private async renew(): Promise<void> {
    const { kind } = this;
    let token: string;
    try {
      token = await this.context.tokens.renew();
    } catch (error) {
      if (this.kind === null) return;
      this.handlers.failed(describe(error));
      return this.retry();
    }
    if (this.kind !== kind || kind === null) return;
    if (kind === 'sse') return this.handlers.replace();
    this.commands += 1;
    const ref = `${REF_PREFIX}${this.commands}`;
    const sent = this.handlers.send(JSON.stringify({ type: 'auth', ref, data: { token } }));
    if (!sent) this.retry();
  }
}
