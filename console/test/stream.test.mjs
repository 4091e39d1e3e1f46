import test, { mock } from 'node:test';
import assert from 'node:assert/strict';
import { pure } from './pure.mjs';

const { Hub } = await pure('stream');
const settle = async () => { for (let i = 0; i < 20; i += 1) await new Promise((resolve) => setImmediate(resolve)); };
const row = (store_id) => ({ store_id, state: 'fine', why: [], sync_p95_ms: 900, release: null });
const fleet = { seq: 7, t: 1, complete_to: 1, stores: [row('a')], all: {} };
const event = (name, data) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;

/** A collector of which each answer is written down here. */
function collector(answers) {
  const asked = [];
  const streams = [];
  globalThis.fetch = async (path, { signal } = {}) => {
    asked.push(path.replace('api/v1/', ''));
    const answer = answers(path);
    if (answer !== 'stream') { if (answer instanceof Error) throw answer; return answer; }
    const body = new ReadableStream({ start(control) {
      const stream = { say: (...of) => control.enqueue(new TextEncoder().encode(event(...of))), end: () => control.close(), isOpen: true };
      streams.push(stream);
      signal.addEventListener('abort', () => { stream.isOpen = false; try { control.error(signal.reason); } catch { /* It has ended already. */ } });
    } });
    return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
  };
  return { asked, streams };
}
const pageOf = (hub) => { const said = []; return { said, kinds: () => said.map((one) => (one.kind === 'link' ? one.link : one.kind)), ...hub.join((one) => said.push(one)) }; };
const timers = (run) => async () => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: 1_000_000 });
  mock.method(Math, 'random', () => 0.5);
  try { await run(async (ms) => { mock.timers.tick(ms); await settle(); }); } finally { mock.timers.reset(); mock.restoreAll(); }
};

test('all pages share one stream, and one that comes later gets what is known', timers(async () => {
  const { asked, streams } = collector(() => 'stream');
  const hub = new Hub();
  const one = pageOf(hub);
  one.want({ topics: ['fleet'], isVisible: true, seq: 0 });
  await settle();
  streams[0].say('snapshot', { seq: 7, topic: 'fleet', fleet });
  await settle();
  assert.deepEqual(one.kinds(), ['idle', 'connecting', 'live', 'heard', 'fleet']);
  const other = pageOf(hub);
  other.want({ topics: ['fleet'], isVisible: true, seq: 0 });
  await settle();
  assert.deepEqual(other.kinds(), ['live', 'fleet']);
  streams[0].say('rows', { seq: 8, t: 2, stores: [row('a')], gone: [], all: {} });
  await settle();
  assert.equal(other.said.at(-1).kind, 'rows');
  assert.deepEqual(asked, ['live?topics=fleet']);
}));

test('what another view looks at is asked for without the fleet that is known', timers(async () => {
  const { asked, streams } = collector(() => 'stream');
  const page = pageOf(new Hub());
  page.want({ topics: ['fleet'], isVisible: true, seq: 0 });
  await settle();
  streams[0].say('snapshot', { seq: 7, topic: 'fleet', fleet });
  await settle();
  page.want({ topics: ['fleet', 'store:a:1', 'store:a, b'], isVisible: true, seq: 7 });
  await settle();
  assert.equal(streams[0].isOpen, false);
  // A name that no store can have would have all topics refused.
  assert.equal(asked[1], 'live?topics=fleet,store:a:1&since=7');
  streams[1].say('store', { t: 3, store: { row: row('a:1') } });
  await settle();
  assert.equal(page.said.at(-1).topic, 'store:a:1');
}));

test('15 s after the last page is hidden the stream ends, and it goes on when one is seen', timers(async (wait) => {
  const { asked, streams } = collector(() => 'stream');
  const page = pageOf(new Hub());
  page.want({ topics: ['fleet'], isVisible: true, seq: 0 });
  await settle();
  page.want({ topics: ['fleet'], isVisible: false, seq: 0 });
  await wait(14_000);
  assert.equal(streams[0].isOpen, true);
  await wait(2_000);
  assert.equal(streams[0].isOpen, false);
  page.want({ topics: ['fleet'], isVisible: true, seq: 0 });
  await settle();
  assert.equal(asked.length, 2);
}));

test('a stream that breaks is asked for again, at once and then ever later', timers(async (wait) => {
  let isAway = false;
  const { asked, streams } = collector(() => (isAway ? new TypeError('refused') : 'stream'));
  const page = pageOf(new Hub());
  page.want({ topics: ['fleet'], isVisible: true, seq: 0 });
  await settle();
  isAway = true;
  streams[0].end();
  await settle();
  await wait(130);
  await wait(260);
  assert.equal(asked.length, 3);
  assert.equal(page.kinds().at(-1), 'lost');
  isAway = false;
  await wait(600);
  assert.equal(page.kinds().filter((kind) => kind === 'live').length, 2);
}));

test('silence of 20 s is no stream', timers(async (wait) => {
  const { streams } = collector(() => 'stream');
  const page = pageOf(new Hub());
  page.want({ topics: ['fleet'], isVisible: true, seq: 0 });
  await settle();
  for (let i = 0; i < 9; i += 1) await wait(2_000);
  assert.equal(streams[0].isOpen, true);
  for (let i = 0; i < 2; i += 1) await wait(2_000);
  assert.equal(streams[0].isOpen, false);
}));

test('a collector without a stream is asked for the fleet every two seconds', timers(async (wait) => {
  const { asked } = collector((path) => (path.includes('/live') ? new Response('', { status: 404 }) : Response.json(fleet, { headers: { ETag: '"x"' } })));
  const page = pageOf(new Hub());
  page.want({ topics: ['fleet'], isVisible: true, seq: 0 });
  await settle();
  for (let i = 0; i < 2; i += 1) await wait(2_000);
  assert.deepEqual(asked, ['live?topics=fleet', 'fleet', 'fleet', 'fleet']);
  assert.deepEqual([page.kinds().includes('polling'), page.kinds().includes('fleet')], [true, true]);
}));

test('a key that is wanted is said, and asked about again later', timers(async (wait) => {
  const { asked } = collector(() => new Response('{}', { status: 401 }));
  const page = pageOf(new Hub());
  page.want({ topics: ['fleet'], isVisible: true, seq: 0 });
  await settle();
  assert.deepEqual(page.said.at(-1), { kind: 'link', link: 'refused', status: 401 });
  await wait(10_000);
  assert.equal(asked.length, 2);
  page.want({ topics: ['fleet'], isVisible: true, seq: 0, isBack: true });
  await settle();
  assert.equal(asked.length, 3);
}));

test('of two pages that look at stores the one that asked last has its own pushed', timers(async (wait) => {
  const { asked } = collector(() => 'stream');
  const hub = new Hub();
  const [one, other] = [pageOf(hub), pageOf(hub)];
  one.want({ topics: ['store:a'], isVisible: true, seq: 0 });
  await wait(10);
  other.want({ topics: ['store:b'], isVisible: true, seq: 0 });
  await wait(10);
  assert.equal(one.kinds().at(-1), 'unpushed');
  // A page that only says that it is still there takes nothing away.
  one.want({ topics: ['store:a'], isVisible: true, seq: 0 });
  await wait(10);
  assert.deepEqual(asked, ['live?topics=store:a', 'live?topics=store:b']);
  other.leave();
  await settle();
  assert.equal(asked[2], 'live?topics=store:a');
}));
