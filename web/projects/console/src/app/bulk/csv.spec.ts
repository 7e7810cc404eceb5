import { parseCsv } from './csv';
import { checkRecipients, parsePhone, phoneColumn, placeholders } from './recipients';

describe('a CSV', () => {
  it.each([
    ['phone,name\n+34600000001,Ana', ','],
    ['phone;name\n+34600000001;Ana', ';'],
    ['phone\tname\r\n+34600000001\tAna\r\n', '\t'],
    ['\ufeffphone,name\n\n+34600000001,Ana\n\n', 'with a mark and empty lines'],
  ])('is read: %j', (text) => {
    const csv = parseCsv(text);
    expect(csv.header).toEqual(['phone', 'name']);
    expect(csv.rows).toEqual([['+34600000001', 'Ana']]);
  });

  it('has quoted cells with everything in them', () => {
    const csv = parseCsv('phone,text\n1,"a, ""b""\nc"\n2, d ');
    expect(csv.rows).toEqual([
      ['1', 'a, "b"\nc'],
      ['2', 'd'],
    ]);
  });

  it('knows the columns by the names that people give them', () => {
    const csv = parseCsv('Nombre;Teléfono;Ciudad\nAna;1;Cali');
    expect(phoneColumn(csv)).toBe(1);
    expect(placeholders(csv)).toEqual(['name', 'phone', 'Ciudad']);
    expect(phoneColumn(parseCsv('a,b\n1,2'))).toBe(-1);
  });
});

describe('phone numbers', () => {
  it.each([
    ['+34 600 000 001', '+34600000001'],
    ['0034600000001', '+34600000001'],
    ['34600000001', '+34600000001'],
    ['+57 (300) 000-00.01', '+573000000001'],
    ['600', null],
    ['0600 000 001', null],
    ['+1234567890123456', null],
    ['call me', null],
  ])('%s', (written, expected) => expect(parsePhone(written)).toBe(expected));
});

describe('the check of recipients', () => {
  it('tells what is wrong by row, as spreadsheets count', () => {
    const csv = parseCsv(
      [
        'phone,name,city',
        '+34600000001,Ana,Cali',
        ',Luz,Cali',
        'abc,Luz,Cali',
        '0034 600 000 001,Ana again,Cali',
        '+34600000002,Leo,',
        '+34600000003,Eva,Cali,extra',
        '+34600000002,Leo,Bogotá',
      ].join('\n'),
    );
    const checked = checkRecipients(csv, ['city']);
    expect(checked.problems.map(({ row, problem }) => [row, problem])).toEqual([
      [3, { kind: 'noPhone' }],
      [4, { kind: 'badPhone' }],
      [5, { kind: 'duplicate', row: 2 }],
      [6, { kind: 'missingValue', column: 'city' }],
      [7, { kind: 'tooManyCells' }],
    ]);
    expect([checked.good, checked.bad]).toEqual([2, 5]);
  });
});
