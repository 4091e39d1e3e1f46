// A fleet that posts: each store has one till with a queue of its own, and a batch says a few measurements and what waits in the till.
import { Agent, request } from 'node:http';
import { randomUUID } from 'node:crypto';

const METRICS = ['sync_duration_ms', 'lcp_ms', 'inp_ms', 'network_latency_ms'];

export class FleetLoad {
  /** `values`: between which two numbers the measurements lie. */
  constructor(url, stores, { measurements = 12, values = [30, 90], sockets = 32 } = {}) {
    Object.assign(this, { url: new URL(url), measurements, values, next: 0, sent: 0 });
    this.agent = new Agent({ keepAlive: true, maxSockets: sockets });
    this.queues = Array.from({ length: stores }, () => ({ queue: randomUUID(), seq: 0 }));
  }

  /** Posts the next store's batch, and gives how long the answer took, ms. */
  post() {
    const at = this.next++ % this.queues.length;
    const queue = this.queues[at];
    queue.seq += 1;
    const t = Date.now();
    const [least, most] = this.values;
    const samples = Array.from({ length: this.measurements }, (_, i) => ({ m: METRICS[i % METRICS.length], t, v: least + Math.floor(Math.random() * (most - least)), connection: 'online' }));
    samples.push({ m: 'pending_transactions', t, v: queue.seq % 9 });
    const text = JSON.stringify({ v: 1, sent_at_ms: t, store_id: `store-${String(at).padStart(4, '0')}`, terminal_id: 'till-1', ...queue, release: '2.4.1', consent: true, samples });
    const began = performance.now();
    return new Promise((resolve, reject) => {
      const asked = request({ hostname: this.url.hostname, port: this.url.port, path: '/v1/batches', method: 'POST', agent: this.agent, headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } }, (answer) => {
        answer.resume();
        answer.on('end', () => (answer.statusCode === 202 ? resolve(performance.now() - began) : reject(new Error(`refused with ${answer.statusCode}`))));
      });
      asked.on('error', reject);
      asked.end(text);
    });
  }

  /** Posts at a steady rate until `isOver`, and gives each answer's promise to `each`. */
  async run(rate, isOver, each) {
    const began = performance.now();
    for (let sent = 0; !isOver(); ) {
      for (const due = ((performance.now() - began) / 1000) * rate; sent < due; sent += 1) {
        this.sent += 1;
        each(this.post());
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  stop() { this.agent.destroy(); }
}
