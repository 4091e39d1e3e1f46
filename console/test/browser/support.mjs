// What the tests of the console in a browser need beside the collector and Chromium of the terminal's library: tills that post,
// pages that write down whatever is said and asked, and numbers as the console writes them.
import { spawn } from 'node:child_process';
import { createServer, Agent, request } from 'node:http';
import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { browser as launch, Collector, folder, program, sleep, until } from '../../../sdk/test/browser/support.mjs';
import { pure } from '../pure.mjs';

export { Collector, folder, program, pure, sleep, until };

const agent = new Agent({ keepAlive: true, maxSockets: 8 });

/** A till with a queue of its own. */
export class Till {
  constructor(collector, store_id, terminal_id = 'till-1', more = {}) {
    Object.assign(this, { collector, more, batch: { store_id, terminal_id, release: '2.4.1' }, queue: randomUUID(), seq: 0 });
  }

  /** Gives when the answer came, by the clock of this machine. */
  post(content) {
    this.seq += 1;
    const sent_at_ms = Date.now();
    const { hostname, port } = new URL(this.collector.url);
    const text = JSON.stringify({ v: 1, sent_at_ms, ...this.batch, queue: this.queue, seq: this.seq, consent: true, ...content });
    return new Promise((resolve, reject) => {
      const asked = request({ hostname, port, path: '/v1/batches', method: 'POST', agent, headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...this.more } }, (answer) => {
        const t = Date.now();
        let said = '';
        answer.on('data', (data) => (said += data));
        answer.on('end', () => (answer.statusCode === 202 && !/"rejected":[1-9]/.test(said) ? resolve(t) : reject(new Error(`answered ${answer.statusCode}: ${said}`))));
      });
      asked.on('error', reject);
      asked.end(text);
    });
  }
}

/** `n` samples of a metric, of now. */
export const samples = (m, values, more = {}) => values.map((v) => ({ m, t: Date.now(), v, connection: 'online', ...more }));
/** A batch of a till that is well. */
export const well = (n = 24) => [
  ...samples('sync_duration_ms', Array.from({ length: n }, (_, i) => 400 + i * 7)), ...samples('sync_attempts', Array(n).fill(1), { label: 'success' }),
  ...samples('lcp_ms', Array.from({ length: n }, (_, i) => 900 + i * 11)), ...samples('network_latency_ms', Array.from({ length: n }, (_, i) => 30 + i)),
  ...samples('pending_transactions', [3]), ...samples('memory_used_mb', [41.5]),
];

export async function api(collector, path, headers = {}) {
  const answer = await fetch(`${collector.adminUrl}/api/v1/${path}`, { headers });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

/**
 * Where the pages of a collector are. CONSOLE_DIST=1 takes the files of console/dist in place of those that were built into it, so that
 * nothing has to be compiled for a look at what has changed.
 */
export const pagesOf = async (collector) => (process.env.CONSOLE_DIST ? new Passage(collector).start() : { url: collector.adminUrl, stop: async () => {} });

/** A browser without a past. */
export class Browser {
  async start(options = {}) {
    this.profile = folder('console');
    this.context = await launch(this.profile, { viewport: { width: 1440, height: 900 }, locale: 'en-GB', timezoneId: 'Europe/Berlin', ...options });
    this.said = [];
    this.asked = [];
    this.context.on('request', (request) => this.asked.push(request.url()));
    return this;
  }

  async open(url) {
    const page = await this.context.newPage();
    page.on('console', (message) => this.said.push(`${message.type()}: ${message.text()}`));
    page.on('pageerror', (error) => this.said.push(`error: ${error.message}`));
    page.on('dialog', (dialog) => { this.said.push(`dialog: ${dialog.message()}`); void dialog.dismiss(); });
    await page.goto(url);
    return page;
  }

  /** What is asked of other hosts than these. */
  strangers(...hosts) {
    return this.asked.filter((url) => !/^(data|blob):/.test(url) && !hosts.includes(new URL(url).host));
  }

  async stop() {
    await this.context?.close();
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

export const isLive = (page) => page.waitForFunction(() => document.querySelector('.live')?.textContent === 'Live', null, { timeout: 30_000 });

const dist = new URL('../../dist/', import.meta.url);
/** Passes everything on to the collector, but for the files of console/dist if they are wanted, and knows which streams are open. */
export class Passage {
  constructor(collector) {
    this.collector = collector;
    this.open = new Set();
    this.begun = 0;
    this.sockets = new Set();
  }

  async start() {
    // The policy and whatever else is said of a page are the collector's.
    const said = Object.fromEntries((await fetch(this.collector.adminUrl + '/')).headers);
    for (const name of ['content-length', 'content-encoding', 'content-type', 'cache-control', 'etag', 'transfer-encoding', 'date', 'connection', 'keep-alive']) delete said[name];
    this.server = createServer((query, answer) => {
      if (process.env.CONSOLE_DIST) {
        const { views, files } = JSON.parse(readFileSync(new URL('files.json', dist), 'utf8'));
        const name = new URL(query.url, 'http://localhost').pathname.slice(1);
        const file = files.find((one) => one.name === (views.includes(name) ? 'index.html' : name));
        if (file) return void answer.writeHead(200, { ...said, 'content-type': file.content_type, 'cache-control': 'no-store' }).end(readFileSync(new URL(file.name, dist)));
      }
      const to = new URL(this.collector.adminUrl);
      const onward = request({ hostname: to.hostname, port: to.port, method: query.method, path: query.url, headers: query.headers }, (found) => {
        answer.writeHead(found.statusCode, found.headers);
        answer.flushHeaders();
        found.pipe(answer);
        found.on('error', () => answer.destroy());
      });
      if (query.url.startsWith('/api/v1/live')) {
        this.begun += 1;
        this.open.add(answer);
      }
      onward.on('error', () => (answer.headersSent ? answer.destroy() : answer.writeHead(502).end()));
      answer.on('close', () => {
        this.open.delete(answer);
        onward.destroy();
      });
      query.pipe(onward);
    });
    this.server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
    await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${this.server.address().port}`;
    return this;
  }

  async stop() {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** A program of Node that says `ready` once it is. */
export async function helper(file, args, say = 'ready', env = {}) {
  const child = spawn(process.execPath, [new URL(file, import.meta.url).pathname, ...args.map(String)], { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...env } });
  let out = '';
  child.stdout.on('data', (data) => (out += data));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  await until(() => {
    if (child.exitCode !== null) throw new Error(`${file} ended: ${out}`);
    return out.includes(say);
  }, `${file} to say ${say}`, 60_000);
  return { out: () => out, pid: child.pid, stop: async () => { child.kill(); await ended; } };
}

/** A port that nobody listens on. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export const at = (values, part) => [...values].sort((one, other) => one - other)[Math.min(values.length - 1, Math.floor(values.length * part))];
