export * from './lib/core/types';
export * from './lib/core/status';
export {
  DEFAULT_TIMINGS,
  type RealtimeOptions,
  type Timings,
  type TokenProvider,
} from './lib/core/options';
export { RealtimeClient } from './lib/core/client';
export { RealtimeCommandError } from './lib/core/commands';
export type { Platform } from './lib/core/platform';
export type { components, paths } from './lib/core/generated/schema';
export {
  CONDORITO_REALTIME_OPTIONS,
  CONDORITO_REALTIME_PLATFORM,
  provideCondoritoRealtime,
} from './lib/provide';
export { WhatsAppRealtimeService } from './lib/whatsapp-realtime.service';
