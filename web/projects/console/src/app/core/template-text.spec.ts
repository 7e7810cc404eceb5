import type { Template } from './model';
import { componentsFor, filledText, valuesOf, variablesOf } from './template-text';

const template = (...components: unknown[]): Template => ({
  name: 't',
  language: 'es_CO',
  status: 'APPROVED',
  category: 'UTILITY',
  components,
});

const byPosition = template({ type: 'BODY', text: 'Hola {{1}}, su pedido {{2}} va, {{1}}.' });
const byName = template(
  { type: 'HEADER', format: 'TEXT', text: 'Para {{ciudad}}' },
  { type: 'BODY', text: 'Hola {{nombre}}' },
  { type: 'FOOTER', text: 'Tienda Sol' },
  { type: 'BUTTONS', buttons: [] },
);

describe('templates', () => {
  it('have the variables of header and body, each once', () => {
    expect(variablesOf(byPosition).map(({ name }) => name)).toEqual(['1', '2']);
    expect(variablesOf(byName)).toEqual([
      { part: 'header', name: 'ciudad' },
      { part: 'body', name: 'nombre' },
    ]);
  });

  it('are filled as WhatsApp takes it', () => {
    const values = new Map([
      ['body.1', 'Ana'],
      ['body.2', '42'],
    ]);
    expect(componentsFor(byPosition, values)).toEqual([
      {
        type: 'body',
        parameters: [
          { type: 'text', text: 'Ana' },
          { type: 'text', text: '42' },
        ],
      },
    ]);
    const named = componentsFor(byName, new Map([['body.nombre', 'Ana']]));
    expect(named[1].parameters).toEqual([{ type: 'text', text: 'Ana', parameter_name: 'nombre' }]);
  });

  it('read as the contact sees them, and show what is not filled', () => {
    const values = new Map([['body.1', 'Ana']]);
    expect(filledText(byPosition, values)).toBe('Hola Ana, su pedido {{2}} va, Ana.');
    expect(filledText(byName, new Map([['header.ciudad', 'Cali']]))).toBe(
      'Para Cali\nHola {{nombre}}\nTienda Sol',
    );
  });

  it('can be read back from what was sent', () => {
    const values = new Map([
      ['header.ciudad', 'Cali'],
      ['body.nombre', 'Ana'],
    ]);
    expect(valuesOf(componentsFor(byName, values))).toEqual(values);
    expect(valuesOf(null).size).toBe(0);
  });
});
