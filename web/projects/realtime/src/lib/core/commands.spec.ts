import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Harness, pass } from '../../testing/harness';
import { RealtimeCommandError } from './commands';

beforeEach(() => vi.useFakeTimers({ now: Date.parse('2026-11-24T10:00:00Z') }));
afterEach(() => vi.useRealTimers());

const answersOf = (harness: Harness): unknown[] =>
  harness.frames.filter(({ type }) => type === 'ack' || type === 'error');

describe('commands', () => {
  it('that send are repeated with the same key until there is an answer, and done once', async () => {
    const harness = new Harness();
    await harness.start();
    harness.server.postFaults.push('unavailable', 'lost-answer', 'lost-answer');
    const data = { conversation_id: 3, text: 'hola', client_ref: 'c1' };
    harness.client.send({ type: 'send_message', ref: 7, data });
    await pass(10_000);
    expect(harness.server.posts).toHaveLength(1);
    const [post] = harness.server.posts;
    expect(post.url).toBe('/base/v1/conversations/3/messages');
    expect(post.body).toEqual({ text: 'hola', client_ref: 'c1' });
    const cursor = harness.server.log[0].id;
    expect(answersOf(harness)).toEqual([{ type: 'ack', data: { ref: 7, cursor } }]);
  });

  it('that send keep their order in a conversation', async () => {
    const harness = new Harness();
    await harness.start();
    harness.server.postFaults.push('unavailable');
    for (const text of ['one', 'two', 'three']) {
      harness.client.send({ type: 'send_message', data: { conversation_id: 3, text } });
    }
    await pass(3_000);
    expect(harness.server.posts.map(({ body }) => (body as { text: string }).text)).toEqual([
      'one',
      'two',
      'three',
    ]);
  });

  it('that send give up in the end', async () => {
    const harness = new Harness();
    await harness.start();
    harness.server.isReachable = false;
    const asked = harness.client.request({
      type: 'send_message',
      data: { conversation_id: 3, text: 'hola' },
    });
    const failed = expect(asked).rejects.toEqual(
      new RealtimeCommandError({ code: 'timeout', message: 'Failed to fetch' }),
    );
    await pass(80_000);
    await failed;
  });

  it('of the moment go over the WebSocket', async () => {
    const harness = new Harness();
    await harness.start();
    const typing = { conversation_id: 3, typing: true };
    const asked = harness.client.request({ type: 'typing', data: typing });
    await pass(10);
    expect(await asked).toEqual({ ref: null });
    expect(harness.server.commands.at(-1)).toMatchObject({ type: 'typing', data: typing });
  });

  it('of the moment are refused where there is no WebSocket', async () => {
    const harness = new Harness({ transports: ['sse'] });
    await harness.start();
    harness.client.send({ type: 'typing', ref: 't', data: { conversation_id: 3, typing: true } });
    await pass(10);
    expect(answersOf(harness)).toMatchObject([
      { type: 'error', data: { ref: 't', code: 'not_available' } },
    ]);
  });

  it('mark as read over the WebSocket, and by HTTP without one', async () => {
    const harness = new Harness();
    await harness.start();
    harness.client.send({ type: 'mark_read', ref: 'a', data: { conversation_id: 3 } });
    await pass(10);
    expect(harness.server.commands.at(-1)).toMatchObject({ type: 'mark_read' });
    expect(harness.server.posts).toHaveLength(0);
    const poller = new Harness({ transports: ['polling'] });
    await poller.start();
    poller.client.send({ type: 'mark_read', ref: 'b', data: { conversation_id: 3 } });
    await pass(10);
    expect(poller.server.posts[0].url).toBe('/base/v1/conversations/3/read');
    expect(answersOf(poller)).toMatchObject([{ type: 'ack', data: { ref: 'b' } }]);
  });

  it('replace the filter', async () => {
    const harness = new Harness();
    await harness.start();
    const data = { types: ['new_message' as const] };
    harness.client.send({ type: 'subscribe', ref: 's', data });
    await pass(10);
    harness.server.emit('stats_updated');
    harness.server.emit('new_message');
    await pass(10);
    expect(harness.ids).toEqual(['k3v9q-2-0']);
    expect(answersOf(harness)).toEqual([{ type: 'ack', data: { ref: 's' } }]);
    harness.server.cut();
    await pass(1_000);
    harness.server.emit('stats_updated');
    await pass(10);
    expect(harness.ids).toEqual(['k3v9q-2-0']);
  });

  it('without a connection are refused', async () => {
    const harness = new Harness();
    harness.client.send({ type: 'typing', ref: 't', data: {} });
    harness.client.send('nonsense');
    await pass(10);
    expect(answersOf(harness)).toMatchObject([
      { data: { ref: null, code: 'invalid_request' } },
      { data: { ref: 't', code: 'not_connected' } },
    ]);
  });

  it('given before the first token is there are done then', async () => {
    const harness = new Harness();
    harness.client.start();
    const asked = harness.client.request({
      type: 'send_message',
      data: { conversation_id: 3, text: 'hola' },
    });
    await pass(100);
    expect((await asked).cursor).toBe('k3v9q-1-0');
  });
});
