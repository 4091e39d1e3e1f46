// The PromQL and SQL that several dashboards share.

import { HUES, POOR, colour, le, prom, series, sql } from './grafana.mjs';
import { metric, releaseName, windowName, windowSamplesName } from './catalogue.mjs';
import { AVAILABLE } from './upcoming.mjs';

export const STORES = 'store_id=~"$store_id"';
export const ONE_STORE = 'store_id="$store_id"';

/** A percentile of all matching stores, merged from their buckets. */
export const quantile = (q, name, ...matchers) =>
  `histogram_quantile(${q}, sum by (le) (rate(${series(`${metric(name).prometheus}_bucket`, ...matchers)}[$__rate_interval])))`;
/** The same over the whole selected range, for what is rare. */
export const quantileInRange = (q, name, ...matchers) =>
  `histogram_quantile(${q}, sum by (le) (increase(${series(`${metric(name).prometheus}_bucket`, ...matchers)}[$__range])))`;
/** The same by release. */
export const quantileByRelease = (q, name, ...matchers) =>
  `histogram_quantile(${q}, sum by (release, le) (rate(${series(`${releaseName(name)}_bucket`, ...matchers)}[$__rate_interval])))`;
/** A percentile of the metrics that exist by release only. */
export const quantileOfReleases = (q, name) =>
  `histogram_quantile(${q}, sum by (le) (rate(${series(`${releaseName(name)}_bucket`)}[$__rate_interval])))`;
/** A store's exact percentile over its last five minutes. */
export const windowOf = (name, q, ...matchers) => series(windowName(name), `q="${q}"`, ...matchers);
export const windowSamples = (name, ...matchers) => series(windowSamplesName(name), ...matchers);
/** Several percentiles as series of a panel. */
export const percentiles = (name, qs, ...matchers) => qs.map((q) => prom(quantile(q, name, ...matchers), `p${q * 100}`));
/** Samples behind them, by minute. */
export const sampleRate = (name, ...matchers) =>
  prom(`60 * sum(rate(${series(`${metric(name).prometheus}_count`, ...matchers)}[$__rate_interval]))`, 'samples');

export const counter = (name, ...matchers) => series(`${metric(name).prometheus}_total`, ...matchers);
/** Part of a counter over all of it. */
export function ratio(name, part, matchers = [], { by, range = '$__rate_interval', fn = 'rate' } = {}) {
  const grouped = by ? ` by (${by})` : '';
  return `sum${grouped} (${fn}(${counter(name, part, ...matchers)}[${range}])) / sum${grouped} (${fn}(${counter(name, ...matchers)}[${range}]))`;
}
/** Errors over what the application does: cache requests, synchronisations, offline logins and offline transactions. */
export function errorRatio(...matchers) {
  const rate = (name) => `sum(rate(${counter(name, ...matchers)}[$__rate_interval]))`;
  const operations = ['cache_requests', 'sync_attempts', 'offline_logins', 'offline_transactions'];
  return `${rate('errors')} / (${operations.map(rate).join(' + ')})`;
}
/** The caches by what is asked of them: the metric, the title of its panel, and what a low ratio means. */
export const CACHES = [
  ['cache_assets_requests', 'Assets from the cache', 'Scripts, styles and pictures that a cache had. Under the limit pages load over the line, and not at all without one: was a release rolled out?'],
  ['cache_search_requests', 'Searches from the cache', 'Product searches that a cache answered. Under the limit searches are slow, and find nothing without a network: was the list of products delivered whole?'],
  ['cache_data_requests', 'Data from the cache', 'Data of the back office that a cache had. Under the limit tills wait for their line: does the data expire too soon?'],
];
/** How the two outcomes of an operation look. */
export const OUTCOMES = [colour('success', HUES[0]), colour('failure', POOR)];
/** A counter by minute and label. */
export const perMinute = (name, label, ...matchers) => `60 * sum by (${label}) (rate(${counter(name, ...matchers)}[$__rate_interval]))`;
/** The share of the batches whose terminal's clock was off by more. Buckets are read at one moment, but counted at several: never less than nothing. */
export function clocksOff(bound, ...matchers) {
  const batches = (...bucket) => `sum(rate(${series('pos_terminal_clock_skew_seconds_bucket', ...matchers, ...bucket)}[$__rate_interval]))`;
  return `clamp_min(1 - ${batches(le(bound))} / ${batches('le="+Inf"')}, 0)`;
}
/** The share of a histogram's samples at or below a bound. */
export function shareUpTo(name, bound, matchers = [], { range = '$__rate_interval', fn = 'rate' } = {}) {
  const histogram = metric(name).prometheus;
  return `sum(${fn}(${series(`${histogram}_bucket`, le(bound), ...matchers)}[${range}])) / sum(${fn}(${series(`${histogram}_count`, ...matchers)}[${range}]))`;
}
/** Good, needs improvement, poor: exact, because the thresholds are bounds of buckets. */
export function healthShares(name, ...matchers) {
  const [low, high] = metric(name).thresholds;
  const upTo = (bound) => shareUpTo(name, bound, matchers);
  return [
    prom(upTo(low), `good (up to ${inWords(name, low)})`),
    prom(`${upTo(high)} - ${upTo(low)}`, 'needs improvement'),
    prom(`1 - ${upTo(high)}`, `poor (over ${inWords(name, high)})`),
  ];
}

/** A threshold as people say it. */
export function inWords(name, value) {
  const { unit } = metric(name);
  if (unit === 'MB') return `${value / 1e6} MB`;
  if (unit !== 'ms') return String(value);
  if (value >= 60) return `${value / 60} min`;
  return value >= 1 ? `${value} s` : `${Math.round(value * 1000)} ms`;
}

// SQL. Filters stand on the columns of the primary key, never on an alias.

const RUM = "source = 'rum'";
export const SQL_STORES = '$__conditionalAll(store_id IN (${store_id:singlequote}), $store_id)';
export const SQL_ONE_STORE = "store_id = '${store_id}'";

/** Where trends over days are read: by hours once they exist, before that by minutes. */
export const history = () => (AVAILABLE.hourly ? { view: 'v_rollup_1h', time: 'hour_start' } : { view: 'v_rollup_1m', time: 'window_start' });

/** Recording units in a base unit: durations are recorded in µs. */
export const baseUnits = (name) => (metric(name).unit === 'ms' ? '1000000' : `tillwatch_scale_v1('${name}')`);

/** A metric's percentiles from ClickHouse, in Prometheus' unit. */
export function sqlPercentiles(name, qs) {
  const scale = baseUnits(name);
  return {
    inner: `quantilesExactWeightedArray(${qs.join(', ')})(hist.1, hist.2) AS q`,
    columns: qs.map((q, at) => `tillwatch_bucket_value_v1(q[${at + 1}]) / ${scale} AS p${String(q * 100).replace('.', '_')}`),
  };
}

/** Hours in which nothing was measured are rows without values, so that no line leads over a closed night. */
export const BY_HOUR = 'ORDER BY time WITH FILL STEP INTERVAL 1 HOUR';

/** Percentiles of a metric by hour over the panel's range. */
export function sqlTrend(name, qs, { where = '1' } = {}) {
  const { view, time } = history();
  const { inner, columns } = sqlPercentiles(name, qs);
  const gaps = columns.map((column) => column.replace(/^(.*) AS (\w+)$/, 'toNullable($1) AS $2'));
  return sql(`
    SELECT time, ${gaps.join(', ')}, samples
    FROM (
      SELECT toStartOfHour(${time}) AS time, ${inner}, sum(count) AS samples
      FROM ${view}
      WHERE metric = '${name}' AND ${RUM} AND $__timeFilter(${time}) AND ${where}
      GROUP BY time
    )
    ${BY_HOUR}`);
}

/** Good, fair and poor shares by day, from exact counts over the thresholds. */
export function sqlHealthDays(name, where = '1') {
  const { view, time } = history();
  return sql(`
    SELECT toStartOfInterval(${time}, INTERVAL 6 HOUR) AS time,
      1 - sum(over_low) / sum(count) AS good,
      (sum(over_low) - sum(over_high)) / sum(count) AS "needs improvement",
      sum(over_high) / sum(count) AS poor
    FROM ${view}
    WHERE metric = '${name}' AND ${RUM} AND $__timeFilter(${time}) AND ${where}
    GROUP BY time ORDER BY time`);
}
