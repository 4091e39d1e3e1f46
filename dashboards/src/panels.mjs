// Builders for panels: their targets, units, colours and options, as Grafana's JSON has them.

export const GOOD = 'green';
export const FAIR = '#E5AC0E';
export const POOR = 'red';
/** Hues that never mean health. */
export const HUES = ['#5794F2', '#B877D9', '#3BB8C3', '#FF9D6F', '#8F9BB3', '#D6A5F0', '#8AB8FF', '#C9A27C'];
/** Percentiles look the same everywhere. */
const PERCENTILES = { p50: '#8AB8FF', p75: '#5794F2', p95: '#B877D9', p99: '#7D64C8' };

export const PROMETHEUS = { type: 'prometheus', uid: '${prometheus_datasource}' };
export const CLICKHOUSE = { type: 'grafana-clickhouse-datasource', uid: '${clickhouse_datasource}' };

/** `pos_x{job=…, instance=…, matchers}`: every selector names the variables, as the linter demands. */
export const series = (name, ...matchers) => `${name}{${['job=~"$job"', 'instance=~"$instance"', ...matchers].join(', ')}}`;
/** A series of the collector's other page, which another job reads: only the instance is the same. */
export const ofOtherPage = (name, ...matchers) => `${name}{${['instance=~"$instance"', ...matchers].join(', ')}}`;
/** A bucket's bound as exporters write it: `5` or `5.0`. */
export const le = (bound) => (Number.isInteger(bound) ? `le=~"${bound}(\\\\.0)?"` : `le="${bound}"`);

/** A PromQL target. `instant` asks for now only. */
export const prom = (expr, legend, { instant = false, format = 'time_series', interval } = {}) => ({
  kind: 'prometheus',
  expr,
  legendFormat: legend ?? '__auto',
  ...(instant ? { instant: true, range: false } : { instant: false, range: true }),
  format,
  ...(interval ? { interval } : {}),
});
/** A SQL target: `time` makes series of a column `time` and the numbers beside it, `table` leaves rows as they are. */
export const sql = (rawSql, format = 'time') => ({ kind: 'clickhouse', rawSql: rawSql.trim().replace(/\n\s+/g, '\n  '), format });

function target(made, refId) {
  if (made.kind === 'clickhouse') {
    const isTable = made.format === 'table';
    return {
      refId,
      datasource: CLICKHOUSE,
      editorType: 'sql',
      queryType: isTable ? 'table' : 'timeseries',
      format: isTable ? 1 : 0,
      pluginVersion: '4.20.0',
      rawSql: made.rawSql,
    };
  }
  const { kind: _, ...rest } = made;
  return { refId, datasource: PROMETHEUS, editorMode: 'code', ...rest };
}

/** Colours for a value that is worse the higher it is. */
export function higherIsWorse([low, high], base = GOOD) {
  return [{ color: base, value: null }, { color: FAIR, value: low }, ...(high === undefined ? [] : [{ color: POOR, value: high }])];
}
/** Several targets one above the other, and the limit behind them. */
export function targets(values, limit) {
  const [first, ...rest] = values;
  return [{ color: 'transparent', value: null }, { color: GOOD, value: first }, ...rest.map((value) => ({ color: FAIR, value })), { color: POOR, value: limit }];
}
/** Colours for a share that is worse the lower it is. The first number is the target, the second is critical. */
export function lowerIsWorse([target_, critical]) {
  const worst = critical === undefined ? [{ color: FAIR, value: null }] : [{ color: POOR, value: null }, { color: FAIR, value: critical }];
  return [...worst, { color: GOOD, value: target_ }];
}
/** Anything over nothing is bad. */
export const anyIsBad = [{ color: GOOD, value: null }, { color: POOR, value: 1 }];
export const anyIsFair = [{ color: GOOD, value: null }, { color: FAIR, value: 1 }];
const NEUTRAL = [{ color: '#8AB8FF', value: null }];

export const override = (field, properties) => ({
  matcher: { id: field instanceof RegExp ? 'byRegexp' : 'byName', options: field instanceof RegExp ? `/${field.source}/` : field },
  properties: Object.entries(properties).map(([id, value]) => ({ id, value })),
});
/** Everything one query brings. */
export const overrideQuery = (refId, properties) => ({
  matcher: { id: 'byFrameRefID', options: refId },
  properties: Object.entries(properties).map(([id, value]) => ({ id, value })),
});
export const colour = (field, fixedColor) => override(field, { color: { mode: 'fixed', fixedColor } });
const percentileColours = Object.entries(PERCENTILES).map(([name, hex]) => colour(new RegExp(`^${name}( |$)`), hex));
/** Each name its hue, in order. */
export const hues = (names) => names.map((name, at) => colour(name, HUES[at % HUES.length]));
/** Good, fair and poor shares. */
export const healthColours = [colour(/^good/, GOOD), colour(/^needs improvement/, FAIR), colour(/^poor/, POOR)];

const LINK = { type: 'link', icon: '', tags: [], tooltip: '', asDropdown: false, includeVars: false, keepTime: false, targetBlank: false };

function panel(type, { title, description, targets, w, h, needs, timeFrom, links, transformations, interval, fieldConfig, options, maxDataPoints }) {
  const datasource = targets?.[0]?.kind === 'clickhouse' ? CLICKHOUSE : PROMETHEUS;
  return {
    needs,
    size: { w, h },
    json: {
      type,
      title,
      description,
      datasource,
      ...(timeFrom ? { timeFrom } : {}),
      ...(interval ? { interval } : {}),
      ...(maxDataPoints ? { maxDataPoints } : {}),
      ...(links ? { links: links.map((link) => ({ ...LINK, ...link })) } : {}),
      ...(transformations ? { transformations } : {}),
      ...(targets ? { targets: targets.map((made, at) => target(made, String.fromCharCode(65 + at))) } : {}),
      fieldConfig: fieldConfig ?? { defaults: {}, overrides: [] },
      options: options ?? {},
    },
  };
}

const steps = (list) => ({ mode: 'absolute', steps: list ?? NEUTRAL });

/** A trend's range follows from the limits, so that its height means something and it stays below the number. */
function sparkRange(list) {
  const limits = list.map(({ value }) => value).filter((value) => value !== null);
  if (limits.length === 0) return {};
  if (list.at(-1).color === GOOD) {
    const margin = 2 * (1 - limits[0]);
    return { min: 1 - margin, max: 1 + margin };
  }
  return { min: 0, max: 2.2 * limits.at(-1) };
}

/** A headline number. With `spark` the trend is drawn behind it. */
export function stat({ unit = 'short', thresholds, decimals, spark = true, colorMode = 'value', calc = 'lastNotNull', mappings, noValue, overrides = [], ...rest }) {
  return panel('stat', {
    w: 3,
    h: 5,
    interval: '1m',
    ...rest,
    fieldConfig: {
      defaults: {
        unit,
        ...(decimals === undefined ? {} : { decimals }),
        color: { mode: 'thresholds' },
        thresholds: steps(thresholds),
        mappings: mappings ?? [],
        ...(noValue === undefined ? {} : { noValue }),
        ...(spark ? sparkRange(thresholds ?? NEUTRAL) : {}),
      },
      overrides,
    },
    options: {
      reduceOptions: { calcs: [calc], fields: '', values: false },
      orientation: 'auto',
      textMode: 'value_and_name',
      colorMode,
      graphMode: spark ? 'area' : 'none',
      justifyMode: 'auto',
      wideLayout: true,
      showPercentChange: false,
      percentChangeColorMode: 'standard',
    },
  });
}

/** Lines, areas or bars over time. */
export function timeseries({
  unit = 'short', thresholds, showThresholds = false, stack, draw = 'line', fill, overrides = [], min = 0, max, decimals, legend = 'list', calcs = ['lastNotNull'], points = 'never', width = 1.5, softMin, softMax, axisLabel, placement, displayName, ...rest
}) {
  return panel('timeseries', {
    w: 12,
    h: 8,
    ...rest,
    fieldConfig: {
      defaults: {
        unit,
        ...(displayName ? { displayName } : {}),
        ...(decimals === undefined ? {} : { decimals }),
        ...(min === null ? {} : { min }),
        ...(max === undefined ? {} : { max }),
        color: { mode: displayName ? 'palette-classic-by-name' : 'palette-classic' },
        thresholds: steps(thresholds),
        custom: {
          drawStyle: draw,
          lineInterpolation: 'linear',
          lineWidth: draw === 'bars' ? 0 : width,
          fillOpacity: fill ?? (stack ? 55 : draw === 'bars' ? 70 : 8),
          gradientMode: stack || draw === 'bars' ? 'none' : 'opacity',
          showPoints: points,
          pointSize: 4,
          spanNulls: draw === 'line' ? 300000 : false,
          barAlignment: 0,
          barWidthFactor: 0.8,
          axisPlacement: 'auto',
          axisBorderShow: false,
          axisGridShow: true,
          ...(axisLabel ? { axisLabel } : {}),
          ...(softMin === undefined ? {} : { axisSoftMin: softMin }),
          ...(softMax === undefined ? {} : { axisSoftMax: softMax }),
          scaleDistribution: { type: 'linear' },
          stacking: { mode: stack ?? 'none', group: 'A' },
          thresholdsStyle: { mode: showThresholds ? 'dashed' : 'off' },
        },
      },
      overrides: [...percentileColours, ...overrides],
    },
    options: {
      legend: { displayMode: legend, placement: placement ?? 'bottom', showLegend: legend !== 'hidden', calcs: legend === 'table' ? calcs : [] },
      tooltip: { mode: 'multi', sort: 'desc' },
    },
  });
}

/** How many samples stand behind a percentile: a dashed grey line on the right axis of the same panel. */
export const samplesAxis = (name = 'samples') =>
  override(name, {
    'custom.axisPlacement': 'right',
    'custom.fillOpacity': 0,
    'custom.lineWidth': 1,
    'custom.lineStyle': { fill: 'dash', dash: [3, 4] },
    'custom.thresholdsStyle': { mode: 'off' },
    unit: 'short',
    color: { mode: 'fixed', fixedColor: '#8F9BB3' },
  });

/** A table. `columns` are overrides. */
export function table({ columns = [], sortBy, desc = true, ...rest }) {
  return panel('table', {
    w: 24,
    h: 10,
    ...rest,
    fieldConfig: {
      defaults: {
        custom: { align: 'auto', minWidth: 70, cellOptions: { type: 'auto' }, inspect: false, filterable: false },
        color: { mode: 'thresholds' },
        thresholds: steps([{ color: 'text', value: null }]),
        mappings: [],
      },
      overrides: columns,
    },
    options: { showHeader: true, cellHeight: 'sm', sortBy: [sortBy ?? []].flat().map((displayName) => ({ displayName, desc })) },
  });
}
/** Softer than in headlines: a table of fifty stores must still be read. */
const CELL = { [GOOD]: 'rgba(86, 166, 75, 0.26)', [FAIR]: 'rgba(229, 172, 14, 0.55)', [POOR]: 'rgba(224, 47, 68, 0.75)' };
const NOTHING = [{ type: 'special', options: { match: 'null', result: { text: '–', color: 'transparent', index: 0 } } }];
/** A column coloured by its thresholds. */
export const healthColumn = (name, unit, list, extra = {}) =>
  override(name, { unit, mappings: NOTHING, thresholds: steps(list.map(({ color, value }) => ({ color: CELL[color], value }))), 'custom.cellOptions': { type: 'color-background', mode: 'basic' }, 'custom.align': 'right', ...extra });
export const plainColumn = (name, unit, extra = {}) => override(name, { unit, 'custom.align': 'right', ...extra });

/** Joins instant queries by a label and gives each value its name; in the order given. */
export const joined = (label, heading, names) => [
  { id: 'joinByField', options: { byField: label, mode: 'outer' } },
  { id: 'filterFieldsByName', options: { include: { pattern: `^(${label}|Value.*)$` } } },
  {
    id: 'organize',
    options: {
      excludeByName: {},
      indexByName: Object.fromEntries([label, ...names.map((_, at) => `Value #${String.fromCharCode(65 + at)}`)].map((name, at) => [name, at])),
      renameByName: { [label]: heading, ...Object.fromEntries(names.map((name, at) => [`Value #${String.fromCharCode(65 + at)}`, name])) },
    },
  },
];

/** Words for values, in order. */
export const words = (of) => [{ type: 'value', options: Object.fromEntries(Object.entries(of).map(([value, text], index) => [value, { text, index }])) }];

/** Bars side by side, one for each series or row. */
export function barGauge({ unit = 'short', thresholds, min = 0, max, decimals, overrides = [], colorMode, rows = false, ...rest }) {
  return panel('bargauge', {
    w: 8,
    h: 8,
    ...rest,
    fieldConfig: {
      defaults: {
        unit,
        min,
        ...(max === undefined ? {} : { max }),
        ...(decimals === undefined ? {} : { decimals }),
        color: colorMode ?? { mode: 'thresholds' },
        thresholds: steps(thresholds),
        mappings: [],
      },
      overrides,
    },
    options: {
      reduceOptions: rows ? { calcs: [], fields: '', values: true } : { calcs: ['lastNotNull'], fields: '', values: false },
      orientation: 'horizontal',
      displayMode: 'basic',
      valueMode: 'color',
      namePlacement: 'auto',
      showUnfilled: true,
      sizing: 'auto',
      minVizWidth: 8,
      minVizHeight: 16,
      maxVizHeight: 300,
      legend: { calcs: [], displayMode: 'list', placement: 'bottom', showLegend: false },
    },
  });
}

/** One coloured band for each series. */
export function stateTimeline({ overrides = [], unit = 'short', thresholds, decimals, mappings, ...rest }) {
  return panel('state-timeline', {
    w: 24,
    h: 7,
    interval: '1m',
    ...rest,
    fieldConfig: {
      defaults: {
        unit,
        ...(decimals === undefined ? {} : { decimals }),
        color: { mode: 'thresholds' },
        thresholds: steps(thresholds),
        custom: { lineWidth: 0, fillOpacity: 78 },
        mappings: mappings ?? [],
      },
      overrides,
    },
    options: { mergeValues: true, showValue: 'never', alignValue: 'left', rowHeight: 0.82, legend: { calcs: [], displayMode: 'list', placement: 'bottom', showLegend: false }, tooltip: { mode: 'single', sort: 'none' } },
  });
}

/** Counts by time and bucket. */
export function heatmap({ unit = 's', scheme = 'Purples', axisLabel, ...rest }) {
  return panel('heatmap', {
    w: 12,
    h: 8,
    ...rest,
    fieldConfig: { defaults: { custom: { hideFrom: { legend: false, tooltip: false, viz: false }, scaleDistribution: { type: 'linear' } } }, overrides: [] },
    options: {
      calculate: false,
      yAxis: { axisPlacement: 'left', reverse: false, unit, ...(axisLabel ? { axisLabel } : {}) },
      rowsFrame: { layout: 'auto' },
      color: { mode: 'scheme', fill: 'dark-orange', scale: 'exponential', exponent: 0.5, scheme, steps: 64, reverse: false },
      cellGap: 1,
      filterValues: { le: 1e-9 },
      tooltip: { mode: 'single', yHistogram: false, showColorScale: false },
      legend: { show: true },
      exemplars: { color: 'rgba(255,0,255,0.7)' },
      showValue: 'never',
    },
  });
}

/** The alerts of the data source's rules that fire or are pending. */
export function alertList({ filter = '', ...rest }) {
  return panel('alertlist', {
    w: 8,
    h: 8,
    ...rest,
    options: {
      viewMode: 'list',
      groupMode: 'default',
      groupBy: [],
      maxItems: 12,
      sortOrder: 3,
      dashboardAlerts: false,
      alertName: '',
      alertInstanceLabelFilter: filter,
      datasource: 'Prometheus',
      showInstances: false,
      stateFilter: { firing: true, pending: true, recovering: true, noData: false, normal: false, error: true },
    },
  });
}
