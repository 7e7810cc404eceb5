/** Tests with a server of their own, and pages that fail when the browser complains. */
import { test as base, type Page } from '@playwright/test';

import { Backend } from './backend';

interface Fixtures {
  /** Opens the console, signed in by the link as the demo prints it. */
  open: (path?: string, token?: string) => Promise<Page>;
}

export const test = base.extend<Fixtures, { backend: Backend }>({
  viewport: { width: 1360, height: 820 },
  locale: 'es-CO',
  actionTimeout: 15_000,

  backend: [
    async ({}, use) => {
      const backend = await Backend.start();
      await use(backend);
      await backend.stop();
    },
    { scope: 'worker' },
  ],

  open: async ({ context, backend }, use) => {
    const complaints: string[] = [];
    await use(async (path = '/chat', token = backend.token()) => {
      const page = await context.newPage();
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('console', (message) => {
        if (message.text().includes('Content Security Policy')) complaints.push(message.text());
      });
      await page.goto(`${backend.url}/#token=${token}`);
      await live(page);
      if (path !== '/chat') await page.goto(`${backend.url}/#${path}`);
      return page;
    });
    base.expect(complaints).toEqual([]);
  },
});

export const { expect } = base;

/** The indicator is green. */
export async function live(page: Page): Promise<void> {
  await expect(page.locator('.indicator')).toHaveAttribute('data-level', 'live');
}

export const row = (page: Page, name: string) =>
  page.locator('cc-conversation-row', { hasText: name });

export const bubble = (page: Page, text: string) =>
  page.locator('cc-message-bubble', { hasText: text });
