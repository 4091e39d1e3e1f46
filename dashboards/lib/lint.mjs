// The rules that dashboards keep: those of Grafana's dashboard-linter, and those of this project. Each fault is a
// sentence that begins with the rule's name.
//
// Left out of the linter's, with the reason: `target-promql` (Prometheus itself parses every expression in
// check_live.mjs), the name of the second data source variable (the linter would have dashes in it), job and
// instance on ALERTS (alerts carry the labels of their rules), the Loki rules.

import * as limits from '../src/limits.mjs';
import { MONITORING_SERIES, PROBE_SERIES, TABLES, knownSeries } from '../src/catalogue.mjs';
import { UPCOMING_SERIES } from '../src/upcoming.mjs';

const UNITS = new Set(['s', 'dthms', 'short', 'sishort', 'none', 'percentunit', 'bytes', 'decbytes', 'Bps', 'suffix:×']);
const BUILT_IN = new Set(['__rate_interval', '__interval', '__range', '__timeFilter', '__fromTime', '__toTime', '__interval_s', '__all', '__conditionalAll', '__timeInterval', '__url_time_range', '__value', '__field', '__data']);
/** Of other jobs than the board's. */
const TARGET_FREE = new Set(['ALERTS', ...MONITORING_SERIES.keys(), ...PROBE_SERIES.keys()]);
const DESCRIPTION_LEAST = 25;

/** All faults of a set of dashboards, by file name. */
export function lint(dashboards, catalogue) {
  const faults = [];
  const context = { catalogue, series: seriesOf(), uids: new Map(Object.values(dashboards).map((dashboard) => [dashboard.uid, dashboard])) };
  if (context.uids.size !== Object.keys(dashboards).length) faults.push('uid: two dashboards have the same');
  for (const [file, dashboard] of Object.entries(dashboards)) {
    const say = (rule, text) => faults.push(`${rule}: ${dashboard.uid}: ${text}`);
    if (file !== `${dashboard.uid}.json`) say('file', `is named ${file}`);
    wholeDashboard(dashboard, say);
    templates(dashboard, say, context);
    layout(dashboard, say);
    for (const panel of dashboard.panels.filter(({ type }) => type !== 'row')) {
      const ofPanel = (rule, text) => say(rule, `"${panel.title}": ${text}`);
      onePanel(panel, ofPanel, context);
      for (const target of panel.targets ?? []) oneTarget(target, ofPanel, { ...context, page: pageOf(dashboard) });
      ofTheJob(panel, pageOf(dashboard), ofPanel);
    }
    for (const { name, expr } of dashboard.annotations.list) metrics(expr, (rule, text) => say(rule, `annotation ${name}: ${text}`), context, { withTarget: false });
    variablesAndLinks(dashboard, say, context);
  }
  return faults;
}

function seriesOf() {
  const series = knownSeries();
  for (const [, name, kind, labels] of UPCOMING_SERIES) {
    const all = ['job', 'instance', ...labels];
    if (kind !== 'histogram') series.set(name, { kind, labels: all });
    else for (const [suffix, extra] of [['_bucket', ['le']], ['_sum', []], ['_count', []]]) series.set(`${name}${suffix}`, { kind: 'counter', labels: [...all, ...extra] });
  }
  return series;
}

function wholeDashboard(dashboard, say) {
  if (dashboard.editable !== false) say('uneditable-dashboard', 'editable must be false, or people lose what they change');
  if (!dashboard.tags.includes('tillwatch')) say('tags', 'without the tag tillwatch no other dashboard links here');
  if (!(dashboard.description?.length >= DESCRIPTION_LEAST)) say('description', 'says nothing');
  if ('id' in dashboard) say('id', 'a provisioned dashboard has a uid only');
  if (!dashboard.panels.some(({ type }) => type === 'stat' || type === 'bargauge')) say('headline', 'no headline tiles');
}

function templates({ templating: { list } }, say) {
  const of = (name) => list.find((variable) => variable.name === name) ?? {};
  const [first] = list.filter(({ type }) => type === 'datasource');
  if (first?.name !== 'prometheus_datasource' || first.label !== 'Prometheus data source' || first.query !== 'prometheus') say('template-datasource-rule', 'the first data source must be prometheus_datasource');
  for (const [name, label] of [['job', 'Job'], ['instance', 'Instance']]) {
    const { type, multi, allValue, datasource, label: given } = of(name);
    if (type !== 'query' || multi !== true || allValue !== '.+' || given !== label || datasource?.uid !== '${prometheus_datasource}') {
      say(`template-${name}-rule`, `${name} must be a multi-value query with all value .+ and label ${label}`);
    }
  }
  for (const { name, type, refresh, query } of list.filter((variable) => variable.type === 'query')) {
    if (type === 'query' && refresh !== 2) say('template-on-time-change-reload-rule', `${name} must reload when the time range changes`);
    if (!query.rawSql && !/^label_values\([a-z_]+(\{[^}]*\})?, \w+\)$/.test(query.query)) say('template-label-promql-rule', `${name}: ${query.query}`);
  }
}

function layout({ panels }, say) {
  const ids = panels.map(({ id }) => id);
  if (new Set(ids).size !== ids.length) say('panel-id', 'two panels have the same');
  const titles = panels.map(({ title }) => title);
  const twice = titles.find((title, at) => titles.indexOf(title) !== at);
  if (twice) say('panel-title', `two panels are called ${twice}`);
  const taken = new Map();
  for (const { title, gridPos: { x, y, w, h } } of panels) {
    if (x < 0 || w < 1 || x + w > 24) say('grid', `"${title}" leaves the 24 columns`);
    for (let column = x; column < x + w; column += 1) {
      for (let line = y; line < y + h; line += 1) {
        const other = taken.get(`${column} ${line}`);
        if (other) return say('grid', `"${title}" lies over "${other}"`);
        taken.set(`${column} ${line}`, title);
      }
    }
  }
}

function onePanel(panel, say, context) {
  if (!panel.title) say('panel-title-description-rule', 'no title');
  if (!(panel.description?.length >= DESCRIPTION_LEAST)) say('panel-title-description-rule', 'no description that tells what to do');
  if (panel.type === 'alertlist') return;
  if (!['${prometheus_datasource}', '${clickhouse_datasource}'].includes(panel.datasource?.uid)) say('panel-datasource-rule', 'must use a data source variable');
  if (!(panel.targets?.length > 0)) say('panel-no-targets-rule', 'no target');
  const { defaults, overrides } = panel.fieldConfig;
  const units = [defaults.unit, ...overrides.flatMap(({ properties }) => properties.filter(({ id }) => id === 'unit').map(({ value }) => value)), panel.options.yAxis?.unit];
  for (const unit of units) if (unit !== undefined && !UNITS.has(unit)) say('panel-units-rule', `unit ${unit}`);
  if (!['table', 'heatmap'].includes(panel.type) && defaults.unit === undefined) say('panel-units-rule', 'no unit');
  thresholdsOf(panel, say, context);
}

/** Every limit is one of the catalogue's (of the panel's own metric, where it has just one) or of limits.mjs. */
function thresholdsOf(panel, say, { catalogue }) {
  const text = (panel.targets ?? []).map(({ expr, rawSql }) => expr ?? rawSql).join(' ');
  const used = catalogue.filter(({ name, prometheus }) => text.includes(`'${name}'`) || (text.includes('v_session') && SESSION.includes(name)) || new RegExp(`\\b(${prometheus}|${prometheus.replace('pos_', 'pos_release_')})(_|\\b)`).test(text) || text.includes(windowStem(prometheus)));
  const free = [1, ...Object.values(limits).flat()];
  const lists = [panel.fieldConfig.defaults.thresholds, ...panel.fieldConfig.overrides.flatMap(({ properties }) => properties.filter(({ id }) => id === 'thresholds').map(({ value }) => value))];
  const numbers = lists.flatMap((list) => list?.steps?.map(({ value }) => value) ?? []).filter((value) => value !== null);
  const allowed = new Set([...free, ...used.flatMap(limitsOf)]);
  for (const number of numbers) if (!allowed.has(number)) say('threshold', `${number} is not a limit of ${used.map(({ name }) => name).join(', ') || 'any metric here'}`);
}
/** What v_session averages. */
const SESSION = ['lcp_ms', 'offline_login_duration_ms', 'sync_duration_ms'];
const windowStem = (prometheus) => `${prometheus.replace(/_seconds$/, '')}_window`;
function limitsOf({ thresholds, threshold_note: note }) {
  const shares = [...note.matchAll(/([0-9]+) %/g)].map((found) => Number(found[1]) / 100);
  return [...thresholds, ...[...note.matchAll(/(?:under|over) ([0-9.]+[0-9])/g)].map((found) => Number(found[1])), ...shares];
}

function oneTarget(target, say, context) {
  if (target.rawSql !== undefined) return statement(target.rawSql, say);
  if (!target.datasource || target.datasource.uid !== '${prometheus_datasource}') say('panel-datasource-rule', 'a target has another data source than the variable');
  for (const [, range] of target.expr.matchAll(/\bi?rate\([a-zA-Z_:]+\{[^}]*\}\[([^\]]+)\]/g)) {
    if (range !== '$__rate_interval') say('target-rate-interval-rule', `rate over ${range}`);
  }
  metrics(target.expr, say, context, { withTarget: true });
}

/** Names and labels exist; every selector names job and instance; counters only as rates. */
function metrics(expr, say, { series, page }, { withTarget }) {
  const labels = new Set();
  const without = expr.replace(/"(?:[^"\\]|\\.)*"/g, '""');
  if (balance(without) !== 0) say('target-promql-rule', `brackets do not match: ${expr}`);
  let found = 0;
  for (const [, name, matchers, range] of without.matchAll(/\b((?:store:pos_|pos_|tillwatch_|prometheus_|alertmanager_|scrape_)[\w:]+|ALERTS|up)(\{[^}]*\})?(\[|)/g)) {
    found += 1;
    const known = series.get(name);
    if (!known) {
      say('metric', `${name} does not exist`);
      continue;
    }
    known.labels.forEach((label) => labels.add(label));
    for (const [, label] of (matchers ?? '').matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)) if (!known.labels.includes(label)) say('label', `${name} has no label ${label}`);
    if (withTarget && !TARGET_FREE.has(name) && !name.includes(':')) {
      // The board's job reads one page of the collector; what is on the other has its instance alone.
      for (const needed of isOfOtherPage(name, page) ? ['instance'] : ['job', 'instance']) if (!new RegExp(`\\b${name}\\{[^}]*\\b${needed}=~"\\$${needed}"`).test(expr)) say(`target-${needed}-rule`, `${name} without ${needed}=~"$${needed}"`);
    }
    if (known.kind === 'counter' && range !== '[') say('target-counter-agg-rule', `${name} is a counter: take its rate or increase`);
  }
  if (found === 0) say('metric', `no series in ${expr}`);
  for (const [, list] of without.matchAll(/\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([\w, ]*)\)/g)) {
    for (const label of list.split(',').map((one) => one.trim()).filter(Boolean)) if (!labels.has(label)) say('label', `groups by ${label}, which no series here has`);
  }
}
const balance = (text) => [...text].reduce((sum, sign) => sum + ('([{'.includes(sign) ? 1 : ')]}'.includes(sign) ? -1 : 0), 0);

/** The page of the collector that the variable job reads: what terminals measured, or the collector about itself. */
const pageOf = ({ templating: { list } }) => /label_values\((pos|tillwatch)_/.exec(list.find(({ name }) => name === 'job')?.query.query)?.[1];
const isOfOtherPage = (name, page) => page !== undefined && /^(pos|tillwatch)_/.test(name) && !name.startsWith(`${page}_`);

/** The variable job has the jobs of one page of the collector: a series of the other page is never found with it. */
function ofTheJob({ targets = [] }, page, say) {
  const selectors = targets.flatMap(({ expr }) => [...(expr ?? '').matchAll(/\b((?:pos|tillwatch)_\w+)\{([^}]*)\}/g)]);
  for (const [, name, matchers] of selectors) if (isOfOtherPage(name, page) && matchers.includes('$job')) say('target-job-rule', `${name} is not of the job that the dashboard asks for`);
}

function statement(rawSql, say) {
  const tables = [...rawSql.matchAll(/\b(?:FROM|JOIN)\s+([a-z_]\w*)/g)].map(([, name]) => name);
  if (tables.length === 0) say('table', 'no table');
  for (const table of tables) if (!(table in TABLES)) say('table', `${table} is not a table or view of tillwatch`);
  if (!/\$__timeFilter\(\w+\)|\$__fromTime/.test(rawSql)) say('time-filter', 'reads without a time range');
  if (!/source = 'rum'/.test(rawSql) && tables.some((table) => /^v_rollup_/.test(table))) say('source', 'mixes synthetic samples in');
  for (const [, time] of rawSql.matchAll(/\$__timeFilter\((\w+)\)/g)) if (!tables.some((table) => TABLES[table]?.split(' ').includes(time))) say('column', `${time} is no column of ${tables.join(', ')}`);
}

function variablesAndLinks(dashboard, say, { uids }) {
  const names = new Set(dashboard.templating.list.map(({ name }) => name));
  const text = JSON.stringify({ panels: dashboard.panels, templating: dashboard.templating });
  for (const [, name] of text.matchAll(/\$\{?(\w+)/g)) if (!names.has(name) && !BUILT_IN.has(name)) say('variable', `$${name} is not a variable of the dashboard`);
  for (const [, uid, query] of text.matchAll(/"\/d\/([\w-]+)\??([^"]*)"/g)) {
    const target = uids.get(uid);
    if (!target) say('link', `/d/${uid} is no dashboard`);
    else for (const [, name] of query.matchAll(/\bvar-(\w+)=/g)) if (!target.templating.list.some((variable) => variable.name === name)) say('link', `${uid} has no variable ${name}`);
  }
}
