/** Statistics, the bot's and WhatsApp's state: one value each, the latest. */
import { Injectable, signal } from '@angular/core';

import type { BotStatus, MessageStats, Snapshot, WhatsAppState } from '../core/model';

interface Latest {
  stats: MessageStats | null;
  bot: BotStatus | null;
  whatsapp: WhatsAppState | null;
}

@Injectable({ providedIn: 'root' })
export class OverviewStore {
  private latest: Latest = { stats: null, bot: null, whatsapp: null };

  readonly stats = signal<MessageStats | null>(null);
  readonly bot = signal<BotStatus | null>(null);
  readonly whatsapp = signal<WhatsAppState | null>(null);

  begin({ stats, botStatus, whatsappState }: Snapshot): void {
    this.latest = { stats, bot: botStatus, whatsapp: whatsappState };
  }

  takeStats(stats: MessageStats): void {
    this.latest.stats = stats;
  }

  takeBot(bot: BotStatus): void {
    this.latest.bot = bot;
  }

  takeWhatsApp(whatsapp: WhatsAppState): void {
    this.latest.whatsapp = whatsapp;
  }

  publish(): void {
    this.stats.set(this.latest.stats);
    this.bot.set(this.latest.bot);
    this.whatsapp.set(this.latest.whatsapp);
  }
}
