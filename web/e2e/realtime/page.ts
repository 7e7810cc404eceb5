/** A page with nothing but a client in it, which writes down all that it gets. */
import type { Page } from '@playwright/test';
import type { RealtimeClient } from '../../projects/realtime/src/lib/core/client';
import type { ConnectionStatus } from '../../projects/realtime/src/lib/core/status';
import { bundleCore } from './bundle.mjs';

interface Notes {
  /** Of all events, in the order in which they came. */
  ids: string[];
  types: string[];
  /** Of the messages that contacts wrote. */
  texts: string[];
  /** When each of them came. */
  times: number[];
  levels: string[];
  transports: string[];
  errors: string[];
}

export type Seen = ConnectionStatus & Notes;

declare global {
  interface Window {
    condorito: { RealtimeClient: typeof RealtimeClient };
    client: RealtimeClient;
    read(): Seen;
    freshToken(): Promise<string>;
  }
}

let bundle: Promise<string> | null = null;

/** Opens a page of that origin, and starts a client in it. */
export async function startClient(
  page: Page,
  origin: string,
  freshToken: () => string,
  options: object = {},
): Promise<void> {
  bundle ??= bundleCore();
  const content = await bundle;
  await page.exposeFunction('freshToken', freshToken);
  // A page that the server itself serves, without scripts of its own.
  await page.goto(`${origin}/health/live`);
  await page.evaluate(content);
  await page.evaluate(run, options);
}

export const read = (page: Page): Promise<Seen> => page.evaluate(() => window.read());

/** In the page. */
function run(options: object): void {
  const client = new window.condorito.RealtimeClient({
    token: () => window.freshToken(),
    ...options,
  });
  const notes: Notes = {
    ids: [],
    types: [],
    texts: [],
    times: [],
    levels: [],
    transports: [],
    errors: [],
  };
  client.onFrame((frame) => {
    notes.types.push(frame.type);
    if ('id' in frame) notes.ids.push(frame.id);
    if (frame.type !== 'new_message') return;
    const { direction, text } = frame.data.message;
    if (direction !== 'inbound' || !text) return;
    notes.texts.push(text);
    notes.times.push(Date.now());
  });
  client.onStatus(({ level, transport }) => {
    if (notes.levels.at(-1) !== level) notes.levels.push(level);
    if (transport && notes.transports.at(-1) !== transport) notes.transports.push(transport);
  });
  window.addEventListener('error', (event) => notes.errors.push(event.message));
  window.client = client;
  window.read = () => ({ ...client.status, ...notes });
  client.start();
}
