// The probe's own page for Prometheus. The collector keeps what is synthetic out of its series, because these say how
// people fare; what the probe found is said here.
import { createServer } from 'node:http';
import { titleOf } from './scenario.mjs';

export const RESULTS = ['ok', 'over_limit', 'failed'];

/** Every series: name, type, help, labels. The alerts, the dashboards and docs/probes.md name them. */
export const FAMILIES = [
  ['pos_synthetic_runs_total', 'counter', 'Counts runs of a scenario by result: ok, over_limit (it measured more than it may), failed (a step could not be done).', ['store_id', 'scenario', 'result']],
  ['pos_synthetic_last_run_result', 'gauge', 'Is 1 for the result of the last run of a scenario, and 0 for the others; all are 0 before the first run.', ['store_id', 'scenario', 'result']],
  ['pos_synthetic_last_run_timestamp_seconds', 'gauge', 'Shows when a scenario last ended; before its first run, since when it should run. A restart does not begin anew.', ['store_id', 'scenario']],
  ['pos_synthetic_run_duration_seconds', 'gauge', 'Shows how long the last run of a scenario took, with everything.', ['store_id', 'scenario']],
  ['pos_synthetic_steps_total', 'counter', 'Counts steps of a scenario by result; steps behind a failed one are not run.', ['store_id', 'scenario', 'step', 'result']],
  ['pos_synthetic_step_duration_seconds', 'gauge', 'Shows how long each step of the last run took.', ['store_id', 'scenario', 'step']],
  ['pos_synthetic_measured_seconds', 'gauge', 'Shows the durations that the last run measured.', ['store_id', 'scenario', 'measure']],
  ['pos_synthetic_limit_seconds', 'gauge', 'Shows how long each of these may be.', ['store_id', 'scenario', 'measure']],
  ['pos_synthetic_measured_bytes', 'gauge', 'Shows the sizes that the last run measured.', ['store_id', 'scenario', 'measure']],
  ['pos_synthetic_limit_bytes', 'gauge', 'Shows how large each of these may be.', ['store_id', 'scenario', 'measure']],
  ['pos_synthetic_interval_seconds', 'gauge', 'Shows how often each scenario should run.', ['store_id']],
  ['pos_synthetic_waiting_batches', 'gauge', 'Shows how many batches wait for the collector to acknowledge them.', ['store_id']],
  ['pos_synthetic_dropped_batches_total', 'counter', 'Counts batches that were given up because they were too old, too many or refused.', ['store_id']],
];

const stepLabel = (number, title) => `${String(number).padStart(2, '0')} ${title}`;
const escape = (text) => String(text).replace(/[\\"\n]/g, (sign) => (sign === '\n' ? '\\n' : '\\' + sign));

/** A value of a unit in what Prometheus counts in. */
const inBase = (value, unit) => (unit === 'ms' ? value / 1000 : value);

export class Metrics {
  constructor({ store, scenarios, everyMs, state, limitFactor = 1 }) {
    this.base = { store_id: store };
    this.state = state;
    this.scenarios = scenarios;
    this.counters = new Map();
    /** By scenario: what its last run left. */
    this.last = new Map();
    this.everyMs = everyMs;
    this.limitFactor = limitFactor;
    // A counter that begins with its first event would hide that event from `increase`.
    for (const scenario of scenarios)
      for (const result of RESULTS) {
        this.counters.set(this.key('pos_synthetic_runs_total', { scenario: scenario.name, result }), 0);
        scenario.steps.forEach((step, at) => this.counters.set(this.key('pos_synthetic_steps_total', { scenario: scenario.name, step: stepLabel(at + 1, titleOf(step)), result }), 0));
      }
  }

  key(name, labels) {
    return `${name}{${Object.entries({ ...this.base, ...labels }).map(([key, value]) => `${key}="${escape(value)}"`).join(',')}}`;
  }

  count(name, labels) {
    const key = this.key(name, labels);
    this.counters.set(key, (this.counters.get(key) ?? 0) + 1);
  }

  /** A run has ended. */
  ran({ scenario, result, steps, measured, ms }) {
    this.count('pos_synthetic_runs_total', { scenario, result });
    for (const step of steps) this.count('pos_synthetic_steps_total', { scenario, step: stepLabel(step.number, step.title), result: step.result });
    this.last.set(scenario, { result, steps, measured, ms });
  }

  /** The lines of each series. */
  *lines() {
    yield* this.counters;
    for (const { name: scenario, steps } of this.scenarios) {
      const last = this.last.get(scenario);
      for (const result of RESULTS) yield [this.key('pos_synthetic_last_run_result', { scenario, result }), last?.result === result ? 1 : 0];
      yield [this.key('pos_synthetic_last_run_timestamp_seconds', { scenario }), this.state.lastRunMs(scenario) / 1000];
      for (const step of steps) {
        const limit = step.limit_ms ?? step.limit_bytes;
        if (limit === undefined) continue;
        const unit = step.limit_ms ? 'ms' : 'bytes';
        const measure = step.measure ?? step.name ?? 'memory';
        yield [this.key(`pos_synthetic_limit_${unit === 'ms' ? 'seconds' : 'bytes'}`, { scenario, measure }), inBase(limit * this.limitFactor, unit)];
      }
      if (!last) continue;
      yield [this.key('pos_synthetic_run_duration_seconds', { scenario }), last.ms / 1000];
      for (const { number, title, ms } of last.steps) yield [this.key('pos_synthetic_step_duration_seconds', { scenario, step: stepLabel(number, title) }), ms / 1000];
      for (const { name: measure, unit, value } of last.measured) yield [this.key(`pos_synthetic_measured_${unit === 'ms' ? 'seconds' : 'bytes'}`, { scenario, measure }), inBase(value, unit)];
    }
    yield [this.key('pos_synthetic_interval_seconds', {}), this.everyMs / 1000];
    yield [this.key('pos_synthetic_waiting_batches', {}), this.state.waiting.length];
    yield [this.key('pos_synthetic_dropped_batches_total', {}), this.state.dropped];
  }

  text() {
    const lines = [...this.lines()];
    return FAMILIES.map(([name, type, help]) => {
      const own = lines.filter(([key]) => key.startsWith(name + '{'));
      return own.length ? `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${own.map(([key, value]) => `${key} ${value}\n`).join('')}` : '';
    }).join('');
  }
}

/** Serves the page. `listen` is HOST:PORT; with port 0 the system chooses one. */
export async function serve(metrics, listen) {
  const [, host, port] = /^(.*):(\d+)$/.exec(listen);
  const server = createServer((request, response) => {
    if (request.method !== 'GET' || new URL(request.url, 'http://localhost').pathname !== '/metrics') return void response.writeHead(404).end('There is only /metrics here.\n');
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(metrics.text());
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(Number(port), host.replace(/^\[|\]$/g, ''), resolve));
  const stop = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://${host}:${server.address().port}/metrics`, stop };
}
