import { ChangeDetectionStrategy, Component, inject, input, signal } from '@angular/core';

import { Api } from '../core/api';
import { ApiProblem } from '../core/problem';
import { Session } from '../core/session';
import { readClaims } from '../core/token';
import { I18n } from '../i18n/i18n';

/** Asks for a token: to sign in with, or to go on with. */
@Component({
  selector: 'cc-sign-in-form',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <form class="field" (submit)="submit($event, token.value)">
      <label for="token">{{ t().signIn.token }}</label>
      <input
        #token
        id="token"
        type="password"
        autocomplete="off"
        spellcheck="false"
        required
        autofocus
        [attr.aria-describedby]="problem() ? 'token-problem' : 'token-help'"
        [attr.aria-invalid]="problem() !== null"
      />
      <p id="token-help" class="help">{{ help() }}</p>
      @if (problem(); as problem) {
        <p id="token-problem" class="problem" role="alert">{{ problem }}</p>
      }
      <button class="button primary" [disabled]="busy()">{{ action() }}</button>
    </form>
  `,
  styles: `
    form {
      gap: 0.6rem;
    }
  `,
})
export class SignInForm {
  private readonly api = inject(Api);
  private readonly session = inject(Session);
  protected readonly t = inject(I18n).t;

  readonly help = input.required<string>();
  readonly action = input.required<string>();

  protected readonly busy = signal(false);
  protected readonly problem = signal<string | null>(null);

  protected async submit(event: Event, given: string): Promise<void> {
    event.preventDefault();
    const token = given.trim();
    if (readClaims(token) === null) {
      this.problem.set(this.t().signIn.malformed);
      return;
    }
    this.busy.set(true);
    this.problem.set(null);
    try {
      await this.api.checkToken(token);
      this.session.signIn(token);
    } catch (failure) {
      const refused = failure instanceof ApiProblem && failure.status === 401;
      this.problem.set(refused ? this.t().signIn.refused : this.t().signIn.unreachable);
    } finally {
      this.busy.set(false);
    }
  }
}
