// A terminal for k6: batches of the native format, and what an answer must be.
//
// Settings (k6 run -e NAME=VALUE): URL, STORES, TERMINALS, RATE (batches a minute), DURATION, SAMPLES.
import http from 'k6/http';
import { check } from 'k6';
import { Counter, Rate } from 'k6/metrics';

export const settings = {
  url: __ENV.URL || 'http://127.0.0.1:8080',
  stores: Number(__ENV.STORES || 50),
  terminals: Number(__ENV.TERMINALS || 500),
  samples: Number(__ENV.SAMPLES || 40),
  storePrefix: __ENV.STORE_PREFIX || 'k6-store-',
};

const sent = new Counter('tillwatch_samples_sent');
const accepted = new Counter('tillwatch_samples_accepted');
const duplicate = new Counter('tillwatch_samples_duplicate');
const rejected = new Counter('tillwatch_samples_rejected');
const failed = new Rate('tillwatch_failed');

// Wire name, median, spread (sigma of a log-normal), label: the busiest metrics of a terminal.
const METRICS = [
  ['lcp_ms', 1450, 0.7],
  ['inp_ms', 72, 0.7],
  ['cls_score', 0.025, 1.1],
  ['page_load_ms', 68, 0.5],
  ['sync_duration_ms', 560, 0.55],
  ['sync_attempts', 0, 0, 'success'],
  ['cache_requests', 0, 0, 'hit'],
  ['product_search_ms', 58, 0.6],
  ['idb_write_ms', 8.5, 0.7],
  ['network_latency_ms', 42, 0.6],
  ['memory_used_mb', 51, 0.2],
];

function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

function value(median, sigma) {
  return median === 0 ? 1 : Number((median * Math.exp(sigma * normal())).toFixed(4));
}

// A version 4 UUID: every terminal of every run begins a queue of its own.
export function uuid() {
  return 'xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx'.replace(/x/g, () =>
    Math.floor(Math.random() * 16).toString(16),
  );
}

const queues = {};

// One batch of the terminal with this number, measured in the `spanMs` before `endMs`.
export function batch(terminal, endMs, spanMs) {
  const queue = (queues[terminal] = queues[terminal] || { id: uuid(), seq: 0 });
  queue.seq += 1;
  const samples = [];
  for (let number = 0; number < settings.samples; number += 1) {
    const [m, median, sigma, label] = METRICS[Math.floor(Math.random() * METRICS.length)];
    const sample = {
      m,
      t: endMs - Math.floor(Math.random() * spanMs),
      v: value(median, sigma),
      connection: 'online',
    };
    if (label) sample.label = label;
    samples.push(sample);
  }
  const store = String((terminal % settings.stores) + 1).padStart(3, '0');
  return {
    v: 1,
    store_id: `${settings.storePrefix}${store}`,
    terminal_id: `till-${Math.floor(terminal / settings.stores) + 1}`,
    queue: queue.id,
    seq: queue.seq,
    release: '2.4.1',
    consent: true,
    source: 'synthetic',
    samples,
  };
}

// Posts batches in one request; whether all of it was acknowledged. `sent_at_ms` belongs to the request.
export function post(batches) {
  const body = JSON.stringify({ sent_at_ms: Date.now(), batches });
  const count = batches.reduce((sum, one) => sum + one.samples.length, 0);
  const response = http.post(`${settings.url}/v1/batches`, body, {
    headers: { 'Content-Type': 'application/json' },
  });
  sent.add(count);
  const answer = response.status === 202 ? response.json() : null;
  const isWhole =
    answer !== null && answer.accepted + answer.duplicate === count && answer.rejected === 0;
  failed.add(!isWhole);
  if (answer !== null) {
    accepted.add(answer.accepted);
    duplicate.add(answer.duplicate);
    rejected.add(answer.rejected);
  }
  return check(response, { 'acknowledged, nothing rejected': () => isWhole });
}

// The same limits as `make soak`. An iteration that k6 itself could not begin in time is no success.
export const thresholds = {
  http_req_duration: ['p(95)<500'],
  tillwatch_failed: ['rate<0.001'],
  tillwatch_samples_rejected: ['count==0'],
  dropped_iterations: ['count==0'],
};

// An open load: batches begin when they are due, whatever became of those before.
export function openLoad(rate, duration) {
  return {
    executor: 'constant-arrival-rate',
    rate,
    timeUnit: '1m',
    duration,
    preAllocatedVUs: Math.min(settings.terminals, 100),
    maxVUs: settings.terminals,
  };
}
