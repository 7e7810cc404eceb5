/** What the tab with the connection says of it, to itself and to the other tabs. */
import type { ConnectionError, TransportKind } from './status';

export interface ConnectorReport {
  transport: TransportKind | null;
  failures: number;
  retryAt: number | null;
  heardAt: number | null;
  silentSince: number | null;
  lastError: ConnectionError | null;
}

export const NOTHING_KNOWN: ConnectorReport = {
  transport: null,
  failures: 0,
  retryAt: null,
  heardAt: null,
  silentSince: null,
  lastError: null,
};
