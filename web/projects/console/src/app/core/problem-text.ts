import { Injectable, inject } from '@angular/core';

import { I18n } from '../i18n/i18n';
import { ApiProblem } from './problem';

/** What to tell a reader of a failure. The server's own details are in English and exact. */
@Injectable({ providedIn: 'root' })
export class ProblemText {
  private readonly i18n = inject(I18n);

  of(failure: unknown): string {
    const texts = this.i18n.t().problems;
    if (!(failure instanceof ApiProblem)) return texts.unknown;
    if (failure.status === 0) return texts.network;
    if (failure.status === 504) return texts.timeout;
    if (failure.status === 403) return `${texts.forbidden} (${failure.detail})`;
    const details = failure.errors.map(({ detail, pointer }) =>
      pointer ? `${pointer}: ${detail}` : detail,
    );
    return [failure.detail || texts.unknown, ...details.slice(0, 3)].join(' · ');
  }
}
