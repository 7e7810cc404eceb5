import { ChangeDetectionStrategy, Component, inject, input, output, signal } from '@angular/core';

import type { ChangeConversation, Conversation, ConversationStatus } from '../core/model';
import { ProblemText } from '../core/problem-text';
import { Session } from '../core/session';
import { I18n } from '../i18n/i18n';
import { ConversationStore } from '../state/conversation-store';
import { Icon } from '../ui/icon';

/** What the company keeps of a conversation: status, who has it, labels, the bot. */
@Component({
  selector: 'cc-conversation-details',
  imports: [Icon],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './conversation-details.html',
  styleUrl: './conversation-details.css',
})
export class ConversationDetails {
  private readonly store = inject(ConversationStore);
  private readonly session = inject(Session);
  private readonly problems = inject(ProblemText);
  protected readonly i18n = inject(I18n);
  protected readonly t = this.i18n.t;

  readonly conversation = input.required<Conversation>();
  readonly closed = output<void>();

  protected readonly statuses: readonly ConversationStatus[] = ['open', 'pending', 'closed'];
  protected readonly knownLabels = this.store.labels;
  protected readonly busy = signal(false);
  protected readonly problem = signal<string | null>(null);

  protected get me(): string {
    return this.session.claims()?.subject ?? '';
  }

  protected setStatus(status: string): void {
    void this.change({ status: status as ConversationStatus });
  }

  protected assign(event: Event, box: HTMLInputElement): void {
    event.preventDefault();
    const agent = box.value.trim();
    box.value = '';
    if (agent !== '') void this.change({ assigned_to: agent });
  }

  protected setAssigned(agent: string | null): void {
    void this.change({ assigned_to: agent });
  }

  protected addLabel(event: Event, box: HTMLInputElement): void {
    event.preventDefault();
    const label = box.value.trim();
    box.value = '';
    const { labels } = this.conversation();
    if (label !== '' && !labels.includes(label)) void this.change({ labels: [...labels, label] });
  }

  protected removeLabel(label: string): void {
    void this.change({ labels: this.conversation().labels.filter((one) => one !== label) });
  }

  protected setBot(enabled: boolean): void {
    void this.change({ bot_enabled: enabled });
  }

  private async change(change: ChangeConversation): Promise<void> {
    this.busy.set(true);
    this.problem.set(null);
    try {
      await this.store.change(this.conversation().id, change);
    } catch (failure) {
      this.problem.set(this.problems.of(failure));
    } finally {
      this.busy.set(false);
    }
  }
}
