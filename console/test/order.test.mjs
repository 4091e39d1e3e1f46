import test from 'node:test';
import assert from 'node:assert/strict';
import { pure } from './pure.mjs';

const { worstFirst, byColumn, distance, find } = await pure('order');
const store = (store_id, state, more = {}) => ({ store_id, state, why: [], sync_p95_ms: null, release: null, last_report: 0, ...more });
const names = (stores) => stores.map(({ store_id }) => store_id).join(' ');

test('the worst comes first: silent the longest, then by the distance from the limit', () => {
  const sync = (value) => ({ why: [{ metric: 'sync_duration_ms', level: 'critical', value, limit: 5000 }] });
  const stores = [store('a', 'fine'), store('b', 'critical', sync(6000)), store('c', 'quiet'), store('d', 'silent', { last_report: 9 }), store('e', 'critical', sync(9000)), store('f', 'warning'), store('g', 'silent', { last_report: 3 })];
  assert.equal(names(stores.sort(worstFirst)), 'g d e b f a c');
});

test('a warning that is far off does not pass a store that is more critical', () => {
  const of = (...why) => distance({ why: why.map(([level, value, limit]) => ({ metric: 'm', level, value, limit })) });
  assert.ok(of(['critical', 6000, 5000], ['warning', 9000, 100]) < of(['critical', 7000, 5000]));
});

test('a share is far from its limit by what is missing to all', () => {
  const of = (value, limit) => distance({ why: [{ metric: 'sync_success', level: 'warning', value, limit }] });
  assert.ok(of(0.9, 0.98) > of(0.97, 0.98));
  assert.ok(Math.abs(of(0.96, 0.98) - 2) < 1e-9);
  assert.equal(distance({ why: [{ metric: 'x', level: 'warning', value: null, limit: null }] }), 0);
});

test('what has no value comes last whichever way it is sorted', () => {
  const stores = () => [store('a', 'fine'), store('b', 'fine', { sync_p95_ms: 5 }), store('c', 'fine', { sync_p95_ms: 9 })];
  assert.equal(names(stores().sort(byColumn('sync_p95_ms', true))), 'c b a');
  assert.equal(names(stores().sort(byColumn('sync_p95_ms', false))), 'b c a');
  assert.equal(names(stores().sort(byColumn('store_id', true))), 'c b a');
});

test('every word must be found in the name, the release or the state', () => {
  const stores = [store('Berlin-1', 'fine', { release: '2.5.0' }), store('berlin-2', 'critical', { release: '2.4.1' }), store('Bonn', 'silent')];
  assert.equal(names(find(stores, 'BERLIN')), 'Berlin-1 berlin-2');
  assert.equal(names(find(stores, 'berlin 2.5')), 'Berlin-1');
  assert.equal(names(find(stores, '  ')), 'Berlin-1 berlin-2 Bonn');
  assert.equal(names(find(stores, '.*')), '');
});
