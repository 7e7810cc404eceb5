/**
 * The console as the server serves it, for as long as it does not: the built files with a strict
 * Content-Security-Policy and a nonce per answer, and everything else from a server behind it.
 */
import { randomBytes } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, brotliDecompressSync } from 'node:zlib';

const FOLDER = fileURLToPath(new URL('../../../dist/console/browser', import.meta.url));
const PAGE = '/index.html';
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
  const assets = await readAssets();
  const server = createServer((call, answer) => {
    if (!serve(assets, call, answer)) pass(target, call, answer);
  });
  server.on('upgrade', (call, socket, head) => passUpgrade(target, call, socket, head));
  await new Promise<void>((listening) => server.listen(port, '127.0.0.1', listening));
  const close = () => {
    server.closeAllConnections();
    return new Promise<void>((closed) => server.close(() => closed()));
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}

interface Asset {
  type: string;
  compressed: Buffer;
}

/** All files, compressed once, as the server has them. */
async function readAssets(): Promise<Map<string, Asset>> {
  const assets = new Map<string, Asset>();
  for (const name of await readdir(FOLDER, { recursive: true })) {
    const type = TYPES[extname(name)];
    if (!type) continue;
    const compressed = brotliCompressSync(await readFile(join(FOLDER, name)));
    assets.set(`/${name}`, { type, compressed });
  }
  return assets;
}

function serve(assets: Map<string, Asset>, call: IncomingMessage, answer: ServerResponse): boolean {
  const { pathname } = new URL(call.url ?? '/', 'http://site');
  const asset = assets.get(pathname === '/' ? PAGE : pathname);
  if (call.method !== 'GET' || !asset) return false;
  answer.setHeader('Content-Type', asset.type);
  if (asset === assets.get(PAGE)) {
    const nonce = randomBytes(16).toString('base64');
    const page = brotliDecompressSync(asset.compressed).toString();
    answer.setHeader('Cache-Control', 'no-store');
    answer.setHeader('Content-Security-Policy', policy(nonce));
    answer.end(page.replaceAll('__CSP_NONCE__', nonce));
    return true;
  }
  answer.setHeader('Cache-Control', 'public, max-age=31536000, immutable');
  answer.setHeader('Content-Encoding', 'br');
  answer.end(asset.compressed);
  return true;
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
