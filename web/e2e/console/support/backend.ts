/**
 * What the console talks to: the real server with the simulated provider, and customers who write.
 * With `CONSOLE_FROM=server` the console is the one that the server has built in; else it is what
 * `ng build console` made.
 */
import { randomUUID } from 'node:crypto';

import { PHONE_NUMBER_ID, Server } from '../../support/server.mjs';
import { startSite } from './site';

const SETTINGS = {
  'rate_limits.enabled': 'false',
  'outbox.refused_pause_s': '1',
  'api.time_zone': 'America/Santiago',
};

interface Written {
  from: string;
  name: string;
  wamid: string;
  /** As Meta writes it: the type, and what stands under its name. */
  body: Record<string, unknown>;
}

export class Backend {
  private constructor(
    readonly server: Server,
    private readonly site: { url: string; close(): Promise<void> } | null,
  ) {}

  static async start(): Promise<Backend> {
    const server = await Server.start(SETTINGS);
    const isBuiltIn = process.env['CONSOLE_FROM'] === 'server';
    return new Backend(server, isBuiltIn ? null : await startSite(0, server.url));
  }

  /** Where the console is. */
  get url(): string {
    return this.site?.url ?? this.server.url;
  }

  async stop(): Promise<void> {
    await this.site?.close();
    await this.server.stop();
  }

  token({ subject = 'agente', seconds = 3_600 } = {}): string {
    return this.server.token({ subject, ttlS: seconds });
  }

  api<T>(method: string, path: string, body?: unknown): Promise<T> {
    return this.server.call(method, path, body);
  }

  /** A customer writes. Returns the provider's id of the message, once the server has it. */
  async writes(from: string, name: string, content: string | Record<string, unknown>) {
    const wamid = `wamid.${randomUUID()}`;
    const body = typeof content === 'string' ? { type: 'text', text: { body: content } } : content;
    await this.receives([{ from, name, wamid, body }]);
    return wamid;
  }

  /** Customers write, all in one webhook. */
  async receives(messages: readonly Written[]): Promise<void> {
    const timestamp = String(Math.floor(Date.now() / 1_000));
    const changes = messages.map(({ from, name, wamid, body }) => ({
      field: 'messages',
      value: {
        messaging_product: 'whatsapp',
        metadata: { display_phone_number: '576015550100', phone_number_id: PHONE_NUMBER_ID },
        contacts: [{ profile: { name }, wa_id: from }],
        messages: [{ from, id: wamid, timestamp, ...body }],
      },
    }));
    const entry = [{ id: 'e2e-account', changes }];
    await this.server.postWebhook({ object: 'whatsapp_business_account', entry });
  }

  /** The number of the conversation with this customer. */
  async conversationOf(phone: string): Promise<number> {
    const body = { phone: `+${phone}` };
    const found = await this.api<{ conversation: { id: number } }>(
      'POST',
      '/v1/conversations',
      body,
    );
    return found.conversation.id;
  }

  /** What the provider lets go wrong from now on. */
  faults(faults: Record<string, unknown>): Promise<void> {
    return this.server.setFaults(faults);
  }

  /** The sum of the metrics whose line begins so. */
  async metric(text: string): Promise<number> {
    const answer = await fetch(`${this.server.url}/metrics`);
    const lines = (await answer.text()).split('\n').filter((line) => line.startsWith(text));
    return lines.reduce((sum, line) => sum + Number(line.split(' ').pop()), 0);
  }
}
