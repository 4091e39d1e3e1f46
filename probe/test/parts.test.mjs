import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { doors } from '../src/doors.mjs';
import { line } from '../src/log.mjs';
import { FAMILIES, Metrics, serve } from '../src/metrics.mjs';
import { HELP, parse } from '../src/options.mjs';
import { nameOf, prune } from '../src/screenshots.mjs';
import { parseScenario } from '../src/scenario.mjs';

const RUN = ['run', 'a.json', '--url', 'https://pos.example.com/', '--store', 'store-1'];

test('the command line is read, with its defaults', () => {
  const options = parse([...RUN, '--collector', 'http://127.0.0.1:8080', '--token-file', 't', '--every', '15m', '--limit-factor', '2.5', '--hold-back', '/rum']);
  const { url, collector, terminal, everyMs, isOnce, retries, limitFactor, held, screenshots } = options;
  assert.deepEqual(
    { url, collector, terminal, everyMs, isOnce, retries, limitFactor, held, screenshots },
    { url: 'https://pos.example.com', collector: 'http://127.0.0.1:8080', terminal: 'probe-1', everyMs: 900_000, isOnce: false, retries: 1, limitFactor: 2.5, held: ['/rum'], screenshots: 'tillwatch-probe-data/screenshots' },
  );
  assert.equal(parse(RUN).everyMs, 3_600_000);
  assert.equal(parse(['--help']).command, 'help');
});

test('every option is in the help, and a wrong one says what to do', () => {
  for (const name of ['url', 'every', 'once', 'retries', 'limit-factor', 'hold-back', 'browser', 'collector', 'store', 'terminal', 'token-file', 'release', 'metrics', 'data-dir', 'screenshots', 'screenshots-kept']) assert.ok(HELP.includes(`--${name} `), name);
  const wrong = [
    [[], /say run or check/],
    [['walk'], /there is no command walk/],
    [['run'], /name a scenario/],
    [['run', 'a.json'], /--url is missing/],
    [['run', 'a.json', '--url', 'http://x'], /--store is missing/],
    [[...RUN, '--store', 'a b'], /--store a b must match/],
    [[...RUN, '--url', 'pos'], /--url pos is no address/],
    [[...RUN, '--url', 'file:///etc'], /must begin with http/],
    [[...RUN, '--every', '90'], /is no time/],
    [[...RUN, '--every', '0s'], /is no time/],
    [[...RUN, '--every', '1h', '--once'], /exclude each other/],
    [[...RUN, '--retries', '9'], /from 0 to 5/],
    [[...RUN, '--limit-factor', 'x'], /must be a number/],
    [[...RUN, '--metrics', '9469'], /must be HOST:PORT/],
    [[...RUN, '--token-file', 't'], /--collector/],
    [[...RUN, '--hold-back', 'rum'], /must be a path/],
    [[...RUN, '--foo'], /--foo/],
  ];
  for (const [args, says] of wrong) assert.throws(() => parse(args), says, args.join(' '));
});

test('what a page posts to a door of tillwatch is known by its path', () => {
  for (const path of ['/v1/batches', '/tillwatch/v1/batches', '/collect', '/collect/pos', '/v1/metrics', '/pdc_pos_offline/metrics']) assert.match(path, doors());
  for (const path of ['/', '/api/sales', '/api/collect', '/collect/pos/1', '/v1/batches/1', '/rum', '/a.b']) assert.doesNotMatch(path, doors());
  assert.match('/rum', doors(['/rum']));
  assert.doesNotMatch('/aXb', doors(['/a.b']));
});

test('of the pictures the newest stay, and files of others', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tillwatch-probe-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const names = [1, 2, 3].map((minute) => nameOf('login', { number: 7, title: 'measure login' }, new Date(Date.UTC(2026, 0, 1, 12, minute))));
  assert.equal(names[0], '20260101T120100000Z-login-07_measure_login.png');
  for (const name of [...names, 'mine.png']) writeFileSync(join(folder, name), '');
  prune(folder, 2);
  assert.deepEqual(readdirSync(folder).sort(), [...names.slice(1), 'mine.png']);
});

test('a line of the log has its words quoted where they need it', () => {
  assert.equal(line('info', { scenario: 'a', reason: 'it "broke"\nthere', none: undefined }, new Date(0)), 'time=1970-01-01T00:00:00.000Z level=info scenario=a reason="it \\"broke\\"\\nthere"');
});

const SCENARIO = parseScenario(
  JSON.stringify({ name: 'buy', steps: [{ goto: '/' }, { mark: 's' }, { measure: 'pay', from: 's', limit_ms: 500 }, { evaluate: 'memory', limit_bytes: 5e7 }] }),
  'x',
);

test('the page for Prometheus has its counters from the start, and the last run', async (t) => {
  const state = { waiting: [1], dropped: 0, lastRunMs: () => 1_700_000_000_000 };
  const metrics = new Metrics({ store: 'store-1', scenarios: [SCENARIO], everyMs: 3_600_000, state, limitFactor: 2 });
  const has = (...lines) => {
    const text = metrics.text();
    for (const line of lines) assert.ok(text.includes(line + '\n'), `${line} in\n${text}`);
  };
  has(
    'pos_synthetic_runs_total{store_id="store-1",scenario="buy",result="failed"} 0',
    'pos_synthetic_steps_total{store_id="store-1",scenario="buy",step="03 measure pay",result="over_limit"} 0',
    'pos_synthetic_last_run_result{store_id="store-1",scenario="buy",result="ok"} 0',
    'pos_synthetic_last_run_timestamp_seconds{store_id="store-1",scenario="buy"} 1700000000',
    'pos_synthetic_limit_seconds{store_id="store-1",scenario="buy",measure="pay"} 1',
    'pos_synthetic_limit_bytes{store_id="store-1",scenario="buy",measure="memory"} 100000000',
    'pos_synthetic_interval_seconds{store_id="store-1"} 3600',
    'pos_synthetic_waiting_batches{store_id="store-1"} 1',
  );
  assert.ok(!metrics.text().includes('pos_synthetic_measured'));
  const steps = [{ number: 1, title: 'goto', result: 'ok', ms: 250 }, { number: 3, title: 'measure pay', result: 'over_limit', ms: 1 }];
  metrics.ran({ scenario: 'buy', result: 'over_limit', steps, ms: 1500, measured: [{ name: 'pay', unit: 'ms', value: 1250 }] });
  has(
    'pos_synthetic_runs_total{store_id="store-1",scenario="buy",result="over_limit"} 1',
    'pos_synthetic_last_run_result{store_id="store-1",scenario="buy",result="over_limit"} 1',
    'pos_synthetic_measured_seconds{store_id="store-1",scenario="buy",measure="pay"} 1.25',
    'pos_synthetic_run_duration_seconds{store_id="store-1",scenario="buy"} 1.5',
    'pos_synthetic_step_duration_seconds{store_id="store-1",scenario="buy",step="01 goto"} 0.25',
  );
  // What a later run did not come to is not shown as if it had.
  metrics.ran({ scenario: 'buy', result: 'failed', steps: [{ number: 1, title: 'goto', result: 'failed', ms: 10 }], ms: 10, measured: [] });
  assert.ok(!metrics.text().includes('pos_synthetic_measured'));
  has('pos_synthetic_steps_total{store_id="store-1",scenario="buy",step="01 goto",result="failed"} 1');

  const page = await serve(metrics, '127.0.0.1:0');
  t.after(() => page.stop());
  const answer = await fetch(page.url);
  assert.match(answer.headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
  assert.equal(await answer.text(), metrics.text());
  assert.equal((await fetch(new URL('/else', page.url))).status, 404);
});

test('every series has one help, one type and its labels', () => {
  assert.equal(new Set(FAMILIES.map(([name]) => name)).size, FAMILIES.length);
  for (const [name, type, help] of FAMILIES) {
    assert.equal(name.endsWith('_total'), type === 'counter', name);
    assert.match(help, /^[A-Z].*\.$/, name);
  }
});
