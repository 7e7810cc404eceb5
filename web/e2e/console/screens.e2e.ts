/**
 * Each page in light, dark and on a phone: kept as screenshots in `out-tsc/console-screenshots`,
 * and looked through by axe, which must find nothing serious.
 */
import { join } from 'node:path';

import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';

import type { Backend } from './support/backend';
import { bubble, expect, row, test } from './support/test';

const FOLDER = 'out-tsc/console-screenshots';
const CUSTOMERS: [phone: string, name: string, texts: string[]][] = [
  ['573150000001', 'Valentina Ospina', ['Buenas tardes 👋', '¿Tienen la camisa de lino azul?']],
  ['573150000002', 'Ferretería El Tornillo', ['¿Manejan precios al por mayor?']],
  ['573150000003', 'Juan Sebastián Ariza', ['Hola, les transferí hace un rato']],
  ['573150000004', 'Luz Marina Bedoya', ['Mil gracias, todo perfecto 🙌']],
  ['573150000005', 'Sofía Echeverri', ['¿Hasta qué hora atienden hoy?', '¿Y el domingo?']],
  ['573150000006', 'Óscar Yesid Niño', ['¿Me mandan la guía, por favor?']],
];

const GREETINGS: Record<string, string> = {
  light: 'Quedo pendiente 🙌',
  dark: '¿Me confirma, por favor?',
  phone: 'Mil gracias',
};

/** A tenant with something to see. */
async function furnish(backend: Backend): Promise<number> {
  for (const [phone, name, texts] of CUSTOMERS) {
    for (const text of texts) await backend.writes(phone, name, text);
  }
  const [phone, name] = CUSTOMERS[0];
  const id = await backend.conversationOf(phone);
  const send = (body: unknown) => backend.api('POST', `/v1/conversations/${id}/messages`, body);
  await send({ text: '¡Buenas tardes, Valentina! Sí, nos queda en M y en L.' });
  await backend.writes(phone, name, 'Apárteme la M, porfa');
  await backend.writes(phone, name, {
    type: 'location',
    location: { latitude: 4.711, longitude: -74.0721, name: 'Parque de la 93', address: 'Bogotá' },
  });
  await send({
    template: {
      name: 'pedido_en_camino',
      language: 'es_CO',
      components: [
        {
          type: 'body',
          parameters: [
            { type: 'text', text: 'Valentina' },
            { type: 'text', text: '40218' },
          ],
        },
      ],
    },
  });
  await pause(700);
  await backend.faults({ error_permille: 1_000, error_codes: [131_026] });
  await send({ text: '¿Le llegó bien?' });
  await pause(700);
  await backend.faults({});
  await backend.api('PATCH', `/v1/conversations/${id}`, {
    assigned_to: 'agente',
    labels: ['mayorista'],
  });
  return id;
}

/** For what has been queued to be with the provider. */
function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** A bulk that is under way while it is looked at. Answers its id. */
async function startBulk(backend: Backend, name: string): Promise<string> {
  const { bulk } = await backend.api<{ bulk: { id: string } }>('POST', '/v1/bulk', {
    name,
    rate_per_second: 8,
    template: { name: 'promo_temporada', language: 'es_CO', parameters: ['{{name}}'] },
    recipients: Array.from({ length: 90 }, (_, n) => ({
      phone: `+5731600${10_000 + n}`,
      name: `Cliente ${n + 1}`,
    })),
  });
  return bulk.id;
}

async function inspect(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: join(FOLDER, `${name}.png`) });
  const { violations } = await new AxeBuilder({ page })
    .withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'])
    .analyze();
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  const told = serious.map(({ id, nodes }) => `${name}: ${id} at ${nodes[0].html}`);
  expect.soft(told).toEqual([]);
}

const LOOKS = [
  { look: 'light', options: { colorScheme: 'light' as const } },
  { look: 'dark', options: { colorScheme: 'dark' as const } },
  {
    look: 'phone',
    options: {
      colorScheme: 'light' as const,
      viewport: { width: 390, height: 780 },
      deviceScaleFactor: 2,
      hasTouch: true,
      isMobile: true,
    },
  },
];

let furnished: Promise<number> | null = null;

for (const { look, options } of LOOKS) {
  test.describe(look, () => {
    test.use(options);

    test(`the pages, ${look}`, async ({ backend, open, page: signIn }) => {
      const id = await (furnished ??= furnish(backend));
      // The bulk of the look before has pushed them down, as far as it came.
      for (const [phone, name] of CUSTOMERS.toReversed()) {
        await backend.writes(phone, name, GREETINGS[look]);
      }
      await signIn.goto(backend.url);
      await expect(signIn.getByLabel('Token de acceso')).toBeVisible();
      await inspect(signIn, `sign-in-${look}`);

      const page = await open();
      await expect(row(page, 'Valentina Ospina')).toBeAttached();
      if (look === 'phone') await inspect(page, `conversations-${look}`);
      await page.goto(`${backend.url}/#/chat/${id}`);
      await expect(bubble(page, 'Apárteme la M')).toBeVisible();
      await page.waitForTimeout(600);
      await inspect(page, `chat-${look}`);
      await page.getByRole('button', { name: 'Detalles' }).click();
      await page.waitForTimeout(400);
      await inspect(page, `details-${look}`);

      await page.goto(`${backend.url}/#/dashboard`);
      await expect(page.locator('cc-series-chart canvas')).toBeVisible();
      await backend.api('PUT', '/v1/whatsapp/state', { status: 'qr', qr: '2@abcdefghijklmnop' });
      await expect(page.locator('cc-qr-code')).toBeVisible();
      await page.waitForTimeout(1_500);
      await inspect(page, `dashboard-${look}`);
      await backend.api('PUT', '/v1/whatsapp/state', { status: 'connected' });

      const bulk = `Temporada de diciembre (${look})`;
      const bulkId = await startBulk(backend, bulk);
      await page.goto(`${backend.url}/#/bulk`);
      await expect(page.getByText(bulk)).toBeVisible();
      await page.waitForTimeout(500);
      await inspect(page, `bulks-${look}`);
      await page.getByRole('link', { name: bulk }).click();
      await expect(page.locator('cc-bulk-results tbody tr').first()).toBeVisible();
      await page.waitForTimeout(500);
      await inspect(page, `bulk-${look}`);

      await page.goto(`${backend.url}/#/bulk/new`);
      await page.getByLabel('Nombre').fill('Aviso de cierre');
      await page
        .getByLabel('O pegue las filas aquí')
        .fill(
          'phone,name,pedido\n+57 300 000 0001,Ana,40218\n300,Luz,40219\n+57 300 000 0002,Leo,',
        );
      await expect(page.locator('.problems tbody tr')).toHaveCount(2);
      await inspect(page, `bulk-new-${look}`);
      await page.locator('.indicator').click();
      await page.waitForTimeout(200);
      await inspect(page, `connection-${look}`);
      // What it goes on sending would push the customers down in the next look.
      await backend.api('POST', `/v1/bulk/${bulkId}/cancel`);
    });
  });
}
