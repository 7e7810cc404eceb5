import { at, conversation } from '../state/testing';
import { type ConversationFilter, matches } from './conversation-filter';

const plain: ConversationFilter = { scope: 'all', status: '', label: '', me: 'ana' };

describe('the filter of conversations', () => {
  const one = conversation(1, at(1), {
    unread_count: 2,
    assigned_to: 'ana',
    labels: ['vip'],
    status: 'pending',
  });
  const other = conversation(2, at(2));

  it.each([
    [plain, [true, true]],
    [{ ...plain, scope: 'unread' as const }, [true, false]],
    [{ ...plain, scope: 'mine' as const }, [true, false]],
    [{ ...plain, scope: 'unassigned' as const }, [false, true]],
    [{ ...plain, label: 'vip' }, [true, false]],
    [{ ...plain, status: 'open' as const }, [false, true]],
    [{ ...plain, scope: 'mine' as const, status: 'open' as const }, [false, false]],
  ])('%o', (filter, expected) => {
    expect([matches(one, filter), matches(other, filter)]).toEqual(expected);
  });
});
