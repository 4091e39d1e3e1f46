import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { State } from '../src/state.mjs';

const DAY_MS = 86_400_000;
const WHO = { store: 'store-1', terminal: 'probe-1' };
const sample = (v = 1) => [{ m: 'sync_100_duration_ms', t: 1, v }];

function folder(t) {
  const made = mkdtempSync(join(tmpdir(), 'tillwatch-probe-'));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

test('what was not acknowledged is there after a restart, unchanged, and numbers go on', (t) => {
  const at = folder(t);
  const first = new State(at, WHO);
  first.add(sample(1));
  first.add(sample(2), { release: '2.4.1' });
  first.acknowledge(first.waiting[0]);
  const [kept] = first.waiting;
  assert.deepEqual(kept.batch, { v: 1, store_id: 'store-1', terminal_id: 'probe-1', queue: first.data.queue, seq: 2, release: '2.4.1', consent: true, source: 'synthetic', samples: sample(2) });
  first.close();
  const second = new State(at, WHO);
  assert.deepEqual(second.waiting, [kept]);
  second.add(sample(3));
  assert.deepEqual(second.waiting.map(({ batch: { queue, seq } }) => [queue, seq]), [[first.data.queue, 2], [first.data.queue, 3]]);
  second.close();
});

test('another store or terminal begins a queue of its own, and what waits stays what it was', (t) => {
  const at = folder(t);
  const first = new State(at, WHO);
  first.add(sample());
  first.close();
  const second = new State(at, { ...WHO, store: 'store-2' });
  second.add(sample());
  const [old, made] = second.waiting.map(({ batch }) => batch);
  assert.deepEqual([old.store_id, old.seq, made.store_id, made.seq], ['store-1', 1, 'store-2', 1]);
  assert.notEqual(old.queue, made.queue);
  second.close();
});

test('what is too old or too much is dropped, and the next batch tells the collector', (t) => {
  const state = new State(folder(t), WHO, 0);
  state.add(sample(), {}, 0);
  state.add(sample(), {}, 7 * DAY_MS + 1);
  assert.deepEqual(state.waiting.map(({ batch }) => batch.seq), [2]);
  assert.deepEqual(state.waiting[0].batch.drops, [{ queue: state.data.queue, from: 1, to: 1, samples: 1, reason: 'age', t: 7 * DAY_MS + 1 }]);
  for (let made = 0; made < 300; made += 1) state.add(sample(), {}, 7 * DAY_MS + 2);
  assert.equal(state.waiting.length, 250);
  assert.equal(state.dropped, 1 + 51);
  assert.equal(state.waiting.at(-1).batch.drops[0].reason, 'quota');
  assert.equal(state.data.drops.length, 0, 'each loss was told once');
  state.close();
});

test('a second probe is refused, and a lock that a killed one left is not', (t) => {
  const at = folder(t);
  // The parent of this process is alive.
  writeFileSync(join(at, 'lock'), String(process.ppid));
  assert.throws(() => new State(at, WHO), new RegExp(`another probe \\(process ${process.ppid}\\).*--data-dir`));
  // No process has this number: Linux ends at 4,194,304.
  writeFileSync(join(at, 'lock'), '99999999');
  new State(at, WHO).close();
});

test('a state file that cannot be read is not written over', (t) => {
  const at = folder(t);
  for (const text of ['{"version":2,"waiting":[],"nextSeq":1,"queue":"x"}', '{"vers', '']) {
    writeFileSync(join(at, 'state.json'), text);
    assert.throws(() => new State(at, WHO), /is not a state file that this release can read .*Move it away/);
    assert.equal(readFileSync(join(at, 'state.json'), 'utf8'), text);
  }
});

test('a folder that cannot be written to is named', (t) => {
  const at = folder(t);
  // A folder in the place of the file, because root may write whatever its mode is.
  mkdirSync(join(at, 'state.json.new'));
  assert.throws(() => new State(at, WHO), /state\.json cannot be written \(EISDIR\): make room/);
});

test('since when a scenario should run outlives a restart', (t) => {
  const at = folder(t);
  const first = new State(at, WHO);
  assert.equal(first.lastRunMs('login', 5000), 5000);
  first.save();
  first.close();
  const second = new State(at, WHO);
  assert.equal(second.lastRunMs('login', 9000), 5000);
  second.ran('login', 9000);
  assert.equal(second.lastRunMs('login', 10_000), 9000);
  second.close();
});
