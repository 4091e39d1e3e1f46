#!/usr/bin/env node
// Writes rules/anomalies.yml: which stores do worse than they should, for every distribution with a target and every
// ratio that Prometheus has by store. The numbers are those of model/chosen.mjs.
//   node alerts/anomalies.mjs

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { ANOMALY } from './model/chosen.mjs';

const { metrics } = JSON.parse(readFileSync(new URL('../dashboards/src/catalogue.json', import.meta.url), 'utf8'));
/** What a value of a counter's label is called when it went wrong. */
const BAD_VALUES = ['failure', 'miss'];

/** Prometheus writes whole bounds in two ways. */
const bound = (number) => (Number.isInteger(number) ? `le=~"${number}(\\\\.0)?"` : `le="${number}"`);
const span = (minutes) => (minutes % 1440 === 0 ? `${minutes / 1440}d` : `${minutes / 60}h`);

/** For each metric that has a good and a bad side: how many values a store has had, and how many bad ones. */
export const SHARES = metrics.flatMap(({ name, kind, prometheus, per_store: isByStore, thresholds, bounds, label }) => {
  const target = thresholds?.[0];
  if (kind === 'distribution' && isByStore && bounds.includes(target)) {
    const all = `sum by (store_id) (${prometheus}_bucket{le="+Inf"})`;
    return [{ name, all, bad: `${all} - sum by (store_id) (${prometheus}_bucket{${bound(target)}})` }];
  }
  const bad = kind === 'counter' && label?.values.find((value) => BAD_VALUES.includes(value));
  if (!bad) return [];
  const series = `${prometheus}_total`;
  // A store in which nothing ever went wrong has no series for it.
  return [{ name, all: `sum by (store_id) (${series})`, bad: `sum by (store_id) (${series}{${label.key}="${bad}"}) or sum by (store_id) (0 * ${series})` }];
});

/** The least odds of a bad value that k of n tell, by Wilson's interval, z standard deviations wide. */
function leastOdds(k, n, z) {
  const least = `${k} + ${(z * z) / 2} - ${z} * sqrt(${k} * (${n} - ${k}) / ${n} + ${(z * z) / 4})`;
  return [`(${least})`, `/ (${n} + ${z * z} - (${least}))`];
}

const [{ z, least }] = ANOMALY.windows;
const longest = span(Math.max(...ANOMALY.windows.map(({ minutes }) => minutes)));
const odds = (share) => Number((share / (1 - share)).toFixed(4));

function record(name, expression, labels) {
  const lines = [`      - record: ${name}`];
  if (labels) lines.push(`        labels: { ${Object.entries(labels).map(([key, value]) => `${key}: ${value}`).join(', ')} }`);
  lines.push('        expr: |', ...expression.map((line) => `          ${line}`));
  return lines;
}

export function text() {
  const [numerator, denominator] = leastOdds('store:pos_bad:rise', 'store:pos_all:rise', z);
  const lines = [
    '# Written by alerts/anomalies.mjs. Stores that do worse than they should, whatever is measured.',
    '#',
    '# A value is bad if it is over the target of its metric, a failure or a miss. From the bad ones among all of an hour, of',
    "# six and of a day follow the least odds of a bad value that are likely (Wilson). They are held against the odds that the",
    '# store has had in the last week, made worse as the median of the stores has become worse since; against the median; and',
    `# against ${ANOMALY.floor * 100} %, whichever is most. So neither what has always been so in a store nor what has happened to all of them is`,
    '# an anomaly. alerts/model says how often a healthy store is named.',
    'groups:',
    '  - name: anomalies',
    '    interval: 1m',
    '    rules:',
  ];
  for (const { name, all, bad } of SHARES) {
    lines.push(...record('store:pos_all:total', [all], { metric: name }), ...record('store:pos_bad:total', [bad], { metric: name }));
  }
  lines.push('      # Counts are kept through restarts, so a difference is exact; a state put back from a backup makes it negative for a while.');
  for (const { minutes } of ANOMALY.windows) {
    for (const what of ['all', 'bad']) {
      lines.push(...record(`store:pos_${what}:rise`, [`store:pos_${what}:total - store:pos_${what}:total offset ${span(minutes)} >= 0`], { over: span(minutes) }));
    }
  }
  const week = (what) => `(store:pos_${what}:total offset ${longest} - store:pos_${what}:total offset 1w)`;
  lines.push(
    ...record('store:pos_bad_odds:week', [
      `(${week('bad')} + 1)`,
      `/ (${week('all')} - ${week('bad')} + 1)`,
      `and ${week('all')} >= ${ANOMALY.weekLeast - 0.5}`,
    ]),
    ...record('fleet:pos_bad_odds:week', [
      'quantile by (metric) (0.5, store:pos_bad_odds:week)',
      `and count by (metric) (store:pos_bad_odds:week) >= ${ANOMALY.peersLeast}`,
    ]),
    ...record('fleet:pos_bad_odds:now', [
      `quantile by (metric, over) (0.5, (store:pos_bad:rise + 0.5) / (store:pos_all:rise - store:pos_bad:rise + 0.5) and store:pos_all:rise >= ${ANOMALY.peersOf - 0.5})`,
      `and count by (metric, over) (store:pos_all:rise >= ${ANOMALY.peersOf - 0.5}) >= ${ANOMALY.peersLeast}`,
    ]),
    ...record('store:pos_bad_odds:least', [numerator, denominator, `and store:pos_bad:rise >= ${least - 0.5}`]),
    '      # Without peers and without a week of its own nothing is expected of a store.',
    ...record('store:pos_bad_odds:expected', [
      'clamp_min(',
      '  max by (store_id, metric, over) (',
      '    label_replace(0 * store:pos_bad_odds:least + on (metric, over) group_left () fleet:pos_bad_odds:now, "of", "peers", "", "")',
      '    or label_replace(0 * store:pos_bad_odds:least + on (store_id, metric) group_left () store:pos_bad_odds:week, "of", "week", "", "")',
      '    or label_replace(',
      '      (0 * store:pos_bad_odds:least + on (store_id, metric) group_left () store:pos_bad_odds:week)',
      '      * on (metric, over) group_left () (fleet:pos_bad_odds:now / on (metric) group_left () fleet:pos_bad_odds:week), "of", "moved", "", "")',
      '  ),',
      `  ${odds(ANOMALY.floor)}`,
      ')',
    ]),
    ...record('store:pos_bad_odds:times', ['max by (store_id, metric) (store:pos_bad_odds:least / store:pos_bad_odds:expected)']),
    '      - alert: PosStoreUnusual',
    `        expr: store:pos_bad_odds:times > ${ANOMALY.factor}`,
    `        for: ${ANOMALY.for}m`,
    `        keep_firing_for: ${ANOMALY.keep}m`,
    '        labels: { severity: warning, scope: store, family: anomaly }',
    '        annotations:',
    '          summary: A store does worse than its own week and the other stores lead one to expect.',
    "          description: 'The odds of a bad value of {{ $labels.metric }} in {{ $labels.store_id }} are probably {{ printf \"%.1f\" $value }} times what is expected of it, or more.'",
    "          runbook_url: '{{ $externalLabels.runbook_base }}/PosStoreUnusual.md'",
    "          dashboard_url: '{{ $externalLabels.dashboard_base }}/d/tillwatch-store?var-store_id={{ $labels.store_id }}'",
    '',
  );
  return lines.join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(new URL('rules/anomalies.yml', import.meta.url), text());
