import { InjectionToken, makeEnvironmentProviders, type EnvironmentProviders } from '@angular/core';
import type { RealtimeOptions } from './core/options';
import type { Platform } from './core/platform';

export const CONDORITO_REALTIME_OPTIONS = new InjectionToken<RealtimeOptions>(
  'CONDORITO_REALTIME_OPTIONS',
);

/** Stands in for the browser in tests. */
export const CONDORITO_REALTIME_PLATFORM = new InjectionToken<Partial<Platform>>(
  'CONDORITO_REALTIME_PLATFORM',
);

/**
 * Sets up `WhatsAppRealtimeService`. A function is called where `inject` works, so that the token
 * can come from a service:
 *
 * ```ts
 * provideCondoritoRealtime(() => {
 *   const session = inject(Session);
 *   return { url: 'https://realtime.example', token: () => session.freshToken() };
 * });
 * ```
 */
export function provideCondoritoRealtime(
  options: RealtimeOptions | (() => RealtimeOptions),
): EnvironmentProviders {
  return makeEnvironmentProviders([
    {
      provide: CONDORITO_REALTIME_OPTIONS,
      useFactory: () => (typeof options === 'function' ? options() : options),
    },
  ]);
}
