// Storm: 1,000 terminals come back within one second, each with HOURS of samples kept offline, and send
// them in requests of many batches until all is acknowledged.
//
//   k6 run -e URL=http://127.0.0.1:8080 -e HOURS=24 tests/load/storm.js
import exec from 'k6/execution';
import { sleep } from 'k6';
import { batch, post, settings, thresholds } from './terminal.js';

const HOUR_MS = 3600000;
const ATTEMPTS_MAX = 20;
const BATCHES_A_REQUEST = 24;
const terminals = Number(__ENV.TERMINALS || 1000);
const hours = Math.min(Number(__ENV.HOURS || 24), 167);

export const options = {
  scenarios: {
    storm: { executor: 'per-vu-iterations', vus: terminals, iterations: 1, maxDuration: '10m' },
  },
  // Terminals may be told to wait, so single requests may be deferred: none may be rejected, and every
  // terminal must have delivered in the end.
  thresholds: {
    http_req_duration: ['p(95)<2000'],
    tillwatch_samples_rejected: thresholds.tillwatch_samples_rejected,
    checks: ['rate>0.5'],
    iterations: [`count==${terminals}`],
  },
};

export default function () {
  const terminal = exec.vu.idInTest - 1;
  sleep(Math.random());
  const now = Date.now();
  for (let done = 0; done < hours; done += BATCHES_A_REQUEST) {
    const kept = [];
    for (let hour = hours - done; hour > Math.max(hours - done - BATCHES_A_REQUEST, 0); hour -= 1) {
      kept.push(batch(terminal, now - (hour - 1) * HOUR_MS, HOUR_MS));
    }
    let attempt = 0;
    // The same batches again until they are acknowledged: what was taken already is a duplicate then.
    while (!post(kept)) {
      attempt += 1;
      if (attempt === ATTEMPTS_MAX) exec.test.abort(`terminal ${terminal} could not deliver`);
      sleep(Math.random() * Math.min(30, 2 ** attempt));
    }
  }
}
