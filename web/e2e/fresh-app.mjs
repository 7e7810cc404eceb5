/**
 * Packs the library, makes a new Angular application with `ng new`, installs the pack, puts in the
 * code of the library's README, and looks in Chromium whether it gets all nine types of events
 * from the real server, of another origin.
 *
 *     node e2e/fresh-app.mjs [SERVER-BINARY]
 *
 * E2E_KEEP=1 keeps the application's folder.
 */
import { chromium } from '@playwright/test';
import { execFile } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const WORKSPACE = fileURLToPath(new URL('..', import.meta.url));
const STEP_LIMIT_MS = 300_000;
const TYPES = [
  'new_message',
  'message_status_updated',
  'conversation_updated',
  'stats_updated',
  'bot_status_changed',
  'whatsapp_status_changed',
  'bulk_message_progress',
  'bulk_message_completed',
  'bulk_message_error',
];
/** The provider's "the template is paused": no other recipient would fare better. */
const TEMPLATE_PAUSED = 132_015;

if (process.argv[2]) process.env.E2E_SERVER_BINARY = process.argv[2];
const { Server, freePort, until } = await import('./support/server.mjs');

const folder = await mkdtemp(join(tmpdir(), 'condorito-fresh-'));
const app = join(folder, 'fresh');
const port = await freePort();
const origin = `http://127.0.0.1:${port}`;
const ended = [];
try {
  const server = await Server.start({ 'cors.allowed_origins': `["${origin}"]` });
  ended.push(() => server.stop());
  await makeApp(server.url);
  ended.push(await serveApp(server));
  const received = await runInBrowser(server);
  for (const type of TYPES) console.log(`${type}: ${JSON.stringify(received[type]).slice(0, 100)}`);
  console.log('A fresh application gets all nine types of events.');
} finally {
  for (const end of ended.reverse()) await end();
  if (!process.env.E2E_KEEP) await rm(folder, { recursive: true, force: true });
}

async function run(cwd, command, ...args) {
  console.log(`$ ${command} ${args.join(' ')}`);
  const options = { cwd, timeout: STEP_LIMIT_MS, maxBuffer: 64 << 20 };
  const child = promisify(execFile)('nice', ['-n', '19', command, ...args], options);
  const { stdout } = await child.catch((error) => {
    throw new Error(`${command} ${args.join(' ')}\n${error.stdout}\n${error.stderr}`);
  });
  return stdout;
}

async function makeApp(serverUrl) {
  await run(WORKSPACE, 'npx', 'ng', 'build', 'realtime');
  const dist = join(WORKSPACE, 'dist', 'realtime');
  const pack = (await run(dist, 'npm', 'pack', '--pack-destination', folder))
    .trim()
    .split('\n')
    .at(-1);
  // The workspace's own CLI makes nothing outside of it.
  const ng = ['--yes', '--package', '@angular/cli@21', 'ng', 'new', 'fresh'];
  await run(folder, 'npx', ...ng, '--defaults', '--skip-git', '--skip-install', '--skip-tests');
  await takeVersions();
  await run(
    app,
    'npm',
    'install',
    '--no-audit',
    '--no-fund',
    '--no-package-lock',
    join(folder, pack),
  );
  await useReadme(serverUrl);
  await run(app, join(app, 'node_modules', '.bin', 'ng'), 'build');
}

/** The workspace's ranges: the newest CLI may name packages that a registry's mirror has not yet. */
async function takeVersions() {
  const workspace = JSON.parse(await readFile(join(WORKSPACE, 'package.json'), 'utf8'));
  const known = { ...workspace.dependencies, ...workspace.devDependencies };
  const path = join(app, 'package.json');
  const fresh = JSON.parse(await readFile(path, 'utf8'));
  for (const dependencies of [fresh.dependencies, fresh.devDependencies]) {
    for (const name of Object.keys(dependencies))
      dependencies[name] = known[name] ?? dependencies[name];
  }
  await writeFile(path, JSON.stringify(fresh, null, 2));
}

/** The README's code is the application; only the address is another one. */
async function useReadme(serverUrl) {
  const readme = await readFile(join(app, 'node_modules/@condorito/realtime/README.md'), 'utf8');
  const blocks = [...readme.matchAll(/```ts\n\/\/ (src\/\S+)\n([\s\S]*?)```/g)];
  if (blocks.length !== 2) throw new Error('the README has other code than expected');
  for (const [, path, code] of blocks) {
    await writeFile(join(app, path), code.replace('https://realtime.example', serverUrl));
  }
  const main = await readFile(join(app, 'src/main.ts'), 'utf8');
  const spied = `import { EVENT_TYPES, WhatsAppRealtimeService } from '@condorito/realtime';
${main.replace(/\.catch\([\s\S]*$/, '')}.then(({ injector }) => {
  const received: Record<string, unknown> = {};
  Object.assign(globalThis, { received });
  const realtime = injector.get(WhatsAppRealtimeService);
  for (const type of EVENT_TYPES) {
    realtime.onMessage(type).subscribe((data) => (received[type] = data));
  }
});
`;
  await writeFile(join(app, 'src/main.ts'), spied);
}

/** The built files, and tokens. */
async function serveApp(server) {
  const files = join(app, 'dist/fresh/browser');
  const kinds = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };
  const site = createServer((request, answer) => {
    if (request.url === '/token') return answer.end(server.token());
    const file = join(files, request.url === '/' ? 'index.html' : request.url.replace(/\?.*/, ''));
    stat(file).then(
      () => {
        answer.setHeader('Content-Type', kinds[extname(file)] ?? 'application/octet-stream');
        createReadStream(file).pipe(answer);
      },
      () => answer.writeHead(404).end(),
    );
  });
  await new Promise((listening) => site.listen(port, '127.0.0.1', listening));
  return () => new Promise((closed) => site.close(closed).closeAllConnections());
}

async function runInBrowser(server) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox'],
  });
  ended.push(() => browser.close());
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.error(error));
  await page.goto(origin);
  await page.getByText('connected, over websocket').waitFor({ timeout: 20_000 });
  await causeEverything(server);
  const received = () => page.evaluate(() => globalThis.received);
  const isAll = async () => {
    const types = Object.keys(await received());
    return TYPES.every((type) => types.includes(type));
  };
  await until(isAll, 60_000, 'all nine types of events').catch(async (error) => {
    throw new Error(`${error.message}; got ${Object.keys(await received())}`);
  });
  await page.getByText('message 1', { exact: true }).waitFor({ timeout: 5_000 });
  return received();
}

async function causeEverything(server) {
  await server.receive(1);
  await server.call('PUT', '/v1/bot/status', { status: 'paused', reason: 'lunch' });
  await server.call('PUT', '/v1/whatsapp/state', { status: 'connecting' });
  const people = (count, from) =>
    Array.from({ length: count }, (_, n) => ({ phone: `+1202556${from + n}` }));
  const template = { name: 'hello', language: 'es' };
  const bulk = { name: 'first', template, rate_per_second: 50 };
  const { bulk: first, cursor } = await server.call('POST', '/v1/bulk', {
    ...bulk,
    recipients: people(5, 1000),
  });
  const isCompleted = async () =>
    (await server.call('GET', `/v1/bulk/${first.id}?at_least=${cursor}`)).status === 'completed';
  await until(isCompleted, 30_000, 'the first bulk is completed');
  await server.setFaults({ error_permille: 1_000, error_codes: [TEMPLATE_PAUSED] });
  await server.call('POST', '/v1/bulk', { ...bulk, recipients: people(2_000, 2000) });
}
