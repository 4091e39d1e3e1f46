// What can be asked for: the metric catalogue as the program declares it, and the thresholds in it.
// catalogue.json is written by the program's own test (UPDATE_DOCS=1 cargo test --test documentation).

import { readFileSync } from 'node:fs';

const { metrics, self_metrics: selfMetrics } = JSON.parse(readFileSync(new URL('catalogue.json', import.meta.url), 'utf8'));
const byName = new Map(metrics.map((metric) => [metric.name, metric]));

/** A metric by its wire name. */
export function metric(name) {
  const found = byName.get(name);
  if (!found) throw new Error(`${name} is not in the catalogue`);
  return found;
}

/** The names of all metrics. */
export const names = () => [...byName.keys()];

/** The two thresholds of a metric in Prometheus' unit; the second may be missing. */
export function thresholds(name) {
  return metric(name).thresholds;
}

/** The numbers written in a metric's threshold note after `word`, as in "ratio under 0.99: warn". */
export function ratios(name, word) {
  const numbers = [...metric(name).threshold_note.matchAll(new RegExp(`${word} ([0-9.]+[0-9])`, 'g'))].map((found) => Number(found[1]));
  if (numbers.length === 0) throw new Error(`the catalogue's note on ${name} has no number after "${word}"`);
  return numbers;
}

/** The share of reconnections that must be synchronised in time, as in "98 % within …". */
export function shareWithin(name) {
  const found = /([0-9]+) % within/.exec(metric(name).threshold_note);
  if (!found) throw new Error(`the catalogue's note on ${name} has no share`);
  return Number(found[1]) / 100;
}

const window = (name) => (name.endsWith('_seconds') ? name.replace(/_seconds$/, '_window_seconds') : `${name}_window`);

/** The name of a metric's window gauges. */
export const windowName = (name) => window(metric(name).prometheus);
/** The name of the gauge with the number of samples behind them. */
export const windowSamplesName = (name) => `${window(metric(name).prometheus).replace(/_seconds$/, '')}_samples`;
/** The name of a metric's histogram by release. */
export function releaseName(name) {
  const { prometheus, per_store: perStore } = metric(name);
  return perStore ? prometheus.replace('pos_', 'pos_release_') : prometheus;
}

const TARGET = ['job', 'instance'];

/** Every series Prometheus may be asked for: its name and its labels. */
export function knownSeries() {
  const series = new Map();
  const add = (name, kind, ...labels) => series.set(name, { kind, labels: [...TARGET, ...labels] });
  const histogram = (name, ...labels) => {
    add(`${name}_bucket`, 'counter', 'le', ...labels);
    add(`${name}_sum`, 'counter', ...labels);
    add(`${name}_count`, 'counter', ...labels);
  };
  for (const { name, kind, prometheus, label, per_store: perStore } of metrics) {
    if (kind === 'counter') add(`${prometheus}_total`, 'counter', 'store_id', ...(label ? [label.key] : []));
    if (kind === 'level') add(prometheus, 'gauge', 'store_id', 'stat');
    if (kind !== 'distribution') continue;
    histogram(releaseName(name), 'release');
    if (!perStore) continue;
    histogram(prometheus, 'store_id');
    add(windowName(name), 'gauge', 'store_id', 'q');
    add(windowSamplesName(name), 'gauge', 'store_id');
  }
  add('pos_terminals_over_limit', 'gauge', 'store_id', 'metric');
  add('pos_store_last_report_timestamp_seconds', 'gauge', 'store_id');
  add('pos_terminals_reporting', 'gauge', 'store_id');
  add('pos_terminals_sync_failing', 'gauge', 'store_id');
  add('pos_terminals_sync_slow', 'gauge', 'store_id');
  add('pos_terminals_silent', 'gauge', 'store_id');
  add('pos_terminals_silent_with_sales', 'gauge', 'store_id');
  add('pos_terminals', 'gauge', 'release');
  add('pos_errors_new', 'gauge', 'release');
  add('pos_errors_new_stores', 'gauge', 'release');
  add('pos_late_samples_total', 'counter', 'store_id', 'age_up_to');
  const selfLabels = {
    tillwatch_samples_total: ['outcome'],
    tillwatch_clickhouse_bytes: ['table'],
    tillwatch_clickhouse_partitions_given_up_total: ['table'],
    tillwatch_samples_rejected_total: ['reason'],
    tillwatch_requests_total: ['status'],
    tillwatch_ledger_samples: ['place'],
    tillwatch_journal_samples: ['what'],
    tillwatch_seals_total: ['result'],
    tillwatch_backups_total: ['result'],
    tillwatch_ship_rounds_total: ['result'],
    tillwatch_build_info: ['version'],
  };
  for (const { name, kind } of selfMetrics) {
    const labels = selfLabels[name] ?? [];
    if (kind === 'histogram') histogram(name, ...labels);
    else add(name, kind, ...labels);
  }
  add('ALERTS', 'gauge', 'alertname', 'alertstate', 'severity', 'scope', 'family', 'store_id', 'release');
  // Recorded by alerts/rules/anomalies.yml.
  add('store:pos_bad_odds:times', 'gauge', 'metric', 'store_id');
  add('up', 'gauge');
  for (const [name, of] of [...MONITORING_SERIES, ...PROBE_SERIES]) series.set(name, of);
  return series;
}

/** What Prometheus and Alertmanager say of themselves, as far as alerts are about it. */
export const MONITORING_SERIES = new Map(
  [
    ['prometheus_rule_evaluation_failures_total', 'counter', 'rule_group'],
    ['prometheus_rule_group_iterations_missed_total', 'counter', 'rule_group'],
    ['prometheus_notifications_alertmanagers_discovered', 'gauge'],
    ['prometheus_notifications_errors_total', 'counter', 'alertmanager'],
    ['prometheus_notifications_sent_total', 'counter', 'alertmanager'],
    ['prometheus_notifications_dropped_total', 'counter'],
    ['prometheus_config_last_reload_successful', 'gauge'],
    ['prometheus_tsdb_compactions_failed_total', 'counter'],
    ['prometheus_tsdb_wal_corruptions_total', 'counter'],
    ['alertmanager_config_last_reload_successful', 'gauge'],
    ['alertmanager_notifications_total', 'counter', 'integration'],
    ['alertmanager_notifications_failed_total', 'counter', 'integration'],
    ['scrape_duration_seconds', 'gauge'],
  ].map(([name, kind, ...labels]) => [name, { kind, labels: [...TARGET, ...labels] }]),
);

/** What a probe says of itself; probe/src/metrics.mjs declares it, and a test compares the two. */
export const PROBE_SERIES = new Map(
  [
    ['pos_synthetic_runs_total', 'counter', 'scenario', 'result'],
    ['pos_synthetic_last_run_result', 'gauge', 'scenario', 'result'],
    ['pos_synthetic_last_run_timestamp_seconds', 'gauge', 'scenario'],
    ['pos_synthetic_run_duration_seconds', 'gauge', 'scenario'],
    ['pos_synthetic_steps_total', 'counter', 'scenario', 'step', 'result'],
    ['pos_synthetic_step_duration_seconds', 'gauge', 'scenario', 'step'],
    ['pos_synthetic_measured_seconds', 'gauge', 'scenario', 'measure'],
    ['pos_synthetic_limit_seconds', 'gauge', 'scenario', 'measure'],
    ['pos_synthetic_measured_bytes', 'gauge', 'scenario', 'measure'],
    ['pos_synthetic_limit_bytes', 'gauge', 'scenario', 'measure'],
    ['pos_synthetic_interval_seconds', 'gauge'],
    ['pos_synthetic_waiting_batches', 'gauge'],
    ['pos_synthetic_dropped_batches_total', 'counter'],
  ].map(([name, kind, ...labels]) => [name, { kind, labels: [...TARGET, 'store_id', ...labels] }]),
);

/** Tables and views of the database with the columns dashboards may name. */
export const TABLES = {
  v_rollup_1m: 'metric label store_id release connection source window_start span_s collector_id epoch hist count sum min max over_low over_high received_at row_hash sum_wire min_wire max_wire',
  v_rollup_1h: 'metric label store_id release connection source hour_start hist count sum min max over_low over_high sum_wire min_wire max_wire',
  v_rollup_terminal_1h: 'metric label store_id terminal_id release source hour_start collector_id epoch count sum min max last last_at over_low over_high sum_wire min_wire max_wire last_wire',
  v_session: 'session pseudonym store_id day began_at ended_at sample_count lcp_avg_ms offline_login_avg_ms syncs sync_avg_ms db_size_max_mb error_ratio',
  v_error_group_1h: 'kind name fingerprint store_id release source type message frames_json hour_start collector_id epoch count fatal terminals received_at row_hash terminal_count',
  v_loss: 'store_id terminal_id queue state reason from_seq to_seq batches samples opened_at ended_at collector_id epoch received_at row_hash open_s',
  v_summary_1m: 'metric store_id release connection source minute collector_id epoch count sum min max reports received_at row_hash mean',
};
