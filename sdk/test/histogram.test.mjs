// The buckets are those of HdrHistogram: the vectors are checked by the collector's tests, too.
import { readFileSync } from 'node:fs';
import assert from 'node:assert/strict';
import test from 'node:test';
import hdr from 'hdr-histogram-js';
import { load } from './load.mjs';

const { bucketOf, lowestOf, highestOf, add, merge, countOf } = await load('histogram', 'series');
const vectors = JSON.parse(readFileSync(new URL('../../tests/fixtures/buckets.json', import.meta.url), 'utf8'));

test('the vectors that Rust checks, too', () => {
  assert.ok(vectors.length > 100);
  for (const { value, index, lowest, highest } of vectors) {
    assert.equal(bucketOf(value), index, `bucket of ${value}`);
    assert.equal(lowestOf(index), lowest, `lowest of ${index}`);
    assert.equal(highestOf(index), highest, `highest of ${index}`);
  }
});

test('every value below 300,000, and some up to 2^52, against hdr-histogram-js', () => {
  const theirs = hdr.build({ bitBucketSize: 64, autoResize: true, numberOfSignificantValueDigits: 3, useWebAssembly: false });
  const check = (value) => {
    const index = bucketOf(value);
    assert.equal(index, theirs.countsArrayIndex(value), `bucket of ${value}`);
    assert.equal(lowestOf(index), theirs.lowestEquivalentValue(value), `lowest like ${value}`);
    assert.equal(highestOf(index), theirs.highestEquivalentValue(value), `highest like ${value}`);
  };
  for (let value = 0; value < 300_000; value++) check(value);
  for (let value = 300_000; value < 2 ** 52; value *= 1.01) check(Math.floor(value));
});

const random = (seed) => () => ((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32);

test('merging in any order is recording in any order', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const next = random(seed);
    const whole = {};
    const parts = [{}, {}, {}];
    for (let i = 0; i < 60; i++) {
      const kind = Math.floor(next() * 3);
      const value = Math.floor(10 ** (next() * 9));
      const key = `m${kind}|${Math.floor(next() * 2)}|online`;
      add(whole, key, kind, value, i);
      add(parts[Math.floor(next() * 3)], key, kind, value, i);
    }
    const merged = {};
    for (const part of parts.sort(() => next() - 0.5)) merge(merged, part);
    const plain = (all) => JSON.parse(JSON.stringify(all));
    assert.deepEqual(plain(merged), plain(whole), `seed ${seed}`);
    assert.equal(countOf(merged), 60);
  }
});

test('what one histogram may not hold goes into another', () => {
  const all = {};
  // Each value has a bucket of its own.
  for (let i = 0; i < 10_000; i++) add(all, 'idb_write_ms||online', 0, lowestOf(i), 1);
  for (let i = 0; i < 70_000; i++) add(all, 'sync_payload_bytes||online', 0, 5, 1);
  const more = structuredClone(all);
  merge(more, all);
  for (const some of [all, more])
    for (const { n, h } of Object.values(some)) {
      assert.ok(n <= 60_000);
      assert.ok(Object.keys(h).length <= 4096);
    }
  assert.equal(countOf(all), 80_000);
  assert.equal(countOf(more), 160_000);
});
