import { ChangeDetectionStrategy, Component, computed, inject, input } from '@angular/core';
import { encode } from 'uqr';

import { I18n } from '../i18n/i18n';

/** The code that pairs a phone: black on white in both themes, since cameras want that. */
@Component({
  selector: 'cc-qr-code',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<svg
    role="img"
    shape-rendering="crispEdges"
    [attr.aria-label]="t().dashboard.qrAlt"
    [attr.viewBox]="'0 0 ' + drawing().size + ' ' + drawing().size"
  >
    <path class="ground" [attr.d]="'M0 0h' + drawing().size + 'v' + drawing().size + 'H0z'" />
    <path [attr.d]="drawing().path" />
  </svg>`,
  styles: `
    svg {
      display: block;
      width: min(15rem, 100%);
      border-radius: var(--radius-small);
    }
    .ground {
      fill: #fff;
    }
  `,
})
export class QrCode {
  protected readonly t = inject(I18n).t;
  readonly code = input.required<string>();

  protected readonly drawing = computed(() => {
    const { data, size } = encode(this.code(), { border: 3 });
    let path = '';
    data.forEach((row, y) => {
      row.forEach((dark, x) => {
        if (dark) path += `M${x} ${y}h1v1h-1z`;
      });
    });
    return { size, path };
  });
}
