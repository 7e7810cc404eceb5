/** An answer that is no success, as `application/problem+json` tells it; or no answer at all. */
export class ApiProblem extends Error {
  constructor(
    /** HTTP status; 0 when there was no answer. */
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly errors: readonly { detail: string; pointer?: string | null }[] = [],
  ) {
    super(detail);
  }

  /** Whether nobody knows if the request was done. */
  get isUncertain(): boolean {
    return this.status === 0 || this.status >= 500;
  }
}

export async function readProblem(answer: Response): Promise<ApiProblem> {
  try {
    return problemOf(answer.status, await answer.json());
  } catch {
    return new ApiProblem(answer.status, 'unknown', answer.statusText);
  }
}

export function problemOf(status: number, body: unknown): ApiProblem {
  const { code, title, detail, errors } = (body ?? {}) as Record<string, unknown>;
  return new ApiProblem(
    status,
    typeof code === 'string' ? code : 'unknown',
    String(detail ?? title ?? ''),
    Array.isArray(errors) ? errors : [],
  );
}
