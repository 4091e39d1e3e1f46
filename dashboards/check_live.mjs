#!/usr/bin/env node
// Runs every query of every dashboard on a live Prometheus and the embedded ClickHouse, fed by a simulated fleet.
// Each must succeed and bring values, but for those in MAY_BE_EMPTY. `make test-stack` calls it.
//
//   node check_live.mjs                starts everything itself, on free ports, and stops it
//   node check_live.mjs --urls FILE    uses what runs; FILE holds {prometheus, clickhouse: {url, user, password}}

import { readFileSync, readdirSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { chooseVariables, hasValues, promQuery, sqlQuery, targetFrames } from './lib/live.mjs';
import { PROBE_SERIES, knownSeries } from './src/catalogue.mjs';
import { AVAILABLE, UPCOMING_SERIES } from './src/upcoming.mjs';
import { sleep, startStack, until } from './lib/stack.mjs';

/** Queries that are rightly empty when all is well: title, query, and why. */
const MAY_BE_EMPTY = [
  ['Samples rejected by minute and reason', 'A', 'the simulated terminals send nothing that is rejected'],
  ['What the reports say, newest first', 'A', 'the simulated terminals post histograms, not reports with percentiles'],
  ['Ledger of losses, latest first', 'A', 'the simulated terminals drop no batch, and none of theirs is missing for over ten minutes'],
  ['Errors by group, most frequent first', 'A', 'the simulated terminals count errors but report none with its type and stack'],
  ['Errors by hour, the five most frequent groups', 'A', 'the same'],
  ['Errors of this store by group, most frequent first', 'A', 'the same'],
  ['Worse than expected, times', 'A', 'nothing of the simulated fleet gets worse than it was, and there is no week before'],
  ['Own metrics by hour', 'A', 'the simulated fleet declares no metrics of its own'],
  ['Own metrics of the last day', 'A', 'the same'],
  ['Samples by second and outcome', 'B', 'the same: it is shown only above nothing'],
  ['Scenarios of probes', 'A', 'no probe runs here'],
  ['What probes measured, of what it may be', 'A', 'the same'],
  ['What probes measured, of what it may be', 'B', 'the same'],
  ['Since the last run of a probe', 'A', 'the same'],
  ['Since the last run of a probe', 'B', 'the same'],
];
/** What is said of each rollout: this fleet is too small for a verdict, and has no week before. */
const OF_ROLLOUTS = /tillwatch_rollout_(?!swe[ep])/;
/** A store measures these only while one of its tills is offline or comes back, or hardly ever, and this fleet is small. */
const RARE = /pos_offline_login_duration_window|pos_offline_logins_total|pos_summaries_total|pos_offline_duration_seconds|service_worker_updates_total/;

const { values: options } = parseArgs({ options: { urls: { type: 'string' } } });
const folder = new URL('json/', import.meta.url);
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** A small fleet that is busy: a third of it comes back from having been offline, a store in five runs a new release. */
const FLEET = ['--stores', '5', '--terminals', '60', '--rate', '3000', '--backfill', '2d', '--late-share', '0.34', '--canary-share', '0.2', '--canary-slowdown', '2'];

async function warm({ prometheus, clickhouse, admin, check }) {
  const has = (what, query) =>
    until(what, 240, async () => {
      check?.();
      return (await promQuery(prometheus, 'query', { query })).result.length > 0;
    });
  await has('windows of five stores', 'count(pos_sync_duration_window_seconds{q="0.95"}) >= 5');
  await has('offline logins', 'sum(pos_offline_login_duration_seconds_count) > 20');
  await has('a release compared with another', 'count(pos_terminals > 0) >= 2');
  await has('rates over a minute', 'count(rate(pos_sync_attempts_total[1m])) > 0 and on () (time() - min(tillwatch_start_timestamp_seconds) > 90)');
  if (admin) await fetch(`${admin}/api/v1/percentiles?metric=sync_duration_ms&q=0.95`);
  await has('epochs in ClickHouse', 'max(tillwatch_confirmed_epoch) > 3');
  if (AVAILABLE.hourly) {
    const hours = async () => (await sqlQuery(clickhouse, 'SELECT uniqExact(hour_start) FROM v_rollup_1h')).data[0][0];
    await until('hours are summed up', 240, async () => Number(await hours()) > 24);
  }
}

/** Every target of every panel, and every annotation. */
async function everyQuery(stack) {
  const queries = [];
  for (const file of readdirSync(folder)) {
    const dashboard = JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
    const variables = await chooseVariables(dashboard, { ...stack, fromMs: Date.now() - 2 * DAY_MS, toMs: Date.now() });
    const isOfDays = dashboard.time.from.endsWith('d');
    for (const panel of dashboard.panels) {
      for (const target of panel.targets ?? []) {
        const mayBeEmpty = MAY_BE_EMPTY.some(([title, refId]) => title === panel.title && refId === target.refId) || [RARE, OF_ROLLOUTS].some((rare) => rare.test(target.expr ?? ''));
        // Only ClickHouse has the fleet's history. Of a Prometheus that is minutes old, a range of days asks at points so far
        // apart (288 s) that none of them may lie in what it has.
        const rangeMs = isOfDays && target.rawSql !== undefined ? 2 * DAY_MS : 3 * MINUTE_MS;
        queries.push({ what: `${dashboard.uid}, "${panel.title}" ${target.refId}`, panel, target, variables, rangeMs, mayBeEmpty });
      }
    }
    for (const { name, expr } of dashboard.annotations.list) {
      const target = { refId: name, expr, instant: true };
      queries.push({ what: `${dashboard.uid}, annotation ${name}`, panel: { targets: [target] }, target, variables, rangeMs: 3 * MINUTE_MS, mayBeEmpty: true, isAnnotation: true });
    }
  }
  return queries;
}

/** What is wrong with a query now; nothing when it brings values. */
async function fault({ panel, target, variables, rangeMs }, { prometheus, clickhouse }) {
  const toMs = Date.now();
  try {
    const frames = await targetFrames(panel, target, { prometheus, clickhouse, variables, fromMs: toMs - rangeMs, toMs });
    return hasValues(frames) ? undefined : { isEmpty: true, text: `no data: ${target.expr ?? target.rawSql}` };
  } catch (error) {
    return { isEmpty: false, text: error.message };
  }
}

async function run(stack) {
  const queries = await everyQuery(stack);
  // On a busy machine a scrape may fail now and then: what is empty is asked again for a while.
  const deadline = Date.now() + 90_000;
  for (;;) {
    for (const query of queries.filter(({ isDone }) => !isDone)) {
      query.fault = await fault(query, stack);
      query.isDone = query.fault === undefined || !query.fault.isEmpty || query.mayBeEmpty;
    }
    if (queries.every(({ isDone }) => isDone) || Date.now() > deadline) break;
    await sleep(5000);
  }
  const ofPanels = queries.filter(({ isAnnotation }) => !isAnnotation);
  const bad = queries.filter((query) => query.fault && !(query.fault.isEmpty && query.mayBeEmpty));
  return {
    executed: ofPanels.length,
    filled: ofPanels.filter((query) => query.fault === undefined).length,
    faults: [...bad.map(({ what, fault: { text } }) => `${what}: ${text}`), ...(await missingSeries(stack))],
  };
}

/** The list the dashboards are checked against is what the program exposes: each series with each of its labels. */
async function missingSeries({ prometheus }) {
  const series = knownSeries();
  for (const [name, ...rest] of UPCOMING_SERIES) if (AVAILABLE[name] && rest[1] !== 'histogram') series.set(rest[0], { labels: rest[2] });
  const faults = [];
  // Without alerts there is no ALERTS; without rejections the reasons are there all the same.
  series.delete('ALERTS');
  // No probe runs here; tests/stack/probe.sh asks one for each of its series.
  for (const name of PROBE_SERIES.keys()) series.delete(name);
  for (const name of [...series.keys()].filter((name) => OF_ROLLOUTS.test(name))) series.delete(name);
  // What rules record has no job, and is there when something is wrong.
  for (const name of [...series.keys()].filter((name) => name.includes(':'))) series.delete(name);
  for (const [name, { labels }] of series) {
    const wanted = ['job', ...labels.filter((label) => label !== 'instance' && label !== 'job')].map((label) => `${label}!=""`);
    const { result } = await promQuery(prometheus, 'query', { query: `count(last_over_time(${name}{${wanted.join(', ')}}[5m]))` });
    if (result.length === 0) faults.push(`series ${name} with the labels ${labels.join(', ')} is not exposed`);
  }
  return faults;
}

const stack = options.urls ? JSON.parse(readFileSync(options.urls, 'utf8')) : await startStack({ scrapeSeconds: 2, fleet: FLEET, rules: new URL('../alerts/rules', import.meta.url).pathname });
let outcome;
try {
  await warm(stack);
  outcome = await run(stack);
} finally {
  await stack.stop?.();
}
console.log(`dashboards: ${outcome.executed} panel queries executed, ${outcome.filled} non-empty`);
if (outcome.faults.length > 0) {
  console.error(outcome.faults.join('\n'));
  process.exit(1);
}
