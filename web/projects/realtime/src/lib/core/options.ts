/** What can be set, and what it is when it is not. */
import { TRANSPORT_KINDS, type TransportKind } from './status';
import type { EventFilter } from './types';

/** Gives a token that holds. Asked again before it expires and when it was refused. */
export type TokenProvider = () => string | Promise<string>;

export interface RealtimeOptions extends EventFilter {
  /** Where the server is, a path in front of `/v1` included. Default: the page's own origin. */
  url?: string;
  token: TokenProvider;
  /** Which transports may be used, in their order of trial. Default: all, the best first. */
  transports?: readonly TransportKind[];
  /** Begin with the state, and load it anew after a `reset`. Default: true. */
  snapshot?: boolean;
  /**
   * One connection for all tabs of a browser. Needs Web Locks, which browsers have on HTTPS and
   * localhost only; without them each tab has its own. Default: true.
   */
  shareBetweenTabs?: boolean;
  /**
   * Tabs with different keys do not share. Default: drawn from the address, the filter, and the
   * token's `sub` and `client_id`. Needed when tokens are not JWTs.
   */
  sharingKey?: string;
  /**
   * Give the token as `?access_token=` instead of in a header or subprotocol, for proxies that
   * drop those. It then appears in logs. Default: false.
   */
  tokenInUrl?: boolean;
  timings?: Partial<Timings>;
}

/** All in milliseconds. */
export interface Timings {
  /** From opening a transport to its first word, `hello`. */
  helloTimeoutMs: number;
  /** From a client's `ping` to the `pong`: what shows that a WebSocket passes both ways. */
  pongTimeoutMs: number;
  /** How much later than announced a heartbeat may come. */
  heartbeatGraceMs: number;
  /** First back-off: the n-th is `2^n` times that. */
  backoffBaseMs: number;
  /** The longest back-off. */
  backoffMaxMs: number;
  /** A connection that lived at least that long was a good one. */
  stableAfterMs: number;
  /** Until a better transport is first tried again; doubles with each vain trial. */
  probeAfterMs: number;
  probeMaxMs: number;
  /** The same where a better transport has worked before. */
  returnAfterMs: number;
  /** How long a better transport must hold before the working one is given up for it. */
  probationMs: number;
  /** How long a poll waits for news. */
  longPollWaitMs: number;
  /** From one plain poll to the next. */
  pollIntervalMs: number;
  /** How long any single request may take, beyond what it waits for news. */
  requestTimeoutMs: number;
  /** How long the token callback may take. */
  tokenTimeoutMs: number;
  /** How long before its end a token is renewed. */
  renewBeforeMs: number;
  /** A timer that is that late was asleep with the machine. */
  sleepAfterMs: number;
  /** How long a command is tried before it is given up. */
  commandTimeoutMs: number;
  /** How often the tab that holds the connection shows the others that it lives. */
  leaderBeatMs: number;
  /** After that long without a beat the others ask. */
  leaderTimeoutMs: number;
  /** When that is not answered for so long, they take over. */
  leaderAnswerMs: number;
}

export const DEFAULT_TIMINGS: Timings = {
  helloTimeoutMs: 5_000,
  pongTimeoutMs: 5_000,
  heartbeatGraceMs: 10_000,
  backoffBaseMs: 1_000,
  backoffMaxMs: 30_000,
  stableAfterMs: 15_000,
  probeAfterMs: 30_000,
  probeMaxMs: 600_000,
  returnAfterMs: 3_000,
  probationMs: 5_000,
  longPollWaitMs: 25_000,
  pollIntervalMs: 3_000,
  requestTimeoutMs: 15_000,
  tokenTimeoutMs: 15_000,
  renewBeforeMs: 60_000,
  sleepAfterMs: 75_000,
  commandTimeoutMs: 60_000,
  leaderBeatMs: 5_000,
  leaderTimeoutMs: 15_000,
  leaderAnswerMs: 5_000,
};

/** Options with nothing left open. */
export interface ResolvedOptions {
  /** Absolute, without a slash at its end. */
  baseUrl: string;
  token: TokenProvider;
  transports: readonly TransportKind[];
  filter: EventFilter;
  snapshot: boolean;
  shareBetweenTabs: boolean;
  sharingKey: string | null;
  tokenInUrl: boolean;
  timings: Timings;
}

export function resolveOptions(options: RealtimeOptions, pageUrl?: string): ResolvedOptions {
  const transports = options.transports ?? TRANSPORT_KINDS;
  if (transports.length === 0) throw new TypeError('transports: at least one is needed');
  const baseUrl = new URL(options.url ?? '/', pageUrl ?? 'http://localhost').href.replace(
    /[?#].*$/,
    '',
  );
  return {
    baseUrl: baseUrl.replace(/\/+$/, ''),
    token: options.token,
    transports,
    filter: { types: options.types, conversationId: options.conversationId },
    snapshot: options.snapshot ?? true,
    shareBetweenTabs: options.shareBetweenTabs ?? true,
    sharingKey: options.sharingKey ?? null,
    tokenInUrl: options.tokenInUrl ?? false,
    timings: { ...DEFAULT_TIMINGS, ...options.timings },
  };
}
