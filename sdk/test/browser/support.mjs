// What the tests in a browser need: a real collector, a line to it that can be cut, and Chromium.
import { spawn } from 'node:child_process';
import { createServer, request as httpRequest } from 'node:http';
import { mkdtempSync, readFileSync, rmSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const root = new URL('../../..', import.meta.url).pathname;

/** The program: STACK_PROGRAM, or the one that the tests of Rust have built. */
export const program = process.env.STACK_PROGRAM || join(process.env.CARGO_TARGET_DIR || join(root, 'target'), 'debug/tillwatch');

export const folder = (name) => mkdtempSync(join(tmpdir(), `tillwatch-${name}-`));

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `what` gives something, and gives it. */
export async function until(what, say, ms = 30_000) {
  const end = Date.now() + ms;
  let last;
  while (Date.now() < end) {
    try {
      last = await what();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    await sleep(100);
  }
  throw new Error(`waited ${ms} ms in vain for ${say}; last: ${last}`);
}

/** Waits until the page has painted `n` candidates for its largest element: an input before that would end the search. */
export const painted = (page, n = 1) =>
  page.evaluate(
    (n) =>
      new Promise((resolve) => {
        let seen = 0;
        new PerformanceObserver((list) => (seen += list.getEntries().length) >= n && resolve()).observe({ type: 'largest-contentful-paint', buffered: true });
      }),
    n,
  );

/** A collector with the embedded engine. It keeps its data and its ports over `kill()` and `start()`. */
export class Collector {
  constructor(settings = {}) {
    this.data = folder('collector');
    this.settings = settings;
    this.listen = this.admin = '127.0.0.1:0';
  }

  async start() {
    this.process = spawn(program, ['serve'], {
      cwd: root,
      env: {
        ...process.env,
        TILLWATCH_DATA_DIR: this.data,
        TILLWATCH_LISTEN: this.listen,
        TILLWATCH_ADMIN_LISTEN: this.admin,
        TILLWATCH_SEAL_INTERVAL: '1s',
        ...this.settings,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    this.log = '';
    this.process.stdout.on('data', (data) => (out += data));
    this.process.stderr.on('data', (data) => (this.log = (this.log + data).slice(-20_000)));
    const ready = await until(() => {
      if (this.process.exitCode !== null) return { ended: this.process.exitCode };
      return /^tillwatch ready .*ingest=(\S+).*admin=(\S+)/m.exec(out);
    }, 'the collector', 60_000).catch((error) => {
      throw new Error(error.message + '\n' + this.log);
    });
    if (!Array.isArray(ready)) throw new Error(`it ended with ${ready.ended}\n${this.log}`);
    [, this.url, this.adminUrl] = ready;
    this.listen = new URL(this.url).host;
    this.admin = new URL(this.adminUrl).host;
    return this;
  }

  async kill(signal = 'SIGKILL') {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill(signal);
    await ended;
  }

  async stop() {
    if (this.process?.exitCode === null && !this.process.killed) await this.kill('SIGTERM');
    rmSync(this.data, { recursive: true, force: true });
  }

  /** Rows of an SQL statement, as ClickHouse has them. */
  async sql(statement) {
    const child = spawn(program, ['sql', '--data-dir', this.data, '--format', 'JSONEachRow', statement], { cwd: root });
    let out = '';
    let err = '';
    child.stdout.on('data', (data) => (out += data));
    child.stderr.on('data', (data) => (err += data));
    const code = await new Promise((resolve) => child.on('exit', resolve));
    if (code) throw new Error(err);
    return out.trim().split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }

  /** How often each value below 2,048 of a metric was counted: below that a bucket is one value. */
  async values(metric, store) {
    const rows = await this.sql(
      `SELECT value, sum(n) AS n FROM (SELECT arrayJoin(arrayZip(hist.1, hist.2)) AS pair, pair.1 AS value, pair.2 AS n
       FROM v_rollup_1m WHERE metric = '${metric}' AND store_id = '${store}') GROUP BY value ORDER BY value`,
    );
    return new Map(rows.map(({ value, n }) => [Number(value), Number(n)]));
  }

  async totals(store) {
    const rows = await this.sql(
      `SELECT metric, label, toUInt64(sum(count)) AS count, toUInt64(sum(sum)) AS sum FROM v_rollup_1m ${store ? `WHERE store_id = '${store}'` : ''} GROUP BY metric, label`,
    );
    return new Map(rows.map(({ metric, label, count, sum }) => [label ? `${metric} ${label}` : metric, { count: Number(count), sum: Number(sum) }]));
  }
}

/** The line between page and collector: serves pages and passes on what begins with `through`, as long as it is open. */
export class Line {
  constructor(collector, files = {}, through = '/v1/') {
    this.collector = collector;
    this.through = through;
    this.files = files;
    /** 'open', 'cut' (no answer), '503', 'lost' (the collector gets it, the page gets no answer), 'login' (a foreign page) */
    this.mode = 'open';
    this.posts = [];
    this.sockets = new Set();
  }

  async start(port = 0) {
    this.server = createServer((request, response) => this.answer(request, response));
    this.server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
    await new Promise((resolve) => this.server.listen(port, '127.0.0.1', resolve));
    this.url = `http://localhost:${this.server.address().port}`;
    return this;
  }

  answer(request, response) {
    const { pathname } = new URL(request.url, this.url);
    if (!pathname.startsWith(this.through)) {
      const file = this.files[pathname];
      if (file === undefined) return void response.writeHead(404).end();
      const type = pathname.endsWith('.js') ? 'text/javascript' : 'text/html';
      return void response.writeHead(200, { 'content-type': type + '; charset=utf-8', 'cache-control': 'no-store' }).end(file);
    }
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('error', () => {});
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      const mode = typeof this.mode === 'function' ? this.mode(request, body) : this.mode;
      this.posts.push({ at: Date.now(), path: request.url, bytes: body.length, mode, head: request.headers, body });
      if (mode === 'cut') return void request.socket.destroy();
      if (mode === '503') return void response.writeHead(503, { 'content-type': 'text/plain' }).end('unavailable');
      if (mode === 'login') return void response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Please log in</h1>');
      const { host, connection, ...headers } = request.headers;
      const onward = httpRequest(this.collector.url + request.url, { method: request.method, headers }, (answer) => {
        const parts = [];
        answer.on('data', (part) => parts.push(part));
        answer.on('end', () => {
          if (mode === 'lost') return void request.socket.destroy();
          response.writeHead(answer.statusCode, answer.headers).end(Buffer.concat(parts));
        });
      });
      onward.on('error', () => request.socket.destroy());
      onward.end(body);
    });
  }

  async stop() {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

export const script = () => readFileSync(join(root, 'sdk/dist/tillwatch.js'), 'utf8');

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

export const chromiumPath = process.env.CHROMIUM || ['/usr/bin/chromium', '/usr/bin/google-chrome', '/usr/bin/chromium-browser'].find((path) => existsSync(path));

/** A browser with a profile that lasts. */
export async function browser(profile, options = {}) {
  if (!chromiumPath) throw new Error('Chromium is missing: install it, or name it in CHROMIUM.');
  return chromium.launchPersistentContext(profile, { executablePath: chromiumPath, headless: true, args: FLAGS, ...options });
}
