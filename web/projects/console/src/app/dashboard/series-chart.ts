import {
  ChangeDetectionStrategy,
  Component,
  DestroyRef,
  effect,
  ElementRef,
  inject,
  input,
  viewChild,
} from '@angular/core';
import {
  BarController,
  BarElement,
  CategoryScale,
  Chart,
  Legend,
  type LegendItem,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
  Tooltip,
} from 'chart.js';

import type { StatsSeries } from '../core/model';
import { Preferences } from '../core/preferences';
import { I18n } from '../i18n/i18n';

Chart.register(
  BarController,
  BarElement,
  CategoryScale,
  Legend,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
  Tooltip,
);

export const SERIES_PARTS = ['received', 'sent', 'delivered', 'read', 'failed'] as const;

/** The series drawn: what comes and goes as bars, what becomes of it as lines. */
@Component({
  selector: 'cc-series-chart',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<canvas #canvas role="img" [attr.aria-label]="t().dashboard.series"></canvas>`,
  styles: `
    :host {
      display: block;
      position: relative;
      height: 20rem;
    }
  `,
})
export class SeriesChart {
  private readonly i18n = inject(I18n);
  private readonly preferences = inject(Preferences);
  private readonly canvas = viewChild.required<ElementRef<HTMLCanvasElement>>('canvas');
  private chart: Chart<'bar' | 'line', number[], string> | null = null;
  protected readonly t = this.i18n.t;

  readonly series = input.required<StatsSeries>();

  constructor() {
    effect(() => this.draw());
    inject(DestroyRef).onDestroy(() => this.chart?.destroy());
  }

  private draw(): void {
    this.preferences.isDark();
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const { points, bucket, time_zone } = this.series();
    const texts = this.t().dashboard;
    const zone = this.i18n.inZone(time_zone);
    const labels = points.map(({ start }) =>
      bucket === 'hour' ? zone.time(start) : zone.day(start),
    );
    const datasets = SERIES_PARTS.map((part) => {
      const isBar = part === 'received' || part === 'sent';
      return {
        type: isBar ? ('bar' as const) : ('line' as const),
        label: texts[part],
        data: points.map((point) => point[part]),
        backgroundColor: colour(`--chart-${part}`),
        borderColor: colour(`--chart-${part}`),
        borderWidth: isBar ? 0 : 2,
        borderRadius: isBar ? 3 : undefined,
        pointRadius: isBar ? undefined : 1.5,
        tension: isBar ? undefined : 0.25,
        order: isBar ? 2 : 1,
      };
    });
    const data = { labels, datasets };
    const ticks = { color: colour('--soft'), maxRotation: 0, autoSkipPadding: 12 };
    const options = {
      responsive: true,
      maintainAspectRatio: false,
      animation: { duration: matchMedia('(prefers-reduced-motion: reduce)').matches ? 0 : 300 },
      interaction: { mode: 'index' as const, intersect: false },
      scales: {
        x: { ticks, grid: { display: false }, border: { color: colour('--line') } },
        y: {
          beginAtZero: true,
          ticks: { ...ticks, precision: 0 },
          grid: { color: colour('--line') },
          border: { display: false },
        },
      },
      plugins: {
        legend: {
          position: 'bottom' as const,
          labels: {
            color: colour('--ink'),
            boxWidth: 12,
            boxHeight: 12,
            sort: (a: LegendItem, b: LegendItem) => (a.datasetIndex ?? 0) - (b.datasetIndex ?? 0),
          },
        },
      },
    };
    if (this.chart === null) {
      this.chart = new Chart(this.canvas().nativeElement, { type: 'bar', data, options });
      return;
    }
    this.chart.data = data;
    this.chart.options = options;
    this.chart.update();
  }
}
