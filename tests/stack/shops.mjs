// Twice a second, posts a batch for each store of a plan; the plan is read anew each time, so that a script can change it.
// node shops.mjs INGEST PLAN ACKS
//   PLAN  {"store-01": {"sync_ms": 900, "syncs": 10}, …}; a store that is not in it is silent
//   ACKS  gets a line {"store", "sync_ms", "at_ms"} when the first batch with a new sync_ms of a store is acknowledged
import { randomUUID } from "node:crypto";
import { appendFileSync, readFileSync } from "node:fs";

const [ingest, plan, acks] = process.argv.slice(2);
const tills = new Map();

async function post(store, { sync_ms, syncs }) {
  const till = tills.get(store) ?? tills.set(store, { queue: randomUUID(), seq: 0, waiting: [] }).get(store);
  till.seq += 1;
  const now = Date.now();
  const samples = Array.from({ length: syncs }, () => [
    { m: "sync_duration_ms", t: now, v: sync_ms, connection: "online" },
    { m: "sync_attempts", t: now, v: 1, label: "success" },
  ]).flat();
  till.waiting.push({ v: 1, store_id: store, terminal_id: "till-1", queue: till.queue, seq: till.seq, release: "2.4.1", consent: true, samples });
  // What was not acknowledged is sent again, as terminals do.
  while (till.waiting.length > 0) {
    const answer = await fetch(`${ingest}/v1/batches`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...till.waiting[0], sent_at_ms: Date.now() }),
    });
    if (answer.status !== 202) throw new Error(`${answer.status} ${await answer.text()}`);
    till.waiting.shift();
  }
  if (till.sync_ms !== sync_ms) appendFileSync(acks, `${JSON.stringify({ store, sync_ms, at_ms: Date.now() })}\n`);
  till.sync_ms = sync_ms;
}

for (;;) {
  const due = Date.now() + 500;
  const stores = Object.entries(JSON.parse(readFileSync(plan, "utf8")));
  await Promise.all(stores.map(([store, what]) => post(store, what).catch((error) => console.error(`${store}: ${error.message}`))));
  await new Promise((done) => setTimeout(done, Math.max(0, due - Date.now())));
}
