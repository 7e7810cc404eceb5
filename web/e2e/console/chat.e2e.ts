import type { Page } from '@playwright/test';

import type { Backend } from './support/backend';
import { bubble, expect, live, row, test } from './support/test';

let customer = 573_110_000_000;
const nextCustomer = () => String(customer++);

/** A customer has written, and their conversation is open. */
async function conversation(backend: Backend, open: (path: string) => Promise<Page>, name: string) {
  const phone = nextCustomer();
  await backend.writes(phone, name, 'Hola');
  const id = await backend.conversationOf(phone);
  const page = await open(`/chat/${id}`);
  await expect(bubble(page, 'Hola')).toBeVisible();
  return { phone, id, page };
}

/** Customers read what they get, or let it be. */
const ARRIVED = /delivered|read/;
const compose = (page: Page) => page.getByRole('textbox', { name: 'Escriba un mensaje' });
const status = (page: Page, text: string) =>
  bubble(page, text).locator('.meta cc-status-tick').getAttribute('data-status');

test('a message is on the screen within a second of its webhook', async ({ backend, open }) => {
  const { phone, page } = await conversation(backend, open, 'Rosa Pérez');
  for (const text of ['¿Tienen stock?', '¿Y en azul?', 'Gracias']) {
    const posted = Date.now();
    await backend.writes(phone, 'Rosa Pérez', text);
    await bubble(page, text).waitFor();
    expect(Date.now() - posted).toBeLessThan(1_000);
  }
  await expect(row(page, 'Rosa Pérez')).toContainText('Gracias');
});

test('what is sent shows at once, stands once, and its ticks only advance', async ({
  backend,
  open,
}) => {
  const { page, id } = await conversation(backend, open, 'Luis Mora');
  await page.evaluate(() => {
    const seen: string[] = [];
    Object.assign(window, { seen });
    new MutationObserver(() => {
      const bubbles = [...document.querySelectorAll('cc-message-bubble')];
      const mine = bubbles.find((one) => one.textContent?.includes('Va en camino'));
      const now = mine?.querySelector('.meta cc-status-tick')?.getAttribute('data-status');
      if (now && seen.at(-1) !== now) seen.push(now);
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
  });
  await compose(page).fill('Va en camino');
  await compose(page).press('Enter');
  await expect(bubble(page, 'Va en camino')).toBeVisible({ timeout: 300 });
  await expect.poll(() => status(page, 'Va en camino')).toMatch(ARRIVED);
  const seen = await page.evaluate(() => (window as unknown as { seen: string[] }).seen);
  const order = ['sending', 'queued', 'sent', 'delivered', 'read'];
  expect(seen).toEqual([...seen].sort((a, b) => order.indexOf(a) - order.indexOf(b)));
  expect(seen[0]).toBe('sending');
  await expect(bubble(page, 'Va en camino')).toHaveCount(1);
  const history = await backend.api<{ messages: { text: string }[] }>(
    'GET',
    `/v1/conversations/${id}/messages`,
  );
  expect(history.messages.filter(({ text }) => text === 'Va en camino')).toHaveLength(1);
});

test('a failure says why, and the message can be sent again', async ({ backend, open }) => {
  const { page } = await conversation(backend, open, 'Ana Ruiz');
  await backend.faults({ error_permille: 1_000, error_codes: [131_026] });
  await compose(page).fill('No llega');
  await compose(page).press('Enter');
  const failure = bubble(page, 'No llega').locator('.failure');
  await expect(failure).toContainText('131026');
  await backend.faults({});
  await failure.getByRole('button', { name: 'Reenviar' }).click();
  await expect(bubble(page, 'No llega')).toHaveCount(2);
  await expect(bubble(page, 'No llega').last().locator('.meta cc-status-tick')).toHaveAttribute(
    'data-status',
    ARRIVED,
  );
});

test('what does not reach the server stays, and goes when asked to', async ({ backend, open }) => {
  const { page, id } = await conversation(backend, open, 'Iris Peña');
  await page.route('**/messages', (route) => route.abort());
  await compose(page).fill('Sin red');
  await compose(page).press('Enter');
  const failure = bubble(page, 'Sin red').locator('.failure');
  await expect(failure).toContainText('No llegó al servidor');
  await page.unroute('**/messages');
  await failure.getByRole('button', { name: 'Reenviar' }).click();
  await expect.poll(() => status(page, 'Sin red')).toMatch(ARRIVED);
  await expect(bubble(page, 'Sin red')).toHaveCount(1);
  await expect(page).toHaveURL(new RegExp(`/chat/${id}$`));
});

test('outside the 24-hour window only templates go', async ({ backend, open }) => {
  const id = await backend.conversationOf(nextCustomer());
  const page = await open(`/chat/${id}`);
  await expect(page.getByText('La ventana de 24 horas está cerrada')).toBeVisible();
  await expect(compose(page)).toHaveCount(0);
  await page.getByRole('button', { name: 'Elegir una plantilla' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Valor de {{1}}').fill('Eva');
  await dialog.getByLabel('Valor de {{2}}').fill('40218');
  await expect(dialog.locator('figure')).toContainText('Hola Eva, su pedido 40218 va en camino.');
  await dialog.getByRole('button', { name: 'Enviar la plantilla' }).click();
  await expect.poll(() => status(page, 'Hola Eva, su pedido 40218')).toMatch(ARRIVED);
  await page.reload();
  await expect(bubble(page, 'Hola Eva, su pedido 40218')).toHaveCount(1);
});

test('inside the window the time left is shown', async ({ backend, open }) => {
  const { page } = await conversation(backend, open, 'Leo Díaz');
  await expect(page.getByText(/Ventana de 24 h: quedan 23 h/)).toBeVisible();
});

test('conversations are read when seen', async ({ backend, open }) => {
  const phone = nextCustomer();
  for (const text of ['uno', 'dos', 'tres']) await backend.writes(phone, 'Sara Gil', text);
  const page = await open();
  await expect(row(page, 'Sara Gil').locator('.badge')).toContainText('3');
  await row(page, 'Sara Gil').click();
  await expect(row(page, 'Sara Gil').locator('.badge')).toHaveCount(0);
  const id = await backend.conversationOf(phone);
  const { unread_count } = await backend.api<{ unread_count: number }>(
    'GET',
    `/v1/conversations/${id}`,
  );
  expect(unread_count).toBe(0);
});

test('the reader who went up stays there, and is told of new messages', async ({
  backend,
  open,
}) => {
  const { phone, page } = await conversation(backend, open, 'Nora Paz');
  for (let n = 0; n < 70; n++) await backend.writes(phone, 'Nora Paz', `mensaje ${n}`);
  await expect(bubble(page, 'mensaje 69')).toBeInViewport();
  const scroller = page.locator('.scroller');
  await scroller.hover();
  await page.mouse.wheel(0, -1_500);
  const button = page.locator('.to-end');
  await expect(button).toBeVisible();
  await page.waitForTimeout(300);
  const before = await scroller.evaluate((element) => element.scrollTop);
  await backend.writes(phone, 'Nora Paz', 'uno más');
  await backend.writes(phone, 'Nora Paz', 'y otro');
  await expect(button).toContainText('2 mensajes nuevos');
  expect(await scroller.evaluate((element) => element.scrollTop)).toBe(before);
  await button.click();
  await expect(bubble(page, 'y otro')).toBeInViewport();
  await expect(button).toHaveCount(0);
});

test('older messages come in above without moving what is read', async ({ backend, open }) => {
  const phone = nextCustomer();
  for (let n = 0; n < 130; n++) await backend.writes(phone, 'Raúl Soto', `línea ${n} fin`);
  const page = await open(`/chat/${await backend.conversationOf(phone)}`);
  await expect(bubble(page, 'línea 129 fin')).toBeInViewport();
  await expect(bubble(page, 'línea 0 fin')).toHaveCount(0);
  const scroller = page.locator('.scroller');
  await scroller.hover();
  for (let turn = 0; turn < 40; turn++) {
    await page.mouse.wheel(0, -900);
    await page.waitForTimeout(60);
    if ((await bubble(page, 'línea 0 fin').count()) > 0) break;
  }
  await expect(page.getByText('Aquí empieza la conversación')).toBeAttached();
  await expect(page.locator('cc-message-bubble')).toHaveCount(130);
});

test('media, places, contacts, replies and reactions are shown', async ({ backend, open }) => {
  const { phone, page } = await conversation(backend, open, 'Inés Vega');
  const place = { latitude: 4.711, longitude: -74.0721, name: 'Parque de la 93' };
  await backend.writes(phone, 'Inés Vega', { type: 'location', location: place });
  await expect(page.locator('.place')).toContainText('Parque de la 93');
  const contacts = [
    { name: { formatted_name: 'Luis Rojas' }, phones: [{ phone: '+57 310 555 0101' }] },
  ];
  await backend.writes(phone, 'Inés Vega', { type: 'contacts', contacts });
  await expect(page.locator('.person')).toContainText('Luis Rojas');

  await compose(page).fill('¿Cuál prefiere?');
  await compose(page).press('Enter');
  await expect.poll(() => status(page, '¿Cuál prefiere?')).toMatch(ARRIVED);
  const id = await backend.conversationOf(phone);
  const { messages } = await backend.api<{ messages: { text: string; wa_message_id: string }[] }>(
    'GET',
    `/v1/conversations/${id}/messages`,
  );
  const asked = messages.find(({ text }) => text === '¿Cuál prefiere?')!.wa_message_id;
  await backend.writes(phone, 'Inés Vega', {
    type: 'text',
    text: { body: 'La azul' },
    context: { from: '576015550100', id: asked },
  });
  await expect(bubble(page, 'La azul').locator('.quote')).toContainText('¿Cuál prefiere?');
  await backend.writes(phone, 'Inés Vega', {
    type: 'reaction',
    reaction: { message_id: asked, emoji: '👍' },
  });
  const answered = page.locator('cc-message-bubble.out', { hasText: '¿Cuál prefiere?' });
  await expect(answered.locator('.reactions')).toContainText('👍');

  const blue = bubble(page, 'La azul');
  await blue.hover();
  await blue.getByRole('button', { name: 'Reaccionar' }).click();
  await blue.getByRole('button', { name: '❤️' }).click();
  await expect(blue.locator('.reactions')).toContainText('❤️');
  await blue.hover();
  await blue.getByRole('button', { name: 'Responder' }).click();
  await compose(page).fill('Apartada');
  await compose(page).press('Enter');
  await expect(bubble(page, 'Apartada').locator('.quote')).toContainText('La azul');
});

test('a file is attached, sent and shown', async ({ backend, open }) => {
  const { page } = await conversation(backend, open, 'Olga Cano');
  const png = Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP4z8CAFWEXHbQSACj/P8Fu7N9hAAAAAElFTkSuQmCC',
    'base64',
  );
  await page
    .locator('cc-composer input[type=file]')
    .setInputFiles({ name: 'foto.png', mimeType: 'image/png', buffer: png });
  await expect(page.locator('.attachment')).toContainText('foto.png');
  await compose(page).fill('La foto');
  await page.getByRole('button', { name: 'Enviar', exact: true }).click();
  await expect(bubble(page, 'La foto').locator('img')).toBeVisible();
  await expect.poll(() => status(page, 'La foto')).toMatch(ARRIVED);
});

test('conversations are found, filtered, assigned and labelled', async ({ backend, open }) => {
  const { page } = await conversation(backend, open, 'Zulema Quiroga');
  const other = nextCustomer();
  await backend.writes(other, 'Tadeo Lira', 'Busco una guayabera');
  const search = page.getByRole('searchbox');
  await search.fill('guayabera');
  await expect(page.locator('cc-conversation-row')).toHaveCount(1);
  await expect(row(page, 'Tadeo Lira')).toBeVisible();
  await search.fill('');
  await expect(row(page, 'Zulema Quiroga')).toBeVisible();

  await page.getByRole('button', { name: 'Detalles' }).click();
  await page.getByRole('button', { name: 'Asignármela' }).click();
  await expect(page.locator('.assigned')).toContainText('agente');
  await page.getByRole('combobox', { name: 'Añadir etiqueta' }).fill('mayorista');
  await page.getByRole('button', { name: 'Añadir etiqueta' }).click();
  await expect(row(page, 'Zulema Quiroga')).toContainText('mayorista');
  await page.getByRole('button', { name: 'Mías' }).click();
  await expect(page.locator('cc-conversation-row')).toHaveCount(1);
  await page.getByRole('button', { name: 'Todas' }).click();
  await page.getByRole('combobox', { name: 'Etiqueta', exact: true }).selectOption('mayorista');
  await expect(page.locator('cc-conversation-row')).toHaveCount(1);
});

test('the list is used with the keyboard', async ({ backend, open }) => {
  await backend.writes(nextCustomer(), 'Teclado Uno', 'a');
  await backend.writes(nextCustomer(), 'Teclado Dos', 'b');
  const page = await open();
  await row(page, 'Teclado Dos').locator('a').focus();
  await page.keyboard.press('ArrowDown');
  await expect(row(page, 'Teclado Uno').locator('a')).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { name: 'Teclado Uno' })).toBeVisible();
});

test('without a token it is asked for, and a wrong one is told', async ({ page, backend }) => {
  await page.goto(backend.url);
  const box = page.getByLabel('Token de acceso');
  await box.fill('nonsense');
  await page.getByRole('button', { name: 'Entrar' }).click();
  await expect(page.getByRole('alert')).toContainText('no parece un token');
  const [head, claims] = backend.token().split('.');
  await box.fill(`${head}.${claims}.AAAA`);
  await page.getByRole('button', { name: 'Entrar' }).click();
  await expect(page.getByRole('alert')).toContainText('no acepta este token');
  await box.fill(backend.token());
  await page.getByRole('button', { name: 'Entrar' }).click();
  await live(page);
  expect(page.url()).not.toContain('token');
});
