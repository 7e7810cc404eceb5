import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BrowserTabs } from '../../../testing/browser-tabs';
import { jwt } from '../../../testing/fixtures';
import { pass, type Harness } from '../../../testing/harness';

beforeEach(() => vi.useFakeTimers({ now: Date.parse('2026-11-24T10:00:00Z') }));
afterEach(() => vi.useRealTimers());

const rolesOf = (...tabs: Harness[]): string[] => tabs.map(({ status }) => status.role);

/** Emits now and then, and lets time pass. */
async function work(tabs: BrowserTabs, times: number): Promise<void> {
  for (let n = 0; n < times; n += 1) {
    tabs.server.emit();
    await pass(100);
  }
}

describe('several tabs', () => {
  it('share one connection, and each gets everything from where it began', async () => {
    const tabs = new BrowserTabs();
    const [first, second, third] = [tabs.open(), tabs.open(), tabs.open()];
    await first.start();
    await work(tabs, 3);
    await second.start();
    await work(tabs, 3);
    await third.start();
    await work(tabs, 3);
    expect(rolesOf(first, second, third)).toEqual(['leader', 'follower', 'follower']);
    expect(tabs.server.sockets).toHaveLength(1);
    expect(tabs.server.connections).toBe(1);
    const all = first.eventsOfServer;
    expect(first.ids).toEqual(all);
    expect(second.ids).toEqual(all.slice(3));
    expect(third.ids).toEqual(all.slice(6));
    expect(second.types()[0]).toBe('snapshot');
    expect(second.status).toMatchObject({
      level: 'live',
      transport: 'websocket',
      cursor: first.status.cursor,
    });
  });

  it('miss nothing when the one with the connection ends', async () => {
    const tabs = new BrowserTabs();
    const [first, second, third] = [tabs.open(), tabs.open(), tabs.open()];
    for (const tab of [first, second, third]) await tab.start();
    await work(tabs, 5);
    tabs.kill(first);
    tabs.server.emit();
    tabs.server.emit();
    await pass(50);
    await work(tabs, 5);
    expect(rolesOf(second, third)).toEqual(['leader', 'follower']);
    tabs.kill(second);
    await pass(50);
    await work(tabs, 5);
    expect(rolesOf(third)).toEqual(['leader']);
    expect(third.ids).toEqual(third.eventsOfServer);
    expect(third.types().filter((type) => type === 'snapshot')).toHaveLength(1);
  });

  it('take over from one that stops in order', async () => {
    const tabs = new BrowserTabs();
    const [first, second] = [tabs.open(), tabs.open()];
    await first.start();
    await second.start();
    first.client.stop();
    await pass(50);
    await work(tabs, 3);
    expect(second.status).toMatchObject({ role: 'leader', level: 'live' });
    expect(second.ids).toEqual(second.eventsOfServer);
    expect(tabs.server.connections).toBe(1);
  });

  it('take the connection from one that does not answer any more', async () => {
    const tabs = new BrowserTabs();
    const [first, second] = [tabs.open(), tabs.open()];
    await first.start();
    await second.start();
    await work(tabs, 3);
    tabs.freeze(first);
    tabs.server.emit();
    await pass(21_000);
    expect(rolesOf(second)).toEqual(['leader']);
    tabs.thaw(first);
    await work(tabs, 3);
    await pass(6_000);
    expect(rolesOf(first)).toEqual(['follower']);
    expect(second.ids).toEqual(second.eventsOfServer);
    expect(first.ids).toEqual(first.eventsOfServer);
    expect(tabs.server.connections).toBe(1);
  });

  it('fetch what they missed while they were put aside', async () => {
    const tabs = new BrowserTabs();
    const [first, second] = [tabs.open(), tabs.open()];
    await first.start();
    await second.start();
    await work(tabs, 3);
    tabs.freeze(second);
    await work(tabs, 40);
    tabs.thaw(second);
    await work(tabs, 3);
    await pass(1_000);
    expect(second.ids).toEqual(second.eventsOfServer);
    expect(tabs.server.connections).toBe(1);
  });

  it('let another one connect when their page is put aside, and come back', async () => {
    const tabs = new BrowserTabs();
    const [first, second] = [tabs.open(), tabs.open()];
    await first.start();
    await second.start();
    first.signal('hide');
    await work(tabs, 3);
    expect(rolesOf(second)).toEqual(['leader']);
    first.signal('visible');
    await work(tabs, 3);
    await pass(1_000);
    expect(rolesOf(first)).toEqual(['follower']);
    expect(first.ids).toEqual(first.eventsOfServer);
  });

  it('are told of a reset, and get the new state', async () => {
    const tabs = new BrowserTabs();
    const [first, second] = [tabs.open(), tabs.open()];
    await first.start();
    await second.start();
    await work(tabs, 3);
    tabs.server.replaceStore('zzzzz');
    await pass(3_000);
    await work(tabs, 3);
    for (const tab of [first, second]) {
      expect(tab.types().filter((type) => type === 'reset' || type === 'snapshot')).toEqual([
        'snapshot',
        'reset',
        'snapshot',
      ]);
      expect(tab.ids.slice(-3)).toEqual(tab.eventsOfServer);
    }
  });

  it('go on from where they stand when the one that takes over has nothing yet', async () => {
    const tabs = new BrowserTabs();
    const [first, second, third] = [tabs.open(), tabs.open(), tabs.open()];
    await first.start();
    await second.start();
    await work(tabs, 3);
    tabs.server.isReachable = false;
    tabs.server.cut();
    await third.start();
    second.signal('hide');
    second.signal('visible');
    await work(tabs, 3);
    tabs.kill(first);
    tabs.server.isReachable = true;
    await pass(6_000);
    await work(tabs, 3);
    expect(rolesOf(third, second)).toEqual(['leader', 'follower']);
    expect(third.types().slice(0, 2)).toEqual(['hello', 'snapshot']);
    expect(second.ids).toEqual(second.eventsOfServer);
    expect(second.types().filter((type) => type === 'snapshot')).toHaveLength(1);
  });

  it('say honestly how the shared connection is', async () => {
    const tabs = new BrowserTabs();
    const [first, second] = [tabs.open(), tabs.open()];
    await first.start();
    await second.start();
    tabs.server.isReachable = false;
    tabs.server.cut();
    await pass(60_000);
    expect(second.status).toMatchObject({
      role: 'follower',
      level: 'error',
      lastError: first.status.lastError,
      retryAt: first.status.retryAt,
    });
  });

  it('of other users do not share', async () => {
    const tabs = new BrowserTabs();
    const ben = tabs.open({ token: () => jwt({ sub: 'ben' }) });
    const eva = tabs.open({ token: () => jwt({ sub: 'eva' }) });
    await ben.start();
    await eva.start();
    expect(rolesOf(ben, eva)).toEqual(['leader', 'leader']);
    expect(tabs.server.connections).toBe(2);
  });

  it('do not share when told not to, or when nobody can tell the user', async () => {
    const tabs = new BrowserTabs();
    const one = tabs.open({ shareBetweenTabs: false });
    const other = tabs.open({ token: () => 'opaque' });
    await one.start();
    await other.start();
    expect(rolesOf(one, other)).toEqual(['alone', 'alone']);
  });

  it('have their commands done by the one with the connection, and get the answers', async () => {
    const tabs = new BrowserTabs();
    const [first, second] = [tabs.open(), tabs.open()];
    await first.start();
    await second.start();
    const data = { conversation_id: 1, text: 'hola' };
    second.client.send({ type: 'send_message', ref: 'r1', data });
    second.client.send({ type: 'typing', ref: 'r2', data: { conversation_id: 1, typing: true } });
    await pass(100);
    expect(tabs.server.posts.map(({ body }) => body)).toEqual([{ text: 'hola' }]);
    expect(tabs.server.commands.at(-1)).toMatchObject({ type: 'typing' });
    const answers = second.frames.filter(({ type }) => type === 'ack');
    expect(answers.map(({ data }) => (data as { ref: string }).ref).sort()).toEqual(['r1', 'r2']);
    expect(first.types()).not.toContain('ack');
  });

  it('have a command done once, though the one that did it ended before it answered', async () => {
    const tabs = new BrowserTabs();
    const [first, second] = [tabs.open(), tabs.open()];
    await first.start();
    await second.start();
    tabs.server.postFaults.push('lost-answer');
    const data = { conversation_id: 1, text: 'hola' };
    const asked = second.client.request({ type: 'send_message', data });
    await pass(10);
    expect(tabs.server.posts).toHaveLength(1);
    tabs.kill(first);
    await pass(2_000);
    expect((await asked).cursor).toBe(tabs.server.log[0].id);
    expect(tabs.server.posts).toHaveLength(1);
  });

  it('have their own commands done by the one that took the connection from them', async () => {
    const tabs = new BrowserTabs();
    const [first, second] = [tabs.open(), tabs.open()];
    await first.start();
    await second.start();
    tabs.server.isReachable = false;
    const data = { conversation_id: 1, text: 'hola' };
    const asked = first.client.request({ type: 'send_message', data });
    tabs.freeze(first);
    await pass(21_000);
    expect(rolesOf(second)).toEqual(['leader']);
    tabs.thaw(first);
    tabs.server.isReachable = true;
    await pass(10_000);
    expect((await asked).cursor).toBe(tabs.server.log[0].id);
    expect(tabs.server.posts).toHaveLength(1);
  });
});
