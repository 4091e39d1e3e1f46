#!/usr/bin/env node
// Draws each view of the console into docs/pictures/console, from a fleet that is simulated for half an hour. `make console-pictures`
// calls it.
//
//   node run.mjs                          starts a collector and a fleet, waits until there is something to see, draws, stops all
//   node run.mjs --minutes 6              does not wait for longer than that, and not until a store is called silent
//   node run.mjs --url URL                draws from a collector that runs already
//   node run.mjs --only fleet --out DIR   only this view
//   CONSOLE_DIST=1                        with the files of console/dist in place of those that were built into the collector
import { spawn } from 'node:child_process';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { api, Browser, Collector, freePort, helper, pagesOf, program, samples, sleep, Till, until } from '../test/browser/support.mjs';
import { small } from './png.mjs';

const ROOT = new URL('../..', import.meta.url).pathname;
const { values: options } = parseArgs({ options: { url: { type: 'string' }, only: { type: 'string' }, out: { type: 'string', default: join(ROOT, 'docs/pictures/console') }, minutes: { type: 'string', default: '32' } } });

// A fleet that is well, with three days behind it; a slower release in a tenth of the stores since yesterday; and troubles of each kind.
const FLEET = ['--stores', '50', '--terminals', '500', '--rate', '800', '--backfill', '3d', '--slowdown', '0.72', '--store-spread', '0.1', '--late-share', '0.02', '--skew-share', '0.004', '--canary-slowdown', '1.4', '--rollout=-1d=0.1', '--forever',
  ...['slow-sync:7@4m', 'bad-network:31@2m', 'memory:18@1m', 'silent:44@2m', 'dead-till:12@2m', 'stuck:23@1m', 'lost:9@1m', 'new-error:28@1m'].flatMap((one) => ['--trouble', one])];

const stops = [];
async function simulated() {
  const collector = await new Collector({ TILLWATCH_SEAL_INTERVAL: '1m', TILLWATCH_LOG_LEVEL: 'error', TILLWATCH_GRAFANA_URL: 'http://grafana.example.com:3000' }).start();
  stops.unshift(() => collector.stop());
  const fleet = spawn(program, ['simulate', '--url', collector.url, '--quiet', ...FLEET], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = new Promise((resolve) => fleet.once('exit', resolve));
  stops.unshift(async () => { fleet.kill(); await ended; });
  for (const [store, by] of [['store-017', 1], ['store-021', 1.15]]) {
    const probe = new Till(collector, store, 'probe-1');
    for (let i = 0; i < 24; i += 1) {
      const t = Date.now() - i * 3_600_000;
      await probe.post({ source: 'synthetic', samples: [...samples('offline_login_duration_ms', [(190 + i * 2) * by], { t }), ...samples('sync_100_duration_ms', [(1_210 + i * 9) * by], { t }), ...samples('reconnect_to_synced_ms', [(3_900 + i * 40) * by], { t }), ...samples('memory_used_mb', [45 + by], { t })] });
    }
  }
  // After a start nobody is called silent for 20 minutes.
  await until(async () => {
    if (fleet.exitCode !== null) throw new Error(`the fleet ended with ${fleet.exitCode}`);
    const { all } = await api(collector, 'fleet');
    const { losses } = await api(collector, 'losses');
    const { changes } = await api(collector, 'changes');
    return all.silent > 0 && all.critical > 1 && losses.length > 0 && changes.length > 2;
  }, 'something to see', Number(options.minutes) * 60_000).catch((error) => {
    if (fleet.exitCode !== null) throw error;
    console.log(`There may be nothing silent to see: ${error.message}`);
  });
  return collector;
}

/** What is worth a look. */
async function choose(collector) {
  const { stores } = await api(collector, 'fleet');
  const slow = stores.find(({ state, why }) => state === 'critical' && why.some(({ metric }) => metric === 'sync_duration_ms')) ?? stores.find(({ state }) => state === 'critical') ?? stores[0];
  const { terminals } = await api(collector, `terminals?store_id=${slow.store_id}&hours=24&limit=1`);
  const { groups } = await api(collector, 'errors?order_by=first_seen');
  const error = groups.find(({ stores }) => stores < 20) ?? groups[0];
  return {
    fleet: ['', '.rows > .row'], store: [`store?store_id=${slow.store_id}`, '.below tbody tr'], terminal: [`terminal?store_id=${slow.store_id}&terminal_id=${terminals[0].terminal_id}`, '.columns tbody tr'], releases: ['releases', '.card'],
    errors: ['errors', 'tbody tr'], error: [`errors?fingerprint=${error?.fingerprint}`, '.frames, .nothing'], lost: ['lost', '.ledger'], query: ['query?group_by=store_id&range=1h&metric=sync_duration_ms', 'tbody tr'], pipeline: ['pipeline', '.stage'], probes: ['probes', 'tbody tr'], settings: ['settings', 'tbody tr'],
  };
}

try {
  const collector = options.url ? { adminUrl: options.url.replace(/\/$/, '') } : await simulated();
  const pages = await pagesOf(collector);
  stops.unshift(() => pages.stop());
  const port = await freePort();
  const large = await helper('../../dev.mjs', ['--made-up', '--stores', 2_000, '--port', port], 'http://');
  stops.unshift(() => large.stop());
  const browser = await new Browser().start({ timezoneId: 'UTC' });
  stops.unshift(() => browser.stop());
  const page = await browser.open('about:blank');
  mkdirSync(options.out, { recursive: true });
  const draw = async (name, url, what, scheme, [width, height] = [1440, 900]) => {
    if (options.only && !name.startsWith(options.only)) return;
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: scheme });
    await page.goto(url);
    await page.waitForSelector(what, { timeout: 30_000 });
    await page.waitForLoadState('load');
    // Charts ask once the numbers are there.
    await until(() => page.evaluate(() => !document.querySelector('[aria-busy=true]')), 'the answers');
    await sleep(2_500);
    const path = join(options.out, `${name}.png`);
    writeFileSync(path, small(await page.screenshot()));
    console.log(`${name}.png: ${Math.round(statSync(path).size / 1024)} kB`);
  };
  const views = await choose(collector);
  for (const scheme of ['dark', 'light']) {
    for (const [name, [path, what]] of Object.entries(views)) await draw(`${name}-${scheme}`, `${pages.url}/${path}`, what, scheme);
    await draw(`fleet-2000-${scheme}`, `http://127.0.0.1:${port}/`, '.rows > .row', scheme);
  }
  await draw('fleet-390', pages.url + '/', '.rows > .row', 'light', [390, 844]);
} finally {
  for (const stop of stops) await stop();
}
