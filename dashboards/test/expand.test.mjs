// Variables and macros expand as Grafana and its ClickHouse plugin do it.

import assert from 'node:assert/strict';
import test from 'node:test';

import { ALL, expandPromql, expandSql, promSteps, spanSeconds } from '../lib/expand.mjs';

const built = { step: 60, rateInterval: 75, rangeSeconds: 3600 };

test('PromQL variables become matchers', () => {
  const expand = (expr, variables) => expandPromql(expr, { ...built, variables });
  assert.equal(expand('x{job=~"$job"}', { job: ALL }), 'x{job=~".+"}');
  assert.equal(expand('x{s=~"$s"}', { s: ['a', 'b.c'] }), 'x{s=~"(a|b\\\\.c)"}');
  assert.equal(expand('x{s="${s}"}', { s: 'a' }), 'x{s="a"}');
  assert.equal(expand('rate(x[$__rate_interval]) + increase(x[$__range])', {}), 'rate(x[75s]) + increase(x[3600s])');
  assert.throws(() => expand('$missing', {}), /missing has no value/);
});

test('SQL macros expand, with parentheses inside', () => {
  const expand = (rawSql, variables) => expandSql(rawSql, { variables, fromMs: 1_000_000, toMs: 2_000_000 });
  assert.equal(expand('$__timeFilter(t)', {}), 't >= toDateTime(1000) AND t <= toDateTime(2000)');
  const condition = 'a AND $__conditionalAll(s IN (${s:singlequote}), $s) AND b';
  assert.equal(expand(condition, { s: ALL }), 'a AND 1=1 AND b');
  assert.equal(expand(condition, { s: ['x', 'y'] }), "a AND s IN ('x','y') AND b");
  assert.equal(expand("s = '${s}'", { s: 'x' }), "s = 'x'");
});

test('the step grows with the range, and the rate interval spans four scrapes', () => {
  assert.deepEqual(promSteps({ fromMs: 0, toMs: 900_000, points: 600, scrapeSeconds: 15 }), { step: 15, rateInterval: 60 });
  assert.deepEqual(promSteps({ fromMs: 0, toMs: 900_000, points: 600, scrapeSeconds: 15, interval: '1m' }), { step: 60, rateInterval: 75 });
  assert.deepEqual(promSteps({ fromMs: 0, toMs: 7 * 86400e3, points: 600, scrapeSeconds: 15 }), { step: 1200, rateInterval: 1215 });
  assert.equal(spanSeconds('7d'), 604_800);
});
