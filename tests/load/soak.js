// Soak: 5,000 batches a minute from up to 500 terminals, an hour unless DURATION says otherwise.
//
//   k6 run -e URL=http://127.0.0.1:8080 -e DURATION=10m tests/load/soak.js
import exec from 'k6/execution';
import { batch, openLoad, post, settings, thresholds } from './terminal.js';

const rate = Number(__ENV.RATE || 5000);

export const options = {
  scenarios: { soak: openLoad(rate, __ENV.DURATION || '60m') },
  thresholds,
};

export default function () {
  const terminal = (exec.vu.idInTest - 1) % settings.terminals;
  post([batch(terminal, Date.now(), 6000)]);
}
