// The probe as an operator runs it: at the example till, in Chromium, with a real collector. This machine may be busy, so
// limits are lenient and everything is waited for.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { Collector, Line, chromiumPath, folder, until } from '../../../sdk/test/browser/support.mjs';
import { startShop } from '../../../examples/till/server.mjs';
import { FAMILIES } from '../../src/metrics.mjs';
import { PROBE_SERIES } from '../../../dashboards/src/catalogue.mjs';

const bin = fileURLToPath(new URL('../../bin/tillwatch-probe.mjs', import.meta.url));
const shipped = fileURLToPath(new URL('../../scenarios/', import.meta.url));
const collector = new Collector();
let shop;

before(async () => {
  await collector.start();
  shop = await startShop({ collector: collector.url, admin: collector.adminUrl });
});
after(async () => {
  await shop?.stop();
  await collector.stop();
});

/** A folder of a test's own, with scenarios in it. */
function home(t, scenarios = {}) {
  const made = folder('probe');
  t.after(() => rmSync(made, { recursive: true, force: true }));
  for (const name in scenarios) writeFileSync(join(made, `${name}.json`), JSON.stringify({ name, ...scenarios[name] }));
  return made;
}

/** Starts a probe. What it says can be waited for, and its end. */
function start(at, scenarios, ...more) {
  const args = ['run', ...scenarios, '--url', shop.url, '--browser', chromiumPath, '--data-dir', join(at, 'data'), ...more];
  const temporary = join(at, 'temporary');
  mkdirSync(temporary, { recursive: true });
  const child = spawn(process.execPath, [bin, ...args], { cwd: at, env: { ...process.env, TMPDIR: temporary }, stdio: ['ignore', 'pipe', 'pipe'] });
  const probe = { child, out: '', log: '' };
  child.stdout.on('data', (data) => (probe.out += data));
  child.stderr.on('data', (data) => (probe.log += data));
  probe.ended = new Promise((resolve) => child.on('close', resolve));
  return probe;
}

/** Runs one to its end, and says what came of it. */
async function run(t, ...args) {
  const probe = start(...args);
  t.after(() => probe.child.kill('SIGKILL'));
  const status = await probe.ended;
  // An hourly probe would fill the disk with what each of its browsers leaves.
  assert.deepEqual(readdirSync(join(args[0], 'temporary')), []);
  return { status, log: probe.log };
}

/** What the collector has of a store: rows by source and metric with their counts. */
async function arrived(store) {
  const rows = await collector.sql(`SELECT source, metric, toUInt64(sum(count)) AS n FROM v_rollup_1m WHERE store_id = '${store}' GROUP BY source, metric ORDER BY metric`);
  return Object.fromEntries(rows.map(({ source, metric, n }) => [`${source} ${metric}`, Number(n)]));
}
const untilArrived = (store, wanted) =>
  until(async () => {
    const found = await arrived(store);
    assert.deepEqual(found, wanted);
    return true;
  }, `what ${store} should have`, 60_000);

/** The till can be seen: short, and hard to get wrong. */
const SEE = { steps: [{ goto: '/' }, { mark: 'begun' }, { wait: '#pin' }, { measure: 'seen', from: 'begun', metric: 'page_load_ms' }] };

test('the four scenarios that are shipped pass, and nothing of them counts as a real user', async (t) => {
  const at = home(t);
  // A tenth of the transactions: what differs is the time that it takes.
  const memory = JSON.parse(readFileSync(join(shipped, 'memory_1000.json'), 'utf8'));
  memory.steps.find(({ repeat }) => repeat).repeat = 100;
  writeFileSync(join(at, 'memory.json'), JSON.stringify(memory));
  const scenarios = ['login', 'sync_100', 'offline_and_back'].map((name) => join(shipped, `${name}.json`));
  const { status, log } = await run(t, at, [...scenarios, join(at, 'memory.json')], '--collector', collector.url, '--store', 'probed', '--once', '--limit-factor', '20', '--retries', '2');
  assert.equal(status, 0, log);
  await untilArrived('probed', { 'synthetic memory_used_mb': 1, 'synthetic offline_login_duration_ms': 1, 'synthetic reconnect_to_synced_ms': 1, 'synthetic sync_100_duration_ms': 1 });
  // The till's own library has tried to post while it was probed, and the collector has got nothing but the probe's batches.
  const heldBack = [...log.matchAll(/held_back=(\d+)/g)].reduce((sum, [, n]) => sum + Number(n), 0);
  assert.ok(heldBack > 0, log);
  assert.match(await (await fetch(collector.adminUrl + '/metrics')).text(), /^tillwatch_batches_received_total 4$/m);
  assert.equal((await collector.sql("SELECT count() AS n FROM v_rollup_1m WHERE source = 'rum'"))[0].n, 0);
  const [{ terminal_id: terminal }] = await collector.sql("SELECT DISTINCT terminal_id FROM v_rollup_terminal_1h WHERE store_id = 'probed'");
  assert.equal(terminal, 'probe-1');
  // No series about people has moved.
  assert.doesNotMatch(await (await fetch(collector.adminUrl + '/metrics/fleet')).text(), /store_id="probed"/);
});

test('whichever way a page posts what it measured, nothing leaves, and everything else does', async (t) => {
  const page = `<!doctype html><h1 id="pin">Till</h1><script>
    const post = (how, path) => ({
      fetch: () => fetch(path, { method: 'POST', body: how }),
      alive: () => fetch(new Request(path, { method: 'POST', body: how, keepalive: true })),
      beacon: () => navigator.sendBeacon(path, how),
      later: () => fetchLater(path, { method: 'POST', body: how, activateAfter: 100 }),
    })[how]();
    const all = (when) => { for (const how of ['fetch', 'alive', 'beacon', 'later']) for (const path of ['/v1/batches', '/collect/pos', '/rum', '/api/' + when]) try { post(how, path)?.catch?.(() => {}); } catch {} };
    all('open');
    addEventListener('pagehide', () => all('end'));
  </script>`;
  const line = await new Line(collector, { '/': page }, '/nothing').start();
  t.after(() => line.stop());
  const posts = [];
  line.server.on('request', ({ method, url }) => method === 'POST' && posts.push(url));
  const at = home(t, { see: { steps: [{ goto: '/' }, { wait: '#pin' }, { goto: '/' }, { wait: '#pin' }] } });
  const { status, log } = await run(t, at, [join(at, 'see.json')], '--store', 'leaks', '--once', '--hold-back', '/rum', '--url', line.url);
  assert.equal(status, 0, log);
  await until(() => posts.includes('/api/end') && posts.includes('/api/open'), 'what the page posts for its own work');
  assert.deepEqual(posts.filter((path) => !path.startsWith('/api/')), []);
});

test('a step that cannot be done fails its run, and a picture is kept', async (t) => {
  const at = home(t, {
    missing: { steps: [{ goto: '/' }, { wait: '#no-such-thing', timeout_ms: 500 }, { click: '#sell' }] },
    slow: { steps: [{ goto: '/' }, { mark: 'begun' }, { wait: '#pin' }, { go: 'offline' }, { go: 'online' }, { measure: 'seen', from: 'begun', limit_ms: 0.001 }, { wait: '#pin' }] },
    see: SEE,
  });
  const pictures = () => readdirSync(join(at, 'pictures')).sort();
  const scenarios = ['missing', 'slow', 'see'].map((name) => join(at, `${name}.json`));
  const options = ['--store', 'failing', '--once', '--retries', '0', '--screenshots', join(at, 'pictures'), '--screenshots-kept', '3'];
  const { status, log } = await run(t, at, scenarios, ...options);
  assert.equal(status, 1, log);
  assert.match(log, /level=warn scenario=missing step=2 did=wait result=failed .*reason=.*Timeout 500ms.*screenshot=/);
  assert.match(log, /level=error scenario=missing did=run result=failed/);
  assert.doesNotMatch(log, /scenario=missing step=3/);
  assert.match(log, /scenario=slow step=6 did="measure seen" result=over_limit .*reason="seen was/);
  assert.match(log, /scenario=slow step=7 did=wait result=ok/);
  assert.match(log, /scenario=see did=run result=ok/);
  assert.deepEqual(pictures().map((name) => name.replace(/^\d{8}T\d{9}Z-/, '')), ['missing-02_wait.png', 'slow-06_measure_seen.png']);
  for (const name of pictures()) assert.equal(readFileSync(join(at, 'pictures', name)).subarray(1, 4).toString(), 'PNG');
  const before = pictures();
  await run(t, at, scenarios, ...options);
  assert.equal(pictures().length, 3);
  assert.ok(!pictures().includes(before[0]), 'the oldest went');
});

test('while the collector is away, batches wait, and each counts once', async (t) => {
  const at = home(t, { see: SEE });
  const see = (...more) => run(t, at, [join(at, 'see.json')], '--store', 'patient', '--once', ...more);
  const waiting = () => JSON.parse(readFileSync(join(at, 'data/state.json'), 'utf8')).waiting.map(({ batch }) => batch.seq);
  await collector.kill();
  const away = await see('--collector', collector.url);
  assert.equal(away.status, 4, away.log);
  assert.match(away.log, /did=post seq=1 result=later reason="no answer \(ECONNREFUSED\)/);
  assert.deepEqual(waiting(), [1]);
  await collector.start();
  // The collector takes both, and the probe hears nothing of it.
  const line = await new Line(collector).start();
  t.after(() => line.stop());
  line.mode = 'lost';
  const deaf = await see('--collector', line.url);
  assert.equal(deaf.status, 4, deaf.log);
  assert.deepEqual(waiting(), [1, 2]);
  assert.equal(line.posts.length, 3, 'it was tried three times');
  const back = await see('--collector', collector.url);
  assert.equal(back.status, 0, back.log);
  assert.deepEqual(waiting(), []);
  await untilArrived('patient', { 'synthetic page_load_ms': 3 });
});

test('a probe that goes on serves its series, and ends when it is told to', async (t) => {
  const at = home(t, { see: { steps: [...SEE.steps, { evaluate: 'memory', limit_bytes: 1e9 }] }, slow: { steps: [{ goto: '/' }, { mark: 'a' }, { wait: '#pin' }, { measure: 'seen', from: 'a', limit_ms: 0.001 }] } });
  const scenarios = ['see', 'slow'].map((name) => join(at, `${name}.json`));
  const probe = start(at, scenarios, '--store', 'watched', '--every', '1h', '--retries', '0', '--metrics', '127.0.0.1:0');
  t.after(() => probe.child.kill('SIGKILL'));
  const [, url] = await until(() => /^tillwatch-probe ready metrics=(\S+)$/m.exec(probe.out), 'the probe to be ready');
  const read = async () => (await fetch(url)).text();
  assert.match(await read(), /^pos_synthetic_runs_total\{store_id="watched",scenario="see",result="failed"\} 0$/m);
  const text = await until(async () => {
    const page = await read();
    return /scenario="slow",result="over_limit"\} 1$/m.test(page) && page;
  }, 'both scenarios', 120_000);
  for (const line of ['runs_total{store_id="watched",scenario="see",result="ok"} 1', 'last_run_result{store_id="watched",scenario="see",result="ok"} 1', 'interval_seconds{store_id="watched"} 3600', 'limit_bytes{store_id="watched",scenario="see",measure="memory"} 1000000000'])
    assert.ok(text.includes(`\npos_synthetic_${line}\n`), `${line} in\n${text}`);
  // What dashboards and alerts may ask for is what there is.
  const labels = new Map(FAMILIES.map(([name]) => [name, new Set()]));
  for (const [, name, list] of text.matchAll(/^(\w+)\{(.*)\} /gm)) for (const [, label] of list.matchAll(/(\w+)="/g)) labels.get(name).add(label);
  for (const [name, , , declared] of FAMILIES) {
    assert.deepEqual([...labels.get(name)].sort(), [...declared].sort(), name);
    assert.deepEqual([...PROBE_SERIES.get(name).labels].sort(), ['instance', 'job', ...declared].sort(), name);
  }
  assert.equal(PROBE_SERIES.size, FAMILIES.length);
  // `make test-stack` has promtool; who runs this file alone may not.
  const checked = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
  if (!checked.error) assert.equal(checked.status, 0, checked.stderr);
  probe.child.kill('SIGTERM');
  assert.equal(await probe.ended, 0, probe.log);
});

test('a probe that is told to end while it runs ends, and its folder is free', async (t) => {
  const at = home(t, { endless: { steps: [{ goto: '/' }, { wait: '#no-such-thing', timeout_ms: 120_000 }] } });
  const probe = start(at, [join(at, 'endless.json')], '--store', 'ended', '--once');
  t.after(() => probe.child.kill('SIGKILL'));
  await until(() => /did=goto result=ok/.test(probe.log), 'the first step', 60_000);
  // Another one would give its batches the same numbers.
  const other = start(at, [join(at, 'endless.json')], '--store', 'ended', '--once');
  t.after(() => other.child.kill('SIGKILL'));
  assert.equal(await other.ended, 2);
  assert.match(other.log, /another probe \(process \d+\) uses .*--data-dir/);
  probe.child.kill('SIGTERM');
  assert.equal(await probe.ended, 0, probe.log);
  assert.doesNotMatch(probe.log, /did=run/);
  assert.deepEqual(readdirSync(join(at, 'temporary')), []);
  assert.deepEqual(readdirSync(join(at, 'data')), ['state.json']);
});

test('what cannot be used is said before anything is run', async (t) => {
  const at = home(t, { wrong: { steps: [{ goto: '/' }, { tap: '#sell' }] }, see: SEE });
  const wrong = await run(t, at, [join(at, 'wrong.json')], '--store', 's', '--once');
  assert.equal(wrong.status, 2);
  assert.match(wrong.log, /wrong\.json, step 2: must have exactly one of goto, click/);
  const token = await run(t, at, [join(at, 'see.json')], '--store', 's', '--once', '--collector', collector.url, '--token-file', join(at, 'none'));
  assert.equal(token.status, 2);
  assert.match(token.log, /--token-file .*none cannot be read \(ENOENT\)/);
  const browser = await run(t, at, [join(at, 'see.json')], '--store', 's', '--once', '--browser', join(at, 'none'));
  assert.equal(browser.status, 3);
  assert.match(browser.log, /none cannot be started \(ENOENT\); --browser/);
});
