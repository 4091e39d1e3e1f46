#!/usr/bin/env node
// Measures what connections cost that are open and say nothing: terminals post once a minute and keep theirs. Writes it
// into docs/load.md; `make connections` calls it.
//
//   node scripts/connections.mjs
//
// TILLWATCH     the program (default: built in the release profile)
// CONNECTIONS   connections that are opened (default 20000, or a thousand less than the system allows open files: each
//               connection is one here and one in the collector)
// LOAD_REPORT   the page that is written (default docs/load.md); empty: none

import { execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const ROOT = resolve(import.meta.dirname, '..');
const FILES = Number(execFileSync('bash', ['-c', 'ulimit -n'], { encoding: 'utf8' })) || 20_000;
const COUNT = Number(process.env.CONNECTIONS ?? Math.min(20_000, FILES - 1_000));
const REPORT = process.env.LOAD_REPORT ?? join(ROOT, 'docs/load.md');
/** Connections that are opened at once, and from one source address: an address has only so many ports. */
const AT_ONCE = 128;
const PER_ADDRESS = 10_000;
/** Batches whose answers are timed, and where the time of an answer is. */
const TIMED = 5_000;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function program() {
  if (process.env.TILLWATCH) return process.env.TILLWATCH;
  console.log('Building in the release profile (the first time takes minutes) …');
  execFileSync('cargo', ['build', '--release', '--locked', '--quiet', '--bin', 'tillwatch'], { cwd: ROOT, stdio: 'inherit' });
  return join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'release/tillwatch');
}

function batch(till, queue, seq) {
  const now = Date.now();
  const samples = Array.from({ length: 40 }, (_, number) => ({ m: 'lcp_ms', t: now - number * 1_000, v: 900 + number }));
  const body = JSON.stringify({ v: 1, sent_at_ms: now, store_id: `store-${till % 2_000}`, terminal_id: `till-${till}`, queue, seq, release: '2.4.1', consent: true, samples });
  return `POST /v1/batches HTTP/1.1\r\nHost: tillwatch\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

/** Sends a request and waits for its whole answer. */
function post(socket, request) {
  return new Promise((done, fail) => {
    let answer = '';
    const take = (bytes) => {
      answer += bytes.toString('latin1');
      const head = answer.indexOf('\r\n\r\n');
      const length = Number(/^content-length: *(\d+)/im.exec(answer)?.[1] ?? 0);
      if (head >= 0 && answer.length >= head + 4 + length) end(answer.startsWith('HTTP/1.1 202') ? undefined : new Error(`answered ${answer}`));
    };
    const gone = () => end(new Error('the connection was closed before the answer'));
    const end = (error) => {
      socket.off('data', take).off('close', gone);
      if (error) fail(error);
      else done();
    };
    socket.on('data', take).on('close', gone);
    if (socket.destroyed) gone();
    else socket.write(request);
  });
}

async function open(number, port) {
  const socket = connect({ host: '127.0.0.1', port, localAddress: `127.0.${1 + Math.floor(number / PER_ADDRESS)}.1`, noDelay: true });
  await once(socket, 'connect');
  // What goes wrong from now on closes it, and that is counted.
  socket.on('error', () => {});
  return socket;
}

/** p50, p99 and the longest of the answers on a connection of its own, ms. */
async function times(port) {
  const socket = await open(0, port);
  const queue = randomUUID();
  const found = [];
  for (let seq = 0; seq < TIMED; seq += 1) {
    const request = batch(0, queue, seq);
    const begun = process.hrtime.bigint();
    await post(socket, request);
    found.push(Number(process.hrtime.bigint() - begun) / 1e6);
  }
  socket.destroy();
  found.sort((left, right) => left - right);
  return [0.5, 0.99, 1].map((part) => found[Math.min(found.length - 1, Math.floor(part * found.length))].toFixed(2));
}

const folder = mkdtempSync(join(tmpdir(), 'tillwatch-connections-'));
const serve = spawn(program(), ['serve', '--data-dir', join(folder, 'data'), '--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0'], {
  env: { ...process.env, TILLWATCH_CONNECTIONS_MAX: String(COUNT + 1_000), TILLWATCH_IDLE_TIMEOUT: '10m' },
  stdio: ['ignore', 'pipe', 'pipe'],
});
serve.stderr.pipe(createWriteStream(join(folder, 'log')));
process.on('exit', () => serve.kill('SIGKILL'));
const status = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${serve.pid}/status`, 'utf8'))[1]);
const resident = () => status('VmRSS');

const ready = Promise.race([once(createInterface(serve.stdout), 'line'), once(serve, 'exit')]);
const [line] = await ready;
const port = Number(/ ingest=\S+:(\d+) /.exec(line)?.[1] ?? 0);
if (!port) throw new Error(`tillwatch did not start:\n${readFileSync(join(folder, 'log'), 'utf8')}`);

const alone = await times(port);
await sleep(3_000);
const before = resident();
console.log(`Opening ${COUNT} connections …`);
const sockets = [];
let ended = 0;
const begun = Date.now();
while (sockets.length < COUNT) {
  const from = sockets.length;
  const some = Array.from({ length: Math.min(AT_ONCE, COUNT - from) }, (_, at) => open(from + at, port));
  for (const socket of await Promise.all(some)) {
    socket.on('close', () => (ended += 1));
    socket.resume();
    sockets.push(socket);
  }
}
const opened_s = ((Date.now() - begun) / 1_000).toFixed(1);
await sleep(3_000);
const silent = resident();
// Each posts its minute's batch, and is silent from then on.
for (let from = 0; from < COUNT; from += AT_ONCE) {
  const some = sockets.slice(from, from + AT_ONCE);
  await Promise.all(some.map((socket, at) => post(socket, batch(from + at, randomUUID(), 0))));
}
await sleep(3_000);
const posted = resident();
const beside = await times(port);
const closed = ended;
serve.kill('SIGTERM');
const [code] = await once(serve, 'exit');
rmSync(folder, { recursive: true, force: true });

const kib = (bytes) => `${((bytes * 1024) / COUNT / 1_000).toFixed(1)} kB each`;
const MB = (kibibytes) => `${((kibibytes * 1024) / 1e6).toFixed(0)} MB`;
const section = [
  '| expected | found | |',
  '|---|---|---|',
  `| every connection stays open | ${closed} of ${COUNT} were closed | ${closed === 0 ? 'met' : 'not met'} |`,
  '',
  '| measured | |',
  '|---|---|',
  `| machine | ${availableParallelism()} processors, ${process.platform}, the clients beside the collector, release build |`,
  `| connections opened | ${COUNT} in ${opened_s} s; ${FILES} open files are allowed |`,
  `| memory of \`serve\` before | ${MB(before)} |`,
  `| with all of them open, none used yet | ${MB(silent)}: ${kib(silent - before)} |`,
  `| after each has posted one batch of its own terminal | ${MB(posted)}: ${kib(posted - before)}, of which the terminal, its queue, its open rows and its live series are a part |`,
  `| answers to one more terminal without them | p50 ${alone[0]} ms, p99 ${alone[1]} ms, longest ${alone[2]} ms (${TIMED} batches) |`,
  `| the same while they are open | p50 ${beside[0]} ms, p99 ${beside[1]} ms, longest ${beside[2]} ms |`,
].join('\n');
console.log(section);
if (REPORT) {
  const page = readFileSync(REPORT, 'utf8');
  const marked = /(<!-- begin connections -->\n)[\s\S]*?(<!-- end connections -->)/;
  if (!marked.test(page)) throw new Error(`${REPORT} has no place for it`);
  writeFileSync(REPORT, page.replace(marked, (_, begin, end) => `${begin}${section}\n${end}`));
}
process.exit(closed === 0 && code === 0 ? 0 : 1);
