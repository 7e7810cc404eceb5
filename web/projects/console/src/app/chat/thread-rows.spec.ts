import { at, message } from '../state/testing';
import { Thread } from '../state/thread';
import { ThreadRows } from './thread-rows';

const DAY_S = 86_400;

describe('the rows of a thread', () => {
  it('say where a day begins', () => {
    const thread = new Thread(1);
    thread.receive(message('a', { timestamp: at(0) }));
    thread.receive(message('b', { timestamp: at(1) }));
    thread.receive(message('c', { timestamp: at(DAY_S) }));
    const rows = new ThreadRows().rows(1, thread.entries(), true);
    expect(rows.map(({ day }) => day !== null)).toEqual([true, false, true]);
  });

  it('find what a message answers', () => {
    const thread = new Thread(1);
    thread.receive(message('a', { wa_message_id: 'wamid.a' }));
    thread.receive(message('b', { reply_to: 'wamid.a', timestamp: at(1) }));
    thread.receive(message('c', { reply_to: 'wamid.gone', timestamp: at(2) }));
    const rows = new ThreadRows().rows(1, thread.entries(), true);
    expect(rows.map(({ quoted }) => quoted?.id ?? null)).toEqual([null, 'a', null]);
  });

  it('come in smoothly one by one, not on loading and not in a burst', () => {
    const thread = new Thread(1);
    const rows = new ThreadRows();
    const fresh = () =>
      rows
        .rows(1, thread.entries(), thread.loaded)
        .filter((row) => row.fresh)
        .map(({ entry }) => entry.key);
    thread.addPage([message('a')], null);
    expect(fresh()).toEqual([]);
    thread.receive(message('b', { timestamp: at(1) }));
    expect(fresh()).toEqual(['b']);
    expect(fresh()).toEqual([]);
    for (let n = 0; n < 20; n++) thread.receive(message(`c${n}`, { timestamp: at(2) }));
    expect(fresh()).toEqual([]);
  });
});
