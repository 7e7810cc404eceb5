import { bubble, expect, live, row, test } from './support/test';

const WEBSOCKETS = 'condorito_connections{transport="websocket"}';
const OPENED = 'condorito_connections_opened_total{transport="websocket"}';

test('after kill -9 and a restart the page catches up, nothing missing or doubled', async ({
  backend,
  open,
}) => {
  const phone = '573140000001';
  await backend.writes(phone, 'Fénix', 'línea 0 fin');
  const page = await open(`/chat/${await backend.conversationOf(phone)}`);
  await expect(bubble(page, 'línea 0 fin')).toBeVisible();
  for (let n = 1; n <= 10; n++) await backend.writes(phone, 'Fénix', `línea ${n} fin`);
  await backend.server.kill();
  const indicator = page.locator('.indicator');
  await expect(indicator).toHaveAttribute('data-level', /connecting|error/);
  await backend.server.startAgain();
  // Written before the page is back.
  for (let n = 11; n <= 30; n++) await backend.writes(phone, 'Fénix', `línea ${n} fin`);
  await live(page);
  for (let n = 31; n <= 35; n++) await backend.writes(phone, 'Fénix', `línea ${n} fin`);
  await expect(bubble(page, 'línea 35 fin')).toBeVisible();
  const texts = await page.locator('cc-message-bubble .text').allTextContents();
  expect(texts.map((text) => text.trim())).toEqual(
    Array.from({ length: 36 }, (_, n) => `línea ${n} fin`),
  );
  await expect(row(page, 'Fénix')).toHaveCount(1);
  await expect(row(page, 'Fénix')).toContainText('línea 35 fin');
});

test('a token that ends is renewed on the open connection', async ({ backend, open }) => {
  const phone = '573140000002';
  await backend.writes(phone, 'Renueva', 'antes');
  const id = await backend.conversationOf(phone);
  // Of a token that lives so shortly another one is asked for half-way.
  const page = await open(`/chat/${id}`, backend.token({ seconds: 20 }));
  await expect(page.getByRole('dialog', { name: 'La sesión termina pronto' })).toBeVisible({
    timeout: 20_000,
  });
  const opened = await backend.metric(OPENED);
  await page.getByRole('dialog').getByLabel('Token de acceso').fill(backend.token());
  await page.getByRole('dialog').getByRole('button', { name: 'Renovar' }).click();
  await expect(page.getByRole('dialog')).toHaveCount(0);
  // Past the first token's end the connection still stands, and it is the same.
  await page.waitForTimeout(20_000);
  await backend.writes(phone, 'Renueva', 'después');
  await expect(bubble(page, 'después')).toBeVisible({ timeout: 1_000 });
  expect(await backend.metric(OPENED)).toBe(opened);
});

test('a token that has ended is asked for, and the page catches up', async ({ backend, open }) => {
  const phone = '573140000003';
  await backend.writes(phone, 'Vencida', 'antes');
  const id = await backend.conversationOf(phone);
  const page = await open(`/chat/${id}`, backend.token({ seconds: 6 }));
  await expect(page.locator('.indicator')).not.toHaveAttribute('data-level', 'live', {
    timeout: 30_000,
  });
  await backend.writes(phone, 'Vencida', 'mientras tanto');
  await page.getByRole('dialog').getByLabel('Token de acceso').fill(backend.token());
  await page.getByRole('dialog').getByRole('button', { name: 'Renovar' }).click();
  await live(page);
  await expect(bubble(page, 'mientras tanto')).toHaveCount(1);
});

test('two tabs share one connection, and the second takes over', async ({ backend, open }) => {
  await expect.poll(() => backend.metric(WEBSOCKETS)).toBe(0);
  const phone = '573140000004';
  await backend.writes(phone, 'Pestañas', 'uno');
  const path = `/chat/${await backend.conversationOf(phone)}`;
  const token = backend.token();
  const first = await open(path, token);
  const second = await open(path, token);
  await expect(bubble(first, 'uno')).toBeVisible();
  await expect(bubble(second, 'uno')).toBeVisible();
  expect(await backend.metric(WEBSOCKETS)).toBe(1);
  await backend.writes(phone, 'Pestañas', 'dos');
  await expect(bubble(first, 'dos')).toHaveCount(1);
  await expect(bubble(second, 'dos')).toHaveCount(1);
  await second.locator('.indicator').click();
  await expect(second.getByText('la mantiene otra pestaña')).toBeVisible();
  await first.close();
  await backend.writes(phone, 'Pestañas', 'tres');
  await expect(bubble(second, 'tres')).toHaveCount(1);
  expect(await backend.metric(WEBSOCKETS)).toBe(1);
});

test('the indicator tells the transport and the last error', async ({ backend, open }) => {
  const page = await open();
  await page.locator('.indicator').click();
  const panel = page.getByRole('dialog', { name: 'Conexión' });
  await expect(panel).toContainText('WebSocket');
  await backend.writes('573140000005', 'Retraso', 'hola');
  await expect(panel).toContainText(/Retraso\s*\d+ ms/);
  await page.keyboard.press('Escape');
  await expect(panel).toHaveCount(0);
});
