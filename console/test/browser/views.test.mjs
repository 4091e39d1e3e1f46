// What each view shows is what the query API answers, whatever tills have sent, and the page does nothing that its policy forbids.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { api, Browser, Collector, isLive, pagesOf, pure, samples, sleep, Till, until, well } from './support.mjs';

process.env.TZ = 'Europe/Berlin';
const { count, exact, figure, grouped, plain, plural, share, when } = await pure('format');
const { COLUMNS, heardOf, reason } = await pure('measures');
const num = (value) => plain(count(value));
const time = (t) => when(t, Date.now(), 'local');

const HOSTILE = '<img src=x onerror=alert(1)><script>alert(2)</script> {{7*7}} ${7*7} javascript:alert(3) </title>';
const LONG = 'L'.repeat(64);
const ODD = ['-.:_Az09', '..', '__proto__', LONG];
const AGENT = 'Mozilla/5.0 <script>alert(4)</script> (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36';
const RELEASE = '2.4.1+build@7:x_y-z';
const minutesAgo = (n) => ({ t: Date.now() - n * 60_000 });
const many = (n, from, by) => Array.from({ length: n }, (_, i) => from + i * by);

let collector;
let pages;
let browser;
const tills = [];
const till = (...more) => { const one = new Till(collector, ...more); tills.push(one); return one; };
const open = (path) => browser.open(`${pages.url}/${path}`);
const rowsOf = (page, selector) => page.$$eval(selector, (rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
const texts = (page, selector) => page.$$eval(selector, (all) => all.map((one) => one.textContent));
/** The page follows, so what is compared may be a moment apart. */
const agrees = (compare) => until(async () => { await compare(); return true; }, 'the page and the API to agree', 30_000);

async function postAll() {
  for (const id of ['store-calm', ...ODD]) await till(id).post({ samples: well() });
  await till('store-calm', 'till-2', { 'user-agent': AGENT }).post({ release: RELEASE, samples: well() });
  const slow = till('store-slow', 'till-1', { 'user-agent': AGENT });
  for (const ago of [4, 3, 2]) await slow.post({ samples: [...samples('sync_duration_ms', many(30, 6_000, 97), minutesAgo(ago)), ...samples('lcp_ms', many(30, 2_600, 13), minutesAgo(ago)), ...samples('offline_login_duration_ms', many(25, 250, 9), minutesAgo(ago))] });
  await slow.post({ samples: samples('cls_score', many(30, 0.01, 0.004), minutesAgo(2)) });
  await till('store-full').post({ samples: [...well(), ...samples('pending_transactions', [1_417]), ...samples('memory_used_mb', [93.25])] });

  const frames = [{ fn: '<b>pay</b>', module: '"><i>app.js', line: 12, col: 34 }, { fn: 'click', module: 'vendor.js', line: 1, col: 5_120 }];
  const errors = till('store-errs');
  await errors.post({ samples: [...well(), ...samples('sync_attempts', Array(10).fill(1), { label: 'failure' })], events: [{ k: 'error', t: Date.now(), type: '<u>TypeError</u>', message: HOSTILE, frames, count: 3, fatal: true }] });
  await errors.post({ samples: [...samples('sync_attempts', Array(30).fill(1), { label: 'failure' }), ...samples('sync_attempts', Array(50).fill(1), { label: 'success' })], events: [{ k: 'error', t: Date.now(), type: 'RangeError', message: 'too many', count: 9 }, { k: 'custom', t: Date.now(), name: 'drawer_opened' }] });
  await till('store-calm', 'till-3').post({ events: [{ k: 'error', t: Date.now(), type: '<u>TypeError</u>', message: HOSTILE, frames }] });

  const gaps = till('store-gaps', 'till-9');
  await gaps.post({ samples: well() });
  gaps.seq += 3;
  await gaps.post({ samples: well() });
  gaps.seq += 2;
  await gaps.post({ samples: well(), drops: [{ queue: gaps.queue, from: 6, to: 7, samples: 61, reason: 'quota', t: Date.now() }] });
  await till('store-probe').post({ source: 'synthetic', samples: [...samples('offline_login_duration_ms', [210, 640]), ...samples('sync_100_duration_ms', [1_710]), ...samples('reconnect_to_synced_ms', [4_200]), ...samples('memory_used_mb', [46.5])] });
}

before(async () => {
  collector = await new Collector({ TILLWATCH_GRAFANA_URL: 'http://grafana.example.com:3000' }).start();
  pages = await pagesOf(collector);
  // Attempts are counted from the collector's first look at its stores on.
  await api(collector, 'fleet');
  await postAll();
  browser = await new Browser().start();
});

after(async () => {
  await browser?.stop();
  await pages?.stop();
  await collector?.stop();
});

describe('what a page shows is what the API answers', { timeout: 300_000 }, () => {
  test('the fleet: every number of every store, the worst first, and the sums', async () => {
    const page = await open('');
    await isLive(page);
    await agrees(async () => {
      const { stores, all } = await api(collector, 'fleet');
      const columns = COLUMNS.filter(({ isExtra }) => !isExtra);
      const expected = stores.map((row) => [row.store_id, reason(row, Date.now()), ...columns.map((column) => plain(column.show(row))), heardOf(row)]);
      // The last cell says how long ago, which moves; the third is a line.
      const shown = (await rowsOf(page, '.rows > .row')).map(([name, why, , ...rest]) => [name, why, ...rest.slice(0, -1)]);
      assert.equal(shown.length, stores.length);
      assert.deepEqual(shown.sort(), expected.sort());
      assert.deepEqual((await texts(page, '.headline dd:not(.limit-said)')), columns.map((column) => plain(column.show(all))));
      const trouble = all.critical + all.silent;
      assert.equal(await page.locator('h1').textContent(), `${trouble} ${trouble === 1 ? 'store is' : 'stores are'} in trouble`);
      assert.ok((await page.locator('.head .sub').textContent()).startsWith(`${plural(stores.length, 'store')} · ${grouped(all.reporting)} of ${grouped(all.terminals)} tills heard`));
    });
    const { stores } = await api(collector, 'fleet');
    const states = new Map(stores.map(({ store_id, state }) => [store_id, state]));
    assert.deepEqual(['store-slow', 'store-full', 'store-errs', 'store-calm', '..'].map((id) => states.get(id)), ['critical', 'critical', 'critical', 'fine', 'fine']);
    const order = await texts(page, '.rows > .row .name');
    assert.deepEqual(order.slice(0, 3), stores.slice(0, 3).map(({ store_id }) => store_id), 'the worst are first, in the order of the collector');
    const critical = stores.filter(({ state }) => state === 'critical').length;
    assert.equal(await page.locator('.chips button').first().textContent(), `${critical} critical`);
    await page.locator('.chips button').first().click();
    await agrees(async () => assert.equal((await texts(page, '.rows > .row')).length, critical));
    await page.close();
  });

  test('a store: the limits that it is past, its charts, its tills, its batches', async () => {
    for (const id of ['store-slow', 'store-gaps', 'store-errs', ...ODD]) {
      const page = await open('store?store_id=' + encodeURIComponent(id));
      await isLive(page);
      await agrees(async () => {
        const [{ row, terminals, batches, late }, known] = [await api(collector, id === '..' ? 'stores/%2E%2E/now' : `stores/${encodeURIComponent(id)}/now`).catch(() => ({})), await api(collector, `terminals?store_id=${encodeURIComponent(id)}&hours=24&limit=1000`)];
        assert.equal((await page.locator('h1').textContent()).trim(), id);
        const shown = await rowsOf(page, '.below table tbody tr');
        assert.deepEqual(shown.map(([name]) => name).sort(), known.terminals.map(({ terminal_id }) => terminal_id).sort());
        for (const one of known.terminals) {
          const cells = shown.find(([name]) => name === one.terminal_id);
          assert.ok(cells);
          assert.deepEqual([cells[3], cells[4], cells[5], cells[10]], [one.release, num(one.levels.pending_transactions?.value), plain(figure(one.levels.memory_used_mb?.value, 'MB')), num(one.missing_batches + one.lost_batches)]);
        }
        if (!row) return;
        const said = await texts(page, '.reasons li:not(.sub)');
        assert.equal(said.length, row.why.length);
        for (const { value, limit, metric } of row.why) assert.ok(said.some((text) => text.includes(metric === 'sync_success' ? plain(share(value)) : exact(limit, metric.endsWith('_ms') ? 'ms' : metric.endsWith('_mb') ? 'MB' : 'count'))), `${metric} of ${id}`);
        const sums = Object.fromEntries(await page.$$eval('.late dl > div', (all) => all.map((one) => [one.children[0].textContent, one.children[1].textContent])));
        assert.equal(sums['Batches received'], num(batches.received));
        assert.equal(sums['may still come'], num(batches.missing));
        assert.equal(sums.lost, num(batches.lost));
        assert.deepEqual((await texts(page, '.late li .num')), ['1h', '24h', '3d', '8d'].map((age) => num(late[age] ?? 0)));
        assert.equal(terminals.length, known.terminals.length);
      });
      if (id === 'store-slow') {
        await agrees(async () => {
          const to = Math.floor(Date.now() / 60_000) * 60_000;
          const found = [];
          for (const [metric, q] of [['sync_duration_ms', '0.95'], ['offline_login_duration_ms', '0.95'], ['lcp_ms', '0.75'], ['cls_score', '0.75']]) {
            const { series, unit } = await api(collector, `percentiles?metric=${metric}&store_id=${id}&from=${to - 3_600_000}&to=${to}&step=1m&q=0.5,${q}`);
            const { values } = series[0].points.at(-1);
            found.push(`p${Number(q) * 100} ${plain(figure(values[q], unit))} p50 ${plain(figure(values['0.5'], unit))}`);
          }
          const shown = await texts(page, '.measure .values');
          assert.equal(shown.length, 6);
          assert.deepEqual([shown[0], shown[1], shown[3], shown[5]], found);
        });
      }
      await page.close();
    }
  });

  test('what comes late while somebody looks is violet, in the minute in which it was measured', async () => {
    const page = await open('store?store_id=store-calm');
    await isLive(page);
    // The chart has its first answer, be it empty.
    await page.waitForFunction(() => document.querySelector('.late li') && (document.querySelector('.measure:first-child .samples') ?? document.querySelector('.measure:first-child .nothing')?.textContent));
    assert.equal(await page.locator('.samples.is-late').count(), 0);
    await till('store-calm', 'till-4').post({ samples: samples('sync_duration_ms', many(30, 300, 5), minutesAgo(31)) });
    await page.locator('.measure:first-child .samples.is-late').waitFor({ timeout: 90_000 });
    assert.equal(await page.locator('.samples.is-late').count(), 1);
    assert.equal((await page.locator('.samples.is-late').getAttribute('d')).split('M').length - 1, 1, 'one minute');
    await until(async () => (await page.locator('.late .bar .is-late').textContent()) === '+30 while you look', 'how many came late');
    await page.close();
  });

  test('a till: what it said last, and its sums of a day', async () => {
    const page = await open('terminal?store_id=store-calm&terminal_id=till-2');
    await agrees(async () => {
      const { terminals: [one] } = await api(collector, 'terminals?store_id=store-calm&terminal_id=till-2&hours=24');
      const facts = Object.fromEntries(await page.$$eval('.facts > div', (all) => all.map((one) => [one.children[0].textContent, one.children[1].textContent])));
      assert.equal(facts.Browser, 'Chrome 131');
      assert.equal(facts.Browser, one.browser);
      assert.equal(facts.Release, one.release);
      assert.equal(facts.Lost, num(one.lost_batches));
      const rows = await rowsOf(page, '.columns section:first-child tbody tr');
      assert.equal(rows.length, one.metrics.length);
      for (const { metric, label, unit, count: n, sum, max } of one.metrics) {
        const cells = rows.find(([name]) => name === metric + (label ? ` ${label}` : ''));
        assert.ok(cells, metric);
        assert.equal(cells[1], num(n));
        if (!label) assert.deepEqual(cells.slice(2, 4), [plain(figure(sum / n, unit)), plain(figure(max, unit))]);
      }
      const levels = Object.fromEntries((await rowsOf(page, '.columns section:last-child tbody tr')).map(([metric, value]) => [metric, value]));
      assert.deepEqual(levels, { memory_used_mb: plain(figure(one.levels.memory_used_mb.value, 'MB')), pending_transactions: num(one.levels.pending_transactions.value) });
    });
    await page.close();
  });

  test('errors: groups and one of them, and what strangers wrote is only text', async () => {
    const page = await open('errors');
    let group;
    await agrees(async () => {
      const { groups } = await api(collector, 'errors?limit=200');
      assert.equal(groups.length, 2);
      const shown = await rowsOf(page, 'tbody tr');
      assert.deepEqual(shown.map(([name, , n, stores, terminals, releases, first, last]) => [name, n, stores, terminals, releases, first, last]),
        groups.map((one) => [`${one.type}${one.fatal ? ' fatal' : ''}${one.message}`, num(one.count), num(one.stores), num(one.terminals), one.releases.join(', '), time(one.first_seen), time(one.last_seen)]));
      group = groups.find(({ type }) => type.includes('TypeError'));
    });
    assert.match(group.message, /<img src=x onerror/);
    await page.getByRole('link', { name: group.type }).click();
    await agrees(async () => {
      const one = await api(collector, `errors/${group.fingerprint}`);
      assert.equal(await page.locator('h1').textContent(), one.type);
      assert.equal(await page.locator('.message').textContent(), one.message);
      assert.deepEqual((await texts(page, '.headline dd')).slice(0, 4), [one.count, one.fatal, one.stores, one.terminals].map(num));
      assert.deepEqual(await texts(page, '.frames li'), one.frames.map(({ fn, module, line, col }) => `${fn}${module}:${line}:${col}`));
      assert.deepEqual(await texts(page, '.parts li'), [...one.by_release.map(({ release, count }) => release + num(count)), ...one.by_store.map(({ store_id, count }) => store_id + num(count))]);
    });
    assert.equal(await page.locator('main img, main script').count(), 0);
    await page.close();
  });

  test('lost batches: the ledger and every gap', async () => {
    const page = await open('lost');
    await agrees(async () => {
      const { totals, statement, losses } = await api(collector, 'losses?limit=500');
      assert.ok(losses.some(({ state, batches }) => state === 'open' && batches === 3) && losses.some(({ state }) => state === 'explained'));
      assert.deepEqual(await texts(page, '.ledger b'), [totals.numbered, totals.received, totals.open, totals.explained, totals.lost].map(grouped));
      assert.ok((await page.locator('.statement').textContent()).startsWith(statement));
      assert.deepEqual((await rowsOf(page, 'tbody tr')).map((cells) => cells.slice(0, 6)),
        losses.map((one) => [one.state, one.store_id, one.terminal_id, num(one.batches), num(one.samples), one.from_seq === null ? '–' : one.from_seq === one.to_seq ? grouped(one.from_seq) : `${grouped(one.from_seq)}–${grouped(one.to_seq)}`]));
    });
    await page.getByRole('button', { name: /^Explain batch/ }).first().click();
    assert.match(await page.locator('.how').textContent(), new RegExp(`tillwatch explain .*store-gaps till-9 ${tills.find(({ batch }) => batch.store_id === 'store-gaps').queue} \\d`));
    await page.close();
  });

  test('a query: percentiles of the whole range by store, and the samples over the limits', async () => {
    const [from, to] = [Math.floor(Date.now() / 60_000) * 60_000 - 600_000, Math.floor(Date.now() / 60_000) * 60_000];
    const page = await open(`query?metric=sync_duration_ms&group_by=store_id&from=${from}&to=${to}&q=0.5,0.95,0.99`);
    await agrees(async () => {
      const { series, unit } = await api(collector, `percentiles?metric=sync_duration_ms&group_by=store_id&from=${from}&to=${to}&q=0.5,0.95,0.99&order_by=0.99&limit=200`);
      assert.ok(series.length > 0);
      assert.deepEqual(await rowsOf(page, 'tbody tr'), series.map(({ store_id, points: [point] }) => [store_id, num(point.count), ...['0.5', '0.95', '0.99'].map((q) => plain(figure(point.values[q], unit))), plain(figure(point.max, unit)), ...point.over.map((over) => plain(share(over / point.count, 2)))]));
    });
    await page.close();
  });

  test('releases: shares and percentiles', async () => {
    const page = await open('releases');
    await agrees(async () => {
      const { series } = await api(collector, `percentiles?metric=sync_duration_ms&group_by=release&order_by=count&q=0.95&from=${Math.floor(Date.now() / 3_600_000) * 3_600_000 - 168 * 3_600_000}`);
      const own = series.filter(({ release }) => !release.startsWith('__'));
      const sum = own.reduce((all, { points }) => all + points[0].count, 0);
      assert.ok(own.length > 0);
      const cards = await texts(page, '.card');
      assert.equal(cards.length, own.length);
      own.forEach(({ release, points: [point] }, i) => assert.ok(cards[i].startsWith(release) && cards[i].endsWith(`${plain(share(point.count / sum))} · ${num(point.count)} syncs · p95 ${plain(figure(point.values['0.95'], 'ms'))}`), cards[i]));
    });
    await page.close();
  });

  test('the pipeline: the ledger of samples adds up, with the collector\'s numbers', async () => {
    const page = await open('pipeline');
    await isLive(page);
    await agrees(async () => {
      const { series } = await api(collector, 'pipeline');
      const at = (place) => series[`tillwatch_ledger_samples{place="${place}"}`];
      assert.ok(at('accepted') > 0);
      assert.deepEqual(await texts(page, '.ledger b'), ['accepted', 'open', 'outbox', 'confirmed'].map((place) => grouped(at(place))));
      assert.match(await page.locator('.statement').textContent(), /^It adds up\./);
      const stage = async (name) => page.locator('.stage', { has: page.getByRole('heading', { name }) }).textContent();
      assert.ok((await stage('Aggregate')).includes(`${plural(series.tillwatch_stores, 'store')}, ${plural(series.tillwatch_terminals, 'till')}.`));
      assert.ok((await stage('ClickHouse')).includes('It answers.'));
    });
    await page.close();
  });

  test('probes: only what probes have found', async () => {
    const page = await open('probes');
    await agrees(async () => {
      const cells = ['store-probe'];
      for (const metric of ['offline_login_duration_ms', 'sync_100_duration_ms', 'reconnect_to_synced_ms', 'memory_used_mb']) {
        const { series: [{ store_id, points: [point] }], unit } = await api(collector, `percentiles?metric=${metric}&source=synthetic&group_by=store_id&q=0.95&from=${Date.now() - 86_400_000}`);
        assert.equal(store_id, 'store-probe');
        cells.push(plain(figure(point.values['0.95'], unit)), num(point.count));
      }
      assert.deepEqual(await rowsOf(page, 'tbody tr'), [cells]);
    });
    await page.close();
  });

  test('settings: each one, and which are other than the default', async () => {
    const page = await open('settings');
    const said = (value) => (value === null ? 'not set' : value || 'empty');
    await agrees(async () => {
      const { settings } = await api(collector, 'settings');
      assert.ok(settings.some(({ name, is_given }) => name === 'grafana_url' && is_given !== false));
      assert.deepEqual((await rowsOf(page, 'tbody tr')).map(([name, value, byDefault]) => [name, value, byDefault]), settings.map(({ name, variable, value, default: byDefault }) => [name + variable, said(value), said(byDefault)]));
    });
    await page.close();
  });

  test('a store that nobody knows is said to be unknown, and a name in the address is only text', async () => {
    const page = await open('store?store_id=' + encodeURIComponent(HOSTILE.slice(0, 60)));
    await agrees(async () => assert.match(await page.locator('main').textContent(), /store/i));
    assert.equal(await page.locator('h1').textContent(), HOSTILE.slice(0, 60));
    assert.equal(await page.locator('main img, main script').count(), 0);
    await page.close();
    // A question about a store that nobody knows is answered 404, and Chromium writes that down by itself.
    browser.said = browser.said.filter((text) => !/Failed to load resource: .* (404|422|400)/.test(text));
  });

  test('the console of the browser is empty, and no other host was asked', async () => {
    await sleep(200);
    assert.deepEqual(browser.said, []);
    assert.deepEqual(browser.strangers(new URL(pages.url).host), []);
  });
});
