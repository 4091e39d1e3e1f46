// What happens to a till over the years: a week without a line, a clock that is wrong, storage that is full, gone or copied.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { after, before, describe, test } from 'node:test';
import { Collector, Line, browser, script, until } from './support.mjs';
import { PAGE, Till } from './till.mjs';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

let collector;
const lines = [];
const tills = [];

async function made(options, page = PAGE) {
  const line = await new Line(collector, { '/': page, '/tillwatch.js': script() }).start();
  lines.push(line);
  const till = new Till(line, options);
  tills.push(till);
  return till;
}

const devtools = (till) => till.context.newCDPSession(till.page);

before(async () => {
  collector = await new Collector().start();
});

after(async () => {
  for (const till of tills) await till.end();
  for (const line of lines) await line.stop();
  await collector.stop();
});

describe('a till', { concurrency: true, timeout: 300_000 }, () => {
  test('a week offline, in simulated time', async (t) => {
    const till = await made();
    // Nothing is recorded near the end of an hour: the drain below runs ahead of the collector's clock by minutes, and the
    // collector corrects by that.
    const began = Math.floor((Date.now() - 7 * DAY) / HOUR) * HOUR + 3 * HOUR + 12 * MINUTE;
    till.context = await browser(till.profile);
    await till.context.clock.install({ time: began });
    await till.open();
    await till.flush();
    await till.context.setOffline(true);
    const hours = new Map();
    let now = began;
    const forward = async (ms) => {
      await till.page.clock.fastForward(ms);
      now += ms;
      await till.flush();
    };
    while (now < Date.now() - HOUR) {
      // Open for ten hours a day.
      for (let half = 0; half < 20 && now < Date.now() - HOUR; half++) {
        for (let part = 0; part < 3; part++) {
          const hour = Math.floor(now / HOUR);
          hours.set(hour, (hours.get(hour) || 0) + (await till.record(4)).length);
          await forward(MINUTE);
        }
        await forward(27 * MINUTE);
      }
      if (now < Date.now() - 15 * HOUR) await forward(14 * HOUR);
    }
    // The collector corrects what a till sends by what its clock is off.
    await forward(Date.now() - now);
    const before = await till.status();
    const { length } = till.line.posts;
    await till.context.setOffline(false);
    await until(async () => {
      await forward(6000);
      return (await till.status()).waiting.samples < 20;
    }, 'the backlog to be sent');
    const posts = till.line.posts.slice(length);
    const backlog = posts.filter(({ path }) => path.includes('backlog'));
    await till.settled(collector);
    const rows = await collector.sql(
      `SELECT toUnixTimestamp(toStartOfHour(window_start)) AS hour, toUInt64(sum(count)) AS n FROM v_rollup_1m
       WHERE store_id = '${till.store}' AND metric = 'sync_payload_bytes' GROUP BY hour`,
    );
    assert.deepEqual(
      new Map(rows.map(({ hour, n }) => [Number(hour) / 3600, Number(n)]).sort(([a], [b]) => a - b)),
      new Map([...hours].sort(([a], [b]) => a - b)),
    );
    t.diagnostic(`${till.ledger.size} values in ${before.waiting.bytes} bytes of storage; ${backlog.length} posts of backlog with ${backlog.reduce((sum, { bytes }) => sum + bytes, 0)} bytes`);
    assert.ok(backlog.length < 20, `${backlog.length} posts`);
  });

  test('a clock that is wrong by hours and is moved', async () => {
    const till = await made();
    till.context = await browser(till.profile);
    await till.context.clock.install({ time: Date.now() + 3 * HOUR });
    await till.open();
    await till.context.setOffline(true);
    for (const ahead of [3 * HOUR, 0, -5 * HOUR, 2 * HOUR, 0]) {
      await till.page.clock.setSystemTime(Date.now() + ahead);
      await till.record(10);
      await till.page.clock.runFor(6000);
      await till.flush();
    }
    await till.context.setOffline(false);
    await until(async () => {
      await till.page.clock.runFor(6000);
      await till.flush();
      return (await till.status()).waiting.samples < 15;
    }, 'everything to be sent');
    await till.settled(collector);
  });

  test('a line that costs money gets less often, and minutes together', async () => {
    const till = await made({ auto: false });
    till.context = await browser(till.profile);
    // The beginning of five minutes, so that both minutes are in them.
    await till.context.clock.install({ time: Math.floor(Date.now() / (5 * MINUTE)) * 5 * MINUTE - 5 * MINUTE + 1000 });
    await till.context.addInitScript(() => Object.defineProperty(navigator, 'connection', { value: { saveData: true } }));
    await till.open();
    await till.record(1);
    await till.flush();
    assert.equal((await till.status()).connection, 'metered');
    const { length } = till.line.posts;
    for (let minute = 0; minute < 2; minute++) {
      await till.record(5);
      for (let turn = 0; turn < 12; turn++) await till.page.clock.runFor(5000);
      await till.status();
    }
    assert.equal(till.line.posts.length, length, 'a request within the five minutes');
    await till.flush();
    const { body } = till.line.posts.at(-1);
    const { histograms } = JSON.parse(body[0] === 0x1f ? gunzipSync(body) : body);
    const ours = histograms.filter(({ m, connection }) => m === 'sync_payload_bytes' && connection === 'metered');
    assert.deepEqual(ours.map(({ span_ms, buckets }) => [span_ms, buckets.length]), [[5 * MINUTE, 10]]);
    await till.settled(collector);
  });

  test('a clock without a battery: 1970, then right', async () => {
    const till = await made();
    till.context = await browser(till.profile);
    await till.context.clock.install({ time: 5 * HOUR });
    await till.open();
    await till.context.setOffline(true);
    await till.record(10);
    await till.page.clock.runFor(6000);
    await till.flush();
    await till.page.clock.setSystemTime(Date.now());
    await till.record(10);
    await till.page.clock.runFor(6000);
    await till.context.setOffline(false);
    await until(async () => {
      await till.page.clock.runFor(6000);
      await till.flush();
      return (await till.status()).waiting.samples < 15;
    }, 'everything to be sent');
    await till.settled(collector);
  });

  test('storage that is full', async () => {
    const till = await made();
    await till.open();
    await till.record(10);
    await till.flush();
    const session = await devtools(till);
    await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(till.line.url).origin, quotaSize: 0 });
    await till.record(20);
    await till.flush();
    await till.record(20);
    await till.flush();
    await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(till.line.url).origin });
    await till.record(10);
    await till.flush();
    await till.settled(collector);
  });

  test('storage that somebody empties', async () => {
    const till = await made();
    await till.open();
    await till.record(10);
    await till.flush();
    await till.settled(collector);
    await till.context.setOffline(true);
    await till.record(10);
    await till.flush();
    const session = await devtools(till);
    await session.send('Storage.clearDataForOrigin', { origin: new URL(till.line.url).origin, storageTypes: 'indexeddb' });
    // What is gone is gone; what comes after must not be.
    for (let value = 11; value <= 20; value++) till.ledger.set(value, Infinity);
    await till.context.setOffline(false);
    await till.record(10);
    await till.flush();
    await till.settled(collector, Date.now() + 1);
  });

  test('a copy of the profile on another till', async () => {
    const till = await made();
    await till.open();
    for (let round = 0; round < 3; round++) {
      await till.record(5);
      await till.flush();
    }
    await till.close();
    const copy = await made({ store: till.store });
    rmSync(copy.profile, { recursive: true });
    cpSync(till.profile, copy.profile, { recursive: true });
    // The same origin, and values of its own.
    copy.line = till.line;
    copy.options.url = till.options.url;
    copy.next = 1000;
    await till.open();
    await copy.open();
    for (let round = 0; round < 4; round++)
      for (const one of [till, copy]) {
        await one.record(5);
        await one.flush();
      }
    for (const [value, at] of copy.ledger) till.ledger.set(value, at);
    await till.settled(collector);
  });

  test('consent is withdrawn, and given again', async () => {
    const till = await made();
    await till.open();
    await till.context.setOffline(true);
    await till.record(10);
    await till.page.evaluate(() => tillwatch.setConsent(false));
    await till.record(10);
    assert.equal((await till.status()).waiting.samples, 0);
    await till.context.setOffline(false);
    await till.flush();
    till.ledger.clear();
    await till.page.evaluate(() => tillwatch.setConsent(true));
    await till.record(10);
    await till.flush();
    assert.equal(await till.settled(collector), 10);
  });

  test('another store: the old queue is drained beside the new one', async () => {
    const till = await made();
    await till.open();
    await till.context.setOffline(true);
    await till.record(10);
    await till.flush();
    const old = { ...till.options };
    const ledger = till.ledger;
    till.ledger = new Map();
    till.options.store += '-new';
    await till.page.evaluate((options) => tillwatch.init(options), till.options);
    await till.record(10);
    await till.context.setOffline(false);
    await till.flush();
    await till.settled(collector);
    till.options = old;
    till.ledger = ledger;
    await till.settled(collector);
  });
});
