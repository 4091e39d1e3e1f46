import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { deliver, judge, samplesOf } from '../src/deliver.mjs';
import { State } from '../src/state.mjs';

const OK = [202, { accepted: 1, duplicate: 0, rejected: 0, reasons: [] }];

/** A collector that gives these answers, one after the other, and the last of them for ever; and a state beside it. */
async function start(t, ...answers) {
  const posts = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    posts.push({ url: request.url, token: request.headers.authorization, batch: JSON.parse(text) });
    const [status, json, headers = {}] = answers.length > 1 ? answers.shift() : answers[0];
    if (status === 0) return void request.socket.destroy();
    response.writeHead(status, headers).end(typeof json === 'string' ? json : JSON.stringify(json));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const folder = mkdtempSync(join(tmpdir(), 'tillwatch-probe-'));
  const state = new State(folder, { store: 'store-1', terminal: 'probe-1' });
  t.after(() => {
    server.close();
    state.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const waits = [];
  const lines = [];
  const options = { collector: `http://127.0.0.1:${server.address().port}`, wait: async (ms) => void waits.push(ms), log: (level, fields) => lines.push({ level, ...fields }) };
  return { posts, state, folder, waits, lines, options };
}

const add = (state, now) => state.add([{ m: 'sync_100_duration_ms', t: Date.now(), v: 1 }], {}, now);

test('what waits is sent oldest first, and kept until it is acknowledged', async (t) => {
  const { posts, state, options } = await start(t, OK);
  add(state, Date.now() - 3_600_000);
  add(state);
  assert.equal(await deliver(state, options), true);
  assert.deepEqual(posts.map(({ url, batch }) => [url, batch.seq, batch.source]), [
    ['/v1/batches?store=store-1&class=backlog', 1, 'synthetic'],
    ['/v1/batches?store=store-1', 2, 'synthetic'],
  ]);
  assert.deepEqual(state.waiting, []);
});

test('a collector that is away is tried three times, and the batch is sent again as it was', async (t) => {
  const { posts, state, waits, options, lines } = await start(t, [0], [503, { error: { code: 'busy', message: 'Wait.' } }, { 'retry-after': '5' }], [0], OK);
  add(state);
  assert.equal(await deliver(state, options), false);
  assert.deepEqual(waits, [1000, 5000]);
  assert.match(lines.at(-1).reason, /no answer .*is --collector right/);
  assert.equal(state.waiting.length, 1);
  assert.equal(await deliver(state, options), true);
  assert.deepEqual(state.waiting, []);
  const same = posts.map(({ batch: { sent_at_ms, ...rest } }) => (assert.ok(sent_at_ms > 0), JSON.stringify(rest)));
  assert.equal(new Set(same).size, 1);
});

test('Retry-After is not waited for longer than a minute', async (t) => {
  const { state, waits, options } = await start(t, [429, { error: { code: 'rate_limited' } }, { 'retry-after': '3600' }]);
  add(state);
  assert.equal(await deliver(state, options), false);
  assert.deepEqual(waits, [60_000, 60_000]);
});

test('an answer of anybody else deletes nothing', async (t) => {
  for (const answer of [[200, '<h1>Please log in</h1>'], [202, '<h1>Please log in</h1>'], [404, {}], [400, 'no JSON']]) {
    const { state, options } = await start(t, answer);
    add(state);
    assert.equal(await deliver(state, options), false);
    assert.equal(state.waiting.length, 1);
  }
});

test('a batch that is refused for good is dropped, and the collector is told', async (t) => {
  const { posts, state, options } = await start(t, [422, { error: { code: 'invalid_store_id', message: 'No.' } }], OK);
  add(state);
  assert.equal(await deliver(state, options), true);
  assert.deepEqual([state.waiting.length, state.dropped], [0, 1]);
  add(state);
  assert.equal(await deliver(state, options), true);
  const [{ reason, from, to }] = posts.at(-1).batch.drops;
  assert.deepEqual([reason, from, to], ['refused', 1, 1]);
});

test('a credential that is refused is not tried again at once, and is read anew', async (t) => {
  const { posts, state, folder, options, lines } = await start(t, [401, { error: { code: 'token_expired', message: 'It is over.' } }], OK);
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, 'old\n');
  add(state);
  assert.equal(await deliver(state, { ...options, tokenFile }), false);
  assert.match(lines.at(-1).reason, /token_expired.*--token-file/);
  writeFileSync(tokenFile, 'new\n');
  assert.equal(await deliver(state, { ...options, tokenFile }), true);
  assert.deepEqual(posts.map(({ token }) => token), ['Bearer old', 'Bearer new']);
  rmSync(tokenFile);
  add(state);
  assert.equal(await deliver(state, { ...options, tokenFile }), false);
  assert.equal(posts.length, 2, 'nothing is sent without its token');
});

test('samples that the collector rejects are named', () => {
  const { is, says } = judge({ status: 202, json: { accepted: 0, duplicate: 0, rejected: 1, reasons: [{ reason: 'unknown_metric' }] } });
  assert.equal(is, 'taken');
  assert.match(says, /rejected samples: 1 \(unknown_metric\); correct "metric"/);
});

test('what has a name in the catalogue becomes a sample in the unit of its name', () => {
  const measured = [
    { name: 'login', unit: 'ms', value: 300, atMs: 1 },
    { name: 'offline_login', unit: 'ms', value: 147.71234, metric: 'offline_login_duration_ms', connection: 'offline', atMs: 2 },
    { name: 'memory', unit: 'bytes', value: 12_345_678, metric: 'memory_used_mb', atMs: 3 },
  ];
  assert.deepEqual(samplesOf({ measured }), [
    { m: 'offline_login_duration_ms', t: 2, v: 147.712, connection: 'offline' },
    { m: 'memory_used_mb', t: 3, v: 12.345678 },
  ]);
});
