import { expect, test } from './support/test';

test('the language is Spanish, or English on choice, and the choice is kept', async ({ open }) => {
  const page = await open('/dashboard');
  await expect(page.locator('html')).toHaveAttribute('lang', 'es');
  await expect(page.getByRole('heading', { name: 'Tablero' })).toBeVisible();
  await page.getByRole('button', { name: 'Preferencias' }).click();
  await page.getByLabel('English').check();
  await expect(page.getByRole('heading', { name: 'Dashboard' })).toBeVisible();
  await page.reload();
  await expect(page.getByRole('heading', { name: 'Dashboard' })).toBeVisible();
  await expect(page.locator('html')).toHaveAttribute('lang', 'en');
});

test('the look follows the system, or what is chosen', async ({ open }) => {
  const page = await open('/bulk');
  const html = page.locator('html');
  await expect(html).toHaveAttribute('data-theme', 'light');
  await page.emulateMedia({ colorScheme: 'dark' });
  await expect(html).toHaveAttribute('data-theme', 'dark');
  await page.getByRole('button', { name: 'Preferencias' }).click();
  await page.getByLabel('Claro').check();
  await expect(html).toHaveAttribute('data-theme', 'light');
  await page.reload();
  await expect(html).toHaveAttribute('data-theme', 'light');
});

test('who signs out is out', async ({ backend, open }) => {
  const page = await open('/dashboard');
  await page.getByRole('button', { name: 'Preferencias' }).click();
  await page.getByRole('button', { name: 'Salir' }).click();
  await expect(page.getByLabel('Token de acceso')).toBeVisible();
  await page.goto(`${backend.url}/#/chat`);
  await expect(page.getByLabel('Token de acceso')).toBeVisible();
});

test('with reduced motion nothing moves', async ({ backend, open }) => {
  const phone = '573170000001';
  await backend.writes(phone, 'Quieta', 'uno');
  const page = await open(`/chat/${await backend.conversationOf(phone)}`);
  await page.emulateMedia({ reducedMotion: 'reduce' });
  await backend.writes(phone, 'Quieta', 'dos');
  const last = page.locator('cc-message-bubble', { hasText: 'dos' });
  await expect(last).toBeVisible();
  const duration = await last.evaluate((element) => getComputedStyle(element).animationDuration);
  expect(parseFloat(duration)).toBeLessThan(0.001);
});
