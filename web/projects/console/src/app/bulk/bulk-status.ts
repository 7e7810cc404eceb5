import { ChangeDetectionStrategy, Component, computed, inject, input } from '@angular/core';

import type { Bulk } from '../core/model';
import { I18n } from '../i18n/i18n';

const TONES: Record<Bulk['status'], string> = {
  scheduled: '',
  running: 'good',
  paused: 'warn',
  completed: 'good',
  cancelled: '',
  failed: 'bad',
};

@Component({
  selector: 'cc-bulk-status',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<span class="chip" [class]="tone()">{{ t().bulk.statuses[status()] }}</span>`,
  host: { '[attr.data-status]': 'status()' },
})
export class BulkStatus {
  protected readonly t = inject(I18n).t;
  readonly status = input.required<Bulk['status']>();
  protected readonly tone = computed(() => TONES[this.status()]);
}
