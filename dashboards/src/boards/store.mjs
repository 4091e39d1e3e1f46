// One store: what is wrong here, since when, and with which terminals?

import { metric, ratios, thresholds } from '../catalogue.mjs';
import { errorTable } from '../errors.mjs';
import * as g from '../grafana.mjs';
import { LOGIN_BURST, MEMORY_TARGETS, SILENT_S, UNUSUAL } from '../limits.mjs';
import { ownRow } from '../own.mjs';
import { probeRow } from '../probes.mjs';
import * as q from '../queries.mjs';

const here = q.ONE_STORE;
const window = (name, quantile) => `max(${q.windowOf(name, quantile, here)})`;
const windowStat = (title, name, quantile, description) =>
  g.stat({
    title,
    description: `${description} Exact, over the last five minutes of this store; the number of samples stands in the panel below.`,
    targets: [g.prom(window(name, quantile), 'last 5 minutes')],
    unit: metric(name).unit === 'ms' ? 's' : 'none',
    thresholds: g.higherIsWorse(thresholds(name)),
  });
const windowPanel = (title, name, quantiles, description, extra = {}) =>
  g.timeseries({
    title,
    description,
    targets: [
      ...quantiles.map((quantile) => g.prom(window(name, quantile), `p${quantile * 100}`)),
      g.prom(`sum(${q.windowSamples(name, here)})`, 'samples'),
    ],
    unit: metric(name).unit === 'ms' ? 's' : 'none',
    thresholds: g.higherIsWorse(thresholds(name), 'transparent'),
    showThresholds: true,
    overrides: [g.samplesAxis()],
    w: 8,
    ...extra,
  });
const bands = [
  ['Sync p95', 'sync_duration_ms', '0.95'],
  ['Offline login p95', 'offline_login_duration_ms', '0.95'],
  ['LCP p75', 'lcp_ms', '0.75'],
  ['INP p75', 'inp_ms', '0.75'],
  ['CLS p75', 'cls_score', '0.75'],
  ['Network p75', 'network_latency_ms', '0.75'],
];
/** What was dropped before it was a batch: its queue is nothing but zeros. */
const NO_NUMBER = "queue = '00000000-0000-0000-0000-000000000000'";
const CONNECTIONS = metric('mode_switches').label.values;
const terminalLink = {
  title: 'Open ${__value.text}',
  url: '/d/tillwatch-terminal?var-store_id=${store_id}&var-terminal_id=${__value.raw}&${__url_time_range}',
  targetBlank: false,
};

export default () =>
  g.dashboard({
    uid: 'tillwatch-store',
    title: 'Store',
    description: 'One store. The bands show at a glance which measure went bad when; below them each measure with its limits and its number of samples.',
    from: 'now-3h',
    variables: [...g.targetVariables('pos_store_last_report_timestamp_seconds'), g.storeVariable(false)],
    panels: [
      g.stat({
        title: 'Last report',
        description: 'How long ago a terminal of the store last posted. Over 15 minutes in opening hours: is the line down? Terminals keep up to seven days of measurements.',
        targets: [g.prom(`min(time() - ${g.series('pos_store_last_report_timestamp_seconds', here)})`, 'ago')],
        unit: 's',
        decimals: 0,
        spark: false,
        thresholds: g.higherIsWorse(SILENT_S),
      }),
      g.stat({
        title: 'Terminals',
        description: 'Terminals that posted in the last ten minutes. Fewer than tills in use: look for the missing one in the table of terminals.',
        targets: [g.prom(`sum(${g.series('pos_terminals_reporting', here)})`, 'reporting')],
        decimals: 0,
        spark: false,
      }),
      g.stat({
        title: 'Silent terminals',
        description: 'Terminals that should report by their own habit and do not; with sales: silent for a day, with transactions waiting in them that exist nowhere else. `tillwatch silent` names them.',
        targets: [
          g.prom(`sum(${g.series('pos_terminals_silent', here)})`, 'silent'),
          g.prom(`sum(${g.series('pos_terminals_silent_with_sales', here)})`, 'with sales'),
        ],
        decimals: 0,
        spark: false,
        thresholds: g.anyIsFair,
      }),
      windowStat('Sync p95', 'sync_duration_ms', '0.95', 'How long synchronisations take.'),
      g.stat({
        title: 'Sync success',
        description: 'Share of attempts that succeeded in the selected range. A few failures among few attempts are chance: look at the attempts below.',
        targets: [g.prom(q.ratio('sync_attempts', 'result="success"', [here], { range: '$__range', fn: 'increase' }), 'over the range', { instant: true })],
        unit: 'percentunit',
        decimals: 2,
        spark: false,
        thresholds: g.lowerIsWorse(ratios('sync_attempts', 'under')),
      }),
      windowStat('LCP p75', 'lcp_ms', '0.75', 'How fast pages show their main content.'),
      windowStat('INP p75', 'inp_ms', '0.75', 'How fast pages answer a touch.'),
      g.stat({
        title: 'Longest queue',
        description: 'The longest queue of any terminal here. Near the limit the terminal stops selling offline: get it online.',
        targets: [g.prom(`max(${g.series('pos_pending_transactions', here, 'stat="max"')})`, 'waiting, worst till')],
        thresholds: g.higherIsWorse(thresholds('pending_transactions')),
        decimals: 0,
      }),
      g.stat({
        title: 'Memory',
        description: 'Memory of the application on the terminal that uses most. Over the limit: have the cashier reload the till between customers, then look for a leak in the release.',
        targets: [g.prom(`max(${g.series('pos_terminal_memory_bytes', here, 'stat="max"')})`, 'worst till')],
        unit: 'decbytes',
        thresholds: g.higherIsWorse(thresholds('memory_used_mb')),
      }),
      g.stateTimeline({
        title: 'Health of each measure',
        description: 'Green, amber and red are the limits of each measure. Everything red at once: the line or the store\'s hardware. One band red: follow that measure below. Gaps: nothing was measured.',
        targets: bands.map(([title, name, quantile]) => g.prom(window(name, quantile), title)),
        overrides: bands.map(([title, name]) =>
          g.override(title, { thresholds: { mode: 'absolute', steps: g.higherIsWorse(thresholds(name)) }, unit: metric(name).unit === 'ms' ? 's' : 'none' }),
        ),
        h: 7,
      }),
      windowPanel('Sync duration', 'sync_duration_ms', ['0.5', '0.95'], 'Percentiles of the last five minutes at each time. Dashed line: how many synchronisations stand behind them; under 20 a p95 says little.'),
      windowPanel('Offline login', 'offline_login_duration_ms', ['0.5', '0.95'], 'Only measured while a terminal is offline, so it often has few samples or none. High with many samples: the till\'s storage is slow, see its memory and its database.'),
      windowPanel('Network latency', 'network_latency_ms', ['0.5', '0.95'], 'Round trip to the back office as the terminals see it. When this rises with sync, it is the network.'),
      windowPanel('Largest Contentful Paint', 'lcp_ms', ['0.5', '0.75'], 'Page views. When it rises without a release, look at the network panel; with one, at the releases dashboard.'),
      windowPanel('Interaction to Next Paint', 'inp_ms', ['0.5', '0.75'], 'How long a touch waits for its effect. When it rises, look at memory below and at the release; reload the till that uses most.'),
      windowPanel('Cumulative Layout Shift', 'cls_score', ['0.5', '0.75'], 'How much the page moves under the cashier\'s finger. It changes with releases only: a step here belongs to the release before it, tell the developers.'),
      g.row('Operations'),
      g.timeseries({
        title: 'Sync attempts by minute',
        description: 'Attempts that succeeded and that failed. Failures with few attempts: terminals are offline; with many: the back office or a token that has run out.',
        targets: [g.prom(`60 * sum by (result) (rate(${q.counter('sync_attempts', here)}[$__rate_interval]))`, '{{result}}')],
        stack: 'normal',
        overrides: [g.colour('success', g.HUES[0]), g.colour('failure', g.POOR)],
        w: 8,
      }),
      g.timeseries({
        title: 'Tills whose synchronisations fail or are slow',
        description: 'Tills of which a synchronisation failed, or took longer than the critical limit, in the last ten minutes. One: that till, see the table of tills; most of them: the line or the back office.',
        targets: [
          g.prom(`sum(${g.series('pos_terminals_sync_failing', here)})`, 'failing'),
          g.prom(`sum(${g.series('pos_terminals_sync_slow', here)})`, 'slow'),
          g.prom(`sum(${g.series('pos_terminals_reporting', here)})`, 'reporting'),
        ],
        decimals: 0,
        softMax: 4,
        overrides: [g.colour('failing', g.POOR), g.colour('slow', g.HUES[3]), g.samplesAxis('reporting')],
        w: 8,
      }),
      g.timeseries({
        title: 'Errors by minute and kind',
        description: 'Errors of the application. network: the line; storage_quota: the browser is full; auth: expired sessions; script: a bug, tell the developers which release runs here.',
        targets: [g.prom(`60 * sum by (kind) (rate(${q.counter('errors', here)}[$__rate_interval]))`, '{{kind}}')],
        stack: 'normal',
        draw: 'line',
        overrides: g.hues(metric('errors').label.values),
        w: 8,
      }),
      g.timeseries({
        title: 'Changes of connection mode by minute',
        description: 'How often terminals switch, by the mode they switch to. Many switches to offline or slow: an unstable line, call the provider.',
        targets: [g.prom(`60 * sum by (to) (rate(${q.counter('mode_switches', here)}[$__rate_interval]))`, '{{to}}')],
        stack: 'normal',
        overrides: g.hues(metric('mode_switches').label.values),
        w: 8,
      }),
      g.timeseries({
        title: 'Memory of the terminals',
        description: 'The terminal that uses most, with the targets (30, 35, 45 and 50 MB) and the limit for a clean-up, and how many are over that. One: reload it between customers; all of them: a leak in the release.',
        targets: [
          g.prom(`max(${g.series('pos_terminal_memory_bytes', here, 'stat="max"')})`, 'worst till'),
          g.prom(`sum(${g.series('pos_terminals_over_limit', here, 'metric="memory_used_mb"')})`, 'tills over the limit'),
        ],
        unit: 'decbytes',
        thresholds: g.targets(MEMORY_TARGETS, thresholds('memory_used_mb')[0]),
        showThresholds: true,
        overrides: [g.colour('worst till', g.HUES[1]), g.samplesAxis('tills over the limit'), g.override('tills over the limit', { decimals: 0, 'custom.axisSoftMax': 4 })],
        w: 8,
      }),
      g.timeseries({
        title: 'Cache hit ratio',
        description: 'Requests the service worker answered itself. Under the limit the till is slow whenever the line is: was a release rolled out?',
        targets: [g.prom(q.ratio('cache_requests', 'result="hit"', [here]), 'hit ratio')],
        unit: 'percentunit',
        min: 0,
        max: 1,
        thresholds: g.lowerIsWorse(ratios('cache_requests', 'under')),
        showThresholds: true,
        overrides: [g.colour('hit ratio', g.HUES[0])],
        w: 8,
      }),
      g.timeseries({
        title: 'Samples that came late, by minute',
        softMax: 10,
        description: 'Measurements received too late to move the live series; they are in ClickHouse, in the minutes they belong to. A burst: terminals came back online.',
        targets: [g.prom(`60 * sum by (age_up_to) (rate(${g.series('pos_late_samples_total', here)}[$__rate_interval]))`, 'up to {{age_up_to}} old')],
        stack: 'normal',
        overrides: g.hues(['up to 1h old', 'up to 24h old', 'up to 3d old', 'up to 8d old']),
        w: 8,
      }),
      ...q.CACHES.map(([name, title, description]) =>
        g.timeseries({
          title,
          description,
          targets: [g.prom(q.ratio(name, 'result="hit"', [here]), 'hit ratio')],
          unit: 'percentunit',
          max: 1,
          thresholds: g.lowerIsWorse(ratios(name, 'under')),
          showThresholds: true,
          overrides: [g.colour('hit ratio', g.HUES[0])],
          w: 8,
        }),
      ),
      errorTable({
        title: 'Errors of this store by group, most frequent first',
        description: 'The 20 errors that the tills of this store reported most often in the selected range, whole hours; texts that may name a person are scrubbed. One terminal alone: look at that till. Several terminals: compare with the releases dashboard, and give the developers the fingerprint, because `tillwatch errors` prints its stack.',
        where: q.SQL_ONE_STORE,
        ofOneStore: true,
        limit: 20,
        w: 16,
        h: 8,
      }),
      g.timeseries({
        title: 'Worse than expected, times',
        description: 'How many times the odds of a bad value are, at least, what the last week of this store and the other stores lead one to expect; a value is bad over its target, as a failure or as a miss. Nothing: no measure has ten bad values, which is well. Over the line for ten minutes: PosStoreUnusual, see its runbook.',
        targets: [g.prom(`max by (metric) (store:pos_bad_odds:times{${here}})`, '{{metric}}')],
        unit: 'suffix:×',
        decimals: 1,
        thresholds: g.higherIsWorse(UNUSUAL, 'transparent'),
        showThresholds: true,
        w: 8,
      }),
      g.row('Offline, logins and losses'),
      g.timeseries({
        title: 'Business data lost, incidents so far',
        description: 'Each step is an incident in which a terminal lost business data, up to eight days ago. Any step: follow the runbook at once, and find the till in the table below.',
        targets: [g.prom(`sum(max_over_time(${q.counter('data_loss_incidents', here)}[$__rate_interval]))`, 'incidents')],
        decimals: 0,
        softMax: 4,
        overrides: [g.colour('incidents', g.POOR)],
        w: 8,
      }),
      g.timeseries({
        title: 'Transactions made offline, by minute',
        description: 'What the store sold without a network, by the outcome. Failures are lost sales: ask which till, and look at its storage.',
        targets: [g.prom(q.perMinute('offline_transactions', 'result', here), '{{result}}')],
        stack: 'normal',
        overrides: q.OUTCOMES,
        w: 8,
      }),
      g.timeseries({
        title: 'Conflicts by minute and kind',
        description: 'What could not be merged by itself when the store came back. inventory_shortage: oversold while offline; duplicate_transaction: a till sent a sale twice; price_change: its price list was old.',
        targets: [g.prom(q.perMinute('conflicts', 'kind', here), '{{kind}}')],
        stack: 'normal',
        overrides: g.hues(metric('conflicts').label.values),
        w: 8,
      }),
      g.timeseries({
        title: 'From reconnecting to synchronised',
        description: `How long tills take to catch up, with the limit of ${q.inWords('reconnect_to_synced_ms', thresholds('reconnect_to_synced_ms')[0])}; dashed: reconnections by minute. Over it with a short queue: the line; with a long one: the outage was long.`,
        targets: [...q.percentiles('reconnect_to_synced_ms', [0.5, 0.95], here), q.sampleRate('reconnect_to_synced_ms', here)],
        unit: 'dthms',
        thresholds: g.higherIsWorse(thresholds('reconnect_to_synced_ms'), 'transparent'),
        showThresholds: true,
        overrides: [g.samplesAxis()],
        w: 8,
      }),
      g.timeseries({
        title: 'Offline logins by minute',
        description: 'Logins without a network, by their outcome; they arrive when the till is back. Failures lock cashiers out: has the till been online since the last change of accounts?',
        targets: [g.prom(q.perMinute('offline_logins', 'result', here), '{{result}}')],
        stack: 'normal',
        overrides: q.OUTCOMES,
        w: 8,
      }),
      g.timeseries({
        title: 'Refused logins in five minutes',
        description: 'A few are mistyped passwords. Over the line: somebody is trying, or a till repeats a wrong password by itself. Call the store.',
        targets: [g.prom(`sum(increase(${q.counter('login_failures', here)}[5m]))`, 'refused')],
        thresholds: g.higherIsWorse(LOGIN_BURST, 'transparent'),
        showThresholds: true,
        overrides: [g.colour('refused', g.HUES[1])],
        w: 8,
      }),
      g.timeseries({
        title: 'Errors of all operations',
        description: 'Errors over cache requests, synchronisations, offline logins and offline transactions. Over the limit: their kind stands above, and which release runs here on the releases dashboard.',
        targets: [g.prom(q.errorRatio(here), 'errors')],
        unit: 'percentunit',
        decimals: 2,
        thresholds: g.higherIsWorse(ratios('errors', 'over'), 'transparent'),
        showThresholds: true,
        overrides: [g.colour('errors', g.HUES[3])],
        w: 8,
      }),
      g.timeseries({
        title: 'Browser storage, worst till',
        description: 'Share of the browser\'s quota that the fullest till uses. Near the limit a till can lose transactions: synchronise it, then clear its old data.',
        targets: [g.prom(`max(${g.series('pos_storage_used_ratio', here, 'stat="max"')})`, 'of the quota')],
        unit: 'percentunit',
        max: 1,
        thresholds: g.higherIsWorse(thresholds('storage_used_ratio'), 'transparent'),
        showThresholds: true,
        overrides: [g.colour('of the quota', g.HUES[2])],
        w: 8,
      }),
      g.timeseries({
        title: 'Updates of the service worker, so far',
        description: 'Updates by their outcome; a till updates when a release comes. A failure leaves the till on its old release: is there room in its storage, and does its line last?',
        targets: [g.prom(`sum by (result) (max_over_time(${q.counter('worker_updates', here)}[$__rate_interval]))`, '{{result}}')],
        decimals: 0,
        stack: 'normal',
        overrides: q.OUTCOMES,
        w: 8,
      }),
      windowPanel('Wait in the queue', 'queue_wait_ms', ['0.5', '0.95'], 'How long transactions waited on their tills before they were synchronised, with the limit of an hour. High for hours: the store starves, see its line and what is given up.', { unit: 'dthms' }),
      g.timeseries({
        title: 'Transactions tried again, by minute',
        description: 'Tries that followed a failed one. Many without failed synchronisations: single transactions are refused, see which are given up.',
        targets: [g.prom(`60 * sum(rate(${q.counter('sync_retries', here)}[$__rate_interval]))`, 'retries')],
        overrides: [g.colour('retries', g.HUES[1])],
        w: 8,
      }),
      g.timeseries({
        title: 'Transactions given up after ten tries, so far',
        description: 'Each step is a transaction that only a person can bring to the back office, by what its last try failed with. Any step: find the terminal, and follow the runbook of PosStoreDeadLetters.',
        targets: [g.prom(`sum by (reason) (max_over_time(${q.counter('sync_dead_letters', here)}[$__rate_interval]))`, '{{reason}}')],
        decimals: 0,
        softMax: 4,
        stack: 'normal',
        overrides: g.hues(metric('sync_dead_letters').label.values),
        w: 8,
      }),
      g.timeseries({
        title: 'How long terminals were offline',
        description: 'Percentiles of the outages that ended, with the warning at 24 hours and the limit of seven days; dashed: outages by minute. Who is still away is not in it: see the silent terminals.',
        targets: [...q.percentiles('offline_duration_ms', [0.5, 0.95], here), q.sampleRate('offline_duration_ms', here)],
        unit: 'dthms',
        thresholds: g.higherIsWorse(thresholds('offline_duration_ms'), 'transparent'),
        showThresholds: true,
        overrides: [g.samplesAxis()],
        w: 8,
      }),
      g.row('Losses'),
      g.column(
        g.stat({
          title: 'Batches missing',
          description: 'Batches of measurements that tills have numbered and the collector does not have; they may still come for nine days. A few are on their way. If the number stays for hours, find the till with `tillwatch losses` and get it online.',
          targets: [g.prom(`sum(${g.series('pos_sdk_batches_missing', here)})`, 'may still come')],
          decimals: 0,
          spark: false,
          w: 8,
          h: 4,
        }),
        g.timeseries({
          title: 'Batches lost and explained, so far',
          description: 'Lost batches were missing for nine days or fell too far behind, and nobody knows why; explained ones their till had to drop, and it said so. If lost steps up, ask the shop what happened to its tills, and follow the runbook of PosStoreBatchesLost. If explained steps up, read the reason in the table beside.',
          targets: ['lost', 'explained'].map((what) => g.prom(`sum(max_over_time(${g.series(`pos_sdk_batches_${what}_total`, here)}[$__rate_interval]))`, what)),
          decimals: 0,
          softMax: 4,
          overrides: [g.colour('lost', g.POOR), g.colour('explained', g.HUES[0])],
          w: 8,
          h: 6,
        }),
      ),
      g.table({
        title: 'Ledger of losses, latest first',
        description: 'What became of numbers that were missing in the queue of a till. The batches of a closed gap have all come, and nothing is to do. Explained ones the till dropped: for quota or age get it online more often, for too_large or refused tell the developers. Lost ones will not come any more: ask the shop what happened to that till. What is still missing is not in the table, `tillwatch losses` lists it.',
        targets: [
          g.sql(
            `
            SELECT formatDateTime(ended_at, '%m-%d %H:%i') AS "Ended", terminal_id AS "Terminal", state AS "State", reason AS "Reason",
              if(${NO_NUMBER}, NULL, from_seq) AS "From number", if(${NO_NUMBER}, NULL, to_seq) AS "To number", batches AS "Batches", samples AS "Samples", open_s AS "Open for"
            FROM v_loss
            WHERE ${q.SQL_ONE_STORE} AND $__timeFilter(ended_at)
            ORDER BY ended_at DESC, terminal_id, from_seq LIMIT 100`,
            'table',
          ),
        ],
        columns: [
          g.override('Terminal', { links: [terminalLink] }),
          ...['From number', 'To number'].map((name) => g.plainColumn(name, 'none', { decimals: 0 })),
          ...['Batches', 'Samples'].map((name) => g.plainColumn(name, 'short')),
          g.plainColumn('Open for', 'dthms'),
        ],
        timeFrom: '7d',
        w: 16,
        h: 10,
      }),
      g.row('Tills', { needs: 'terminals' }),
      g.table({
        title: 'Terminals, slowest synchronisation first',
        description: 'Averages and maxima of each till; averages have the colours, because one moment is no trouble. One till out of line: look at its hardware or its place in the shop. Click it for its history.',
        needs: 'terminals',
        targets: [
          g.sql(
            `
            SELECT terminal_id AS "Terminal",
              sumIf(sum_wire, metric = 'sync_duration_ms') / sumIf(count, metric = 'sync_duration_ms') / 1000 AS "Sync average",
              maxIf(max_wire, metric = 'sync_duration_ms') / 1000 AS "Sync longest",
              sumIf(over_high, metric = 'sync_duration_ms') / sumIf(count, metric = 'sync_duration_ms') AS "Sync critical share",
              sumIf(sum_wire, metric = 'network_latency_ms') / sumIf(count, metric = 'network_latency_ms') / 1000 AS "Network average",
              sumIf(sum_wire, metric = 'memory_used_mb') / sumIf(count, metric = 'memory_used_mb') * 1000000 AS "Memory average",
              maxIf(max_wire, metric = 'memory_used_mb') * 1000000 AS "Memory max",
              maxIf(max_wire, metric = 'pending_transactions') AS "Pending max",
              sumIf(sum_wire, metric = 'errors') AS "Errors",
              formatDateTime(max(hour_start), '%m-%d %H:%i') AS "Last hour with data"
            FROM v_rollup_terminal_1h
            WHERE source = 'rum' AND ${q.SQL_ONE_STORE} AND $__timeFilter(hour_start)
            GROUP BY terminal_id ORDER BY "Sync average" DESC`,
            'table',
          ),
        ],
        columns: [
          g.override('Terminal', { links: [terminalLink] }),
          g.healthColumn('Sync average', 's', g.higherIsWorse(thresholds('sync_duration_ms'))),
          g.plainColumn('Sync longest', 's'),
          g.plainColumn('Sync critical share', 'percentunit', { decimals: 2 }),
          g.healthColumn('Network average', 's', g.higherIsWorse(thresholds('network_latency_ms'))),
          g.healthColumn('Memory average', 'decbytes', g.higherIsWorse(thresholds('memory_used_mb'))),
          g.plainColumn('Memory max', 'decbytes'),
          g.healthColumn('Pending max', 'short', g.higherIsWorse(thresholds('pending_transactions'))),
          g.plainColumn('Errors', 'short'),
          g.override('Last hour with data', { 'custom.align': 'right' }),
        ],
        timeFrom: '24h',
        h: 12,
      }),
      ...ownRow(q.SQL_ONE_STORE),
      ...probeRow(q.ONE_STORE),
      g.row('Reports that pages have summed up themselves'),
      g.timeseries({
        title: 'Reports, by minute',
        description: 'Clients that send averages and percentiles instead of histograms. Whoever wants percentiles of the store lets them send histograms (docs/doors.md).',
        targets: [g.prom(`60 * sum(rate(${q.counter('summaries', here)}[$__rate_interval]))`, 'reports')],
        overrides: g.hues(['reports']),
        w: 8,
      }),
      g.table({
        title: 'What the reports say, newest first',
        description: 'Counts, averages and extremes of a minute in the unit of the metric. The percentiles are those of single reports: the greatest 95th of a minute is shown as what one page has said, and is no percentile of the store.',
        targets: [
          g.sql(
            `
            SELECT formatDateTime(minute, '%m-%d %H:%i') AS "Minute", metric AS "Metric", sum(count) AS "Values",
              sum(sum) / sum(count) AS "Average", min(min) AS "Least", max(max) AS "Greatest",
              arrayMax(groupArrayArray(reports.p95)) AS "Greatest p95 of a report"
            FROM v_summary_1m
            WHERE ${q.SQL_ONE_STORE} AND $__timeFilter(minute)
            GROUP BY minute, metric ORDER BY minute DESC, metric LIMIT 500`,
            'table',
          ),
        ],
        columns: ['Values', 'Average', 'Least', 'Greatest', 'Greatest p95 of a report'].map((name) => g.plainColumn(name, 'short')),
        timeFrom: '24h',
        w: 16,
      }),
      g.row('Seven days'),
      g.timeseries({
        title: 'Sync p95 against the fleet',
        description: 'This store beside all stores, by hour, late data included. The distance between the lines tells whether the store is special or the day was.',
        targets: [
          g.sql(`
            SELECT time, toNullable(tillwatch_bucket_value_v1(mine[1]) / 1000000) AS "this store", toNullable(tillwatch_bucket_value_v1(everyone[1]) / 1000000) AS "fleet"
            FROM (
              SELECT toStartOfHour(${q.history().time}) AS time,
                quantilesExactWeightedArrayIf(0.95)(hist.1, hist.2, ${q.SQL_ONE_STORE}) AS mine,
                quantilesExactWeightedArray(0.95)(hist.1, hist.2) AS everyone
              FROM ${q.history().view}
              WHERE metric = 'sync_duration_ms' AND source = 'rum' AND $__timeFilter(${q.history().time})
              GROUP BY time
              HAVING countIf(${q.SQL_ONE_STORE}) > 0
            )
            ${q.BY_HOUR}`),
        ],
        unit: 's',
        thresholds: g.higherIsWorse(thresholds('sync_duration_ms'), 'transparent'),
        showThresholds: true,
        overrides: [g.colour('this store', g.HUES[1]), g.colour('fleet', g.HUES[4])],
        timeFrom: '7d',
        w: 8,
      }),
      g.timeseries({
        title: 'LCP health',
        description: 'Share of page views of this store that were good, needed improvement or were poor, exact counts by six hours. Red growing for days: its line or its hardware.',
        targets: [q.sqlHealthDays('lcp_ms', q.SQL_ONE_STORE)],
        unit: 'percentunit',
        stack: 'normal',
        max: 1,
        overrides: g.healthColours,
        timeFrom: '7d',
        w: 8,
      }),
      g.timeseries({
        title: 'Samples by connection and hour',
        description: 'How connected the store was: every sample says how its terminal was connected when it was measured. Offline hours fill in when the terminals are back.',
        targets: [
          g.sql(`
            SELECT toStartOfHour(${q.history().time}) AS time,
              ${CONNECTIONS.map((one) => `sumIf(count, connection = '${one}') AS "${one}"`).join(',\n              ')}
            FROM ${q.history().view}
            WHERE metric IN ('lcp_ms', 'inp_ms', 'idb_write_ms') AND source = 'rum' AND ${q.SQL_ONE_STORE} AND $__timeFilter(${q.history().time})
            GROUP BY time ${q.BY_HOUR}`),
        ],
        stack: 'normal',
        draw: 'bars',
        unit: 'sishort',
        overrides: g.hues(CONNECTIONS),
        timeFrom: '7d',
        w: 8,
      }),
    ],
  });
