import { ChangeDetectionStrategy, Component, computed, inject } from '@angular/core';

import { I18n } from '../i18n/i18n';
import { OverviewStore } from '../state/overview-store';
import { BotCard } from './bot-card';
import { Counter } from './counter';
import { Rate } from './rate';
import { SeriesCard } from './series-card';
import { WhatsAppCard } from './whatsapp-card';

const TODAY = ['received', 'sent', 'delivered', 'read', 'failed'] as const;
const CONVERSATIONS = ['unread', 'open', 'pending', 'closed'] as const;

@Component({
  selector: 'cc-dashboard-page',
  imports: [BotCard, Counter, Rate, SeriesCard, WhatsAppCard],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './dashboard-page.html',
  styleUrl: './dashboard-page.css',
})
export class DashboardPage {
  protected readonly i18n = inject(I18n);
  protected readonly t = this.i18n.t;
  protected readonly stats = inject(OverviewStore).stats;
  protected readonly today = TODAY;
  protected readonly conversations = CONVERSATIONS;
  protected readonly firstResponse = computed(() => {
    const average = this.stats()?.avg_first_response_ms ?? null;
    return average === null ? this.t().dashboard.noData : this.i18n.span(average);
  });
}
