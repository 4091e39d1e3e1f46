// OpenTelemetry's own exporters against a real collector: JavaScript in protobuf and JSON here, Python in `exporter.py`.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { DiagLogLevel, diag } from '@opentelemetry/api';
import { OTLPMetricExporter as Json, AggregationTemporalityPreference } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as Protobuf } from '@opentelemetry/exporter-metrics-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { AggregationType, InstrumentType, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { Collector, until } from '../../sdk/test/browser/support.mjs';

const MIB = 1_048_576;
/** What is recorded, in seconds. */
const VALUES = Array.from({ length: 200 }, (_, number) => 0.02 * 1.03 ** number);

const collector = new Collector();

/** A provider whose exporter posts when it is told to. */
function provider(Exporter, store, more = {}) {
  const aggregation = more.isExponential ? { type: AggregationType.EXPONENTIAL_HISTOGRAM } : { type: AggregationType.DEFAULT };
  const exporter = new Exporter({
    url: `${collector.url}/v1/metrics`,
    temporalityPreference: AggregationTemporalityPreference.DELTA,
    aggregationPreference: (type) => (type === InstrumentType.HISTOGRAM ? aggregation : { type: AggregationType.DEFAULT }),
    ...more.options,
  });
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 600_000, exportTimeoutMillis: 30_000 });
  const resource = resourceFromAttributes({ 'store.id': store, 'service.instance.id': 'till-1', 'service.version': '1.2.3', consent: 'granted' });
  return new MeterProvider({ resource, readers: [reader] });
}

/** The SDKs' own bounds are made for milliseconds: seconds would all lie in the first bucket or two. */
function record(meters, isExponential) {
  const meter = meters.getMeter('pos');
  meter.createGauge('memory.used.mb', { unit: 'MiBy' }).record(50);
  const logins = meter.createCounter('offline_logins');
  logins.add(3, { result: 'success' });
  logins.add(1, { result: 'failure' });
  meter.createUpDownCounter('pending_transactions').add(7);
  const durations = meter.createHistogram('sync.duration', { unit: isExponential ? 's' : 'ms' });
  for (const value of VALUES) durations.record(isExponential ? value : value * 1e3);
}

/** All that was recorded is there, once; percentiles are off by no more than `share`. */
async function check(store, share) {
  const near = (actual, wanted, by, what) => assert.ok(Math.abs(actual - wanted) <= by, `${store}: ${what} is ${actual}, not ${wanted}`);
  const totals = await until(async () => {
    const totals = await collector.totals(store);
    return totals.get('sync_duration_ms')?.count === VALUES.length && totals.has('memory_used_mb') && totals;
  }, `what ${store} has posted`, 60_000);
  // Exporters say once more how much there is when they are shut down.
  const level = (name) => totals.get(name).sum / totals.get(name).count;
  near(level('memory_used_mb'), 50 * MIB, 1, 'the memory');
  near(totals.get('sync_duration_ms').sum, VALUES.reduce((sum, value) => sum + value * 1e6, 0), 10, 'the sum');
  assert.equal(totals.get('offline_logins success').sum, 3);
  assert.equal(totals.get('offline_logins failure').sum, 1);
  assert.equal(level('pending_transactions'), 7);
  const answer = await (await fetch(`${collector.adminUrl}/api/v1/percentiles?metric=sync_duration_ms&store_id=${store}&q=0.5,0.95,0.99`)).json();
  const [point] = answer.series[0].points;
  const ordered = VALUES.toSorted((one, other) => one - other);
  for (const [quantile, read] of Object.entries(point.values)) {
    const exact = ordered[Math.ceil(Number(quantile) * VALUES.length) - 1] * 1e3;
    near(read, exact, exact * share, `quantile ${quantile}`);
  }
}

test('exporters of OpenTelemetry', { timeout: 300_000 }, async (t) => {
  t.after(() => collector.stop());
  await collector.start();

  for (const [name, Exporter] of Object.entries({ protobuf: Protobuf, json: Json })) {
    for (const isExponential of [false, true]) {
      for (const compression of ['none', 'gzip']) {
        const store = `js-${name}-${isExponential ? 'exponential' : 'explicit'}-${compression}`;
        await t.test(store, async () => {
          const meters = provider(Exporter, store, { isExponential, options: { compression } });
          record(meters, isExponential);
          await meters.forceFlush();
          await meters.shutdown();
          // 160 buckets from 20 ms to 7.2 s are of scale 4. SDKs' own bounds lie up to a factor of 2.5 apart.
          await check(store, isExponential ? 0.0219 + 0.002 : 1.5);
        });
      }
    }
    await t.test(`${name}: a cumulative exporter is told what to set, and does not try again`, async () => {
      const said = [];
      const logger = Object.fromEntries(['error', 'warn', 'info', 'debug', 'verbose'].map((level) => [level, (...what) => said.push(what.join(' '))]));
      diag.setLogger(logger, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
      const options = { temporalityPreference: AggregationTemporalityPreference.CUMULATIVE };
      const meters = provider(Exporter, `js-${name}-cumulative`, { options });
      meters.getMeter('pos').createCounter('login_failures').add(1);
      await meters.forceFlush();
      await meters.shutdown();
      diag.disable();
      const partial = said.filter((line) => line.includes('OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta'));
      assert.ok(partial.length > 0, said.join('\n'));
    });
  }

  // Python's dependencies are no package of npm: `tests/stack/otlp.sh` installs them and names the interpreter.
  const python = process.env.OTLP_PYTHON;
  for (const kind of python ? ['explicit', 'exponential'] : []) {
    for (const compression of ['none', 'gzip']) {
      const store = `python-${kind}-${compression}`;
      await t.test(store, async () => {
        const exporter = spawn(python, [new URL('exporter.py', import.meta.url).pathname, `${collector.url}/v1/metrics`, store, kind, compression, ...VALUES.map(String)], { stdio: 'inherit' });
        const code = await new Promise((resolve) => exporter.on('exit', resolve));
        assert.equal(code, 0);
        await check(store, kind === 'exponential' ? 0.0219 + 0.002 : 1.5);
      });
    }
  }
});
