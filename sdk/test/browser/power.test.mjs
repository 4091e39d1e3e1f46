// Power cuts at moments that nobody chose.
import { after, before, describe, test } from 'node:test';
import { Collector, Line, script, sleep } from './support.mjs';
import { PAGE, Till } from './till.mjs';

const CUTS = Number(process.env.SDK_POWER_CUTS || 50);
const TILLS = 5;

/** What was recorded so shortly before a cut may be lost: 5 s in memory, and what the write takes on a busy machine. */
const MEMORY_MS = 8000;

let collector;

before(async () => {
  collector = await new Collector().start();
});
after(() => collector.stop());

describe('power cuts', { concurrency: true, timeout: 900_000 }, () => {
  for (let nth = 0; nth < TILLS; nth++)
    test(`till ${nth + 1}, ${CUTS / TILLS} cuts`, async (t) => {
      const line = await new Line(collector, { '/': PAGE, '/tillwatch.js': script() }).start();
      const till = new Till(line);
      // In memory at the moment of a cut: may be there or not, but not twice.
      let doubtful = 0;
      try {
        for (let cut = 0; cut < CUTS / TILLS; cut++) {
          await till.open();
          line.mode = Math.random() < 0.5 ? 'open' : ['cut', '503', 'lost'][cut % 3];
          const end = Date.now() + 4000 + Math.random() * 10_000;
          while (Date.now() < end) {
            await till.record(2);
            await sleep(Math.random() * 300);
            if (Math.random() < 0.1) till.flush().catch(() => {});
          }
          await till.kill();
          const cutAt = Date.now();
          for (const [value, at] of till.ledger)
            if (Number.isFinite(at)) {
              const isDoubtful = at > cutAt - MEMORY_MS;
              till.ledger.set(value, isDoubtful ? Infinity : -Infinity);
              doubtful += isDoubtful;
            }
        }
        line.mode = 'open';
        await till.open();
        await till.flush();
        const found = await till.settled(collector, 0);
        t.diagnostic(`${found} of ${till.ledger.size} found, ${doubtful} recorded in the last ${MEMORY_MS} ms before a cut`);
      } finally {
        await till.end();
        await line.stop();
      }
    });
});
