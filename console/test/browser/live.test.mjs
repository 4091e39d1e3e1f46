// How long a batch takes from its 202 to the page. BATCHES (60) says how many are timed in a quiet fleet and in a busy one. What is
// asserted leaves room for slow machines; what is printed is for docs/figures.md.
import assert from 'node:assert/strict';
import { cpus, loadavg } from 'node:os';
import { after, afterEach, before, describe, test } from 'node:test';
import { at, Browser, Collector, helper, isLive, pagesOf, pure, samples, sleep, Till, until, well } from './support.mjs';

const { grouped } = await pure('format');
const BATCHES = Number(process.env.BATCHES ?? 60);
const [STORES, RATE] = [2000, 333];
/** Where others work, too, everything takes longer. */
const LOOSE = process.env.CI || loadavg()[0] > cpus().length ? 2 : 1;
const WATCHED = 'watched';
/** Past its limit, so that the store stands at the top of any fleet; each batch has the next one. */
const FIRST = 2_000;

let collector;
let pages;
let browser;

before(async () => {
  collector = await new Collector({ TILLWATCH_SEAL_INTERVAL: '5m', TILLWATCH_LOG_LEVEL: 'error' }).start();
  pages = await pagesOf(collector);
  browser = await new Browser().start();
});
afterEach(() => assert.deepEqual(browser.said, []));
after(async () => {
  await browser?.stop();
  await pages?.stop();
  await collector?.stop();
});

/** Notes when each text came to stand in the queue of the store, and when the frame with it was painted. */
const watch = (page, store) => page.evaluate((store) => {
  window.seen = {};
  window.isWatching = true;
  new MutationObserver(() => {
    const text = document.querySelector(`.rows > .row:has([data-row="${store}"]) > :nth-child(10)`)?.textContent;
    if (!text || window.seen[text]) return;
    const one = (window.seen[text] = { written: Date.now() });
    // What is written in a frame's callback is painted before the next task.
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => { one.painted = Date.now(); };
    port2.postMessage(0);
  }).observe(document.querySelector('.rows'), { subtree: true, childList: true, characterData: true });
}, store);

async function timed(page, till, n, from) {
  const answered = [];
  for (let i = 0; i < n; i += 1) {
    answered.push(await till.post({ samples: [...samples('pending_transactions', [from + i]), ...samples('sync_duration_ms', [500 + i])] }));
    // A store is pushed four times a second at most.
    await sleep(300 + Math.random() * 300);
  }
  const seen = await until(async () => {
    const all = await page.evaluate(() => window.seen);
    return all[grouped(from + n - 1)]?.painted && all;
  }, 'the last batch on the page');
  // Where the machine was so slow that two came in one frame, the second is seen alone.
  const painted = answered.map((_, i) => seen[grouped(from + i)]?.painted);
  return answered.map((t, i) => painted.slice(i).find((one) => one !== undefined) - t);
}

function print(what, times) {
  console.log(`${what}: from the 202 to the painted page p50 ${at(times, 0.5)} ms, p99 ${at(times, 0.99)} ms, most ${Math.max(...times)} ms of ${times.length} batches (${cpus().length} processors)`);
}

describe('how soon something is on the page', { timeout: 240_000 }, () => {
  const till = () => new Till(collector, WATCHED);
  let page;
  let watched;

  test('a batch in a quiet fleet', async () => {
    for (let i = 0; i < 50; i += 1) await new Till(collector, `quiet-${String(i).padStart(2, '0')}`).post({ samples: well() });
    watched = till();
    await watched.post({ samples: samples('pending_transactions', [FIRST - 1]) });
    page = await browser.open(pages.url);
    await isLive(page);
    await page.waitForSelector(`.rows [data-row="${WATCHED}"]`);
    await watch(page, WATCHED);
    const times = await timed(page, watched, BATCHES, FIRST);
    print('quiet', times);
    assert.ok(at(times, 0.5) < 250 * LOOSE && at(times, 0.99) < 1_000 * LOOSE);
  });

  const isFirst = (store) => page.waitForFunction((store) => {
    const all = [...document.querySelectorAll('.rows > .row')];
    return all.length > 0 && all.reduce((one, other) => (parseFloat(one.style.top) <= parseFloat(other.style.top) ? one : other)).querySelector('[data-row]').dataset.row === store;
  }, store, { timeout: 10_000 });

  test('a store that has become slow is at the top within a second, and soon if others have just moved', async () => {
    for (const [store, isBusy] of [['quiet-31', false], ['quiet-17', true]]) {
      if (isBusy) {
        await new Till(collector, 'quiet-40').post({ samples: well() });
        await sleep(300);
      } else await sleep(2_000);
      const t = await new Till(collector, store).post({ samples: samples('sync_duration_ms', Array(60).fill(isBusy ? 59_000 : 29_000)) });
      await isFirst(store);
      const took = Date.now() - t;
      console.log(`a slowed store is at the top after ${took} ms${isBusy ? ', just after another change' : ''}`);
      // Rows keep their places for 0.7 s at least.
      assert.ok(took < (isBusy ? 2_000 : 1_000) * LOOSE, `after ${took} ms`);
    }
  });

  test(`a batch while ${RATE} others come every second from ${STORES} stores`, async () => {
    const load = await helper('load.mjs', [collector.url, STORES, RATE]);
    try {
      await page.waitForFunction((n) => Number(/([\d,]+) stores/.exec(document.querySelector('.head .sub')?.textContent)?.[1].replace(',', '')) > n, STORES, { timeout: 60_000 });
      const times = await timed(page, watched, BATCHES, FIRST + BATCHES);
      print(`${RATE} batches a second of ${STORES} stores`, times);
      console.log(load.out().trim().split('\n').at(-1));
      assert.doesNotMatch(load.out(), /refused/);
      assert.ok(at(times, 0.5) < 500 * LOOSE && at(times, 0.99) < 1_000 * LOOSE);
    } finally {
      await load.stop();
    }
  });
});
