/** The provider's templates, read once when first needed. */
import { Injectable, inject, signal } from '@angular/core';

import { Api } from '../core/api';
import type { Template } from '../core/model';
import { ProblemText } from '../core/problem-text';

@Injectable({ providedIn: 'root' })
export class TemplateStore {
  private readonly api = inject(Api);
  private readonly problems = inject(ProblemText);
  private asked = false;

  /** All of them; `null` until they are here. */
  readonly templates = signal<readonly Template[] | null>(null);
  readonly problem = signal<string | null>(null);

  load(): void {
    if (this.asked) return;
    this.asked = true;
    this.problem.set(null);
    this.api.templates().then(
      (templates) => this.templates.set(templates),
      (failure: unknown) => {
        this.asked = false;
        this.problem.set(this.problems.of(failure));
      },
    );
  }

  find(name: unknown, language: unknown): Template | undefined {
    const named = (this.templates() ?? []).filter((template) => template.name === name);
    return named.find((template) => template.language === language) ?? named[0];
  }
}

export function isApproved({ status }: Template): boolean {
  return status === 'APPROVED';
}
