#!/usr/bin/env node
// What our library takes of a busy till's main thread: a minute with it against one whose calls do nothing, the longest
// calls, and which functions it is. Tables go to stderr, the same as JSON to stdout.
import { readFileSync, rmSync } from 'node:fs';
import { Collector, CountingLine, browser, bundle, chromiumVersion, folder, here, say, script, sdk, simulatedTime, sleep, table } from './support.mjs';

const PAIRS = Number(process.env.SDK_PAIRS || 3);
const CALLS = Number(process.env.SDK_CALLS || 10_000);
const RATES = (process.env.SDK_RATES || '1,6').split(',').map(Number);
const KIND = process.env.SDK_KIND || 'busy';

const NONE = '{ observe() {}, count() {}, level() {}, error() {}, event() {} }';
const page = (scripts) => `<!doctype html><html lang=en><meta charset=utf-8><title>Till</title><link rel=icon href="data:,"><h1>Till</h1><script src=/business.js></script>${scripts}`;

let collector;
const profiles = [];
const lines = [];

async function opened(files, before) {
  const line = await new CountingLine(collector, files).start();
  lines.push(line);
  const profile = folder('figures');
  profiles.push(profile);
  const context = await browser(profile);
  if (before) await context.addInitScript(before);
  return { line, context };
}

const options = (line, store) => ({ url: line.url, store, terminal: 'till-1', release: '1.0.0', consent: true });

/** Processor time of the main thread, in ms: what others run on this machine does not count. */
async function metrics(session) {
  const { metrics } = await session.send('Performance.getMetrics');
  const of = (name) => metrics.find((one) => one.name === name).value * 1000;
  return { task: of('TaskDuration'), script: of('ScriptDuration') };
}

/** Runs `work` and says what it took of the main thread. */
async function taken(session, work) {
  const before = await metrics(session);
  await work();
  const after = await metrics(session);
  return { task: after.task - before.task, script: after.script - before.script };
}

async function measured(context, rate) {
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  if (rate > 1) await session.send('Emulation.setCPUThrottlingRate', { rate });
  return { page, session };
}

/** Pairs of minutes, with the library and without, in turn. */
async function pairs(rate, files) {
  const { line, context } = await opened(files);
  const results = [];
  try {
    for (let nth = 0; nth < PAIRS; nth++)
      for (const arm of nth % 2 ? ['with', 'without'] : ['without', 'with']) {
        const { page, session } = await measured(context, rate);
        await page.goto(line.url + (arm === 'with' ? '/' : '/none'));
        if (arm === 'with') await page.evaluate((options) => tillwatch.init(options), options(line, `main-${rate}`));
        await sleep(4000);
        const posts = line.posts.length;
        const cost = await taken(session, () => page.evaluate((kind) => trade(tillwatch, kind, 1), KIND));
        results.push({ rate, arm, ...cost, posts: line.posts.length - posts });
        say(`${rate}x ${arm}: ${JSON.stringify(cost)}`);
        if (arm === 'with') results.at(-1).dropped = (await page.evaluate(() => tillwatch.status())).dropped;
        await page.close();
      }
  } finally {
    await context.close();
  }
  return results;
}

/** A minute without a line, with fourteen busy hours waiting. */
async function waiting(files) {
  const { line, context } = await opened(files, simulatedTime);
  const results = {};
  try {
    for (const arm of ['without', 'with']) {
      const { page, session } = await measured(context, 1);
      await page.goto(line.url + (arm === 'with' ? '/' : '/none'));
      if (arm === 'with') {
        await page.evaluate((options) => (forward(-14 * 3_600_000), tillwatch.init(options)), options(line, 'main-waiting'));
        await context.setOffline(true);
        for (let hour = 0; hour < 14; hour++)
          await page.evaluate(async () => {
            for (let minute = 0; minute < 60; minute++) {
              for (const call of business('busy')) make(tillwatch, call);
              forward(60_000);
              await turn();
            }
          });
      }
      results[arm] = await taken(session, () =>
        page.evaluate(async () => {
          const timer = self.turn && [...Array(12)].map((_, nth) => setTimeout(self.turn, nth * 5000 + 2500));
          await trade(tillwatch, 'busy', 1);
          timer?.map(clearTimeout);
        }),
      );
      say(`waiting, ${arm}: ${JSON.stringify(results[arm])}`);
      await page.close();
    }
  } finally {
    await context.close();
  }
  return results;
}

/** How long single calls take, by the clock: others on this machine count, too. */
async function calls(rate, files) {
  const { line, context } = await opened(files);
  try {
    const { page } = await measured(context, rate);
    await page.goto(line.url);
    const text = script();
    const result = await page.evaluate(
      async ([options, text, total]) => {
        if (!crossOriginIsolated) throw new Error('the clock is coarse');
        const timed = (work) => {
          const began = performance.now();
          work();
          return performance.now() - began;
        };
        const evaluate = timed(() => (0, eval)(text));
        const init = timed(() => tillwatch.init(options));
        await new Promise((resolve) => setTimeout(resolve, 2000));
        const kinds = {
          // What the machine does to a call by itself.
          nothing: () => {},
          observe: (n) => tillwatch.observe('idb_write_ms', 1 + (n % 997) / 10),
          count: (n) => tillwatch.count('cache_requests', { label: n % 10 ? 'hit' : 'miss' }),
          level: (n) => tillwatch.level('pending_transactions', n % 50),
          error: (n) => tillwatch.error(new TypeError(`Sale ${n % 40} of "somebody" failed at https://example.com/pay?id=${n}`)),
          event: (n) => tillwatch.event('custom', 'drawer-' + (n % 40)),
        };
        const results = {};
        for (const [kind, call] of Object.entries(kinds)) {
          const took = [];
          for (let n = 0; n < total; ) {
            for (let part = 0; part < 40 && n < total; part++, n++) took.push(timed(() => call(n)));
            // Lists of errors and events are full after 50, so they are emptied; nothing of it is timed.
            await tillwatch.erase();
          }
          took.sort((one, other) => one - other);
          const at = (q) => took[Math.ceil(q * took.length) - 1];
          results[kind] = { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1), over: took.filter((ms) => ms > 1).length };
        }
        // Messages that are slow to search, such as a page of a proxy or a text without spaces; the best of three.
        const hard = {};
        const messages = { letters: 'a'.repeat(4000), 'blank lines': '<html>' + '\n   '.repeat(2000) + '</html>', 'question marks': '?'.repeat(4000) };
        for (const [name, message] of Object.entries(messages)) {
          const thrown = new Error(message);
          hard[name] = Math.min(...[1, 2, 3].map(() => timed(() => tillwatch.error(thrown))));
        }
        await tillwatch.erase();
        return { evaluate, init, calls: results, hard };
      },
      [options(line, `calls-${rate}`), text, CALLS],
    );
    say(`${rate}x calls: ${JSON.stringify(result)}`);
    return { rate, ...result };
  } finally {
    await context.close();
  }
}

/** Which functions it is, of a library with names. */
async function profile(names) {
  const { line, context } = await opened({ '/': page('<script src=/names.js></script>'), '/names.js': names, '/business.js': readFileSync(here + 'business.js', 'utf8') });
  try {
    const { page, session } = await measured(context, 1);
    await page.goto(line.url);
    await page.evaluate((options) => tillwatch.init(options), options(line, 'profile'));
    await sleep(4000);
    await page.evaluate(counting);
    await session.send('Profiler.enable');
    await session.send('Profiler.setSamplingInterval', { interval: 100 });
    await session.send('Profiler.start');
    await page.evaluate(() => trade(tillwatch, 'busy', 1));
    const { profile } = await session.send('Profiler.stop');
    const asked = await page.evaluate(() => self.asked);
    const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
    const parent = new Map();
    for (const node of profile.nodes) for (const child of node.children || []) parent.set(child, node.id);
    const self = new Map();
    profile.samples.forEach((id, nth) => self.set(id, (self.get(id) || 0) + profile.timeDeltas[nth] / 1000));
    const byFunction = new Map();
    const ownBy = new Map();
    for (const [id, ms] of self) {
      const named = ({ callFrame: { functionName, url, lineNumber } }) => `${functionName || '(anonymous)'}${url.includes('names.js') ? ':' + (lineNumber + 1) : ''}`;
      const node = nodes.get(id);
      const isOurs = (one) => one.callFrame.url.includes('names.js');
      // The nearest function of the library is charged with what it calls of the browser.
      let at = id;
      while (at && !isOurs(nodes.get(at))) at = parent.get(at);
      if (at) ownBy.set(named(nodes.get(at)), (ownBy.get(named(nodes.get(at))) || 0) + ms);
      else byFunction.set(named(node), (byFunction.get(named(node)) || 0) + ms);
    }
    const top = (map, n) => [...map].sort((one, other) => other[1] - one[1]).slice(0, n).map(([name, ms]) => [name, Math.round(ms * 10) / 10]);
    return { asked, total: [...ownBy.values()].reduce((sum, ms) => sum + ms, 0), functions: top(ownBy, 20), others: top(byFunction, 8) };
  } finally {
    await context.close();
  }
}

/** Counts what the page asks of IndexedDB and of the network: each costs the main thread some tasks, whatever it carries. */
const counting = `(() => {
  self.asked = {};
  const wrap = (prototype, name) => {
    const original = prototype[name];
    prototype[name] = function (...given) {
      asked[name] = (asked[name] || 0) + 1;
      return original.apply(this, given);
    };
  };
  wrap(IDBDatabase.prototype, 'transaction');
  for (const name of ['get', 'getAll', 'put', 'delete']) wrap(IDBObjectStore.prototype, name);
  wrap(self, 'fetch');
})();`;

const result = { chromium: chromiumVersion() };
try {
  collector = await new Collector().start();
  const files = {
    '/': page('<script src=/tillwatch.js></script>'), '/none': page(`<script>tillwatch = ${NONE}</script>`),
    '/tillwatch.js': script(), '/business.js': readFileSync(here + 'business.js', 'utf8'),
  };
  const bare = { ...files, '/': page('') };
  const names = await bundle(`import '${sdk}src/classic.ts';`, { minify: false, target: 'es2022', define: { VERSION: '"1.0.0"' } });
  const [late, ...costs] = await Promise.all([
    process.env.SDK_WAITING === '0' ? undefined : waiting(files),
    ...RATES.map((rate) => pairs(rate, files)),
  ]);
  result.pairs = costs.flat();
  result.waiting = late;
  result.calls = [];
  for (const rate of RATES) result.calls.push(await calls(rate, bare));
  result.profile = await profile(names);
} finally {
  await collector?.stop();
  for (const line of lines) await line.stop();
  for (const profile of profiles) rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
}

const ms = (value) => value.toFixed(value < 10 ? 2 : 1);
const range = (values) => `${ms(Math.min(...values))} to ${ms(Math.max(...values))}`;
console.error('\n' + table(
  [`a ${KIND} minute, ms of processor`, 'tasks without', 'tasks with', 'the library: tasks', 'the library: script'],
  RATES.map((rate) => {
    const of = (arm, what) => result.pairs.filter((one) => one.rate === rate && one.arm === arm).map((one) => one[what]);
    const differences = (what) => of('with', what).map((value, nth) => value - of('without', what)[nth]);
    return [`${rate}x slower`, range(of('without', 'task')), range(of('with', 'task')), range(differences('task')), range(differences('script'))];
  }),
));
if (result.waiting) {
  const { without, with: given } = result.waiting;
  console.error(`\nA minute offline with 14 busy hours waiting: ${ms(given.task - without.task)} ms, of which script ${ms(given.script - without.script)} ms.`);
}
console.error('\n' + table(
  ['a call, ms on the clock', 'p50', 'p99', 'p99.9', 'longest', 'over 1 ms'],
  result.calls.flatMap(({ rate, calls }) => Object.entries(calls).map(([kind, { p50, p99, p999, max, over }]) => [`${kind}, ${rate}x`, p50.toFixed(3), p99.toFixed(3), p999.toFixed(3), ms(max), `${over} of ${CALLS}`])),
));
console.error('\n' + table(
  ['an error with a message of', 'ms'],
  result.calls.flatMap(({ rate, hard }) => Object.entries(hard).map(([name, took]) => [`${name}, ${rate}x`, ms(took)])),
));
console.error(result.calls.map(({ rate, evaluate, init }) => `\n${rate}x: the script is read and run in ${ms(evaluate)} ms, init takes ${ms(init)} ms.`).join(''));
console.error(`\nIn a busy minute it asks for: ${Object.entries(result.profile.asked).map(([name, n]) => `${n} ${name}`).join(', ')}.`);
console.error('\n' + table(['function', 'ms in a busy minute (sampled, others on the machine count)'], result.profile.functions));
console.log(JSON.stringify(result, null, 1));
