import {
  type ApplicationConfig,
  inject,
  provideAppInitializer,
  provideBrowserGlobalErrorListeners,
  provideZonelessChangeDetection,
} from '@angular/core';
import { provideRouter, withComponentInputBinding, withHashLocation } from '@angular/router';
import { provideCondoritoRealtime } from '@condorito/realtime';

import { routes } from './app.routes';
import { Session } from './core/session';
import { Feed } from './state/feed';

/** A person may take a while to find a new token. */
const TOKEN_TIMEOUT_MS = 3_600_000;

export const appConfig: ApplicationConfig = {
  providers: [
    provideBrowserGlobalErrorListeners(),
    provideZonelessChangeDetection(),
    // Behind the #: the server knows one page, and reverse proxies may put it anywhere.
    provideRouter(routes, withHashLocation(), withComponentInputBinding()),
    // Who is signed in already connects while the page is still being made.
    provideAppInitializer(() => {
      if (inject(Session).token() !== null) inject(Feed).start();
    }),
    provideCondoritoRealtime(() => {
      const session = inject(Session);
      return {
        token: () => session.freshToken(),
        timings: { tokenTimeoutMs: TOKEN_TIMEOUT_MS },
      };
    }),
  ],
};
