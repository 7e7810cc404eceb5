/** What HTTP answers mean for a link. */
import type { Problem } from '../types';
import { describe, type LinkEnd } from './link';

/** What the server says is wrong; `null` when it is not the server that answered. */
export async function readProblem(response: Response): Promise<Problem | null> {
  const type = response.headers.get('content-type') ?? '';
  if (!type.startsWith('application/problem+json')) return null;
  const body: unknown = await response.json().catch(() => null);
  const isProblem = typeof (body as Partial<Problem> | null)?.code === 'string';
  return isProblem ? (body as Problem) : null;
}

/** An answer by status. One without a problem document is not the server's, but a proxy's. */
export function endOf(response: Response, problem: Problem | null): LinkEnd {
  const { status } = response;
  const code = problem?.code ?? `http_${status}`;
  const message = problem?.detail ?? problem?.title ?? `The answer was ${status}.`;
  const retryAfterMs = retryAfter(response);
  const end = (cause: LinkEnd['cause']): LinkEnd => ({ cause, code, message, retryAfterMs });
  if (status === 401) return end('unauthorized');
  if (!problem) return end('refused');
  if (code === 'draining') return end('draining');
  if (status === 429 || status >= 500) return end('busy');
  return end('forbidden');
}

/** The end of a link whose request did not get through. */
export function endOfFailure(error: unknown, wasUp: boolean): LinkEnd {
  const cause = wasUp ? 'broken' : 'refused';
  return { cause, code: wasUp ? 'connection_lost' : 'unreachable', message: describe(error) };
}

function retryAfter(response: Response): number | undefined {
  const seconds = Number(response.headers.get('retry-after') ?? NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1_000 : undefined;
}
