/**
 * The order of cursors: `epoch-position-ordinal`, where positions may be larger than what a
 * JavaScript number holds exactly, so they are compared as digits.
 */
import type { Cursor } from './types';

const FORM = /^([A-Za-z0-9]{5,8})-(\d{1,20})-(\d{1,5})$/;

/** Negative, 0 or positive as for sorting; `null` when the two are not of one store. */
export function compareCursors(a: Cursor, b: Cursor): number | null {
  if (a === b) return 0;
  const [left, right] = [FORM.exec(a), FORM.exec(b)];
  if (!left || !right || left[1] !== right[1]) return null;
  return compareDigits(left[2], right[2]) || Number(left[3]) - Number(right[3]);
}

/** Whether `a` lies after `b` in the same store. */
export function isAfter(a: Cursor, b: Cursor): boolean {
  return (compareCursors(a, b) ?? 0) > 0;
}

function compareDigits(a: string, b: string): number {
  const [left, right] = [a.replace(/^0+(?=\d)/, ''), b.replace(/^0+(?=\d)/, '')];
  if (left.length !== right.length) return left.length - right.length;
  return left < right ? -1 : left > right ? 1 : 0;
}
