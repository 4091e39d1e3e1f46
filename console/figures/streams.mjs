#!/usr/bin/env node
// What terminals notice of many open streams: posts batches at a steady rate to a collector of its own, in turns without and with
// readers, and prints how long the answers took. `make console-streams` runs it.
//
// STREAMS (1000), STORES (2000), RATE (333 batches a second), ROUNDS (4), SECONDS (15 a round)
import { spawn } from 'node:child_process';
import { Agent, request } from 'node:http';
import { randomUUID } from 'node:crypto';
import { cpus } from 'node:os';
import { Collector } from '../../sdk/test/browser/support.mjs';

const number = (name, otherwise) => Number(process.env[name] ?? otherwise);
const [streams, stores, rate, rounds, seconds] = [number('STREAMS', 1000), number('STORES', 2000), number('RATE', 333), number('ROUNDS', 4), number('SECONDS', 15)];
const collector = await new Collector({ TILLWATCH_SEAL_INTERVAL: '5m', TILLWATCH_LOG_LEVEL: 'error' }).start();
const ingest = new URL(collector.url);
const admin = new URL(collector.adminUrl);
const agent = new Agent({ keepAlive: true, maxSockets: 64 });
const queues = Array.from({ length: stores }, () => ({ queue: randomUUID(), seq: 0 }));

function body(at) {
  const queue = queues[at];
  queue.seq += 1;
  const t = Date.now();
  const samples = [];
  for (let i = 0; i < 20; i += 1) samples.push({ m: ['sync_duration_ms', 'lcp_ms', 'inp_ms', 'network_latency_ms'][i % 4], t, v: 50 + Math.floor(Math.random() * 2000), connection: 'online' });
  return JSON.stringify({ v: 1, sent_at_ms: t, store_id: `store-${at}`, terminal_id: 'till-1', queue: queue.queue, seq: queue.seq, release: '2.4.1', consent: true, samples });
}

const post = (at) => new Promise((resolve, reject) => {
  const text = body(at);
  const began = performance.now();
  const asked = request({ host: ingest.hostname, port: ingest.port, path: '/v1/batches', method: 'POST', agent, headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) } }, (answer) => {
    answer.resume();
    answer.on('end', () => (answer.statusCode === 202 ? resolve(performance.now() - began) : reject(new Error(`answered ${answer.statusCode}`))));
  });
  asked.on('error', reject);
  asked.end(text);
});

let next = 0;
async function load(ms) {
  const times = [];
  const all = [];
  const begin = performance.now();
  for (let sent = 0; performance.now() - begin < ms; ) {
    // So many as are due by now.
    for (; sent < ((performance.now() - begin) / 1000) * rate; sent += 1) all.push(post(next++ % stores).then((took) => times.push(took)));
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await Promise.all(all);
  return times;
}

const at = (times, part) => [...times].sort((one, other) => one - other)[Math.min(times.length - 1, Math.floor(times.length * part))];

async function readers() {
  const child = spawn('nice', ['-n', '5', process.execPath, new URL('readers.mjs', import.meta.url).pathname, admin.hostname, admin.port, String(streams)], { stdio: ['ignore', 'pipe', 'inherit'] });
  child.bytes = [];
  let text = '';
  await new Promise((resolve) => child.stdout.on('data', (data) => {
    text += data;
    for (const found of String(data).matchAll(/bytes (\d+)/g)) child.bytes.push(Number(found[1]));
    if (/open \d+/.test(text)) resolve();
  }));
  child.open = Number(/open (\d+)/.exec(text)[1]);
  return child;
}

try {
  await load(Math.max(5_000, (stores / rate) * 1_000)); // Each store has reported once, and everything is warm.
  const found = { without: [], with: [] };
  let [bytes, open] = [[], 0];
  for (let round = 0; round < rounds; round += 1) {
    found.without.push(...await load(seconds * 1_000));
    const child = await readers();
    open = child.open;
    found.with.push(...await load(seconds * 1_000));
    bytes = bytes.concat(child.bytes.slice(1));
    child.kill();
    await new Promise((resolve) => child.once('exit', resolve));
  }
  for (const [name, times] of Object.entries(found)) console.log(`${name.padEnd(8)} p50 ${at(times, 0.5).toFixed(2)} ms, p99 ${at(times, 0.99).toFixed(2)} ms of ${times.length} posts`);
  console.log(`${open} streams of ${stores} stores at ${rate} batches a second: ${(bytes.reduce((sum, one) => sum + one, 0) / Math.max(1, bytes.length) / 1e6).toFixed(1)} MB a second in all; p99 ×${(at(found.with, 0.99) / at(found.without, 0.99)).toFixed(2)} (${cpus().length} processors)`);
} finally {
  agent.destroy();
  await collector.stop();
}
