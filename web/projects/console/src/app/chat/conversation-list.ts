import {
  CdkFixedSizeVirtualScroll,
  CdkVirtualForOf,
  CdkVirtualScrollViewport,
} from '@angular/cdk/scrolling';
import {
  ChangeDetectionStrategy,
  Component,
  computed,
  effect,
  ElementRef,
  inject,
  input,
  signal,
  untracked,
  viewChild,
} from '@angular/core';
import { Router } from '@angular/router';

import type { Conversation, ConversationStatus } from '../core/model';
import { ProblemText } from '../core/problem-text';
import { Session } from '../core/session';
import { I18n } from '../i18n/i18n';
import { ConversationStore } from '../state/conversation-store';
import { Icon } from '../ui/icon';
import { now } from '../ui/now';
import {
  isPlain,
  matches,
  SCOPES,
  type ConversationFilter,
  type Scope,
} from './conversation-filter';
import { ConversationRow } from './conversation-row';
import { NewConversation } from './new-conversation';

const SEARCH_AFTER_MS = 250;
/** Rows below the last one shown at which more are read. */
const ROWS_AHEAD = 40;
export const ROW_HEIGHT_PX = 76;

@Component({
  selector: 'cc-conversation-list',
  imports: [
    CdkFixedSizeVirtualScroll,
    CdkVirtualForOf,
    CdkVirtualScrollViewport,
    ConversationRow,
    Icon,
    NewConversation,
  ],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './conversation-list.html',
  styleUrl: './conversation-list.css',
})
export class ConversationList {
  private readonly store = inject(ConversationStore);
  private readonly session = inject(Session);
  private readonly router = inject(Router);
  private readonly problems = inject(ProblemText);
  private readonly host = inject<ElementRef<HTMLElement>>(ElementRef).nativeElement;
  private readonly viewport = viewChild(CdkVirtualScrollViewport);
  private searchTimer: ReturnType<typeof setTimeout> | undefined;

  readonly chosen = input.required<number | null>();

  protected readonly t = inject(I18n).t;
  protected readonly rowHeight = ROW_HEIGHT_PX;
  protected readonly scopes = SCOPES;
  protected readonly statuses: readonly ConversationStatus[] = ['open', 'pending', 'closed'];
  protected readonly labels = this.store.labels;
  protected readonly ready = this.store.ready;
  protected readonly loadingMore = this.store.loadingMore;
  /** For the times shown, which turn into days. */
  protected readonly minute = now(60_000);

  protected readonly query = signal('');
  protected readonly found = signal<readonly number[] | null>(null);
  protected readonly problem = signal<string | null>(null);
  protected readonly creating = signal(false);
  protected readonly scope = signal<Scope>('all');
  protected readonly status = signal<ConversationStatus | ''>('');
  protected readonly label = signal('');

  private readonly filter = computed<ConversationFilter>(() => ({
    scope: this.scope(),
    status: this.status(),
    label: this.label(),
    me: this.session.claims()?.subject ?? '',
  }));

  protected readonly shown = computed<readonly Conversation[]>(() => {
    const all = this.store.conversations();
    const filter = this.filter();
    const found = this.found();
    const candidates =
      found === null
        ? all
        : found.map((id) => this.store.get(id)).filter((one) => one !== undefined);
    if (isPlain(filter)) return candidates;
    return candidates.filter((conversation) => matches(conversation, filter));
  });

  constructor() {
    effect(() => {
      this.shown();
      this.store.hasMore();
      this.loadingMore();
      untracked(() => this.loadIfNear());
    });
  }

  protected readonly byId = (_: number, { id }: Conversation) => id;

  protected search(query: string): void {
    this.query.set(query);
    clearTimeout(this.searchTimer);
    if (query.trim() === '') {
      this.found.set(null);
      this.problem.set(null);
      return;
    }
    this.searchTimer = setTimeout(() => void this.runSearch(query), SEARCH_AFTER_MS);
  }

  protected clearSearch(box: HTMLInputElement): void {
    box.value = '';
    this.search('');
    box.focus();
  }

  protected loadIfNear(): void {
    if (this.found() !== null) return;
    const rendered = this.viewport()?.getRenderedRange().end ?? 0;
    if (rendered + ROWS_AHEAD < this.shown().length) return;
    this.store.loadMore().catch((failure: unknown) => this.problem.set(this.problems.of(failure)));
  }

  /** Arrow keys go from row to row, as in any list. */
  protected moveFocus(event: Event, by: 1 | -1): void {
    const links = [...this.host.querySelectorAll<HTMLElement>('a.row')];
    const here = links.indexOf(document.activeElement as HTMLElement);
    const next = links[here + by];
    if (here < 0 || !next) return;
    event.preventDefault();
    next.focus();
  }

  protected async opened(id: number): Promise<void> {
    this.creating.set(false);
    await this.router.navigate(['/chat', id]);
  }

  private async runSearch(query: string): Promise<void> {
    try {
      const found = await this.store.search(query.trim());
      if (query !== this.query()) return;
      this.found.set(found);
      this.problem.set(null);
      this.viewport()?.scrollToIndex(0);
    } catch (failure) {
      if (query === this.query()) this.problem.set(this.problems.of(failure));
    }
  }
}
