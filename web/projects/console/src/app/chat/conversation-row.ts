import { ChangeDetectionStrategy, Component, computed, inject, input } from '@angular/core';
import { RouterLink } from '@angular/router';

import type { Conversation } from '../core/model';
import { I18n } from '../i18n/i18n';
import { activeAt } from '../state/conversation-index';
import { Avatar } from '../ui/avatar';
import { StatusTick } from './status-tick';

@Component({
  selector: 'cc-conversation-row',
  imports: [Avatar, RouterLink, StatusTick],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <a
      class="row"
      [routerLink]="['/chat', conversation().id]"
      [class.chosen]="chosen()"
      [class.unread]="conversation().unread_count > 0"
      [attr.aria-current]="chosen() ? 'true' : null"
    >
      <cc-avatar [name]="name()" [seed]="conversation().id" />
      <span class="line">
        <span class="name ellipsis">{{ name() }}</span>
        <time class="small" [attr.datetime]="at()">{{ when() }}</time>
      </span>
      <span class="line">
        @if (conversation().last_message; as last) {
          @if (last.direction === 'outbound') {
            <cc-status-tick [status]="last.status" />
          }
          <span class="preview ellipsis">{{ preview() }}</span>
        }
        @for (label of labels(); track label) {
          <span class="chip">{{ label }}</span>
        }
        @if (conversation().status !== 'open') {
          <span class="chip">{{ t().chat.statuses[conversation().status] }}</span>
        }
        @if (conversation().unread_count > 0) {
          <span class="badge">
            {{ conversation().unread_count }}
            <span class="visually-hidden">{{
              t().chat.unreadCount(conversation().unread_count)
            }}</span>
          </span>
        }
      </span>
    </a>
  `,
  styles: `
    :host {
      display: block;
      height: var(--row-height);
      contain: content;
    }
    .row {
      display: grid;
      grid-template-columns: auto minmax(0, 1fr);
      grid-template-rows: 1fr 1fr;
      column-gap: 0.75rem;
      height: 100%;
      padding: 0.7rem 0.875rem;
      border-bottom: 1px solid var(--line);
      color: inherit;
      text-decoration: none;
    }
    .row:hover {
      background: var(--hover);
    }
    .row.chosen {
      background: var(--chosen);
    }
    .row:focus-visible {
      outline-offset: -3px;
    }
    cc-avatar {
      grid-row: span 2;
      align-self: center;
    }
    .line {
      display: flex;
      align-items: center;
      gap: 0.35rem;
      min-width: 0;
    }
    .name,
    .preview {
      flex: 1;
      min-width: 0;
    }
    .name {
      font-weight: 550;
    }
    .preview,
    time {
      color: var(--soft);
    }
    .preview {
      font-size: 0.875rem;
    }
    .unread .name {
      font-weight: 700;
    }
    .unread .preview {
      color: var(--ink);
    }
    .unread time {
      color: var(--accent);
      font-weight: 600;
    }
    .chip {
      max-width: 5.5rem;
      overflow: hidden;
      text-overflow: ellipsis;
      display: inline-block;
    }
    .chosen .chip {
      background: var(--panel);
    }
  `,
})
export class ConversationRow {
  private readonly i18n = inject(I18n);
  protected readonly t = this.i18n.t;

  readonly conversation = input.required<Conversation>();
  readonly chosen = input(false);
  /** Changes each minute. */
  readonly minute = input(0);

  protected readonly at = computed(() => activeAt(this.conversation()));
  protected readonly when = computed(() => {
    this.minute();
    return this.i18n.timeOrDay(this.at());
  });
  protected readonly name = computed(() => {
    const { name, phone, username } = this.conversation().contact;
    return name ?? phone ?? username ?? this.t().chat.noName;
  });
  protected readonly preview = computed(() => {
    const last = this.conversation().last_message;
    return last === null ? '' : (last.text ?? this.t().previews[last.type]);
  });
  protected readonly labels = computed(() => this.conversation().labels.slice(0, 1));
}
