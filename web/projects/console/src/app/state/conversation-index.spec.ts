import { ConversationIndex, activeAt } from './conversation-index';
import { at, conversation } from './testing';

const ids = (index: ConversationIndex) => index.list().map((one) => one.id);

describe('ConversationIndex', () => {
  it('lists the newest activity first, equal ones by number', () => {
    const index = new ConversationIndex();
    index.replaceAll([
      conversation(1, at(5)),
      conversation(2, at(9)),
      conversation(3, at(5)),
      conversation(4, at(1)),
    ]);
    expect(ids(index)).toEqual([2, 3, 1, 4]);
  });

  it('moves what changed, and only that', () => {
    const index = new ConversationIndex();
    index.replaceAll([1, 2, 3, 4].map((id) => conversation(id, at(id))));
    index.upsert(conversation(2, at(8)));
    expect(ids(index)).toEqual([2, 4, 3, 1]);
  });

  it('keeps the newer copy, whichever comes first', () => {
    const index = new ConversationIndex();
    index.upsert(conversation(1, at(3), { unread_count: 3 }));
    expect(index.upsert(conversation(1, at(2), { unread_count: 9 }))).toBe(false);
    expect(index.get(1)?.unread_count).toBe(3);
  });

  it('gives the same list until something changes', () => {
    const index = new ConversationIndex();
    index.upsert(conversation(1, at(1)));
    const before = index.list();
    expect(index.list()).toBe(before);
    index.upsert(conversation(2, at(2)));
    expect(index.list()).not.toBe(before);
  });

  it('forgets the oldest beyond its bound', () => {
    const index = new ConversationIndex(3);
    index.replaceAll([1, 2, 3, 4, 5].map((id) => conversation(id, at(id))));
    expect(ids(index)).toEqual([5, 4, 3]);
    expect(index.get(1)).toBeUndefined();
  });

  it('is sorted and complete after any run of updates', () => {
    const index = new ConversationIndex();
    let seed = 7;
    const next = (below: number) => (seed = (seed * 48271) % 2147483647) % below;
    let updatedAt = 0;
    for (let step = 0; step < 5_000; step++) {
      const updated_at = at(updatedAt++);
      index.upsert(conversation(1 + next(300), at(next(10_000)), { updated_at }));
    }
    const list = index.list();
    expect(new Set(ids(index)).size).toBe(list.length);
    expect(list.length).toBe(index.size);
    for (let place = 1; place < list.length; place++) {
      const [before, after] = [list[place - 1], list[place]];
      const inOrder =
        activeAt(before) > activeAt(after) ||
        (activeAt(before) === activeAt(after) && before.id > after.id);
      expect(inOrder).toBe(true);
    }
  });
});
