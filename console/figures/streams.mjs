#!/usr/bin/env node
// What terminals notice of many open streams: posts batches at a steady rate to a collector of its own, in turns without and with
// readers, and prints how long the answers took, and which share of a processor each program used. `make console-streams` runs it.
//
// STREAMS (1000), STORES (2000), RATE (333 batches a second), ROUNDS (40), SECONDS (4 a round). The readers stand for other machines,
// so the processor is theirs only when nobody else wants it; READERS (`chrt --idle 0`) is the program that runs them.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { FleetLoad } from '../test/browser/fleet_load.mjs';
import { Collector } from '../../sdk/test/browser/support.mjs';

const number = (name, otherwise) => Number(process.env[name] ?? otherwise);
const [streams, stores, rate, rounds, seconds] = [number('STREAMS', 1000), number('STORES', 2000), number('RATE', 333), number('ROUNDS', 40), number('SECONDS', 4)];
const [under, ...how] = (process.env.READERS ?? 'chrt --idle 0').split(' ');
const collector = await new Collector({ TILLWATCH_SEAL_INTERVAL: '5m', TILLWATCH_LOG_LEVEL: 'error' }).start();
const admin = new URL(collector.adminUrl);
const fleet = new FleetLoad(collector.url, stores, { measurements: 20, values: [50, 2050], sockets: 64 });

/** Seconds of a processor that a program has used. */
function used(pid) {
  const [user, system] = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/\(.*\)/, 'x').split(' ').slice(13, 15);
  return (Number(user) + Number(system)) / 100;
}

async function load(ms) {
  const [times, all] = [[], []];
  const begin = performance.now();
  await fleet.run(rate, () => performance.now() - begin > ms, (posted) => all.push(posted.then((took) => times.push(took))));
  await Promise.all(all);
  return times;
}

const at = (times, part) => [...times].sort((one, other) => one - other)[Math.min(times.length - 1, Math.floor(times.length * part))];

async function readers() {
  const child = spawn(under, [...how, process.execPath, new URL('readers.mjs', import.meta.url).pathname, admin.hostname, admin.port, String(streams)], { stdio: ['ignore', 'pipe', 'inherit'] });
  child.bytes = [];
  let text = '';
  // What is told first, the whole fleet, has come after a second or two.
  await new Promise((resolve) => child.stdout.on('data', (data) => {
    text += data;
    for (const found of String(data).matchAll(/bytes (\d+)/g)) child.bytes.push(Number(found[1]));
    if (child.bytes.length >= 3) resolve();
  }));
  child.open = Number(/open (\d+)/.exec(text)[1]);
  return child;
}

/** Shares of a processor that the collector, the load and the readers use meanwhile. */
async function shares(work, ...pids) {
  const before = pids.map(used);
  const began = performance.now();
  const times = await work();
  const took = (performance.now() - began) / 1_000;
  return { times, shares: pids.map((pid, i) => (used(pid) - before[i]) / took) };
}

try {
  await load(Math.max(5_000, (stores / rate) * 1_000)); // Each store has reported once, and everything is warm.
  const found = { without: [], with: [] };
  const shared = { without: [], with: [] };
  let [bytes, open] = [[], 0];
  const late = { without: [], with: [] };
  const note = (name, { times, shares }) => { found[name].push(...times); shared[name].push(shares); late[name].push(at(times, 0.99)); };
  for (let round = 0; round < rounds; round += 1) {
    note('without', await shares(() => load(seconds * 1_000), collector.process.pid, process.pid));
    const child = await readers();
    open = child.open;
    note('with', await shares(() => load(seconds * 1_000), collector.process.pid, process.pid, child.pid));
    bytes = bytes.concat(child.bytes.slice(3));
    child.kill();
    await new Promise((resolve) => child.once('exit', resolve));
  }
  const mean = (name, which) => ((shared[name].reduce((sum, some) => sum + some[which], 0) / rounds) * 100).toFixed(0);
  for (const [name, times] of Object.entries(found)) {
    const who = ['collector', 'load', 'readers'].slice(0, shared[name][0].length);
    console.log(`${name.padEnd(8)} p50 ${at(times, 0.5).toFixed(2)} ms, p99 ${at(times, 0.99).toFixed(2)} ms of ${times.length} posts; of a processor: ${who.map((one, i) => `${one} ${mean(name, i)} %`).join(', ')}`);
  }
  // One slow moment of the disk is in one round only.
  const usual = (name) => at(late[name], 0.5);
  console.log(`${open} streams of ${stores} stores at ${rate} batches a second: ${(bytes.reduce((sum, one) => sum + one, 0) / Math.max(1, bytes.length) / 1e6).toFixed(1)} MB a second in all (${cpus().length} processors)`);
  console.log(`p99 of a round, the median of ${rounds}: ${usual('without').toFixed(2)} ms without, ${usual('with').toFixed(2)} ms with, ×${(usual('with') / usual('without')).toFixed(2)}`);
} finally {
  fleet.stop();
  await collector.stop();
}
