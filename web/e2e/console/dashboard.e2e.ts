import { expect, test } from './support/test';

test('counters pulse when they change', async ({ backend, open }) => {
  await backend.writes('573120000001', 'Pulso', 'uno');
  const page = await open('/dashboard');
  const received = page.locator('[data-counter=received]');
  await expect(received).toBeVisible();
  const before = Number(await received.locator('.value').textContent());
  const pulses = Number(await received.getAttribute('data-pulses'));
  await backend.writes('573120000001', 'Pulso', 'dos');
  await expect(received.locator('.value')).toHaveText(String(before + 1));
  expect(Number(await received.getAttribute('data-pulses'))).toBe(pulses + 1);
  const animations = await received.evaluate((element) => element.getAnimations().length);
  expect(animations).toBe(1);
  await expect(page.locator('[data-counter=closed]')).toHaveAttribute('data-pulses', '0');
});

test('the series is drawn, by hour and by day, and told as a table', async ({ backend, open }) => {
  await backend.writes('573120000002', 'Serie', 'uno');
  const page = await open('/dashboard');
  const chart = page.locator('cc-series-chart canvas');
  await expect(chart).toBeVisible();
  await page.getByText('Los mismos datos como tabla').click();
  await expect(page.locator('details tbody tr')).toHaveCount(25);
  await expect(page.getByText('America/Santiago')).toBeVisible();
  await page.getByRole('button', { name: 'Por día' }).click();
  await expect(page.locator('details tbody tr')).toHaveCount(31);
  const inked = await chart.evaluate((canvas: HTMLCanvasElement) => {
    const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, index) => index % 4 === 3 && value > 0).length;
  });
  expect(inked).toBeGreaterThan(1_000);
});

test('the bot is switched, and shows what others switch', async ({ backend, open }) => {
  const page = await open('/dashboard');
  const bot = page.getByRole('switch', { name: 'Bot activo' });
  await backend.api('PUT', '/v1/bot/status', { status: 'active' });
  await expect(bot).toHaveAttribute('aria-checked', 'true');
  await bot.click();
  await expect(bot).toHaveAttribute('aria-checked', 'false');
  expect(await backend.api('GET', '/v1/bot/status')).toMatchObject({ status: 'paused' });
  await backend.api('PUT', '/v1/bot/status', { status: 'active' });
  await expect(bot).toHaveAttribute('aria-checked', 'true');
});

test('the code that pairs a phone is shown while there is one', async ({ backend, open }) => {
  const page = await open('/dashboard');
  await backend.api('PUT', '/v1/whatsapp/state', { status: 'qr', qr: '2@abcdefghijklmnop' });
  const code = page.getByRole('img', { name: /Código QR/ });
  await expect(code).toBeVisible();
  await backend.api('PUT', '/v1/whatsapp/state', { status: 'connected', name: 'Tienda Sol' });
  await expect(code).toHaveCount(0);
  await expect(page.locator('cc-whatsapp-card')).toContainText('Tienda Sol');
});
