/**
 * A link is one connection by one transport, from opening to its end. It brings the feed from a
 * cursor on, in order, and knows nothing of other links, of retrying, or of what was had before.
 */
import type { ResolvedOptions } from '../options';
import type { Platform } from '../platform';
import type { TransportKind } from '../status';
import type { TokenSource } from '../token';
import type { Cursor, EventFilter, Frame } from '../types';

/** Why a link ended, by what is to be done about it. */
export type EndCause =
  /** It never came up: refused on the way, or no answer. */
  | 'refused'
  /** It was up, and broke. */
  | 'broken'
  /** It is up and says nothing: something on the way holds it back. */
  | 'silent'
  /** The server does not take the token. */
  | 'unauthorized'
  /** The token does not allow it, or the request is wrong: waiting does not mend it. */
  | 'forbidden'
  /** The server asks to come back later. */
  | 'busy'
  /** The instance stops: another one, or its successor, is there soon. */
  | 'draining';

export interface LinkEnd {
  cause: EndCause;
  code: string;
  message: string;
  retryAfterMs?: number;
}

export interface LinkRequest {
  /** Where to start after; `null`: live from now. */
  cursor: Cursor | null;
  /** Begin with the state. */
  snapshot: boolean;
  filter: EventFilter;
}

export interface LinkHandlers {
  /** The token is there: the way to the server begins. */
  opening(): void;
  /** The server has answered. For streams that is `hello`. */
  up(): void;
  frame(frame: Frame): void;
  /** The feed has come that far without an event to show for it. */
  moved(cursor: Cursor): void;
  /** Any sign of life. */
  alive(): void;
  /** Once, and nothing after it. Not called for a link that was closed from this side. */
  ended(end: LinkEnd): void;
}

export interface LinkContext {
  platform: Platform;
  options: ResolvedOptions;
  tokens: TokenSource;
}

export interface Link {
  readonly kind: TransportKind;
  /** Commands, where the transport takes them. */
  send?(text: string): boolean;
  close(): void;
}

export type OpenLink = (request: LinkRequest, handlers: LinkHandlers, context: LinkContext) => Link;

/** The address of one of the feed's transports, with all that they take in common. */
export function feedUrl(
  path: string,
  request: LinkRequest,
  context: LinkContext,
  token: string,
  more: Record<string, string> = {},
): URL {
  const url = new URL(context.options.baseUrl + path);
  const { types, conversationId } = request.filter;
  if (request.cursor !== null) url.searchParams.set('cursor', request.cursor);
  if (request.snapshot) url.searchParams.set('snapshot', 'true');
  if (types?.length) url.searchParams.set('types', types.join(','));
  if (conversationId !== undefined) url.searchParams.set('conversation_id', `${conversationId}`);
  for (const [name, value] of Object.entries(more)) url.searchParams.set(name, value);
  if (context.options.tokenInUrl) url.searchParams.set('access_token', token);
  return url;
}

/** The headers that say who asks, unless the address does. */
export function authorization(context: LinkContext, token: string): Record<string, string> {
  return context.options.tokenInUrl ? {} : { Authorization: `Bearer ${token}` };
}

/** A frame out of what came over the wire; `null` when it is none. */
export function readFrame(text: string): Frame | null {
  try {
    return asFrame(JSON.parse(text));
  } catch {
    return null;
  }
}

export function asFrame(value: unknown): Frame | null {
  if (typeof value !== 'object' || value === null) return null;
  const { type, id, data } = value as Record<string, unknown>;
  const isFrame =
    typeof type === 'string' &&
    (id === undefined || typeof id === 'string') &&
    typeof data === 'object' &&
    data !== null;
  return isFrame ? (value as Frame) : null;
}

export function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The end of a link whose token could not be had. */
export function withoutToken(error: unknown): LinkEnd {
  return { cause: 'unauthorized', code: 'token_unavailable', message: describe(error) };
}
