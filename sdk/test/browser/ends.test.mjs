// What a page measured last outlives it, whatever its database is at, and counts once.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Collector, Line, script, until } from './support.mjs';
import { PAGE, Till } from './till.mjs';

/** The browser never comes to open the database. */
const SLOW = `<script>
const open = indexedDB.open;
indexedDB.open = function (...given) {
  return Object.defineProperty(open.apply(this, given), 'onsuccess', { set() {} });
};
</script>`;

let collector;
const lines = [];
const tills = [];

async function made() {
  const line = await new Line(collector, { '/': PAGE, '/slow': SLOW + PAGE, '/other': '<title>Other</title>', '/tillwatch.js': script() }).start();
  lines.push(line);
  const till = await new Till(line).open();
  await till.status();
  tills.push(till);
  return till;
}

/** The page's storage is busy with something else until the page ends. */
const block = (till) =>
  till.page.evaluate(
    () =>
      new Promise((resolve) => {
        const request = indexedDB.open('tillwatch');
        request.onsuccess = () => {
          const entries = request.result.transaction('all', 'readwrite').objectStore('all');
          const goOn = () => {
            entries.get(['s']).onsuccess = goOn;
            resolve();
          };
          goOn();
        };
      }),
  );

/** The page is hidden, as far as its scripts know. Returns what it has handed over by then. */
const hide = (till) =>
  till.page.evaluate(() => {
    Object.defineProperty(document, 'hidden', { configurable: true, value: true });
    document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
    return Object.entries(localStorage);
  });

const handedOver = (till) => till.page.evaluate(() => Object.keys(localStorage));

const begin = (till) => till.page.evaluate((options) => tillwatch.init(options), till.options);

before(async () => {
  collector = await new Collector().start();
});

after(async () => {
  for (const till of tills) await till.end();
  for (const line of lines) await line.stop();
  await collector.stop();
});

describe('the end of a page', { concurrency: 2, timeout: 300_000 }, () => {
  test('a page that ends before its database is open', async () => {
    const till = await made();
    await till.page.close();
    for (const end of [() => till.page.goto(till.line.url + '/other'), () => till.page.close()]) {
      till.page = await till.visit('/slow');
      await till.record(10);
      await end();
    }
    till.page = await till.visit();
    await till.record(1);
    await till.settled(collector);
    assert.deepEqual(await until(async () => {
      await till.status();
      const left = await handedOver(till);
      return left.length ? undefined : { left };
    }, 'everything to be taken up'), { left: [] });
  });

  test('a page that ends while its database is busy', async () => {
    const till = await made();
    for (const end of [() => till.page.goto(till.line.url + '/other'), () => till.page.close()]) {
      await block(till);
      await till.record(10);
      await end();
      till.page = await till.visit();
      await till.status();
    }
    await till.record(1);
    await till.settled(collector);
  });

  test('whoever looks at a database that never opens waits together', async () => {
    const till = await made();
    await till.page.close();
    till.page = await till.visit('/slow');
    const began = Date.now();
    const seen = await till.page.evaluate(() => Promise.all(Array.from({ length: 10 }, () => tillwatch.status())));
    assert.equal(seen.length, 10);
    // One after the other, they would wait for 10 s each.
    assert.ok(Date.now() - began < 60_000, `${Date.now() - began} ms`);
  });

  test('what is kept and handed over counts once, even if it is handed over again', async () => {
    const till = await made();
    await till.record(10);
    const handed = await hide(till);
    assert.ok(handed.length > 0, 'nothing was handed over');
    await till.flush();
    await till.record(5);
    await till.status();
    // The browser's process ended before it had written down that these are gone.
    await till.page.evaluate((handed) => {
      for (const [key, text] of handed) localStorage[key] = text;
      // This is nobody's.
      localStorage.tillwatch0 = '{"of"';
    }, handed);
    await till.page.close();
    till.page = await till.visit();
    await till.record(1);
    await till.flush();
    await till.settled(collector);
    assert.ok(!(await handedOver(till)).includes(handed[0][0]), 'it is still there');
  });

  test('what was handed over goes with the consent', async () => {
    const till = await made();
    await till.page.close();
    till.page = await till.visit('/slow');
    await till.page.evaluate(() => tillwatch.observe('sync_payload_bytes', 2000));
    assert.ok((await hide(till)).length > 0, 'nothing was handed over');
    await till.page.goto(till.line.url + '/');
    await begin(till);
    await till.page.evaluate(() => tillwatch.setConsent(false));
    assert.deepEqual(await handedOver(till), []);
    await till.page.evaluate(() => tillwatch.setConsent(true));
    await till.record(3);
    await till.settled(collector);
  });
});
