/** The client behind a real nginx, set up as restrictive networks are. */
import { expect, test, type Page } from '@playwright/test';
import { Nginx } from '../support/nginx.mjs';
import { Server, sleep, until } from '../support/server.mjs';
import { read, startClient, type Seen } from './page';

/** What is pushed comes at once; the machine may be busy. */
const PROMPT_MAX_MS = 2_000;
/** So late a message may come before it is found out that a stream is held back. */
const LATE_MAX_MS = 6_000;

let server: Server;
let nginx: Nginx | null = null;

test.beforeAll(async () => {
  server = await Server.start({ 'delivery.heartbeat_ms': 4_000 });
});
test.afterAll(() => server?.stop());
test.afterEach(async () => {
  await nginx?.stop();
  nginx = null;
});

interface Sent {
  text: string;
  at: number;
}

/** Lets contacts write now and then, and does something in between. */
async function write(
  seconds: number,
  between: (second: number) => void = () => {},
  everyMs = 1_000,
): Promise<Sent[]> {
  const sent: Sent[] = [];
  for (let second = 0; second < seconds; second += everyMs / 1_000) {
    const at = Date.now();
    for (const text of await server.receive(2)) sent.push({ text, at });
    between(second);
    await sleep(everyMs);
  }
  return sent;
}

/** Everything came, once, in order; and how late the latest was, in milliseconds. */
async function expectAll(page: Page, sent: Sent[]): Promise<{ seen: Seen; lateMs: number }> {
  await until(async () => (await read(page)).texts.length >= sent.length, 20_000, 'all messages');
  const seen = await read(page);
  expect(seen.texts).toEqual(sent.map(({ text }) => text));
  expect(new Set(seen.ids).size).toBe(seen.ids.length);
  expect(seen.types.filter((type) => type === 'snapshot')).toHaveLength(1);
  expect(seen.errors).toEqual([]);
  return { seen, lateMs: Math.max(...sent.map(({ at }, n) => seen.times[n] - at)) };
}

async function connectThrough(
  page: Page,
  how: Parameters<typeof Nginx.start>[1],
  timings: object = {},
): Promise<Nginx> {
  nginx = await Nginx.start(server.url, how);
  await startClient(page, nginx.url, () => server.token(), { timings });
  await until(async () => (await read(page)).types.includes('snapshot'), 20_000, 'a snapshot');
  return nginx;
}

test('WebSocket upgrades refused: an event stream, shown as live', async ({ page }) => {
  await connectThrough(page, { websocket: false });
  const { seen, lateMs } = await expectAll(page, await write(15));
  expect(seen).toMatchObject({ level: 'live', transport: 'sse' });
  expect(seen.levels).toEqual(['connecting', 'live']);
  expect(lateMs).toBeLessThan(PROMPT_MAX_MS);
});

test('event streams held back: the WebSocket does not mind', async ({ page }) => {
  await connectThrough(page, { streams: 'held back' });
  const { seen, lateMs } = await expectAll(page, await write(10));
  expect(seen).toMatchObject({ level: 'live', transport: 'websocket' });
  expect(lateMs).toBeLessThan(PROMPT_MAX_MS);
});

test('both: long polling, shown as polling and never as live', async ({ page }) => {
  await connectThrough(page, { websocket: false, streams: 'held back' });
  const { seen, lateMs } = await expectAll(page, await write(20));
  expect(seen).toMatchObject({
    level: 'polling',
    state: 'disconnected',
    transport: 'long-polling',
  });
  expect(seen.levels).toEqual(['connecting', 'polling']);
  expect(lateMs).toBeLessThan(PROMPT_MAX_MS);
});

test('an event stream of which parts are held back does not keep messages late', async ({
  page,
}) => {
  const how = { websocket: false, streams: 'held back in part' } as const;
  await connectThrough(page, how, { heartbeatGraceMs: 2_000 });
  const sent = await write(30, () => {}, 4_000);
  const { seen, lateMs } = await expectAll(page, sent);
  expect(seen).toMatchObject({ level: 'polling', transport: 'long-polling' });
  expect(lateMs).toBeLessThan(LATE_MAX_MS);
});

test('connections cut every few seconds: nothing missing, and it is said', async ({ page }) => {
  const timings = { probeAfterMs: 3_000, probeMaxMs: 6_000, probationMs: 4_000 };
  const proxy = await connectThrough(page, {}, timings);
  const sent = await write(45, (second) => {
    if (second % 3 === 2) proxy.cut();
  });
  const during = await read(page);
  expect(during.levels).not.toContain('error');
  expect(during.levels.slice(0, 3)).toEqual(['connecting', 'live', 'connecting']);
  await until(async () => (await read(page)).level === 'polling', 5_000, 'polling');
  sent.push(...(await write(10)));
  // By way of an event stream, where that is up first.
  const isBack = async () => (await read(page)).transport === 'websocket';
  await until(isBack, 40_000, 'back on the WebSocket');
  const { seen } = await expectAll(page, sent);
  expect(seen.level).toBe('live');
});

test('connections cut every few seconds, and upgrades refused', async ({ page }) => {
  const proxy = await connectThrough(page, { websocket: false });
  const sent = await write(30, (second) => {
    if (second % 2 === 1) proxy.cut();
  });
  sent.push(...(await write(5)));
  const { seen } = await expectAll(page, sent);
  expect(seen.levels).not.toContain('error');
});
