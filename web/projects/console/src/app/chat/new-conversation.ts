import { ChangeDetectionStrategy, Component, inject, output, signal } from '@angular/core';

import { ProblemText } from '../core/problem-text';
import { I18n } from '../i18n/i18n';
import { ConversationStore } from '../state/conversation-store';
import { Modal } from '../ui/modal';

@Component({
  selector: 'cc-new-conversation',
  imports: [Modal],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <cc-modal
      [heading]="t().chat.newConversation"
      [closeLabel]="t().app.close"
      (dismissed)="dismissed.emit()"
    >
      <form class="field" (submit)="open($event, phone.value)">
        <label for="new-phone">{{ t().chat.phone }}</label>
        <input
          #phone
          id="new-phone"
          type="tel"
          autocomplete="off"
          required
          aria-describedby="new-phone-help"
        />
        <p id="new-phone-help" class="help">{{ t().chat.phoneHelp }}</p>
        @if (problem(); as problem) {
          <p class="problem" role="alert">{{ problem }}</p>
        }
        <button class="button primary" [disabled]="busy()">{{ t().chat.open }}</button>
      </form>
    </cc-modal>
  `,
})
export class NewConversation {
  private readonly store = inject(ConversationStore);
  private readonly problems = inject(ProblemText);
  protected readonly t = inject(I18n).t;
  readonly opened = output<number>();
  readonly dismissed = output<void>();

  protected readonly busy = signal(false);
  protected readonly problem = signal<string | null>(null);

  protected async open(event: Event, phone: string): Promise<void> {
    event.preventDefault();
    this.busy.set(true);
    this.problem.set(null);
    try {
      this.opened.emit((await this.store.open(phone)).id);
    } catch (failure) {
      this.problem.set(this.problems.of(failure));
    } finally {
      this.busy.set(false);
    }
  }
}
