// Is tillwatch itself well: does it take everything in, keep it, and pass it on?

import * as g from '../grafana.mjs';
import { FSYNC_S, FULL, OUTBOX_AGE_S, REFUSED, REJECTED, SCRAPE_S } from '../limits.mjs';

const own = (name, ...matchers) => g.series(`tillwatch_${name}`, ...matchers);
const rate = (name, ...matchers) => `sum(rate(${own(name, ...matchers)}[$__rate_interval]))`;
const quantile = (part, name) => `histogram_quantile(${part}, sum by (le) (rate(${own(`${name}_bucket`)}[$__rate_interval])))`;
const REFUSALS = 'status=~"4..|5.."';
const OUTCOMES = ['accepted', 'duplicate', 'deferred', 'rejected'];
const rejected = `sum by (reason) (increase(${own('samples_rejected_total')}[$__range]))`;
const outboxAge = `max((time() - ${own('outbox_oldest_timestamp_seconds')}) * (${own('outbox_oldest_timestamp_seconds')} > bool 0))`;
const rise = (name, ...matchers) => `sum(increase(${own(name, ...matchers)}[15m])) > bool 0`;
const grown = (name, ...matchers) => `sum(${own(name, ...matchers)} - min_over_time(${own(name, ...matchers)}[1h])) > bool 0`;
/** What each alert on the collector is about, as 0 or 1. */
const FAULTS = [
  ['journal halted', `max(${own('journal_halted')})`],
  ['disk does not answer', `max(${own('journal_disk_wait_seconds')}) > bool 10`],
  ['journal full', `max(${own('journal_full')})`],
  ['clock not trusted', `max(${own('clock_unsure')})`],
  ['damage at the last start', `sum(${own('recovery_damaged_records')} + ${own('recovery_damaged_segments')}) > bool 0`],
  ['unreadable records', grown('journal_samples', 'what="unreadable_records"')],
  ['tables made again', `sum(${own('database_tables_made_again')}) > bool 0`],
  ['seals fail', rise('seals_total', 'result="error"')],
  ['no room for names', grown('journal_samples', 'what=~"overflowed_batches|overflowed_terminals"')],
  ['a store at its share', rise('share_refusals_total')],
  ['settings not taken', `1 - min(${own('config_last_reload_success')})`],
  ['restarted in half an hour', `sum(changes(${own('start_timestamp_seconds')}[30m])) > bool 0`],
];
/** The same of Prometheus and Alertmanager, whose jobs are not this board's. */
const risen = (span, ...names) => `${names.map((name) => `sum(increase(${name}[${span}]))`).join(' + ')} > bool 0`;
const ALERTING_FAULTS = [
  ['rules fail', risen('5m', 'prometheus_rule_evaluation_failures_total')],
  ['rules too slow', risen('15m', 'prometheus_rule_group_iterations_missed_total')],
  ['no Alertmanager', '1 - (min(prometheus_notifications_alertmanagers_discovered) >= bool 1)'],
  ['alerts not sent', 'sum(increase(prometheus_notifications_errors_total[5m])) / sum(increase(prometheus_notifications_sent_total[5m])) > bool 0.05'],
  ['alerts dropped', risen('5m', 'prometheus_notifications_dropped_total')],
  ['storage of Prometheus', risen('3h', 'prometheus_tsdb_compactions_failed_total', 'prometheus_tsdb_wal_corruptions_total')],
  ['settings of Prometheus', '1 - min(prometheus_config_last_reload_successful)'],
  ['settings of Alertmanager', '1 - min(alertmanager_config_last_reload_successful)'],
  ['Alertmanager not delivering', 'sum(rate(alertmanager_notifications_failed_total[15m])) / sum(rate(alertmanager_notifications_total[15m])) > bool 0.05'],
];

export default () =>
  g.dashboard({
    uid: 'tillwatch-pipeline',
    title: 'Pipeline health',
    description: 'tillwatch about itself, in the order a batch passes: requests, journal, aggregate, outbox, ClickHouse. What is acknowledged is on disk; what waits for ClickHouse is in the outbox.',
    variables: g.targetVariables('tillwatch_build_info', { showInstance: true }),
    panels: [
      g.stat({
        title: 'Collectors',
        description: 'Collectors that Prometheus can scrape. None: terminals keep their batches for seven days, so restart it before that.',
        targets: [g.prom(`sum(${g.series('up')})`, 'up')],
        decimals: 0,
        spark: false,
        thresholds: [{ color: g.POOR, value: null }, { color: g.GOOD, value: 1 }],
      }),
      g.stat({
        title: 'Batches',
        description: 'Batches that terminals post. Half of what it was at this hour yesterday: look at the silent stores of the fleet.',
        targets: [g.prom(rate('batches_received_total'), 'by second')],
        unit: 'none',
        decimals: 1,
        spark: false,
      }),
      g.stat({
        title: 'Requests refused',
        description: 'Share of requests answered with 4xx or 5xx. 429 and 503 are tried again by the terminals; other 4xx are lost: see rejections by reason.',
        targets: [g.prom(`sum(rate(${own('requests_total', REFUSALS)}[$__rate_interval])) / ${rate('requests_total')}`, 'of requests')],
        unit: 'percentunit',
        decimals: 2,
        thresholds: g.higherIsWorse(REFUSED),
      }),
      g.stat({
        title: 'Journal in use',
        description: 'Share of the journal\'s budget. It empties with each seal; near 100 % terminals get 503: is the disk slow or ClickHouse away with a full outbox?',
        targets: [g.prom(`max(${own('journal_used_bytes')} / ${own('journal_budget_bytes')})`, 'of its budget')],
        unit: 'percentunit',
        decimals: 1,
        thresholds: g.higherIsWorse(FULL),
      }),
      g.stat({
        title: 'Outbox in use',
        description: 'Share of the outbox\'s budget, which holds what ClickHouse has not confirmed. It fills while ClickHouse is away; past it terminals get 503.',
        targets: [g.prom(`max(${own('outbox_bytes')} / ${own('outbox_budget_bytes')})`, 'of its budget')],
        unit: 'percentunit',
        decimals: 2,
        thresholds: g.higherIsWorse(FULL),
      }),
      g.stat({
        title: 'Oldest unshipped',
        description: 'How long the oldest epoch has waited for ClickHouse. Growing: look at ClickHouse; nothing is lost meanwhile.',
        targets: [g.prom(outboxAge, 'epoch')],
        unit: 's',
        decimals: 0,
        thresholds: g.higherIsWorse(OUTBOX_AGE_S),
      }),
      g.stat({
        title: 'ClickHouse',
        description: 'Whether the last round of shipping or the last look at ClickHouse went well. Away: nothing is lost while the outbox has room; restart ClickHouse, or look at its log.',
        targets: [g.prom(`min(${own('clickhouse_up')})`, 'at the last look')],
        thresholds: [{ color: g.POOR, value: null }, { color: g.GOOD, value: 1 }],
        mappings: [{ type: 'value', options: { 0: { text: 'away', index: 0 }, 1: { text: 'up', index: 1 } } }],
        spark: false,
      }),
      g.stat({
        title: 'Damaged records',
        description: 'Acknowledged records the last start could not read; their segments are in quarantine. Above 0: run tillwatch journal verify and look at the disk.',
        targets: [g.prom(`sum(${own('recovery_damaged_records')})`, 'at the last start')],
        thresholds: g.anyIsBad,
        decimals: 0,
        spark: false,
      }),
      g.stateTimeline({
        title: 'Faults of the collector',
        description: 'One band for each fault that has an alert of its own; red while it lasts. A fault that stays red after the alert ended: its runbook says what must still be done.',
        targets: FAULTS.map(([name, expression]) => g.prom(expression, name)),
        thresholds: g.anyIsBad,
        decimals: 0,
        h: 9,
      }),
      g.row('Requests'),
      g.timeseries({
        title: 'Requests by second and status',
        description: '202: on disk. 429: a store posts too fast. 503: full or overloaded, terminals try again. 400, 413, 415, 422: a faulty SDK or a stranger.',
        targets: [g.prom(`sum by (status) (rate(${own('requests_total')}[$__rate_interval])) > 0`, '{{status}}')],
        stack: 'normal',
        overrides: [g.colour('202', g.HUES[0]), g.colour(/^4/, g.FAIR), g.colour(/^5/, g.POOR)],
        w: 8,
      }),
      g.timeseries({
        title: 'Time to acknowledge',
        description: 'From the request to its answer, the disk included. Rising with fdatasync: the disk; without it: too many requests for the machine.',
        needs: 'requestDurations',
        targets: [0.5, 0.95, 0.99].map((part) =>
          g.prom(`histogram_quantile(${part}, sum by (le) (rate(${own('request_duration_seconds_bucket', 'class="2xx"')}[$__rate_interval])))`, `p${part * 100}`),
        ),
        unit: 's',
        w: 8,
      }),
      g.timeseries({
        title: 'Samples by second and outcome',
        description: 'Every sample has one outcome. duplicate: terminals sent again what was known, harmless; deferred: answered 503; rejected: see the reasons.',
        targets: [
          g.prom(`sum by (outcome) (rate(${own('samples_total')}[$__rate_interval])) > 0`, '{{outcome}}'),
          g.prom(`${rate('samples_rejected_total')} > 0`, 'rejected'),
        ],
        stack: 'normal',
        overrides: [...g.hues(OUTCOMES.slice(0, 3)), g.colour('rejected', g.POOR)],
        w: 8,
      }),
      g.barGauge({
        title: 'Samples rejected in the range, by reason',
        description: 'too_old, in_future: clocks or more than eight days offline, tell the stores; unknown_metric: an SDK newer than the catalogue, upgrade tillwatch; anything else: a faulty SDK, tell its developers which release sends it.',
        targets: [
          g.prom(`topk(6, ${rejected} > 0) or label_replace(sum(${rejected}) == 0, "reason", "none", "", "")`, '{{reason}}', { instant: true }),
        ],
        decimals: 0,
        thresholds: g.anyIsFair,
        w: 8,
        h: 6,
      }),
      g.timeseries({
        title: 'Bytes posted by second',
        description: 'Request bodies as they came, compressed or not. More bytes with as many requests: a release that sends more, or tills that deliver what they kept.',
        targets: [g.prom(rate('request_body_bytes_total'), 'received')],
        unit: 'Bps',
        overrides: [g.colour('received', g.HUES[0])],
        fill: 20,
        w: 16,
        h: 6,
      }),
      g.timeseries({
        title: 'Share of the samples that were rejected',
        description: 'Rejected samples of all that came, but for those without consent. Over a hundredth something is wrong with an SDK or with clocks: the reasons stand above.',
        targets: [g.prom(`${rate('samples_rejected_total', 'reason!="no_consent"')} / ${rate('samples_received_total')}`, 'rejected')],
        unit: 'percentunit',
        decimals: 2,
        softMax: 0.02,
        thresholds: g.higherIsWorse(REJECTED, 'transparent'),
        showThresholds: true,
        overrides: [g.colour('rejected', g.POOR)],
        w: 12,
        h: 6,
      }),
      g.row('Journal'),
      g.timeseries({
        title: 'fdatasync, mean time',
        description: 'How long the disk takes to make a group of records durable. Every answer waits for it. Over 10 ms: a slow or busy disk.',
        targets: [g.prom(`sum(rate(${own('journal_sync_seconds')}[$__rate_interval])) / sum(rate(${own('journal_groups')}[$__rate_interval]))`, 'mean')],
        unit: 's',
        thresholds: g.higherIsWorse(FSYNC_S, 'transparent'),
        overrides: [g.colour('mean', g.HUES[1])],
        fill: 20,
        w: 6,
      }),
      g.timeseries({
        title: 'Records in one group',
        description: 'Records made durable by one fdatasync. It grows with the load: that is how few syncs carry many batches.',
        targets: [g.prom(`sum(rate(${own('journal_records')}[$__rate_interval])) / sum(rate(${own('journal_groups')}[$__rate_interval]))`, 'records')],
        overrides: [g.colour('records', g.HUES[2])],
        fill: 20,
        w: 6,
      }),
      g.timeseries({
        title: 'Journal on disk',
        description: 'Bytes of its segments. A saw: seals cut it. Only rising: seals fail, see below, and look at the disk and at the log before the budget is used up.',
        targets: [g.prom(`sum(${own('journal_used_bytes')})`, 'used')],
        unit: 'bytes',
        overrides: [g.colour('used', g.HUES[0])],
        fill: 20,
        w: 6,
      }),
      g.timeseries({
        title: 'Free space of the data folder\'s disk',
        description: 'Free space, and the size of the disk. Full: terminals get 503 and keep what they have; make room.',
        needs: 'disk',
        targets: [g.prom(`min(${own('disk_free_bytes')})`, 'free'), g.prom(`max(${own('disk_size_bytes')})`, 'size')],
        unit: 'bytes',
        overrides: [g.colour('free', g.HUES[0]), g.colour('size', g.HUES[4])],
        w: 6,
      }),
      g.row('Aggregate, outbox, ClickHouse'),
      g.timeseries({
        title: 'Where samples are',
        description: 'accepted = sealed + open, sealed = confirmed + outbox; the most of each step. Outbox only rising: ClickHouse is away, see how long its budget lasts above.',
        targets: [g.prom(`sum by (place) (max_over_time(${own('ledger_samples', 'place=~"open|outbox"')}[$__rate_interval]))`, '{{place}}')],
        unit: 'sishort',
        overrides: [g.colour('open', g.HUES[0]), g.colour('outbox', g.HUES[3])],
        fill: 20,
        w: 8,
      }),
      g.timeseries({
        title: 'Seal and ship, p95',
        description: 'How long it takes to write an epoch, and to bring it to ClickHouse, read it back and confirm it.',
        targets: [g.prom(quantile(0.95, 'seal_duration_seconds'), 'seal'), g.prom(quantile(0.95, 'ship_duration_seconds'), 'ship')],
        unit: 's',
        overrides: [g.colour('seal', g.HUES[2]), g.colour('ship', g.HUES[1])],
        w: 8,
      }),
      g.timeseries({
        title: 'Rows shipped by second',
        description: 'Rows that went to ClickHouse. Nothing for longer than a seal: look at ClickHouse and at this log.',
        targets: [g.prom(rate('rows_shipped_total'), 'rows')],
        overrides: [g.colour('rows', g.HUES[2])],
        fill: 20,
        w: 8,
      }),
      g.timeseries({
        title: 'Epochs sealed and not confirmed',
        softMax: 4,
        description: 'Normally one or two. Growing: ClickHouse does not keep up or is away. Look at its load and its log; the outbox in use says how long there is time.',
        targets: [g.prom(`sum(max_over_time(${own('outbox_epochs')}[$__rate_interval]))`, 'most at once')],
        decimals: 0,
        overrides: [g.colour('most at once', g.HUES[3])],
        fill: 20,
        w: 8,
      }),
      g.timeseries({
        title: 'Batches missing',
        softMax: 4,
        description: 'Sequence numbers not seen yet. They may still come for nine days, then they are lost. Rising for days: batches are lost between terminal and collector.',
        targets: [g.prom(`sum(${own('lost_batches')})`, 'lost'), g.prom(`sum(max_over_time(${own('missing_batches')}[$__rate_interval]))`, 'may still come')],
        decimals: 0,
        overrides: [g.colour('may still come', g.HUES[0]), g.colour('lost', g.POOR)],
        w: 8,
      }),
      g.timeseries({
        title: 'Stores, terminals, queues known',
        description: 'What the collector keeps track of. A jump without new shops: somebody invents identifiers; turn authentication on, or find the sender in the log.',
        targets: ['stores', 'terminals', 'queues'].map((name) => g.prom(`sum(${own(name)})`, name)),
        decimals: 0,
        overrides: g.hues(['stores', 'terminals', 'queues']),
        w: 8,
      }),
      g.timeseries({
        title: 'Disk of the tables',
        description: 'What each table takes in ClickHouse. Rising faster than the number of stores: one store sends too much, or invents names; see the stores with most rows in the runbook.',
        targets: [g.prom(`sum by (table) (${own('clickhouse_bytes')})`, '{{table}}')],
        unit: 'bytes',
        stack: 'normal',
        overrides: g.hues(['rollup_1m', 'rollup_1h', 'rollup_terminal_1h', 'session']),
        w: 12,
      }),
      g.timeseries({
        title: 'Disk budget of the tables',
        description: 'How full the budget is, and what was given up for it. At 100 % the oldest days of minutes are dropped: raise clickhouse_budget, or accept a shorter history.',
        targets: [
          g.prom(`max(sum by (instance) (${own('clickhouse_bytes')}) / on (instance) ${own('clickhouse_budget_bytes')})`, 'in use'),
          g.prom(`sum(increase(${own('clickhouse_partitions_given_up_total')}[$__rate_interval]))`, 'partitions given up'),
        ],
        unit: 'percentunit',
        overrides: [g.colour('in use', g.HUES[0]), { ...g.colour('partitions given up', g.POOR) }],
        w: 12,
      }),
      g.row('Prometheus and Alertmanager'),
      g.stateTimeline({
        title: 'Faults of alerting',
        description: 'Whether alerts themselves work, of every Prometheus and Alertmanager that is scraped: one band for each fault that has an alert, red while it lasts. Red means that alerts come late or not at all: follow its runbook first.',
        targets: ALERTING_FAULTS.map(([name, expression]) => g.prom(expression, name)),
        thresholds: g.anyIsBad,
        decimals: 0,
        w: 16,
        h: 8,
      }),
      g.timeseries({
        title: 'Time to scrape the fleet\'s page',
        description: 'How long Prometheus waits for /metrics/fleet; at ten seconds it gives up, and every series of the stores has a hole. Rising with the number of stores: see docs/operations.md.',
        targets: [g.prom('max(max_over_time(scrape_duration_seconds{job=~".*fleet.*"}[$__rate_interval]))', 'slowest')],
        unit: 's',
        thresholds: g.higherIsWorse(SCRAPE_S, 'transparent'),
        showThresholds: true,
        overrides: [g.colour('slowest', g.HUES[1])],
        w: 8,
        h: 8,
      }),
      g.row('Seven days'),
      g.timeseries({
        title: 'Samples at rest by hour',
        description: 'What ClickHouse holds for each hour of event time: page views, writes, synchronisations. A hole that does not fill in: an outage nobody had data of.',
        targets: [
          g.sql(`
            SELECT toStartOfHour(window_start) AS time, sum(count) AS samples
            FROM v_rollup_1m WHERE $__timeFilter(window_start) AND source = 'rum'
            GROUP BY time ORDER BY time`),
        ],
        draw: 'bars',
        unit: 'sishort',
        overrides: [g.colour('samples', g.HUES[0])],
        timeFrom: '7d',
        w: 12,
      }),
      g.table({
        title: 'Samples at rest by day',
        description: 'Rows and samples of each day, what of it was measured without a network and came later, and how many samples one row holds: the more, the cheaper. A day with a high share offline had an outage; one with fewer stores: which are missing?',
        targets: [
          g.sql(
            `
            SELECT toString(toDate(window_start)) AS "Day", count() AS "Rows", sum(count) AS "Samples", uniqExact(store_id) AS "Stores",
              sumIf(count, connection = 'offline') / sum(count) AS "Measured offline", sum(count) / count() AS "Samples in a row"
            FROM v_rollup_1m WHERE $__timeFilter(window_start) AND source = 'rum'
            GROUP BY "Day" ORDER BY "Day" DESC`,
            'table',
          ),
        ],
        columns: [
          g.plainColumn('Rows', 'sishort', { decimals: 1 }),
          g.plainColumn('Samples', 'sishort', { decimals: 2 }),
          g.plainColumn('Stores', 'short'),
          g.plainColumn('Measured offline', 'percentunit', { decimals: 1 }),
          g.plainColumn('Samples in a row', 'short', { decimals: 0 }),
        ],
        timeFrom: '7d',
        w: 12,
        h: 8,
      }),
    ],
  });
