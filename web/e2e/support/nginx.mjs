/**
 * A real nginx in front of the server, set up as networks that do not let everything through are.
 * Runs from a folder of its own, on a port of its own.
 */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, until } from './server.mjs';

const BINARY = process.env.E2E_NGINX ?? '/usr/sbin/nginx';

/** As proxies are that know nothing of WebSockets: the server sees no upgrade. */
const WITHOUT_UPGRADES = '';
const WITH_UPGRADES = `
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;`;

/** Gathers an answer until its buffers are full, whatever the server asks for. */
const buffered = (kilobytes) => `
      proxy_buffering on;
      proxy_ignore_headers X-Accel-Buffering;
      proxy_buffer_size ${kilobytes}k;
      proxy_buffers 16 ${kilobytes}k;
      proxy_busy_buffers_size ${2 * kilobytes}k;`;

/** What becomes of event streams, by name. */
const STREAMS = {
  passed: '',
  /** Nothing comes for long. */
  'held back': buffered(256),
  /** The beginning comes, and later what fills a buffer. */
  'held back in part': buffered(4),
};

export class Nginx {
  /**
   * `websocket`: whether upgrades are let through; `streams`: what becomes of event streams.
   * @param {string} upstream
   * @param {{ websocket?: boolean; streams?: keyof typeof STREAMS }} how
   */
  static async start(upstream, { websocket = true, streams = 'passed' } = {}) {
    const folder = await mkdtemp(join(tmpdir(), 'condorito-nginx-'));
    await mkdir(join(folder, 'temp'));
    const nginx = new Nginx(folder, await freePort());
    await writeFile(
      join(folder, 'nginx.conf'),
      nginx.#config(upstream, websocket, STREAMS[streams]),
    );
    nginx.process = spawn('nice', ['-n', '19', BINARY, ...nginx.#args()], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    await until(() => answers(nginx.port), 10_000, 'nginx listens');
    return nginx;
  }

  constructor(folder, port) {
    this.folder = folder;
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
  }

  /** New workers take over, and what the old ones have open is cut a moment later. */
  cut() {
    this.process.kill('SIGHUP');
  }

  async stop() {
    const ended = new Promise((done) => this.process.once('exit', done));
    this.process.kill('SIGTERM');
    await ended;
    await rm(this.folder, { recursive: true, force: true });
  }

  #args() {
    return ['-p', this.folder, '-c', join(this.folder, 'nginx.conf'), '-e', 'stderr'];
  }

  #config(upstream, websocket, buffering) {
    return `
daemon off;
worker_processes 1;
worker_shutdown_timeout 200ms;
error_log stderr crit;
pid nginx.pid;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path temp/body;
  proxy_temp_path temp/proxy;
  fastcgi_temp_path temp/fastcgi;
  uwsgi_temp_path temp/uwsgi;
  scgi_temp_path temp/scgi;
  map $http_upgrade $connection_upgrade { default upgrade; '' close; }
  server {
    listen 127.0.0.1:${this.port};
    location / {
      proxy_pass ${upstream};
      proxy_http_version 1.1;
      proxy_set_header Host $host:$server_port;
      proxy_read_timeout 300s;${websocket ? WITH_UPGRADES : WITHOUT_UPGRADES}${buffering}
    }
  }
}
`;
  }
}

function answers(port) {
  return new Promise((done) => {
    const socket = createConnection({ port, host: '127.0.0.1' }, () => {
      socket.end();
      done(true);
    });
    socket.on('error', () => done(false));
  });
}
