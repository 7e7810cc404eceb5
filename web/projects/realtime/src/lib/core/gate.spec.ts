import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { event } from '../../testing/fixtures';
import { compareCursors } from './cursor';
import { Gate } from './gate';
import type { PublicEvent } from './types';

describe('cursors', () => {
  it('are ordered by position and ordinal, as numbers of any size', () => {
    const ordered = [
      'k3v9q-0-0',
      'k3v9q-9-7',
      'k3v9q-10-0',
      'k3v9q-10-2',
      'k3v9q-10-10',
      'k3v9q-9007199254740993-0',
      'k3v9q-9007199254740994-0',
      'k3v9q-18446744073709551615-65535',
    ];
    for (const [i, a] of ordered.entries()) {
      for (const [j, b] of ordered.entries()) {
        expect(Math.sign(compareCursors(a, b)!)).toBe(Math.sign(i - j));
      }
    }
  });

  it('of other stores, and what is none, can not be compared', () => {
    expect(compareCursors('k3v9q-1-0', 'zzzzz-1-0')).toBeNull();
    expect(compareCursors('k3v9q-1-0', 'k3v9q-1')).toBeNull();
    expect(compareCursors('', 'k3v9q-1-0')).toBeNull();
  });
});

const at = (position: number, type: PublicEvent['type'] = 'new_message'): PublicEvent =>
  event(`k3v9q-${position}-0`, type);

function gateAt(cursor: string): Gate {
  const gate = new Gate();
  gate.restart(cursor);
  return gate;
}

describe('the gate', () => {
  it('takes nothing before it knows where it stands', () => {
    expect(new Gate().judge(at(1))).toBe('early');
  });

  it('takes each event once', () => {
    const gate = gateAt('k3v9q-5-0');
    expect(gate.judge(at(5))).toBe('duplicate');
    expect(gate.judge(at(6))).toBe('new');
    expect(gate.judge(at(6))).toBe('duplicate');
    expect(gate.judge(at(4))).toBe('duplicate');
    expect(gate.cursor).toBe('k3v9q-6-0');
  });

  it('takes late what was overtaken, and state events only when none later was taken', () => {
    const gate = gateAt('k3v9q-5-0');
    expect(gate.judge(at(8))).toBe('new');
    expect(gate.judge(at(6))).toBe('late');
    expect(gate.judge(at(6))).toBe('duplicate');
    expect(gate.cursor).toBe('k3v9q-8-0');
    expect(gate.judge(at(10, 'stats_updated'))).toBe('new');
    expect(gate.judge(at(9, 'stats_updated'))).toBe('duplicate');
    expect(gate.judge(at(7, 'bot_status_changed'))).toBe('late');
  });

  it('knows events of another store', () => {
    expect(gateAt('k3v9q-5-0').judge(event('zzzzz-6-0', 'new_message'))).toBe('foreign');
  });

  it('moves past what was hidden, never back', () => {
    const gate = gateAt('k3v9q-5-0');
    expect(gate.moveTo('k3v9q-9-65535')).toBe(true);
    expect(gate.moveTo('k3v9q-7-0')).toBe(false);
    expect(gate.cursor).toBe('k3v9q-9-65535');
  });

  it('has each event once, whatever the order and the repetitions', () => {
    const facts = fc.uniqueArray(fc.integer({ min: 1, max: 500 }), { maxLength: 200 });
    const arrival = facts.chain((positions) =>
      fc.tuple(
        fc.constant(positions),
        fc.shuffledSubarray(positions, { minLength: positions.length }),
        fc.array(fc.constantFrom(...(positions.length ? positions : [1])), { maxLength: 50 }),
      ),
    );
    fc.assert(
      fc.property(arrival, ([positions, order, again]) => {
        const gate = gateAt('k3v9q-0-0');
        const taken: string[] = [];
        for (const position of positions.length ? [...order, ...again] : []) {
          const next = at(position);
          if (['new', 'late'].includes(gate.judge(next))) taken.push(next.id);
        }
        expect(taken.toSorted()).toEqual(positions.map((n) => at(n).id).toSorted());
      }),
    );
  });

  it('forgets the oldest, and takes them for had', () => {
    const gate = gateAt('k3v9q-0-0');
    for (let n = 2; n < 10_000; n += 2) gate.judge(at(n));
    expect(gate.judge(at(101))).toBe('duplicate');
    expect(gate.judge(at(9_997))).toBe('late');
  });
});
