import test from 'node:test';
import assert from 'node:assert/strict';
import { pure } from './pure.mjs';

process.env.TZ = 'Europe/Berlin';
const { digits, grouped, count, duration, figure, exact, share, rate, quantile, plain, span, ago, clock, day, moment, when, zoneName, plural } = await pure('format');
const said = (value) => plain(value).replace('\u202f', ' ');

test('numbers have three digits', () => {
  assert.deepEqual([0, 0.0123, 0.5, 1, 9.994, 9.996, 99.94, 99.96, 812.4, 1234].map(digits), ['0', '0.012', '0.500', '1.00', '9.99', '10.0', '99.9', '100', '812', '1,234']);
  assert.equal(digits(0.0001), '<0.001');
  assert.equal(digits(-34.91), '−34.9');
});

test('large counts are grouped, and then short', () => {
  assert.deepEqual([0, 999, 1000, 99_999, 411_234, 2_340_000, 999_600].map((n) => said(count(n))), ['0', '999', '1,000', '99,999', '411 k', '2.34 M', '1.00 M']);
  assert.equal(grouped(-1234567), '−1,234,567');
  assert.equal(grouped(-0.2), '0');
});

test('a duration never shows a thousand of its unit', () => {
  assert.deepEqual([0, 812.4, 999.6, 5190, 99_949, 99_951, 3_600_000, 7_200_000, 604_800_000].map((ms) => said(duration(ms))), ['0 ms', '812 ms', '1.00 s', '5.19 s', '99.9 s', '1.67 min', '60.0 min', '2.00 h', '7.00 d']);
});

test('what is missing is a dash in every unit', () => {
  for (const unit of ['ms', 'MB', 'bytes', 'count', 'ratio', 'score']) assert.equal(figure(null, unit).text, '–');
  assert.deepEqual([figure(NaN, 'ms').text, share(null).text, rate(undefined).text, count(undefined).text], ['–', '–', '–', '–']);
});

test('values carry the unit of the wire', () => {
  assert.equal(said(figure(71.44, 'MB')), '71.4 MB');
  assert.equal(said(figure(1500, 'MB')), '1.50 GB');
  assert.equal(said(figure(15_000, 'bytes')), '15.0 kB');
  assert.equal(said(figure(0.085, 'score')), '0.085');
});

test('a limit is said as it was set', () => {
  assert.deepEqual([[1500, 'ms'], [5000, 'ms'], [300, 'ms'], [0.1, 'score'], [80, 'MB'], [800, 'count'], [0.25, 'score']].map(([value, unit]) => exact(value, unit).replace('\u202f', ' ')), ['1.5 s', '5 s', '300 ms', '0.1', '80 MB', '800', '0.25']);
});

test('shares are rounded down, so that 100 % means all', () => {
  assert.equal(said(share(0.99999)), '99.9 %');
  assert.equal(said(share(1)), '100 %');
  assert.equal(said(share(0.57)), '57.0 %');
  assert.equal(said(share(0.8661, 2)), '86.61 %');
  assert.equal(said(rate(0.00042)), '0.042 %');
});

test('quantiles have their short names', () => {
  assert.deepEqual(['0.5', '0.95', '0.999', 0.07].map(quantile), ['p50', 'p95', 'p99.9', 'p7']);
});

test('times past are rounded down', () => {
  assert.deepEqual([500, 59_999, 3_599_999, 5_880_000, 90_000_000, 86_400_000 * 3].map(span), ['under 1 s', '59 s', '59 min', '1 h 38 min', '1 d 1 h', '3 d']);
  assert.deepEqual([200, 4000, 60_000, 5_880_000, 86_400_000 * 3].map((ms) => said(ago(ms))), ['now', '4 s', '1 min', '1.6 h', '3 d']);
});

test('the zone is that of the browser or UTC, also over the change of the clocks', () => {
  const winter = Date.UTC(2026, 10, 28, 15, 46, 31);
  const summer = Date.UTC(2026, 6, 1, 22, 30);
  assert.deepEqual([clock(winter, 'utc', true), clock(winter, 'local'), clock(summer, 'local')], ['15:46:31', '16:46', '00:30']);
  assert.deepEqual([day(summer, 'utc'), day(summer, 'local')], ['1 Jul', '2 Jul']);
  assert.equal(moment(winter, 'utc'), '28 Nov 2026 15:46');
  assert.deepEqual([zoneName(winter, 'local'), zoneName(summer, 'local'), zoneName(summer, 'utc')], ['UTC+1', 'UTC+2', 'UTC']);
  assert.deepEqual([when(winter, winter + 1000, 'utc'), when(winter, winter + 86_400_000, 'utc')], ['15:46', '28 Nov 15:46']);
});

test('one is not many', () => {
  assert.deepEqual([plural(1, 'store'), plural(2000, 'store'), plural(2, 'series', 'series')], ['1 store', '2,000 stores', '2 series']);
});

test('a rate need not be whole, and a count that is none stays short', () => {
  assert.deepEqual([count(0.2).text, count(7.4).text, count(297.3).text, count(12).text, count(0).text], ['0.200', '7.40', '297', '12', '0']);
});
