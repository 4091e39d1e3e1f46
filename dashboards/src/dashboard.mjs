// Builders for what is around the panels: layout, variables, annotations, links, the dashboard itself.

import { CLICKHOUSE, POOR, PROMETHEUS } from './panels.mjs';
import { AVAILABLE } from './upcoming.mjs';

/** Panels above each other in one place of a line. */
export const column = (...panels) => ({
  column: panels,
  size: { w: Math.max(...panels.map(({ size }) => size.w)), h: panels.reduce((sum, { size }) => sum + size.h, 0) },
});

/** Headings that structure a dashboard. */
export const row = (title, { needs } = {}) => ({ needs, isRow: true, json: { type: 'row', title, collapsed: false, panels: [] } });

const query = (name, label, expression, extra = {}) => ({
  type: 'query',
  name,
  label,
  datasource: PROMETHEUS,
  query: { query: expression, refId: 'PrometheusVariableQueryEditor-VariableQuery', qryType: 1 },
  refresh: 2,
  sort: 1,
  multi: false,
  includeAll: false,
  options: [],
  ...extra,
});

/** The variables every dashboard has; `probe` is a series of its job. */
export function targetVariables(probe, { showInstance = false } = {}) {
  const all = { multi: true, includeAll: true, allValue: '.+', current: { text: ['All'], value: ['$__all'] } };
  const source = (name, label, type, hide) => ({ type: 'datasource', name, label, query: type, refresh: 1, hide, regex: '', multi: false, includeAll: false, options: [] });
  return [
    source('prometheus_datasource', 'Prometheus data source', 'prometheus', 0),
    source('clickhouse_datasource', 'ClickHouse data source', 'grafana-clickhouse-datasource', 0),
    query('job', 'Job', `label_values(${probe}, job)`, { ...all, hide: 2 }),
    query('instance', 'Instance', `label_values(${probe}{job=~"$job"}, instance)`, { ...all, hide: showInstance ? 0 : 2 }),
  ];
}

const SEVERAL = { multi: true, includeAll: true, allValue: '.+', current: { text: ['All'], value: ['$__all'] } };

/** The stores to show: one, or several with All. */
export const storeVariable = (multi) =>
  query('store_id', 'Store', 'label_values(pos_store_last_report_timestamp_seconds{job=~"$job", instance=~"$instance"}, store_id)', {
    hide: 0,
    ...(multi ? SEVERAL : {}),
  });

/** The releases to show beside the baseline. */
export const releaseVariable = () => query('release', 'Release', 'label_values(pos_terminals{job=~"$job", instance=~"$instance"}, release)', { hide: 0, ...SEVERAL });

/** A variable that ClickHouse fills. */
export const sqlVariable = (name, label, rawSql) => ({
  type: 'query',
  name,
  label,
  datasource: CLICKHOUSE,
  query: { editorType: 'sql', format: 1, queryType: 'table', pluginVersion: '4.20.0', rawSql, refId: 'A' },
  refresh: 2,
  sort: 1,
  multi: false,
  includeAll: false,
  hide: 0,
  options: [],
});

/** A release's share of the terminals. */
const share = (offset = '') => `sum by (release) (pos_terminals${offset}) / on () group_left () sum(pos_terminals${offset})`;
const ANNOTATIONS = [
  {
    // Its first terminals, or a step of its rollout: a twentieth of all terminals within five minutes.
    name: 'Rollout of releases',
    datasource: PROMETHEUS,
    enable: true,
    hide: false,
    iconColor: '#B877D9',
    expr: `${share()} - (${share(' offset 5m')}) > 0.05 or (${share()} > 0 unless ${share(' offset 5m')} > 0) and on () count(pos_terminals offset 5m)`,
    step: '60s',
    titleFormat: 'Release {{release}} reached more terminals',
    tagKeys: 'release',
    useValueForTime: 'false',
  },
  {
    name: 'Critical alerts',
    datasource: PROMETHEUS,
    enable: true,
    hide: false,
    iconColor: POOR,
    expr: 'ALERTS{alertstate="firing", severity=~"page|critical"}',
    step: '60s',
    titleFormat: '{{alertname}}',
    textFormat: '{{store_id}}',
    tagKeys: 'severity,scope',
    useValueForTime: 'false',
  },
];

/** Where else to look: all dashboards carry the tag. */
const LINKS = [
  { type: 'dashboards', title: 'tillwatch', tags: ['tillwatch'], asDropdown: false, icon: 'external link', includeVars: false, keepTime: true, targetBlank: false, tooltip: '', url: '' },
];

/** Puts panels into rows from left to right and numbers them; what needs something that is not there is left out. */
function layOut(panels) {
  const lines = [];
  for (const { needs, isRow, size, json, column: stacked } of panels) {
    if ([needs ?? []].flat().some((need) => !AVAILABLE[need])) continue;
    const { w, h } = isRow ? { w: 24, h: 1 } : size;
    const line = lines.at(-1);
    if (line && line.width + w <= 24) {
      line.panels.push({ json, stacked, w, h });
      line.width += w;
    } else {
      lines.push({ panels: [{ json, stacked, w, h }], width: w });
    }
  }
  const placed = [];
  let y = 0;
  for (const { panels: line, width } of lines) {
    // A line that is not full is stretched: no holes.
    let used = 0;
    let x = 0;
    for (const { json, stacked, w, h } of line) {
      used += w;
      const end = Math.round((used / width) * 24);
      let top = y;
      for (const one of stacked ?? [{ json, size: { h } }]) {
        placed.push({ id: placed.length + 1, ...one.json, gridPos: { x, y: top, w: end - x, h: one.size.h } });
        top += one.size.h;
      }
      x = end;
    }
    y += Math.max(...line.map(({ h }) => h));
  }
  return placed;
}

/** A whole dashboard. */
export function dashboard({ uid, title, description, from = 'now-6h', refresh = '30s', variables, panels, tags = [] }) {
  return {
    uid,
    title,
    description,
    tags: ['tillwatch', ...tags],
    editable: false,
    graphTooltip: 1,
    timezone: 'browser',
    schemaVersion: 41,
    version: 1,
    weekStart: '',
    fiscalYearStartMonth: 0,
    liveNow: false,
    preload: false,
    refresh,
    time: { from, to: 'now' },
    timepicker: {},
    annotations: { list: ANNOTATIONS },
    links: LINKS,
    templating: { list: variables },
    panels: layOut(panels),
  };
}
