// Web vitals as `web-vitals` measures them on the same page: what each visit comes to, however it went.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { build } from 'esbuild';
import { Collector, Line, browser, painted, script, sleep, until } from './support.mjs';
import { Till } from './till.mjs';

const sdk = new URL('../..', import.meta.url).pathname;

const page = (body, early = '') => `<!doctype html><html lang=en><meta charset=utf-8><title>Till</title><link rel=icon href="data:,">
<script>${early}</script><style>body{margin:0}.hero{width:800px;height:300px;background:#246;color:#fff;font-size:60px}</style>
<div id=late></div><div class=hero>Till 7 ready to sell</div><button id=pay>Pay</button><button id=go>Go</button><div id=view></div>
<script>
const busy = (ms) => { const end = performance.now() + ms; while (performance.now() < end); };
let pays = [];
pay.onclick = () => { busy(pays.shift() || 0); view.textContent = 'paid ' + performance.now() };
const shiftAt = (...at) => at.forEach((ms, n) => setTimeout(() => { late.style.height = 60 * (n % 2 + 1) + 40 * (n % 3) + 'px' }, ms));
</script>
<script src=/vitals.js></script><script src=/tillwatch.js></script>${body}`;

/** Others than Chromium measure less. */
const LESS = `const all = PerformanceObserver.supportedEntryTypes.filter((type) => !/shift|soft|interaction-c|visib/.test(type));
Object.defineProperty(PerformanceObserver, 'supportedEntryTypes', { get: () => all });
delete Performance.prototype.interactionCount;
const listed = performance.getEntriesByType;
performance.getEntriesByType = (type) => (type === 'visibility-state' ? [] : listed.call(performance, type));`;

/** Until it is shown, the page is hidden, as far as scripts know. */
const COVER = `const hide = () => {
  Object.defineProperty(document, 'visibilityState', { configurable: true, value: 'hidden' });
  Object.defineProperty(document, 'hidden', { configurable: true, value: true });
  document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
};
const show = () => {
  delete document.visibilityState;
  delete document.hidden;
  document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
};`;

/** Rendered before it is shown, as far as scripts know. */
const EARLY = `let shownAt = 0;
Object.defineProperty(document, 'prerendering', { configurable: true, get: () => !shownAt });
Object.defineProperty(PerformanceNavigationTiming.prototype, 'activationStart', { get: () => shownAt });
setTimeout(() => { shownAt = performance.now(); document.dispatchEvent(new Event('prerenderingchange', { bubbles: true })) }, 600);`;

const SOFT = `<script>
let at = 0;
go.onclick = () => { busy(60); history.pushState({}, '', '/soft/' + ++at); setTimeout(() => {
  view.innerHTML = '<div style="width:900px;height:500px;font-size:90px">Basket ' + at + ' of the day with its items</div>' }, 100) };
</script>`;

const files = {
  '/': page('<script>shiftAt(300)</script>'),
  '/other': page('<script>shiftAt(200)</script>', LESS),
  '/windows': page('<script>shiftAt(300, 500, 2200, 2500, 2900, ...Array.from({ length: 9 }, (_, n) => 5000 + n * 700))</script>'),
  '/hidden': page('<script>shiftAt(300)</script>', COVER + 'hide()'),
  '/covered': page('', COVER),
  '/soft': page(SOFT),
  '/early': page(
    `<script>setTimeout(() => { sessionStorage.changedAt = performance.now();
    view.innerHTML = '<div class=hero style="height:400px;width:1000px">Large, with many words</div>' }, 900);</script>`,
    EARLY,
  ),
  '/quiet': '<!doctype html><title>Quiet</title><script src=/tillwatch.js></script>',
};

let collector;
const lines = [];
const tills = [];

/** A till at a page, which has begun to measure and has painted something. */
async function at(path, launch = {}) {
  const line = await new Line(collector, files).start();
  lines.push(line);
  const till = new Till(line);
  tills.push(till);
  till.context = await browser(till.profile, launch);
  till.page = await till.visit(path);
  await till.status();
  await painted(till.page);
  return till;
}

const METRICS = { LCP: 'lcp_ms', FCP: 'fcp_ms', TTFB: 'ttfb_ms', INP: 'inp_ms', CLS: 'cls_score' };

/** Leaves the page, and compares what both have made of its visits. Returns what `web-vitals` has said. */
async function left(till, expected) {
  await sleep(300);
  await till.page.goto(till.line.url + '/quiet');
  await till.page.evaluate((options) => tillwatch.init({ ...options, auto: false }), till.options);
  const theirs = Object.values(await till.page.evaluate(() => JSON.parse(sessionStorage.theirs || '{}')));
  await until(async () => {
    await till.flush();
    // What is left is how long that took.
    return (await till.status()).waiting.samples <= 2;
  }, 'everything to be sent');
  await until(async () => {
    const totals = await collector.totals(till.store);
    for (const [name, metric] of Object.entries(METRICS)) {
      const values = theirs.filter((one) => one.name === name).map(({ value }) => value);
      const { count = 0, sum = 0 } = totals.get(metric) || {};
      const scale = name === 'CLS' ? 10_000 : 1000;
      assert.equal(count, values.length, `${metric}: ${count} values with the sum ${sum / scale}, not ${values}`);
      if (name in expected) assert.equal(count, expected[name], `${metric}: ${values}`);
      const due = values.reduce((all, value) => all + value, 0) * scale;
      // Each times a restore by a frame of its own.
      const within = values.length * 0.5 + 1e-6 + (till.isTimedTwice && /FCP|LCP/.test(name) ? 5 * scale : 0);
      assert.ok(Math.abs(sum - due) <= within, `${metric}: ${sum / scale}, not ${values}`);
    }
    return true;
  }, 'the vitals');
  return theirs;
}

const pay = async (till, ...ms) => {
  await till.page.evaluate((ms) => (pays = ms), ms);
  for (const _ of ms) await till.page.click('#pay');
  await sleep(300);
};

before(async () => {
  const contents = `import { onLCP, onINP, onCLS, onFCP, onTTFB } from 'web-vitals';
    const theirs = {};
    const take = ({ id, name, value, navigationType }) => { theirs[id] = { name, value, navigationType }; sessionStorage.theirs = JSON.stringify(theirs) };
    for (const on of [onLCP, onFCP, onTTFB]) on(take, { reportSoftNavs: true });
    for (const on of [onINP, onCLS]) on(take, { reportSoftNavs: true, reportAllChanges: true });`;
  const { outputFiles } = await build({ stdin: { contents, resolveDir: sdk }, bundle: true, format: 'iife', write: false });
  files['/vitals.js'] = outputFiles[0].text;
  files['/tillwatch.js'] = script();
  collector = await new Collector().start();
});

after(async () => {
  for (const till of tills) await till.end();
  for (const line of lines) await line.stop();
  await collector.stop();
});

describe('web vitals are those of web-vitals', { concurrency: 4, timeout: 400_000 }, () => {
  test('a page without an input', async () => {
    const till = await at('/');
    await sleep(600);
    await left(till, { LCP: 1, FCP: 1, TTFB: 1, CLS: 1, INP: 0 });
  });

  test('many interactions: the 98th percentile of them', async () => {
    const till = await at('/');
    await sleep(600);
    await pay(till, 120, 0, 900, 60, 0, 90);
    await pay(till, ...Array(60).fill(0));
    await till.page.keyboard.press('Tab');
    const theirs = await left(till, { LCP: 1, INP: 1 });
    assert.ok(theirs.find(({ name }) => name === 'INP').value < 900, 'the longest is beyond the percentile');
  });

  test('another browser: no shifts, no soft navigations, interactions that nobody counts', async () => {
    const till = await at('/other');
    await sleep(400);
    await pay(till, 100, 60, 220);
    await pay(till, ...Array(55).fill(20));
    await left(till, { LCP: 1, FCP: 1, INP: 1, CLS: 0 });
  });

  test('shifts in several windows', async () => {
    const till = await at('/windows');
    await sleep(11_500);
    const theirs = await left(till, { CLS: 1 });
    assert.ok(theirs.find(({ name }) => name === 'CLS').value > 0);
  });

  test('a page that was hidden before it painted', async () => {
    const till = await at('/hidden');
    await sleep(500);
    await till.page.evaluate(() => show());
    await pay(till, 100);
    await left(till, { LCP: 0, FCP: 0, CLS: 0, TTFB: 1, INP: 1 });
  });

  test('a page that was hidden before it painted its largest element', async () => {
    const till = await at('/covered');
    await till.page.evaluate(() => {
      hide();
      show();
      view.innerHTML = '<div class=hero style="height:400px;width:1000px">Late and large, with many words</div>';
    });
    await painted(till.page, 2);
    await left(till, { LCP: 1, FCP: 1 });
  });

  test('soft navigations are visits', async () => {
    const till = await at('/soft');
    await sleep(300);
    await pay(till, 80);
    for (let visit = 0; visit < 3; visit++) {
      await till.page.click('#go');
      await sleep(1200);
      if (visit !== 1) await pay(till, 60 + 50 * visit);
    }
    const theirs = await left(till, { LCP: 4, FCP: 4, TTFB: 4, INP: 4, CLS: 4 });
    assert.ok(theirs.some(({ navigationType }) => navigationType === 'soft-navigation'));
  });

  test('a page that comes back from the back/forward cache', async () => {
    const till = await at('/', { ignoreDefaultArgs: ['--disable-back-forward-cache'] });
    till.isTimedTwice = true;
    await sleep(600);
    await pay(till, 100);
    await till.page.goto(till.line.url + '/quiet');
    await till.page.evaluate(() => void setTimeout(() => history.back(), 50));
    await sleep(1500);
    await pay(till, 0, 140);
    const theirs = await left(till, { LCP: 2, FCP: 2, TTFB: 2, INP: 2, CLS: 2 });
    assert.ok(theirs.some(({ navigationType }) => navigationType === 'back-forward-cache'));
    assert.equal((await collector.totals(till.store)).get('page_load_cached_ms')?.count, 1);
  });

  test('a page that was prerendered', async () => {
    const till = await at('/early');
    await painted(till.page, 2);
    const theirs = await left(till, { LCP: 1, FCP: 1, TTFB: 1, CLS: 1 });
    const { value } = theirs.find(({ name }) => name === 'LCP');
    const changedAt = Number(await till.page.evaluate(() => sessionStorage.changedAt));
    assert.ok(value > 0 && value < changedAt, `LCP: ${value} since the page was shown, changed ${changedAt} since it began`);
  });
});
