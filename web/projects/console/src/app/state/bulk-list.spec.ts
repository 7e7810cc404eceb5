import type { Bulk } from '../core/model';
import { BULKS_MAX, BulkList, doneOf, isActive } from './bulk-list';

const bulk = (id: string, more: Partial<Bulk> = {}): Bulk => ({
  id,
  name: `bulk ${id}`,
  status: 'running',
  total: 10,
  sent: 0,
  delivered: 0,
  read: 0,
  failed: 0,
  in_doubt: 0,
  waiting: 10,
  left_out: 0,
  rate_per_second: 20,
  error: null,
  scheduled_at: null,
  started_at: null,
  finished_at: null,
  ...more,
});

describe('BulkList', () => {
  it('lists the newest first and gives the same list until something changes', () => {
    const bulks = new BulkList();
    bulks.replaceAll([bulk('a'), bulk('c'), bulk('b')]);
    expect(bulks.list().map(({ id }) => id)).toEqual(['c', 'b', 'a']);
    expect(bulks.list()).toBe(bulks.list());
  });

  it('takes progress in, with whose turn it is, and keeps that when the bulk is read', () => {
    const bulks = new BulkList();
    bulks.take(bulk('a'));
    bulks.progress('a', { sent: 4, total: 9, currentConversation: '17' });
    expect(bulks.get('a')).toMatchObject({ sent: 4, total: 9, currentConversation: 17 });
    bulks.progress('a', { sent: 5, total: 9, currentConversation: '' });
    bulks.take(bulk('a', { sent: 6, total: 9, delivered: 3 }));
    expect(bulks.get('a')).toMatchObject({ sent: 6, delivered: 3, currentConversation: 17 });
  });

  it('leaves out what it does not know', () => {
    const bulks = new BulkList();
    bulks.progress('x', { sent: 1, total: 2, currentConversation: '1' });
    expect(bulks.list()).toEqual([]);
  });

  it('is bounded', () => {
    const bulks = new BulkList();
    for (let n = 0; n < BULKS_MAX + 5; n++) bulks.take(bulk(String(n).padStart(5, '0')));
    expect(bulks.list()).toHaveLength(BULKS_MAX);
    expect(bulks.get('00000')).toBeUndefined();
  });

  it('says what is done and what goes on', () => {
    expect(doneOf(bulk('a', { sent: 5, failed: 2 }))).toBe(7);
    expect(isActive(bulk('a', { status: 'paused' }))).toBe(true);
    expect(isActive(bulk('a', { status: 'completed' }))).toBe(false);
  });
});
