import {
  ChangeDetectionStrategy,
  Component,
  computed,
  effect,
  inject,
  input,
  signal,
  untracked,
} from '@angular/core';

import { ProblemText } from '../core/problem-text';
import { I18n } from '../i18n/i18n';
import { ConversationStore } from '../state/conversation-store';
import { ThreadStore } from '../state/thread-store';
import { Icon } from '../ui/icon';
import { ConversationDetails } from './conversation-details';
import { ConversationList } from './conversation-list';
import { ThreadView } from './thread-view';

@Component({
  selector: 'cc-chat-page',
  imports: [ConversationDetails, ConversationList, Icon, ThreadView],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <cc-conversation-list [chosen]="conversationId()" />
    @if (conversation(); as conversation) {
      <cc-thread-view
        [conversation]="conversation"
        [detailsOpen]="detailsOpen()"
        (toggleDetails)="detailsOpen.set(!detailsOpen())"
      />
      @if (detailsOpen()) {
        <cc-conversation-details [conversation]="conversation" (closed)="detailsOpen.set(false)" />
      }
    } @else {
      <section class="none">
        @if (problem(); as problem) {
          <p class="problem" role="alert">{{ problem }}</p>
        } @else if (conversationId() === null) {
          <cc-icon name="chat" />
          <h2>{{ t().chat.choose }}</h2>
          <p class="soft">{{ t().chat.chooseHint }}</p>
        }
      </section>
    }
  `,
  styles: `
    :host {
      display: grid;
      grid-template-columns: minmax(17rem, 24rem) minmax(0, 1fr) auto;
      height: 100%;
    }
    .none {
      display: grid;
      align-content: center;
      justify-items: center;
      gap: 0.35rem;
      padding: 2rem;
      text-align: center;
      --icon-size: 3rem;
      color: var(--soft);
    }
    h2 {
      color: var(--ink);
    }
    cc-conversation-details {
      width: 19rem;
    }
    @media (max-width: 72rem) {
      :host {
        position: relative;
        grid-template-columns: minmax(17rem, 22rem) minmax(0, 1fr);
      }
      cc-conversation-details {
        position: absolute;
        z-index: 10;
        inset: 0 0 0 auto;
        width: min(19rem, 100%);
        box-shadow: var(--shadow-high);
      }
    }
    @media (max-width: 46rem) {
      :host {
        grid-template-columns: minmax(0, 1fr);
      }
      .none,
      :host.open cc-conversation-list {
        display: none;
      }
    }
  `,
  host: { '[class.open]': 'conversationId() !== null' },
})
export class ChatPage {
  private readonly conversations = inject(ConversationStore);
  private readonly threads = inject(ThreadStore);
  private readonly problems = inject(ProblemText);
  protected readonly t = inject(I18n).t;

  /** From the address. */
  readonly id = input<string>();
  protected readonly detailsOpen = signal(false);
  protected readonly problem = signal<string | null>(null);

  protected readonly conversationId = computed(() => {
    const id = Number(this.id());
    return Number.isInteger(id) && id > 0 ? id : null;
  });

  protected readonly conversation = computed(() => {
    this.conversations.conversations();
    const id = this.conversationId();
    return id === null ? undefined : this.conversations.get(id);
  });

  constructor() {
    effect(() => {
      const id = this.conversationId();
      if (!this.conversations.ready()) return;
      untracked(() => this.show(id));
    });
  }

  private show(id: number | null): void {
    this.problem.set(null);
    if (id === null) {
      this.threads.close();
      return;
    }
    this.threads.open(id);
    this.conversations
      .ensure(id)
      .catch((failure: unknown) => this.problem.set(this.problems.of(failure)));
  }
}
