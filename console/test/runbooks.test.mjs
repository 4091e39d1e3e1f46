import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { pure } from './pure.mjs';

const { RUNBOOKS, runbookOf, boardOf } = await pure('runbooks');
const folder = new URL('../../docs/runbooks/', import.meta.url);
const written = new Map(readdirSync(folder).filter((name) => name !== 'README.md').map((name) => [name.replace('.md', ''), readFileSync(new URL(name, folder), 'utf8')]));

test('the board of a runbook is the one that it tells to open', () => {
  for (const [name, text] of written) assert.equal(boardOf(name), /Open the dashboard `([^`]+)`/.exec(text)?.[1], name);
});

test('every metric leads to runbooks that are written', () => {
  const names = new Set(Object.keys(RUNBOOKS).flatMap((metric) => ['store', 'fleet', 'release'].map((scope) => runbookOf(metric, scope))));
  assert.ok(names.size > 40);
  for (const name of names) assert.ok(written.has(name), name);
});

test('a runbook is that of the scope, or the next best one', () => {
  assert.equal(runbookOf('sync_duration_ms', 'fleet'), 'PosFleetSyncLatencyHigh');
  assert.equal(runbookOf('sync_duration_ms'), 'PosStoreSyncLatencyHigh');
  assert.equal(runbookOf('idb_write_ms', 'store'), 'PosReleaseDatabaseWriteSlow');
  assert.equal(runbookOf('nothing', 'fleet'), null);
});

test('every runbook that a view names is written', () => {
  const views = new URL('../src/views/', import.meta.url);
  for (const file of readdirSync(views)) {
    for (const [, name] of readFileSync(new URL(file, views), 'utf8').matchAll(/['"]((?:Tillwatch|Pos)[A-Z]\w+)['"]/g)) assert.ok(written.has(name), `${file}: ${name}`);
  }
});
