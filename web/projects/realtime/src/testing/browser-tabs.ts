/** The tabs of one browser: a broadcast channel and Web Locks between them, and ways to die. */
import type { RealtimeOptions } from '../lib/core/options';
import type { ChannelLike, LocksLike, Platform } from '../lib/core/platform';
import { Harness } from './harness';
import { ScriptedServer } from './scripted-server';

interface Claim {
  tab: Tab;
  held: () => Promise<void>;
  reject: (error: unknown) => void;
  resolve: () => void;
}

/** A tab, as far as the browser is concerned. */
class Tab {
  isDead = false;
  /** Alive and not answering, as a page that is stopped in the debugger. */
  isFrozen = false;
}

export class BrowserTabs {
  readonly server = new ScriptedServer();
  private readonly channels = new Set<{ name: string; tab: Tab; channel: ChannelLike }>();
  private readonly holders = new Map<string, Claim>();
  private readonly queues = new Map<string, Claim[]>();
  private readonly tabs = new Map<Harness, Tab>();

  open(options: Partial<RealtimeOptions> = {}): Harness {
    const tab = new Tab();
    const { server } = this;
    const platform: Partial<Platform> = {
      openChannel: (name) => this.openChannel(name, tab),
      locks: this.locksOf(tab),
      openSocket: (address, protocols) => {
        if (tab.isDead) throw new Error('the tab is gone');
        return server.openSocket(address, protocols);
      },
      fetch: ((input: string, init?: RequestInit) =>
        tab.isDead ? new Promise(() => {}) : server.fetch(input, init)) as typeof fetch,
    };
    const harness = new Harness(options, platform, server);
    this.tabs.set(harness, tab);
    return harness;
  }

  /** The browser ends the tab: its lock is free, its connections are gone. */
  kill(harness: Harness): void {
    const tab = this.tabs.get(harness)!;
    tab.isDead = true;
    this.server.cut();
    for (const [name, holder] of this.holders) {
      if (holder.tab === tab) this.pass(name);
    }
    for (const [name, queue] of this.queues) {
      this.queues.set(
        name,
        queue.filter((claim) => claim.tab !== tab),
      );
    }
  }

  freeze(harness: Harness): void {
    this.tabs.get(harness)!.isFrozen = true;
  }

  thaw(harness: Harness): void {
    this.tabs.get(harness)!.isFrozen = false;
  }

  private openChannel(name: string, tab: Tab): ChannelLike {
    const entry = { name, tab, channel: null as unknown as ChannelLike };
    entry.channel = {
      onmessage: null,
      postMessage: (message) => {
        if (tab.isDead || tab.isFrozen) return;
        const copy = structuredClone(message);
        for (const other of this.channels) {
          if (other === entry || other.name !== name) continue;
          setTimeout(() => {
            const { isDead, isFrozen } = other.tab;
            if (!isDead && !isFrozen) other.channel.onmessage?.({ data: copy });
          }, 1);
        }
      },
      close: () => this.channels.delete(entry),
    };
    this.channels.add(entry);
    return entry.channel;
  }

  private locksOf(tab: Tab): LocksLike {
    return {
      request: (name, { steal, signal }, held) =>
        new Promise<void>((resolve, reject) => {
          if (tab.isDead) return;
          const claim: Claim = { tab, held, resolve, reject };
          if (steal) {
            this.holders.get(name)?.reject(new DOMException('stolen', 'AbortError'));
            return this.give(name, claim);
          }
          const queue = this.queues.get(name) ?? [];
          this.queues.set(name, [...queue, claim]);
          signal?.addEventListener('abort', () => {
            const rest = this.queues.get(name) ?? [];
            this.queues.set(
              name,
              rest.filter((other) => other !== claim),
            );
            reject(new DOMException('aborted', 'AbortError'));
          });
          if (!this.holders.has(name)) this.pass(name);
        }),
    };
  }

  private pass(name: string): void {
    this.holders.delete(name);
    const next = this.queues.get(name)?.shift();
    if (next) this.give(name, next);
  }

  private give(name: string, claim: Claim): void {
    this.holders.set(name, claim);
    setTimeout(() => {
      void claim.held().then(() => {
        claim.resolve();
        if (this.holders.get(name) === claim) this.pass(name);
      });
    }, 1);
  }
}
