// Whoever cannot see the page, sees little of it, or has a narrow screen: axe-core finds nothing on any view, dark or light, wide or
// narrow, and nothing is wider than 320 px.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { api, Browser, Collector, helper, freePort, pagesOf, samples, Till, until, well } from './support.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const LONG = 'L'.repeat(64);

let collector;
let pages;
let madeUp;
let browser;
const VIEWS = [];

before(async () => {
  collector = await new Collector({ TILLWATCH_GRAFANA_URL: 'http://grafana.example.com:3000' }).start();
  pages = await pagesOf(collector);
  for (const store of ['store-1', 'store-2', LONG]) {
    const till = new Till(collector, store, store === LONG ? LONG : 'till-1');
    const t = Date.now() - 150_000;
    await till.post({ samples: [...well().map((one) => ({ ...one, t })), ...(store === 'store-1' ? samples('sync_duration_ms', Array(60).fill(9_000), { t }) : [])], events: [{ k: 'error', t, type: 'TypeError', message: 'a message that is rather long '.repeat(8) + 'x'.repeat(60), frames: [{ fn: 'f'.repeat(90), module: 'm'.repeat(90), line: 1, col: 1 }] }] });
    till.seq += 2;
    await till.post({ samples: well() });
    await till.post({ source: 'synthetic', samples: samples('sync_100_duration_ms', [1_700]) });
  }
  const { groups: [{ fingerprint }] } = await api(collector, 'errors');
  const port = await freePort();
  madeUp = await helper('../../dev.mjs', ['--made-up', '--trouble', '--stores', 300, '--port', port], 'http://', { TILLWATCH_ADMIN_URL: collector.adminUrl });
  madeUp.url = `http://127.0.0.1:${port}`;
  for (const [path, what] of [['', '.rows > .row'], ['store?store_id=store-1', '.below tbody tr'], [`store?store_id=${LONG}`, '.below tbody tr'], [`terminal?store_id=${LONG}&terminal_id=${LONG}`, '.columns tbody tr'], ['releases', '.card'],
    ['errors', 'tbody tr'], [`errors?fingerprint=${fingerprint}`, '.frames li'], ['lost', 'tbody tr'], ['query?group_by=store_id', 'tbody tr'], ['pipeline', '.stage'], ['probes', 'tbody tr'], ['settings', 'tbody tr']]) VIEWS.push({ at: pages.url, path, what });
  // What only a fleet with troubles shows.
  for (const [path, what] of [['', '.rows > .row'], ['releases?release=2.5.0', '.interval'], ['pipeline', '.stage.at-critical']]) VIEWS.push({ at: madeUp.url, path, what });
  browser = await new Browser().start({ bypassCSP: true });
});
after(async () => {
  await browser?.stop();
  await madeUp?.stop();
  await pages?.stop();
  await collector?.stop();
});

describe('for everybody', { timeout: 300_000 }, () => {
  let page;
  const nameOf = ({ at, path }) => `${at === madeUp.url ? 'made up: ' : ''}/${path.replaceAll(LONG, 'LONG')}`;
  async function show(view, width, colorScheme) {
    page ??= await browser.open('about:blank');
    await page.setViewportSize({ width, height: width < 1000 ? 844 : 900 });
    await page.emulateMedia({ colorScheme });
    await page.goto(`${view.at}/${view.path}`);
    await page.waitForSelector(view.what, { timeout: 15_000 });
    return page;
  }

  for (const [width, scheme] of [[1440, 'light'], [1440, 'dark'], [390, 'light'], [390, 'dark']]) {
    test(`axe-core finds nothing at ${width} px, ${scheme}`, async () => {
      const found = [];
      for (const view of VIEWS) {
        await show(view, width, scheme);
        await page.evaluate(axe);
        const { violations } = await page.evaluate((tags) => axe.run(document, { runOnly: tags, resultTypes: ['violations'] }), TAGS);
        for (const { id, nodes } of violations) found.push(`${nameOf(view)}: ${id}: ${nodes.slice(0, 3).map(({ html, failureSummary }) => html.slice(0, 160) + ' ' + failureSummary.split('\n')[1]?.trim()).join(' | ')}`);
      }
      assert.deepEqual(found, []);
    });
  }

  test('nothing is wider than a screen of 320 px', async () => {
    const found = [];
    for (const view of VIEWS) {
      await show(view, 320, 'light');
      const widths = () => page.evaluate(() => {
        scrollTo(1_000, 0);
        const moved = scrollX;
        scrollTo(0, 0);
        const past = [...document.querySelectorAll('main *')].filter((one) => one.getBoundingClientRect().right > 320.5 && !one.closest('[role=region], .scroll, svg, pre')).map((one) => one.outerHTML.slice(0, 120));
        return { moved, width: document.documentElement.scrollWidth, past: past.slice(0, 3) };
      });
      // Charts take their width once they are there.
      await until(async () => (await widths()).width <= 320, 'the width', 3_000).catch(async () => found.push(`${nameOf(view)}: ${JSON.stringify(await widths())}`));
    }
    assert.deepEqual(found, []);
  });
});
