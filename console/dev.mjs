#!/usr/bin/env node
// Serves dist/ as the collector does, with its policy, and asks a running collector for everything under /api.
// `--made-up` answers everything from a synthetic fleet, and needs no collector;
// `--stores N` says how large that fleet is. `--key` asks for a key first, which is `tw_right` (`tw_post` has another scope).
// `--trouble` has the journal full, ClickHouse away and a ledger that does not add up.
import { createServer, request } from 'node:http';
import { readFileSync } from 'node:fs';
import { chance, madeUp } from './made-up.mjs';

const here = new URL('.', import.meta.url).pathname;
const option = (name) => { const at = process.argv.indexOf(name); return at < 0 ? undefined : process.argv[at + 1]; };
const port = Number(option('--port') ?? 8099);
const isMadeUp = process.argv.includes('--made-up');
const admin = new URL(process.env.TILLWATCH_ADMIN_URL ?? 'http://127.0.0.1:9090');

export const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types tillwatch";
const HEADERS = { 'Content-Security-Policy': POLICY, 'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'same-origin', 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Resource-Policy': 'same-origin' };

const size = Number(option('--stores') ?? 2000);
const began = Date.now();
const answered = isMadeUp ? madeUp({ size, rate: option('--rate') && Number(option('--rate')), allRate: Number(option('--all-rate') ?? 0), pipeline }) : null;

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

// --- the collector itself
const isTrouble = process.argv.includes('--trouble');
const asksKey = process.argv.includes('--key');
let isSignedIn = false;
const startedAt = began - 3.2 * 3.6e6;
const wave = (second) => { const draw = chance(second); return 0.85 + draw() * 0.3; };
function pipeline() {
  const t = Math.floor(Date.now() / 1000) * 1000;
  const points = [];
  for (let at = Math.max(t - 899_000, startedAt); at <= t; at += 1000) {
    const requests = Math.round(83 * wave(at / 1000));
    points.push({ t: at, batches: requests, samples: requests * 31, requests, refused: at % 90_000 === 0 ? 3 : 0, p50_ms: 1.1 * wave(at / 1000 + 1), p99_ms: 7.5 * wave(at / 1000 + 2) ** 3 });
  }
  const seconds = (t - startedAt) / 1000;
  const sealed = Math.round(seconds / 60) * 154_000;
  const [open, outbox] = [Math.round((seconds % 60) * 2570), isTrouble ? 1_840_000 : 154_000];
  const series = {
    'tillwatch_requests_in_flight': 2, 'tillwatch_request_in_flight_bytes': 131_072, 'tillwatch_request_in_flight_limit_bytes': 268_435_456, 'tillwatch_connections{listener="ingest"}': 412, 'tillwatch_connections{listener="admin"}': 3,
    'tillwatch_journal_used_bytes': isTrouble ? 4_294_967_296 : 402_653_184, 'tillwatch_journal_budget_bytes': 4_294_967_296, 'tillwatch_journal_full': Number(isTrouble), 'tillwatch_journal_halted': 0, 'tillwatch_journal_disk_wait_seconds': 0, 'tillwatch_journal_queue_appends': 1,
    'tillwatch_apply_queue_groups': 0, 'tillwatch_apply_queue_limit_groups': 64, 'tillwatch_apply_lag_records': 0, 'tillwatch_apply_lag_seconds': 0, 'tillwatch_stores': size, 'tillwatch_terminals': size * 10,
    'tillwatch_outbox_bytes': outbox * 2, 'tillwatch_outbox_budget_bytes': 10_737_418_240, 'tillwatch_outbox_epochs': isTrouble ? 12 : 1, 'tillwatch_outbox_lag_seconds': isTrouble ? 742 : 4, 'tillwatch_sealed_epoch': 192, 'tillwatch_confirmed_epoch': isTrouble ? 180 : 191,
    'tillwatch_clickhouse_up': Number(!isTrouble), 'tillwatch_ship_failures': isTrouble ? 41 : 0, 'tillwatch_clickhouse_bytes{table="rollup_1m"}': 21_400_000_000, 'tillwatch_clickhouse_bytes{table="rollup_1h"}': 1_940_000_000, 'tillwatch_clickhouse_budget_bytes': 549_755_813_888,
    'tillwatch_clock_unsure': 0, 'tillwatch_clock_settled': 1, 'tillwatch_clock_fleet_ahead_seconds': -0.086, 'tillwatch_clock_fleet_terminals': 1024, 'tillwatch_clock_doubts_total{why="moved"}': 0,
    'tillwatch_ledger_samples{place="accepted"}': sealed + open + (isTrouble ? 3 : 0), 'tillwatch_ledger_samples{place="open"}': open, 'tillwatch_ledger_samples{place="sealed"}': sealed, 'tillwatch_ledger_samples{place="outbox"}': outbox, 'tillwatch_ledger_samples{place="confirmed"}': sealed - outbox,
    'tillwatch_samples_total{outcome="accepted"}': sealed + open, 'tillwatch_samples_total{outcome="duplicate"}': 2931, 'tillwatch_samples_total{outcome="deferred"}': 0,
    'tillwatch_requests_refused_total{code="rate_limited"}': 118 + Math.floor(seconds / 30), 'tillwatch_requests_refused_total{code="clock_unsure"}': 0, 'tillwatch_requests_refused_total{code="token_expired"}': 12,
    'tillwatch_samples_rejected_total{reason="too_old"}': 3120, 'tillwatch_samples_rejected_total{reason="unknown_metric"}': 41, 'tillwatch_samples_rejected_total{reason="no_consent"}': 0,
    'tillwatch_rate_limited_total{limit="store",store_id="<b>store-007"}': 118, 'tillwatch_share_refusals_total{what="queues"}': 0, 'tillwatch_heads_refused_total{listener="ingest",reason="malformed"}': 2, 'tillwatch_tls_handshakes_total{listener="ingest",result="ok"}': 9012, 'tillwatch_tls_handshakes_total{listener="ingest",result="failed"}': 4,
  };
  return { t, started_at: startedAt, version: '0.9.0', series, points };
}
const setting = (name, value, byDefault, help, is_reloadable = false) => ({ name, variable: 'TILLWATCH_' + name.toUpperCase(), value, default: byDefault, is_given: value !== byDefault, is_reloadable, help });
const settings = () => ({
  settings: [
    setting('data_dir', '/var/lib/tillwatch', 'tillwatch-data', 'Where tillwatch keeps the journal, the state file and the embedded engine\'s data. No other program may use this folder.'),
    setting('listen', '0.0.0.0:8443', '127.0.0.1:8080', 'The address to which terminals post. With port 0 the system chooses a free port.'),
    setting('admin_listen', '127.0.0.1:9090', '127.0.0.1:9090', 'The address that serves metrics, the query API and health. Without admin_auth, whoever reaches it can read everything.'),
    setting('admin_hosts', 'tillwatch.internal.example.com', '', 'Host names by which the admin listener may be asked, beside IP addresses and localhost: a container\'s service name, a proxy\'s name. Separate the names by commas and leave out ports. Requests that name another host are refused, because any web page could send them through a browser.', true),
    setting('tls_certificate', null, null, 'The certificate with its chain (PEM) with which the listener for terminals speaks TLS.'),
    setting('terminal_rate', '20/min', '20/min', 'How many requests a terminal may send.', true),
    setting('seal_interval', '1m', '1m', 'How often what is open is sealed and handed to ClickHouse.'),
    setting('journal_budget', '4GiB', '4GiB', 'How much disk the journal may take.'),
    setting('cors_origins', 'https://pos.example.com,https://pos-test.example.com,https://training.pos.example.com', '', 'Web origins whose pages may post, written with commas and exactly as browsers send them.', true),
  ],
});
const PROBED = { offline_login_duration_ms: ['ms', 240], sync_100_duration_ms: ['ms', 1620], reconnect_to_synced_ms: ['ms', 4100], memory_used_mb: ['MB', 46] };
function probed({ metric, from }) {
  const [unit, value] = PROBED[metric] ?? ['ms', 0];
  const names = value ? ['store-017', 'store-021', 'lab'].filter((_, i) => i < 2 || metric !== 'memory_used_mb') : [];
  return { metric, unit, from: Number(from), to: Date.now(), step_s: null, complete_to: Date.now(), series_total: names.length, series: names.map((store_id, i) => ({ store_id, points: [{ t: Number(from), count: 24 - i, sum: 0, min: 0, max: value * 2, over: [0, 0], values: { 0.95: value * (1 + i * 0.15) } }] })) };
}
function losses() {
  const t = Date.now();
  const line = (store_id, terminal_id, state, from_seq, batches, reason = null) => ({ store_id, terminal_id, queue: '6f1b2a52-7c1d-4a53-9f0e-3b1f7d0c9e11', from_seq, to_seq: from_seq === null ? null : from_seq + batches - 1, batches, state, reason, samples: state === 'explained' ? batches * 31 : null, opened_at: t - 5 * 3.6e6, ended_at: state === 'open' ? null : t - 2 * 3.6e6, may_come_until: state === 'open' ? t + 8.7 * 86.4e6 : null });
  const totals = { numbered: 30_186, received: 30_151, open: 12, lost: 3, explained: 20 };
  return { from: t - 7 * 86.4e6, to: t, complete_to: t, is_whole: true, days: [], totals, statement: 'Of 30186 batches numbered by terminals, 30151 were received, 12 are missing and may still come, 3 are lost, and 20 were dropped by their terminals, which said so.', losses: [line('store-007', 'till-2', 'open', 1_417, 12), line("store 0'31", '-till', 'lost', 88, 3, 'too_old'), line('store-044', 'till-9', 'explained', null, 20), line('store-018', 'till-1', 'closed', 301, 1)] };
}
function errors(since = Date.now() - 86.4e6) {
  const t = Date.now();
  const group = (n, type, message, count, stores, releases, fatal = 0) => ({
    fingerprint: n.repeat(16), type, message, name: null, count, fatal, first_seen: t - (releases.length > 1 ? 40 : 3) * 86.4e6 / 10, last_seen: t - 3e5, stores, terminals: stores * 3, are_more: false, releases,
    trend: Array.from({ length: 24 }, (_, i) => ({ t: Math.floor(t / 3.6e6 - i) * 3.6e6, count: Math.max(1, Math.round((count / 24) * wave(i + count))) })).filter((_, i) => releases.length > 1 || i < 7),
  });
  return { since: Number(since), complete_to: t, step_s: 3600, is_whole: true, groups: [group('a', 'TypeError', 'voucher is not a function', 1380, 112, ['2.5.0'], 4), group('b', 'NetworkError', 'the connection was lost', 902, 640, ['2.4.1', '2.5.0']), group('c', 'QuotaExceededError', 'no room is left', 26, 3, ['2.4.1', '2.5.0'])] };
}
function error(fingerprint, since) {
  const { groups, ...rest } = errors(since);
  const one = groups.find((group) => group.fingerprint === fingerprint);
  const part = (count) => ({ count, first_seen: one.first_seen, last_seen: one.last_seen });
  return one && {
    ...rest, ...one, frames_release: one.releases[0], frames: [{ fn: 'redeem', module: 'app', line: 1, col: 48211, original: { source: 'src/voucher.ts', line: 41, col: 12, fn: 'redeem' } }, { fn: null, module: 'app', line: 1, col: 9120 }],
    by_release: one.releases.map((release) => ({ ...part(Math.ceil(one.count / one.releases.length)), release })), by_store: [0.5, 0.3, 0.2].map((share, i) => ({ ...part(Math.ceil(one.count * share)), store_id: `store-000${i + 1}` })), some_terminals: [{ store_id: 'store-0001', terminal_id: 'till-1' }],
  };
}
function session(query, answer) {
  let text = '';
  query.on('data', (piece) => (text += piece)).on('end', () => {
    const refuse = (status, code, message) => answer.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify({ error: { code, message } }));
    isSignedIn = false;
    if (query.method === 'DELETE') return answer.writeHead(204).end();
    const { key } = JSON.parse(text || '{}');
    if (key === 'tw_post') return refuse(403, 'scope', 'The key is for other things.');
    if (key !== 'tw_right') return refuse(401, 'invalid_token', 'The key is none.');
    isSignedIn = true;
    answer.writeHead(204, { 'Set-Cookie': 'tillwatch_session=x; HttpOnly; SameSite=Strict; Path=/' }).end();
  });
}
const ABOUT = () => ({ version: '0.9.0', started_at: startedAt, auth: asksKey ? 'required' : 'off', grafana_url: 'http://grafana.example.com:3000', signed_in: isSignedIn ? { key: '1d7187e856fb', scopes: ['read'], until: Date.now() + 12 * 3.6e6 } : null });

function json(query, answer, value, status = 200) {
  answer.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' }).end(JSON.stringify(value));
}

function pass(query, answer) {
  const onward = request({ host: admin.hostname, port: admin.port, method: query.method, path: query.url, headers: { ...query.headers, host: admin.host, ...(query.headers.origin === `http://${query.headers.host}` && { origin: admin.origin }) } }, (found) => {
    answer.writeHead(found.statusCode, found.headers);
    found.pipe(answer);
  });
  onward.on('error', () => answer.headersSent ? answer.destroy() : answer.writeHead(502).end());
  answer.on('close', () => onward.destroy());
  query.pipe(onward);
}

createServer((query, answer) => {
  const { pathname, searchParams } = new URL(query.url, 'http://localhost');
  if (isMadeUp && pathname === '/api/v1/about') return json(query, answer, ABOUT());
  if (isMadeUp && pathname === '/api/v1/session') return session(query, answer);
  if (isMadeUp && asksKey && !isSignedIn && pathname.startsWith('/api/')) return answer.writeHead(401, { 'Content-Type': 'application/json' }).end('{"error":{"code":"no_credential","message":"Show a key."}}');
  if (isMadeUp && pathname === '/api/v1/pipeline') return json(query, answer, pipeline());
  if (isMadeUp && pathname === '/api/v1/errors') return json(query, answer, errors(searchParams.get('since')));
  if (isMadeUp && pathname.startsWith('/api/v1/errors/')) { const found = error(pathname.split('/').pop(), searchParams.get('since')); return json(query, answer, found ?? { error: { code: 'unknown_error', message: 'no such error' } }, found ? 200 : 404); }
  if (isMadeUp && pathname === '/api/v1/losses') return json(query, answer, losses());
  if (isMadeUp && pathname === '/api/v1/settings') return json(query, answer, settings());
  if (isMadeUp && pathname === '/api/v1/percentiles' && searchParams.get('source') === 'synthetic' && searchParams.get('group_by') === 'store_id') return json(query, answer, probed(Object.fromEntries(searchParams)));
  if (pathname.startsWith('/runbooks/')) return answer.writeHead(200, { ...HEADERS, 'Content-Type': 'text/plain; charset=utf-8' }).end(readFileSync(here + '../docs' + pathname.replaceAll('..', '')));
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
