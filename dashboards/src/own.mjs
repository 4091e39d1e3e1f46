// The row that shows metrics which a shop has declared itself. No board can know their names, so it asks ClickHouse for
// whatever the catalogue does not have.

import { names } from './catalogue.mjs';
import * as g from './grafana.mjs';
import * as q from './queries.mjs';

/** The row, for rows of the rollups that match `where`. */
export function ownRow(where) {
  const { view, time } = q.history();
  const builtIn = names().map((name) => `'${name}'`).join(', ');
  const own = `metric NOT IN (${builtIn}) AND NOT startsWith(metric, '__') AND source = 'rum' AND ${where}`;
  return [
    g.row('Metrics of your own'),
    g.timeseries({
      title: 'Own metrics by hour',
      description: 'The 95th percentile of each hour, late data included, in the unit that the metric is named after. Counters are in the table alone. Without a line, no metric of your own is declared (docs/own_metrics.md).',
      targets: [
        g.sql(`
          SELECT time, metric, tillwatch_bucket_value_v1(p95[1]) / tillwatch_scale_v1(metric) AS p95
          FROM (
            SELECT toStartOfHour(${time}) AS time, metric, quantilesExactWeightedArray(0.95)(hist.1, hist.2) AS p95
            FROM ${view}
            WHERE ${own} AND $__timeFilter(${time})
            GROUP BY time, metric
            HAVING sum(length(hist.1)) > 0
          )
          ORDER BY time`),
      ],
      unit: 'short',
      timeFrom: '24h',
      w: 8,
    }),
    g.table({
      title: 'Own metrics of the last day',
      description: 'Each metric and label in the unit that the metric is named after. A counter has a sum and no percentiles. Samples over a threshold are counted exactly; the thresholds are those of the declaration.',
      targets: [
        g.sql(
          `
          SELECT metric AS "Metric", label AS "Label", samples AS "Samples", total AS "Sum",
            if(buckets = 0, NULL, tillwatch_bucket_value_v1(p[1]) / tillwatch_scale_v1(metric)) AS "p50",
            if(buckets = 0, NULL, tillwatch_bucket_value_v1(p[2]) / tillwatch_scale_v1(metric)) AS "p95",
            if(buckets = 0, NULL, tillwatch_bucket_value_v1(p[3]) / tillwatch_scale_v1(metric)) AS "p99", greatest AS "Greatest",
            over_first AS "Over the first threshold", over_second AS "Over the second"
          FROM (
            SELECT metric, label, sum(count) AS samples, sum(sum_wire) AS total, max(max_wire) AS greatest, sum(length(hist.1)) AS buckets,
              quantilesExactWeightedArray(0.5, 0.95, 0.99)(hist.1, hist.2) AS p,
              sum(over_low) AS over_first, sum(over_high) AS over_second
            FROM v_rollup_1m
            WHERE ${own} AND $__timeFilter(window_start)
            GROUP BY metric, label
          )
          ORDER BY metric, label LIMIT 500`,
          'table',
        ),
      ],
      columns: ['Samples', 'Sum', 'p50', 'p95', 'p99', 'Greatest', 'Over the first threshold', 'Over the second'].map((name) => g.plainColumn(name, 'short')),
      timeFrom: '24h',
      w: 16,
    }),
  ];
}
