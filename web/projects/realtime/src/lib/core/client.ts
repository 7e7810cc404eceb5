import { resolveOptions, type RealtimeOptions, type ResolvedOptions } from './options';
import { browserPlatform, type Platform } from './platform';
import { INITIAL_STATUS, type ConnectionStatus } from './status';
import type { Ack, Command, Frame } from './types';

/** The client without any framework: one tab's view of the feed. */
export class RealtimeClient {
  private readonly options: ResolvedOptions;
  private readonly platform: Platform;

  constructor(options: RealtimeOptions, platform: Partial<Platform> = {}) {
    this.platform = { ...browserPlatform(), ...platform };
    this.options = resolveOptions(options, this.platform.pageUrl);
  }

  get status(): ConnectionStatus {
    return INITIAL_STATUS;
  }

  start(): void {}

  stop(): void {}

  onFrame(_listener: (frame: Frame) => void): () => void {
    return () => {};
  }

  onStatus(_listener: (status: ConnectionStatus) => void): () => void {
    return () => {};
  }

  send(_command: unknown): void {}

  request(_command: Command): Promise<Ack> {
    return Promise.reject(new Error('not connected'));
  }
}
