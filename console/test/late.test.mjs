import test from 'node:test';
import assert from 'node:assert/strict';
import { pure } from './pure.mjs';

const { Watched } = await pure('late');
const MINUTE = 60_000;

test('what comes into a minute after its time is late, and what was there before is not', () => {
  const watched = new Watched();
  const take = (counts, to) => [...watched.take(counts.map(([minute, n]) => [minute * MINUTE, n]), 0, MINUTE, to * MINUTE)].map(([t, n]) => [t / MINUTE, n]);
  assert.deepEqual(take([[1, 10], [29, 5]], 30), []);
  // A minute may grow for ten minutes.
  assert.deepEqual(take([[1, 10], [29, 9]], 31), []);
  assert.deepEqual(take([[1, 14], [5, 3], [29, 9]], 45), [[1, 4], [5, 3]]);
  // It is told as long as it is looked at, and adds up.
  assert.deepEqual(take([[1, 15], [5, 3], [29, 11]], 46), [[1, 5], [5, 3], [29, 2]]);
  // Minutes that were not over when they were looked at last may have been on time, whether anything of them was known or not.
  assert.deepEqual(take([[36, 7], [50, 3]], 60), []);
  assert.deepEqual(take([[36, 8], [50, 9]], 90), [[36, 1]]);
  assert.deepEqual(take([[36, 8], [50, 11]], 91), [[36, 1], [50, 2]]);
});

test('what was not looked at before is not late', () => {
  const watched = new Watched();
  watched.take([[50 * MINUTE, 1]], 40 * MINUTE, MINUTE, 100 * MINUTE);
  assert.equal(watched.take([[10 * MINUTE, 8], [50 * MINUTE, 1]], 0, MINUTE, 101 * MINUTE).size, 0);
  assert.deepEqual([...watched.take([[10 * MINUTE, 9], [20 * MINUTE, 2]], 0, MINUTE, 102 * MINUTE).values()], [1, 2]);
});
