/** The client in a real browser on the real server, over each transport. */
import { expect, test } from '@playwright/test';
import { Server, sleep, until } from '../support/server.mjs';
import { read, startClient, type Seen } from './page';

const TRANSPORTS = ['websocket', 'sse', 'long-polling', 'polling'] as const;

let server: Server;

test.beforeAll(async () => {
  server = await Server.start({ 'delivery.heartbeat_ms': 2_000 });
});
test.afterAll(() => server?.stop());

for (const transport of TRANSPORTS) {
  test(`${transport}: nothing missing and nothing twice, over kill -9 and restart`, async ({
    page,
  }) => {
    const { cursor } = await server.call('GET', '/v1/events');
    await startClient(page, server.url, () => server.token(), {
      transports: [transport],
      timings: { pollIntervalMs: 500 },
    });
    await until(async () => (await read(page)).types.includes('snapshot'), 10_000, 'a snapshot');
    const texts: string[] = [];
    for (let round = 0; round < 3; round += 1) {
      texts.push(...(await server.receive(20)));
      await server.kill();
      await sleep(300);
      await server.startAgain();
      texts.push(...(await server.receive(20)));
    }
    await until(
      async () => (await read(page)).texts.length >= texts.length,
      30_000,
      'all messages',
    );
    await sleep(1_000);
    const seen = await read(page);
    const feed = await server.feedAfter(cursor);
    expect(seen.texts).toEqual(texts);
    expect(new Set(seen.ids).size).toBe(seen.ids.length);
    const facts = feed.filter(({ type }) => type === 'new_message').map(({ id }) => id);
    expect(seen.ids.filter((id) => facts.includes(id))).toEqual(facts);
    expect(seen.types.filter((type) => type === 'snapshot')).toHaveLength(1);
    expect(seen.transport).toBe(transport);
    expect(seen.errors).toEqual([]);
  });
}

test('another event store is noticed, and its state loaded, on every transport', async ({
  context,
}) => {
  const pages = await Promise.all(TRANSPORTS.map(() => context.newPage()));
  for (const [n, page] of pages.entries()) {
    const options = { transports: [TRANSPORTS[n]], timings: { pollIntervalMs: 500 } };
    await startClient(page, server.url, () => server.token(), options);
    await until(async () => (await read(page)).types.includes('snapshot'), 10_000, 'a snapshot');
  }
  await server.receive(2);
  for (const page of pages) {
    await until(async () => (await read(page)).texts.length === 2, 10_000, 'the messages before');
  }
  await server.replaceStore();
  const states = (seen: Seen): string[] =>
    seen.types.filter((type) => type === 'reset' || type === 'snapshot');
  for (const page of pages) {
    await until(async () => states(await read(page)).length >= 3, 20_000, 'a new snapshot');
  }
  const [text] = await server.receive(1);
  for (const page of pages) {
    await until(async () => (await read(page)).texts.length === 3, 10_000, 'the message after');
    const seen = await read(page);
    expect(states(seen)).toEqual(['snapshot', 'reset', 'snapshot']);
    expect(seen.texts.at(-1)).toBe(text);
  }
});

test('changes transports while events flow, on one cursor', async ({ page }) => {
  await startClient(page, server.url, () => server.token(), {
    transports: ['websocket', 'long-polling'],
    timings: { probeAfterMs: 1_000, probationMs: 500, returnAfterMs: 1_000 },
  });
  await until(async () => (await read(page)).transport === 'websocket', 10_000, 'a WebSocket');
  let isBlocked = false;
  await page.routeWebSocket(/\/v1\/ws/, (route) => {
    if (isBlocked) void route.close({ code: 1011 });
    else route.connectToServer();
  });
  const texts: string[] = [];
  for (let round = 0; round < 40; round += 1) {
    if (round === 5) isBlocked = true;
    if (round === 6) {
      await server.kill();
      await server.startAgain();
    }
    if (round === 25) isBlocked = false;
    texts.push(...(await server.receive(3)));
    await sleep(200);
  }
  await until(
    async () => (await read(page)).transport === 'websocket',
    20_000,
    'a WebSocket again',
  );
  await until(async () => (await read(page)).texts.length >= texts.length, 10_000, 'all messages');
  const seen = await read(page);
  expect(seen.texts).toEqual(texts);
  expect(seen.transports).toEqual(['websocket', 'long-polling', 'websocket']);
});

test('a token is renewed on the open connection', async ({ page }) => {
  await startClient(page, server.url, () => server.token({ ttlS: 8 }), {
    timings: { renewBeforeMs: 3_000 },
  });
  await sleep(22_000);
  await server.receive(1);
  const seen = await until(
    async () => {
      const now = await read(page);
      return now.texts.length === 1 ? now : null;
    },
    5_000,
    'a message',
  );
  expect(seen.levels).toEqual(['connecting', 'live']);
  expect(seen.types.filter((type) => type === 'hello')).toHaveLength(1);
});

test('a server that drains is left and found again', async ({ page }) => {
  await startClient(page, server.url, () => server.token());
  await until(async () => (await read(page)).transport === 'websocket', 10_000, 'a WebSocket');
  const texts = await server.receive(3);
  await server.terminate();
  await server.startAgain();
  texts.push(...(await server.receive(3)));
  await until(async () => (await read(page)).texts.length >= 6, 20_000, 'all messages');
  const seen = await read(page);
  expect(seen.texts).toEqual(texts);
  expect(seen.types).toContain('draining');
});

test('tabs share one connection, and take over when its tab is closed', async ({ context }) => {
  const pages = [await context.newPage(), await context.newPage(), await context.newPage()];
  for (const page of pages) {
    await startClient(page, server.url, () => server.token());
    await until(async () => (await read(page)).types.includes('snapshot'), 10_000, 'a snapshot');
  }
  const sockets = async (): Promise<number> => {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    const found = /^condorito_connections\{[^}]*websocket[^}]*\} (\d+)/m.exec(text);
    return Number(found?.[1] ?? NaN);
  };
  await until(async () => (await sockets()) === 1, 10_000, 'one WebSocket');
  const roles = await Promise.all(pages.map(async (page) => (await read(page)).role));
  expect(roles).toEqual(['leader', 'follower', 'follower']);
  const texts = await server.receive(10);
  await pages[0].close();
  texts.push(...(await server.receive(10)));
  for (const page of pages.slice(1)) {
    await until(async () => (await read(page)).texts.length >= 20, 10_000, 'all messages');
    expect((await read(page)).texts).toEqual(texts);
  }
  expect((await read(pages[1])).role).toBe('leader');
  const { id } = (await server.call('POST', '/v1/conversations', { phone: '+12025550142' }))
    .conversation;
  const answer = await pages[2].evaluate(
    (conversationId) =>
      window.client.request({
        type: 'send_message',
        data: { conversation_id: conversationId, text: 'hola', client_ref: 'c1' },
      }),
    id,
  );
  expect(answer).toMatchObject({ message: { text: 'hola', client_ref: 'c1' } });
});

test('a tab that hangs loses the connection to another, and goes on as a follower', async ({
  context,
}) => {
  const timings = { leaderBeatMs: 1_000, leaderTimeoutMs: 3_000, leaderAnswerMs: 2_000 };
  const pages = [await context.newPage(), await context.newPage()];
  for (const page of pages) {
    await startClient(page, server.url, () => server.token(), { timings });
    await until(async () => (await read(page)).types.includes('snapshot'), 10_000, 'a snapshot');
  }
  const hanging = pages[0].evaluate(() => {
    const end = Date.now() + 10_000;
    while (Date.now() < end);
  });
  const texts = await server.receive(2);
  await until(async () => (await read(pages[1])).role === 'leader', 9_000, 'takes over');
  texts.push(...(await server.receive(2)));
  await until(async () => (await read(pages[1])).texts.length === 4, 5_000, 'all messages');
  await hanging;
  texts.push(...(await server.receive(2)));
  for (const page of pages) {
    await until(async () => (await read(page)).texts.length === 6, 10_000, 'all messages');
    expect((await read(page)).texts).toEqual(texts);
  }
  expect((await read(pages[0])).role).toBe('follower');
  expect((await read(pages[1])).role).toBe('leader');
});
