// Posts batches of many stores at a steady rate until it is ended: node load.mjs URL STORES RATE. It says `ready` when each store has
// reported once.
import { Agent, request } from 'node:http';
import { randomUUID } from 'node:crypto';

const url = new URL(process.argv[2]);
const [stores, rate] = process.argv.slice(3).map(Number);
const agent = new Agent({ keepAlive: true, maxSockets: 32 });
const queues = Array.from({ length: stores }, () => ({ queue: randomUUID(), seq: 0 }));

function body(at) {
  const queue = queues[at];
  queue.seq += 1;
  const t = Date.now();
  const samples = [];
  for (let i = 0; i < 12; i += 1) samples.push({ m: ['sync_duration_ms', 'lcp_ms', 'inp_ms', 'network_latency_ms'][i % 4], t, v: 30 + Math.floor(Math.random() * 60), connection: 'online' });
  samples.push({ m: 'pending_transactions', t, v: queue.seq % 9 });
  return JSON.stringify({ v: 1, sent_at_ms: t, store_id: `store-${String(at).padStart(4, '0')}`, terminal_id: 'till-1', ...queue, release: '2.4.1', consent: true, samples });
}

const post = (at) => new Promise((resolve) => {
  const text = body(at);
  const asked = request({ hostname: url.hostname, port: url.port, path: '/v1/batches', method: 'POST', agent, headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } }, (answer) => {
    answer.resume();
    answer.on('end', () => {
      if (answer.statusCode !== 202) console.log(`refused with ${answer.statusCode}`);
      resolve();
    });
  });
  asked.on('error', resolve);
  asked.end(text);
});

const began = performance.now();
let [sent, answered] = [0, 0];
setInterval(() => {
  for (const due = ((performance.now() - began) / 1000) * rate; sent < due; sent += 1) {
    void post(sent % stores).then(() => {
      answered += 1;
      if (answered === stores) console.log('ready');
    });
  }
}, 2);
setInterval(() => console.log(`sent ${sent} answered ${answered} in ${((performance.now() - began) / 1000).toFixed(1)} s`), 5_000);
