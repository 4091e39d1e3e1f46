// What the figures need beside what the tests in a browser have: a server that takes what any library posts, pages for
// each library, power cuts and tables.
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { readFileSync, readdirSync, rmSync } from 'node:fs';
import { gunzipSync, gzipSync, inflateSync } from 'node:zlib';
import { build } from 'esbuild';
import { Line, chromiumPath, sleep } from '../test/browser/support.mjs';

export * from '../test/browser/support.mjs';

export const here = new URL('.', import.meta.url).pathname;
export const sdk = new URL('..', import.meta.url).pathname;

export const chromiumVersion = () => /[\d.]{5,}/.exec(execFileSync(chromiumPath, ['--version'], { stdio: ['ignore', 'pipe', 'ignore'] }))[0];

/** What a body is without its compression, as text. */
export function textOf(body) {
  try {
    if (body[0] === 0x1f && body[1] === 0x8b) return gunzipSync(body).toString();
    if (body[0] === 0x78) return inflateSync(body).toString();
  } catch {}
  return body.toString();
}

/** A server that takes whatever a library posts, and remembers when it saw the marker of an event first. */
export class Sink {
  /** @param eventsOf the part of a body that holds events, where a body tells of earlier ones, too */
  constructor(files, eventsOf = (text) => text) {
    this.files = files;
    this.eventsOf = eventsOf;
    this.mode = 'open';
    this.posts = [];
    this.seen = new Map();
    this.sockets = new Set();
  }

  async start() {
    this.server = createServer((request, response) => this.answer(request, response));
    this.server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
    await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    this.url = `http://localhost:${this.server.address().port}`;
    return this;
  }

  answer(request, response) {
    const { pathname } = new URL(request.url, this.url);
    const file = this.files[pathname];
    if (request.method === 'GET' && file !== undefined) {
      const type = pathname.endsWith('.js') ? 'text/javascript' : 'text/html';
      return void response.writeHead(200, { 'content-type': type + '; charset=utf-8', 'cache-control': 'no-store' }).end(file);
    }
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('error', () => {});
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      const { mode } = this;
      this.posts.push({ at: Date.now(), path: request.url, bytes: body.length, mode });
      if (mode === '503') return void response.writeHead(503, { 'content-type': 'text/plain' }).end('unavailable');
      for (const [, n] of (request.url + this.eventsOf(textOf(body))).matchAll(/marker-(\d+)-end/g)) if (!this.seen.has(+n)) this.seen.set(+n, Date.now());
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  }

  async stop() {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** A line to the collector that counts what goes over it, headers included, and lets pages read a fine clock. */
export class CountingLine extends Line {
  async start(port) {
    await super.start(port);
    this.wire = { in: 0, out: 0 };
    this.server.on('connection', (socket) =>
      socket.on('close', () => {
        this.wire.in += socket.bytesRead;
        this.wire.out += socket.bytesWritten;
      }),
    );
    return this;
  }

  /** Bytes to and from the line until now. */
  bytes() {
    const sum = { ...this.wire };
    for (const socket of this.sockets) {
      sum.in += socket.bytesRead;
      sum.out += socket.bytesWritten;
    }
    return sum;
  }

  answer(request, response) {
    response.setHeader('cross-origin-opener-policy', 'same-origin');
    response.setHeader('cross-origin-embedder-policy', 'require-corp');
    super.answer(request, response);
  }
}

/** A script for a page, minified; what a library loads later, if ever, is left out. */
export async function bundle(contents, options = {}) {
  const later = {
    name: 'later',
    setup: (build) => build.onResolve({ filter: /.*/ }, ({ kind, path }) => (kind === 'dynamic-import' ? { path, external: true } : undefined)),
  };
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: here, loader: 'js' }, bundle: true, minify: true, format: 'iife', target: 'es2020',
    write: false, legalComments: 'none', logLevel: 'error', plugins: [later], define: { 'process.env.NODE_ENV': '"production"' }, ...options,
  });
  return outputFiles[0].text;
}

export const gzipped = (text) => gzipSync(text, { level: 9 }).length;

export const versionOf = (name) => JSON.parse(readFileSync(`${here}node_modules/${name}/package.json`)).version;

/** Power cut: every process of the browser with this profile ends at once. */
export async function cutPower(profile, context) {
  for (const id of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
    try {
      if (readFileSync(`/proc/${id}/cmdline`, 'latin1').includes(`user-data-dir=${profile}`)) process.kill(+id, 'SIGKILL');
    } catch {}
  await context.close().catch(() => {});
  await sleep(200);
  rmSync(`${profile}/SingletonLock`, { force: true });
}

/** Waits until a moment. */
export const untilTime = (at) => sleep(Math.max(0, at - Date.now()));

/**
 * For a page: a clock that the page is moved by (`forward`), and the library's own timer, to be called as the clock says
 * (`turn`).
 */
export const simulatedTime = `(() => {
  const realNow = performance.now.bind(performance), set = setInterval;
  let ahead = 0;
  Date.now = () => Math.floor(performance.timeOrigin + performance.now());
  performance.now = () => realNow() + ahead;
  self.setInterval = (work, ms, ...more) => (ms === 5000 ? (self.turn = work, 1) : set(work, ms, ...more));
  self.forward = (ms) => (ahead += ms);
})();`;

/** A table in Markdown. */
export const table = (head, rows) =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

export const say = (text) => console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);

/** Runs jobs, at most so many at once. */
export async function pool(jobs, size) {
  const results = [];
  let next = 0;
  const worker = async () => {
    while (next < jobs.length) {
      const nth = next++;
      results[nth] = await jobs[nth]();
    }
  };
  await Promise.all(Array.from({ length: Math.min(size, jobs.length) }, worker));
  return results;
}
