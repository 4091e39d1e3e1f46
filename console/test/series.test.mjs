import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { pure } from './pure.mjs';

const { labelled, total, ledger, shell } = await pure('series');

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

test('every series that the pipeline shows is one of the collector', () => {
  const source = readFileSync(new URL('../src/views/pipeline.tsx', import.meta.url), 'utf8');
  const known = new Set(readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8').match(/tillwatch_\w+/g));
  const names = [...[...source.matchAll(/\b(?:one|is)\('(\w+)'/g)].map(([, name]) => 'tillwatch_' + name), ...[...source.slice(source.indexOf('REFUSALS'), source.indexOf('];', source.indexOf('REFUSALS'))).matchAll(/\['[\w ]+', '(\w+)'/g)].map(([, name]) => `tillwatch_${name}_total`)];
  assert.ok(names.length > 30);
  for (const name of names) assert.ok(known.has(name), name);
});
