import { ChangeDetectionStrategy, Component, computed, inject } from '@angular/core';

import { I18n } from '../i18n/i18n';
import { OverviewStore } from '../state/overview-store';
import { QrCode } from './qr-code';

@Component({
  selector: 'cc-whatsapp-card',
  imports: [QrCode],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <section class="card">
      <h2>{{ t().dashboard.whatsapp }}</h2>
      @if (state(); as state) {
        <p>
          <span class="chip" [class]="tone()">{{
            t().dashboard.whatsappStatuses[state.status]
          }}</span>
        </p>
        @if (state.name || state.phone_number) {
          <p>
            <strong>{{ state.name }}</strong> {{ state.phone_number }}
          </p>
        }
        @if (state.quality) {
          <p class="small">{{ t().dashboard.quality }}: {{ state.quality }}</p>
        }
        @if (state.reason) {
          <p class="small">{{ state.reason }}</p>
        }
        @if (state.status === 'qr' && state.qr) {
          @defer {
            <cc-qr-code [code]="state.qr" />
          }
          <p class="small">{{ t().dashboard.scan }}</p>
        }
        <p class="small soft">
          {{ t().dashboard.updated(i18n.dateTime(state.changed_at)) }}
        </p>
      } @else {
        <p class="soft">{{ t().app.loading }}</p>
      }
    </section>
  `,
  styles: `
    section {
      display: grid;
      align-content: start;
      justify-items: start;
      gap: 0.5rem;
      height: 100%;
    }
  `,
})
export class WhatsAppCard {
  protected readonly i18n = inject(I18n);
  protected readonly t = this.i18n.t;
  protected readonly state = inject(OverviewStore).whatsapp;
  protected readonly tone = computed(() => {
    const tones = {
      connected: 'good',
      connecting: 'warn',
      qr: 'warn',
      error: 'bad',
      disconnected: '',
    };
    return tones[this.state()?.status ?? 'disconnected'];
  });
}
