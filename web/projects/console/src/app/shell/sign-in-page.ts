import { ChangeDetectionStrategy, Component, inject } from '@angular/core';

import { I18n } from '../i18n/i18n';
import { Brand } from './brand';
import { PreferencesMenu } from './preferences-menu';
import { SignInForm } from './sign-in-form';

@Component({
  selector: 'cc-sign-in-page',
  imports: [Brand, PreferencesMenu, SignInForm],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <header>
      <cc-brand />
      <cc-preferences-menu />
    </header>
    <main>
      <section class="card">
        <h1>{{ t().signIn.title }}</h1>
        <cc-sign-in-form [help]="t().signIn.help" [action]="t().signIn.enter" />
      </section>
    </main>
  `,
  styles: `
    :host {
      display: grid;
      grid-template-rows: auto 1fr;
      height: 100dvh;
    }
    header {
      display: flex;
      justify-content: space-between;
      align-items: center;
      padding: 0.75rem 1.25rem;
    }
    main {
      display: grid;
      place-items: center;
      padding: 1rem 1rem 20vh;
    }
    section {
      display: grid;
      gap: 1rem;
      width: min(26rem, 100%);
      padding: 1.5rem;
    }
  `,
})
export class SignInPage {
  protected readonly t = inject(I18n).t;
}
