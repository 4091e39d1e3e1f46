// One till, from ClickHouse: Prometheus never has a label per terminal.

import { metric, thresholds } from '../catalogue.mjs';
import * as g from '../grafana.mjs';
import { MEMORY_TARGETS } from '../limits.mjs';
import * as q from '../queries.mjs';
import { AVAILABLE } from '../upcoming.mjs';

const TILL = `${q.SQL_ONE_STORE} AND terminal_id = '\${terminal_id}'`;
const WHERE = `source = 'rum' AND ${TILL} AND $__timeFilter(hour_start)`;

/** Hours of one metric of this till. `columns` are SQL expressions with their names. */
const hours = (name, columns) =>
  g.sql(`
    SELECT toStartOfHour(hour_start) AS time, ${columns}
    FROM v_rollup_terminal_1h
    WHERE metric = '${name}' AND ${WHERE}
    GROUP BY time ${q.BY_HOUR}`);
const headline = (title, name, expression, description, extra) =>
  g.stat({
    title,
    description,
    needs: 'terminals',
    targets: [g.sql(`SELECT ${expression} AS "over the range" FROM v_rollup_terminal_1h WHERE metric = '${name}' AND ${WHERE} HAVING sum(count) > 0`, 'table')],
    spark: false,
    w: 4,
    ...extra,
  });
const timed = (title, name, columns, description, extra = {}) =>
  g.timeseries({ title, description, needs: 'terminals', targets: [hours(name, columns)], w: 8, points: 'auto', ...extra });
const limits = (name) => ({ thresholds: g.higherIsWorse(thresholds(name), 'transparent'), showThresholds: true });
const memory = { thresholds: g.targets(MEMORY_TARGETS, thresholds('memory_used_mb')[0]), showThresholds: true };
const averageAndLongest = [g.colour('average', g.HUES[0]), g.colour('longest', g.HUES[1]), g.colour('greatest', g.HUES[1]), g.samplesAxis()];
const durations = 'toNullable(sum(sum_wire) / sum(count) / 1000) AS average, toNullable(max(max_wire) / 1000) AS longest, sum(count) AS samples';
const KINDS = metric('errors').label.values;
const here = q.ONE_STORE;
const ofADay = (what) => `sum(increase(${g.series(`pos_sdk_batches_${what}_total`, here)}[1d]))`;

export default () =>
  g.dashboard({
    uid: 'tillwatch-terminal',
    title: 'Terminal',
    description: AVAILABLE.terminals
      ? 'One till over days, late data in the hours it belongs to. Averages and maxima: percentiles of a single till would rest on too few samples.'
      : 'The tills of one store together, with the worst of them.',
    from: 'now-7d',
    refresh: '5m',
    variables: [
      ...g.targetVariables('pos_store_last_report_timestamp_seconds'),
      g.storeVariable(false),
      ...(AVAILABLE.terminals
        ? [g.sqlVariable('terminal_id', 'Terminal', `SELECT DISTINCT terminal_id FROM v_rollup_terminal_1h WHERE ${q.SQL_ONE_STORE} AND hour_start >= now() - INTERVAL 8 DAY ORDER BY terminal_id`)]
        : []),
    ],
    panels: [
      headline('Sync average', 'sync_duration_ms', 'sum(sum_wire) / sum(count) / 1000', 'Average time of a synchronisation in the selected range. Compare with the store: one till alone points at its hardware or its place.', {
        unit: 's',
        thresholds: g.higherIsWorse(thresholds('sync_duration_ms')),
      }),
      headline('Syncs over the limit', 'sync_duration_ms', 'sum(over_high) / sum(count)', 'Share of synchronisations over the critical limit of the catalogue. More than its neighbours have: exchange the till\'s cable or move its radio.', {
        unit: 'percentunit',
        decimals: 2,
        thresholds: g.higherIsWorse([0.01, 0.05]),
      }),
      headline('Network average', 'network_latency_ms', 'sum(sum_wire) / sum(count) / 1000', 'Average round trip to the back office. A till slower than its neighbours: its cable or its radio; as slow as they are: the store\'s line.', {
        unit: 's',
        thresholds: g.higherIsWorse(thresholds('network_latency_ms')),
      }),
      headline('Memory, maximum', 'memory_used_mb', 'max(max_wire) * 1000000', 'Most memory in the selected range. Over the limit: reload the till between customers; over it every day: look for what its cashiers do that others do not.', {
        unit: 'decbytes',
        thresholds: g.higherIsWorse(thresholds('memory_used_mb')),
      }),
      headline('Longest queue', 'pending_transactions', 'max(max_wire)', 'Most transactions that waited on this till. Near the limit it stops selling offline: was it cut off, or does it not synchronise? See by hour below.', {
        thresholds: g.higherIsWorse(thresholds('pending_transactions')),
        decimals: 0,
      }),
      headline('Errors', 'errors', 'sum(sum_wire)', 'Errors of the application in the selected range. Many on this till alone: its browser or its hardware; see which kind below.', { decimals: 0 }),
      timed('Synchronisation by hour', 'sync_duration_ms', durations, 'Average and longest synchronisation of each hour, with the number of samples. The longest alone high: one hang; the average with it: the line or the till.', {
        unit: 's',
        ...limits('sync_duration_ms'),
        overrides: averageAndLongest,
      }),
      timed('Network latency by hour', 'network_latency_ms', durations, 'Average and longest round trip of each hour. Holes are nights, or the till was off or offline. High at the same hours each day: the line is shared.', {
        unit: 's',
        ...limits('network_latency_ms'),
        overrides: averageAndLongest,
      }),
      timed('Offline login by hour', 'offline_login_duration_ms', durations.replace('sum(count) AS samples', 'toNullable(sum(count)) AS samples'), 'Logins while the till was offline. Holes are good: it was online. Points over the limit: its storage is slow, clear the browser\'s data after a synchronisation.', {
        unit: 's',
        ...limits('offline_login_duration_ms'),
        overrides: averageAndLongest,
        points: 'always',
      }),
      timed('Memory by hour', 'memory_used_mb', 'toNullable(sum(sum_wire) / sum(count) * 1000000) AS average, toNullable(max(max_wire) * 1000000) AS greatest', 'Rises through the day and falls with a reload. Lines: the targets (30, 35, 45 and 50 MB) and the limit. Only rising over days: a leak; note the release and tell the developers.', {
        unit: 'decbytes',
        ...memory,
        overrides: averageAndLongest,
      }),
      timed('Transactions waiting by hour', 'pending_transactions', 'toNullable(max(max_wire)) AS greatest', 'The longest queue of each hour, with warning and limit. A ramp: offline; the fall: it caught up.', {
        decimals: 0,
        ...limits('pending_transactions'),
        overrides: averageAndLongest,
      }),
      g.timeseries({
        title: 'Errors by hour and kind',
        description: 'What went wrong on this till. network: its line; storage_quota: clear the browser\'s data; script: tell the developers which release it ran.',
        needs: 'terminals',
        targets: [
          g.sql(`
            SELECT toStartOfHour(hour_start) AS time,
              ${KINDS.map((kind) => `sumIf(sum_wire, label = '${kind}') AS "${kind}"`).join(', ')}
            FROM v_rollup_terminal_1h WHERE metric = 'errors' AND ${WHERE}
            GROUP BY time ${q.BY_HOUR}`),
        ],
        overrides: g.hues(KINDS),
        stack: 'normal',
        draw: 'bars',
        w: 8,
      }),
      g.table({
        title: 'Sessions of the store, by day',
        description: 'Cashiers\' sessions under pseudonyms that change every day. A slow session among fast ones: look at the till it was on.',
        needs: 'sessions',
        targets: [
          g.sql(
            `
            SELECT toString(day) AS "Day", substring(pseudonym, 1, 8) AS "Session", syncs AS "Syncs", sync_avg_ms / 1000 AS "Sync average",
              lcp_avg_ms / 1000 AS "LCP average", offline_login_avg_ms / 1000 AS "Offline login average", db_size_max_mb * 1000000 AS "Largest database", error_ratio AS "Errors per sample"
            FROM v_session
            WHERE ${q.SQL_ONE_STORE} AND day >= toDate($__fromTime) AND day <= toDate($__toTime)
            ORDER BY day DESC, sync_avg_ms DESC LIMIT 50`,
            'table',
          ),
        ],
        columns: [
          g.healthColumn('Sync average', 's', g.higherIsWorse(thresholds('sync_duration_ms'))),
          g.healthColumn('LCP average', 's', g.higherIsWorse(thresholds('lcp_ms'))),
          g.healthColumn('Offline login average', 's', g.higherIsWorse(thresholds('offline_login_duration_ms'))),
          g.plainColumn('Largest database', 'decbytes'),
          g.plainColumn('Errors per sample', 'percentunit', { decimals: 2 }),
          g.plainColumn('Syncs', 'short'),
        ],
        h: 9,
      }),
      g.row('All tills of the store'),
      g.stat({
        title: 'Terminals reporting',
        description: 'Terminals of the store that posted in the last ten minutes. Fewer than tills in use: ask the store which one is off.',
        targets: [g.prom(`sum(${g.series('pos_terminals_reporting', here)})`, 'now', { instant: true })],
        decimals: 0,
        spark: false,
        w: 4,
      }),
      g.stat({
        title: 'Over the memory limit',
        description: 'Terminals of the store that use more memory than the limit. Reload them between customers; all at once: the release.',
        targets: [g.prom(`sum(${g.series('pos_terminals_over_limit', here, 'metric="memory_used_mb"')})`, 'now', { instant: true })],
        thresholds: g.anyIsFair,
        decimals: 0,
        spark: false,
        w: 4,
      }),
      g.stat({
        title: 'Over the queue limit',
        description: 'Terminals of the store with more transactions waiting than the first limit. Get them online before they stop selling.',
        targets: [g.prom(`sum(${g.series('pos_terminals_over_limit', here, 'metric="pending_transactions"')})`, 'now', { instant: true })],
        thresholds: g.anyIsFair,
        decimals: 0,
        spark: false,
        w: 4,
      }),
      g.stat({
        title: 'Memory, worst till',
        description: 'The terminal of the store that uses most memory now. Over the limit: reload it between customers.',
        targets: [g.prom(`max(${g.series('pos_terminal_memory_bytes', here, 'stat="max"')})`, 'now', { instant: true })],
        unit: 'decbytes',
        thresholds: g.higherIsWorse(thresholds('memory_used_mb')),
        spark: false,
        w: 4,
      }),
      g.stat({
        title: 'IndexedDB, worst till',
        description: 'The largest database of the store\'s terminals. It grows with what waits; if it does not shrink after a synchronisation, old records are not cleaned up.',
        targets: [g.prom(`max(${g.series('pos_indexeddb_size_bytes', here, 'stat="max"')})`, 'now', { instant: true })],
        unit: 'decbytes',
        spark: false,
        w: 4,
      }),
      g.stat({
        title: 'Storage used, worst till',
        description: 'Share of the browser\'s quota in use. Over the limit the browser may refuse to store sales: clean up.',
        targets: [g.prom(`max(${g.series('pos_storage_used_ratio', here, 'stat="max"')})`, 'of the quota', { instant: true })],
        unit: 'percentunit',
        thresholds: g.higherIsWorse(thresholds('storage_used_ratio')),
        spark: false,
        w: 4,
      }),
      g.timeseries({
        title: 'Samples of the store by hour, connected and offline',
        description: 'What the tills of the store measured in each hour, and what of it without a network: that arrived later and stands where it belongs. A tall offline part: an outage, ask the provider. A hole in opening hours: tills that have not come back, look at them.',
        targets: [
          g.sql(`
            SELECT toStartOfHour(${q.history().time}) AS time,
              sumIf(count, connection != 'offline') AS connected,
              sumIf(count, connection = 'offline') AS offline
            FROM ${q.history().view}
            WHERE metric IN ('idb_write_ms', 'product_search_ms') AND source = 'rum' AND ${q.SQL_ONE_STORE} AND $__timeFilter(${q.history().time})
            GROUP BY time ${q.BY_HOUR}`),
        ],
        draw: 'bars',
        stack: 'normal',
        unit: 'sishort',
        overrides: [g.colour('connected', g.HUES[0]), g.colour('offline', g.HUES[3])],
        w: 12,
      }),
      g.timeseries({
        title: 'Memory of the store\'s tills by hour',
        description: 'Average and greatest memory of all tills of the store. The greatest far above the average: one till; both rising for days: a leak in the release.',
        targets: [
          g.sql(`
            SELECT toStartOfHour(${q.history().time}) AS time, toNullable(sum(sum_wire) / sum(count) * 1000000) AS average, toNullable(max(max_wire) * 1000000) AS greatest
            FROM ${q.history().view}
            WHERE metric = 'memory_used_mb' AND source = 'rum' AND ${q.SQL_ONE_STORE} AND $__timeFilter(${q.history().time})
            GROUP BY time ${q.BY_HOUR}`),
        ],
        unit: 'decbytes',
        ...memory,
        overrides: [g.colour('average', g.HUES[0]), g.colour('greatest', g.HUES[1])],
        w: 12,
      }),
      g.row('What did not arrive from the store, or with the wrong time, and what its tills reported'),
      g.timeseries({
        title: 'Samples the tills had to drop, by minute',
        description: 'quota: the browser\'s storage was full, clear old data; age: offline too long; too_large, refused: a fault of SDK or collector, tell the developers. Percentiles miss these samples.',
        targets: [g.prom(q.perMinute('dropped_samples', 'reason', here), '{{reason}}')],
        stack: 'normal',
        overrides: g.hues(metric('dropped_samples').label.values),
        w: 6,
      }),
      g.timeseries({
        title: 'Batches given up as lost, share of a day',
        description: 'Batches that were missing for nine days, of all that the store sent in a day. It tells of last week: was a till exchanged or its browser cleared before it had delivered?',
        targets: [g.prom(`${ofADay('lost')} / (${ofADay('received')} + ${ofADay('lost')})`, 'lost')],
        unit: 'percentunit',
        decimals: 2,
        softMax: 0.01,
        overrides: [g.colour('lost', g.POOR)],
        w: 6,
      }),
      g.timeseries({
        title: 'Batches from wrong clocks',
        description: 'Share of the store\'s batches whose till\'s clock was off by more than a minute, and by more than five. Times are corrected on arrival, but receipts are wrong: set the till\'s clock, or turn its time service on.',
        targets: [[60, 'over a minute'], [300, 'over 5 minutes']].map(([bound, name]) => g.prom(q.clocksOff(bound, here), name)),
        unit: 'percentunit',
        softMax: 0.01,
        overrides: g.hues(['over a minute', 'over 5 minutes']),
        w: 6,
      }),
      g.timeseries({
        title: 'What the tills reported, by minute',
        description: 'Events that are no errors. offline and online: the line comes and goes; shutdown: the tills were closed; battery: a till runs without mains; custom: what the application names, by name in v_error_group_1h.',
        targets: [g.prom(q.perMinute('events', 'kind', here), '{{kind}}')],
        stack: 'normal',
        overrides: g.hues(metric('events').label.values),
        w: 6,
      }),
    ],
  });
