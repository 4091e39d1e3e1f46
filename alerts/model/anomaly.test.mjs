// The rule that finds unusual stores keeps what alerts/README.md promises, and Prometheus has it as it was chosen.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import { SHARES, text } from '../anomalies.mjs';
import { factors, falseAnomalies, foundAnomalies } from './anomaly.mjs';
import { ANOMALY } from './chosen.mjs';

test('the file of rules is the one that is written', () => {
  const file = readFileSync(new URL('../rules/anomalies.yml', import.meta.url), 'utf8');
  assert.equal(file, text(), 'node alerts/anomalies.mjs writes it anew');
});

test('every distribution with a target and every ratio that is exported by store is watched', () => {
  const { metrics } = JSON.parse(readFileSync(new URL('../../dashboards/src/catalogue.json', import.meta.url), 'utf8'));
  const watched = new Set(SHARES.map(({ name }) => name));
  const distributions = metrics.filter(({ kind, per_store: isByStore, thresholds }) => kind === 'distribution' && isByStore && thresholds.length > 0);
  const ratios = metrics.filter(({ kind, label }) => kind === 'counter' && label?.key === 'result');
  assert.ok(distributions.length >= 9 && ratios.length >= 8);
  for (const { name } of [...distributions, ...ratios]) assert.ok(watched.has(name), name);
});

/** A store's running sums of 10 attempts a step, of which these are bad: so many a step, and another number for the last steps. */
function steady(steps, bad, last = bad, lastSteps = 12) {
  const sums = (before, after) => Float64Array.from({ length: steps + 1 }, (_, step) => before * Math.min(step, steps - lastSteps) + after * Math.max(0, step - steps + lastSteps));
  return { all: sums(10, 10), bad: sums(bad, last) };
}

test('a store is held against its own week and the others', () => {
  const steps = 9 * 288;
  const others = Array.from({ length: 6 }, () => steady(steps, 0.5));
  const [worse, always, ...rest] = factors([steady(steps, 0.5, 8), steady(steps, 8), ...others], steps);
  assert.ok(worse > ANOMALY.factor, `${worse}`);
  assert.ok(always < 1, `${always}: it was always so`);
  assert.ok(rest.every((one) => one < 1), `${rest}`);
  // All at once: nobody stands out.
  const all = factors(Array.from({ length: 8 }, (_, index) => steady(steps, index === 0 ? 1 : 0.5, 8)), steps);
  assert.ok(all.every((one) => one < 1), `${all}`);
  // Nobody to be held against: no week, and too few others.
  assert.deepEqual(factors([steady(288, 8), steady(288, 0.5)], 288), [0, 0]);
  // Too few bad ones to say anything.
  assert.equal(factors([steady(steps, 0, 0.7), ...others], steps)[0], 0);
});

for (const perHour of [20, 150]) {
  test(`200 healthy stores with ${perHour} values an hour have hardly a line`, () => {
    for (const inThrees of [false, true]) {
      const lines = falseAnomalies({ perHour, share: 0.05, inThrees }, { days: 3, seed: 3 });
      assert.ok(lines <= (inThrees ? 1 : 0), `${lines} lines a day, ${inThrees ? 'in threes' : 'alone'}`);
    }
  });
}

test('a store that goes wrong is named, and what goes wrong everywhere names nobody', () => {
  const store = { perHour: 150, share: 0.05 };
  const { found, minutes } = foundAnomalies(store, { stores: 60, bad: 10, times: 10, seed: 2 });
  assert.ok(found >= 0.8 && minutes <= 300, `${found} after ${minutes} minutes`);
  assert.ok(falseAnomalies(store, { stores: 60, days: 1, seed: 5, fleetTimes: 10 }) <= 1);
});
