import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { jwt } from '../../testing/fixtures';
import { Harness, pass } from '../../testing/harness';

describe('a connection over WebSocket', () => {
  beforeEach(() => vi.useFakeTimers({ now: Date.parse('2026-11-24T10:00:00Z') }));
  afterEach(() => vi.useRealTimers());

  it('begins with the state, and brings what follows, once and in order', async () => {
    const harness = new Harness();
    harness.server.emit();
    await harness.start();
    expect(harness.types()).toEqual(['hello', 'snapshot']);
    harness.server.emit('new_message');
    harness.server.emit('stats_updated');
    await pass(10);
    expect(harness.ids).toEqual(['k3v9q-2-0', 'k3v9q-3-0']);
    expect(harness.status).toMatchObject({
      state: 'connected',
      level: 'live',
      role: 'alone',
      transport: 'websocket',
      failures: 0,
    });
    expect(harness.client.status.lastError).toBeNull();
  });

  it('gives the token as a subprotocol, and never in the address', async () => {
    const token = jwt({ sub: 'eva' });
    const harness = new Harness({ token: () => token });
    await harness.start();
    expect(harness.server.protocols).toEqual([['condorito.v1', `bearer.${token}`]]);
    expect(harness.server.sockets[0]).toBe('wss://rt.example/base/v1/ws?snapshot=true&ping=true');
  });

  it('gives it in the address when asked to', async () => {
    const token = jwt({});
    const harness = new Harness({ token: () => token, tokenInUrl: true });
    await harness.start();
    expect(harness.server.protocols).toEqual([['condorito.v1']]);
    expect(new URL(harness.server.sockets[0]).searchParams.get('access_token')).toBe(token);
    expect(harness.status.level).toBe('live');
  });

  it('resumes from its cursor after a cut: nothing missing, nothing twice', async () => {
    const harness = new Harness();
    await harness.start();
    harness.server.emit();
    await pass(20_000);
    harness.server.cut();
    harness.server.emit();
    harness.server.emit();
    await pass(10);
    expect(harness.status).toMatchObject({ state: 'connecting', transport: null });
    expect(harness.status.retryAt).toBe(Date.now() - 10 + 1 + 750);
    await pass(2_000);
    harness.server.emit();
    await pass(10);
    expect(harness.ids).toEqual(harness.eventsOfServer);
    expect(new URL(harness.server.sockets[1]).searchParams.get('cursor')).toBe('k3v9q-1-0');
    expect(harness.types().filter((type) => type === 'snapshot')).toHaveLength(1);
  });

  it('waits 2^n seconds with jitter and a ceiling while the server is away', async () => {
    const harness = new Harness({ transports: ['websocket'] });
    harness.server.isReachable = false;
    const waits: number[] = [];
    let seen: number | null = null;
    harness.client.onStatus(({ retryAt }) => {
      if (retryAt !== null && retryAt !== seen) waits.push(retryAt - Date.now());
      seen = retryAt;
    });
    await harness.start();
    await pass(150_000);
    expect(waits.slice(0, 8)).toEqual([750, 1_500, 3_000, 6_000, 12_000, 22_500, 22_500, 22_500]);
    expect(harness.status).toMatchObject({ state: 'error', level: 'error' });
    expect(harness.status.lastError).toMatchObject({ code: 'ws_1006', transport: 'websocket' });
    harness.server.isReachable = true;
    await pass(30_000);
    expect(harness.status).toMatchObject({ state: 'connected', failures: 0 });
    expect(harness.levels).toEqual(['connecting', 'error', 'live']);
  });

  it('notices a missing heartbeat, asks, and connects anew', async () => {
    const harness = new Harness();
    await harness.start();
    await pass(30_000);
    const heardAt = harness.status.heardAt!;
    harness.server.isSilent = true;
    harness.server.emit();
    await pass(heardAt + 25_000 + 2_500 - Date.now() + 10);
    expect(harness.status).toMatchObject({ level: 'live', silentSince: heardAt + 25_000 });
    harness.server.isSilent = false;
    harness.server.isReachable = false;
    await pass(5_000);
    expect(harness.status).toMatchObject({ level: 'connecting', transport: null, heardAt });
    expect(harness.status.lastError).toMatchObject({ code: 'pong_timeout' });
    harness.server.isReachable = true;
    await pass(1_000);
    expect(harness.status).toMatchObject({
      level: 'live',
      transport: 'websocket',
      silentSince: null,
    });
    expect(harness.ids).toEqual(harness.eventsOfServer);
  });

  it('reconnects when an instance drains, after its jitter and without back-off', async () => {
    const harness = new Harness();
    await harness.start();
    harness.server.drain(3_000);
    await pass(2_900);
    expect(harness.status.state).toBe('connected');
    expect(harness.server.sockets).toHaveLength(1);
    harness.server.emit();
    await pass(1_500);
    expect(harness.server.sockets).toHaveLength(2);
    expect(harness.status.state).toBe('connected');
    expect(harness.ids).toEqual(harness.eventsOfServer);
    expect(harness.levels).not.toContain('error');
  });

  it('loads the state anew when the server says reset', async () => {
    const harness = new Harness();
    harness.server.emit();
    await harness.start();
    harness.server.replaceStore('zzzzz');
    harness.server.emit();
    await pass(3_000);
    harness.server.emit();
    await pass(10);
    expect(harness.types()).toEqual([
      'hello',
      'snapshot',
      'hello',
      'reset',
      'hello',
      'snapshot',
      'new_message',
    ]);
    expect(harness.frames.find(({ type }) => type === 'reset')?.data).toEqual({
      reason: 'unknown_cursor',
      cursor: 'zzzzz-1-0',
    });
    expect(harness.ids).toEqual(['zzzzz-2-0']);
  });

  it('goes on from the cursor of a reset when no state is wanted', async () => {
    const harness = new Harness({ snapshot: false });
    await harness.start();
    harness.server.emit();
    await pass(10);
    harness.server.cut();
    for (let n = 0; n < 5; n += 1) harness.server.emit();
    harness.server.expiredUpTo = 3;
    await pass(2_000);
    harness.server.emit();
    await pass(10);
    expect(harness.types()).toEqual([
      'hello',
      'new_message',
      'hello',
      'reset',
      'hello',
      'new_message',
    ]);
    expect(harness.ids).toEqual(['k3v9q-1-0', 'k3v9q-7-0']);
  });

  it('asks for what it was told to filter', async () => {
    const harness = new Harness({ types: ['new_message'], conversationId: 7 });
    await harness.start();
    const query = new URL(harness.server.sockets[0]).searchParams;
    expect(query.get('types')).toBe('new_message');
    expect(query.get('conversation_id')).toBe('7');
  });

  it('ends for good', async () => {
    const harness = new Harness();
    await harness.start();
    harness.client.stop();
    expect(harness.status).toMatchObject({ state: 'disconnected', level: 'off', transport: null });
    expect(harness.server.connections).toBe(0);
    await pass(120_000);
    expect(harness.server.sockets).toHaveLength(1);
    harness.server.emit();
    await harness.start();
    expect(harness.ids).toEqual(harness.eventsOfServer);
  });
});
