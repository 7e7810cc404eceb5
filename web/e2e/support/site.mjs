/**
 * The console as the server serves it, for as long as it does not: the built files with a strict
 * Content-Security-Policy and a nonce per answer, and everything else from a server behind it.
 *
 *     node e2e/support/site.mjs PORT http://127.0.0.1:8080
 */
import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createGzip } from 'node:zlib';

const FOLDER = fileURLToPath(new URL('../../dist/console/browser', import.meta.url));
const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

export const policy = (nonce) =>
  [
    "default-src 'none'",
    "script-src 'self'",
    `style-src 'self' 'nonce-${nonce}'`,
    "connect-src 'self'",
    "img-src 'self' data: blob:",
    "media-src 'self' blob:",
    "worker-src 'self'",
    "base-uri 'self'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');

/** Starts it; `close` ends it. Requests to a server that is not there are answered with 502. */
export async function startSite(port, upstream) {
  const target = new URL(upstream);
  const server = createServer((call, answer) => {
    void serveFile(call, answer).then((served) => served || pass(target, call, answer));
  });
  server.on('upgrade', (call, socket, head) => passUpgrade(target, call, socket, head));
  await new Promise((listening) => server.listen(port, '127.0.0.1', listening));
  const close = () => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  };
  return { url: `http://127.0.0.1:${server.address().port}`, close };
}

async function serveFile(call, answer) {
  const path = normalize(new URL(call.url, 'http://site').pathname);
  const file = join(FOLDER, path === '/' ? 'index.html' : path);
  if (call.method !== 'GET' || !(await isFile(file))) return false;
  const headers = { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream' };
  if (file.endsWith('index.html')) {
    const nonce = randomBytes(16).toString('base64');
    const page = (await readFile(file, 'utf8')).replaceAll('__CSP_NONCE__', nonce);
    answer.writeHead(200, {
      ...headers,
      'Cache-Control': 'no-cache',
      'Content-Security-Policy': policy(nonce),
    });
    answer.end(page);
    return true;
  }
  answer.writeHead(200, {
    ...headers,
    'Cache-Control': 'public, max-age=31536000, immutable',
    'Content-Encoding': 'gzip',
  });
  createReadStream(file).pipe(createGzip()).pipe(answer);
  return true;
}

async function isFile(file) {
  try {
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}

function pass(target, call, answer) {
  const { hostname, port } = target;
  const { method, url: path, headers } = call;
  const onward = request({ hostname, port, method, path, headers }, (back) => {
    answer.writeHead(back.statusCode, back.headers);
    back.pipe(answer);
  });
  onward.on('error', () => {
    if (!answer.headersSent) answer.writeHead(502);
    answer.end();
  });
  answer.on('close', () => onward.destroy());
  call.pipe(onward);
}

function passUpgrade(target, call, socket, head) {
  const onward = connect(Number(target.port), target.hostname, () => {
    const lines = [`${call.method} ${call.url} HTTP/1.1`];
    for (let i = 0; i < call.rawHeaders.length; i += 2) {
      lines.push(`${call.rawHeaders[i]}: ${call.rawHeaders[i + 1]}`);
    }
    onward.write(`${lines.join('\r\n')}\r\n\r\n`);
    onward.write(head);
    socket.pipe(onward).pipe(socket);
  });
  onward.on('error', () => socket.destroy());
  onward.on('close', () => socket.destroy());
  socket.on('error', () => onward.destroy());
  socket.on('close', () => onward.destroy());
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [port, upstream] = process.argv.slice(2);
  const site = await startSite(Number(port), upstream);
  console.log(`${site.url} in front of ${upstream}`);
}
