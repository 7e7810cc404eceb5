import { ChangeDetectionStrategy, Component, inject, signal } from '@angular/core';

import { Notices } from '../core/notices';
import { LANGUAGES, Preferences, THEMES, type Language, type Theme } from '../core/preferences';
import { Session } from '../core/session';
import { I18n } from '../i18n/i18n';
import { Dismiss } from '../ui/dismiss';
import { Icon } from '../ui/icon';

const LANGUAGE_NAMES: Record<Language, string> = { es: 'Español', en: 'English' };

@Component({
  selector: 'cc-preferences-menu',
  imports: [Dismiss, Icon],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <div class="menu" (ccDismiss)="open.set(false)">
      <button
        type="button"
        class="icon-button"
        [attr.aria-expanded]="open()"
        [attr.aria-label]="t().app.settings"
        [title]="t().app.settings"
        (click)="open.set(!open())"
      >
        <cc-icon name="settings" />
      </button>
      @if (open()) {
        <div class="panel" role="dialog" [attr.aria-label]="t().app.settings">
          <fieldset>
            <legend>{{ t().app.language }}</legend>
            @for (language of languages; track language) {
              <label class="check">
                <input
                  type="radio"
                  name="language"
                  [checked]="preferences.language() === language"
                  (change)="preferences.language.set(language)"
                />
                {{ languageNames[language] }}
              </label>
            }
          </fieldset>
          <fieldset>
            <legend>{{ t().app.theme }}</legend>
            @for (theme of themes; track theme) {
              <label class="check">
                <input
                  type="radio"
                  name="theme"
                  [checked]="preferences.theme() === theme"
                  (change)="preferences.theme.set(theme)"
                />
                {{ t().app.themes[theme] }}
              </label>
            }
          </fieldset>
          @if (session.token()) {
            <fieldset>
              <legend>{{ t().notices.title }}</legend>
              <label class="check">
                <input
                  type="checkbox"
                  [checked]="preferences.desktopNotices()"
                  (change)="setDesktopNotices($event)"
                />
                {{ t().notices.desktop }}
              </label>
              <label class="check">
                <input
                  type="checkbox"
                  [disabled]="!preferences.desktopNotices()"
                  [checked]="preferences.noticesWithText()"
                  (change)="preferences.noticesWithText.set(!preferences.noticesWithText())"
                />
                {{ t().notices.withText }}
              </label>
              @if (denied()) {
                <p class="small soft" role="status">{{ t().notices.denied }}</p>
              }
            </fieldset>
            <div class="end">
              <a href="/docs" target="_blank" rel="noopener">{{ t().app.apiDocs }}</a>
              <button type="button" class="button small" (click)="session.signOut()">
                <cc-icon name="signOut" />{{ t().app.signOut }}
              </button>
            </div>
          }
        </div>
      }
    </div>
  `,
  styles: `
    .menu {
      position: relative;
    }
    .panel {
      position: absolute;
      z-index: 20;
      top: calc(100% + 0.4rem);
      right: 0;
      width: 17rem;
      display: grid;
      gap: 0.9rem;
      padding: 1rem;
      border: 1px solid var(--line);
      border-radius: var(--radius);
      background: var(--raised);
      box-shadow: var(--shadow-high);
    }
    fieldset {
      display: grid;
      gap: 0.35rem;
    }
    legend {
      margin-bottom: 0.25rem;
      font-size: 0.8125rem;
      font-weight: 600;
      color: var(--soft);
    }
    .end {
      display: flex;
      justify-content: space-between;
      align-items: center;
      gap: 0.5rem;
      padding-top: 0.75rem;
      border-top: 1px solid var(--line);
      font-size: 0.8125rem;
    }
  `,
})
export class PreferencesMenu {
  protected readonly t = inject(I18n).t;
  protected readonly preferences = inject(Preferences);
  protected readonly session = inject(Session);
  private readonly notices = inject(Notices);

  protected readonly languages = LANGUAGES;
  protected readonly languageNames = LANGUAGE_NAMES;
  protected readonly themes: readonly Theme[] = THEMES;
  protected readonly open = signal(false);
  protected readonly denied = signal(false);

  protected async setDesktopNotices(event: Event): Promise<void> {
    const box = event.target as HTMLInputElement;
    const allowed = box.checked && (await this.notices.allowOnDesktop());
    this.denied.set(box.checked && !allowed);
    this.preferences.desktopNotices.set(allowed);
    box.checked = allowed;
  }
}
