import { defineConfig } from '@playwright/test';

import base from './playwright.config';

/** What is measured, not merely passed: on a machine that does nothing else. */
export default defineConfig(base, { testMatch: '**/*.speed.ts', retries: 0 });
