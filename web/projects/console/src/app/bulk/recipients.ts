/**
 * What a CSV's rows are worth before it is sent: the same rules as the server's, so that errors are
 * seen while they can be mended. The server judges again, and its word counts.
 */
import type { Csv } from './csv';

const PHONE_COLUMNS = ['phone', 'teléfono', 'telefono', 'whatsapp'];
const NAME_COLUMNS = ['name', 'nombre'];
const PHONE_DIGITS_MIN = 7;
const PHONE_DIGITS_MAX = 15;
/** Problems beyond are counted and not listed. */
export const PROBLEMS_SHOWN_MAX = 200;

export type RowProblem =
  | { kind: 'noPhone' | 'badPhone' | 'tooManyCells' }
  | { kind: 'duplicate'; row: number }
  | { kind: 'missingValue'; column: string };

export interface Checked {
  readonly good: number;
  readonly bad: number;
  readonly problems: readonly { row: number; phone: string; problem: RowProblem }[];
}

/** The column that has the phone numbers; -1: there is none. */
export function phoneColumn({ header }: Csv): number {
  return columnOf(header, PHONE_COLUMNS);
}

/** What can stand in a message: the name and phone, and every other column under its own name. */
export function placeholders(csv: Csv): string[] {
  const [phone, name] = [phoneColumn(csv), columnOf(csv.header, NAME_COLUMNS)];
  return csv.header
    .map((column, index) => (index === phone ? 'phone' : index === name ? 'name' : column))
    .filter((column) => column !== '');
}

export function checkRecipients(csv: Csv, needed: readonly string[]): Checked {
  const phone = phoneColumn(csv);
  const columns = placeholders(csv);
  const cells = needed.map((column) => ({ column, index: columns.indexOf(column) }));
  const seen = new Map<string, number>();
  const problems: { row: number; phone: string; problem: RowProblem }[] = [];
  let bad = 0;
  csv.rows.forEach((cellsOfRow, index) => {
    const row = index + 2;
    const problem = problemOf(cellsOfRow, csv.header.length, phone, cells, seen, row);
    if (problem === null) return;
    bad++;
    if (problems.length < PROBLEMS_SHOWN_MAX) {
      problems.push({ row, phone: cellsOfRow[phone] ?? '', problem });
    }
  });
  return { good: csv.rows.length - bad, bad, problems };
}

function problemOf(
  cells: readonly string[],
  width: number,
  phone: number,
  needed: readonly { column: string; index: number }[],
  seen: Map<string, number>,
  row: number,
): RowProblem | null {
  if (cells.length > width) return { kind: 'tooManyCells' };
  const written = cells[phone] ?? '';
  if (written === '') return { kind: 'noPhone' };
  const number = parsePhone(written);
  if (number === null) return { kind: 'badPhone' };
  const before = seen.get(number);
  if (before !== undefined) return { kind: 'duplicate', row: before };
  const missing = needed.find(({ index }) => !cells[index]);
  if (missing) return { kind: 'missingValue', column: missing.column };
  seen.set(number, row);
  return null;
}

/** In E.164; `null` when it is no international number. */
export function parsePhone(written: string): string | null {
  const [, plus, rest] = /^(\+?)([\d\s.\-‐-–/()]+)$/u.exec(written.trim()) ?? [];
  if (rest === undefined) return null;
  let digits = rest.replace(/\D/g, '');
  if (plus === '' && digits.startsWith('00')) digits = digits.slice(2);
  if (digits.startsWith('0')) return null;
  if (digits.length < PHONE_DIGITS_MIN || digits.length > PHONE_DIGITS_MAX) return null;
  return `+${digits}`;
}

function columnOf(header: readonly string[], names: readonly string[]): number {
  const lower = header.map((column) => column.toLowerCase());
  for (const name of names) {
    const index = lower.indexOf(name);
    if (index >= 0) return index;
  }
  return -1;
}
