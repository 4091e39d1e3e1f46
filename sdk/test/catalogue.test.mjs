// Names, kinds, units, ranges and labels are the collector's.
import { readFileSync } from 'node:fs';
import assert from 'node:assert/strict';
import test from 'node:test';
import { load } from './load.mjs';

const { METRICS, DISTRIBUTIONS, LEVELS, COUNTERS } = await load('metric', 'catalogue');
/** The collector counts these itself, of events, drops and summaries. */
const DERIVED = ['events', 'dropped_samples', 'summaries'];
const metrics = JSON.parse(readFileSync(new URL('../../dashboards/src/catalogue.json', import.meta.url), 'utf8')).metrics.filter(({ name }) => !DERIVED.includes(name));

test('every metric of the catalogue that pages may take, and no other', () => {
  assert.ok(metrics.length > 30);
  for (const { name, kind, recording_scale, value_max, label } of metrics)
    assert.deepEqual(
      METRICS[name],
      [['distribution', 'counter', 'level'].indexOf(kind), recording_scale, value_max, label?.values],
      name,
    );
  const known = [DISTRIBUTIONS, LEVELS, COUNTERS].join(' ').split(' ').map((one) => one.replace(/:.*/, ''));
  assert.deepEqual(known.sort(), metrics.map(({ name }) => name).sort());
});
