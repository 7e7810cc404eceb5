import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Harness, pass } from '../../testing/harness';
import { problem } from '../../testing/scripted-server';

beforeEach(() => vi.useFakeTimers({ now: Date.parse('2026-11-24T10:00:00Z') }));
afterEach(() => vi.useRealTimers());

/** Waits until the next attempt, in milliseconds. */
const waitOf = ({ status }: Harness): number => status.retryAt! - Date.now();

describe('answers of the server', () => {
  it('that ask to come back later are heeded', async () => {
    const harness = new Harness({ transports: ['sse', 'long-polling'] });
    harness.server.answers.push(() => problem(429, 'rate_limited', {}, { 'retry-after': '20' }));
    await harness.start();
    expect(waitOf(harness)).toBeGreaterThan(19_000);
    expect(harness.status).toMatchObject({ level: 'error', lastError: { code: 'rate_limited' } });
    await pass(20_000);
    expect(harness.status).toMatchObject({ level: 'live', transport: 'sse' });
  });

  it('that forbid are not asked for again soon, nor in another way', async () => {
    const harness = new Harness({ transports: ['sse', 'long-polling'] });
    harness.server.answers.push(() => problem(403, 'scope_missing'));
    await harness.start();
    expect(harness.server.requests).toHaveLength(1);
    expect(waitOf(harness)).toBeGreaterThan(14_000);
    expect(harness.status.lastError).toMatchObject({ code: 'scope_missing', transport: 'sse' });
  });

  it("that are a proxy's own lead to another transport, whatever their form", async () => {
    const harness = new Harness({ transports: ['sse', 'long-polling'] });
    harness.server.answers.push(() => Response.json({ message: 'no route' }, { status: 403 }));
    await harness.start();
    expect(harness.status).toMatchObject({ transport: 'long-polling' });
  });

  it('that are no event stream lead to another transport', async () => {
    const harness = new Harness({ transports: ['sse', 'long-polling'] });
    harness.server.answers.push(() => new Response('<h1>Sign in to this Wi-Fi</h1>'));
    await harness.start();
    expect(harness.status).toMatchObject({ transport: 'long-polling' });
  });

  it('that are no page of events are no polls', async () => {
    const harness = new Harness({ transports: ['long-polling'] });
    harness.server.answers.push(() => new Response('<h1>Sign in to this Wi-Fi</h1>'));
    await harness.start();
    expect(harness.status).toMatchObject({ level: 'error', transport: null });
    await pass(1_000);
    expect(harness.status.level).toBe('polling');
  });

  it('that say the instance drains are followed by another attempt soon', async () => {
    const harness = new Harness({ transports: ['long-polling'] });
    harness.server.answers.push(() => problem(503, 'draining', {}, { 'retry-after': '1' }));
    await harness.start();
    expect(harness.status.level).toBe('connecting');
    await pass(1_000);
    expect(harness.status.level).toBe('polling');
  });
});

describe('frames', () => {
  it('that are none end the connection', async () => {
    const harness = new Harness();
    await harness.start();
    harness.server.say({ nonsense: true });
    await pass(10);
    expect(harness.status.lastError?.code).toBe('bad_frame');
    await pass(1_000);
    expect(harness.status.level).toBe('live');
  });

  it('of types that are not known yet are handed on', async () => {
    const harness = new Harness();
    await harness.start();
    harness.server.say({ type: 'news_of_later', data: { a: 1 } });
    harness.server.say({ id: 'k3v9q-5-0', type: 'event_of_later', time: '', data: {} });
    await pass(10);
    expect(harness.types().slice(-2)).toEqual(['news_of_later', 'event_of_later']);
    expect(harness.client.status.level).toBe('live');
  });

  it('of another event store begin anew', async () => {
    const harness = new Harness();
    await harness.start();
    harness.server.say({ id: 'zzzzz-5-0', type: 'new_message', time: '', data: {} });
    await pass(50);
    expect(harness.types()).toEqual(['hello', 'snapshot', 'reset', 'hello', 'snapshot']);
  });

  it('that a listener can not bear do not cost the others anything', async () => {
    const harness = new Harness();
    const thrown: unknown[] = [];
    vi.stubGlobal('queueMicrotask', (run: () => void) => {
      try {
        run();
      } catch (error) {
        thrown.push(error);
      }
    });
    harness.client.onFrame(({ type }) => {
      if (type === 'new_message') throw new Error('mine');
    });
    const after: string[] = [];
    harness.client.onFrame(({ type }) => after.push(type));
    await harness.start();
    harness.server.emit();
    await pass(10);
    vi.unstubAllGlobals();
    expect(after).toEqual(['hello', 'snapshot', 'new_message']);
    expect(thrown).toEqual([new Error('mine')]);
  });
});
