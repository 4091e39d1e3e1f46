#!/usr/bin/env node
// Draws every dashboard of dashboards/json into docs/pictures, on data of a running simulated day. `make pictures` calls it.
//
//   node make.mjs                     starts tillwatch, a fleet and Prometheus, waits for the history and 45 minutes more, draws, stops all
//   node make.mjs --urls FILE         draws from what already runs; FILE holds {prometheus, clickhouse: {url, user, password}}
//   node make.mjs --only tillwatch-store --out /tmp/pictures --minutes 30

import { createServer } from 'node:http';
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { extname, join, normalize, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';
import sharp from 'sharp';

import { chooseVariables, hasValues, panelFrames, promQuery, rangeOf, sqlQuery } from '../lib/live.mjs';
import { ALL } from '../lib/expand.mjs';
import { AVAILABLE } from '../src/upcoming.mjs';
import { sleep, startStack, until } from '../lib/stack.mjs';

const HERE = import.meta.dirname;
const ROOT = resolve(HERE, '../..');
const WIDTH = 1600;
const BYTES_MAX = 500_000;
const MINUTE_MS = 60_000;

const { values: options } = parseArgs({
  options: {
    urls: { type: 'string' },
    only: { type: 'string' },
    out: { type: 'string', default: join(ROOT, 'docs/pictures') },
    minutes: { type: 'string', default: '45' },
    store: { type: 'string' },
  },
});

/** Fourteen hours of a day that hold the time of the pictures, some hours before closing; late at night shops are always open. */
function openingHours() {
  const hour = new Date().getUTCHours();
  if (hour > 21) return '0-24';
  const close = Math.min(24, Math.max(14, hour + 4));
  return `${close - 14}-${close}`;
}

/**
 * The simulated day: a healthy fleet with a week behind it, four stores in trouble, and a slower release that goes from a pilot
 * store to a tenth and then to a quarter of the stores.
 */
function fleetOf(minutes) {
  const at = (share) => `${Math.round(share * minutes * 60)}s`;
  return [
    ...['--stores', '50', '--terminals', '500', '--rate', '1000', '--opening-hours', openingHours(), '--backfill', '7d'],
    ...['--slowdown', '0.72', '--store-spread', '0.1', '--skew-share', '0.002', '--late-share', '0.02', '--return-within', at(1)],
    ...['--canary-slowdown', '1.4', `--rollout=-2d=0.02,${at(0.35)}=0.1,${at(0.65)}=0.25`],
    ...['--trouble', `slow-sync:7@${at(0.4)},bad-network:31,memory:18@${at(0.2)},silent:44@${at(0.3)}`],
  ];
}

async function simulatedDay(minutes) {
  const stack = await startStack({ scrapeSeconds: 5, rules: process.env.ALERT_RULES, fleet: fleetOf(minutes) });
  // Meanwhile another run can draw from it: node make.mjs --urls build/stack.json --out /tmp/pictures
  mkdirSync(join(HERE, 'build'), { recursive: true });
  const { prometheus, clickhouse } = stack;
  writeFileSync(join(HERE, 'build/stack.json'), JSON.stringify({ prometheus, clickhouse }), { mode: 0o600 });
  // The week of history comes first; the pictures begin when only the day's trade is left.
  const busy = 'sum(rate(tillwatch_samples_total{outcome="accepted"}[30s])) > 3000';
  let quiet = 0;
  await until('the history has arrived', 1200, async () => {
    stack.check();
    await sleep(5000);
    const { result } = await promQuery(stack.prometheus, 'query', { query: `(${busy}) or (time() - max(tillwatch_start_timestamp_seconds) < 75)` });
    quiet = result.length === 0 ? quiet + 1 : 0;
    return quiet >= 7;
  });
  const started = Date.now();
  console.log(`The history has arrived; ${minutes} minutes of trade follow`);
  const due = started + minutes * MINUTE_MS;
  while (Date.now() < due) {
    stack.check();
    await sleep(Math.min(5000, due - Date.now()));
  }
  return { ...stack, startedMs: started + 2 * MINUTE_MS };
}

/** A small server for the page, its script and Grafana's icons. */
async function serve() {
  await build({
    entryPoints: [join(HERE, 'page/main.jsx')],
    outfile: join(HERE, 'build/main.js'),
    bundle: true,
    minify: true,
    logLevel: 'error',
    loader: { '.svg': 'text', '.ttf': 'empty' },
    define: { 'process.env.NODE_ENV': '"production"' },
  });
  const icons = join(HERE, 'node_modules/@grafana/ui/dist/public');
  const page =
    '<!doctype html><html><head><meta charset="utf-8"><link rel="stylesheet" href="/build/main.css"><style>body{margin:0}</style></head>' +
    '<body><div id="root"></div><script src="/build/main.js"></script></body></html>';
  const types = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url, 'http://x').pathname);
    if (path === '/') return response.setHeader('content-type', 'text/html').end(page);
    const file = path.startsWith('/build/main.') ? join(HERE, path) : join(icons, path.replace(/^\/public(\/build)?/, ''));
    try {
      const bytes = readFileSync(file);
      response.setHeader('content-type', types[extname(file)] ?? 'application/octet-stream').end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return server;
}

const spoken = (value) => (value === ALL ? 'All' : [value].flat().join(', '));

/** A store worth a look: the slowest synchronisation. */
async function slowestStore(prometheus) {
  const { result } = await promQuery(prometheus, 'query', { query: 'topk(1, pos_sync_duration_window_seconds{q="0.95"})' });
  return result[0]?.metric.store_id;
}

/** The till with most to tell: it has a week behind it, most transactions wait on it, and people logged in while it was offline. */
async function tillToShow(clickhouse) {
  if (!AVAILABLE.terminals) return {};
  const { data } = await sqlQuery(
    clickhouse,
    `SELECT store_id, terminal_id FROM v_rollup_terminal_1h GROUP BY store_id, terminal_id
     HAVING countIf(metric = 'offline_login_duration_ms') > 0 AND min(hour_start) < now() - INTERVAL 6 DAY
     ORDER BY maxIf(max_wire, metric = 'pending_transactions' AND hour_start > now() - INTERVAL 2 HOUR) DESC, uniqExactIf(hour_start, metric = 'offline_login_duration_ms') DESC LIMIT 1`,
  );
  return data.length === 0 ? {} : { store_id: data[0][0], terminal_id: data[0][1] };
}

async function alertsOf(prometheus) {
  const { data } = await (await fetch(`${prometheus}/api/v1/alerts`)).json();
  const since = (text) => {
    const minutes = Math.floor((Date.now() - Date.parse(text)) / MINUTE_MS);
    return minutes < 1 ? 'under 1 min' : `${minutes} min`;
  };
  return data.alerts
    .filter(({ labels }) => labels.severity !== 'none')
    .map(({ labels, state, activeAt }) => ({ name: labels.alertname, severity: labels.severity, state, since: since(activeAt), about: labels.store_id ?? labels.release ?? labels.scope }));
}

/** Where releases reached their first terminals, as the annotation's query finds them. */
async function marksOf(dashboard, { prometheus, fromMs, toMs }) {
  const marks = [];
  // Where the dashboard looks at a week its panels have no marks.
  if (toMs - fromMs > 86_400_000) return marks;
  for (const { expr, iconColor } of dashboard.annotations.list) {
    const { result } = await promQuery(prometheus, 'query_range', { query: expr, start: String(fromMs / 1000), end: String(toMs / 1000), step: '15' });
    for (const { values } of result) {
      values.forEach(([time], at) => {
        if (at === 0 || time - values[at - 1][0] > 60) marks.push({ time: time * 1000, color: iconColor === 'red' ? '#F2495C' : iconColor });
      });
    }
  }
  return marks;
}

/** Now, or a little before: not so near a mark of the time axis (every five minutes) that its label is cut at the edge. */
function endOfRange(nowMs) {
  const [mark, margin, step] = [300_000, 45_000, 15_000];
  const now = Math.floor(nowMs / step) * step;
  const past = now % mark;
  if (past < margin) return now - past - margin;
  return past > mark - margin ? now - past + mark - margin : now;
}

async function draw(browser, address, file, stack) {
  const dashboard = JSON.parse(readFileSync(join(ROOT, 'dashboards/json', file), 'utf8'));
  const toMs = endOfRange(Date.now());
  const fromMs = dashboard.time.from.endsWith('d') ? toMs - 7 * 86400e3 : Math.max(toMs - Number(options.minutes) * MINUTE_MS, stack.startedMs ?? 0);
  const context = { prometheus: stack.prometheus, clickhouse: stack.clickhouse, fromMs, toMs };
  const store = options.store ?? (await slowestStore(stack.prometheus));
  const single = dashboard.templating.list.find(({ name }) => name === 'store_id')?.multi === false;
  const variables = await chooseVariables(dashboard, context, single ? { store_id: store, ...(dashboard.uid === 'tillwatch-terminal' ? await tillToShow(stack.clickhouse) : {}) } : {});
  const frames = {};
  const ranges = { dashboard: { fromMs, toMs } };
  const blank = [];
  for (const panel of dashboard.panels) {
    if (panel.type === 'row') continue;
    ranges[panel.id] = rangeOf(panel, context);
    const points = Math.max(60, Math.round((panel.gridPos.w / 24) * WIDTH * 0.6));
    frames[panel.id] = await panelFrames(panel, { ...context, variables, points });
    if (panel.type !== 'alertlist' && !hasValues(frames[panel.id])) blank.push(panel.title);
  }
  const shown = dashboard.templating.list
    .filter(({ hide }) => hide !== 2)
    .map(({ type, name, label, query }) => ({ label, value: type === 'datasource' ? (query === 'prometheus' ? 'Prometheus' : 'ClickHouse') : spoken(variables[name]) }));
  const marks = await marksOf(dashboard, context);
  const picture = { dashboard, frames, ranges, variables: shown, alerts: await alertsOf(stack.prometheus), marks, width: WIDTH };

  const page = await browser.newPage({ viewport: { width: WIDTH, height: 900 } });
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.message));
  await page.addInitScript(`window.PICTURE = ${JSON.stringify(picture)}`);
  await page.goto(address);
  await page.waitForFunction('window.PICTURE_HEIGHT || window.PICTURE_FAILED', { timeout: 30_000 });
  const failed = await page.evaluate('window.PICTURE_FAILED');
  if (failed) throw new Error(`${file}: ${failed}`);
  await page.setViewportSize({ width: WIDTH, height: await page.evaluate('Math.ceil(window.PICTURE_HEIGHT)') });
  await page.waitForLoadState('networkidle');
  await page.evaluate('document.fonts.ready');
  await sleep(700);
  // A panel is blank, whatever its query said, when it shows an error, no text, or a canvas without a coloured line.
  const empty = await page.$$eval('[data-panel]', (panels, marks) => {
    const LIMITS = [[229, 172, 14], [242, 73, 92]];
    const isColoured = (canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      // Columns of the canvas with colour in them; a mark has nine, and limits are amber or red dashes.
      const columns = new Set();
      for (let at = 0; at < data.length; at += 4) {
        const [red, green, blue, alpha] = data.subarray(at, at + 4);
        const isLimit = LIMITS.some((limit) => limit.every((part, channel) => Math.abs(part - [red, green, blue][channel]) < 16));
        if (alpha > 40 && !isLimit && Math.max(red, green, blue) - Math.min(red, green, blue) > 25) columns.add((at / 4) % canvas.width);
      }
      return columns.size > 9 * marks + 4;
    };
    return panels.filter((panel) => {
      const canvas = [...panel.querySelectorAll('canvas')];
      if (panel.dataset.kind === 'timeseries' && !canvas.some(isColoured)) return true;
      const body = panel.querySelector('[data-testid="data-testid panel content"]') ?? panel;
      return body.querySelector('[data-error]') || (canvas.length === 0 && !body.querySelector('svg rect') && !/[0-9a-z]/i.test(body.textContent ?? ''));
    }).map((panel) => panel.dataset.panel);
  }, marks.length);
  const wide = await page.screenshot({ fullPage: true });
  await page.close();
  mkdirSync(options.out, { recursive: true });
  const out = join(options.out, file.replace('.json', '.png'));
  await sharp(wide).png({ palette: true, quality: 95, effort: 8, colours: 256 }).toFile(out);
  const bytes = statSync(out).size;
  if (bytes > BYTES_MAX) faults.push(`${out} has ${bytes} bytes, more than ${BYTES_MAX}`);
  for (const title of [...blank, ...empty]) faults.push(`blank panel: ${title}`);
  console.log(`${out} ${Math.round(bytes / 1000)} kB${faults.length > 0 ? `\n  ${faults.join('\n  ')}` : ''}`);
  return faults.length;
}

const stack = options.urls ? JSON.parse(readFileSync(options.urls, 'utf8')) : await simulatedDay(Number(options.minutes));
let faults = 0;
try {
  const server = await serve();
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--font-render-hinting=none'],
  });
  const files = readdirSync(join(ROOT, 'dashboards/json')).filter((name) => !options.only || name.startsWith(`${options.only}.`));
  for (const file of files) faults += await draw(browser, `http://127.0.0.1:${server.address().port}/`, file, stack);
  await browser.close();
  server.close();
} finally {
  await stack.stop?.();
}
if (faults > 0) {
  console.error(`${faults} faults`);
  process.exit(1);
}
