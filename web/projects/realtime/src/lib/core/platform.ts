/** What the core asks of its surroundings, so that tests can stand in for a browser. */

/** Both the browser's and a scripted socket. */
export interface SocketLike {
  readonly readyState: number;
  readonly protocol: string;
  onopen: ((event: unknown) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onerror: ((event: unknown) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

/** A `BroadcastChannel`. */
export interface ChannelLike {
  onmessage: ((event: { data: unknown }) => void) | null;
  postMessage(message: unknown): void;
  close(): void;
}

/** `navigator.locks`, as far as it is needed. */
export interface LocksLike {
  request(
    name: string,
    options: { steal?: boolean; signal?: AbortSignal },
    held: () => Promise<void>,
  ): Promise<void>;
}

/** What the browser says of itself. */
export type BrowserSignal = 'online' | 'visible' | 'hide';

export interface Platform {
  pageUrl: string | undefined;
  now(): number;
  /** 0 to 1, as `Math.random`. */
  random(): number;
  fetch: typeof fetch;
  /** `null`: this environment has none. */
  openSocket: ((url: string, protocols: string[]) => SocketLike) | null;
  openChannel: ((name: string) => ChannelLike) | null;
  locks: LocksLike | null;
  /** Returns what ends the listening. */
  onSignal(listener: (signal: BrowserSignal) => void): () => void;
}

/** The surroundings as they are: a browser's page, or Node without tabs. */
export function browserPlatform(): Platform {
  const scope = globalThis;
  const { navigator, location } = scope as Partial<typeof scope>;
  return {
    pageUrl: location?.href,
    now: () => Date.now(),
    random: () => Math.random(),
    fetch: (input, init) => scope.fetch(input, init),
    openSocket:
      typeof scope.WebSocket === 'function'
        ? (url, protocols) => new WebSocket(url, protocols) as SocketLike
        : null,
    openChannel:
      typeof scope.BroadcastChannel === 'function'
        ? (name) => new BroadcastChannel(name) as ChannelLike
        : null,
    locks: (navigator?.locks as LocksLike | undefined) ?? null,
    onSignal: listenToPage,
  };
}

function listenToPage(listener: (signal: BrowserSignal) => void): () => void {
  if (typeof window === 'undefined') return () => {};
  const online = (): void => listener('online');
  const hide = (): void => listener('hide');
  const visibility = (): void => {
    if (document.visibilityState === 'visible') listener('visible');
  };
  const show = (event: PageTransitionEvent): void => {
    if (event.persisted) listener('visible');
  };
  window.addEventListener('online', online);
  window.addEventListener('pagehide', hide);
  window.addEventListener('pageshow', show);
  document.addEventListener('visibilitychange', visibility);
  return () => {
    window.removeEventListener('online', online);
    window.removeEventListener('pagehide', hide);
    window.removeEventListener('pageshow', show);
    document.removeEventListener('visibilitychange', visibility);
  };
}
