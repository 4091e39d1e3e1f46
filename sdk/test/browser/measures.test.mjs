// What a page measures by itself, against web-vitals on the same page; a service worker; and errors.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { build } from 'esbuild';
import { Collector, Line, folder, painted, script, sleep, until } from './support.mjs';
import { Till } from './till.mjs';

const sdk = new URL('../..', import.meta.url).pathname;

const PAGE = `<!doctype html><html lang=en><meta charset=utf-8><title>Till</title><link rel=icon href="data:,">
<style>body{margin:0}#hero{width:800px;height:400px;background:#246;color:#fff;font-size:60px}</style>
<div id=late></div><div id=hero>Till 7 ready to sell</div><button id=pay>Pay</button><div id=view></div>
<script src=/vitals.js></script><script src=/tillwatch.js></script>
<script>
pay.onclick = () => { const end = performance.now() + 180; while (performance.now() < end); view.textContent = 'paid' };
</script>`;

const WORKER = `importScripts('/worker.js');
tillwatch.init({ url: new URL(location).searchParams.get('url'), store: new URL(location).searchParams.get('store'), terminal: 'till-1', consent: true });
tillwatch.measureCaches();
addEventListener('install', () => skipWaiting());
addEventListener('activate', (event) => event.waitUntil(clients.claim()));
addEventListener('message', (event) => event.waitUntil((async () => {
  const cache = await caches.open('prices');
  await cache.put('/price', new Response('1.50'));
  await caches.match('/price');
  await caches.match('/price');
  await caches.match('/no-price');
  for (const value of event.data) tillwatch.observe('sync_payload_bytes', value);
  event.source.postMessage('done');
})()));`;

const OWN = `
[[metrics]]
name = "receipt_print_ms"
kind = "distribution"
unit = "ms"
help = "Measures how long a receipt took to print."

[[metrics]]
name = "drawer_openings"
kind = "counter"
unit = "count"
help = "Counts how often the drawer was opened."
label = { key = "by", values = ["sale", "manager"] }
`;

let collector;
const lines = [];
const tills = [];
const files = { '/': PAGE, '/sw.js': WORKER };

async function made(options) {
  const line = await new Line(collector, files).start();
  lines.push(line);
  const till = await new Till(line, options).open();
  tills.push(till);
  return till;
}

before(async () => {
  const contents = `import { onLCP, onINP, onCLS, onFCP, onTTFB } from 'web-vitals';
    window.theirs = {};
    for (const on of [onLCP, onINP, onCLS, onFCP, onTTFB]) on(({ name, value }) => (window.theirs[name] = value), { reportAllChanges: true });`;
  const { outputFiles } = await build({ stdin: { contents, resolveDir: sdk }, bundle: true, format: 'iife', write: false });
  files['/vitals.js'] = outputFiles[0].text;
  files['/tillwatch.js'] = script();
  files['/worker.js'] = readFileSync(join(sdk, 'dist/tillwatch-worker.js'), 'utf8');
  const settings = join(folder('settings'), 'tillwatch.toml');
  writeFileSync(settings, OWN);
  collector = await new Collector({ TILLWATCH_CONFIG: settings }).start();
});

after(async () => {
  for (const till of tills) await till.end();
  for (const line of lines) await line.stop();
  await collector.stop();
});

describe('a page', { concurrency: true, timeout: 120_000 }, () => {
  test('LCP, INP, CLS, FCP and TTFB are those of web-vitals', async () => {
    const till = await made();
    await painted(till.page);
    await till.page.evaluate(() => void (late.style.height = '180px'));
    await until(() => till.page.evaluate(() => theirs.FCP && theirs.CLS), 'a shift');
    await till.page.click('#pay');
    await until(() => till.page.evaluate(() => theirs.INP), 'an interaction');
    await till.page.evaluate(() => {
      Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => 'hidden' });
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => true });
      document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
    });
    const theirs = await till.page.evaluate(() => theirs);
    const totals = await until(async () => {
      await till.flush();
      const found = await collector.totals(till.store);
      return found.has('inp_ms') && found.has('lcp_ms') && found.has('cls_score') && found;
    }, 'the vitals');
    const ours = (metric, scale) => {
      const { count, sum } = totals.get(metric);
      assert.equal(count, 1, metric);
      return sum / scale;
    };
    for (const [metric, scale, theirName] of [
      ['lcp_ms', 1000, 'LCP'], ['inp_ms', 1000, 'INP'], ['fcp_ms', 1000, 'FCP'], ['ttfb_ms', 1000, 'TTFB'], ['cls_score', 10_000, 'CLS'],
    ]) {
      assert.ok(theirs[theirName] > 0, theirName);
      assert.ok(Math.abs(ours(metric, scale) - theirs[theirName]) <= 0.5 / scale + 1e-9, `${metric}: ${ours(metric, scale)}, not ${theirs[theirName]}`);
    }
    assert.ok(totals.get('page_load_ms').sum > 0);
    assert.ok(!totals.has('page_load_cached_ms'), 'the page came over the line');
  });

  test('a page and its service worker share the queue, and caches are counted', async () => {
    const till = await made();
    const values = Array.from({ length: 20 }, () => till.next++);
    await till.page.evaluate(async ({ url, store, values }) => {
      await navigator.serviceWorker.register(`/sw.js?url=${encodeURIComponent(url)}&store=${store}`);
      const { active } = await navigator.serviceWorker.ready;
      const done = new Promise((resolve) => navigator.serviceWorker.addEventListener('message', resolve));
      active.postMessage(values);
      await done;
    }, { url: till.line.url, store: till.store, values });
    for (const value of values) till.ledger.set(value, Date.now());
    await till.record(20);
    await till.settled(collector);
    const totals = await until(async () => {
      const found = await collector.totals(till.store);
      return found.has('cache_requests hit') && found;
    }, 'the cache');
    assert.equal(totals.get('cache_requests hit').sum, 2);
    assert.equal(totals.get('cache_requests miss').sum, 1);
  });

  test('metrics of the shop are recorded by their names, and wrong calls are losses as ever', async () => {
    const metrics = { receipt_print_ms: { call: 'observe' }, drawer_openings: { call: 'count', labels: ['sale', 'manager'] } };
    const till = await made({ metrics });
    await till.page.evaluate(() => {
      tillwatch.observe('receipt_print_ms', 412.5);
      tillwatch.count('drawer_openings', { label: 'sale', by: 2 });
      tillwatch.count('drawer_openings', { label: 'burglar' });
      tillwatch.level('receipt_print_ms', 1);
    });
    const totals = await until(async () => {
      await till.flush();
      const found = await collector.totals(till.store);
      return found.has('drawer_openings sale') && found.get('dropped_samples refused')?.sum === 2 && found;
    }, 'the metrics of the shop');
    assert.deepEqual(totals.get('receipt_print_ms'), { count: 1, sum: 412_500 });
    assert.equal(totals.get('drawer_openings sale').sum, 2);
  });

  test('a page that is closed has told everything', async () => {
    const till = await made();
    await till.record(10);
    await till.page.goto('about:blank');
    await till.page.goto(till.line.url);
    await till.page.evaluate((options) => tillwatch.init(options), till.options);
    await till.record(10);
    await till.page.close();
    await till.open();
    await till.record(1);
    await till.settled(collector);
  });

  test('an error becomes a group, an event is counted, and a wrong call is a loss', async () => {
    const till = await made();
    await till.page.evaluate(() => {
      setTimeout(() => {
        throw new TypeError("cannot read 'Anna Schmidt' of order 4711");
      });
      Promise.reject(new RangeError('out of 5 shelves'));
      // A picture that is missing is no error of a script.
      document.body.append(Object.assign(new Image(), { src: '/missing.png' }));
      tillwatch.event('custom', 'drawer_opened');
      tillwatch.observe('no_such_metric_ms', 1);
      tillwatch.observe('sync_duration_ms', -1);
    });
    await sleep(200);
    await till.flush();
    const groups = await until(async () => {
      const rows = await collector.sql(
        `SELECT kind, name, type, message, toUInt64(sum(count)) AS n FROM v_error_group_1h WHERE store_id = '${till.store}' GROUP BY ALL ORDER BY kind, type`,
      );
      return rows.length >= 3 && rows;
    }, 'the groups');
    assert.deepEqual(
      groups.map(({ kind, name, type, message, n }) => [kind, name, type, message, Number(n)]),
      [
        ['custom', 'drawer_opened', '', '', 1],
        ['error', '', 'RangeError', 'out of 5 shelves', 1],
        ['error', '', 'TypeError', 'cannot read * of order 0', 1],
      ],
    );
    const totals = await collector.totals(till.store);
    assert.equal(totals.get('errors script').sum, 2);
    assert.equal(totals.get('events custom').sum, 1);
    assert.equal(totals.get('dropped_samples refused').sum, 2);
    // What the page threw is no error of the library.
    till.errors = [];
  });

  test('a page may call in any order, and without locks', async () => {
    const line = await new Line(collector, files).start();
    lines.push(line);
    const till = new Till(line);
    tills.push(till);
    await till.open();
    await till.page.close();
    till.page = await till.context.newPage();
    await till.page.addInitScript(() => {
      navigator.locks.request = () => Promise.reject(new DOMException('no', 'SecurityError'));
    });
    await till.page.goto(line.url);
    await till.page.evaluate(async (options) => {
      await tillwatch.status();
      await tillwatch.setConsent(true);
      tillwatch.observe('sync_payload_bytes', 2000);
      tillwatch.error(new Error('early'));
      await tillwatch.flush();
      tillwatch.init(options);
    }, till.options);
    await till.record(10);
    await till.flush();
    const found = await until(async () => {
      const found = await till.found(collector);
      return found.size >= 10 && found;
    }, 'the values');
    assert.ok([...found.values()].every((n) => n === 1));
  });

  test('nothing escapes, whatever the page gives', async () => {
    const till = await made();
    await till.page.evaluate(() => {
      for (const odd of [undefined, null, NaN, -1, Infinity, '5', {}, [], Symbol('x'), 10n, () => {}, 1e300]) {
        tillwatch.observe('sync_duration_ms', odd);
        tillwatch.observe(odd, 1);
        tillwatch.count(odd, odd);
        tillwatch.level('pending_transactions', odd);
        tillwatch.error(odd);
        tillwatch.event(odd, odd);
        tillwatch.observe('sync_duration_ms', 1, odd);
      }
      const hostile = new Proxy({}, { get() { throw new Error('no'); } });
      tillwatch.error(hostile);
      tillwatch.observe('sync_duration_ms', 1, hostile);
    });
    await till.record(5);
    await till.flush();
    await till.settled(collector);
    assert.deepEqual(till.errors, []);
  });
});
