// The alerts on releases leave good ones alone and find bad ones, and Prometheus has them as they were chosen.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import { RELEASE } from './chosen.mjs';
import { LOGINS, SYNCS, errorsOf, releaseAlerts } from './release.mjs';

const SMALL = { stores: 50, candidates: 5 };
const LARGE = { stores: 500, candidates: 50 };
const MEASURES = [
  ['sync', SYNCS],
  ['logins', LOGINS],
  ['errors', errorsOf(1)],
  ['errors', errorsOf(4)],
];

test('the same seed tells the same story', () => {
  const story = () => releaseAlerts('sync', SYNCS, { ...SMALL, bad: 0.06 }, { runs: 5, seed: 3 });
  assert.deepEqual(story(), story());
});

for (const [rule, measure] of MEASURES) {
  const what = measure.otherErrors ? `${rule} of ${measure.otherErrors} an hour` : rule;
  test(`${what}: a good release in 5 of 50 stores is left alone, where the rule that put stores together was not`, () => {
    const { now, before } = releaseAlerts(rule, measure, SMALL, { runs: 300, seed: 5 });
    assert.ok(now.day <= 0.02, `${now.day}`);
    assert.ok(before.day >= 0.05, `${before.day}`);
  });

  test(`${what}: a good release in 50 of 500 stores is left alone`, () => {
    const { now } = releaseAlerts(rule, measure, LARGE, { runs: 15, seed: 7 });
    assert.equal(now.day, 0);
  });
}

test('failures that come in threes, and half of the fleet at night, make no false lines', () => {
  for (const [rule, measure] of MEASURES) {
    const { now } = releaseAlerts(rule, measure, { stores: 50, candidates: 25, together: 3 }, { runs: 150, seed: 11 });
    assert.ok(now.day <= 0.04, `${rule}: ${now.day}`);
  }
});

test('a release on which much fails is found within minutes, also in two stores', () => {
  const found = (rule, measure, fleet) => releaseAlerts(rule, measure, fleet, { runs: 60, seed: 9 }).now;
  const page = found('sync', SYNCS, { ...SMALL, bad: 0.3 });
  assert.ok(page.hour === 1 && page.median <= 12, JSON.stringify(page));
  const pilot = found('sync', SYNCS, { stores: 20, candidates: 2, bad: 1 });
  assert.ok(pilot.hour >= 0.9 && pilot.median <= 20, JSON.stringify(pilot));
  const logins = found('logins', LOGINS, { ...SMALL, bad: 0.3 });
  assert.ok(logins.hour >= 0.9 && logins.median <= 20, JSON.stringify(logins));
  const errors = found('errors', errorsOf(1), { ...SMALL, times: 10 });
  assert.ok(errors.hour >= 0.9 && errors.median <= 40, JSON.stringify(errors));
});

test('one store is not the release', () => {
  for (const [rule, measure] of MEASURES.slice(0, 3)) {
    const { now, before } = releaseAlerts(rule, measure, { ...SMALL, bad: 1, badStores: 1, bursts: 0 }, { runs: 100, seed: 13 });
    // Another store may have many errors of its own on the same day.
    assert.ok(now.day <= 0.1, `${rule}: ${now.day}`);
    assert.ok(before.day > 0.6, `${rule}: ${before.day}`);
  }
});

test('the rules in Prometheus have the chosen numbers', () => {
  const rules = readFileSync(new URL('../rules/releases.yml', import.meta.url), 'utf8');
  const has = (name, ...parts) => {
    const start = rules.indexOf(`- alert: ${name}\n`);
    assert.ok(start > 0, `no ${name}`);
    const text = rules.slice(start, rules.indexOf('annotations:', start));
    for (const part of parts) assert.ok(text.includes(part), `${part} is not in\n${text}`);
  };
  const { sync, logins, errors } = RELEASE;
  const span = (minutes) => (minutes % 60 === 0 ? `${minutes / 60}h` : `${minutes}m`);
  const left = (family, { minutes }) => `release:${family}_elsewhere:increase${span(minutes)}`;
  const failures = left('pos_sync_failures', sync);
  const attempts = `release:pos_sync_attempts:increase${span(sync.minutes)}`;
  has('PosReleaseSyncSuccessCritical', `/ ${attempts} > ${sync.limit}\n`, `${failures} / ${attempts} > ${sync.elsewhere}\n`, `${failures} >= ${sync.least - 0.5}\n`, `for: ${sync.for}m`);
  const [k, n, z] = [left('pos_offline_login_failures', logins), `release:pos_offline_logins:increase${span(logins.minutes)}`, logins.z];
  has('PosReleaseLoginFailures', `(${k} + ${(z * z) / 2} - ${z} * sqrt(${k} * (${n} - ${k}) / ${n} + ${(z * z) / 4})) / (${n} + ${z * z})`, `> ${logins.limit}\n`, `for: ${logins.for}m`);
  has('PosReleaseErrorsHigher', `${left('pos_errors', errors)} >= ${errors.least}\n`, `release:pos_terminals:baseline)) > ${errors.times}\n`, `for: ${errors.for}m`);
  for (const { minutes } of [sync, logins, errors]) assert.ok(rules.includes(`[${span(minutes)}]`));
});
