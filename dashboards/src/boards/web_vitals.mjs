// How pages feel: the web vitals against the limits of web-vitals, by store and over a week.

import { metric, thresholds } from '../catalogue.mjs';
import * as g from '../grafana.mjs';
import * as q from '../queries.mjs';

const VITALS = [
  ['LCP', 'lcp_ms', 'Largest Contentful Paint: when the main content is on the screen. Poor: look at the network, at images, at the service worker\'s cache.'],
  ['INP', 'inp_ms', 'Interaction to Next Paint: how long a touch waits for its effect. Poor: long scripts or too little memory; compare releases.'],
  ['CLS', 'cls_score', 'Cumulative Layout Shift: how much the page moves under the finger. Poor: content without reserved space; it changes with releases only.'],
  ['FCP', 'fcp_ms', 'First Contentful Paint: when anything is on the screen. Whole fleet only.'],
  ['TTFB', 'ttfb_ms', 'Time To First Byte. Poor: the back office or the line, not the page. Whole fleet only.'],
];
const CORE = VITALS.slice(0, 3);
const unitOf = (name) => (metric(name).unit === 'ms' ? 's' : 'none');
const p75 = (name) => (metric(name).per_store ? q.quantile(0.75, name, q.STORES) : q.quantileOfReleases(0.75, name));
const samples = (name) => (metric(name).per_store ? g.series(`${metric(name).prometheus}_count`, q.STORES) : g.series(`${metric(name).prometheus}_count`));
const spoken = (name) => thresholds(name).map((value) => q.inWords(name, value)).join(' and ');
const storeLink = {
  title: 'Open ${__value.text}',
  url: '/d/tillwatch-store?var-store_id=${__value.raw}&${__url_time_range}',
  targetBlank: false,
};
const byStore = (expression) => g.prom(expression, '', { instant: true, format: 'table' });

export default () =>
  g.dashboard({
    uid: 'tillwatch-web-vitals',
    title: 'Web vitals',
    description: 'Judged at the 75th percentile, as web-vitals does. Pick stores above; FCP and TTFB are kept for the whole fleet.',
    variables: [...g.targetVariables('pos_store_last_report_timestamp_seconds'), g.storeVariable(true)],
    panels: [
      ...VITALS.map(([short, name, description], at) =>
        g.stat({
          title: `${short} p75`,
          description: `${description} Limits ${spoken(name)}.`,
          targets: [g.prom(p75(name), metric(name).per_store ? 'selected stores' : 'all stores')],
          unit: unitOf(name),
          ...(name === 'cls_score' ? { decimals: 3 } : {}),
          thresholds: g.higherIsWorse(thresholds(name)),
          w: [5, 5, 5, 5, 4][at],
          h: 5,
        }),
      ),
      ...VITALS.map(([short, name], at) =>
        g.stat({
          title: `${short} samples`,
          description: `Measurements behind ${short} in the selected range. Under a few hundred a percentile moves by chance.`,
          targets: [g.prom(`sum(increase(${samples(name)}[$__range]))`, 'in range', { instant: true })],
          decimals: 1,
          spark: false,
          w: [5, 5, 5, 5, 4][at],
          h: 3,
        }),
      ),
      g.row('Shares'),
      ...CORE.map(([short, name]) =>
        g.timeseries({
          title: `${short}: good, needs improvement, poor`,
          description: `Share of page views, exact because ${spoken(name)} are bounds of the buckets. A vital is good when the green part is over three quarters.`,
          targets: q.healthShares(name, q.STORES),
          unit: 'percentunit',
          stack: 'normal',
          max: 1,
          overrides: g.healthColours,
          w: 8,
        }),
      ),
      g.row('Trend'),
      ...CORE.map(([short, name]) =>
        g.timeseries({
          title: `${short} over time`,
          description: `p75 decides. Dashed: samples by minute. Buckets end at ${q.inWords(name, metric(name).bounds.at(-1))}: a line there means that or more; the panels of seven days are exact.`,
          targets: [...q.percentiles(name, [0.5, 0.75], q.STORES), q.sampleRate(name, q.STORES)],
          unit: unitOf(name),
          thresholds: g.higherIsWorse(thresholds(name), 'transparent'),
          showThresholds: true,
          overrides: [g.samplesAxis()],
          w: 8,
        }),
      ),
      g.timeseries({
        title: 'Long animation frames, by minute and store',
        description: 'Frames that kept a page busy for over 50 ms; a touch in between waits. A store that rises alone: its tills are slow or short of memory. All at once: a release, compare its scripts.',
        targets: [g.prom(`topk(7, sum by (store_id) (rate(${q.counter('long_animation_frames', q.STORES)}[$__rate_interval])) * 60)`, '{{store_id}}')],
        w: 24,
        h: 6,
      }),
      g.row('By store and release'),
      g.table({
        title: 'Stores, slowest LCP first',
        description: 'Exact p75 of the last five minutes and the samples behind it. One store poor in all three: its hardware or its line. Click it.',
        targets: [
          byStore(`max by (store_id) (${q.windowOf('lcp_ms', '0.75', q.STORES)})`),
          byStore(`max by (store_id) (${q.windowOf('inp_ms', '0.75', q.STORES)})`),
          byStore(`max by (store_id) (${q.windowOf('cls_score', '0.75', q.STORES)})`),
          byStore(`sum by (store_id) (${q.windowSamples('lcp_ms', q.STORES)})`),
        ],
        transformations: g.joined('store_id', 'Store', ['LCP p75', 'INP p75', 'CLS p75', 'LCP samples']),
        columns: [
          g.override('Store', { links: [storeLink] }),
          g.healthColumn('LCP p75', 's', g.higherIsWorse(thresholds('lcp_ms'))),
          g.healthColumn('INP p75', 's', g.higherIsWorse(thresholds('inp_ms'))),
          g.healthColumn('CLS p75', 'none', g.higherIsWorse(thresholds('cls_score')), { decimals: 3 }),
          g.plainColumn('LCP samples', 'short'),
        ],
        sortBy: 'LCP p75',
        w: 14,
        h: 12,
      }),
      g.column(
        ...CORE.map(([short, name]) =>
          g.barGauge({
            title: `${short} p75 by release`,
            description: 'Exact, from ClickHouse, over the selected range. A new release beyond a limit that the old one kept: hold the rollout, see the releases dashboard.',
            targets: [
              g.sql(
                `
                SELECT release, tillwatch_bucket_value_v1(quantilesExactWeightedArray(0.75)(hist.1, hist.2)[1]) / ${q.baseUnits(name)} AS p75
                FROM v_rollup_1m
                WHERE metric = '${name}' AND source = 'rum' AND $__timeFilter(window_start) AND ${q.SQL_STORES}
                GROUP BY release ORDER BY sum(count) DESC LIMIT 4`,
                'table',
              ),
            ],
            rows: true,
            unit: unitOf(name),
            ...(name === 'cls_score' ? { decimals: 3 } : {}),
            thresholds: g.higherIsWorse(thresholds(name)),
            w: 10,
            h: 4,
          }),
        ),
      ),
      g.row('Seven days'),
      ...CORE.map(([short, name]) =>
        g.timeseries({
          title: `${short} by hour`,
          description: 'From ClickHouse, late data included, with the samples behind each hour. p75 decides. A step that stays: what was rolled out that day? A daily wave: the busiest hours are slow, look at the line and the hardware.',
          targets: [q.sqlTrend(name, [0.75, 0.95], { where: q.SQL_STORES })],
          unit: unitOf(name),
          thresholds: g.higherIsWorse(thresholds(name), 'transparent'),
          showThresholds: true,
          overrides: [g.samplesAxis()],
          timeFrom: '7d',
          w: 8,
        }),
      ),
    ],
  });
