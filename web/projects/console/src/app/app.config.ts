import {
  type ApplicationConfig,
  inject,
  provideBrowserGlobalErrorListeners,
  provideZonelessChangeDetection,
} from '@angular/core';
import { provideRouter, withComponentInputBinding, withHashLocation } from '@angular/router';
import { provideCondoritoRealtime } from '@condorito/realtime';

import { routes } from './app.routes';
import { Session } from './core/session';

/** A person may take a while to find a new token. */
const TOKEN_TIMEOUT_MS = 3_600_000;

export const appConfig: ApplicationConfig = {
  providers: [
    provideBrowserGlobalErrorListeners(),
    provideZonelessChangeDetection(),
    // Behind the #: the server knows one page, and reverse proxies may put it anywhere.
    provideRouter(routes, withHashLocation(), withComponentInputBinding()),
    provideCondoritoRealtime(() => {
      const session = inject(Session);
      return {
        token: () => session.freshToken(),
        timings: { tokenTimeoutMs: TOKEN_TIMEOUT_MS },
      };
    }),
  ],
};
