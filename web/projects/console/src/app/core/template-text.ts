/**
 * WhatsApp's templates: which variables they have, what fills them, and how they read filled.
 * Variables stand in header and body, by position (`{{1}}`) or by name (`{{city}}`).
 */
import type { Template } from './model';

const VARIABLE = /\{\{\s*([\p{L}\p{N}_]+)\s*\}\}/gu;

export interface Variable {
  readonly part: 'header' | 'body';
  readonly name: string;
}

interface Part {
  type: string;
  text: string;
}

export const keyOf = ({ part, name }: Variable) => `${part}.${name}`;

/** The texts of a template, from the top to the bottom. */
function partsOf(template: Template): Part[] {
  return template.components.flatMap((component) => {
    const { type, text } = (component ?? {}) as Record<string, unknown>;
    if (typeof type !== 'string' || typeof text !== 'string') return [];
    return [{ type: type.toLowerCase(), text }];
  });
}

export function variablesOf(template: Template): Variable[] {
  const variables = new Map<string, Variable>();
  for (const { type, text } of partsOf(template)) {
    if (type !== 'header' && type !== 'body') continue;
    for (const [, name] of text.matchAll(VARIABLE)) {
      const variable: Variable = { part: type, name };
      variables.set(keyOf(variable), variable);
    }
  }
  return [...variables.values()];
}

/** The values as WhatsApp takes them. `values` are by `keyOf`. */
export function componentsFor(template: Template, values: ReadonlyMap<string, string>) {
  const byPart = new Map<Variable['part'], object[]>();
  for (const variable of variablesOf(template)) {
    const parameter: Record<string, string> = {
      type: 'text',
      text: values.get(keyOf(variable)) ?? '',
    };
    if (!/^\d+$/.test(variable.name)) parameter['parameter_name'] = variable.name;
    byPart.set(variable.part, [...(byPart.get(variable.part) ?? []), parameter]);
  }
  return [...byPart].map(([type, parameters]) => ({ type, parameters }));
}

export function filledText(template: Template, values: ReadonlyMap<string, string>): string {
  return partsOf(template)
    .filter(({ type }) => type === 'header' || type === 'body' || type === 'footer')
    .map(({ type, text }) =>
      text.replace(VARIABLE, (whole, name: string) => values.get(`${type}.${name}`) || whole),
    )
    .join('\n');
}

/** The values that a sent message's `components` have. */
export function valuesOf(components: unknown): Map<string, string> {
  const values = new Map<string, string>();
  if (!Array.isArray(components)) return values;
  for (const component of components as Record<string, unknown>[]) {
    const part = String(component['type']).toLowerCase();
    const parameters = component['parameters'];
    if (!Array.isArray(parameters)) continue;
    (parameters as Record<string, unknown>[]).forEach(({ parameter_name, text }, index) => {
      if (typeof text !== 'string') return;
      const name = typeof parameter_name === 'string' ? parameter_name : String(index + 1);
      values.set(`${part}.${name}`, text);
    });
  }
  return values;
}
