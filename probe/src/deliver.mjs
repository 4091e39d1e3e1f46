// Brings what waits to the collector, each batch until it is acknowledged.
import { readFileSync } from 'node:fs';
import { sleep } from './sleep.mjs';

const TRIES = 3;
const ANSWER_MS = 30_000;
const PAUSE_MS_MAX = 60_000;
const BACKLOG_MS = 10 * 60_000;

/** The samples of a run. What has no name in the catalogue is for the probe's own series alone. */
export const samplesOf = ({ measured }) =>
  measured
    .filter(({ metric }) => metric)
    .map(({ metric, unit, value, atMs, connection }) => ({
      m: metric,
      t: atMs,
      // Memory has millions of bytes as its unit; durations are in ms as they are. Whole recording units, without a tail.
      v: unit === 'bytes' ? value / 1e6 : Math.round(value * 1000) / 1000,
      ...(connection ? { connection } : {}),
    }));

async function post({ collector, token, signal }, { madeAtMs, batch }) {
  const now = Date.now();
  const url = `${collector}/v1/batches?store=${encodeURIComponent(batch.store_id)}${now - madeAtMs > BACKLOG_MS ? '&class=backlog' : ''}`;
  const headers = { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) };
  const ends = AbortSignal.timeout(ANSWER_MS);
  try {
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ ...batch, sent_at_ms: now }), signal: signal ? AbortSignal.any([ends, signal]) : ends });
    const json = await response.json().catch(() => undefined);
    return { status: response.status, json, afterMs: 1000 * Number(response.headers.get('retry-after')) || 0 };
  } catch (error) {
    return { status: 0, reason: error.cause?.code ?? error.message };
  }
}

/** What an answer means: `taken`, `refused` (it will never be taken) or `later`, with what to do about it. */
export function judge({ status, json, reason }) {
  const { code, message } = json?.error ?? {};
  const said = [code, message].filter(Boolean).join(': ');
  // Whoever stands between may answer anything; only the collector's own 202 says how many it accepted.
  if (status === 202 && json?.accepted >= 0) {
    const rejected = json.reasons?.map((one) => one.reason).join(', ');
    return { is: 'taken', says: json.rejected > 0 ? `rejected samples: ${json.rejected} (${rejected}); correct "metric" in the scenario, see docs/metrics.md` : '' };
  }
  if (status === 413 && code) return { is: 'refused', why: 'too_large', says: said };
  if ([400, 415, 422].includes(status) && code) return { is: 'refused', why: 'refused', says: said };
  if ([401, 403].includes(status) && code) return { is: 'later', isFinal: true, says: `${said} Give a key that may post for this store with --token-file (tillwatch key new --scope post --store STORE --to FILE)` };
  if (status === 0) return { is: 'later', says: `no answer (${reason}): is --collector right, and does the collector run?` };
  return { is: 'later', says: said || `status ${status}, which is no answer of tillwatch: is --collector right?` };
}

/** Sends what waits, oldest first, and stops at the first batch that the collector does not take now. Says whether all is there. */
export async function deliver(state, { collector, tokenFile, signal, log = () => {}, wait = sleep }) {
  state.expire();
  if (!state.waiting.length) return true;
  let token;
  try {
    // Read anew each time, so that a token can be replaced while the probe runs.
    token = tokenFile && readFileSync(tokenFile, 'utf8').trim();
  } catch (error) {
    log('error', { did: 'post', result: 'later', reason: `${tokenFile} cannot be read (${error.code})`, waiting: state.waiting.length });
    return false;
  }
  for (const entry of [...state.waiting]) {
    for (let tries = 1; ; tries += 1) {
      const answer = await post({ collector, token, signal }, entry);
      const { is, why, says, isFinal } = judge(answer);
      const line = { did: 'post', seq: entry.batch.seq, result: is, ...(says ? { reason: says } : {}) };
      if (is === 'taken') {
        state.acknowledge(entry);
        log(says ? 'warn' : 'info', line);
        break;
      }
      if (is === 'refused') {
        state.drop(entry, why);
        log('error', line);
        break;
      }
      if (isFinal || tries === TRIES || signal?.aborted) {
        log('warn', { ...line, waiting: state.waiting.length });
        return false;
      }
      await wait(Math.min(PAUSE_MS_MAX, Math.max(answer.afterMs ?? 0, 1000 * 2 ** (tries - 1))), signal);
      if (signal?.aborted) return false;
    }
  }
  return true;
}
