/**
 * The real server in a process of its own, with a simulated provider behind its tenant, for tests
 * that talk to it, kill it and start it again. The binary is taken from `E2E_SERVER_BINARY`, else
 * `target/release/condorito`.
 */
import { spawn } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const BINARY =
  process.env.E2E_SERVER_BINARY ??
  fileURLToPath(new URL('../../../target/release/condorito', import.meta.url));
const START_LIMIT_MS = 20_000;
const SCOPES =
  'events:read messages:read messages:write bulk:write bot:write ingest:write tenant:write';

export const CLIENT_ID = 1;
export const PHONE_NUMBER_ID = 'e2e-number';

/** A port that nobody has at the moment. */
export async function freePort() {
  const server = createServer();
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * What `probe` gives as soon as it gives something.
 * @template T
 * @param {() => Promise<T>} probe
 * @param {number} limitMs
 * @param {string} what
 * @returns {Promise<NonNullable<T>>}
 */
export async function until(probe, limitMs, what) {
  const end = Date.now() + limitMs;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${limitMs} ms in vain: ${what}`);
    await sleep(50);
  }
}

export class Server {
  /** `settings`: of the server, like `{'delivery.heartbeat_ms': 3000}`. */
  static async start(settings = {}) {
    const folder = await mkdtemp(join(tmpdir(), 'condorito-e2e-'));
    const server = new Server(folder, await freePort(), await freePort(), settings);
    try {
      await server.startProvider();
      await server.startAgain();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  #secret = randomBytes(36).toString('base64url');
  #appSecret = randomBytes(36).toString('base64url');
  #process = null;
  #provider = null;
  #messages = 0;

  constructor(folder, port, providerPort, settings) {
    this.folder = folder;
    this.port = port;
    this.providerPort = providerPort;
    this.settings = settings;
    this.url = `http://127.0.0.1:${port}`;
  }

  get #environment() {
    return {
      ...process.env,
      CONDORITO_DATA_DIR: this.folder,
      CONDORITO_AUTH__SECRET: this.#secret,
      CONDORITO_WHATSAPP_CLOUD__APP_SECRETS: this.#appSecret,
      CONDORITO_WHATSAPP_CLOUD__VERIFY_TOKEN: 'e2e',
      CONDORITO_WHATSAPP_CLOUD__ACCESS_TOKEN: 'e2e',
      CONDORITO_WHATSAPP_CLOUD__GRAPH_URL: `http://127.0.0.1:${this.providerPort}`,
      CONDORITO_TENANTS: `[{client_id=${CLIENT_ID},phone_number_ids=["${PHONE_NUMBER_ID}"],waba_ids=["e2e-account"]}]`,
      CONDORITO_LOGGING__FILTER: 'warn',
    };
  }

  /** Starts the server over the same files and on the same port as before. */
  async startAgain() {
    const sets = Object.entries(this.settings).flatMap(([key, value]) => [
      '--set',
      `${key}=${value}`,
    ]);
    const listen = ['--listen', `127.0.0.1:${this.port}`];
    this.#process = this.#run(['serve', ...listen, ...sets]);
    const ready = () =>
      fetch(`${this.url}/health/ready`).then(
        (answer) => answer.ok,
        () => false,
      );
    await until(ready, START_LIMIT_MS, 'the server is ready');
  }

  async startProvider(more = []) {
    const address = ['--listen', `127.0.0.1:${this.providerPort}`, '--webhooks', this.url];
    this.#provider = this.#run(['simulate', ...address, '--no-pair-limit', ...more]);
    const url = `http://127.0.0.1:${this.providerPort}/ledger?summary=true`;
    const ready = () =>
      fetch(url).then(
        (answer) => answer.ok,
        () => false,
      );
    await until(ready, START_LIMIT_MS, 'the provider is ready');
  }

  #run(args) {
    const child = spawn('nice', ['-n', '19', BINARY, ...args], {
      env: this.#environment,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    child.on('error', (error) => console.error(`can't run ${BINARY}: ${error.message}`));
    return child;
  }

  /** `kill -9`: no goodbye, nothing flushed. */
  kill() {
    return end(this.#process, 'SIGKILL');
  }

  /** Ends in order: clients are told, requests end. */
  terminate() {
    return end(this.#process, 'SIGTERM');
  }

  /** Another event store: no cursor of before is known to it. */
  async replaceStore() {
    await this.kill();
    await rm(this.folder, { recursive: true });
    await this.startAgain();
  }

  async stop() {
    await Promise.all([end(this.#process, 'SIGKILL'), end(this.#provider, 'SIGKILL')]);
    await rm(this.folder, { recursive: true, force: true });
  }

  token({ subject = 'e2e', ttlS = 3_600, clientId = CLIENT_ID } = {}) {
    const exp = Math.floor(Date.now() / 1_000) + ttlS;
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const claims = { sub: subject, client_id: clientId, scope: SCOPES, exp };
    const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
    return `${text}.${createHmac('sha256', this.#secret).update(text).digest('base64url')}`;
  }

  /** Calls the REST interface; an answer that is no good one is an error. */
  async call(method, path, body) {
    const answer = await fetch(this.url + path, {
      method,
      headers: { Authorization: `Bearer ${this.token()}`, 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  /** Lets contacts write that many messages, and gives their texts. */
  async receive(count = 1, phone = '+12025550142') {
    const texts = Array.from({ length: count }, () => `message ${(this.#messages += 1)}`);
    const messages = texts.map((text) => ({
      wa_message_id: `e2e.${text.replace(' ', '.')}`,
      contact: { phone, name: 'Ann' },
      text,
      timestamp: new Date().toISOString(),
    }));
    await this.call('POST', '/v1/ingest/messages', { messages });
    return texts;
  }

  /** Posts a webhook of the Cloud API, signed as Meta does. */
  async postWebhook(payload) {
    const body = JSON.stringify(payload);
    const signature = createHmac('sha256', this.#appSecret).update(body).digest('hex');
    const answer = await fetch(`${this.url}/webhooks/whatsapp`, {
      method: 'POST',
      headers: { 'X-Hub-Signature-256': `sha256=${signature}` },
      body,
    });
    if (!answer.ok) throw new Error(`webhook: ${answer.status} ${await answer.text()}`);
  }

  /** What goes wrong at the provider from now on. */
  async setFaults(faults) {
    const url = `http://127.0.0.1:${this.providerPort}/faults`;
    const answer = await fetch(url, { method: 'PUT', body: JSON.stringify(faults) });
    if (!answer.ok) throw new Error(`faults: ${answer.status} ${await answer.text()}`);
  }

  /**
   * All events of the feed after a cursor: what a client should have got.
   * @returns {Promise<{ id: string; type: string }[]>}
   */
  async feedAfter(cursor) {
    const events = [];
    for (;;) {
      const page = await this.call('GET', `/v1/events?cursor=${cursor}&limit=1000`);
      events.push(...page.events);
      if (!page.has_more) return events;
      cursor = page.cursor;
    }
  }
}

function end(child, signal) {
  if (!child || child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  const ended = new Promise((done) => child.once('exit', done));
  child.kill(signal);
  return ended;
}
