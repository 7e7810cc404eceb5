import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Harness, pass } from '../../testing/harness';

/** What became of the transports, in the order in which they were used. */
function transportsOf(harness: Harness): string[] {
  const used: string[] = [];
  harness.client.onStatus(({ transport }) => {
    if (transport && used.at(-1) !== transport) used.push(transport);
  });
  return used;
}

async function emitOften(harness: Harness, times: number, everyMs: number): Promise<void> {
  for (let n = 0; n < times; n += 1) {
    harness.server.emit();
    await pass(everyMs);
  }
}

beforeEach(() => vi.useFakeTimers({ now: Date.parse('2026-11-24T10:00:00Z') }));
afterEach(() => vi.useRealTimers());

describe('when WebSockets are refused', () => {
  it('goes on with an event stream at once', async () => {
    const harness = new Harness();
    harness.server.websocket = 'refused';
    await harness.start();
    harness.server.emit();
    await pass(10);
    expect(harness.status).toMatchObject({ level: 'live', transport: 'sse', state: 'connected' });
    expect(harness.types()).toEqual(['hello', 'snapshot', 'new_message']);
    expect(harness.levels).toEqual(['connecting', 'live']);
    const [stream] = harness.server.requests;
    expect(stream).toBe('GET /base/v1/events/stream?snapshot=true&ping=true');
  });

  it('tries WebSocket again later, less and less often, and changes over without a gap', async () => {
    const harness = new Harness();
    const used = transportsOf(harness);
    harness.server.websocket = 'refused';
    await harness.start();
    await emitOften(harness, 100, 2_000);
    expect(harness.server.sockets).toHaveLength(1 + 2);
    harness.server.websocket = 'works';
    await emitOften(harness, 150, 2_000);
    expect(used).toEqual(['sse', 'websocket']);
    expect(harness.ids).toEqual(harness.eventsOfServer);
    expect(harness.levels).toEqual(['connecting', 'live']);
    expect(harness.server.connections).toBe(1);
  });
});

describe('when a WebSocket opens and says nothing', () => {
  it.each(['mute', 'mute-after-hello'] as const)(
    '(%s) goes on with an event stream',
    async (how) => {
      const harness = new Harness();
      harness.server.websocket = how;
      await harness.start();
      await pass(20_100);
      harness.server.emit();
      await pass(10);
      expect(harness.status).toMatchObject({ level: 'live', transport: 'sse' });
      expect(harness.ids).toEqual(harness.eventsOfServer);
      const codes = ['hello_timeout', 'snapshot_timeout'];
      expect(codes).toContain(harness.status.lastError?.code);
    },
  );

  it('notices by the missing pong when it resumes', async () => {
    const harness = new Harness();
    await harness.start();
    await pass(20_000);
    harness.server.websocket = 'mute-after-hello';
    harness.server.cut();
    await pass(800 + 5_000);
    expect(harness.status).toMatchObject({ transport: 'sse' });
    expect(harness.status.lastError?.code).toBe('pong_timeout');
  });
});

describe('when event streams are held back', () => {
  it('notices by the missing hello, and polls with waiting', async () => {
    const harness = new Harness();
    harness.server.websocket = 'refused';
    harness.server.sse = 'mute';
    await harness.start();
    await pass(5_100);
    expect(harness.status).toMatchObject({
      level: 'polling',
      transport: 'long-polling',
      state: 'disconnected',
    });
    const before = Date.now();
    harness.server.emit();
    await pass(20);
    expect(harness.ids).toEqual(harness.eventsOfServer);
    expect(harness.status.heardAt).toBeGreaterThanOrEqual(before);
  });

  it('notices by events that a poll beside it brings and it does not', async () => {
    const harness = new Harness({ snapshot: false });
    harness.server.websocket = 'refused';
    harness.server.sse = 'mute-after-hello';
    await harness.start();
    expect(harness.status.transport).toBe('sse');
    await pass(10_000);
    harness.server.emit();
    await pass(3_010);
    expect(harness.ids).toEqual(harness.eventsOfServer);
    await pass(5_100);
    expect(harness.status).toMatchObject({ transport: 'long-polling', level: 'polling' });
    expect(harness.status.lastError?.code).toBe('held_back');
  });

  it('notices by the missing ping when nothing happens', async () => {
    const harness = new Harness({ snapshot: false });
    harness.server.websocket = 'refused';
    harness.server.sse = 'mute-after-hello';
    await harness.start();
    await pass(36_000);
    expect(harness.status).toMatchObject({ transport: 'long-polling' });
    expect(harness.status.lastError?.code).toBe('heartbeat_timeout');
  });

  it('stops polling beside a stream whose ping has come', async () => {
    const harness = new Harness();
    harness.server.websocket = 'refused';
    await harness.start();
    await pass(26_000);
    const asked = harness.server.requests.length;
    await pass(60_000);
    expect(harness.server.requests).toHaveLength(asked);
    expect(harness.status.transport).toBe('sse');
  });

  it('climbs back over an event stream only when its ping has come', async () => {
    const harness = new Harness();
    const used = transportsOf(harness);
    harness.server.websocket = 'refused';
    harness.server.sse = 'mute';
    await harness.start();
    await pass(10_000);
    harness.server.sse = 'works';
    await emitOften(harness, 60, 1_000);
    expect(used).toEqual(['long-polling', 'sse']);
    await emitOften(harness, 20, 1_000);
    expect(harness.ids).toEqual(harness.eventsOfServer);
  });
});

describe('when only requests get through', () => {
  const refuseStreams = (harness: Harness): void => {
    harness.server.websocket = 'refused';
    harness.server.sse = 'refused';
  };

  it('polls with waiting, one request at a time', async () => {
    const harness = new Harness();
    refuseStreams(harness);
    await harness.start();
    const asked = harness.server.requests.length;
    await pass(25_000);
    expect(harness.status.transport).toBe('long-polling');
    expect(harness.server.requests.length - asked).toBeLessThanOrEqual(2);
    harness.server.emit();
    await pass(10);
    expect(harness.ids).toEqual(harness.eventsOfServer);
  });

  it('asks for shorter waits where long ones are cut off', async () => {
    const harness = new Harness();
    refuseStreams(harness);
    harness.server.longPolling = 'cut';
    await harness.start();
    await pass(29_000);
    await emitOften(harness, 30, 1_000);
    expect(harness.status).toMatchObject({ transport: 'long-polling' });
    expect(harness.server.requests.at(-1)).toContain('wait=3');
    expect(harness.ids).toEqual(harness.eventsOfServer);
  });

  it('polls at intervals where waiting is refused', async () => {
    const harness = new Harness();
    refuseStreams(harness);
    harness.server.longPolling = 'refused';
    await harness.start();
    await emitOften(harness, 10, 1_000);
    await pass(3_000);
    expect(harness.status).toMatchObject({ transport: 'polling', level: 'polling' });
    expect(harness.ids).toEqual(harness.eventsOfServer);
  });

  it('does not ask without end where waits are answered at once', async () => {
    const harness = new Harness();
    refuseStreams(harness);
    harness.server.longPolling = 'hasty';
    await harness.start();
    await pass(30_000);
    expect(harness.server.requests.length).toBeLessThan(20);
    harness.server.emit();
    await pass(3_100);
    expect(harness.ids).toEqual(harness.eventsOfServer);
  });

  it('gets the state again when its cursor has expired', async () => {
    const harness = new Harness();
    refuseStreams(harness);
    await harness.start();
    harness.server.replaceStore('zzzzz');
    harness.server.emit();
    await pass(200);
    harness.server.emit();
    await pass(100);
    expect(harness.types()).toEqual(['snapshot', 'reset', 'snapshot', 'new_message']);
  });

  it('fetches in pages what has gathered', async () => {
    const harness = new Harness();
    refuseStreams(harness);
    await harness.start();
    harness.server.isReachable = false;
    harness.server.cut();
    for (let n = 0; n < 1_700; n += 1) harness.server.emit();
    harness.server.isReachable = true;
    await pass(5_000);
    expect(harness.ids).toEqual(harness.eventsOfServer);
  });
});

describe('when connections do not hold', () => {
  it('comes to a transport that does, and loses nothing on the way', async () => {
    const harness = new Harness();
    const used = transportsOf(harness);
    await harness.start();
    for (let n = 0; n < 40; n += 1) {
      await emitOften(harness, 6, 500);
      harness.server.cut();
    }
    await pass(10_000);
    expect(harness.ids).toEqual(harness.eventsOfServer);
    expect(used.slice(0, 3)).toEqual(['websocket', 'sse', 'long-polling']);
    expect(harness.levels).not.toContain('error');
  });

  it('returns soon to a transport that worked and was only away', async () => {
    const harness = new Harness();
    await harness.start();
    await pass(60_000);
    harness.server.websocket = 'refused';
    harness.server.cut();
    await pass(3_000);
    expect(harness.status.transport).toBe('sse');
    harness.server.websocket = 'works';
    await pass(8_500);
    expect(harness.status.transport).toBe('websocket');
  });
});

describe('a choice of transports', () => {
  it('is kept to', async () => {
    const harness = new Harness({ transports: ['long-polling', 'polling'] });
    await harness.start();
    await pass(600_000);
    expect(harness.server.sockets).toHaveLength(0);
    expect(harness.server.requests.some((request) => request.includes('/stream'))).toBe(false);
    expect(harness.status.transport).toBe('long-polling');
  });
});
