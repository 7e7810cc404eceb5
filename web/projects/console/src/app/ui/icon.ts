import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';

/** Drawn for this console on a grid of 24, with strokes of 1.8. */
const PATHS = {
  chat: 'M4 5.5h16v11H9.500L5 20v-3.500H4z',
  dashboard: 'M4 19V11M10 19V5M16 19v-6M21 19H3',
  bulk: 'M4 10v4h3l7 4.500V5.500L7 10zM17.500 9a4 4 0 0 1 0 6',
  search: 'M11 5a6 6 0 1 0 0 12a6 6 0 0 0 0-12zM15.500 15.500L20 20',
  close: 'M6 6l12 12M18 6L6 18',
  back: 'M14.500 5.500L8 12l6.500 6.500',
  down: 'M6 9.500l6 6l6-6',
  send: 'M4 12L20 4.500L14.500 20L11.500 13.500z',
  attach:
    'M18.500 11l-7 7a4 4 0 0 1-6-6l7.500-7.500a2.700 2.700 0 0 1 4 4L9.500 16a1.300 1.300 0 0 1-2-2l6-6',
  template: 'M5 4h14v16H5zM8.500 8.500h7M8.500 12h7M8.500 15.500h4',
  reply: 'M9 6.500L4.500 11L9 15.500M5 11h8a6 6 0 0 1 6 6v1',
  smile: 'M12 4a8 8 0 1 0 0 16a8 8 0 0 0 0-16zM9 10v.2M15 10v.2M8.800 14a4 4 0 0 0 6.400 0',
  settings: 'M4 7h9M17 7h3M15 5v4M4 12h3M11 12h9M9 10v4M4 17h7M15 17h5M13 15v4',
  info: 'M12 4a8 8 0 1 0 0 16a8 8 0 0 0 0-16zM12 11v5M12 8v.2',
  clock: 'M12 4a8 8 0 1 0 0 16a8 8 0 0 0 0-16zM12 8v4.200l2.800 1.800',
  tick: 'M5 12.500l4.500 4.500L19 7.500',
  ticks: 'M2.500 12.500L7 17L16 7.500M11.500 16l1 1L22 7.500',
  alert: 'M12 4L21 19H3zM12 10v4M12 16.500v.2',
  plus: 'M12 5v14M5 12h14',
  pin: 'M12 21c4.500-5 6.500-8 6.500-11a6.500 6.500 0 0 0-13 0c0 3 2 6 6.500 11zM12 8a2 2 0 1 0 0 4a2 2 0 0 0 0-4z',
  person: 'M12 4.500a3.500 3.500 0 1 0 0 7a3.500 3.500 0 0 0 0-7zM5 20c.5-4 3-6 7-6s6.500 2 7 6',
  file: 'M6 3.500h8l4 4v13H6zM14 3.500v4h4',
  play: 'M8 5.500v13l10.500-6.500z',
  pause: 'M8 5.500v13M16 5.500v13',
  stop: 'M6.500 6.500h11v11h-11z',
  download: 'M12 4v11M7 10.500l5 5l5-5M5 20h14',
  signOut: 'M13 4H5v16h8M10 12h10M16.500 8l3.500 4l-3.500 4',
  retry: 'M19 8.500A7.500 7.500 0 1 0 19.500 13M19.500 4v5h-5',
  phone: 'M7 3.500h10v17H7zM11 17.500h2',
} as const;

export type IconName = keyof typeof PATHS;

@Component({
  selector: 'cc-icon',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<svg viewBox="0 0 24 24" aria-hidden="true" focusable="false">
    <path [attr.d]="path()" />
  </svg>`,
  styles: `
    :host {
      display: inline-flex;
      flex: none;
    }
    svg {
      width: var(--icon-size, 1.25rem);
      height: var(--icon-size, 1.25rem);
      fill: none;
      stroke: currentColor;
      stroke-width: 1.8;
      stroke-linecap: round;
      stroke-linejoin: round;
    }
  `,
})
export class Icon {
  readonly name = input.required<IconName>();
  protected readonly path = computed(() => PATHS[this.name()]);
}
