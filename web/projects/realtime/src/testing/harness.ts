/** A client on a scripted server, with all that it gave written down. */
import { vi } from 'vitest';
import { RealtimeClient } from '../lib/core/client';
import type { RealtimeOptions } from '../lib/core/options';
import type { BrowserSignal, Platform } from '../lib/core/platform';
import type { ConnectionStatus, IndicatorLevel } from '../lib/core/status';
import type { Frame } from '../lib/core/types';
import { jwt } from './fixtures';
import { ScriptedServer } from './scripted-server';

export class Harness {
  readonly server: ScriptedServer;
  readonly client: RealtimeClient;
  readonly frames: Frame[] = [];
  readonly levels: IndicatorLevel[] = [];
  private readonly signals = new Set<(signal: BrowserSignal) => void>();

  constructor(
    options: Partial<RealtimeOptions> = {},
    platform: Partial<Platform> = {},
    server = new ScriptedServer(),
  ) {
    this.server = server;
    this.client = new RealtimeClient(
      { url: 'https://rt.example/base', token: () => jwt({}), ...options },
      {
        pageUrl: 'https://crm.example/',
        random: () => 0.5,
        fetch: server.fetch,
        openSocket: server.openSocket,
        openChannel: null,
        locks: null,
        onSignal: (listener) => {
          this.signals.add(listener);
          return () => this.signals.delete(listener);
        },
        ...platform,
      },
    );
    this.client.onFrame((frame) => this.frames.push(frame));
    this.client.onStatus(({ level }) => {
      if (this.levels.at(-1) !== level) this.levels.push(level);
    });
  }

  get status(): ConnectionStatus {
    return this.client.status;
  }

  /** The ids of all events that came, in their order. */
  get ids(): string[] {
    return this.frames.flatMap((frame) => ('id' in frame ? [frame.id] : []));
  }

  get eventsOfServer(): string[] {
    return this.server.log.map(({ id }) => id);
  }

  types(): string[] {
    return this.frames.map(({ type }) => type);
  }

  signal(signal: BrowserSignal): void {
    for (const listener of this.signals) listener(signal);
  }

  async start(): Promise<void> {
    this.client.start();
    await vi.advanceTimersByTimeAsync(50);
  }
}

export const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
