/**
 * How fast the console is: bytes of the first load, time until it can be used, frames per second
 * with 10,000 conversations while 500 messages a second come in, and what memory does meanwhile.
 * `SPEED_SECONDS` is how long they come in (20).
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { CDPSession, Page } from '@playwright/test';

import type { Backend } from './support/backend';
import { expect, live, row, test } from './support/test';

const SECONDS = Number(process.env['SPEED_SECONDS'] ?? 20);
const CONVERSATIONS = 10_000;
const EVENTS_PER_SECOND = 500;
/** Posted in so many webhooks a second, as Meta does: several messages in one. */
const WEBHOOKS_PER_SECOND = 25;
/** Of the messages, those for the conversation that is open. */
const OPEN_SHARE = 0.2;

const FIRST_LOAD_BYTES_MAX = 250_000;
const INTERACTIVE_MS_MAX = 1_000;
const FRAMES_PER_SECOND_MIN = 50;

const phone = (n: number) => String(573_200_000_000 + n);

function messages(count: number, to: (n: number) => number, text: (n: number) => string) {
  return Array.from({ length: count }, (_, n) => ({
    from: phone(to(n)),
    name: `Cliente ${to(n)}`,
    wamid: `wamid.speed.${Date.now()}.${Math.random()}`,
    body: { type: 'text', text: { body: text(n) } },
  }));
}

async function fill(backend: Backend): Promise<void> {
  const perWebhook = 200;
  for (let from = 0; from < CONVERSATIONS; from += perWebhook) {
    await backend.receives(
      messages(
        perWebhook,
        (n) => from + n,
        () => 'Hola',
      ),
    );
  }
}

/** Messages at the rate, for the time; returns how many were posted a second. */
async function pour(backend: Backend, seconds: number): Promise<number> {
  const perWebhook = EVENTS_PER_SECOND / WEBHOOKS_PER_SECOND;
  const begun = Date.now();
  let posted = 0;
  for (let turn = 0; turn < seconds * WEBHOOKS_PER_SECOND; turn++) {
    const due = begun + (turn * 1_000) / WEBHOOKS_PER_SECOND;
    const wait = due - Date.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    const to = () =>
      Math.random() < OPEN_SHARE ? CONVERSATIONS - 1 : Math.floor(Math.random() * CONVERSATIONS);
    const targets = Array.from({ length: perWebhook }, to);
    await backend.receives(
      messages(
        perWebhook,
        (n) => targets[n],
        (n) => `mensaje ${turn}.${n}`,
      ),
    );
    posted += perWebhook;
  }
  return (posted * 1_000) / (Date.now() - begun);
}

async function heapMegabytes(session: CDPSession): Promise<number> {
  await session.send('HeapProfiler.collectGarbage');
  const { usedSize } = await session.send('Runtime.getHeapUsage');
  return usedSize / 1e6;
}

/** What the page's main thread has done so far, in milliseconds of processor time. */
async function busy(session: CDPSession): Promise<Record<string, number>> {
  const { metrics } = await session.send('Performance.getMetrics');
  const names = ['TaskDuration', 'ScriptDuration', 'LayoutDuration', 'RecalcStyleDuration'];
  const found = metrics.filter(({ name }) => names.includes(name));
  return Object.fromEntries(found.map(({ name, value }) => [name, value * 1_000]));
}

interface Figures {
  framesPerSecond: number;
  dropped: number;
  longestTaskMs: number;
}

/** Frames that were drawn, from Chromium's trace of the page's own threads. */
async function readTrace(path: string): Promise<Figures> {
  const { traceEvents } = JSON.parse(await readFile(path, 'utf8')) as {
    traceEvents: { name: string; ts: number; dur?: number; pid: number }[];
  };
  const drawnBy = new Map<number, number[]>();
  for (const { name, pid, ts } of traceEvents) {
    if (name === 'DrawFrame') drawnBy.set(pid, [...(drawnBy.get(pid) ?? []), ts]);
  }
  const [pid, drawn] = [...drawnBy].sort(([, a], [, b]) => b.length - a.length)[0];
  const seconds = (Math.max(...drawn) - Math.min(...drawn)) / 1e6;
  const own = traceEvents.filter((event) => event.pid === pid);
  const tasks = own
    .filter(({ name }) => name === 'ThreadControllerImpl::RunTask' || name === 'RunTask')
    .map(({ dur = 0 }) => dur / 1_000);
  return {
    framesPerSecond: drawn.length / seconds,
    dropped: own.filter(({ name }) => name === 'DroppedFrame').length,
    longestTaskMs: tasks.reduce((longest, task) => Math.max(longest, task), 0),
  };
}

async function scrollDown(page: Page): Promise<void> {
  const viewport = page.locator('cdk-virtual-scroll-viewport');
  await expect
    .poll(
      async () => {
        await viewport.evaluate((element) => (element.scrollTop = element.scrollHeight));
        return viewport.evaluate((element) => element.scrollHeight);
      },
      { timeout: 60_000, intervals: [50] },
    )
    .toBeGreaterThan(CONVERSATIONS * 75);
  await viewport.evaluate((element) => (element.scrollTop = 0));
}

test('first load and time to interactive', async ({ backend, context }) => {
  await backend.writes(phone(1), 'Cliente 1', 'Hola');
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  await session.send('Network.enable');
  let bytes = 0;
  const files = new Set<string>();
  session.on('Network.responseReceived', ({ requestId, response }) => {
    if (!new URL(response.url).pathname.startsWith('/v1/')) files.add(requestId);
  });
  session.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
    if (files.has(requestId)) bytes += encodedDataLength;
  });
  await page.addInitScript(() => {
    const observer = new MutationObserver(() => {
      if (!document.querySelector('cc-conversation-row')) return;
      observer.disconnect();
      // The next task after the frame that shows it: input is answered from here on.
      requestAnimationFrame(() => setTimeout(() => performance.mark('interactive')));
    });
    observer.observe(document, { subtree: true, childList: true });
  });
  await page.goto(`${backend.url}/#token=${backend.token()}`);
  await live(page);
  await page.waitForTimeout(500);
  const interactive = await page.evaluate(
    () => performance.getEntriesByName('interactive')[0].startTime,
  );
  console.log(`first load: ${(bytes / 1_000).toFixed(1)} kB compressed`);
  console.log(`interactive after: ${interactive.toFixed(0)} ms`);
  expect(bytes).toBeLessThan(FIRST_LOAD_BYTES_MAX);
  expect(interactive).toBeLessThan(INTERACTIVE_MS_MAX);
});

test('frames per second at 500 events a second', async ({ backend, browser, open }, info) => {
  test.setTimeout((SECONDS + 180) * 1_000);
  await fill(backend);
  const page = await open(`/chat/${await backend.conversationOf(phone(CONVERSATIONS - 1))}`);
  await expect(row(page, `Cliente ${CONVERSATIONS - 1}`)).toBeVisible();
  await scrollDown(page);
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  await pour(backend, 3);
  const heapBefore = await heapMegabytes(session);

  const path = join(info.outputDir, 'trace.json');
  await browser.startTracing(page, {
    path,
    categories: ['toplevel', 'devtools.timeline', 'disabled-by-default-devtools.timeline.frame'],
  });
  const traced = Math.min(SECONDS, 20);
  const before = await busy(session);
  const rate = await pour(backend, traced);
  const after = await busy(session);
  await browser.stopTracing();
  const figures = await readTrace(path);
  if (SECONDS > traced) await pour(backend, SECONDS - traced);
  const heapAfter = await heapMegabytes(session);
  const nodes = await page.evaluate(() => document.getElementsByTagName('*').length);

  console.log(`events a second: ${rate.toFixed(0)}, conversations: ${CONVERSATIONS}`);
  console.log(`frames a second: ${figures.framesPerSecond.toFixed(1)}, dropped ${figures.dropped}`);
  for (const [name, value] of Object.entries(after)) {
    const each = (value - before[name]) / traced;
    console.log(`main thread, ${name}: ${each.toFixed(0)} ms of each second`);
  }
  console.log(`longest task: ${figures.longestTaskMs.toFixed(1)} ms`);
  console.log(`heap: ${heapBefore.toFixed(1)} MB, after ${SECONDS} s ${heapAfter.toFixed(1)} MB`);
  console.log(`elements in the page: ${nodes}`);
  expect(figures.framesPerSecond).toBeGreaterThan(FRAMES_PER_SECOND_MIN);
});
