// Runs what panels ask for, against a Prometheus and a ClickHouse that are there, and gives Grafana's data frames.

import { ALL, expandPromql, expandSql, promSteps, spanSeconds } from './expand.mjs';

const SCRAPE_SECONDS = 15;

async function read(response, what) {
  const text = await response.text();
  if (!response.ok) throw new Error(`${what}: ${response.status} ${text.slice(0, 400)}`);
  return text;
}

export async function promQuery(url, path, parameters) {
  const body = new URLSearchParams(parameters);
  const answer = JSON.parse(await read(await fetch(`${url}/api/v1/${path}`, { method: 'POST', body }), parameters.query));
  if (answer.status !== 'success') throw new Error(`${parameters.query}: ${answer.error}`);
  return answer.data;
}

export async function sqlQuery({ url, user, password }, statement) {
  const query = new URLSearchParams({ database: 'tillwatch', default_format: 'JSONCompact' });
  const headers = { 'X-ClickHouse-User': user, 'X-ClickHouse-Key': password };
  return JSON.parse(await read(await fetch(`${url}/?${query}`, { method: 'POST', headers, body: statement }), statement));
}

/** Where a panel looks: its own `timeFrom`, or the dashboard's range. */
export function rangeOf(panel, { fromMs, toMs }) {
  return panel.timeFrom ? { fromMs: toMs - spanSeconds(panel.timeFrom) * 1000, toMs } : { fromMs, toMs };
}

/** The frames of one panel: `[{refId, fields: [{name, type, labels, values}]}]`. */
export async function panelFrames(panel, context) {
  const frames = [];
  for (const target of panel.targets ?? []) frames.push(...(await targetFrames(panel, target, context)));
  return frames;
}

export async function targetFrames(panel, target, context) {
  const range = rangeOf(panel, context);
  return target.rawSql === undefined ? promFrames(panel, target, { ...context, ...range }) : sqlFrames(target, { ...context, ...range });
}

async function promFrames(panel, target, { prometheus, variables, fromMs, toMs, points = 600 }) {
  const interval = target.interval ?? panel.interval;
  const { step, rateInterval } = promSteps({ fromMs, toMs, points, scrapeSeconds: SCRAPE_SECONDS, interval });
  const rangeSeconds = Math.round((toMs - fromMs) / 1000);
  const query = expandPromql(target.expr, { variables, step, rateInterval, rangeSeconds });
  const many = panel.targets.length > 1;
  if (target.instant) {
    const { result } = await promQuery(prometheus, 'query', { query, time: String(toMs / 1000) });
    return target.format === 'table' ? [tableFrame(target, result, many)] : result.map((series) => seriesFrame(target, series, [series.value]));
  }
  const start = Math.ceil(fromMs / 1000 / step) * step;
  const { result } = await promQuery(prometheus, 'query_range', { query, start: String(start), end: String(toMs / 1000), step: String(step) });
  if (target.format === 'heatmap') return heatmapFrames(target, result);
  return result.map((series) => seriesFrame(target, series, series.values, step));
}

function legend(target, labels) {
  if (target.legendFormat && target.legendFormat !== '__auto') return target.legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? '');
  return Object.entries(labels).map(([key, value]) => `${key}="${value}"`).join(', ') || 'Value';
}

function seriesFrame(target, { metric }, values, step) {
  const { __name__: _, ...labels } = metric;
  // A hole in the series is a null, as Grafana's data source makes it.
  const filled = [];
  for (const [time, value] of values) {
    for (let at = filled.length > 0 && step ? filled.at(-1)[0] + step : time; at < time - step / 2; at += step) filled.push([at, null]);
    filled.push([time, Number(value)]);
  }
  return {
    refId: target.refId,
    fields: [
      { name: 'Time', type: 'time', values: filled.map(([time]) => time * 1000) },
      { name: 'Value', type: 'number', labels, displayNameFromDS: legend(target, labels), values: filled.map(([, value]) => (Number.isFinite(value) ? value : null)) },
    ],
  };
}

function tableFrame(target, result, many) {
  const names = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].filter((name) => name !== '__name__');
  return {
    refId: target.refId,
    fields: [
      { name: 'Time', type: 'time', values: result.map(({ value }) => value[0] * 1000) },
      ...names.map((name) => ({ name, type: 'string', values: result.map(({ metric }) => metric[name] ?? '') })),
      { name: many ? `Value #${target.refId}` : 'Value', type: 'number', values: result.map(({ value }) => (Number.isFinite(Number(value[1])) ? Number(value[1]) : null)) },
    ],
  };
}

/** Cumulative buckets become counts of each bucket, ordered by bound. */
function heatmapFrames(target, result) {
  const bound = ({ metric }) => (metric.le === '+Inf' ? Infinity : Number(metric.le));
  const sorted = [...result].sort((one, other) => bound(one) - bound(other));
  let below = new Map();
  const fields = [];
  const times = [...new Set(sorted.flatMap(({ values }) => values.map(([time]) => time)))].sort((one, other) => one - other);
  for (const series of sorted) {
    const upTo = new Map(series.values.map(([time, value]) => [time, Number(value)]));
    fields.push({ name: String(bound(series)), type: 'number', values: times.map((time) => Math.max(0, (upTo.get(time) ?? 0) - (below.get(time) ?? 0))) });
    below = upTo;
  }
  return fields.length === 0 ? [] : [{ refId: target.refId, fields: [{ name: 'Time', type: 'time', values: times.map((time) => time * 1000) }, ...fields] }];
}

async function sqlFrames(target, { clickhouse, variables, fromMs, toMs, points = 600 }) {
  const step = Math.max(60, Math.round((toMs - fromMs) / 1000 / points));
  const { meta, data } = await sqlQuery(clickhouse, expandSql(target.rawSql, { variables, fromMs, toMs, step }));
  const kind = ({ type }) => (/^(Nullable\()?Date/.test(type) ? 'time' : /Int|Float|Decimal/.test(type) ? 'number' : 'string');
  const convert = (value, column) => {
    if (value === null) return null;
    if (kind(column) === 'number') return Number.isFinite(Number(value)) ? Number(value) : null;
    return kind(column) === 'time' ? Date.parse(`${value.replace(' ', 'T')}${value.includes(':') ? '' : 'T00:00:00'}Z`) : String(value);
  };
  const columns = meta.map((column, at) => ({ name: column.name, type: kind(column), values: data.map((row) => convert(row[at], column)) }));
  if (target.format === 1) return data.length === 0 ? [] : [{ refId: target.refId, fields: columns }];
  return widen(target, columns);
}

/** Rows of time, labels and values become one series for each set of labels. */
function widen(target, columns) {
  const [time] = columns.filter(({ type }) => type === 'time');
  const labels = columns.filter(({ type }) => type === 'string');
  const values = columns.filter(({ type }) => type === 'number');
  if (!time || time.values.length === 0) return [];
  if (labels.length === 0) return [{ refId: target.refId, fields: [{ ...time, name: 'Time' }, ...values] }];
  const groups = new Map();
  time.values.forEach((_, row) => {
    const key = labels.map((label) => label.values[row]).join('\0');
    groups.set(key, [...(groups.get(key) ?? []), row]);
  });
  return [...groups.values()].map((rows) => ({
    refId: target.refId,
    fields: [
      { name: 'Time', type: 'time', values: rows.map((row) => time.values[row]) },
      ...values.map((value) => ({
        name: value.name,
        type: 'number',
        labels: Object.fromEntries(labels.map((label) => [label.name, label.values[rows[0]]])),
        values: rows.map((row) => value.values[row]),
      })),
    ],
  }));
}

/** Whether a panel would draw anything. */
export const hasValues = (frames) => frames.some(({ fields }) => fields.some(({ type, values }) => type !== 'time' && values.some((value) => value !== null && value !== '')));

/** Values for the variables of a dashboard: everything where that is allowed, else the first value there is. */
export async function chooseVariables(dashboard, context, wanted = {}) {
  const chosen = {};
  for (const { type, name, includeAll, query } of dashboard.templating.list) {
    if (type !== 'query') continue;
    if (name in wanted) chosen[name] = wanted[name];
    else if (includeAll && name !== 'job') chosen[name] = ALL;
    else chosen[name] = (await variableValues(query, { ...context, variables: chosen }))[0];
    if (chosen[name] === undefined) throw new Error(`${dashboard.uid}: variable ${name} has no values`);
  }
  return chosen;
}

/** What a variable's list would offer, sorted. */
export async function variableValues(query, { prometheus, clickhouse, variables, fromMs, toMs }) {
  if (query.rawSql) {
    const { data } = await sqlQuery(clickhouse, expandSql(query.rawSql, { variables, fromMs, toMs }));
    return data.map(([value]) => value).sort();
  }
  const found = /^label_values\((.+), (\w+)\)$/.exec(query.query);
  if (!found) throw new Error(`not understood: ${query.query}`);
  const match = expandPromql(found[1], { variables, step: 60, rateInterval: 60, rangeSeconds: 3600 });
  const answer = await fetch(`${prometheus}/api/v1/label/${found[2]}/values?match[]=${encodeURIComponent(match)}`);
  return JSON.parse(await read(answer, match)).data.sort();
}
