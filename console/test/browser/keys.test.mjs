// The console with the keyboard alone.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Browser, Collector, isLive, pagesOf, samples, sleep, Till, until, well } from './support.mjs';

describe('the keyboard alone', { timeout: 120_000 }, () => {
  let collector;
  let pages;
  let browser;
  let page;
  const tills = Array.from({ length: 12 }, (_, i) => `store-${String(i + 1).padStart(2, '0')}`);
  const till = new Map();
  before(async () => {
    collector = await new Collector().start();
    pages = await pagesOf(collector);
    for (const [i, store] of tills.entries()) {
      till.set(store, new Till(collector, store));
      // The first three are past their limit, the first of them the farthest.
      await till.get(store).post({ samples: [...well(), ...(i < 3 ? samples('pending_transactions', [4_000 - i * 500]) : [])] });
    }
    browser = await new Browser().start();
    page = await browser.open(pages.url);
    await isLive(page);
    await page.waitForFunction(() => document.querySelectorAll('.rows > .row').length === 12);
  });
  after(async () => {
    await browser?.stop();
    await pages?.stop();
    await collector?.stop();
  });

  const focused = () => page.evaluate(() => document.activeElement.dataset.row ?? document.activeElement.tagName);
  /** The focus follows what is drawn, so it is waited for. */
  const isOn = (what) => page.waitForFunction((what) => (document.activeElement.dataset.row ?? document.activeElement.tagName) === what, what, { timeout: 5_000 });
  const heading = () => page.locator('h1').textContent();
  const at = async (view, params = {}) => until(() => {
    const { pathname, searchParams } = new URL(page.url());
    return pathname.endsWith('/' + view) && Object.entries(params).every(([key, value]) => searchParams.get(key) === value);
  }, `${view} ${JSON.stringify(params)} in place of ${page.url()}`, 5_000);
  const press = async (...keys) => { for (const key of keys) await page.keyboard.press(key); };

  test('j and k walk through the rows, Enter opens one, [ and ] go to its neighbours, Esc goes back', async () => {
    await press('j', 'j');
    await isOn('store-02');
    await press('k');
    await isOn('store-01');
    await press('j', 'Enter');
    await at('store', { store_id: 'store-02' });
    await until(async () => (await heading()).trim() === 'store-02', 'the store');
    // The heading of a view has the focus once it is there.
    await isOn('H1');
    await press(']');
    await at('store', { store_id: 'store-03' });
    // Twice before anything is drawn.
    await page.evaluate(() => { for (let i = 0; i < 2; i += 1) document.body.dispatchEvent(new KeyboardEvent('keydown', { key: '[', bubbles: true })); });
    await at('store', { store_id: 'store-01' });
    await press('Escape');
    await at('');
  });

  test('rows stay where they are for as long as one has the focus, and their numbers go on', async () => {
    const order = () => page.$$eval('.rows > .row', (rows) => rows.sort((one, other) => parseFloat(one.style.top) - parseFloat(other.style.top)).map((row) => row.querySelector('[data-row]').dataset.row));
    await until(async () => (await order())[0] === 'store-01', 'the order');
    await press('j', 'j', 'j');
    const kept = await order();
    await isOn('store-03');
    const begin = Date.now();
    let n = 0;
    // The last one becomes the worst, and all others change, too.
    while (Date.now() - begin < 4_000) {
      n += 1;
      for (const store of tills) await till.get(store).post({ samples: samples('pending_transactions', [store === 'store-12' ? 9_000 + n : 10 + n]) });
      await sleep(200);
      assert.deepEqual(await order(), kept);
      assert.equal(await focused(), 'store-03');
    }
    await page.waitForFunction((text) => document.querySelector('.rows > .row:has([data-row="store-12"]) > :nth-child(10)').textContent === text, `9,0${String(n).padStart(2, '0')}`);
    assert.deepEqual(await order(), kept);
    await page.evaluate(() => document.activeElement.blur());
    await until(async () => (await order())[0] === 'store-12', 'the new order once nothing has the focus', 5_000);
  });

  test('/ searches, Tab leaves the field with what was found, and Esc without', async () => {
    await press('/');
    await isOn('INPUT');
    await page.keyboard.type('store-1');
    await at('', { find: 'store-1' });
    await until(async () => (await page.locator('.rows > .row').count()) === 3, 'three stores');
    // Letters are only letters in a field.
    await page.keyboard.type('gz?jk');
    await at('', { find: 'store-1gz?jk' });
    await press('Escape');
    await isOn('BODY');
    await until(async () => (await page.locator('.rows > .row').count()) === 12, 'all stores again');
    await press('/');
    await page.keyboard.type('store-07');
    await until(async () => (await page.locator('.rows > .row').count()) === 1, 'one store');
    await press('Tab', 'j', 'Enter');
    await at('store', { store_id: 'store-07' });
  });

  test('g and a letter go to each view, ? shows the keys, t and z switch', async () => {
    for (const [letter, view] of [['s', 'store'], ['r', 'releases'], ['e', 'errors'], ['l', 'lost'], ['q', 'query'], ['p', 'pipeline'], ['b', 'probes'], ['c', 'settings'], ['f', '']]) {
      await press('g', letter);
      await at(view);
      await isOn('H1');
    }
    await press('?');
    await page.waitForSelector('dialog[open]');
    await press('Escape');
    await until(async () => !(await page.locator('dialog[open]').count()), 'the keys to close');
    // The system's is light.
    for (const theme of ['light', 'dark', 'light']) {
      await press('t');
      await page.waitForFunction((theme) => document.querySelector('.view').dataset.theme === theme, theme);
    }
    const zone = () => page.getByTitle('Time zone (z)').textContent();
    const before = await zone();
    await press('z');
    await until(async () => (await zone()) !== before, 'the other zone');
  });

  test('Tab reaches the content, a button works with the space bar, and a chart moves its line', async () => {
    await page.goto(pages.url + '/query?metric=sync_duration_ms&range=15m');
    await isLive(page).catch(() => {});
    await press('Tab');
    await page.waitForFunction(() => document.activeElement.textContent === 'Skip to the content');
    await press('Enter');
    await page.waitForFunction(() => document.activeElement.id === 'main');
    const log = page.getByRole('button', { name: 'log', exact: true });
    await log.focus();
    await press('Space');
    await at('query', { scale: 'log' });
    assert.deepEqual(browser.said, []);
  });
});
