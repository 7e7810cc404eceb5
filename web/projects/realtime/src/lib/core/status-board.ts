/** Puts together what is shown of the connection, and tells it: changes at once, movement seldom. */
import type { ConnectorReport } from './report';
import {
  INITIAL_STATUS,
  WebSocketConnectionState,
  type ConnectionRole,
  type ConnectionStatus,
  type IndicatorLevel,
} from './status';
import { Timers } from './timers';
import type { Cursor } from './types';

/** The cursor and signs of life are shown at most this often. */
const MOVEMENT_INTERVAL_MS = 250;

const STATES: Record<IndicatorLevel, WebSocketConnectionState> = {
  live: WebSocketConnectionState.CONNECTED,
  connecting: WebSocketConnectionState.CONNECTING,
  error: WebSocketConnectionState.ERROR,
  polling: WebSocketConnectionState.DISCONNECTED,
  off: WebSocketConnectionState.DISCONNECTED,
};

export interface BoardInput {
  /** `null`: nobody asked for a connection. */
  report: ConnectorReport | null;
  role: ConnectionRole;
}

export class StatusBoard {
  private shown: ConnectionStatus;
  private movedAt: number | null = null;
  private movedTo: Cursor | null = null;
  private readonly timers = new Timers<'movement'>();
  private readonly listeners = new Set<(status: ConnectionStatus) => void>();

  constructor(
    private readonly now: () => number,
    private readonly read: () => BoardInput & { cursor: Cursor | null },
  ) {
    this.shown = { ...INITIAL_STATUS, since: now() };
  }

  get status(): ConnectionStatus {
    return this.shown;
  }

  listen(listener: (status: ConnectionStatus) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Something of weight has changed. */
  changed(): void {
    this.timers.clear('movement');
    const { report, role, cursor } = this.read();
    const level = levelOf(report);
    if (cursor !== this.movedTo) this.noteMove(cursor);
    const silentSince = report?.silentSince ?? null;
    this.shown = {
      state: STATES[level],
      level,
      role,
      transport: report?.transport ?? null,
      since: level === this.shown.level ? this.shown.since : this.now(),
      cursor,
      cursorMovedAt: this.movedAt,
      heardAt: report?.heardAt ?? this.shown.heardAt,
      silentSince,
      retryAt: report?.retryAt ?? null,
      failures: report?.failures ?? 0,
      lastError: report?.lastError ?? this.shown.lastError,
    };
    for (const listener of this.listeners) listener(this.shown);
  }

  /** The cursor has moved, or the server was heard. */
  moved(cursor: Cursor | null): void {
    this.noteMove(cursor);
    if (!this.timers.has('movement')) {
      this.timers.set('movement', MOVEMENT_INTERVAL_MS, () => this.changed());
    }
  }

  stop(): void {
    this.timers.clearAll();
    this.changed();
  }

  private noteMove(cursor: Cursor | null): void {
    this.movedTo = cursor;
    this.movedAt = this.now();
  }
}

function levelOf(report: ConnectorReport | null): IndicatorLevel {
  if (report === null) return 'off';
  if (report.transport !== null) {
    return report.transport === 'websocket' || report.transport === 'sse' ? 'live' : 'polling';
  }
  return report.failures > 0 ? 'error' : 'connecting';
}
