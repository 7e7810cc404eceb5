import { ChangeDetectionStrategy, Component, inject, signal } from '@angular/core';
import { RouterLink } from '@angular/router';

import { ProblemText } from '../core/problem-text';
import { I18n } from '../i18n/i18n';
import { BulkStore } from '../state/bulk-store';
import { Icon } from '../ui/icon';
import { BulkProgress } from './bulk-progress';
import { BulkStatus } from './bulk-status';

/** All bulks, the newest first. */
@Component({
  selector: 'cc-bulk-page',
  imports: [BulkProgress, BulkStatus, Icon, RouterLink],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <div class="page">
      <header>
        <h1>{{ t().bulk.title }}</h1>
        <a class="button primary" routerLink="/bulk/new">
          <cc-icon name="plus" />{{ t().bulk.create }}
        </a>
      </header>
      @if (problem(); as problem) {
        <p class="problem" role="alert">{{ problem }}</p>
      }
      @if (store.bulks().length === 0) {
        <p class="card soft">{{ loading() ? t().app.loading : t().bulk.none }}</p>
      }
      <ul>
        @for (bulk of store.bulks(); track bulk.id) {
          <li>
            <a class="card" [routerLink]="['/bulk', bulk.id]">
              <span class="name ellipsis">{{ bulk.name }}</span>
              <cc-bulk-status [status]="bulk.status" />
              <cc-bulk-progress [bulk]="bulk" />
              <span class="small soft">
                @if (bulk.started_at; as at) {
                  {{ t().bulk.startedAt }} {{ i18n.dateTime(at) }}
                } @else if (bulk.scheduled_at) {
                  {{ t().bulk.scheduledAt }} {{ i18n.dateTime(bulk.scheduled_at) }}
                }
                · {{ t().bulk.perSecond(bulk.rate_per_second) }}
                @if (bulk.failed > 0) {
                  · {{ t().bulk.failed }}: {{ i18n.number(bulk.failed) }}
                }
              </span>
            </a>
          </li>
        }
      </ul>
      @if (next() !== null) {
        <button type="button" class="button" [disabled]="loading()" (click)="load()">
          {{ t().app.more }}
        </button>
      }
    </div>
  `,
  styles: `
    .page {
      display: grid;
      align-content: start;
      gap: 1rem;
    }
    .page > * {
      width: 100%;
    }
    header {
      display: flex;
      flex-wrap: wrap;
      justify-content: space-between;
      align-items: center;
      gap: 0.75rem;
    }
    ul {
      display: grid;
      gap: 0.7rem;
    }
    li a {
      display: grid;
      grid-template-columns: minmax(0, 1fr) auto;
      gap: 0.5rem 1rem;
      color: inherit;
      text-decoration: none;
      transition: border-color var(--quick);
    }
    li a:hover {
      border-color: var(--strong-line);
    }
    .name {
      font-weight: 600;
    }
    cc-bulk-progress,
    li a > .small {
      grid-column: 1 / -1;
    }
  `,
})
export class BulkPage {
  private readonly problems = inject(ProblemText);
  protected readonly store = inject(BulkStore);
  protected readonly i18n = inject(I18n);
  protected readonly t = this.i18n.t;

  protected readonly loading = signal(false);
  protected readonly next = signal<string | null>(null);
  protected readonly problem = signal<string | null>(null);

  constructor() {
    void this.load();
  }

  protected async load(): Promise<void> {
    this.loading.set(true);
    this.problem.set(null);
    try {
      this.next.set(await this.store.loadPage(this.next()));
    } catch (failure) {
      this.problem.set(this.problems.of(failure));
    } finally {
      this.loading.set(false);
    }
  }
}
