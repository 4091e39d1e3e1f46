// Grafana Faro's Web SDK as it comes from npm, in a real Chromium, posting to a real collector of another origin.
import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { Collector, Line, browser, folder, sleep, until } from '../../sdk/test/browser/support.mjs';

/** The releases that are tested, and what each can do. */
const RELEASES = [
  // Knows no option for times of one's own, and names no page visit.
  { name: '1.4', hasVisits: false },
  { name: '1.19', hasVisits: true },
  { name: '2.3', hasVisits: true },
  // This one sends a request again, with the same Idempotency-Key.
  { name: '2.12', hasVisits: true, isReliable: true },
];
const HOUR_MS = 3_600_000;

const PAGE = (name) => `<!doctype html><html lang=en><meta charset=utf-8><title>Till</title><link rel=icon href="data:,">
<div id=hero style="width:800px;height:400px;background:#246;color:#fff;font-size:60px">Till 7 ready to sell</div><button id=pay>Pay</button>
<script src=/faro-${name}.js></script>
<script>
const { initializeFaro, getWebInstrumentations } = GrafanaFaroWebSdk;
const search = new URLSearchParams(location.search);
window.faro = initializeFaro({
  url: search.get('url'),
  app: { name: 'pos', version: '2.4.1' },
  instrumentations: getWebInstrumentations({ captureConsole: true }),
  sessionTracking: { enabled: true, session: { attributes: { store_id: search.get('store'), terminal_id: 'till-7', consent: 'true' } } },
});
// What a till does that keeps its measurements while it is offline.
const kept = [];
window.push = (value, at = Date.now()) => {
  if (!navigator.onLine) return void kept.push([value, at]);
  faro.api.pushMeasurement({ type: 'sync_payload_bytes', values: { value }, timestamp: new Date(at).toISOString() }, { timestampOverwriteMs: at });
};
addEventListener('online', () => { for (const [value, at] of kept.splice(0)) push(value, at) });
</script>`;

const files = {};
const profiles = [];
let collector;
let pages;
let line;

before(async () => {
  for (const { name } of RELEASES) {
    files[`/${name}`] = PAGE(name);
    files[`/faro-${name}.js`] = readFileSync(new URL(`node_modules/faro-${name}/dist/bundle/faro-web-sdk.iife.js`, import.meta.url), 'utf8');
  }
  pages = await new Line({ url: 'http://127.0.0.1:1' }, files).start();
  collector = await new Collector({ TILLWATCH_CORS_ORIGINS: pages.url }).start();
});

after(async () => {
  for (const { context, path, line } of profiles) {
    await context.close().catch(() => {});
    await line.stop();
    rmSync(path, { recursive: true, force: true, maxRetries: 5 });
  }
  await pages.stop();
  await collector.stop();
});

/** A page with the SDK of a release, in a browser of its own, with a line of its own. */
async function open(release) {
  const path = folder('faro');
  const context = await browser(path);
  const line = await new Line(collector, {}, '/collect').start();
  const store = `faro-${release.name}-${profiles.length}`;
  profiles.push({ context, path, line });
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  const query = new URLSearchParams({ url: `${line.url}/collect/till`, store });
  await page.goto(`${pages.url}/${release.name}?${query}`);
  return { context, line, store, page, errors };
}

const push = (page, values, at) => page.evaluate(([values, at]) => values.forEach((value) => window.push(value, at)), [values, at]);
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => from + at);

/** Waits until ClickHouse has these values, and then that it has each once and no other. */
async function arrived(store, values) {
  let found;
  await until(async () => {
    found = await collector.values('sync_payload_bytes', store);
    return values.every((value) => found.has(value));
  }, `${values.length} values of ${store}`, 60_000).catch((error) => {
    throw new Error(`${error.message}; missing: ${values.filter((value) => !found.has(value))}`);
  });
  assert.deepEqual([...found], values.map((value) => [value, 1]));
}

/** Does what a browser does when the page is left. */
const hide = (page) =>
  page.evaluate(() => {
    Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => 'hidden' });
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => true });
    document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
  });

for (const release of RELEASES) {
  describe(`Faro ${release.name}`, { concurrency: true, timeout: 120_000 }, () => {
    test('what the page pushes online and after it was offline arrives once, at its own time', async () => {
      const { context, line, store, page, errors } = await open(release);
      await push(page, range(1, 60));
      await arrived(store, range(1, 60));
      await context.setOffline(true);
      await until(() => page.evaluate(() => !navigator.onLine), 'the page to notice');
      const then = Date.now() - HOUR_MS;
      await push(page, range(101, 160), then);
      await context.setOffline(false);
      await arrived(store, [...range(1, 60), ...range(101, 160)]);
      const minutes = await collector.sql(
        `SELECT toUnixTimestamp(window_start) AS t, toUInt64(sum(count)) AS n FROM v_rollup_1m WHERE metric = 'sync_payload_bytes' AND store_id = '${store}' AND window_start < now() - INTERVAL 30 MINUTE GROUP BY t`,
      );
      assert.deepEqual(minutes.map(({ t, n }) => [Number(t), Number(n)]), [[Math.floor(then / 60_000) * 60, 60]]);
      for (const { head, mode } of line.posts) assert.ok(mode === 'open' && !('authorization' in head));
      assert.deepEqual(errors, []);
    });

    test('web vitals, events and errors are counted, and nothing of a log or of a person is kept', async () => {
      const { line, store, page } = await open(release);
      await page.click('#pay');
      await page.evaluate(() => {
        faro.api.pushEvent('drawer opened', { by: 'Anna Schmidt' });
        faro.api.pushError(new TypeError("cannot read 'Anna Schmidt' of order 4711"));
        faro.api.pushLog(['Anna Schmidt has logged in']);
        console.warn('Anna Schmidt again');
      });
      await sleep(500);
      await hide(page);
      const totals = await until(async () => {
        const totals = await collector.totals(store);
        return ['lcp_ms', 'cls_score', 'fcp_ms', 'ttfb_ms', 'errors script'].every((name) => totals.has(name)) && totals;
      }, `the web vitals of ${store}`, 60_000);
      // Hidden once more nothing new has to be said, and what was said counts once.
      await hide(page);
      await sleep(1_000);
      for (const name of ['lcp_ms', 'cls_score', 'fcp_ms', 'ttfb_ms']) assert.equal(totals.get(name).count, 1, name);
      assert.equal(totals.get('errors script').sum, 1);
      const groups = await collector.sql(`SELECT kind, name, type, message, frames_json FROM v_error_group_1h WHERE store_id = '${store}'`);
      const text = JSON.stringify(groups);
      assert.ok(!/Anna|Schmidt|4711/.test(text), text);
      const names = groups.map(({ kind, name, type, message }) => (kind === 'custom' ? name : `${type}: ${message}`));
      for (const name of ['drawer_opened', 'TypeError: cannot read * of order 0', 'session_start']) assert.ok(names.includes(name), `${name} in ${names}`);
      const visits = line.posts.flatMap(({ body }) => JSON.parse(body.toString() || '{}').measurements ?? []).filter(({ type }) => type === 'web-vitals');
      assert.ok(visits.every(({ context }) => Boolean(context?.id) === release.hasVisits), JSON.stringify(visits));
    });

    if (release.isReliable) {
      test('a request whose answer was lost, or that was put off, counts once', async () => {
        const { line, store, page } = await open(release);
        await push(page, [1]);
        await arrived(store, [1]);
        for (const [mode, values] of [['lost', range(11, 20)], ['503', range(21, 30)], ['cut', range(31, 40)]]) {
          const { length } = line.posts;
          let failures = 1;
          line.mode = (request) => (request.method === 'POST' && failures-- > 0 ? mode : 'open');
          await push(page, values);
          await until(() => line.posts.slice(length).some(({ mode }) => mode === 'open'), `another attempt after ${mode}`);
        }
        await arrived(store, [1, ...range(11, 40)]);
        const keys = line.posts.map(({ head }) => head['idempotency-key']).filter(Boolean);
        assert.ok(new Set(keys).size < keys.length, 'an attempt bears the key of the first');
      });
    }
  });
}
