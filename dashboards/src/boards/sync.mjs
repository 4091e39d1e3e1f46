// Selling without a network and catching up afterwards.

import { metric, ratios, shareWithin, thresholds } from '../catalogue.mjs';
import * as g from '../grafana.mjs';
import { COVERAGE } from '../limits.mjs';
import * as q from '../queries.mjs';

const here = q.STORES;
const perMinute = (name, label) => q.perMinute(name, label, here);
const batches = (what) => `sum(rate(${g.series(`pos_sdk_batches_${what}_total`, here)}[$__rate_interval]))`;
const [inTime] = thresholds('reconnect_to_synced_ms');
const within = shareWithin('reconnect_to_synced_ms');
const late = ['up to 1h old', 'up to 24h old', 'up to 3d old', 'up to 8d old'];

export default () =>
  g.dashboard({
    uid: 'tillwatch-sync',
    title: 'Sync and offline operations',
    description: 'Can shops go on selling without a network, and does everything arrive afterwards? Live series hold what was measured in the last minutes; what came late is in the lower part, from ClickHouse.',
    variables: [...g.targetVariables('pos_store_last_report_timestamp_seconds'), g.storeVariable(true)],
    panels: [
      g.stat({
        title: 'Sync p95',
        description: 'How long synchronisations take for 95 of 100. Over the target everywhere: the back office; in some stores: see the fleet\'s table for which.',
        targets: [g.prom(q.quantile(0.95, 'sync_duration_ms', here), 'now')],
        unit: 's',
        thresholds: g.higherIsWorse(thresholds('sync_duration_ms')),
      }),
      g.stat({
        title: 'Sync success',
        description: 'Share of attempts that succeeded. Below the critical limit terminals pile up transactions: is the back office up?',
        targets: [g.prom(q.ratio('sync_attempts', 'result="success"', [here]), 'of attempts')],
        unit: 'percentunit',
        decimals: 2,
        thresholds: g.lowerIsWorse(ratios('sync_attempts', 'under')),
      }),
      g.stat({
        title: 'Synced in 5 min',
        description: `Share of reconnections after which everything was synchronised within ${q.inWords('reconnect_to_synced_ms', inTime)}, in the selected range. Objective ${within * 100} %.`,
        targets: [g.prom(q.shareUpTo('reconnect_to_synced_ms', inTime, [here], { range: '$__range', fn: 'increase' }), 'of reconnections', { instant: true })],
        unit: 'percentunit',
        decimals: 1,
        spark: false,
        thresholds: g.lowerIsWorse([within]),
      }),
      g.stat({
        title: 'Queue wait p99',
        description: 'How long transactions waited on a terminal before they were synchronised, all stores. Over an hour: terminals stay offline or cannot catch up.',
        targets: [g.prom(`histogram_quantile(0.99, sum by (le) (increase(${g.series('pos_sync_queue_wait_seconds_bucket')}[$__range])))`, 'over the range', { instant: true })],
        unit: 's',
        spark: false,
        thresholds: g.higherIsWorse(thresholds('queue_wait_ms')),
      }),
      g.stat({
        title: 'Longest queue',
        description: 'The terminal with most transactions waiting. At the limit it stops selling offline: find its store in the fleet\'s table, and get it online.',
        targets: [g.prom(`max(${g.series('pos_pending_transactions', here, 'stat="max"')})`, 'waiting, worst till')],
        decimals: 0,
        thresholds: g.higherIsWorse(thresholds('pending_transactions')),
      }),
      g.stat({
        title: 'Offline login p95',
        description: 'How long a login takes without a network. Over the limit: IndexedDB is slow or the release regressed.',
        targets: [g.prom(q.quantileInRange(0.95, 'offline_login_duration_ms', here), 'over the range', { instant: true })],
        unit: 's',
        spark: false,
        thresholds: g.higherIsWorse(thresholds('offline_login_duration_ms')),
      }),
      g.stat({
        title: 'Login success',
        description: 'Share of offline logins that succeeded in the selected range. Failures lock cashiers out of the till: call the store.',
        targets: [g.prom(q.ratio('offline_logins', 'result="success"', [here], { range: '$__range', fn: 'increase' }), 'of logins', { instant: true })],
        unit: 'percentunit',
        decimals: 2,
        spark: false,
        thresholds: g.lowerIsWorse(ratios('offline_logins', 'under')),
      }),
      g.stat({
        title: 'Conflict ratio',
        description: 'Conflicts of each offline transaction, in the selected range. Over the limit somebody has to reconcile by hand: see the kinds below.',
        targets: [g.prom(`sum(increase(${q.counter('conflicts', here)}[$__range])) / sum(increase(${q.counter('offline_transactions', here)}[$__range]))`, 'of transactions', { instant: true })],
        unit: 'percentunit',
        decimals: 2,
        spark: false,
        thresholds: g.higherIsWorse(ratios('conflicts', 'over')),
      }),
      g.row('Synchronisation'),
      g.heatmap({
        title: 'Sync durations',
        description: 'How many synchronisations took how long. Two bands instead of one: a part of the fleet behaves differently.',
        targets: [g.prom(`sum by (le) (increase(${g.series('pos_sync_duration_seconds_bucket', here)}[$__rate_interval]))`, '{{le}}', { format: 'heatmap', interval: '1m' })],
        w: 8,
      }),
      g.timeseries({
        title: 'Sync duration',
        description: 'Percentiles with target and critical limit; dashed: synchronisations by minute. p99 alone high: a few stores, see the fleet\'s table; all of them: the back office.',
        targets: [...q.percentiles('sync_duration_ms', [0.5, 0.95, 0.99], here), q.sampleRate('sync_duration_ms', here)],
        unit: 's',
        thresholds: g.higherIsWorse(thresholds('sync_duration_ms'), 'transparent'),
        showThresholds: true,
        overrides: [g.samplesAxis()],
        w: 8,
      }),
      g.timeseries({
        title: 'Sync failures by minute',
        description: 'Attempts that failed. A plateau: some terminals try without a network; a spike everywhere: the back office.',
        targets: [g.prom(`60 * sum(rate(${q.counter('sync_attempts', here, 'result="failure"')}[$__rate_interval]))`, 'failed attempts')],
        overrides: [g.colour('failed attempts', g.POOR)],
        fill: 25,
        w: 8,
      }),
      g.timeseries({
        title: 'Payload of a synchronisation',
        description: 'Bytes of one synchronisation, all releases. Over the target slow lines suffer first: which release grew it?',
        targets: [0.5, 0.95].map((part) => g.prom(q.quantileOfReleases(part, 'sync_payload_bytes'), `p${part * 100}`)),
        unit: 'decbytes',
        thresholds: g.higherIsWorse(thresholds('sync_payload_bytes'), 'transparent'),
        showThresholds: true,
        w: 8,
      }),
      g.timeseries({
        title: 'Items synchronised by minute',
        description: 'How much goes through. It falls to nothing when the back office is away, whatever the durations say.',
        targets: [g.prom(`60 * sum(rate(${q.counter('sync_items_count', here)}[$__rate_interval]))`, 'items')],
        overrides: [g.colour('items', g.HUES[2])],
        fill: 25,
        w: 8,
      }),
      g.timeseries({
        title: 'Terminals over a limit',
        description: 'Terminals whose last value is over the first limit of the catalogue: queue, memory, storage. Rising memory without traffic: a leak.',
        targets: [g.prom(`sum by (metric) (${g.series('pos_terminals_over_limit', here)})`, '{{metric}}')],
        decimals: 0,
        overrides: g.hues(['memory_used_mb', 'pending_transactions', 'storage_used_ratio']),
        w: 8,
      }),
      g.row('Offline'),
      g.timeseries({
        title: 'Transactions made offline, by minute',
        description: 'What shops sold without a network. A mountain: an outage, see changes of connection mode. Failures are lost sales: which stores? Pick them above.',
        targets: [g.prom(perMinute('offline_transactions', 'result'), '{{result}}')],
        stack: 'normal',
        overrides: q.OUTCOMES,
        w: 8,
      }),
      g.timeseries({
        title: 'Offline login',
        description: 'Percentiles with target and limit; dashed: logins by minute. Over the limit cashiers wait at the till: compare releases, then the size of the databases.',
        targets: [...q.percentiles('offline_login_duration_ms', [0.5, 0.95], here), q.sampleRate('offline_login_duration_ms', here)],
        unit: 's',
        thresholds: g.higherIsWorse(thresholds('offline_login_duration_ms'), 'transparent'),
        showThresholds: true,
        overrides: [g.samplesAxis()],
        w: 8,
      }),
      g.timeseries({
        title: 'From reconnecting to synchronised',
        description: `How long terminals take to catch up. The objective is ${within * 100} % within ${q.inWords('reconnect_to_synced_ms', inTime)}. Rising while many come back: the back office is the narrow place.`,
        targets: [...q.percentiles('reconnect_to_synced_ms', [0.5, 0.95], here), q.sampleRate('reconnect_to_synced_ms', here)],
        unit: 'dthms',
        thresholds: g.higherIsWorse(thresholds('reconnect_to_synced_ms'), 'transparent'),
        showThresholds: true,
        overrides: [g.samplesAxis()],
        w: 8,
      }),
      g.timeseries({
        title: 'Conflicts by minute and kind',
        description: 'What could not be merged by itself. inventory_shortage: oversold while offline; duplicate_transaction: the till sent a sale twice, ask the developers; price_change: the price list was old.',
        targets: [g.prom(perMinute('conflicts', 'kind'), '{{kind}}')],
        stack: 'normal',
        overrides: g.hues(metric('conflicts').label.values),
        w: 8,
      }),
      g.timeseries({
        title: 'Changes of connection mode by minute',
        description: 'To which mode terminals change. Many to offline at once: a provider is down; steady flapping: a bad line, find its store.',
        targets: [g.prom(perMinute('mode_switches', 'to'), '{{to}}')],
        stack: 'normal',
        overrides: g.hues(metric('mode_switches').label.values),
        w: 8,
      }),
      g.timeseries({
        title: 'Samples the terminals had to drop, by minute',
        description: 'quota: the browser\'s storage was full; age: offline too long; too_large, refused: a fault of SDK or collector. Percentiles miss these samples.',
        targets: [g.prom(perMinute('dropped_samples', 'reason'), '{{reason}}')],
        stack: 'normal',
        overrides: g.hues(metric('dropped_samples').label.values),
        w: 8,
      }),
      g.timeseries({
        title: 'Batches that arrived',
        description: 'Share of the terminals\' batches that arrived, of those that arrived or were given up after nine days. Under 99.9 %: measurements are lost on the way, see lost batches by store.',
        needs: 'coverage',
        targets: [
          g.prom(
            `${batches('received')} / (${batches('received')} + ${batches('lost')})`,
            'arrived',
          ),
        ],
        unit: 'percentunit',
        min: null,
        softMin: 0.98,
        max: 1,
        decimals: 1,
        thresholds: g.lowerIsWorse(COVERAGE),
        showThresholds: true,
        overrides: [g.colour('arrived', g.HUES[0])],
        w: 12,
      }),
      g.timeseries({
        title: 'Batches from wrong clocks',
        description: 'Share of the batches whose terminal\'s clock was off by more than a minute, and by more than five. Times are corrected on arrival. A low steady line is a till without time service: tell its store, PosStoreClockSkew names it; most of the batches at once: the clock of the collector.',
        needs: 'clockSkew',
        targets: [[60, 'over a minute'], [300, 'over 5 minutes']].map(([bound, name]) => g.prom(q.clocksOff(bound, here), name)),
        unit: 'percentunit',
        softMax: 0.01,
        overrides: g.hues(['over a minute', 'over 5 minutes']),
        w: 12,
      }),
      g.row('Errors'),
      g.timeseries({
        title: 'Errors by minute and kind',
        description: 'network: the lines; storage_quota: browsers are full; sync, auth: the back office; script: a bug, see the releases dashboard.',
        targets: [g.prom(perMinute('errors', 'kind'), '{{kind}}')],
        stack: 'normal',
        overrides: g.hues(metric('errors').label.values),
        w: 8,
      }),
      g.barGauge({
        title: 'Refused logins in the range, worst stores',
        description: 'Forgotten passwords are a few and everywhere. A store far above the others is under attack or has a broken till: call it.',
        targets: [g.prom(`topk(7, sum by (store_id) (increase(${q.counter('login_failures', here)}[$__range])))`, '{{store_id}}', { instant: true })],
        decimals: 0,
        colorMode: { mode: 'fixed', fixedColor: g.HUES[1] },
        w: 8,
      }),
      g.timeseries({
        title: 'Cache hit ratio',
        description: 'Requests the service workers answered themselves. Under the limit tills are as slow as their lines: did a release change what is cached?',
        targets: [g.prom(q.ratio('cache_requests', 'result="hit"', [here]), 'hit ratio')],
        unit: 'percentunit',
        max: 1,
        thresholds: g.lowerIsWorse(ratios('cache_requests', 'under')),
        showThresholds: true,
        overrides: [g.colour('hit ratio', g.HUES[0])],
        w: 8,
      }),
      g.row('Late data'),
      g.timeseries({
        title: 'Late samples by minute of arrival',
        description: 'Samples too old for the live series, by their age when they came. A burst after an outage is what should happen.',
        targets: [g.prom(`60 * sum by (age_up_to) (rate(${g.series('pos_late_samples_total', here)}[$__rate_interval]))`, 'up to {{age_up_to}} old')],
        stack: 'normal',
        overrides: g.hues(late),
        w: 8,
      }),
      g.heatmap({
        title: 'How late samples came, by time of arrival',
        description: 'From ClickHouse: each cell counts the samples that arrived then, by the time since they were measured. The bottom row is the live trade; cells higher up are tills that come back after an outage. Bright cells high up in many columns: find the stores that lose their line.',
        targets: [
          g.sql(`
            SELECT $__timeInterval(received_at) AS time,
              sumIf(count, lag_s <= 600) AS "10 min",
              sumIf(count, lag_s > 600 AND lag_s <= 3600) AS "1 h",
              sumIf(count, lag_s > 3600 AND lag_s <= 21600) AS "6 h",
              sumIf(count, lag_s > 21600 AND lag_s <= 86400) AS "1 d",
              sumIf(count, lag_s > 86400 AND lag_s <= 259200) AS "3 d",
              sumIf(count, lag_s > 259200) AS "8 d"
            FROM (
              SELECT received_at, count, dateDiff('second', window_start, received_at) - span_s AS lag_s
              FROM v_rollup_1m
              WHERE metric = 'idb_write_ms' AND source = 'rum' AND window_start >= $__fromTime - INTERVAL 8 DAY AND $__timeFilter(received_at) AND ${q.SQL_STORES}
            )
            GROUP BY time ORDER BY time`),
        ],
        unit: 'short',
        maxDataPoints: 30,
        w: 8,
      }),
      g.timeseries({
        title: 'Offline work by hour',
        description: 'Transactions and logins made offline, in the hour they happened. It fills in as terminals come back.',
        targets: [
          g.sql(`
            SELECT toStartOfHour(${q.history().time}) AS time,
              sumIf(sum, metric = 'offline_transactions') AS "transactions",
              sumIf(sum, metric = 'offline_logins') AS "logins"
            FROM ${q.history().view}
            WHERE metric IN ('offline_transactions', 'offline_logins') AND source = 'rum' AND $__timeFilter(${q.history().time}) AND ${q.SQL_STORES}
            GROUP BY time ${q.BY_HOUR}`),
        ],
        overrides: [g.colour('transactions', g.HUES[2]), g.colour('logins', g.HUES[1])],
        fill: 20,
        timeFrom: '7d',
        w: 8,
      }),
    ],
  });
