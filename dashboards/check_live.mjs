#!/usr/bin/env node
// Runs every query of every dashboard on a live Prometheus and the embedded ClickHouse, fed by a simulated fleet.
// Each must succeed and bring values, but for those in MAY_BE_EMPTY. `make test-stack` calls it.
//
//   node check_live.mjs                starts everything itself, on free ports, and stops it
//   node check_live.mjs --urls FILE    uses what runs; FILE holds {prometheus, clickhouse: {url, user, password}}

import { readFileSync, readdirSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { expandPromql } from './lib/expand.mjs';
import { chooseVariables, hasValues, promQuery, targetFrames } from './lib/live.mjs';
import { knownSeries } from './src/catalogue.mjs';
import { AVAILABLE, UPCOMING_SERIES } from './src/upcoming.mjs';
import { startStack, until } from './lib/stack.mjs';

/** Queries that are rightly empty when all is well: title, query, and why. */
const MAY_BE_EMPTY = [
  ['Samples rejected by minute and reason', 'A', 'the simulated terminals send nothing that is rejected'],
  ['Samples by second and outcome', 'B', 'the same: it is shown only above nothing'],
];
/** A store measures these only while one of its tills is offline, and this fleet is small. */
const RARE = /pos_offline_login_duration_window|pos_offline_logins_total/;

const { values: options } = parseArgs({ options: { urls: { type: 'string' } } });
const folder = new URL('json/', import.meta.url);
const MINUTE_MS = 60_000;

/** A small fleet that is busy: a third of it comes back from having been offline, a store in five runs a new release. */
const FLEET = ['--stores', '5', '--terminals', '60', '--rate', '3000', '--backfill', '2d', '--late-share', '0.34', '--canary-share', '0.2', '--canary-slowdown', '2'];

async function warm({ prometheus, admin, check }) {
  const has = (what, query) =>
    until(what, 240, async () => {
      check?.();
      return (await promQuery(prometheus, 'query', { query })).result.length > 0;
    });
  await has('windows of five stores', 'count(pos_sync_duration_window_seconds{quantile="0.95"}) >= 5');
  await has('offline logins', 'sum(pos_offline_login_duration_seconds_count) > 20');
  await has('a release compared with another', 'count(pos_terminals > 0) >= 2');
  await has('rates over a minute', 'count(rate(pos_sync_attempts_total[1m])) > 0 and on () (time() - min(tillwatch_start_timestamp_seconds) > 90)');
  if (admin) await fetch(`${admin}/api/v1/percentiles?metric=sync_duration_ms&q=0.95`);
  await has('epochs in ClickHouse', 'max(tillwatch_confirmed_epoch) > 3');
}

async function run(stack) {
  const toMs = Date.now();
  const faults = [];
  let executed = 0;
  let filled = 0;
  for (const file of readdirSync(folder)) {
    const dashboard = JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
    // Live series are minutes old; a dashboard of days reads the fleet's history.
    const fromMs = dashboard.time.from.endsWith('d') ? toMs - 2 * 86_400_000 : toMs - 3 * MINUTE_MS;
    const context = { prometheus: stack.prometheus, clickhouse: stack.clickhouse, fromMs, toMs };
    const variables = await chooseVariables(dashboard, context);
    for (const panel of dashboard.panels) {
      for (const target of panel.targets ?? []) {
        executed += 1;
        const what = `${dashboard.uid}, "${panel.title}" ${target.refId}`;
        try {
          if (hasValues(await targetFrames(panel, target, { ...context, variables }))) filled += 1;
          else if (!MAY_BE_EMPTY.some(([title, refId]) => title === panel.title && refId === target.refId) && !RARE.test(target.expr ?? '')) {
            faults.push(`${what}: no data: ${target.expr ?? target.rawSql}`);
          }
        } catch (error) {
          faults.push(`${what}: ${error.message}`);
        }
      }
    }
    for (const { name, expr } of dashboard.annotations.list) {
      try {
        await promQuery(stack.prometheus, 'query', { query: expandPromql(expr, { variables, step: 15, rateInterval: 60, rangeSeconds: 180 }) });
      } catch (error) {
        faults.push(`${dashboard.uid}, annotation ${name}: ${error.message}`);
      }
    }
  }
  faults.push(...(await missingSeries(stack)));
  return { executed, filled, faults };
}

/** The list the dashboards are checked against is what the program exposes: each series with each of its labels. */
async function missingSeries({ prometheus }) {
  const series = knownSeries();
  for (const [name, ...rest] of UPCOMING_SERIES) if (AVAILABLE[name] && rest[1] !== 'histogram') series.set(rest[0], { labels: rest[2] });
  const faults = [];
  // Without alerts there is no ALERTS; without rejections the reasons are there all the same.
  series.delete('ALERTS');
  for (const [name, { labels }] of series) {
    const wanted = ['job', ...labels.filter((label) => label !== 'instance' && label !== 'job')].map((label) => `${label}!=""`);
    const { result } = await promQuery(prometheus, 'query', { query: `count(last_over_time(${name}{${wanted.join(', ')}}[5m]))` });
    if (result.length === 0) faults.push(`series ${name} with the labels ${labels.join(', ')} is not exposed`);
  }
  return faults;
}

const stack = options.urls ? JSON.parse(readFileSync(options.urls, 'utf8')) : await startStack({ scrapeSeconds: 1, fleet: FLEET });
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
