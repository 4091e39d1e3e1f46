#!/usr/bin/env node
// What a till costs on the wire in a minute, what a week without a line leaves in its storage and on the wire, and a
// thousand such weeks that come back at once. Tables go to stderr, the same as JSON to stdout.
import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { Collector, CountingLine, browser, chromiumVersion, folder, here, pool, program, say, script, simulatedTime, sleep, table, textOf, until } from './support.mjs';

const MINUTES = Number(process.env.SDK_MINUTES || 6);
const TILLS = Number(process.env.SDK_STORM_TILLS || 1000);
const DAYS = Number(process.env.SDK_DAYS || 7);
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const KINDS = ['busy', 'quiet'];
/** Hits of the cache in a minute (business.js): a counter, by which minutes can be counted. */
const RATE = { busy: 181, quiet: 9 };

const PAGE = '<!doctype html><html lang=en><meta charset=utf-8><title>Till</title><link rel=icon href="data:,"><h1>Till</h1><script src=/business.js></script><script src=/tillwatch.js></script>';
const FILES = { '/': PAGE, '/tillwatch.js': script(), '/business.js': readFileSync(here + 'business.js', 'utf8') };

let collector;
const profiles = [];

async function opened(store, before, options = {}) {
  const line = await new CountingLine(collector, FILES).start();
  const profile = folder('figures');
  profiles.push(profile);
  const context = await browser(profile);
  if (before) await context.addInitScript(before);
  const page = await context.newPage();
  await page.goto(line.url);
  await page.evaluate((options) => tillwatch.init(options), { url: line.url, store, terminal: 'till-1', release: '1.0.0', consent: true, ...options });
  return { line, context, page, end: async () => (await context.close(), await line.stop()) };
}

const countSamples = (posts) => {
  let samples = 0;
  for (const { body } of posts) {
    const { samples: single = [], histograms = [] } = JSON.parse(textOf(body));
    samples += single.length + histograms.reduce((sum, { buckets }) => sum + buckets.reduce((sum, [, n]) => sum + n, 0), 0);
  }
  return samples;
};
const bytesOf = (posts) => posts.reduce((sum, { bytes }) => sum + bytes, 0);
const plainBytesOf = (posts) => posts.reduce((sum, { body }) => sum + textOf(body).length, 0);

/** Some minutes in real time. */
async function minutes(kind) {
  const till = await opened(`wire-${kind}`);
  try {
    await sleep(2000);
    // The first minute opens the connection and tells of the page's own load.
    await till.page.evaluate((kind) => trade(tillwatch, kind, 1), kind);
    const from = till.line.posts.length;
    const wire = till.line.bytes();
    await till.page.evaluate(([kind, minutes]) => trade(tillwatch, kind, minutes), [kind, MINUTES]);
    const posts = till.line.posts.slice(from);
    const after = till.line.bytes();
    const result = {
      kind, minutes: MINUTES, posts: posts.length / MINUTES, body: bytesOf(posts) / MINUTES, plain: plainBytesOf(posts) / MINUTES,
      sent: (after.in - wire.in) / MINUTES, received: (after.out - wire.out) / MINUTES, dropped: (await till.page.evaluate(() => tillwatch.status())).dropped,
    };
    say(`a minute: ${JSON.stringify(result)}`);
    return result;
  } finally {
    await till.end();
  }
}

/** A week without a line, fourteen hours a day, and what follows. */
async function week(kind) {
  // Pages of their own measure nothing here, so that nothing but the business is counted.
  const till = await opened(`week-${kind}`, simulatedTime, { auto: false });
  const { page, line } = till;
  try {
    const length = DAYS * DAY - 3 * HOUR;
    await page.evaluate(async (length) => {
      forward(-length);
      await turn();
    }, length);
    await page.evaluate(() => tillwatch.flush());
    await till.context.setOffline(true);
    const started = Date.now();
    let values = 0;
    let minutes = 0;
    for (let at = 0; at < length; at += HOUR) {
      const isOpen = (at % DAY) / HOUR < 14;
      minutes += isOpen ? 60 : 0;
      values += await page.evaluate(async ([kind, isOpen]) => {
        let values = 0;
        for (let minute = 0; isOpen && minute < 60; minute++) {
          for (const call of business(kind)) {
            make(tillwatch, call);
            values++;
          }
          forward(60_000);
          // What is measured in a minute is kept as one row, however often it is written meanwhile.
          if (minute % 5 === 4) await turn();
        }
        if (!isOpen) {
          forward(3_600_000);
          await turn();
        }
        return values;
      }, [kind, isOpen]);
      if (at % DAY === DAY - HOUR) say(`${kind}: day ${(at + HOUR) / DAY} is simulated`);
    }
    say(`${kind}: ${DAYS} days simulated in ${Math.round((Date.now() - started) / 1000)} s`);
    const before = await page.evaluate(async () => ({ ...(await tillwatch.status()), estimate: await navigator.storage.estimate() }));
    const from = line.posts.length;
    await till.context.setOffline(false);
    let turns = 0;
    await until(async () => {
      turns++;
      return page.evaluate(async () => {
        forward(5000);
        await turn();
        return (await tillwatch.status()).waiting.samples < 20;
      });
    }, 'the backlog to be sent', 300_000);
    const posts = line.posts.slice(from);
    const backlog = posts.filter(({ path }) => path.includes('backlog'));
    const after = await page.evaluate(() => tillwatch.status());
    await sleep(3000);
    const found = await collector.totals(`week-${kind}`);
    const result = {
      kind, values, minutes, waiting: before.waiting, indexedDb: before.estimate.usageDetails?.indexedDB ?? before.estimate.usage,
      posts: posts.length, bytes: bytesOf(posts), backlogPosts: backlog.length, backlogBytes: bytesOf(backlog), backlogPlain: plainBytesOf(backlog),
      backlogLargest: Math.max(...backlog.map(({ bytes }) => bytes)), samples: countSamples(backlog), drainedAfterS: turns * 5, dropped: after.dropped,
      found: Object.fromEntries(found),
    };
    say(`a week: ${JSON.stringify({ ...result, found: undefined })}`);
    return { result, backlog };
  } finally {
    await till.end();
  }
}

/** The backlog of one till, posted by a thousand: stores of ten tills, each with a queue of its own. */
async function storm(backlog) {
  const own = await new Collector({ TILLWATCH_ADDRESS_RATE: 'off' }).start();
  try {
    const bodies = backlog.map(({ body }) => JSON.parse(textOf(body)));
    const expected = new Map();
    for (const { samples = [], histograms = [] } of bodies) {
      for (const { m, v } of samples) expected.set(m, (expected.get(m) || 0) + 1);
      for (const { m, buckets } of histograms) expected.set(m, (expected.get(m) || 0) + buckets.reduce((sum, [, n]) => sum + n, 0));
    }
    const jobs = [];
    for (let nth = 0; nth < TILLS; nth++) jobs.push({ store: `storm-${Math.floor(nth / 10)}`, terminal: `till-${nth}`, queue: randomUUID() });
    const tookMs = [];
    const answers = {};
    let accepted = 0;
    let retried = 0;
    let bytes = 0;
    const started = Date.now();
    // Compressing is the tills' work, but it is done here, on the same machine.
    let compressMs = 0;
    await pool(
      jobs.map(({ store, terminal, queue }) => async () => {
        for (const [nth, body] of bodies.entries()) {
          const text = JSON.stringify({ ...body, sent_at_ms: Date.now(), store_id: store, terminal_id: terminal, queue, seq: nth + 1 });
          const at = performance.now();
          const packed = gzipSync(text);
          compressMs += performance.now() - at;
          bytes += packed.length;
          for (;;) {
            const began = performance.now();
            const response = await fetch(`${own.url}/v1/batches?store=${store}&class=backlog`, { method: 'POST', body: packed });
            const answer = await response.json();
            tookMs.push(performance.now() - began);
            answers[response.status] = (answers[response.status] || 0) + 1;
            if (response.status === 202) {
              accepted += answer.accepted;
              if (answer.rejected) answers.rejected = (answers.rejected || 0) + answer.rejected;
              break;
            }
            if (response.status !== 429 && response.status !== 503) throw new Error(JSON.stringify(answer));
            retried++;
            await sleep(1000 * (Number(response.headers.get('retry-after')) || 1));
          }
        }
      }),
      50,
    );
    const tookS = (Date.now() - started) / 1000;
    say(`storm: ${accepted} samples in ${tookS} s, ${JSON.stringify(answers)}`);
    // Everything is in ClickHouse?
    const wanted = [...expected].reduce((sum, [, n]) => sum + n, 0) * TILLS;
    const counted = async () => {
      const rows = await own.sql(`SELECT metric, toUInt64(sum(count)) AS n FROM v_rollup_1m WHERE store_id LIKE 'storm-%' GROUP BY metric`);
      return new Map(rows.map(({ metric, n }) => [metric, Number(n)]));
    };
    let found = new Map();
    await until(async () => {
      await sleep(3000);
      found = await counted();
      return [...found.values()].reduce((sum, n) => sum + n, 0) >= wanted;
    }, 'all samples of the storm', 300_000).catch((error) => say(error.message));
    const foundAfterS = (Date.now() - started) / 1000;
    const differing = [...expected].filter(([m, n]) => found.get(m) !== n * TILLS).map(([m, n]) => `${m}: ${found.get(m)} of ${n * TILLS}`);
    tookMs.sort((one, other) => one - other);
    const at = (q) => Math.round(tookMs[Math.ceil(q * tookMs.length) - 1]);
    return {
      tills: TILLS, posts: tookMs.length, bytes, wanted, found: [...found.values()].reduce((sum, n) => sum + n, 0), accepted, tookS, foundAfterS, compressS: compressMs / 1000,
      p50: at(0.5), p99: at(0.99), longest: at(1), answers, retried, differing,
    };
  } finally {
    await own.stop();
  }
}

const result = { chromium: chromiumVersion(), collector: program.includes('release') ? 'release' : 'debug' };
try {
  collector = await new Collector().start();
  // Real minutes mostly wait; the weeks are worked through meanwhile.
  const [wire, weeks] = await Promise.all([
    Promise.all(MINUTES ? KINDS.map(minutes) : []),
    Promise.all(KINDS.map(week)),
  ]);
  result.wire = wire;
  result.weeks = weeks.map(({ result }) => result);
  if (TILLS) result.storm = await storm(weeks[0].backlog);
} finally {
  await collector?.stop();
  for (const profile of profiles) rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
}

const number = (value, digits = 0) => value.toLocaleString('en-US', { maximumFractionDigits: digits });
console.error('\n' + table(
  ['a minute', 'posts', 'bodies, compressed', 'bodies, plain', 'sent with headers', 'received'],
  result.wire.map(({ kind, posts, body, plain, sent, received }) => [`${kind} till`, number(posts, 1), ...[body, plain, sent, received].map((bytes) => `${number(bytes)} B`)]),
));
console.error('\n' + table(
  ['a week offline', 'calls', 'kept (SDK counts)', 'IndexedDB', 'posts of backlog', 'compressed', 'plain', 'largest', 'drained after', 'minutes found'],
  result.weeks.map((week) => [
    `${week.kind} till`, number(week.values), `${number(week.waiting.bytes)} B`, `${number(week.indexedDb)} B`, week.backlogPosts, `${number(week.backlogBytes)} B`,
    `${number(week.backlogPlain)} B`, `${number(week.backlogLargest)} B`, `${week.drainedAfterS} s`,
    `${number(week.found['cache_requests hit'].sum / RATE[week.kind])} of ${number(week.minutes)}`,
  ]),
));
if (result.storm) {
  const { tills, posts, bytes, wanted, found, tookS, foundAfterS, p50, p99, longest, retried } = result.storm;
  console.error('\n' + table(
    [`${tills} weeks at once`, 'figure'],
    [
      ['posts, and those that were asked to come later', `${number(posts)}, ${number(retried)}`],
      ['bytes', number(bytes)],
      ['samples sent and found in ClickHouse', `${number(wanted)} and ${number(found)}`],
      ['posted within, found within', `${number(tookS, 1)} s, ${number(foundAfterS, 1)} s`],
      ['p50, p99, longest answer', `${p50}, ${p99}, ${longest} ms`],
    ],
  ));
}
console.log(JSON.stringify(result, null, 1));
