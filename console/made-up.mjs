// A fleet that nobody has, for looking at the console without a collector: the same names and troubles each time, with values that move.
// It answers what the console asks of a fleet, a store and a terminal, and pushes them as the collector does.
import { createHash } from 'node:crypto';

export function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
const hash = (text) => createHash('sha256').update(text).digest().readUInt32LE(0);

const MINUTE = 60_000;
const LIMITS = [['sync_duration_ms', 'sync_p95_ms', 1500, 5000], ['offline_login_duration_ms', 'login_p95_ms', 300, 500], ['lcp_ms', 'lcp_p75_ms', 2500, 4000], ['inp_ms', 'inp_p75_ms', 200, 500], ['network_latency_ms', 'network_p75_ms', 100, 500], ['pending_transactions', 'pending_max', 800, 1000], ['memory_used_mb', 'memory_p95_mb', 80, Infinity]];
const CATALOGUE = [
  ['lcp_ms', 'distribution', 'ms', 2500, 4000, 'Measures how long a page took to paint its largest element.', 1900], ['inp_ms', 'distribution', 'ms', 200, 500, 'Measures how long a page took to respond to an interaction.', 90], ['cls_score', 'distribution', 'score', 0.1, 0.25, 'Measures how far a page\'s content moved by itself.', 0.05],
  ['offline_login_duration_ms', 'distribution', 'ms', 300, 500, 'Measures how long a login took while the terminal was offline.', 210], ['sync_duration_ms', 'distribution', 'ms', 1500, 5000, 'Measures how long one synchronisation with the back office took.', 900], ['network_latency_ms', 'distribution', 'ms', 100, 500, 'Measures how long a round trip to the back office took.', 48],
  ['sync_attempts', 'counter', 'count', null, null, 'Counts attempted synchronisations.', 1], ['errors', 'counter', 'count', null, null, 'Counts errors of the application.', 1], ['data_loss_incidents', 'counter', 'count', null, null, 'Counts incidents in which a terminal lost business data.', 1],
  ['pending_transactions', 'level', 'count', 800, 1000, 'Shows how many transactions wait in the terminal\'s queue.', 3], ['memory_used_mb', 'level', 'MB', 80, null, 'Shows how much memory the application uses on the terminal.', 52], ['db_size_mb', 'level', 'MB', null, null, 'Shows how large the terminal\'s IndexedDB is.', 18], ['storage_used_ratio', 'level', 'ratio', 0.8, null, 'Shows which share of the browser\'s storage quota is in use.', 0.21],
];
const STEPS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const spark = (ms) => (ms == null ? '.' : STEPS[Math.max(0, Math.min(63, Math.round((Math.log(ms / 200) / Math.log(60)) * 63)))]);

/** `rate` rows change a second; with `allRate` all of them, so many times a second. */
export function madeUp({ size = 2000, rate = size / 6, allRate = 0, pipeline }) {
  const began = Date.now();
  const draw = chance(7);
  const now = chance(began);
  const minuteNow = () => Math.floor(Date.now() / MINUTE) * MINUTE;
  let seq = 0;
  let minute = minuteNow();
  const kinds = [];
  const rows = [];
  const sparks = new Map();
  const changes = [];

  // --- rows
  function row(i) {
    const kind = kinds[i];
    const wave = 0.94 + now() * 0.12;
    const t = Date.now();
    const one = {
      store_id: kind.name, state: 'fine', why: [], sync_p95_ms: (kind.isSlow ? kind.slow : kind.sync) * wave, sync_samples: kind.isQuiet ? 7 : kind.samples + Math.floor(now() * 40), sync_success: kind.isSlow ? kind.slowSuccess : kind.success, sync_attempts: kind.isQuiet ? 14 : kind.samples * 2,
      login_samples: kind.isQuiet ? 0 : 21 + Math.floor(now() * 4), lcp_samples: kind.isQuiet ? 6 : kind.samples, inp_samples: kind.isQuiet ? 9 : kind.samples * 2, network_samples: kind.isQuiet ? 5 : kind.samples + 60,
      login_p95_ms: kind.login * wave, lcp_p75_ms: (kind.isSlow ? kind.lcp + 1300 : kind.lcp) * wave, inp_p75_ms: kind.inp * wave, network_p75_ms: kind.network * wave,
      pending_max: Math.floor(now() * 5), memory_p95_mb: kind.memory + now(), terminals: kind.terminals, reporting: kind.terminals - kind.away, silent: kind.away, sync_failing: 0, missing: kind.missing, lost: kind.lost, late: kind.late, last_report: t - Math.floor(now() * 5000), release: kind.release,
    };
    if (kind.isSilent) Object.assign(one, { state: 'silent', sync_p95_ms: null, sync_samples: 0, sync_success: null, sync_attempts: 0, login_samples: 0, lcp_samples: 0, inp_samples: 0, network_samples: 0, login_p95_ms: null, lcp_p75_ms: null, inp_p75_ms: null, network_p75_ms: null, pending_max: null, memory_p95_mb: null, reporting: 0, silent: kind.terminals, last_report: kind.silentSince });
    else if (kind.isQuiet) one.state = 'quiet';
    else {
      for (const [metric, key, low, high] of LIMITS) if (one[key] > low) one.why.push({ metric, level: one[key] > high ? 'critical' : 'warning', value: one[key], limit: one[key] > high ? high : low });
      if (one.silent) one.why.push({ metric: 'terminals_silent', level: 'warning', value: one.silent, limit: 0 });
      if (one.sync_success < 0.98) one.why.push({ metric: 'sync_success', level: 'warning', value: one.sync_success, limit: 0.98 });
      one.state = one.why.some(({ level }) => level === 'critical') ? 'critical' : one.why.length ? 'warning' : 'fine';
    }
    return one;
  }
  for (let i = 0; i < size; i += 1) {
    const fate = draw();
    const isSilent = fate < 0.0025 || (size < 200 && i === 11);
    const isSlow = fate > 0.994 || (size < 200 && i === 22);
    const name = `store-${String(i + 1).padStart(size > 999 ? 4 : 3, '0')}`;
    kinds.push({
      // A name is a stranger's text, and the page must not mind this one.
      name: i === 12 && size > 20 ? `<img src=x onerror=alert(1)>${name}` : name, isSilent, isSlow, isQuiet: fate < 0.006 && !isSilent, sync: 700 + draw() * 600, slow: 5400 + draw() * 4000, success: 0.9932 + draw() * 0.005, slowSuccess: 0.971 + draw() * 0.004,
      samples: 400 + Math.floor(draw() * 900), login: 190 + draw() * 60, lcp: fate > 0.95 ? 2500 + draw() * 900 : 1500 + draw() * 700, inp: 75 + draw() * 60, network: 36 + draw() * 24, memory: 45 + draw() * 28, terminals: 5 + Math.floor(draw() * 10), away: fate > 0.9 && draw() < 0.2 ? 1 : 0,
      silentSince: began - MINUTE * Math.floor(12 + draw() * 90), release: draw() < 0.1 ? '2.5.0' : '2.4.1', missing: draw() < 0.02 ? Math.floor(draw() * 90) : 0, lost: draw() < 0.004 ? 3 : 0, late: Math.floor(draw() * 400), since: Math.floor(10 + draw() * 50),
    });
    rows.push(row(i));
    const kind = kinds[i];
    let line = '';
    for (let m = 59; m >= 0; m -= 1) {
      const isBad = kind.isSlow && m < kind.since - 8;
      line += kind.isSilent && m * MINUTE < began - kind.silentSince ? '.' : spark((isBad ? kind.slow : kind.sync) * (0.9 + draw() * 0.2));
    }
    sparks.set(kind.name, line);
  }
  let allSpark = Array.from({ length: 60 }, () => spark(1180 * (0.97 + draw() * 0.06))).join('');

  function all() {
    let [terminals, reporting, silentTills, samples, attempts, missing, lost, late, critical, warning, silent] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (const one of rows) {
      terminals += one.terminals; reporting += one.reporting; silentTills += one.state === 'silent' ? 0 : one.silent; samples += one.sync_samples; attempts += one.sync_attempts; missing += one.missing; lost += one.lost; late += one.late;
      if (one.state === 'critical') critical += 1; else if (one.state === 'warning') warning += 1; else if (one.state === 'silent') silent += 1;
    }
    return { stores: rows.length, critical, warning, silent, silent_terminals: silentTills, sync_p95_ms: 1170 + now() * 30, sync_samples: samples, sync_success: 0.9957, sync_attempts: attempts, login_samples: 24_180, lcp_samples: samples, inp_samples: samples * 2, network_samples: Math.round(samples * 1.1), login_p95_ms: 231, lcp_p75_ms: 1925 + now() * 10, inp_p75_ms: 92, network_p75_ms: 48, pending_max: 4, memory_p95_mb: 71.4, terminals, reporting, sync_failing: 0, missing, lost, late, last_report: Date.now(), release: '2.4.1' };
  }
  const fleet = () => ({ seq, t: Date.now(), complete_to: Date.now(), stores: rows, all: all(), sparks: { minute, all: allSpark, stores: Object.fromEntries(sparks) } });

  // --- what happens
  const readers = new Set();
  const recent = [];
  const send = (topic, event, data) => {
    const text = `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
    if (topic === 'fleet' && data.seq) { recent.push([data.seq, text]); if (recent.length > 300) recent.shift(); }
    for (const reader of readers) if (reader.topics.includes(topic)) reader.answer.write(text);
  };
  const told = (from, to, one) => {
    const change = { t: Date.now(), kind: 'store', store_id: one.store_id, from, to, why: one.why };
    changes.unshift(change);
    changes.length = Math.min(changes.length, 200);
    send('fleet', 'change', change);
  };
  const isBad = (state) => state === 'critical' || state === 'silent';
  function renew(which) {
    const changed = [];
    for (const i of which) {
      const before = rows[i].state;
      rows[i] = row(i);
      changed.push(rows[i]);
      if (before !== rows[i].state && (isBad(before) || isBad(rows[i].state))) told(before, rows[i].state, rows[i]);
    }
    seq += 1;
    send('fleet', 'rows', { seq, t: Date.now(), complete_to: Date.now(), stores: changed, gone: [], all: all() });
  }
  // Changes of the last hour, as if somebody had watched.
  kinds.flatMap((kind, i) => (kind.isSlow || kind.isSilent ? [[kind, i]] : [])).slice(0, 12).forEach(([kind, i], n) => {
    changes.push({ t: began - (n * 4 + 1) * MINUTE, kind: 'store', store_id: kind.name, from: 'fine', to: rows[i].state, why: rows[i].why });
    if (n % 3 === 1) changes.push({ t: began - (n * 4 + 2) * MINUTE, kind: 'store', store_id: kinds[(i + 40) % size].name, from: 'critical', to: 'fine', why: [] });
    if (n === 2) changes.push({ t: began - 10.5 * MINUTE, kind: 'release', release: '2.5.0', verdict: 'hold', step_percent: 10, occasion: 'step' });
  });
  if (allRate > 0) setInterval(() => renew(rows.keys()), 1000 / allRate);
  else {
    let owed = 0;
    setInterval(() => {
      owed += rate * 0.08;
      const which = new Set();
      while (owed >= 1) { owed -= 1; which.add(Math.floor(now() * size)); }
      // A store that is silent posts nothing.
      for (const i of which) if (kinds[i].isSilent) which.delete(i);
      if (which.size) renew(which);
    }, 80);
  }
  setInterval(() => {
    const i = Math.floor(now() * size);
    if (kinds[i].isSilent || kinds[i].isQuiet) return;
    kinds[i].isSlow = !kinds[i].isSlow;
    renew([i]);
    setTimeout(() => { kinds[i].isSlow = false; renew([i]); }, 90_000);
  }, 15_000);
  setInterval(() => {
    if (minuteNow() === minute) return;
    minute += MINUTE;
    const named = {};
    for (const one of rows) {
      const letter = spark(one.sync_p95_ms);
      if (letter !== '.') named[one.store_id] = letter;
      sparks.set(one.store_id, sparks.get(one.store_id).slice(1) + letter);
    }
    const letter = spark(1180 * (0.97 + now() * 0.06));
    allSpark = allSpark.slice(1) + letter;
    send('fleet', 'sparks', { minute, all: letter, stores: named });
  }, 1000);

  // --- one store
  const lateBegan = 1800;
  function details(name) {
    const i = kinds.findIndex((kind) => kind.name === name);
    if (i < 0) return null;
    const kind = kinds[i];
    const own = chance(hash(name));
    const at = minuteNow();
    const age = kind.isSilent ? Math.floor((at - kind.silentSince) / MINUTE) : 0;
    const terminals = Array.from({ length: kind.terminals }, (_, n) => {
      let beats = 0n;
      const gap = n === 3 ? [6 + Math.floor(own() * 6), 9 + Math.floor(own() * 9)] : null;
      for (let m = 0; m < 60; m += 1) {
        const isThere = m >= age && !(gap && m >= gap[0] && m < gap[0] + gap[1]) && (m < 5 || own() > 0.03) && m < 45;
        if (isThere) beats |= 1n << BigInt(m);
      }
      const isAway = n < kind.away;
      if (isAway) beats &= ~((1n << 14n) - 1n);
      const seen = kind.isSilent ? kind.silentSince : isAway ? at - 14 * MINUTE : Date.now() - Math.floor(((Date.now() / 1000 + n * 7) % 40) * 1000);
      return {
        terminal_id: n === 2 && name.startsWith('<') ? `<b>till</b>-${n + 1}` : `till-${n + 1}`, last_seen_ms: seen, release: kind.release, is_reporting: !kind.isSilent && !isAway,
        levels: { pending_transactions: { t: seen, value: n === 1 ? 830 : Math.floor(own() * 4) }, memory_used_mb: { t: seen, value: kind.memory + n * 1.3 + Math.sin(Date.now() / 9000 + n) }, db_size_mb: { t: seen, value: 14 + own() * 9 }, storage_used_ratio: { t: seen, value: 0.1 + own() * 0.2 } },
        beats: beats.toString(16).padStart(16, '0'),
      };
    });
    const grown = name.charCodeAt(name.length - 1) % 3 ? Math.floor((Date.now() - began) / 4000) * 40 : 0;
    return { row: rows[i], terminals, late: { '1h': grown + lateBegan, '24h': 19_245 + grown, '3d': 0, '8d': 0 }, batches: { received: 934 + Math.floor((Date.now() - began) / 1000), missing: kind.missing, lost: kind.lost, explained: 0 }, data_loss_incidents: kind.lost ? 1 : 0, minute: at, beats_since: at - 50 * MINUTE };
  }
  function terminals(query) {
    const name = query.get('store_id');
    const detail = details(name);
    if (!detail) return [404, { error: { code: 'unknown_store', message: 'nothing is known of this store' } }];
    const wanted = query.get('terminal_id');
    const found = detail.terminals.filter((one) => !wanted || one.terminal_id === wanted);
    if (wanted && !found.length) return [404, { error: { code: 'unknown_terminal', message: 'nothing is known of this terminal' } }];
    const list = found.slice(0, Number(query.get('limit') ?? 100)).map((one) => {
      const own = chance(hash(name + one.terminal_id));
      const isOff = one.terminal_id === 'till-3';
      const metrics = CATALOGUE.filter(([, kind]) => kind !== 'level').flatMap(([metric, kind, unit, low, , , typical]) => {
        if (kind === 'counter') return metric === 'sync_attempts' ? [['success', 880], ['failure', 4]].map(([label, sum]) => ({ metric, label, unit, count: sum, sum, min: 1, max: 1, last: 1, over_low: 0, over_high: 0 })) : metric === 'errors' ? [{ metric, label: 'network', unit, count: 20, sum: 20 + Math.floor(own() * 8), min: 1, max: 1, last: 1, over_low: 0, over_high: 0 }] : [];
        const count = 300 + Math.floor(own() * 700);
        return [{ metric, unit, count, sum: count * typical * (0.5 + own() * 0.4), min: typical * 0.2, max: typical * (3 + own() * 5), last: typical, over_low: Math.floor(count * (0.01 + own() * 0.05)), over_high: Math.floor(count * own() * 0.01) }];
      });
      return { ...one, browser: own() < 0.8 ? 'Chrome 141' : 'Chrome 138', state: one.is_reporting ? 'reporting' : 'silent', clock_skew_ms: isOff ? 804_000 : 120, clock_jumps: isOff ? 2 : 0, missing_batches: one.terminal_id === 'till-4' ? 12 : 0, lost_batches: 0, metrics };
    });
    return [200, { store_id: name, from: minuteNow() - 24 * 60 * MINUTE, complete_to: Date.now(), terminals_total: detail.terminals.length, terminals: list }];
  }
  function silent(query) {
    const name = query.get('store_id');
    const found = kinds.flatMap((kind) => (name && kind.name !== name ? [] : Array.from({ length: kind.isSilent ? kind.terminals : kind.away }, (_, n) => {
      const own = chance(hash(kind.name + n));
      const since = kind.isSilent ? kind.silentSince : began - Math.floor((14 + own() * 200) * MINUTE);
      return { store_id: kind.name, terminal_id: `till-${n + 1}`, release: kind.release, state: 'silent', is_store_silent: kind.isSilent, since, missed_ms: Date.now() - since, last_said: own() < 0.3 ? { kind: 'battery', t: since } : null, pending_transactions: own() < 0.2 ? 3 + Math.floor(own() * 30) : null };
    })));
    found.sort((one, other) => (other.pending_transactions ?? 0) - (one.pending_transactions ?? 0) || other.missed_ms - one.missed_ms);
    return { complete_to: Date.now(), ready_since: began, silent_after_ms: 3_600_000, terminals_known: size * 10, terminals_total: found.length, terminals: found.slice(0, Number(query.get('limit') ?? 100)) };
  }
  function percentiles(query) {
    const group = query.get('group_by');
    const names = { release: ['2.4.1', '2.5.0'], store_id: kinds.slice(0, Number(query.get('limit') ?? 200)).map(({ name }) => name) }[group];
    if (!names) return points(query);
    const all = names.map((name) => { const one = points(query, name); return { ...one, series: [{ ...one.series[0], [group]: name }] }; });
    return { ...all[0], series_total: group === 'release' ? 2 : size, series: all.flatMap(({ series }) => series) };
  }
  function points(query, of = query.get('store_id')) {
    const [, , unit, low, high, , typical] = CATALOGUE.find(([metric]) => metric === query.get('metric')) ?? CATALOGUE[0];
    const [from, to] = [Number(query.get('from')), Number(query.get('to') ?? Date.now())];
    const word = /^(\d+)([mhd])$/.exec(query.get('step') ?? '');
    const step = word ? Number(word[1]) * { m: MINUTE, h: 60 * MINUTE, d: 1440 * MINUTE }[word[2]] : to - from;
    const name = of;
    const kind = kinds.find((one) => one.name === name);
    const found = [];
    for (let t = from; t < to; t += step) {
      const own = chance(hash(`${query.get('metric')} ${name} ${t}`));
      const ago = (Date.now() - t) / MINUTE;
      if (kind?.isSilent && t > kind.silentSince) continue;
      const base = typical * (kind?.isSlow && query.get('metric') === 'sync_duration_ms' && ago < kind.since ? 6 : 1) * (0.8 + own() * 0.4) * (own() < 0.04 ? 1.9 : 1);
      const count = Math.floor((20 + own() * 30) * (ago > 20 && ago < 46 ? 2 : 1) * (word ? 1 : 60) * (name === '2.4.1' ? 9 : 1));
      found.push({ t, count, sum: count * base * 0.6, min: base * 0.1, max: base * 3, over: [low && base > low ? 3 : 0, high && base > high ? 1 : 0], values: Object.fromEntries((query.get('q') ?? '0.5,0.95').split(',').map((q) => [q, base * (q < 0.7 ? 0.55 : q < 0.9 ? 0.85 : 1)])) });
    }
    return { metric: query.get('metric'), unit, from, to, step_s: step / 1000, complete_to: Date.now(), series: [{ points: found }] };
  }

  // --- the stream
  function live(query, answer) {
    const topics = (query.get('topics') ?? '').split(',').map(decodeURIComponent);
    const reader = { topics, answer };
    answer.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store, no-transform', 'X-Accel-Buffering': 'no' });
    const say = (event, data) => answer.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    const since = Number(query.get('since') ?? NaN);
    if (topics.includes('fleet')) {
      if (since <= seq && recent.length && recent[0][0] <= since + 1) for (const [n, text] of recent) { if (n > since) answer.write(text); }
      else say('snapshot', { seq, t: Date.now(), topic: 'fleet', fleet: fleet() });
    }
    const store = topics.find((topic) => topic.startsWith('store:'));
    const timers = [setInterval(() => answer.write(': \n\n'), 15_000)];
    if (store) {
      say('snapshot', { seq, t: Date.now(), topic: store, store: details(store.slice(6)) });
      timers.push(setInterval(() => say('store', { t: Date.now(), store: details(store.slice(6)) }), 1000));
    }
    if (topics.includes('pipeline')) {
      say('snapshot', { seq, t: Date.now(), topic: 'pipeline', pipeline: pipeline() });
      timers.push(setInterval(() => { const { points, ...rest } = pipeline(); say('pipeline', { ...rest, points: points.slice(-2) }); }, 1000));
    }
    readers.add(reader);
    answer.on('close', () => { readers.delete(reader); timers.forEach(clearInterval); });
  }

  /** Says whether the question was answered. */
  return function answered(query, answer, send) {
    const url = new URL(query.url, 'http://localhost');
    const path = url.pathname.replace(/^\/api\/v1\//, '');
    if (path === 'live') live(url.searchParams, answer);
    else if (path === 'fleet') send(200, fleet());
    else if (path === 'changes') send(200, { changes: changes.slice(0, Number(url.searchParams.get('limit') ?? 200)) });
    else if (/^stores\/[^/]+\/now$/.test(path)) { const found = details(decodeURIComponent(path.split('/')[1])); send(found ? 200 : 404, found ?? { error: { code: 'unknown_store', message: 'nothing is known of this store' } }); }
    else if (path === 'terminals/silent') send(200, silent(url.searchParams));
    else if (path === 'terminals') send(...terminals(url.searchParams));
    else if (path === 'percentiles') send(200, percentiles(url.searchParams));
    else if (path === 'stores') send(200, { complete_to: Date.now(), stores: rows.slice(0, Number(url.searchParams.get('limit') ?? 1000)).map(({ store_id, last_report, terminals, reporting }) => ({ store_id, last_report_ms: last_report, terminals, terminals_reporting: reporting })) });
    else if (path === 'metrics') send(200, { metrics: CATALOGUE.map(([metric, kind, unit, low, high, help]) => ({ metric, aliases: [], help, kind, unit, thresholds: [low, high], threshold_note: null, label: null })) });
    else return false;
    return true;
  };
}
