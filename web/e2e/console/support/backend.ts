/**
 * The real server with the simulated provider behind it, each in a process of its own, and the
 * console in front. `E2E_SERVER_BINARY` is the binary. With `CONSOLE_FROM=server` the console is the
 * one that the server has built in; else it is what `ng build console` made.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHmac, randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { startSite } from './site';

const JWT_SECRET = 'a secret for tests only, of more than 32 bytes';
const APP_SECRET = 'the app secret of the tests';
const PHONE_NUMBER_ID = '1000001';
const SCOPES =
  'events:read messages:read messages:write bulk:write bot:write ingest:write tenant:write';
const READY_MS = 20_000;

export interface Answer<T> {
  status: number;
  body: T;
}

export class Backend {
  private server: ChildProcess | null = null;
  private simulator: ChildProcess | null = null;
  private site: { url: string; close(): Promise<void> } | null = null;

  private constructor(
    private readonly folder: string,
    private readonly ports: { server: number; simulator: number },
  ) {}

  static async start(more = ''): Promise<Backend> {
    const folder = await mkdtemp(join(tmpdir(), 'condorito-console-'));
    const backend = new Backend(folder, { server: await freePort(), simulator: await freePort() });
    await writeFile(join(folder, 'condorito.toml'), backend.settings(more));
    await backend.startServer();
    backend.simulator = backend.run([
      'simulate',
      ...['--listen', `127.0.0.1:${backend.ports.simulator}`],
      ...['--webhooks', backend.serverUrl],
      ...['--status-delay', '250', '--no-pair-limit'],
    ]);
    await answers(`${backend.simulatorUrl}/ledger?summary=true`);
    if (process.env['CONSOLE_FROM'] !== 'server') {
      backend.site = await startSite(0, backend.serverUrl);
    }
    return backend;
  }

  get serverUrl(): string {
    return `http://127.0.0.1:${this.ports.server}`;
  }

  get simulatorUrl(): string {
    return `http://127.0.0.1:${this.ports.simulator}`;
  }

  /** Where the console is. */
  get url(): string {
    return this.site?.url ?? this.serverUrl;
  }

  async startServer(): Promise<void> {
    this.server = this.run(['serve']);
    await answers(`${this.serverUrl}/health/ready`);
  }

  /** As a power failure would. */
  async killServer(): Promise<void> {
    await end(this.server, 'SIGKILL');
  }

  async stop(): Promise<void> {
    await this.site?.close();
    await end(this.server, 'SIGKILL');
    await end(this.simulator, 'SIGKILL');
    await rm(this.folder, { recursive: true, force: true });
  }

  token({ subject = 'agente', seconds = 3_600 } = {}): string {
    const now = Math.floor(Date.now() / 1_000);
    const claims = { sub: subject, client_id: 1, scope: SCOPES, iat: now, exp: now + seconds };
    const signed = [{ alg: 'HS256', typ: 'JWT' }, claims]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.');
    const signature = createHmac('sha256', JWT_SECRET).update(signed).digest('base64url');
    return `${signed}.${signature}`;
  }

  async api<T>(method: string, path: string, body?: unknown): Promise<Answer<T>> {
    const answer = await fetch(this.serverUrl + path, {
      method,
      headers: {
        Authorization: `Bearer ${this.token()}`,
        'Content-Type': 'application/json',
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    return { status: answer.status, body: (await answer.json()) as T };
  }

  /** A customer writes. Returns the provider's id of the message, once the server has it. */
  async writes(from: string, name: string, content: string | Record<string, unknown>) {
    const wamid = `wamid.${randomUUID()}`;
    const body = typeof content === 'string' ? { type: 'text', text: { body: content } } : content;
    await this.webhook([{ from, name, wamid, body }]);
    return wamid;
  }

  /** Customers write, all in one webhook. */
  async webhook(
    messages: { from: string; name: string; wamid: string; body: Record<string, unknown> }[],
  ): Promise<void> {
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
    const payload = JSON.stringify({
      object: 'whatsapp_business_account',
      entry: [{ id: '9000001', changes }],
    });
    const signature = createHmac('sha256', APP_SECRET).update(payload).digest('hex');
    const answer = await fetch(`${this.serverUrl}/webhooks/whatsapp`, {
      method: 'POST',
      headers: { 'X-Hub-Signature-256': `sha256=${signature}` },
      body: payload,
    });
    if (answer.status !== 200) throw new Error(`the webhook was answered ${answer.status}`);
  }

  /** The number of the conversation with this customer. */
  async conversationOf(phone: string): Promise<number> {
    const found = await this.api<{ conversation: { id: number } }>('POST', '/v1/conversations', {
      phone: `+${phone}`,
    });
    return found.body.conversation.id;
  }

  /** What the simulated provider is to let go wrong. */
  async faults(faults: Record<string, unknown>): Promise<void> {
    const answer = await fetch(`${this.simulatorUrl}/faults`, {
      method: 'PUT',
      body: JSON.stringify(faults),
    });
    if (!answer.ok) throw new Error(`faults: ${answer.status} ${await answer.text()}`);
  }

  /** The sum of a metric whose line has this text. */
  async metric(text: string): Promise<number> {
    const lines = (await (await fetch(`${this.serverUrl}/metrics`)).text()).split('\n');
    const values = lines
      .filter((line) => line.startsWith(text))
      .map((line) => line.split(' ').pop());
    return values.reduce((sum, value) => sum + Number(value), 0);
  }

  private settings(more: string): string {
    return `
data_dir = ${JSON.stringify(join(this.folder, 'data'))}
[listener]
address = "127.0.0.1:${this.ports.server}"
[rate_limits]
enabled = false
[auth]
secret = ${JSON.stringify(JWT_SECRET)}
[whatsapp_cloud]
verify_token = "the verify token of the tests"
app_secrets = [${JSON.stringify(APP_SECRET)}]
access_token = "a token"
graph_url = "${this.simulatorUrl}"
[outbox]
refused_pause_s = 1
[waha]
hmac_key = "the hmac key of the tests"
${more}
[[tenants]]
client_id = 1
time_zone = "America/Santiago"
phone_number_ids = ["${PHONE_NUMBER_ID}"]
waba_ids = ["9000001"]
`;
  }

  private run(command: string[]): ChildProcess {
    const binary = process.env['E2E_SERVER_BINARY'];
    if (!binary) throw new Error('E2E_SERVER_BINARY must name the server’s binary');
    const [verb, ...flags] = command;
    const config = join(this.folder, 'condorito.toml');
    const child = spawn(binary, [verb, '--config', config, ...flags], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr?.on('data', (told: Buffer) => {
      if (/"level":"ERROR"|^condorito/m.test(told.toString())) process.stderr.write(told);
    });
    return child;
  }
}

async function end(child: ChildProcess | null, signal: NodeJS.Signals): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await ended;
}

async function answers(url: string): Promise<void> {
  const until = Date.now() + READY_MS;
  for (;;) {
    try {
      if ((await fetch(url)).ok) return;
    } catch {
      // Not yet.
    }
    if (Date.now() > until) throw new Error(`${url} does not answer`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function freePort(): Promise<number> {
  return new Promise((found) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => found(port));
    });
  });
}
