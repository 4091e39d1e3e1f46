// A running simulated day: tillwatch with its embedded engine, a simulated fleet with a week behind it, and a
// Prometheus that scrapes both endpoints. Ports are free ones; everything is gone when `stop` returns.

import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync, createWriteStream } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { AVAILABLE } from '../src/upcoming.mjs';

const ROOT = resolve(import.meta.dirname, '../..');

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Runs `probe` until it gives something true; fails after `seconds`, saying `what`. */
export async function until(what, seconds, probe) {
  const deadline = Date.now() + seconds * 1000;
  let last;
  for (;;) {
    try {
      const found = await probe();
      if (found) return found;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`after ${seconds} s still not: ${what}${last ? ` (${last.message})` : ''}`);
    await sleep(300);
  }
}

function freePort() {
  return new Promise((done, fail) => {
    const server = createServer();
    server.on('error', fail);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

/** Where the collector's embedded engine is: it writes this file for this user alone. */
export function readEndpoint(dataDir) {
  const [url, user, password] = readFileSync(join(dataDir, 'clickhouse.endpoint'), 'utf8').split('\n');
  return { url, user, password };
}

/**
 * Starts all of it. `fleet` are options of `tillwatch simulate`; `changeFleet` replaces the fleet by one with other
 * options. `rules` is a folder of alert rules; it may be missing. `folder` keeps data and logs; without one a
 * temporary folder is made, and removed by `stop`.
 */
export async function startStack({ fleet, scrapeSeconds, rules = join(ROOT, 'alerts/rules'), folder }) {
  const home = folder ?? mkdtempSync(join(tmpdir(), 'tillwatch-dashboards-'));
  mkdirSync(home, { recursive: true });
  const children = [];
  const begin = (name, program, args, env = {}) => {
    const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    child.output = '';
    child.stdout.on('data', (text) => (child.output = (child.output + text).slice(-20_000)));
    const log = createWriteStream(join(home, `${name}.log`));
    child.stderr.pipe(log);
    child.name = name;
    child.on('error', (error) => (child.failed = error));
    children.push(child);
    return child;
  };
  const alive = (child) => {
    if (child.failed) throw child.failed;
    if (child.exitCode !== null) throw new Error(`${child.name} ended with ${child.exitCode}; its log is ${home}/${child.name}.log`);
  };
  const end = async (child) => {
    if (child.exitCode !== null || child.signalCode !== null || child.failed) return;
    const ended = new Promise((done) => child.once('exit', done));
    child.kill('SIGTERM');
    await Promise.race([ended, sleep(20_000)]);
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  };
  // However this process ends, nothing of it goes on; stopped by a person it exits at once.
  const killAll = () => children.forEach((child) => child.kill('SIGTERM'));
  const signals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };
  const leave = Object.entries(signals).map(([signal, code]) => [signal, () => process.exit(code)]);
  process.on('exit', killAll);
  leave.forEach(([signal, exit]) => process.once(signal, exit));
  const stop = async () => {
    process.off('exit', killAll);
    leave.forEach(([signal, exit]) => process.off(signal, exit));
    // The fleet before the collector, Prometheus at any time.
    for (const child of children.reverse()) await end(child);
    if (!folder) rmSync(home, { recursive: true, force: true });
  };
  try {
    const program = process.env.STACK_PROGRAM ?? join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'debug/tillwatch');
    if (!existsSync(program)) throw new Error(`${program} is missing: cargo build --bin tillwatch`);
    const dataDir = join(home, 'data');
    const backupDir = join(home, 'backups');
    mkdirSync(backupDir, { recursive: true });
    const serve = begin('serve', program, ['serve', '--data-dir', dataDir, '--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0'], {
      TILLWATCH_SEAL_INTERVAL: '10s',
      TILLWATCH_BACKUP_DIR: backupDir,
      // Hours are summed up when they have been quiet for so long.
      ...(AVAILABLE.hourly ? { TILLWATCH_REBUILD_QUIET: '5s' } : {}),
    });
    const ready = await until('tillwatch is ready', 60, () => {
      alive(serve);
      return /^tillwatch ready ingest=(\S+) admin=(\S+)/m.exec(serve.output);
    });
    const [, ingest, admin] = ready;
    const post = (options) => begin('fleet', program, ['simulate', '--url', ingest, '--forever', '--quiet', '--drain', '2s', ...options]);
    let simulate = post(fleet);
    const changeFleet = async (options) => {
      await end(simulate);
      children.splice(children.indexOf(simulate), 1);
      simulate = post(options);
    };

    // The rules ask for it: without one they would say, rightly, that nobody is told.
    const alertmanager = await freePort();
    writeFileSync(join(home, 'alertmanager.yml'), 'route: {receiver: nobody}\nreceivers: [{name: nobody}]\n');
    begin('alertmanager', 'prometheus-alertmanager', [
      `--config.file=${join(home, 'alertmanager.yml')}`,
      `--storage.path=${join(home, 'alertmanager')}`,
      `--web.listen-address=127.0.0.1:${alertmanager}`,
      '--cluster.listen-address=',
    ]);

    const port = await freePort();
    const ruleFiles = rules && existsSync(rules) ? readdirSync(rules).filter((name) => name.endsWith('.yml')) : [];
    const target = admin.replace('http://', '');
    writeFileSync(
      join(home, 'prometheus.yml'),
      [
        `global: {scrape_interval: ${scrapeSeconds}s, evaluation_interval: ${scrapeSeconds}s}`,
        ...(ruleFiles.length > 0 ? ['rule_files:', ...ruleFiles.map((name) => `  - ${join(rules, name)}`)] : []),
        `alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:${alertmanager}"]}]}]}`,
        'scrape_configs:',
        `  - {job_name: tillwatch, static_configs: [{targets: ["${target}"]}]}`,
        `  - {job_name: tillwatch-fleet, metrics_path: /metrics/fleet, static_configs: [{targets: ["${target}"]}]}`,
        `  - {job_name: prometheus, static_configs: [{targets: ["127.0.0.1:${port}"]}]}`,
        `  - {job_name: alertmanager, static_configs: [{targets: ["127.0.0.1:${alertmanager}"]}]}`,
        '',
      ].join('\n'),
    );
    const prometheusProcess = begin('prometheus', 'prometheus', [
      `--config.file=${join(home, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(home, 'prometheus')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ]);
    const prometheus = `http://127.0.0.1:${port}`;
    await until('Prometheus is ready', 30, async () => {
      alive(prometheusProcess);
      return (await fetch(`${prometheus}/-/ready`)).ok;
    });
    await until('both endpoints are scraped', 60, async () => {
      alive(serve);
      alive(simulate);
      const answer = await fetch(`${prometheus}/api/v1/query?query=${encodeURIComponent('sum(up{job=~"tillwatch.*"})')}`);
      return Number((await answer.json()).data.result[0]?.value[1]) === 2;
    });
    const clickhouse = await until('the engine says where it is', 60, () => readEndpoint(dataDir));
    return { home, admin, ingest, prometheus, clickhouse, changeFleet, stop, check: () => [serve, simulate, prometheusProcess].forEach(alive) };
  } catch (error) {
    await stop();
    throw error;
  }
}
