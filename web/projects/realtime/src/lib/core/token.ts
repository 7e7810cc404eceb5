/** Tokens: asked for by callback, kept while they hold, and never looked at but for their claims. */
import type { TokenProvider, Timings } from './options';
import { settleWithin } from './within';

export interface TokenClaims {
  /** Seconds since 1970. */
  exp?: number;
  sub?: string;
  client_id?: number;
}

/** What a JWT says of itself, unverified; empty for other tokens. */
export function readClaims(token: string): TokenClaims {
  try {
    const payload = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    const claims: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof claims === 'object' && claims !== null ? (claims as TokenClaims) : {};
  } catch {
    return {};
  }
}

/** Whom a token stands for, to tell users apart; `null` when it does not say. */
export function identityOf(token: string): string | null {
  const { sub, client_id } = readClaims(token);
  return sub === undefined && client_id === undefined ? null : `${client_id ?? ''}/${sub ?? ''}`;
}

interface Held {
  token: string;
  /** When to ask for another one. */
  renewAt: number;
}

export class TokenSource {
  private held: Held | null = null;
  private asking: Promise<string> | null = null;

  /** `given` is told of each token that the callback gives. */
  constructor(
    private readonly provider: TokenProvider,
    private readonly timings: Pick<Timings, 'tokenTimeoutMs' | 'renewBeforeMs'>,
    private readonly now: () => number,
    private readonly given: (token: string) => void,
  ) {}

  /** A token that holds for a while, from the callback when the last one does not. */
  get(): Promise<string> {
    if (this.held && this.now() < this.held.renewAt) return Promise.resolve(this.held.token);
    return this.renew();
  }

  /** A token from the callback, whatever is held. */
  renew(): Promise<string> {
    this.asking ??= this.ask().finally(() => (this.asking = null));
    return this.asking;
  }

  /** It was refused: the next `get` asks the callback. */
  forget(): void {
    this.held = null;
  }

  private async ask(): Promise<string> {
    const given = Promise.resolve().then(() => this.provider());
    const { tokenTimeoutMs } = this.timings;
    const token = await settleWithin(given, tokenTimeoutMs, 'the token callback took too long');
    if (typeof token !== 'string' || token === '') throw new Error('the callback gave no token');
    const { exp } = readClaims(token);
    const renewAt = exp === undefined ? Infinity : this.renewalTime(exp * 1_000);
    this.held = { token, renewAt };
    this.given(token);
    return token;
  }

  /** When to renew what ends at `expiresAt`: well before, and not at once for short lives. */
  renewalTime(expiresAt: number): number {
    const life = expiresAt - this.now();
    return expiresAt - Math.min(this.timings.renewBeforeMs, life / 2);
  }
}
