/**
 * How far a message has come: `queued < sent < failed < delivered < read`, the server's own
 * lattice. Whatever the order in which statuses are heard of, the furthest one holds.
 */
import type { MessageStatus } from '../core/model';

const RANKS: Record<Exclude<MessageStatus, 'received'>, number> = {
  queued: 0,
  sent: 1,
  failed: 2,
  delivered: 3,
  read: 4,
};

export function advances(now: MessageStatus, next: MessageStatus): boolean {
  return now !== 'received' && next !== 'received' && RANKS[next] > RANKS[now];
}
