// The chosen rules keep what alerts/README.md promises, and the rules in Prometheus are the chosen ones.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import { FLEET, HOURS, PAGE, SUSPECT, WARN } from './chosen.mjs';
import { STORES, falseLines, fleetGoesBad, timeToNotice } from './experiments.mjs';
import { uniform } from './random.mjs';
import { firings, holds, lower } from './rule.mjs';
import { watch } from './store.mjs';

const [, , busy] = STORES;
const rules = readFileSync(new URL('../rules/sync.yml', import.meta.url), 'utf8');

test("Wilson's interval ends where it is known to", () => {
  // Checked against tables: 10 of 100 at 95 %.
  assert.ok(Math.abs(lower(10, 100, 1.959964) - 0.05523) < 1e-5);
  assert.equal(lower(0, 50, 4), 0);
  assert.equal(lower(0, 0, 4), 0);
  // It is where the score test changes its mind: the limit lies z standard deviations of its own below the share.
  const limit = lower(30, 600, 4);
  assert.ok(Math.abs((30 - 600 * limit) / Math.sqrt(600 * limit * (1 - limit)) - 4) < 1e-9);
});

test('the same seed tells the same story', () => {
  const story = () => watch(uniform(5), { perHour: 150, tills: 10, bad: 0.1, inThrees: true }, 7200);
  assert.deepEqual(story(), story());
  const { attempts, bad, troubled } = story();
  assert.ok(attempts.at(-1) > 200 && bad.at(-1) > 10 && Math.max(...troubled) >= 2);
});

test('a rule waits as long as its `for` says, and is one line while it keeps firing', () => {
  const ticks = 60;
  const sums = (from, to) => Float64Array.from({ length: ticks + 1 }, (_, tick) => 100 * Math.max(0, Math.min(tick, to) - from));
  const seen = { ticks, attempts: sums(0, ticks), bad: sums(10, 20), tills: 4, troubled: new Uint8Array(ticks + 1).fill(4) };
  const rule = { limit: 0.05, for: 1, keep: 2, windows: [{ minutes: 1, z: 4, least: 5, tills: 4 }] };
  assert.equal(holds(rule, seen, 10), false);
  assert.equal(holds(rule, seen, 11), true);
  assert.deepEqual(firings(rule, seen), [13]);
  const lonely = { ...seen, troubled: new Uint8Array(ticks + 1).fill(3) };
  assert.deepEqual(firings(rule, lonely), []);
  // A store with fewer tills needs all of them.
  assert.deepEqual(firings(rule, { ...lonely, tills: 3 }), [13]);
});

for (const store of STORES) {
  for (const inThrees of [false, true]) {
    test(`200 healthy stores with ${store.perHour} attempts an hour, failures ${inThrees ? 'in threes' : 'alone'}: under one false line a day`, () => {
      const lines = falseLines([PAGE, WARN, HOURS], store, { inThrees, days: store.perHour > 600 ? 2 : 5, seed: 3 });
      const sum = lines.reduce((all, one) => all + one, 0);
      assert.ok(sum < 1, `${lines.map((one) => one.toFixed(2)).join(' + ')} lines a day`);
    });
  }
}

test('the page comes within five minutes at the median where there are enough synchronisations', () => {
  for (const [store, bad] of [[busy, 0.3], [STORES[3], 0.3], [STORES[1], 1]]) {
    const { median } = timeToNotice(PAGE, store, { bad, runs: 101, hours: 2, seed: 9 });
    assert.ok(median <= 5, `${store.perHour} attempts an hour, ${bad * 100} % bad: ${median} minutes`);
  }
  // Little data waits for more, and does not wait for ever.
  const { median } = timeToNotice(PAGE, STORES[0], { bad: 1, runs: 101, hours: 6, seed: 9 });
  assert.ok(median > 5 && median < 30, `${median} minutes`);
});

test('fifty stores are one page', () => {
  for (const [store, bad, stores] of [[STORES[1], 0.3, 60], [STORES[1], 1, 200], [busy, 0.3, 60], [busy, 0.3, 200], [STORES[3], 0.3, 200]]) {
    const { median, early } = fleetGoesBad(PAGE, store, { badStores: 50, stores, bad, runs: 8, seed: 13 });
    assert.equal(early, 0, `${store.perHour} attempts an hour, ${stores} stores`);
    assert.ok(median < 5, `${median} minutes`);
  }
});

/** A rule's text from its name to the next rule. */
function textOf(kind, name) {
  const start = rules.indexOf(`- ${kind}: ${name}\n`);
  assert.ok(start > 0, `no ${name}`);
  return rules.slice(start, start + 20 + rules.slice(start + 20).search(/\n {6}(?:- |# )|\n {2}- name|$/));
}
const bound = (z, bad, all) => `(${bad} + ${(z * z) / 2} - ${z} * sqrt(${bad} * (${all} - ${bad}) / ${all} + ${(z * z) / 4})) / (${all} + ${z * z})`;
const span = (minutes) => (minutes % 60 === 0 ? `${minutes / 60}h` : `${minutes}m`);

test('the rules in Prometheus have the chosen numbers', () => {
  const has = (text, part) => assert.ok(text.includes(part), `${part} is not in\n${text}`);
  const series = { latency: ['store:pos_sync_slow', 'store:pos_sync_durations', 'pos_terminals_sync_slow'], success: ['store:pos_sync_failures', 'store:pos_sync_attempts', 'pos_terminals_sync_failing'] };
  for (const [family, [bad, all, tills]] of Object.entries(series)) {
    for (const [rule, what] of [[PAGE, 'breached'], [SUSPECT, 'suspect']]) {
      const text = textOf('record', `store:pos_sync_${family}_${what}:bool`);
      for (const window of rule.windows) {
        const [k, n] = [bad, all].map((name) => `${name}:increase${span(window.minutes)}`);
        has(text, bound(window.z, k, n));
        has(text, `> bool ${rule.limit}`);
        if (window.least) has(text, `(${k} >= bool ${window.least - 0.5})`);
        if (window.tills) has(text, `(${tills}) >= bool clamp(max by (store_id) (pos_terminals_reporting), 1, ${window.tills}))`);
      }
    }
    const text = textOf('record', `store:pos_sync_${family}_recovered:bool`);
    for (const { minutes, expected } of PAGE.recovered) {
      has(text, `[${minutes}m]`);
      has(text, `>= bool ${expected})`);
    }
  }
  for (const [name, rule] of [['PosStoreSyncLatencyHigh', PAGE], ['PosStoreSyncSuccessCritical', PAGE], ['PosStoreSyncSuccessLow', WARN], ['PosStoreSyncSlowForHours', HOURS]]) {
    const text = textOf('alert', name);
    has(text, `for: ${rule.for}m\n        keep_firing_for: ${rule.keep}m`);
    if (rule === PAGE) continue;
    const [bad, all, tills] = rule === WARN ? series.success : series.latency;
    for (const { minutes, z, least, tills: needed, tillsOver } of rule.windows) {
      const [k, n] = [bad, all].map((of) => `${of}:increase${span(minutes)}`);
      has(text, bound(z, k, n));
      has(text, `) > ${rule.limit}`);
      has(text, `${k} >= ${least - 0.5}`);
      has(text, `max by (store_id) (${tillsOver ? `max_over_time(${tills}[${span(tillsOver)}])` : tills}) >= clamp(max by (store_id) (pos_terminals_reporting), 1, ${needed})`);
    }
  }
  for (const [name, suspects] of [['PosFleetSyncLatencyHigh', 'store:pos_sync_latency_suspect:bool'], ['PosFleetSyncSuccessCritical', 'store:pos_sync_success_suspect:bool']]) {
    const text = textOf('alert', name);
    const conditions = FLEET.map(({ share, least }) => `sum(${suspects}) / count(${suspects}) >= ${share} and sum(${suspects}) >= ${least}\n`);
    has(text.replace(/\n +(or )?/g, '\n'), conditions.join(''));
    assert.ok(!/\n {8}for:/.test(text), `${name} waits`);
    has(text, `keep_firing_for: ${SUSPECT.keep}m`);
  }
});
