import {
  ChangeDetectionStrategy,
  Component,
  computed,
  DestroyRef,
  effect,
  inject,
  signal,
  untracked,
} from '@angular/core';

import { Api } from '../core/api';
import type { StatsSeries } from '../core/model';
import { ProblemText } from '../core/problem-text';
import { I18n } from '../i18n/i18n';
import { OverviewStore } from '../state/overview-store';
import { SERIES_PARTS, SeriesChart } from './series-chart';

const BUCKETS = ['hour', 'day'] as const;
type Bucket = (typeof BUCKETS)[number];
/** With each change of the statistics the series is read anew, but not more often. */
const READ_EVERY_MS = 5_000;

@Component({
  selector: 'cc-series-card',
  imports: [SeriesChart],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <section class="card">
      <header>
        <h2>{{ t().dashboard.series }}</h2>
        <div role="group" [attr.aria-label]="t().dashboard.series">
          @for (one of buckets; track one) {
            <button
              type="button"
              class="button small"
              [attr.aria-pressed]="bucket() === one"
              (click)="bucket.set(one)"
            >
              {{ one === 'hour' ? t().dashboard.byHour : t().dashboard.byDay }}
            </button>
          }
        </div>
      </header>
      @if (problem(); as problem) {
        <p class="problem" role="alert">{{ problem }}</p>
      }
      @if (series(); as series) {
        <cc-series-chart [series]="series" />
        <p class="small soft">{{ range() }}</p>
        <details>
          <summary class="small">{{ t().dashboard.table }}</summary>
          <div class="scroll" tabindex="0" role="region" [attr.aria-label]="t().dashboard.table">
            <table class="small">
              <thead>
                <tr>
                  <th scope="col">{{ t().dashboard.start }}</th>
                  @for (part of parts; track part) {
                    <th scope="col">{{ t().dashboard[part] }}</th>
                  }
                </tr>
              </thead>
              <tbody>
                @for (point of series.points; track point.start) {
                  <tr>
                    <th scope="row">{{ dateTime()(point.start) }}</th>
                    @for (part of parts; track part) {
                      <td>{{ i18n.number(point[part]) }}</td>
                    }
                  </tr>
                }
              </tbody>
            </table>
          </div>
        </details>
      } @else {
        <p class="soft">{{ t().app.loading }}</p>
      }
    </section>
  `,
  styles: `
    section {
      display: grid;
      grid-template-columns: minmax(0, 1fr);
      gap: 0.6rem;
    }
    header {
      display: flex;
      flex-wrap: wrap;
      justify-content: space-between;
      align-items: center;
      gap: 0.5rem;
    }
    header div {
      display: flex;
      gap: 0.35rem;
    }
    [aria-pressed='true'] {
      border-color: transparent;
      background: var(--accent-wash);
      color: var(--accent-strong);
    }
    summary {
      cursor: pointer;
      color: var(--soft);
    }
    .scroll {
      max-height: 20rem;
      margin-top: 0.5rem;
      overflow: auto;
    }
  `,
})
export class SeriesCard {
  private readonly api = inject(Api);
  private readonly problems = inject(ProblemText);
  private readonly overview = inject(OverviewStore);
  protected readonly i18n = inject(I18n);
  protected readonly t = this.i18n.t;

  protected readonly buckets = BUCKETS;
  protected readonly parts = SERIES_PARTS;
  protected readonly bucket = signal<Bucket>('hour');
  protected readonly series = signal<StatsSeries | null>(null);
  protected readonly problem = signal<string | null>(null);
  private timer: ReturnType<typeof setTimeout> | undefined;

  protected readonly dateTime = computed(
    () => this.i18n.inZone(this.series()?.time_zone ?? 'UTC').dateTime,
  );
  protected readonly range = computed(() => {
    const series = this.series();
    const [first, last] = [series?.points[0], series?.points.at(-1)];
    if (!series || !first || !last) return '';
    const [from, to] = [first, last].map(({ start }) => this.dateTime()(start));
    return this.t().dashboard.seriesOf(from, to, series.time_zone);
  });

  constructor() {
    effect(() => {
      const bucket = this.bucket();
      untracked(() => void this.read(bucket));
    });
    effect(() => {
      this.overview.stats();
      untracked(() => this.readLater());
    });
    inject(DestroyRef).onDestroy(() => clearTimeout(this.timer));
  }

  private readLater(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      void this.read(this.bucket());
    }, READ_EVERY_MS);
  }

  private async read(bucket: Bucket): Promise<void> {
    try {
      const { series } = await this.api.stats({ bucket });
      if (bucket !== this.bucket()) return;
      this.series.set(series);
      this.problem.set(null);
    } catch (failure) {
      this.problem.set(this.problems.of(failure));
    }
  }
}
