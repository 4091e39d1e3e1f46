import test from 'node:test';
import assert from 'node:assert/strict';
import { pure } from './pure.mjs';

process.env.TZ = 'Asia/Kolkata';
const { nice, linear, logarithmic, nearLimits, timeTicks, pieces, apart } = await pure('scale');

test('steps are 1, 2 or 5 with zeros', () => {
  assert.deepEqual([0.03, 1, 1.2, 2.1, 7, 430].map(nice).map((n) => Number(n.toPrecision(6))), [0.05, 1, 2, 5, 10, 500]);
});

test('a linear scale begins at 0 and holds the greatest value', () => {
  const scale = linear(9.2, 100);
  assert.deepEqual([scale.at(0), scale.ticks[0]], [100, 0]);
  assert.ok(scale.at(9.2) > 0 && scale.at(9.2) < 10);
  assert.ok(scale.ticks.every((tick) => tick <= scale.high));
  assert.deepEqual(linear(0, 100).at(0), 100);
});

test('a logarithmic scale gives each decade the same height', () => {
  const scale = logarithmic(1, 10_000, 400);
  const steps = [1, 10, 100, 1000].map((n) => scale.at(n) - scale.at(n * 10));
  for (const step of steps) assert.ok(Math.abs(step - steps[0]) < 1e-9);
  assert.deepEqual(scale.ticks, [1, 10, 100, 1000, 10_000]);
  assert.equal(scale.at(0), 400);
  assert.ok(Number.isFinite(logarithmic(5, 5, 100).at(5)));
});

test('a limit is on the chart if values come near it', () => {
  assert.deepEqual(nearLimits([100, 500], 70), [100]);
  assert.deepEqual(nearLimits([100, 500], 400), [100, 500]);
  assert.deepEqual(nearLimits([300_000], 12), []);
});

test('ticks of time are round in the zone, also where that is half an hour off', () => {
  const from = Date.UTC(2026, 10, 28, 10, 7);
  const utc = timeTicks(from, from + 6 * 3_600_000, 6, 'utc').map(({ t }) => new Date(t).toISOString().slice(11, 16));
  assert.deepEqual(utc, ['11:00', '12:00', '13:00', '14:00', '15:00', '16:00']);
  const local = timeTicks(from, from + 6 * 3_600_000, 6, 'local').map(({ t }) => new Date(t).toISOString().slice(14, 16));
  assert.ok(local.length > 0 && local.every((minutes) => minutes === '30'));
  assert.ok(timeTicks(from, from + 90 * 86_400_000, 5, 'utc').length <= 6);
});

test('a line is broken where nothing was measured', () => {
  assert.deepEqual(pieces([[0, 1], [60, 2], [240, 3], [300, 4], [600, 5]], 60).map((piece) => piece.length), [2, 2, 1]);
});

test('labels are pushed apart, keep their order, and stay inside', () => {
  const out = apart([50, 51, 52, 199], 13, 200);
  assert.ok(out[1] - out[0] >= 13 && out[2] - out[1] >= 13 && out[3] <= 200);
  const low = apart([198, 199, 200], 13, 200);
  assert.deepEqual(low, [174, 187, 200]);
});
