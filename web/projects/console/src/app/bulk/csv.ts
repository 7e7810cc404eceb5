/**
 * A CSV of recipients, read as the server reads it: a header, then a row each; separated by commas,
 * semicolons or tabs, whichever the header has most of; quoted as RFC 4180 has it.
 */
export interface Csv {
  readonly header: readonly string[];
  /** Without the header; the first is row 2, as spreadsheets count. Empty lines are none. */
  readonly rows: readonly (readonly string[])[];
}

const DELIMITERS = [',', ';', '\t'];

export function parseCsv(text: string): Csv {
  const content = text.startsWith('\ufeff') ? text.slice(1) : text;
  const [header = [], ...rows] = records(content, delimiterOf(content));
  return { header: header.map((name) => name.trim()), rows };
}

function delimiterOf(content: string): string {
  const [firstLine = ''] = content.split(/\r?\n/, 1);
  const count = (delimiter: string) => firstLine.split(delimiter).length;
  return DELIMITERS.reduce((best, one) => (count(one) > count(best) ? one : best));
}

function records(content: string, delimiter: string): string[][] {
  const found: string[][] = [];
  let record: string[] = [];
  let cell = '';
  let quoted = false;
  const endCell = () => {
    record.push(cell.trim());
    cell = '';
  };
  const endRecord = () => {
    endCell();
    if (record.length > 1 || record[0] !== '') found.push(record);
    record = [];
  };
  for (let place = 0; place < content.length; place++) {
    const character = content[place];
    if (quoted) {
      if (character !== '"') cell += character;
      else if (content[place + 1] === '"') cell += content[++place];
      else quoted = false;
    } else if (character === '"' && cell === '') quoted = true;
    else if (character === delimiter) endCell();
    else if (character === '\n') endRecord();
    else if (character !== '\r') cell += character;
  }
  if (cell !== '' || record.length > 0) endRecord();
  return found;
}
