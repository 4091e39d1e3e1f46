#!/usr/bin/env node
// Serves dist/ as the collector does, with its policy, and asks a running collector for everything under /api.
// `--made-up` answers what is asked of the fleet, a store, a terminal or a rollout from a synthetic fleet and pushes it; `--stores N` says how large that is,
// `--rate N` how many of its rows change in a second, and with `--all-rate N` all of them change so many times a second.
import { createServer, request } from 'node:http';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { madeUp } from './made-up.mjs';

const here = new URL('.', import.meta.url).pathname;
const option = (name) => { const at = process.argv.indexOf(name); return at < 0 ? undefined : process.argv[at + 1]; };
const port = Number(option('--port') ?? 8099);
const isMadeUp = process.argv.includes('--made-up');
const admin = new URL(process.env.TILLWATCH_ADMIN_URL ?? 'http://127.0.0.1:9090');

export const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types tillwatch";
const HEADERS = { 'Content-Security-Policy': POLICY, 'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'same-origin', 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Resource-Policy': 'same-origin' };

const answered = isMadeUp ? madeUp({ size: Number(option('--stores') ?? 2000), rate: option('--rate') && Number(option('--rate')), allRate: Number(option('--all-rate') ?? 0) }) : null;

function rollout(release) {
  const t = Date.now();
  const isCandidate = release === '2.5.0';
  if (!isCandidate) return { verdict: 'not_judged', look: null, revisions: 0, judged: null, history: [], complete_to: t };
  const metric = (metric, kind, unit, before, now, others_before, others_now, estimate, low, high, state, limits, samples) => ({ metric, kind, unit, before, now, others_before, others_now, worse: estimate === null ? null : { estimate, low, high }, worse_is: kind === 'success' || kind === 'failure' ? 'difference' : 'factor', candidates: 5, controls: 45, samples, limits: { worse_at_most: null, green: null, rollback: null, ...limits }, state, far: state === 'worse' ? ['store-017'] : [] });
  return {
    verdict: 'fail', look: null, revisions: 1, complete_to: t,
    judged: {
      verdict: 'fail', reasons: [{ code: 'worse', text: 'sync_duration_ms: it is worse than the plan tolerates, and not by chance.' }, { code: 'awaited', text: '2 of 49 terminals have not delivered.' }], release, against: '2.4.1', step_percent: 10, is_by_terminal: false,
      step_from: t - 12 * 3.6e6, look_hours: 12, next_look_hours: 24, next_look: t + 11.4 * 3.6e6, method: 'ranks', stores: { candidates: 5, controls: 45, notes: [] }, terminals: { candidates: 49, controls: 451, silent_controls: 0, awaited: 2, silent: [] },
      metrics: [
        metric('offline_login_duration_ms', 'duration', 'ms', 341, 352, 338, 340, 1.03, 0.9, 1.19, 'good', { worse_at_most: 1.2, green: 300, rollback: 500 }, 2110),
        metric('page_load_ms', 'duration', 'ms', 210, 228, 212, 209, 1.1, 0.97, 1.27, 'undecided', { worse_at_most: 1.2 }, 31040),
        metric('sync_duration_ms', 'duration', 'ms', 1402, 2031, 1390, 1402, 1.44, 1.29, null, 'worse', { worse_at_most: 1.2, rollback: 5000 }, 14980),
        metric('memory_used_mb', 'level', 'MB', 51, 52, 51, 51, 1.02, 0.98, 1.06, 'compared', { green: 45, rollback: 50 }, 3520),
        metric('sync_success', 'success', undefined, 0.0039, 0.0042, 0.004, 0.004, 0.0002, -0.002, 0.003, 'good', { green: 0.01, rollback: 0.05 }, 12020),
        metric('errors', 'failure', undefined, 0.0004, 0.0005, 0.0004, 0.0004, 0.0001, -0.0002, 0.0004, 'good', { green: 0.001, rollback: 0.01 }, 310400),
        metric('samples', 'volume', undefined, null, null, null, null, 1, 0.96, 1.05, 'compared', { rollback: 0.8 }, 310400),
      ],
    },
    history: [['step', 'hold', 0], ['look', 'hold', 1], ['look', 'hold', 4], ['look', 'fail', 12]].map(([occasion, verdict, hours]) => ({ verdict, occasion, step_percent: 10, against: '2.4.1', look_hours: hours || null, judged_at: t - (12.2 - hours) * 3.6e6, epoch: 40 + hours, samples: hours * 25866, inputs_hash: '' })),
  };
}

function json(query, answer, value, status = 200) {
  const text = JSON.stringify(value);
  const tag = '"' + createHash('sha256').update(text).digest('hex').slice(0, 16) + '"';
  if (query.headers['if-none-match'] === tag) return answer.writeHead(304, { ETag: tag }).end();
  answer.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', ETag: tag }).end(text);
}

function pass(query, answer) {
  const onward = request({ host: admin.hostname, port: admin.port, method: query.method, path: query.url, headers: { ...query.headers, host: admin.host } }, (found) => {
    answer.writeHead(found.statusCode, found.headers);
    found.pipe(answer);
  });
  onward.on('error', () => answer.headersSent ? answer.destroy() : answer.writeHead(502).end());
  answer.on('close', () => onward.destroy());
  query.pipe(onward);
}

createServer((query, answer) => {
  const { pathname } = new URL(query.url, 'http://localhost');
  if (answered?.(query, answer, (status, value) => json(query, answer, value, status))) return;
  if (isMadeUp && pathname.startsWith('/api/v1/rollouts/')) return json(query, answer, rollout(decodeURIComponent(pathname.split('/').pop())));
  if (pathname.startsWith('/api/')) return pass(query, answer);
  // Read anew each time, so that a build is seen by reloading.
  const { views, files } = JSON.parse(readFileSync(here + 'dist/files.json', 'utf8'));
  const name = views.includes(pathname.slice(1)) ? 'index.html' : pathname.slice(1);
  const file = files.find((one) => one.name === name);
  if (!file) return answer.writeHead(404, HEADERS).end();
  const accepted = query.headers['accept-encoding'] ?? '';
  const [encoding, end] = /\bbr\b/.test(accepted) ? ['br', '.br'] : /\bgzip\b/.test(accepted) ? ['gzip', '.gz'] : ['', ''];
  answer.writeHead(200, { ...HEADERS, 'Content-Type': file.content_type, Vary: 'Accept-Encoding', 'Cache-Control': file.is_immutable ? 'public, max-age=31536000, immutable' : 'no-cache', ...(encoding && { 'Content-Encoding': encoding }) });
  answer.end(readFileSync(here + 'dist/' + name + end));
}).listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${port}/${isMadeUp ? ' (made up)' : ''}, asking ${admin.href}`));
