import { ChangeDetectionStrategy, Component } from '@angular/core';

@Component({
  selector: 'cc-brand',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<img src="favicon.svg" alt="" width="26" height="26" />
    <span class="name">Condorito <span>Realtime</span></span>`,
  styles: `
    :host {
      display: inline-flex;
      align-items: center;
      gap: 0.5rem;
      font-weight: 650;
      white-space: nowrap;
    }
    .name span {
      font-weight: 400;
      color: var(--soft);
    }
    @media (max-width: 46rem) {
      .name span {
        display: none;
      }
    }
  `,
})
export class Brand {}
