#!/usr/bin/env node
// What libraries for browsers deliver after an outage: ours and five others, each with its defaults, on one harness.
// The table goes to stderr, the same as JSON to stdout.
import { readFileSync, rmSync } from 'node:fs';
import { chromium } from 'playwright-core';
import {
  Collector, CountingLine, Sink, browser, bundle, chromiumPath, chromiumVersion, cutPower, folder, gzipped, pool, say, script, sdk, sleep,
  table, textOf, until, untilTime, versionOf,
} from './support.mjs';

const SECONDS = Number(process.env.SDK_OUTAGE_S || 60);
const AFTER_S = Number(process.env.SDK_AFTER_S || 90);
const CUT_EVENTS = 25;
const REPEATS = Number(process.env.SDK_REPEATS || 3);
const ONLY = process.env.SDK_ONLY?.split(',');

const PAGE = '<!doctype html><html lang=en><meta charset=utf-8><title>Till</title><link rel=icon href="data:,"><h1>Till</h1><script src=/sdk.js></script>';

/** `begin(url, store)` and `send(n)` of each library. Nothing is set that has a default. */
const LIBRARIES = {
  faro: {
    name: 'Grafana Faro', package: '@grafana/faro-web-sdk',
    source: `import { initializeFaro } from '@grafana/faro-web-sdk';
      let faro;
      self.begin = (url) => { faro = initializeFaro({ url: url + '/collect', app: { name: 'till', version: '1.0.0' } }); };
      self.send = (n) => faro.api.pushEvent('marker-' + n + '-end');`,
  },
  otel: {
    name: 'OpenTelemetry trace, OTLP/http', package: '@opentelemetry/sdk-trace-web',
    more: ['@opentelemetry/exporter-trace-otlp-http'],
    source: `import { BatchSpanProcessor, WebTracerProvider } from '@opentelemetry/sdk-trace-web';
      import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
      let tracer;
      self.begin = (url) => {
        const provider = new WebTracerProvider({ spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url: url + '/v1/traces' }))] });
        provider.register();
        tracer = provider.getTracer('till');
      };
      self.send = (n) => tracer.startSpan('marker-' + n + '-end').end();`,
  },
  sentry: {
    name: 'Sentry with its offline transport', package: '@sentry/browser',
    source: `import { captureMessage, init, makeBrowserOfflineTransport, makeFetchTransport } from '@sentry/browser';
      self.begin = (url) => init({ dsn: url.replace('://', '://key@') + '/1', transport: makeBrowserOfflineTransport(makeFetchTransport) });
      self.send = (n) => captureMessage('marker-' + n + '-end');`,
    // An event carries the messages of those before it as breadcrumbs; only its own counts.
    eventsOf: (text) =>
      text.split('\n').map((line) => {
        try {
          return JSON.parse(line).message;
        } catch {}
      }).join(),
  },
  datadog: {
    name: 'Datadog browser-rum', package: '@datadog/browser-rum',
    source: `import { datadogRum } from '@datadog/browser-rum';
      self.begin = (url) => datadogRum.init({ applicationId: '00000000-0000-4000-8000-000000000000', clientToken: 'pub00000000', site: 'datadoghq.com', proxy: url + '/proxy' });
      self.send = (n) => datadogRum.addAction('marker-' + n + '-end');`,
  },
  snowplow: {
    name: 'Snowplow browser-tracker', package: '@snowplow/browser-tracker',
    source: `import { newTracker, trackStructEvent } from '@snowplow/browser-tracker';
      self.begin = (url) => newTracker('till', url, { appId: 'till' });
      self.send = (n) => trackStructEvent({ category: 'till', action: 'marker-' + n + '-end' });`,
  },
  tillwatch: { name: 'tillwatch', isOurs: true },
};

const OURS = `
self.begin = (url, store) => tillwatch.init({ url, store, terminal: 'till-1', release: '1.0.0', consent: true });
self.send = (n) => tillwatch.observe('sync_payload_bytes', n);`;

let collector;
let shared;

/** One library in one scenario: a server, a page, and what was sent. */
class Run {
  constructor(id, scenario, nth = 1) {
    this.id = id;
    this.library = LIBRARIES[id];
    this.scenario = scenario;
    this.store = `${id}-${scenario}-${nth}`.toLowerCase();
    this.sent = [];
  }

  async start(isOwnBrowser) {
    const files = { '/': PAGE, '/sdk.js': this.library.script };
    this.server = await (this.library.isOurs ? new CountingLine(collector, files) : new Sink(files, this.library.eventsOf)).start();
    if (isOwnBrowser) this.context = await browser((this.profile = folder('figures')));
    else this.context = await shared.newContext();
    await this.open();
    await sleep(3000);
  }

  async open() {
    this.page = await this.context.newPage();
    await this.page.goto(this.server.url);
    await this.page.evaluate(([url, store]) => begin(url, store), [this.server.url, this.store]);
  }

  /** One event a second. */
  async send(from, count) {
    const began = Date.now();
    for (let nth = 0; nth < count; nth++) {
      await this.page.evaluate((n) => void send(n), from + nth);
      await untilTime(began + (nth + 1) * 1000);
    }
  }

  /** Events of the outage that arrived, and how often. */
  async found(count) {
    const values = this.library.isOurs
      ? await collector.values('sync_payload_bytes', this.store)
      : new Map([...this.server.seen].map(([n]) => [n, 1]));
    const counts = Array.from({ length: count }, (_, nth) => values.get(nth + 1) || 0);
    return { delivered: counts.filter(Boolean).length, twice: counts.filter((n) => n > 1).length };
  }

  /** When the last event of the outage that arrived did so: by the bodies that the collector took. */
  lastAt(count) {
    if (!this.library.isOurs) return Math.max(0, ...[...this.server.seen].filter(([n]) => n <= count).map(([, at]) => at));
    let last = 0;
    for (const { at, mode, body } of this.server.posts) {
      if (mode !== 'open') continue;
      const { histograms = [] } = JSON.parse(textOf(body));
      if (histograms.some(({ m, buckets }) => m === 'sync_payload_bytes' && buckets.some(([value]) => value <= count))) last = at;
    }
    return last;
  }

  /** Business goes on; then it is counted what has come. */
  async goOn(count, back = Date.now()) {
    await this.send(1001, AFTER_S);
    await sleep(8000);
    const now = await this.found(count);
    if (now.delivered < count)
      await until(async () => (await this.found(count)).delivered >= count, 'the rest', 60_000).catch(() => {});
    const later = await this.found(count);
    const last = this.lastAt(count);
    return { ...now, eventually: later.delivered, twice: later.twice, of: count, lastAfterS: last > back ? Math.round((last - back) / 1000) : null };
  }

  async end() {
    await this.context?.close().catch(() => {});
    await this.server?.stop();
    if (this.profile) rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

const SCENARIOS = {
  async S1(run) {
    await run.start();
    await run.context.setOffline(true);
    await run.send(1, SECONDS);
    await run.context.setOffline(false);
    return run.goOn(SECONDS);
  },
  async S2(run) {
    await run.start();
    await run.context.setOffline(true);
    await run.send(1, SECONDS);
    await run.page.close();
    await sleep(1000);
    const back = Date.now();
    await run.context.setOffline(false);
    await run.open();
    return run.goOn(SECONDS, back);
  },
  async S3(run) {
    await run.start();
    run.server.mode = '503';
    await run.send(1, SECONDS);
    const posts = run.server.posts.filter(({ mode }) => mode === '503').length;
    run.server.mode = 'open';
    return { ...(await run.goOn(SECONDS)), posts };
  },
  S4: (run) => cut(run, 0),
  // What a library writes to disk after a while is there by then.
  S4late: (run) => cut(run, 5000),
};

async function cut(run, waitMs) {
  await run.start(true);
  await run.context.setOffline(true);
  await run.send(1, CUT_EVENTS);
  await sleep(waitMs);
  await cutPower(run.profile, run.context);
  const back = Date.now();
  run.context = await browser(run.profile);
  await run.open();
  return run.goOn(CUT_EVENTS, back);
}

async function attempt(id, scenario, nth) {
  const run = new Run(id, scenario, nth);
  const name = `${id} ${scenario}${nth ? ` ${nth}` : ''}`;
  try {
    const result = await SCENARIOS[scenario](run);
    say(`${name}: ${JSON.stringify(result)}`);
    return { id, scenario, nth, ...result };
  } catch (error) {
    say(`${name}: ${error.message}`);
    return { id, scenario, nth, error: error.message };
  } finally {
    await run.end();
  }
}

const ids = Object.keys(LIBRARIES).filter((id) => !ONLY || ONLY.includes(id));
for (const id of ids) {
  const library = LIBRARIES[id];
  library.script = library.isOurs ? script() : await bundle(library.source);
  library.bytes = library.script.length;
  library.gz = gzipped(library.script);
  if (library.isOurs) library.script += OURS;
  library.version = library.isOurs ? JSON.parse(readFileSync(sdk + 'package.json', 'utf8')).version : versionOf(library.package);
  library.others = library.more?.map((name) => `${name.split('/').pop()} ${versionOf(name)}`);
}

const results = [];
try {
  collector = await new Collector().start();
  shared = await chromium.launch({ executablePath: chromiumPath, headless: true, args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'] });
  const jobs = [];
  for (let nth = 1; nth <= REPEATS; nth++) {
    for (const id of ids) jobs.push(() => attempt(id, 'S4', nth));
    for (const id of ids) if (['sentry', 'snowplow', 'tillwatch'].includes(id)) jobs.push(() => attempt(id, 'S4late', nth));
  }
  const gentle = ids.flatMap((id) => ['S1', 'S2', 'S3'].map((scenario) => () => attempt(id, scenario)));
  // Pages that mostly wait: many at once, but begun one after the other.
  const begun = gentle.map(async (job, nth) => {
    await sleep(nth * 1500);
    return job();
  });
  results.push(...(await Promise.all([...begun, pool(jobs, Number(process.env.SDK_CUTS_AT_ONCE || 9))])).flat());
} finally {
  await shared?.close();
  await collector?.stop();
}

const cell = ({ error, delivered, eventually, of, twice } = {}) =>
  of === undefined ? (error ? 'failed' : '') : `${delivered}/${of}${eventually > delivered ? ` (${eventually} later)` : ''}${twice ? `, ${twice} twice` : ''}`;
const rows = ids.map((id) => {
  const library = LIBRARIES[id];
  const of = (scenario) => results.filter((result) => result.id === id && result.scenario === scenario);
  const cuts = (scenario) => {
    const all = of(scenario);
    return all.length ? `${all.map(({ delivered }) => delivered ?? '?').join(', ')} of ${CUT_EVENTS}` : '';
  };
  return [
    [`${library.name} ${library.version}`, ...(library.others || [])].join(', '),
    cell(of('S1')[0]), cell(of('S2')[0]), cell(of('S3')[0]), cuts('S4'), cuts('S4late'), of('S3')[0]?.posts ?? '',
    (library.gz / 1000).toFixed(1) + ' kB',
  ];
});
const head = ['library', 'S1: offline', 'S2: tab closed', 'S3: 503', 'S4: cut after 1 s', 'S4: cut after 6 s', 'posts in S3', 'gzip'];
console.error('\n' + table(head, rows) + '\n');
const libraries = Object.fromEntries(ids.map((id) => [id, (({ name, version, others, bytes, gz }) => ({ name, version, others, bytes, gz }))(LIBRARIES[id])]));
console.log(JSON.stringify({ chromium: chromiumVersion(), seconds: SECONDS, libraries, results }, null, 1));
