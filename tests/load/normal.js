// Normal trade: 500 terminals in 50 stores, one batch of 40 samples a minute each.
//
//   k6 run -e URL=http://127.0.0.1:8080 tests/load/normal.js
import exec from 'k6/execution';
import { batch, openLoad, post, settings, thresholds } from './terminal.js';

const rate = Number(__ENV.RATE || settings.terminals);

export const options = {
  scenarios: { normal: openLoad(rate, __ENV.DURATION || '5m') },
  thresholds,
};

export default function () {
  // k6 keeps queues by virtual user: the user is the terminal.
  const terminal = (exec.vu.idInTest - 1) % settings.terminals;
  post([batch(terminal, Date.now(), 60000)]);
}
