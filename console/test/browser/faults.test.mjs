// What a page does when the collector dies, when nobody looks, and when there are several pages.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Browser, Collector, isLive, pagesOf, Passage, samples, sleep, Till, until, well } from './support.mjs';

const isNetwork = (text) => /Failed to load resource: net::ERR_|Failed to load resource: .* 502/.test(text);
const heardText = (page) => page.$eval('.rows > .row:has([data-row="store-1"])', (row) => row.lastElementChild.textContent);
const queueText = (page, store) => page.$eval(`.rows > .row:has([data-row="${store}"]) > :nth-child(10)`, (cell) => cell.textContent);

describe('a collector that is killed', { timeout: 120_000 }, () => {
  let collector;
  let pages;
  let browser;
  before(async () => {
    collector = await new Collector().start();
    pages = await pagesOf(collector);
    browser = await new Browser().start();
  });
  after(async () => {
    await browser?.stop();
    await pages?.stop();
    await collector?.stop();
  });

  test('the page says so and turns grey, its data grows old, and it is live again by itself', async () => {
    const till = new Till(collector, 'store-1');
    await till.post({ samples: well() });
    await new Till(collector, 'store-2').post({ samples: well() });
    const page = await browser.open(pages.url);
    await isLive(page);
    await page.waitForSelector('.rows [data-row="store-1"]');
    await page.evaluate(() => { window.isSame = true; });
    const colour = () => page.$eval('main .view', (view) => { const { filter, opacity, color } = getComputedStyle(view); const own = getComputedStyle(view.parentElement); return [filter, opacity, color, own.filter, own.opacity].join(); });
    const alive = await colour();

    const t = Date.now();
    await collector.kill();
    await page.waitForSelector('[role=alert] .banner', { timeout: 15_000 });
    console.log(`the banner came ${Date.now() - t} ms after the kill`);
    assert.match(await page.locator('.banner').textContent(), /^The collector does not answer\. What you see is of \d\d:\d\d:\d\d/);
    assert.equal(await page.locator('.live').textContent(), 'No answer');
    await until(async () => (await colour()) !== alive, 'the page to turn grey');
    // How long ago something was heard is no longer known, so it does not count on.
    const heard = await heardText(page);
    await sleep(3_000);
    assert.equal(await heardText(page), heard);
    assert.equal(await queueText(page, 'store-1'), '3', 'what was answered last stays');

    await collector.start();
    const back = Date.now();
    await isLive(page);
    await page.waitForFunction(() => !document.querySelector('.banner') && !document.querySelector('main').classList.contains('is-lost'), null, { timeout: 15_000 });
    console.log(`the page is live again ${Date.now() - back} ms after the collector`);
    await till.post({ samples: samples('pending_transactions', [77]) });
    await until(async () => (await queueText(page, 'store-1')) === '77', 'what is new on the page');
    await until(async () => (await colour()) === alive, 'the page to have its colours again');
    assert.equal(await page.evaluate(() => window.isSame), true, 'without being loaded anew');
    assert.deepEqual(browser.said.filter((text) => !isNetwork(text)), []);
  });
});

describe('the stream', { timeout: 120_000 }, () => {
  let collector;
  let passage;
  let browser;
  before(async () => {
    collector = await new Collector().start();
    passage = await new Passage(collector).start();
    browser = await new Browser().start();
    await new Till(collector, 'store-1').post({ samples: well() });
  });
  after(async () => {
    await browser?.stop();
    await passage?.stop();
    await collector?.stop();
  });

  const hide = (page, isHidden) => page.evaluate((isHidden) => {
    Object.defineProperty(document, 'hidden', { value: isHidden, configurable: true });
    Object.defineProperty(document, 'visibilityState', { value: isHidden ? 'hidden' : 'visible', configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, isHidden);

  test('several pages have one, and it ends once all of them are hidden or closed', async () => {
    const shown = [];
    for (const path of ['/', '/', '/store?store_id=store-1', '/pipeline']) {
      const page = await browser.open(passage.url + path);
      await isLive(page);
      shown.push(page);
    }
    await until(() => passage.open.size === 1, 'one stream of four pages');
    for (const page of shown.slice(1)) await page.close();
    await hide(shown[0], true);
    const t = Date.now();
    await sleep(8_000);
    assert.equal(passage.open.size, 1, 'whoever looks away for a moment keeps it');
    await until(() => passage.open.size === 0, 'the stream to end', 20_000);
    const took = Date.now() - t;
    console.log(`the stream ended ${took} ms after the page was hidden`);
    assert.ok(took < 20_000);
    const before = browser.asked.length;
    await sleep(4_000);
    assert.deepEqual(browser.asked.slice(before), [], 'a hidden page asks nothing');

    await new Till(collector, 'store-2').post({ samples: samples('pending_transactions', [5]) });
    await hide(shown[0], false);
    await isLive(shown[0]);
    await shown[0].waitForSelector('.rows [data-row="store-2"]');
    assert.equal(passage.open.size, 1);
    await shown[0].close();
    await until(() => passage.open.size === 0, 'the stream of a closed page to end', 20_000);
    assert.deepEqual(browser.said, []);
  });
});
