/**
 * Whatever the network does, and however often the tab with the connection changes, each tab gets
 * each event once and in order. Faults are drawn; time is the test's.
 */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BrowserTabs } from '../../testing/browser-tabs';
import { Harness, pass } from '../../testing/harness';
import type { ScriptedServer } from '../../testing/scripted-server';

const RUNS = Number(process.env['PROPERTY_RUNS'] ?? 150);

beforeEach(() => vi.useFakeTimers({ now: Date.parse('2026-11-24T10:00:00Z') }));
afterEach(() => vi.useRealTimers());

type Step = (server: ScriptedServer) => void;

const behaviour = fc.constantFrom('works', 'works', 'refused', 'mute', 'mute-after-hello' as const);

const step: fc.Arbitrary<{ run: Step; afterMs: number }> = fc.record({
  afterMs: fc.oneof(fc.integer({ min: 0, max: 500 }), fc.integer({ min: 500, max: 40_000 })),
  run: fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 1, max: 8 }).map((n) => emitting(n)) },
    { weight: 3, arbitrary: fc.constant<Step>((server) => server.cut()) },
    {
      weight: 2,
      arbitrary: behaviour.map((how): Step => (server) => {
        server.websocket = how as never;
      }),
    },
    {
      weight: 2,
      arbitrary: behaviour.map((how): Step => (server) => {
        server.sse = how as never;
      }),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom('works', 'refused', 'cut').map((how): Step => (server) => {
        server.longPolling = how as never;
      }),
    },
    {
      weight: 1,
      arbitrary: fc.boolean().map((isReachable): Step => (server) => {
        server.isReachable = isReachable;
        if (!isReachable) server.cut();
      }),
    },
    { weight: 1, arbitrary: fc.constant<Step>((server) => server.drain(2_000)) },
    // Frames are lost, repeated and overtake one another, as no network should do.
    {
      weight: 2,
      arbitrary: fc.boolean().map(
        (isLossy): Step =>
          (server) =>
            (server.isLossy = isLossy),
      ),
    },
    { weight: 2, arbitrary: fc.constant<Step>((server) => server.repeat(5)) },
    {
      weight: 2,
      arbitrary: fc.integer({ min: 2, max: 6 }).map(
        (n): Step =>
          (server) =>
            server.shuffle(n),
      ),
    },
  ),
});

function emitting(times: number): Step {
  return (server) => {
    for (let n = 0; n < times; n += 1) server.emit();
  };
}

async function recover(server: ScriptedServer): Promise<void> {
  server.isReachable = true;
  server.isLossy = false;
  server.websocket = server.sse = server.longPolling = 'works';
  await pass(60_000);
  server.emit();
  await pass(5_000);
}

function expectAll(harness: Harness, isOrdered: boolean): void {
  const got = isOrdered ? harness.ids : harness.ids.toSorted();
  const sent = isOrdered ? harness.eventsOfServer : harness.eventsOfServer.toSorted();
  expect(got).toEqual(sent);
}

describe('whatever the network does', () => {
  it('one tab gets each event once', async () => {
    const runs = fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      vi.clearAllTimers();
      const harness = new Harness();
      await harness.start();
      for (const { run, afterMs } of steps) {
        run(harness.server);
        await pass(afterMs);
      }
      await recover(harness.server);
      expectAll(harness, !harness.server.wasShuffled);
      expect(harness.status.transport).not.toBeNull();
      expect(harness.server.connections).toBeLessThanOrEqual(2);
      harness.client.stop();
      expect(harness.server.connections).toBe(0);
    });
    await fc.assert(runs, { numRuns: RUNS });
  }, 300_000);

  it('all tabs do, whichever of them end', async () => {
    const tabStep = fc.record({ step, ends: fc.nat({ max: 9 }) });
    const runs = fc.asyncProperty(fc.array(tabStep, { maxLength: 25 }), async (steps) => {
      vi.clearAllTimers();
      const tabs = new BrowserTabs();
      const all = [tabs.open(), tabs.open(), tabs.open()];
      for (const tab of all) await tab.start();
      for (const { step: next, ends } of steps) {
        next.run(tabs.server);
        await pass(next.afterMs);
        const dying = all[ends];
        if (dying && all.length > 1) {
          all.splice(ends, 1);
          tabs.kill(dying);
        }
      }
      await recover(tabs.server);
      for (const tab of all) expectAll(tab, !tabs.server.wasShuffled);
      expect(all.filter(({ status }) => status.role === 'leader')).toHaveLength(1);
      for (const tab of all) tab.client.stop();
    });
    await fc.assert(runs, { numRuns: RUNS });
  }, 300_000);
});
