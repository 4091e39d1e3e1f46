// What a page does when the collector dies, when nobody looks, and when there are several pages; and what the collector does with a
// reader that does not read.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { Browser, Collector, helper, isLive, pagesOf, Passage, samples, sleep, Till, until, well } from './support.mjs';

const isNetwork = (text) => /Failed to load resource: net::ERR_|Failed to load resource: .* 502/.test(text);
const heardText = (page) => page.$eval('.row[data-store=store-1]', (row) => row.lastElementChild.textContent);
const queueText = (page, store) => page.$eval(`.row[data-store=${store}] [data-column=pending_max]`, (cell) => cell.textContent);

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
    await page.waitForSelector('.row[data-store=store-1]');
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
    const { url, stop } = await pagesOf(collector);
    passage = await new Passage({ adminUrl: url, stop }).start();
    browser = await new Browser().start();
    await new Till(collector, 'store-1').post({ samples: well() });
  });
  after(async () => {
    await browser?.stop();
    await passage?.stop();
    await passage?.collector.stop();
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
    await shown[0].waitForSelector('.row[data-store=store-2]');
    assert.equal(passage.open.size, 1);
    await shown[0].close();
    await until(() => passage.open.size === 0, 'the stream of a closed page to end', 20_000);
    assert.deepEqual(browser.said, []);
  });
});

describe('a reader that does not read', { timeout: 120_000 }, () => {
  let collector;
  let load;
  before(async () => {
    collector = await new Collector({ TILLWATCH_SEAL_INTERVAL: '5m', TILLWATCH_LOG_LEVEL: 'error' }).start();
    load = await helper('load.mjs', [collector.url, 2_000, 333]);
  });
  after(async () => {
    await load?.stop();
    await collector?.stop();
  });

  const memory = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${collector.process.pid}/status`, 'utf8'))[1]) / 1024;
  /** A stream over a bare socket. What was read is in `text`; `end` says when the collector closed it. */
  async function stream() {
    const { hostname, port } = new URL(collector.adminUrl);
    const one = { text: '', end: 0 };
    one.socket = connect(Number(port), hostname, () => one.socket.write(`GET /api/v1/live?topics=fleet HTTP/1.1\r\nHost: ${hostname}:${port}\r\n\r\n`));
    one.socket.on('data', (data) => (one.text += data));
    one.socket.on('error', () => {});
    one.socket.on('close', () => { one.end = Date.now(); });
    await until(() => /event: snapshot\r?\ndata: .*"sparks"/.test(one.text), 'a snapshot');
    return one;
  }
  const snapshots = ({ text }) => text.split('event: snapshot').length - 1;

  test('costs the collector no memory; once it reads it gets a snapshot, and if it never does it is closed', async () => {
    // All stores are known and the windows are warm.
    await until(() => /sent \d/.test(load.out()), 'some seconds of load', 30_000);
    const reader = await stream();
    reader.socket.pause();
    const begin = memory();
    const t = Date.now();
    let most = begin;
    // Short of the 30 s after which it would be closed.
    while (Date.now() - t < 20_000) {
      most = Math.max(most, memory());
      await sleep(250);
    }
    const was = reader.text.length;
    assert.equal(snapshots(reader), 1);
    reader.socket.resume();
    await until(() => snapshots(reader) > 1 || reader.end, 'a second snapshot', 20_000);
    const how = reader.end ? 'was closed' : `got a snapshot again, after ${((reader.text.length - was) / 1e6).toFixed(1)} MB`;
    console.log(`a reader that slept for 20 s cost ${(most - begin).toFixed(1)} MB of ${begin.toFixed(0)} MB, and ${how}`);
    assert.ok(most - begin < 50);
    reader.socket.destroy();

    const deaf = await stream();
    deaf.socket.pause();
    const since = Date.now();
    // The socket is gone at the collector's end; here it says so only to whoever reads.
    const port = deaf.socket.localPort;
    const isOpen = () => readFileSync('/proc/net/tcp', 'utf8').split('\n').some((line) => {
      const [, , remote, state] = line.trim().split(/\s+/);
      return state === '01' && remote?.endsWith(':' + port.toString(16).toUpperCase().padStart(4, '0'));
    });
    assert.ok(isOpen());
    await until(() => !isOpen(), 'the collector to close what nobody reads', 50_000);
    console.log(`a reader that never reads was closed after ${((Date.now() - since) / 1000).toFixed(0)} s`);
    deaf.socket.destroy();
  });
});
