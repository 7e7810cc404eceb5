/**
 * The console as the server serves it, for as long as it does not: the built files with a strict
 * Content-Security-Policy and a nonce per answer, and everything else from a server behind it.
 */
import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { createGzip } from 'node:zlib';

const FOLDER = fileURLToPath(new URL('../../../dist/console/browser', import.meta.url));
const TYPES: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

const policy = (nonce: string) =>
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
export async function startSite(port: number, upstream: string) {
  const target = new URL(upstream);
  const server = createServer((call, answer) => {
    void serveFile(call, answer).then((served) => served || pass(target, call, answer));
  });
  server.on('upgrade', (call, socket, head) => passUpgrade(target, call, socket, head));
  await new Promise<void>((listening) => server.listen(port, '127.0.0.1', listening));
  const close = () => {
    server.closeAllConnections();
    return new Promise<void>((closed) => server.close(() => closed()));
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}

async function serveFile(call: IncomingMessage, answer: ServerResponse): Promise<boolean> {
  const path = normalize(new URL(call.url ?? '/', 'http://site').pathname);
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

async function isFile(file: string): Promise<boolean> {
  try {
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}

function pass(target: URL, call: IncomingMessage, answer: ServerResponse): void {
  const { hostname, port } = target;
  const { method, url: path, headers } = call;
  const onward = request({ hostname, port, method, path, headers }, (back) => {
    answer.writeHead(back.statusCode ?? 502, back.headers);
    back.pipe(answer);
  });
  onward.on('error', () => {
    if (!answer.headersSent) answer.writeHead(502);
    answer.end();
  });
  answer.on('close', () => onward.destroy());
  call.pipe(onward);
}

function passUpgrade(target: URL, call: IncomingMessage, socket: Duplex, head: Buffer): void {
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
