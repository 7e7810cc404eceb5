/** What the client can honestly say about its connection. */
import type { Cursor } from './types';

export enum WebSocketConnectionState {
  DISCONNECTED = 'disconnected',
  CONNECTING = 'connecting',
  CONNECTED = 'connected',
  ERROR = 'error',
}

export type TransportKind = 'websocket' | 'sse' | 'long-polling' | 'polling';

/** Best first: the order in which they are tried. */
export const TRANSPORT_KINDS = [
  'websocket',
  'sse',
  'long-polling',
  'polling',
] as const satisfies readonly TransportKind[];

/** What an indicator shows. */
export type IndicatorLevel =
  /** Green: events are pushed as they happen. */
  | 'live'
  /** Yellow: nothing is connected, and that is being mended. */
  | 'connecting'
  /** Red: the last round of attempts failed; the next one is at `retryAt`. */
  | 'error'
  /** Grey: events arrive, but by asking for them. */
  | 'polling'
  /** Grey: nobody asked for a connection. */
  | 'off';

/** Whose connection it is. */
export type ConnectionRole =
  /** This tab's, for itself. */
  | 'alone'
  /** This tab's, for all tabs. */
  | 'leader'
  /** Another tab's. */
  | 'follower';

export interface ConnectionError {
  /** The server's code (`token_expired`), or the client's (`hello_timeout`, `connection_lost`). */
  code: string;
  /** For people who mend things, in English. */
  message: string;
  /** The transport that failed. */
  transport: TransportKind | null;
  /** Milliseconds since 1970, as all times here. */
  at: number;
}

export interface ConnectionStatus {
  /**
   * The state as the frontend knows it. Polling is `DISCONNECTED` with a `transport`: events
   * arrive, but nothing is connected.
   */
  state: WebSocketConnectionState;
  level: IndicatorLevel;
  role: ConnectionRole;
  /** In use; `null` when there is none. */
  transport: TransportKind | null;
  /** When `level` last changed. */
  since: number;
  /** Where this tab stands in the feed. */
  cursor: Cursor | null;
  /** When it last moved. */
  cursorMovedAt: number | null;
  /** When the server last gave any sign of life, a heartbeat included. */
  heardAt: number | null;
  /** Set when that is longer ago than the server's heartbeat allows: since then it is silent. */
  silentSince: number | null;
  /** When the next attempt is due, while one is waited for. */
  retryAt: number | null;
  /** Rounds of attempts that failed since the last success. */
  failures: number;
  lastError: ConnectionError | null;
}

export const INITIAL_STATUS: ConnectionStatus = {
  state: WebSocketConnectionState.DISCONNECTED,
  level: 'off',
  role: 'alone',
  transport: null,
  since: 0,
  cursor: null,
  cursorMovedAt: null,
  heardAt: null,
  silentSince: null,
  retryAt: null,
  failures: 0,
  lastError: null,
};
