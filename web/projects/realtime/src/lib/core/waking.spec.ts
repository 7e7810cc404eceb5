import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { jwt } from '../../testing/fixtures';
import { Harness, pass } from '../../testing/harness';

beforeEach(() => vi.useFakeTimers({ now: Date.parse('2026-11-24T10:00:00Z') }));
afterEach(() => vi.useRealTimers());

const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1_000) + seconds;

describe('waking', () => {
  it.each(['online', 'visible'] as const)('connects at once when %s', async (signal) => {
    const harness = new Harness();
    harness.server.isReachable = false;
    await harness.start();
    await pass(120_000);
    harness.server.isReachable = true;
    const before = harness.status.retryAt! - Date.now();
    expect(before).toBeGreaterThan(1_000);
    harness.signal(signal);
    await pass(20);
    expect(harness.status.level).toBe('live');
  });

  it('asks whether the connection still is there when the network has changed', async () => {
    const harness = new Harness();
    await harness.start();
    await pass(1_000);
    const asked = harness.server.commands.length;
    harness.signal('online');
    await pass(10);
    expect(harness.server.commands.slice(asked)).toEqual([{ type: 'ping' }]);
    harness.server.isSilent = true;
    harness.signal('online');
    await pass(5_010);
    expect(harness.status.lastError?.code).toBe('pong_timeout');
  });

  it('notices by the clock that the machine has slept', async () => {
    const harness = new Harness();
    await harness.start();
    await pass(10_000);
    const asked = harness.server.commands.length;
    vi.setSystemTime(Date.now() + 3_600_000);
    await pass(5_000);
    expect(harness.server.commands.slice(asked)).toContainEqual({ type: 'ping' });
  });

  it('ends waiting after sleep', async () => {
    const harness = new Harness();
    harness.server.isReachable = false;
    await harness.start();
    await pass(200_000);
    harness.server.isReachable = true;
    const attempts = harness.server.sockets.length;
    while (harness.status.retryAt === null || harness.status.retryAt - Date.now() < 12_000) {
      harness.server.isReachable = false;
      await pass(1_000);
    }
    harness.server.isReachable = true;
    vi.setSystemTime(Date.now() + 3_600_000);
    await pass(5_100);
    expect(harness.server.sockets.length).toBeGreaterThan(attempts);
    expect(harness.status.level).toBe('live');
  });
});

describe('tokens', () => {
  it('are renewed on the open connection, before they end', async () => {
    const given: string[] = [];
    const token = (): string => {
      given.push(jwt({ exp: inSeconds(600) }));
      return given.at(-1)!;
    };
    const harness = new Harness({ token });
    await harness.start();
    await pass(1_800_000);
    expect(harness.server.sockets).toHaveLength(1);
    expect(given.length).toBeGreaterThanOrEqual(4);
    const renewals = harness.server.commands.filter(({ type }) => type === 'auth');
    expect(renewals).toHaveLength(given.length - 1);
    expect(renewals[0]['data']).toEqual({ token: given[1] });
    expect(harness.levels).toEqual(['connecting', 'live']);
    expect(harness.types()).not.toContain('ack');
  });

  it('are renewed on an event stream by a second one that takes over', async () => {
    const harness = new Harness({
      token: () => jwt({ exp: inSeconds(300) }),
      transports: ['sse'],
    });
    await harness.start();
    for (let n = 0; n < 900; n += 1) {
      harness.server.emit();
      await pass(1_000);
    }
    expect(harness.ids).toEqual(harness.eventsOfServer);
    expect(harness.server.connections).toBe(1);
    expect(harness.levels).toEqual(['connecting', 'live']);
    const streams = harness.server.requests.filter((request) => request.includes('/stream'));
    expect(streams.length).toBe(4);
  });

  it('that are refused are asked for again at once', async () => {
    const tokens = [jwt({ sub: 'ben', exp: inSeconds(-10) }), jwt({ sub: 'ben' })];
    const harness = new Harness({ token: () => tokens.shift() ?? jwt({}) });
    await harness.start();
    expect(harness.status.level).toBe('live');
    expect(harness.levels).toEqual(['connecting', 'live']);
  });

  it('that stay refused are said to be, and tried with back-off', async () => {
    const harness = new Harness();
    harness.server.refusedTokens.add(jwt({}));
    await harness.start();
    await pass(60_000);
    expect(harness.status).toMatchObject({ level: 'error' });
    expect(harness.status.lastError).toMatchObject({ code: 'token_expired', message: 'expired' });
    expect(harness.server.sockets.length).toBeLessThan(10);
    harness.server.refusedTokens.clear();
    await pass(30_000);
    expect(harness.status.level).toBe('live');
  });

  it('that can not be had are said to be', async () => {
    let isSignedIn = false;
    const token = (): string => {
      if (!isSignedIn) throw new Error('signed out');
      return jwt({});
    };
    const harness = new Harness({ token });
    await harness.start();
    expect(harness.status).toMatchObject({ level: 'error' });
    expect(harness.status.lastError).toMatchObject({
      code: 'token_unavailable',
      message: 'signed out',
    });
    isSignedIn = true;
    await pass(2_000);
    expect(harness.status.level).toBe('live');
  });

  it('of another user begin anew, with nothing of the first one', async () => {
    let sub = 'ben';
    const harness = new Harness({ token: () => jwt({ sub }) });
    await harness.start();
    harness.server.emit();
    await pass(10);
    harness.client.stop();
    sub = 'eva';
    await harness.start();
    expect(harness.types().slice(-3)).toEqual(['reset', 'hello', 'snapshot']);
    expect(harness.frames.at(-3)?.data).toEqual({ reason: 'identity_changed', cursor: null });
  });
});
