import { readFile } from 'node:fs/promises';

import type { Page } from '@playwright/test';

import { expect, test } from './support/test';

const rows = (from: number, count: number) =>
  Array.from({ length: count }, (_, n) => `+5731300${from + n},Cliente ${n},Ciudad ${n}`);
const csv = (lines: readonly string[]) => ['phone,name,city', ...lines].join('\n');

async function create(page: Page, name: string, file: string, rate: number): Promise<void> {
  await page.getByLabel('Nombre').fill(name);
  await page
    .locator('#bulk-file')
    .setInputFiles({ name: 'clientes.csv', mimeType: 'text/csv', buffer: Buffer.from(file) });
  await page.getByLabel('Mensajes por segundo').fill(String(rate));
}

const count = async (page: Page, name: string) =>
  Number(await page.locator(`[data-count=${name}] dd`).textContent());

test('a bulk is made from a CSV, told its errors by row, and runs to its end', async ({ open }) => {
  const page = await open('/bulk/new');
  const lines = [...rows(10_000, 30), 'no phone,Ana,Cali', `${rows(10_000, 1)[0]}`, '+5731300999'];
  await create(page, 'Promo', csv(lines), 100);
  await expect(page.getByText('30 filas válidas, 3 con errores')).toBeVisible();
  await expect(page.locator('.problems tbody tr').nth(0)).toContainText('32');
  await expect(page.locator('.problems tbody tr').nth(1)).toContainText('que la fila 2');
  await expect(page.locator('.problems tbody tr').nth(2)).toContainText('falta el valor');
  await expect(page.locator('figure')).toContainText('Hola Cliente 0, su pedido Ciudad 0 va');
  await page.getByRole('button', { name: /^Enviar/ }).click();
  await expect(page.getByText(/Aceptado\. 2 filas rechazadas, 1 repetidas/)).toBeVisible();
  await page.getByRole('link', { name: 'Avance' }).click();

  await expect(page.locator('cc-bulk-status')).toHaveAttribute('data-status', 'completed');
  await expect(page.locator('cc-toasts')).toContainText('«Promo» terminó: 30 enviados');
  await expect(page.getByRole('progressbar')).toHaveAttribute('aria-valuenow', '30');
  expect(await count(page, 'sent')).toBe(30);
  await expect.poll(() => count(page, 'delivered')).toBe(30);
  await expect(page.locator('cc-bulk-results tbody tr')).toHaveCount(30);
});

test('a bulk is paused, resumed and cancelled', async ({ open }) => {
  const page = await open('/bulk/new');
  await create(page, 'Despacio', csv(rows(20_000, 120)), 10);
  await page.getByRole('button', { name: /^Enviar/ }).click();
  const status = page.locator('cc-bulk-status');
  await expect(status).toHaveAttribute('data-status', 'running');
  await expect(page.locator('.current')).toContainText(/Cliente \d+/);
  const bar = page.getByRole('progressbar');
  const done = async () => Number(await bar.getAttribute('aria-valuenow'));
  await expect.poll(done).toBeGreaterThan(3);

  await page.getByRole('button', { name: 'Pausar' }).click();
  await expect(status).toHaveAttribute('data-status', 'paused');
  await page.waitForTimeout(1_500);
  const paused = await done();
  await page.waitForTimeout(2_000);
  expect(await done()).toBe(paused);

  await page.getByRole('button', { name: 'Reanudar' }).click();
  await expect.poll(done).toBeGreaterThan(paused);
  page.on('dialog', (dialog) => void dialog.accept());
  await page.getByRole('button', { name: 'Cancelar el envío' }).click();
  await expect(status).toHaveAttribute('data-status', 'cancelled');
  expect(await done()).toBeLessThan(120);
});

test('results are filtered and exported', async ({ backend, open }) => {
  await backend.faults({ error_permille: 400, error_codes: [131_026] });
  const page = await open('/bulk/new');
  await create(page, 'Con errores', csv(rows(30_000, 40)), 100);
  await page.getByRole('button', { name: /^Enviar/ }).click();
  await expect(page.locator('cc-bulk-status')).toHaveAttribute('data-status', 'completed');
  await backend.faults({});
  const failed = await count(page, 'failed');
  expect(failed).toBeGreaterThan(0);
  await page.getByRole('combobox', { name: 'Resultado' }).selectOption('failed');
  await expect(page.locator('cc-bulk-results tbody tr')).toHaveCount(failed);
  await expect(page.locator('td.error').first()).toContainText('131026');
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Exportar CSV' }).click();
  const file = await readFile(await (await download).path(), 'utf8');
  expect((await download).suggestedFilename()).toBe('Con errores-failed.csv');
  expect(file.trim().split('\n')).toHaveLength(failed + 1);
});

test('a bulk that stops by itself is told, and goes on when asked to', async ({
  backend,
  open,
}) => {
  await backend.faults({ error_permille: 1_000, error_codes: [132_015] });
  const page = await open('/bulk/new');
  await create(page, 'Parado', csv(rows(40_000, 10)), 50);
  await page.getByRole('button', { name: /^Enviar/ }).click();
  await expect(page.locator('cc-bulk-status')).toHaveAttribute('data-status', 'failed');
  await expect(page.locator('cc-toasts')).toContainText('«Parado» se detuvo');
  await expect(page.locator('section .problem')).toContainText('código 132015');
  await backend.faults({});
  await page.getByRole('button', { name: 'Reanudar' }).click();
  await expect(page.locator('cc-bulk-status')).toHaveAttribute('data-status', 'completed');
});

test('a bulk for later waits', async ({ open }) => {
  const page = await open('/bulk/new');
  await create(page, 'Mañana', csv(rows(50_000, 3)), 10);
  await page.getByLabel('Empezar más tarde').check();
  const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 16);
  await page.getByLabel('Fecha y hora').fill(tomorrow);
  await page.getByRole('button', { name: /^Enviar/ }).click();
  await expect(page.locator('cc-bulk-status')).toHaveAttribute('data-status', 'scheduled');
  await expect(page.getByText('Programado para')).toBeVisible();
});
