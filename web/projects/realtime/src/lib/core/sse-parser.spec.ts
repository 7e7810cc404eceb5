import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SseParser } from './sse-parser';

const STREAM =
  'retry: 2000\nid: k3v9q-1-0\ndata: {"type":"hello"}\n\n: comment\n\nid: k3v9q-7-0\n\n' +
  'data: {"type":\r\ndata:"ping"}\r\n\r\nevent: other\ndata\n\n';

const BLOCKS = [
  { id: 'k3v9q-1-0', data: '{"type":"hello"}' },
  { id: 'k3v9q-7-0', data: null },
  { id: null, data: '{"type":\n"ping"}' },
  { id: null, data: '' },
];

describe('the reader of event streams', () => {
  it('finds the same blocks wherever the stream is cut', () => {
    const cuts = fc.array(fc.integer({ min: 0, max: STREAM.length }), { maxLength: 20 });
    fc.assert(
      fc.property(cuts, (places) => {
        const parser = new SseParser();
        const found = [];
        let from = 0;
        for (const to of [...places.toSorted((a, b) => a - b), STREAM.length]) {
          found.push(...parser.push(STREAM.slice(from, to)));
          from = to;
        }
        expect(found).toEqual(BLOCKS);
      }),
    );
  });

  it('is bounded', () => {
    const parser = new SseParser();
    const piece = 'x'.repeat(1 << 20);
    expect(() => {
      for (let n = 0; n < 40; n += 1) parser.push(piece);
    }).toThrow('too long');
  });
});
