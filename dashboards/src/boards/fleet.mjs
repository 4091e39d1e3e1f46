// The first look: is the fleet well, and if not, which store?

import { ratios, thresholds } from '../catalogue.mjs';
import * as g from '../grafana.mjs';
import { LIMITS_PASSED, LOGIN_BURST, PEERS, SILENT_S } from '../limits.mjs';
import { ownRow } from '../own.mjs';
import { probeRow } from '../probes.mjs';
import * as q from '../queries.mjs';

const storeLink = {
  title: 'Open ${__value.text}',
  url: '/d/tillwatch-store?var-store_id=${__value.raw}&${__url_time_range}&${prometheus_datasource:queryparam}&${clickhouse_datasource:queryparam}',
  targetBlank: false,
};
const to = (uid, title) => [{ title, url: `/d/${uid}?\${__url_time_range}`, targetBlank: false }];
const silentFor = `time() - ${g.series('pos_store_last_report_timestamp_seconds')}`;


const [syncTarget, syncCritical] = thresholds('sync_duration_ms');
const syncWindow = q.windowOf('sync_duration_ms', '0.95');
/** Stores whose p95 passes a test; none is 0, but no data stays no data. */
const storesWhere = (test) => `count(${syncWindow} ${test}) or 0 * count(${syncWindow})`;
const byStore = (expression) => g.prom(expression, '', { instant: true, format: 'table' });
const window = (name, quantile) => byStore(`max by (store_id) (${q.windowOf(name, quantile)})`);

const columns = ['Limits', 'Sync p95', 'Synced', 'Login p95', 'LCP p75', 'INP p75', 'CLS p75', 'Cache hits', 'Queue max', 'Memory', 'Terminals', 'Silent for'];
const queueMax = `max by (store_id) (${g.series('pos_pending_transactions', 'stat="max"')})`;
const memoryMax = `max by (store_id) (${g.series('pos_terminal_memory_bytes', 'stat="max"')})`;
const synced = q.ratio('sync_attempts', 'result="success"', [], { by: 'store_id', range: '$__range', fn: 'increase' });
/** How many limits each store has passed; what is not measured counts for nothing. */
const passed = () => {
  const worst = (name, quantile) => `max by (store_id) (${q.windowOf(name, quantile)})`;
  const tests = [
    ...[['sync_duration_ms', '0.95'], ['lcp_ms', '0.75'], ['inp_ms', '0.75'], ['cls_score', '0.75']].flatMap(([name, quantile]) =>
      thresholds(name).map((limit) => `${worst(name, quantile)} > bool ${limit}`),
    ),
    ...ratios('sync_attempts', 'under').map((limit) => `${synced} < bool ${limit}`),
    ...thresholds('pending_transactions').map((limit) => `${queueMax} > bool ${limit}`),
    ...thresholds('memory_used_mb').map((limit) => `${memoryMax} > bool ${limit}`),
    ...SILENT_S.map((limit) => `min by (store_id) (${silentFor}) > bool ${limit}`),
  ];
  return `sum by (store_id) (${tests.map((test, at) => `label_replace(${test}, "of", "${at}", "", "")`).join(' or ')})`;
};

export default () =>
  g.dashboard({
    uid: 'tillwatch-fleet',
    title: 'Fleet overview',
    description: 'Start here. Headlines of the whole fleet, the stores behind them, and the last seven days. Click a store to open it.',
    variables: g.targetVariables('pos_store_last_report_timestamp_seconds'),
    panels: [
      g.stat({
        title: 'Alerts firing',
        description: 'Alert rules of Prometheus that fire now, for one store or many. Above 0: read the list below, each alert has a runbook.',
        targets: [g.prom('count(count by (alertname) (ALERTS{alertstate="firing", severity!="none"})) or vector(0)', 'firing now')],
        thresholds: g.anyIsBad,
        decimals: 0,
        spark: false,
      }),
      g.stat({
        title: 'Stores silent',
        description: 'Stores that are known but have sent nothing for 15 minutes. Closed shops are silent, too: compare with the opening hours before calling.',
        targets: [g.prom(`count(${silentFor} > ${SILENT_S[1]}) or vector(0)`, 'for 15 minutes')],
        thresholds: g.anyIsFair,
        decimals: 0,
        spark: false,
      }),
      g.stat({
        title: 'Terminals silent',
        description: 'Terminals that should report by their own habit and do not, in stores that do; with sales: silent for a day, with transactions waiting in them that exist nowhere else. `tillwatch silent` names them.',
        targets: [
          g.prom(`sum(${g.series('pos_terminals_silent')})`, 'silent'),
          g.prom(`sum(${g.series('pos_terminals_silent_with_sales')})`, 'with sales'),
        ],
        thresholds: g.anyIsFair,
        decimals: 0,
        spark: false,
      }),
      g.stat({
        title: 'Data losses',
        description: 'Incidents reported in the selected range in which a terminal lost business data. Any is too many: follow the runbook at once.',
        targets: [g.prom(`sum(increase(${q.counter('data_loss_incidents')}[$__range]))`, 'incidents in range')],
        thresholds: g.anyIsBad,
        decimals: 0,
        spark: false,
      }),
      g.stat({
        title: 'Sync p95',
        description: `How long synchronisations take for 95 of 100, all stores merged. Target ${q.inWords('sync_duration_ms', syncTarget)}, critical over ${q.inWords('sync_duration_ms', syncCritical)}. If it rises everywhere, look at the back office; if in a few stores, at their network.`,
        targets: [g.prom(q.quantile(0.95, 'sync_duration_ms'), 'all stores')],
        unit: 's',
        thresholds: g.higherIsWorse(thresholds('sync_duration_ms')),
        links: to('tillwatch-sync', 'Sync and offline'),
      }),
      g.stat({
        title: 'Sync success',
        description: 'Share of synchronisation attempts that succeeded. Below the target, look at errors by kind on the sync dashboard.',
        targets: [g.prom(q.ratio('sync_attempts', 'result="success"'), 'of attempts')],
        unit: 'percentunit',
        decimals: 2,
        thresholds: g.lowerIsWorse(ratios('sync_attempts', 'under')),
        links: to('tillwatch-sync', 'Sync and offline'),
      }),
      g.stat({
        title: 'Offline login p95',
        description: 'How long a login takes while a terminal is offline, for 95 of 100, over the selected range because offline logins are rare. Over the limit cashiers wait at the till: look at IndexedDB and the release.',
        targets: [g.prom(q.quantileInRange(0.95, 'offline_login_duration_ms'), 'over the range', { instant: true })],
        unit: 's',
        spark: false,
        thresholds: g.higherIsWorse(thresholds('offline_login_duration_ms')),
        links: to('tillwatch-sync', 'Sync and offline'),
      }),
      g.stat({
        title: 'LCP p75',
        description: 'Largest Contentful Paint at the 75th percentile: good, needs improvement, poor as web-vitals defines them.',
        targets: [g.prom(q.quantile(0.75, 'lcp_ms'), 'all stores')],
        unit: 's',
        thresholds: g.higherIsWorse(thresholds('lcp_ms')),
        links: to('tillwatch-web-vitals', 'Web vitals'),
      }),
      g.stat({
        title: 'Cache hit ratio',
        description: 'Requests the service worker answered from its cache. Under the limit: was a release rolled out that changed cached files?',
        targets: [g.prom(q.ratio('cache_requests', 'result="hit"'), 'of requests')],
        unit: 'percentunit',
        decimals: 1,
        thresholds: g.lowerIsWorse(ratios('cache_requests', 'under')),
      }),
      g.timeseries({
        title: 'Sync duration, all stores',
        description: 'Percentiles of all stores merged, with target and critical limit. p95 apart from p50: a part of the stores is slow; both rising: everything is.',
        targets: [...q.percentiles('sync_duration_ms', [0.5, 0.75, 0.95]), q.sampleRate('sync_duration_ms')],
        unit: 's',
        thresholds: g.higherIsWorse(thresholds('sync_duration_ms'), 'transparent'),
        showThresholds: true,
        overrides: [g.samplesAxis()],
        w: 9,
      }),
      g.timeseries({
        title: 'Stores by sync health',
        description: 'Stores whose p95 of the last five minutes is within the target, over it, or critical. Amber and red growing together with a rollout: stop the rollout.',
        targets: [
          g.prom(storesWhere(`<= ${syncTarget}`), 'good'),
          g.prom(storesWhere(`> ${syncTarget} <= ${syncCritical}`), 'needs improvement'),
          g.prom(storesWhere(`> ${syncCritical}`), 'poor'),
        ],
        stack: 'normal',
        decimals: 0,
        overrides: g.healthColours,
        w: 8,
      }),
      g.alertList({
        title: 'Alerts',
        description: 'What fires or is about to, worst first. Begin with what pages, take one of the fleet before those of stores, and follow the runbook each links to.',
        w: 7,
        h: 8,
      }),
      g.row('Stores'),
      g.table({
        title: 'Stores, most limits passed first',
        description: 'Exact percentiles of each store over its last five minutes; red and amber are the limits of the catalogue. Limits: one for every amber cell and two for every red one; begin at the top and click the store to see it alone. Over the range: synced (attempts that succeeded), login (while offline), cache hits. Queue and memory: the worst till. A dash: nothing was measured.',
        targets: [
          byStore(passed()),
          window('sync_duration_ms', '0.95'),
          byStore(synced),
          byStore(`histogram_quantile(0.95, sum by (store_id, le) (increase(${g.series('pos_offline_login_duration_seconds_bucket')}[$__range])))`),
          window('lcp_ms', '0.75'),
          window('inp_ms', '0.75'),
          window('cls_score', '0.75'),
          byStore(q.ratio('cache_requests', 'result="hit"', [], { by: 'store_id', range: '$__range', fn: 'increase' })),
          byStore(queueMax),
          byStore(memoryMax),
          byStore(`sum by (store_id) (${g.series('pos_terminals_reporting')})`),
          byStore(`ceil(min by (store_id) (${silentFor}))`),
        ],
        transformations: g.joined('store_id', 'Store', columns),
        columns: [
          g.override('Store', { links: [storeLink], 'custom.width': 110 }),
          g.healthColumn('Limits', 'none', g.higherIsWorse(LIMITS_PASSED), { decimals: 0 }),
          g.healthColumn('Sync p95', 's', g.higherIsWorse(thresholds('sync_duration_ms'))),
          g.healthColumn('Synced', 'percentunit', g.lowerIsWorse(ratios('sync_attempts', 'under')), { decimals: 2 }),
          g.healthColumn('Login p95', 's', g.higherIsWorse(thresholds('offline_login_duration_ms'))),
          g.healthColumn('LCP p75', 's', g.higherIsWorse(thresholds('lcp_ms'))),
          g.healthColumn('INP p75', 's', g.higherIsWorse(thresholds('inp_ms'))),
          g.healthColumn('CLS p75', 'none', g.higherIsWorse(thresholds('cls_score')), { decimals: 3 }),
          g.healthColumn('Cache hits', 'percentunit', g.lowerIsWorse(ratios('cache_requests', 'under')), { decimals: 1 }),
          g.healthColumn('Queue max', 'short', g.higherIsWorse(thresholds('pending_transactions'))),
          g.healthColumn('Memory', 'decbytes', g.higherIsWorse(thresholds('memory_used_mb')), { decimals: 0 }),
          g.plainColumn('Terminals', 'short'),
          g.healthColumn('Silent for', 's', g.higherIsWorse(SILENT_S), { decimals: 0 }),
        ],
        sortBy: ['Limits', 'Sync p95'],
        w: 18,
        h: 12,
      }),
      g.column(
        g.barGauge({
          title: 'Sync p95, times the median store',
          description: 'A store at 1 is like the median store. Twice as slow for a while, with the same release, points at its network or hardware. Open it from the table.',
          targets: [
            g.prom(
              `topk(7, max by (store_id) (${syncWindow}) / scalar(quantile(0.5, max by (store_id) (${syncWindow}))))`,
              '{{store_id}}',
              { instant: true },
            ),
          ],
          unit: 'suffix:×',
          decimals: 2,
          thresholds: g.higherIsWorse(PEERS),
          w: 6,
          h: 8,
        }),
        g.barGauge({
          title: 'Silent for',
          description: 'The stores that have said nothing for longest. Amber or red in opening hours: call the store, is the line or the power down? Its tills keep up to seven days.',
          targets: [g.prom(`topk(3, ceil(min by (store_id) (${silentFor})))`, '{{store_id}}', { instant: true })],
          unit: 's',
          decimals: 0,
          thresholds: g.higherIsWorse(SILENT_S),
          max: SILENT_S[1],
          w: 6,
          h: 4,
        }),
      ),
      g.row('Logins and errors'),
      g.timeseries({
        title: 'Refused logins in five minutes, worst stores',
        description: 'Cashiers mistype a few times. A store over the line: somebody is trying, or a till is broken; call it. Many stores at once: an attack on the chain, or the accounts were changed.',
        targets: [g.prom(`topk(5, sum by (store_id) (increase(${q.counter('login_failures')}[5m])))`, '{{store_id}}')],
        thresholds: g.higherIsWorse(LOGIN_BURST, 'transparent'),
        showThresholds: true,
        w: 8,
      }),
      g.timeseries({
        title: 'Offline logins by minute',
        description: 'Logins without a network, by their outcome; they arrive when the terminal is back, up to a day late. Many failures lock cashiers out: which release, which stores? See the sync dashboard.',
        targets: [g.prom(q.perMinute('offline_logins', 'result'), '{{result}}')],
        stack: 'normal',
        overrides: q.OUTCOMES,
        w: 8,
      }),
      g.timeseries({
        title: 'Errors of all operations',
        description: 'Errors over cache requests, synchronisations, offline logins and offline transactions, all stores. Over the limit: see on the sync dashboard of which kind they are, and on the releases dashboard of which release.',
        targets: [g.prom(q.errorRatio(), 'errors')],
        unit: 'percentunit',
        decimals: 2,
        thresholds: g.higherIsWorse(ratios('errors', 'over'), 'transparent'),
        showThresholds: true,
        overrides: [g.colour('errors', g.HUES[3])],
        w: 8,
      }),
      ...probeRow(),
      g.row('Seven days'),
      g.timeseries({
        title: 'Sync duration by hour',
        description: 'From ClickHouse, late data included: every sample counts in the hour it was measured in. A daily shape is normal; compare with the same hour of the days before.',
        targets: [q.sqlTrend('sync_duration_ms', [0.5, 0.95])],
        unit: 's',
        thresholds: g.higherIsWorse(thresholds('sync_duration_ms'), 'transparent'),
        showThresholds: true,
        overrides: [g.samplesAxis()],
        timeFrom: '7d',
        w: 8,
      }),
      g.timeseries({
        title: 'Offline login by hour',
        description: 'Logins made while terminals were offline, in the hour they happened. They arrive when the terminal is back, so the last hours may still grow.',
        targets: [q.sqlTrend('offline_login_duration_ms', [0.5, 0.95])],
        unit: 's',
        thresholds: g.higherIsWorse(thresholds('offline_login_duration_ms'), 'transparent'),
        showThresholds: true,
        overrides: [g.samplesAxis()],
        timeFrom: '7d',
        w: 8,
      }),
      g.timeseries({
        title: 'LCP health',
        description: 'Share of page views that were good, needed improvement or were poor, exact counts by six hours.',
        targets: [q.sqlHealthDays('lcp_ms')],
        unit: 'percentunit',
        stack: 'normal',
        max: 1,
        overrides: g.healthColours,
        timeFrom: '7d',
        w: 8,
      }),
      ...ownRow('1'),
    ],
  });
