import test from 'node:test';
import assert from 'node:assert/strict';
import { pure } from './pure.mjs';

const { events, backOff, steps, stepOf, beats, gaps, Fleet, whole, changed, minuteOf, joined } = await pure('live');
const { worst, worstFirst } = await pure('order');
const MINUTE = 60_000;

const taken = (...pieces) => {
  const found = [];
  const take = events((event, data) => found.push([event, data]));
  for (const piece of pieces) take(piece);
  return found;
};

test('events are read, wherever they are cut and however their lines end', () => {
  const text = 'event: rows\ndata: {"a":1}\n\n: a heartbeat\n\nevent: bye\r\ndata: x\r\n\r\ndata:y\rdata: z\r\r';
  const whole = [['rows', '{"a":1}'], ['bye', 'x'], ['message', 'y\nz']];
  assert.deepEqual(taken(text), whole);
  assert.deepEqual(taken(...text), whole);
  for (let at = 0; at < text.length; at += 1) assert.deepEqual(taken(text.slice(0, at), text.slice(at)), whole);
});

test('what is not whole is not given, and nothing is given without data', () => {
  assert.deepEqual(taken('event: rows\ndata: {"a"'), []);
  assert.deepEqual(taken('event: rows\n\n: x\n\nid: 4\n\n'), []);
});

test('the wait doubles up to 10 s, and is anywhere below', () => {
  assert.deepEqual([0, 1, 2, 5, 6, 99].map((n) => backOff(n, 1)), [250, 500, 1000, 8000, 10_000, 10_000]);
  assert.equal(backOff(5, 0), 0);
});

test('a spark has 64 steps on a logarithmic scale', () => {
  assert.deepEqual(steps('A/.+9'), [0, 63, null, 62, 61]);
  assert.deepEqual([200, 12_000, 1, 99_999].map(stepOf), [0, 63, 0, 63]);
  assert.ok(Math.abs(stepOf(Math.sqrt(200 * 12_000)) - 31.5) < 1e-9);
});

test('bit 0 is the minute under way, also beyond 32 bits', () => {
  const hex = ((1n << 59n) | (1n << 32n) | (1n << 31n) | 1n).toString(16).padStart(16, '0');
  const found = beats(hex, 1000 * MINUTE, null);
  assert.deepEqual(found.flatMap((is, i) => (is ? [i] : [])), [0, 27, 28, 59]);
  assert.equal(found.length, 60);
  assert.deepEqual(beats('ffffffffffffffff', 1000 * MINUTE, 950 * MINUTE + 30_000).filter((is) => is === null).length, 9);
  assert.equal(beats('1', 1000 * MINUTE)[59], true);
});

test('three missed minutes are a gap; the minute under way and what is not known are none', () => {
  const heard = Array(60).fill(true);
  heard.fill(null, 0, 10).fill(false, 20, 22).fill(false, 30, 33).fill(false, 56, 60);
  assert.deepEqual(gaps(heard).flatMap((is, i) => (is ? [i] : [])), [30, 31, 32, 56, 57, 58]);
  assert.ok(gaps(Array(60).fill(true).fill(false, 57)).every((is) => !is));
  const young = Array(60).fill(false).fill(null, 0, 40).fill(true, 50);
  assert.ok(gaps(young).every((is) => !is));
});

const row = (store_id, more = {}) => ({ store_id, state: 'fine', why: [], sync_p95_ms: 900, sync_samples: 40, release: '2.4.1', last_report: 5, ...more });
const why = [{ metric: 'sync_duration_ms', level: 'critical', value: 10_000, limit: 5000 }];
const answer = (stores, more = {}) => ({ seq: 1, t: 10, complete_to: 9, stores, all: { stores: stores.length }, sparks: { minute: 600_000, all: 'A'.repeat(60), stores: Object.fromEntries(stores.map(({ store_id }) => [store_id, 'B'.repeat(60)])) }, ...more });
const fed = (...stores) => { const fleet = new Fleet(); fleet.load(whole(answer(stores))); return fleet; };

test('a store of the fleet has what its row had, by name', () => {
  const fleet = fed(row('b', { state: 'critical', why }), row('a', { sync_p95_ms: null, release: null }));
  assert.deepEqual(fleet.ids, ['a', 'b']);
  const b = fleet.row('b');
  assert.deepEqual([b.state, b.why, b.sync_p95_ms, b.distance, b.release, b.last_report, b.spark.length], ['critical', why, 900, 2, '2.4.1', 5, 60]);
  assert.deepEqual([fleet.row('a').sync_p95_ms, fleet.row('a').release, fleet.row('a').inp_p75_ms, fleet.row('c')], [null, null, null, undefined]);
});

test('rows change what they name and nothing else', () => {
  const fleet = fed(row('a'), row('b'));
  const [a, b] = fleet.rows;
  const stamps = [a.stamp, b.stamp];
  const said = changed(fleet, { seq: 2, t: 20, stores: [row('b', { state: 'critical', why, sync_p95_ms: 10_000 })], gone: [], all: { stores: 2 } });
  assert.equal(said.kind, 'rows');
  // Texts that are as before are not handed over.
  assert.deepEqual([said.why[0], said.releases[0]], [[1], []]);
  // As it comes from a worker.
  fleet.apply(structuredClone(said));
  assert.deepEqual([a.sync_p95_ms, a.stamp, b.sync_p95_ms, b.state, b.stamp, fleet.seq, fleet.complete_to], [900, stamps[0], 10_000, 'critical', stamps[1] + 1, 2, 20]);
  assert.deepEqual(b.why, why);
  fleet.apply(changed(fleet, { seq: 3, t: 30, complete_to: 28, stores: [row('b', { release: null })], all: {} }));
  assert.deepEqual([b.state, b.why, b.release, a.release, fleet.complete_to], ['fine', [], null, '2.4.1', 28]);
});

test('stores come and go, and keep their sparks', () => {
  const fleet = fed(row('a'), row('c'));
  const said = changed(fleet, { seq: 2, t: 20, stores: [row('b', { sync_p95_ms: 7 })], gone: ['a'], all: {} });
  assert.equal(said.kind, 'fleet');
  assert.equal(fleet.load(said), true);
  assert.deepEqual([fleet.ids, fleet.row('b').sync_p95_ms, fleet.row('c').spark, fleet.row('b').spark], [['b', 'c'], 7, 'B'.repeat(60), '']);
  assert.equal(fleet.load(fleet.whole()), false);
  assert.equal(changed(fleet, { seq: 3, t: 30, stores: [], gone: ['nobody'], all: {} }).kind, 'rows');
});

test('a minute is appended, and minutes that nobody told of are gaps', () => {
  const fleet = fed(row('a'), row('b'));
  fleet.pass(minuteOf(fleet, { minute: 660_000, all: 'C', stores: { a: 'D' } }));
  assert.deepEqual([fleet.row('a').spark, fleet.row('b').spark, fleet.spark], ['B'.repeat(59) + 'D', 'B'.repeat(59) + '.', 'A'.repeat(59) + 'C']);
  fleet.pass(minuteOf(fleet, { minute: 660_000, all: 'X', stores: {} }));
  assert.equal(fleet.spark.at(-1), 'C');
  fleet.pass(minuteOf(fleet, { minute: 840_000, all: 'E', stores: { a: 'F' } }));
  assert.equal(fleet.row('a').spark, 'B'.repeat(56) + 'D..F');
});

test('a fleet of a collector that has no sparks has none', () => {
  const fleet = new Fleet();
  fleet.load(whole({ t: 1, complete_to: 1, stores: [row('a')], all: {} }));
  assert.deepEqual([fleet.spark, fleet.row('a').spark, fleet.seq], ['', '', 0]);
});

test('sorting what is well by its state alone gives the same order', () => {
  const states = ['fine', 'quiet', 'critical', 'warning', 'silent'];
  const stores = Array.from({ length: 60 }, (_, i) => row('s' + String(i).padStart(2, '0'), { state: states[(i * 7) % 5], last_report: (i * 13) % 17, why: (i * 7) % 5 === 2 ? [{ ...why[0], value: 5000 + ((i * 31) % 11) * 100 }] : [] }));
  const fleet = fed(...stores);
  assert.deepEqual(worst(fleet.rows).map(({ store_id }) => store_id), [...stores].sort(worstFirst).map(({ store_id }) => store_id));
});

test('points of the pipeline are joined once each, and the oldest go', () => {
  const point = (t) => ({ t, batches: 1 });
  const before = joined(null, { t: 900_000, series: { a: 1, b: 1 }, points: [point(1_000), point(900_000)] });
  const after = joined({ ...before, version: '1' }, { t: 902_000, series: { a: 2 }, points: [point(900_000), point(901_000), point(902_000)] });
  assert.deepEqual([after.points.map(({ t }) => t), after.series, after.version], [[900_000, 901_000, 902_000], { a: 2 }, '1']);
});

test('a store may have the name of what every object has', () => {
  const rows = ['a', 'constructor', 'toString'].map((store_id) => ({ store_id, state: 'fine', why: [] }));
  const fleet = new Fleet();
  fleet.load(whole({ seq: 1, t: 0, complete_to: 0, stores: rows, all: {}, sparks: { minute: 600_000, all: 'A', stores: { a: 'B' } } }));
  assert.deepEqual(fleet.sparks, ['B', '', '']);
  assert.equal(minuteOf(fleet, { minute: 660_000, all: 'C', stores: { a: 'D' } }).sparks, 'D..');
});
