// Variables and macros as Grafana and its ClickHouse plugin expand them, as far as these dashboards use them.

/** The value of a variable with everything selected. */
export const ALL = Symbol('all');

const seconds = (ms) => Math.floor(ms / 1000);
const escapeRegex = (text) => text.replace(/[\\^$*+?.()|[\]{}]/g, '\\\\$&');

/** The step and `$__rate_interval` of a Prometheus query. `scrapeSeconds` is the data source's. */
export function promSteps({ fromMs, toMs, points, scrapeSeconds, interval }) {
  const least = interval ? spanSeconds(interval) : scrapeSeconds;
  const step = Math.max(least, niceStep((toMs - fromMs) / 1000 / points));
  return { step, rateInterval: Math.max(step + scrapeSeconds, 4 * scrapeSeconds) };
}

const NICE = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
const niceStep = (wanted) => NICE.find((step) => step >= wanted) ?? 86400;

/** `7d`, `15m`, `30s` in seconds. */
export function spanSeconds(text) {
  const found = /^(\d+)([smhd])$/.exec(text);
  if (!found) throw new Error(`not a span of time: ${text}`);
  return Number(found[1]) * { s: 1, m: 60, h: 3600, d: 86400 }[found[2]];
}

/** A PromQL expression with every variable replaced. */
export function expandPromql(expr, { variables, step, rateInterval, rangeSeconds }) {
  const built = { __rate_interval: `${rateInterval}s`, __interval: `${step}s`, __range: `${rangeSeconds}s`, __range_s: String(rangeSeconds) };
  return expr.replace(/\$\{?(\w+)\}?/g, (_, name) => {
    if (name in built) return built[name];
    const value = lookUp(variables, name);
    if (value === ALL) return '.+';
    return Array.isArray(value) ? (value.length === 1 ? escapeRegex(value[0]) : `(${value.map(escapeRegex).join('|')})`) : value;
  });
}

function lookUp(variables, name) {
  if (!(name in variables)) throw new Error(`variable $${name} has no value`);
  return variables[name];
}

/** A SQL statement with every macro and variable replaced. */
export function expandSql(rawSql, { variables, fromMs, toMs, step = 60 }) {
  const from = seconds(fromMs);
  const to = seconds(toMs);
  return macro(rawSql, '$__conditionalAll', (argument) => {
    const comma = argument.lastIndexOf(',');
    const name = argument.slice(comma + 1).trim().replace(/^\$\{?|\}$/g, '');
    return lookUp(variables, name) === ALL ? '1=1' : argument.slice(0, comma);
  })
    .replace(/\$__timeFilter\((\w+)\)/g, (_, column) => `${column} >= toDateTime(${from}) AND ${column} <= toDateTime(${to})`)
    .replace(/\$__timeInterval\((\w+)\)/g, (_, column) => `toStartOfInterval(toDateTime(${column}), INTERVAL ${step} second)`)
    .replace(/\$__fromTime\b/g, `toDateTime(${from})`)
    .replace(/\$__toTime\b/g, `toDateTime(${to})`)
    .replace(/\$__interval_s\b/g, String(step))
    .replace(/\$\{(\w+):singlequote\}/g, (_, name) => [lookUp(variables, name)].flat().map((value) => `'${value}'`).join(','))
    .replace(/\$\{?(\w+)\}?/g, (_, name) => [lookUp(variables, name)].flat().join(','));
}

/** Replaces `name(…)` with what `make` says of its argument, parentheses inside included. */
function macro(text, name, make) {
  for (;;) {
    const start = text.indexOf(`${name}(`);
    if (start < 0) return text;
    let depth = 0;
    let end = start + name.length;
    do {
      if (text[end] === '(') depth += 1;
      if (text[end] === ')') depth -= 1;
      end += 1;
    } while (depth > 0 && end < text.length);
    text = text.slice(0, start) + make(text.slice(start + name.length + 1, end - 1)) + text.slice(end);
  }
}
