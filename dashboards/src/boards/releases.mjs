// Is the new release better or worse, and may the rollout go on?

import { metric, ratios, releaseName, thresholds } from '../catalogue.mjs';
import { errorTable, errorTrend } from '../errors.mjs';
import * as g from '../grafana.mjs';
import { MEMORY_TARGETS } from '../limits.mjs';
import * as q from '../queries.mjs';
import { rolloutRow } from '../rollouts.mjs';

const MEASURES = [
  ['Sync p95', 'sync_duration_ms', 0.95],
  ['Login p95', 'offline_login_duration_ms', 0.95],
  ['LCP p75', 'lcp_ms', 0.75],
  ['INP p75', 'inp_ms', 0.75],
  ['CLS p75', 'cls_score', 0.75],
  ['Page load p95', 'page_load_ms', 0.95],
  ['Search p95', 'product_search_ms', 0.95],
  ['DB write p95', 'idb_write_ms', 0.95],
];
const inRange = (name, part) => `histogram_quantile(${part}, sum by (release, le) (increase(${g.series(`${releaseName(name)}_bucket`)}[$__range])))`;
/** The release with the most terminals. */
const baseline = `topk(1, sum by (release) (${g.series('pos_terminals')}))`;
const against = (name, part) => `${inRange(name, part)} / on () group_left () sum(${inRange(name, part)} and on (release) ${baseline})`;
const byRelease = (expression) => g.prom(expression, '', { instant: true, format: 'table' });
/** The baseline and the others as two queries, so that they look the same in every panel. */
const apart = (expression) => [
  g.prom(`${expression} and on (release) ${baseline}`, '{{release}} (baseline)'),
  g.prom(`(${expression} unless on (release) ${baseline}) and on (release) ${g.series('pos_terminals', 'release=~"$release"')}`, '{{release}}'),
];
const APART = [
  g.overrideQuery('A', { color: { mode: 'fixed', fixedColor: g.HUES[0] } }),
  g.overrideQuery('B', { color: { mode: 'shades', fixedColor: g.HUES[3] } }),
];
const trend = (title, name, part, description, extra = {}) =>
  g.timeseries({
    title,
    description,
    targets: apart(q.quantileByRelease(part, name)),
    overrides: APART,
    unit: name === 'cls_score' ? 'none' : 's',
    thresholds: g.higherIsWorse(thresholds(name), 'transparent'),
    showThresholds: true,
    width: 2,
    interval: '2m',
    w: 8,
    ...extra,
  });
const successByRelease = (name, good) =>
  // A release without attempts is no number, and has no line.
  `(sum by (release) (rate(${g.series(name, `result="${good}"`)}[$__rate_interval])) / sum by (release) (rate(${g.series(name)}[$__rate_interval])) >= 0)`;
/** In ClickHouse the baseline is the release with the most rows in the range. */
const sqlApart = (make) => {
  const baselineIs = `release = (SELECT topK(1)(release)[1] FROM ${q.history().view} WHERE metric = 'sync_duration_ms' AND ${WHERE})`;
  return [g.sql(make(baselineIs, "concat(release, ' (baseline)')")), g.sql(make(`NOT ${baselineIs}`, 'release'))];
};
const FAILURES = ['Synchronisations that failed', 'Logins that failed', 'Errors'];
const STORE_LINK = {
  title: 'Open ${__value.text}',
  url: '/d/tillwatch-store?var-store_id=${__value.raw}&${__url_time_range}&${prometheus_datasource:queryparam}&${clickhouse_datasource:queryparam}',
  targetBlank: false,
};
const WHERE = `source = 'rum' AND $__timeFilter(${q.history().time})`;

export default () =>
  g.dashboard({
    uid: 'tillwatch-releases',
    title: 'Releases and rollout',
    description: 'The verdicts about rollouts first: they compare stores with their own week. Below, each release over all the stores that run it, against the baseline, which is the release with the most terminals; these panels show what a release does, and five stores with a bad day look like a bad release in them.',
    variables: [...g.targetVariables('pos_store_last_report_timestamp_seconds'), g.releaseVariable()],
    panels: [
      ...rolloutRow(),
      g.row('Releases as they are', { needs: 'rollouts' }),
      g.barGauge({
        title: 'Rollout: share of the terminals',
        description: 'Terminals that posted in the last ten minutes, by the release they run. The plan is 10, 25, 50, 75, 100 %.',
        targets: [g.prom(`sort_desc(sum by (release) (${g.series('pos_terminals')}) / ignoring (release) group_left () sum(${g.series('pos_terminals')}) > 0)`, '{{release}}', { instant: true })],
        unit: 'percentunit',
        max: 1,
        colorMode: { mode: 'fixed', fixedColor: g.HUES[0] },
        w: 8,
        h: 4,
      }),
      g.barGauge({
        title: 'Sync p95 against the baseline',
        description: 'Times the baseline\'s p95 over the selected range, all stores of a release in one. Of good releases in five of fifty stores a third is over 1.2 at some time of a day, by chance: read the verdict above before you stop a rollout.',
        targets: [g.prom(`sort(${against('sync_duration_ms', 0.95)})`, '{{release}}', { instant: true })],
        unit: 'suffix:×',
        decimals: 2,
        colorMode: { mode: 'fixed', fixedColor: g.HUES[0] },
        w: 8,
        h: 4,
      }),
      g.barGauge({
        title: 'LCP p75 against the baseline',
        description: 'Times the baseline\'s p75 over the selected range, all stores of a release in one; no verdict judges it by default. Far over 1 for hours, with enough samples below: look at what the release loads, or let the plan judge it.',
        targets: [g.prom(`sort(${against('lcp_ms', 0.75)})`, '{{release}}', { instant: true })],
        unit: 'suffix:×',
        decimals: 2,
        colorMode: { mode: 'fixed', fixedColor: g.HUES[0] },
        w: 8,
        h: 4,
      }),
      g.table({
        title: 'Releases side by side',
        description: 'Percentiles over the selected range with the limits of the catalogue, and the synchronisations behind them. Under a few hundred samples wait before you judge. Buckets end: an LCP of 6 s means 6 s or more.',
        targets: [
          byRelease(`sum by (release) (${g.series('pos_terminals')}) > 0`),
          ...MEASURES.map(([, name, part]) => byRelease(inRange(name, part))),
          byRelease(`sum by (release) (increase(${g.series(`${releaseName('sync_duration_ms')}_count`)}[$__range])) > 0`),
        ],
        transformations: g.joined('release', 'Release', ['Terminals', ...MEASURES.map(([title]) => title), 'Sync samples']),
        columns: [
          g.plainColumn('Terminals', 'short'),
          ...MEASURES.map(([title, name]) =>
            g.healthColumn(title, name === 'cls_score' ? 'none' : 's', g.higherIsWorse(thresholds(name)), name === 'cls_score' ? { decimals: 3 } : {}),
          ),
          g.plainColumn('Sync samples', 'short', { decimals: 0 }),
        ],
        sortBy: 'Terminals',
        h: 5,
      }),
      g.timeseries({
        title: 'Terminals by release',
        description: 'The rollout as it happened. It should grow in steps, and nothing below should move with them. A step that stays short: stores that did not get the update.',
        targets: apart(`(sum by (release) (${g.series('pos_terminals')}) > 0)`),
        overrides: APART,
        stack: 'normal',
        decimals: 0,
        w: 8,
      }),
      trend('Sync p95 by release', 'sync_duration_ms', 0.95, 'Synchronisation. A gap between releases may be the stores\': the verdict above says whose it is. If it is the release\'s, compare its payloads.'),
      trend('Offline login p95 by release', 'offline_login_duration_ms', 0.95, 'Logins without a network; they are rare, so lines jump: look at the table\'s percentile over the whole range before you judge.'),
      trend('LCP p75 by release', 'lcp_ms', 0.75, 'When the main content is on the screen. A new release above the old one: larger scripts or images, or a cache that is not filled yet; it should close within a day.'),
      trend('INP p75 by release', 'inp_ms', 0.75, 'How long a touch waits for its effect. A gap between releases that lasts for days: a longer script; hold the rollout when it nears the limit.'),
      trend('Product search p95 by release', 'product_search_ms', 0.95, 'The most used function of a till; when it is slow, the queue at the till is long. Slower in one release: ask what changed in its search index.'),
      trend('Session restore p95 by release', 'session_restore_ms', 0.95, 'How long a cashier waits to go on where the till was. Slower in one release: it restores more than before, tell the developers.'),
      trend('Customer lookup p95 by release', 'customer_lookup_ms', 0.95, 'How long a customer card takes to be found. Slower in all releases: the back office; in one: the release.'),
      trend('Service worker boot p95 by release', 'service_worker_boot_ms', 0.95, 'How long the part that works offline takes to start. It grows with its script: a step in one release means one grew too much.'),
      trend('Database write p95 by release', 'idb_write_ms', 0.95, 'How long a write to IndexedDB takes; each sale waits for one. Slower in one release: it writes more; in all of them: databases have grown.'),
      trend('Payload p95 by release', 'sync_payload_bytes', 0.95, 'Bytes of one synchronisation. A step with a release: it sends more than before, which slow lines feel first.', { unit: 'decbytes' }),
      trend('Time for 100 items, p95 by release', 'sync_100_duration_ms', 0.95, 'How long it takes to synchronise 100 items. Slower in one release while single ones are not: it sends them one by one.'),
      trend('Cached page load p95 by release', 'page_load_cached_ms', 0.95, 'Page loads for which nothing came over the line. Slower in one release: its scripts take longer to run, not to load.', { w: 12 }),
      g.timeseries({
        title: 'Memory by release and hour',
        description: 'Average memory of the terminals of each release, from ClickHouse, with the targets (30, 35, 45 and 50 MB) and the limit. A release whose average keeps rising above the others has a leak: hold it.',
        targets: sqlApart(
          (which, name) => `
            SELECT toStartOfHour(${q.history().time}) AS time, ${name} AS name,
              toNullable(sum(sum_wire) / sum(count) * 1000000) AS average
            FROM ${q.history().view}
            WHERE metric = 'memory_used_mb' AND ${WHERE} AND ${which}
            GROUP BY time, name ${which.startsWith('NOT') ? 'ORDER BY time' : `${q.BY_HOUR} INTERPOLATE (name)`}`,
        ),
        overrides: APART,
        unit: 'decbytes',
        thresholds: g.targets(MEMORY_TARGETS, thresholds('memory_used_mb')[0]),
        showThresholds: true,
        displayName: '${__field.labels.name}',
        points: 'auto',
        timeFrom: '7d',
        w: 12,
      }),
      g.row('Failures by release', { needs: 'releaseCounters' }),
      g.timeseries({
        title: 'Sync success by release',
        description: 'Share of attempts that succeeded, with the limits of the catalogue. A release below the critical limit in several stores pages: roll it back. In one store it is the store: see the worst stores below.',
        needs: 'releaseCounters',
        targets: apart(successByRelease('pos_release_sync_attempts_total', 'success')),
        interval: '3m',
        overrides: APART,
        unit: 'percentunit',
        min: null,
        softMin: 0.98,
        max: 1,
        decimals: 1,
        thresholds: g.lowerIsWorse(ratios('sync_attempts', 'under')),
        showThresholds: true,
        w: 8,
      }),
      g.timeseries({
        title: 'Offline login success by release',
        description: 'Share of offline logins that succeeded. They are few: one failure is a dip. A release that stays below the line locks cashiers out, hold it.',
        needs: 'releaseCounters',
        targets: apart(successByRelease('pos_release_offline_logins_total', 'success')),
        interval: '3m',
        overrides: APART,
        unit: 'percentunit',
        min: null,
        softMin: 0.98,
        max: 1,
        decimals: 1,
        thresholds: g.lowerIsWorse(ratios('offline_logins', 'under')),
        showThresholds: true,
        w: 8,
      }),
      g.timeseries({
        title: 'Errors of a terminal by hour and release',
        description: 'Errors of each release for each of its terminals, so that a canary of few stores compares with the rest.',
        needs: 'releaseCounters',
        targets: apart(`(3600 * sum by (release) (rate(${g.series('pos_release_errors_total')}[$__rate_interval])) / sum by (release) (${g.series('pos_terminals')} > 0))`),
        interval: '3m',
        overrides: APART,
        w: 8,
      }),
      g.timeseries({
        title: 'Business data lost in the range, by release',
        description: 'Incidents in which a terminal lost business data, by the release it ran. More than nothing on a new release: stop the rollout, and follow the runbook of PosStoreDataLoss.',
        needs: 'releaseCounters',
        targets: apart(`sum by (release) (increase(${g.series('pos_release_data_loss_incidents_total')}[$__range]))`),
        overrides: APART,
        decimals: 0,
        softMax: 4,
        w: 8,
      }),
      g.timeseries({
        title: 'Updates of the service worker that succeeded, by release',
        description: 'By the release that the terminal ran when it updated. Failures keep terminals on the old release: is the script reachable, and does it install without an error?',
        needs: 'releaseCounters',
        targets: apart(successByRelease('pos_release_service_worker_updates_total', 'success')),
        interval: '3m',
        overrides: APART,
        unit: 'percentunit',
        min: null,
        softMin: 0.9,
        max: 1,
        decimals: 1,
        w: 8,
      }),
      ...[['cache_requests', 'All requests from the cache', 'Requests that the service worker\'s cache answered. A new release begins empty; a ratio that stays low a day later is its doing.'], ...q.CACHES].map(([name, title, description]) =>
        g.timeseries({
          title: `${title}, by release`,
          description,
          needs: 'releaseCounters',
          targets: apart(successByRelease(metric(name).prometheus.replace('pos_', 'pos_release_') + '_total', 'hit')),
          interval: '3m',
          overrides: APART,
          unit: 'percentunit',
          max: 1,
          decimals: 1,
          thresholds: g.lowerIsWorse(ratios(name, 'under')),
          showThresholds: true,
          w: 8,
        }),
      ),
      g.table({
        title: 'Failures by store, worst first',
        description: 'The stores in which most synchronisations of half an hour failed, most offline logins of an hour, and most errors were of an hour. An alert on a release leaves the worst store out: one store far before the others is that store\'s trouble, many alike are the release\'s.',
        targets: [
          byRelease(`topk(10, sum by (store_id) (increase(${g.series('pos_sync_attempts_total', 'result="failure"', 'store_id!="__overflow__"')}[30m])) > 0)`),
          byRelease(`topk(10, sum by (store_id) (increase(${g.series('pos_offline_logins_total', 'result="failure"', 'store_id!="__overflow__"')}[1h])) > 0)`),
          byRelease(`topk(10, sum by (store_id) (increase(${g.series('pos_errors_total', 'store_id!="__overflow__"')}[1h])) > 0)`),
        ],
        transformations: g.joined('store_id', 'Store', FAILURES),
        columns: [g.override('Store', { links: [STORE_LINK] }), ...FAILURES.map((name) => g.plainColumn(name, 'short', { decimals: 0 }))],
        sortBy: FAILURES[0],
        w: 24,
        h: 8,
      }),
      g.row('Errors'),
      g.timeseries({
        title: 'New errors',
        description: 'Errors that a release was the first to report within the last hour, and in how many stores the most widespread error of the last day is. More stores every few minutes: hold the rollout, and give the developers what `tillwatch errors --order-by first_seen` prints.',
        targets: [
          g.prom(`max by (release) (${g.series('pos_errors_new')})`, 'new on {{release}}'),
          g.prom(`max by (release) (${g.series('pos_errors_new_stores')})`, 'stores with the worst of {{release}}'),
          g.prom(`count(time() - ${g.series('pos_store_last_report_timestamp_seconds', 'store_id!="__overflow__"')} < 3600)`, 'stores reporting'),
        ],
        decimals: 0,
        softMax: 4,
        w: 24,
        h: 6,
      }),
      errorTable({
        title: 'Errors by group, most frequent first',
        description: 'The 50 errors that terminals reported most often in the selected range, whole hours and all releases; texts that may name a person are scrubbed. An error that only the new release has, or one that is fatal: hold the rollout, and give the developers the fingerprint, because `tillwatch errors` prints its stack. One store alone: look at its line and its tills first.',
        limit: 50,
        w: 24,
        h: 10,
      }),
      errorTrend({
        title: 'Errors by hour, the five most frequent groups',
        description: 'The first five groups of the table above, by the hour in which the errors happened; the first six digits are the fingerprint\'s. A group that begins or grows with a step of the rollout is the release\'s: hold the rollout and tell the developers. The last hour is not over, and late data may still raise the hours before.',
        groups: 5,
        w: 24,
      }),
      g.row('Seven days'),
      g.timeseries({
        title: 'Sync p95 by release and hour',
        description: 'From ClickHouse, late data included. A new release whose line starts above the other: look at it by hour, and roll it back if it stays there.',
        targets: sqlApart(
          (which, name) => `
            SELECT toStartOfHour(${q.history().time}) AS time, ${name} AS name,
              toNullable(tillwatch_bucket_value_v1(quantilesExactWeightedArray(0.95)(hist.1, hist.2)[1]) / 1000000) AS p95
            FROM ${q.history().view}
            WHERE metric = 'sync_duration_ms' AND ${WHERE} AND ${which}
            GROUP BY time, name ${which.startsWith('NOT') ? 'ORDER BY time' : `${q.BY_HOUR} INTERPOLATE (name)`}`,
        ),
        overrides: APART,
        unit: 's',
        thresholds: g.higherIsWorse(thresholds('sync_duration_ms'), 'transparent'),
        showThresholds: true,
        displayName: '${__field.labels.name}',
        points: 'auto',
        timeFrom: '7d',
        w: 8,
      }),
      g.timeseries({
        title: 'Errors in 1,000 database transactions, by release',
        description: 'Errors of the application against its IndexedDB transactions, so that busy and quiet hours compare. A step with a release is its doing.',
        targets: sqlApart(
          (which, name) => `
            SELECT toStartOfInterval(${q.history().time}, INTERVAL 6 HOUR) AS time, ${name} AS name,
              1000 * sumIf(sum, metric = 'errors') / sumIf(sum, metric = 'idb_transaction_count') AS errors
            FROM ${q.history().view}
            WHERE metric IN ('errors', 'idb_transaction_count') AND ${WHERE} AND ${which}
            GROUP BY time, name HAVING sumIf(sum, metric = 'idb_transaction_count') > 0 ORDER BY time`,
        ),
        overrides: APART,
        displayName: '${__field.labels.name}',
        points: 'auto',
        timeFrom: '7d',
        w: 8,
      }),
      g.table({
        title: 'Releases over 7 days',
        description: 'Stores that ran each release, when it was first seen in the range, and its percentiles over the week from exact histograms.',
        targets: [
          g.sql(
            `
            SELECT release AS "Release", uniqExact(store_id) AS "Stores", formatDateTime(min(${q.history().time}), '%m-%d %H:%i') AS "First seen",
              tillwatch_bucket_value_v1(quantilesExactWeightedArrayIf(0.95)(hist.1, hist.2, metric = 'sync_duration_ms')[1]) / 1000000 AS "Sync p95",
              tillwatch_bucket_value_v1(quantilesExactWeightedArrayIf(0.75)(hist.1, hist.2, metric = 'lcp_ms')[1]) / 1000000 AS "LCP p75"
            FROM ${q.history().view}
            WHERE metric IN ('sync_duration_ms', 'lcp_ms') AND ${WHERE}
            GROUP BY release ORDER BY "Stores" DESC`,
            'table',
          ),
        ],
        columns: [
          g.plainColumn('Stores', 'short'),
          g.healthColumn('Sync p95', 's', g.higherIsWorse(thresholds('sync_duration_ms'))),
          g.healthColumn('LCP p75', 's', g.higherIsWorse(thresholds('lcp_ms'))),
        ],
        timeFrom: '7d',
        w: 8,
        h: 8,
      }),
    ],
  });
