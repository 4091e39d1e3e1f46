import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { pure } from './pure.mjs';

const { labelled, total, ledger, shell, grown } = await pure('series');

test('series are found by name and label, and no other name that begins like it', () => {
  const series = { 'a_total{code="x"}': 2, 'a_total{code="y",listener="admin"}': 3, a_total_more: 7, b: 5 };
  assert.deepEqual(labelled(series, 'a_total'), [{ labels: { code: 'x' }, value: 2 }, { labels: { code: 'y', listener: 'admin' }, value: 3 }]);
  assert.deepEqual([total(series, 'a_total'), total(series, 'a_total', { code: 'y' }), total(series, 'b'), total(series, 'c')], [5, 3, 5, null]);
});

test('a label may hold every sign', () => {
  assert.deepEqual(labelled({ 'a{store_id="one \\"two\\", x=\\\\\\n}"}': 1 }, 'a')[0].labels, { store_id: 'one "two", x=\\\n}' });
});

test('the ledger adds up, or says by how much it does not', () => {
  const of = (accepted, open, sealed, outbox, confirmed) => ledger(Object.fromEntries(Object.entries({ accepted, open, sealed, outbox, confirmed }).map(([place, n]) => [`tillwatch_ledger_samples{place="${place}"}`, n])));
  assert.equal(of(10, 3, 7, 2, 5).isWhole, true);
  assert.equal(of(11, 3, 7, 2, 5).differs, 1);
  assert.equal(of(10, 3, 7, 2, 6).differs, -1);
  assert.equal(ledger({}), null);
});

test('a name that a stranger chose stays one word of a shell', () => {
  assert.equal(shell('tillwatch tap', { store: 'store-001', door: '' }), 'tillwatch tap --store store-001');
  assert.equal(shell('tillwatch tap', { store: "a'; rm -rf /" }), "tillwatch tap --store 'a'\\''; rm -rf /'");
  assert.equal(shell('tillwatch explain', {}, ['-x', 'till 1', '7']), "tillwatch explain -- -x 'till 1' 7");
  assert.equal(shell('tillwatch tap', { store: '-x' }), 'tillwatch tap --store=-x');
});

test('what the stream says is added once, and the oldest is forgotten', () => {
  const point = (t) => ({ t, batches: 0, samples: 0, requests: 1, refused: 0, p50_ms: null, p99_ms: null });
  const before = { t: 900_000, started_at: 0, version: '1', series: { a: 1, b: 2 }, points: [point(1_000), point(900_000)] };
  const after = grown(before, { t: 902_000, series: { a: 5 }, points: [point(900_000), point(901_000), point(902_000)] });
  assert.deepEqual(after.points.map(({ t }) => t), [900_000, 901_000, 902_000]);
  assert.deepEqual(after.series, { a: 5, b: 2 });
  assert.equal(after.version, '1');
});

test('every series that the pipeline shows is one of the collector', () => {
  const source = readFileSync(new URL('../src/views/pipeline.tsx', import.meta.url), 'utf8');
  const known = new Set(readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8').match(/tillwatch_\w+/g));
  const names = [...[...source.matchAll(/\b(?:one|is)\('(\w+)'/g)].map(([, name]) => 'tillwatch_' + name), ...[...source.slice(source.indexOf('REFUSALS'), source.indexOf('];', source.indexOf('REFUSALS'))).matchAll(/\['[\w ]+', '(\w+)'/g)].map(([, name]) => `tillwatch_${name}_total`)];
  assert.ok(names.length > 30);
  for (const name of names) assert.ok(known.has(name), name);
});
