// What the other libraries lose: a cut line, a closed tab, a collector that refuses, a power cut. Against ledgers kept here.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Collector, Line, script, sleep, until } from './support.mjs';
import { PAGE, Till } from './till.mjs';

const SECONDS = Number(process.env.SDK_OUTAGE_S || 60);

let collector;
const lines = [];
const tills = [];

async function till(options, open) {
  const line = await new Line(collector, { '/': PAGE, '/tillwatch.js': script() }).start();
  lines.push(line);
  const made = await new Till(line, options).open(open);
  tills.push(made);
  return made;
}

/** One value a second. */
async function sell(till, seconds = SECONDS) {
  for (let second = 0; second < seconds; second++) {
    await till.record();
    await sleep(1000);
  }
}

before(async () => {
  collector = await new Collector().start();
});

after(async () => {
  for (const till of tills) await till.end();
  for (const line of lines) await line.stop();
  await collector.stop();
});

describe('outages', { concurrency: true, timeout: 400_000 }, () => {
  test('S1: a minute offline', async () => {
    const one = await till();
    await one.record(3);
    await one.flush();
    await one.context.setOffline(true);
    await sell(one);
    assert.equal((await one.status()).connection, 'offline');
    await one.context.setOffline(false);
    assert.equal(await one.settled(collector), SECONDS + 3);
    const totals = await collector.totals(one.store);
    assert.equal(totals.get('mode_switches offline').sum, 1);
    // It is measured by the first answer, and goes with the next post.
    const { count, sum } = await until(async () => {
      await one.flush();
      return (await collector.totals(one.store)).get('offline_duration_ms');
    }, 'the length of the outage');
    assert.equal(count, 1);
    assert.ok(sum > 0.8e6 * SECONDS && sum < 1e6 * (SECONDS + 60), `offline for ${sum} µs`);
  });

  test('S2: the tab is closed while offline', async () => {
    const one = await till();
    await one.flush();
    await one.context.setOffline(true);
    await sell(one);
    await one.page.close();
    await one.context.setOffline(false);
    await one.open();
    assert.equal(await one.settled(collector), SECONDS);
  });

  test('S3: 503 for a minute', async () => {
    const one = await till();
    one.line.mode = '503';
    await sell(one);
    const { length } = one.line.posts;
    assert.ok(length >= 2 && length <= 12 * Math.ceil(SECONDS / 60) + 1, `${length} posts`);
    one.line.mode = 'open';
    assert.equal(await one.settled(collector, Infinity, 120_000), SECONDS);
  });

  test('S4: a power cut while offline', async () => {
    const one = await till();
    await one.flush();
    await one.context.setOffline(true);
    await sell(one, 25);
    await sleep(6000);
    await one.kill();
    await one.open();
    assert.equal(await one.settled(collector), 25);
  });

  test('the answer is lost after the collector took the batch', async () => {
    const one = await till();
    let lost = 0;
    one.line.mode = () => (lost++ < 3 ? 'lost' : 'open');
    await one.record(20);
    await one.flush();
    await one.record(20);
    assert.equal(await one.settled(collector), 40);
    await until(async () => (await one.status()).waiting.samples < 20, 'the resent batch to be acknowledged', 60_000);
    assert.ok(lost > 3);
  });

  test('a login page of a foreign network answers everything', async () => {
    const one = await till();
    one.line.mode = 'login';
    await one.record(10);
    await one.flush();
    assert.equal((await one.found(collector)).size, 0);
    one.line.mode = 'open';
    await one.settled(collector);
  });

  test('three tabs of one till', async () => {
    const one = await till();
    const others = [await one.visit(), await one.visit()];
    for (let round = 0; round < 10; round++)
      for (const page of [one.page, ...others]) {
        await one.record(3, page);
        if (round % 3 === 1) await Promise.all([one.page, ...others].map((page) => one.flush(page)));
      }
    await others[0].close();
    assert.equal(await one.settled(collector), 90);
  });

  test('the collector is killed and comes back', async () => {
    const own = await new Collector().start();
    const line = await new Line(own, { '/': PAGE, '/tillwatch.js': script() }).start();
    const one = await new Till(line).open();
    try {
      for (let round = 0; round < 5; round++) {
        await one.record(10);
        const flushed = one.flush();
        await sleep(Math.random() * 60);
        await own.kill();
        await flushed;
        await one.record(10);
        await own.start();
      }
      assert.equal(await one.settled(own), 100);
    } finally {
      await one.end();
      await line.stop();
      await own.stop();
    }
  });
});
