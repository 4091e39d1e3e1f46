/**
 * The queue of a till: what was measured and is not known to be with the collector.
 *
 * *Rows* hold what was measured in a window. They have no number, and are merged into longer windows while they wait. A
 * *batch* is made of rows in the transaction that deletes them; it has a number and never changes, because from its first
 * attempt on nobody knows whether the collector has it. It is deleted when the collector has said so. There is at most
 * one live batch and one of backlog at a time, so that as little as possible has a number while nothing gets through.
 *
 * All of it is done in transactions of the storage, so that any number of tabs and a service worker share one queue.
 * Fields have one letter because they lie in IndexedDB as they are.
 */

import { highestOf, lowestOf } from './histogram';
import { scaleOf } from './metric';
import { type SeriesByKey, countOf, merge } from './series';
import type { Storage, Transaction } from './storage';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** Spans of windows, and how old a window is when it is merged into one of the span. */
const TIERS = [
  [MINUTE_MS, 10_000],
  [5 * MINUTE_MS, 6 * HOUR_MS],
  [HOUR_MS, 24 * HOUR_MS],
];

/** What is older goes as backlog, after what is newer. */
const LIVE_MS = 10 * MINUTE_MS;

/** At most so many requests a minute, whatever they are. */
const REQUESTS_PER_MINUTE = 12;

/** At most so many events and drops go into a batch, and so many rows are looked at in a transaction. */
export const LIST_MAX = 50;
const ROWS_MAX = 400;

/** About how many bytes make a batch. */
const BATCH_BYTES = 100_000;

/** Rows that go first (events, losses) have the urgency 0, others 1. */
const URGENT = 0;
const ORDINARY = 1;

/** Live requests have the class 0, backlog 1. */
type Class = 0 | 1;

/** Something that happened. The names are those of the wire format, as in the next two. */
export interface TerminalEvent {
  k: string;
  t: number;
  name?: string;
  type?: string;
  message?: string;
  frames?: Frame[];
  count?: number;
  fatal?: boolean;
  connection?: string;
}

/** A line of a stack. */
export interface Frame {
  fn?: string;
  module?: string;
  line?: number;
  col?: number;
}

/** What will never come, and why. */
export interface Drop {
  queue?: string;
  from?: number;
  to?: number;
  samples: number;
  reason: string;
  t: number;
}

/** Who posts. */
export interface Identity {
  store: string;
  terminal: string;
  release?: string;
  session?: string;
  token?: string;
}

/** What was measured and waits to be kept. */
export interface Measured {
  windows: Map<number, SeriesByKey>;
  events: TerminalEvent[];
  drops: Drop[];
}

/** What was measured in one window and has no number yet. */
interface Row {
  /** `r`, whose it is, the urgency, the beginning of the window, its span, and a random number. */
  k: ['r', string, number, number, number, number];
  /** The release, and the session. */
  r?: string;
  i?: string;
  d: SeriesByKey;
  e: TerminalEvent[];
  x: Drop[];
  /** How many samples it holds, and about how many bytes it takes. */
  w: number;
  z: number;
}

/** How one till is numbered. A till that is given another store or terminal begins anew, and the old one is drained. */
export interface Numbering {
  /** `n`, and store and terminal. */
  k: ['n', string];
  /** The queue's id, and the next number in it. */
  q: string;
  n: number;
  store: string;
  terminal: string;
  /** The token that the page gave, and the one that was made of it. */
  given?: string;
  token?: string;
  /** By class: when to try next, how often the last attempts failed, and until when the collector asked to wait. */
  x: number[];
  f: number[];
  r: number[];
  /** When a live request went out last. */
  d: number;
  /** How far each tier has been merged. */
  c: number[];
}

/** What has been given a number. */
interface Batch {
  /** `b`, whose it is, and the class. */
  k: ['b', string, Class];
  /** Its text, its queue and its number there. */
  b: string;
  q: string;
  n: number;
  w: number;
  /** When the oldest of it was measured. */
  t: number;
  /** How often it was tried. */
  a: number;
}

/** What all tabs share. */
interface State {
  k: ['s'];
  /** By how much the till's time is ahead of the wall clock, and the latest time that was seen. */
  s: number;
  l: number;
  /** When requests were made in the last minute. */
  m: number[];
  /** How many samples wait, and about how many bytes they take. */
  w: number;
  z: number;
  /** When bounds were looked after last. */
  g: number;
  /** Consent was withdrawn. */
  off?: boolean;
}

/** A request to be made. */
export interface Job {
  to: Numbering;
  batch: Batch;
  isBacklog: boolean;
}

/** What came of a request. */
export type Outcome =
  | { is: 'taken'; isDuplicate: boolean; isConflicting: boolean }
  | { is: 'later'; afterMs: number }
  | { is: 'too_large' | 'refused' | 'denied' };

export interface Limits {
  /** What may wait, and for how long. */
  bytesMax: number;
  ageMaxMs: number;
  /** How often a till posts that has little to say. */
  intervalMs: number;
}

/** A number for what has none. */
const random = () => crypto.getRandomValues(new Uint32Array(1))[0];

/** A UUID of version 4; `crypto.randomUUID` asks for a secure context. */
export const uuid = (): string =>
  '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (digit) =>
    (+digit ^ (random() & (15 >> (+digit / 4)))).toString(16),
  );

const floor = (t: number, spanMs: number) => t - (t % spanMs);

/** How many samples wait, also those of other tabs, as this one knows it; about how many bytes they take. */
export let waiting = { samples: 0, bytes: 0 };

let shift = 0;
let latest = 0;
/** When the wall clock was last compared with the clock that only counts on. */
let counted = NaN;

/**
 * The till's time in Unix ms: the wall clock, but it never runs back. By how much it is wrong does not matter, because
 * `sent_at_ms` is of the same clock and the collector corrects by it.
 */
export function tillTime(): number {
  const now = Date.now() + shift;
  return now > latest - 1000 ? (latest = now) : latest;
}

/** Keeps the till's time from running back with a clock that was set back, and from leaping on by more than a week. */
function readTime(state: State): number {
  const wall = Date.now();
  const elapsed = performance.now() - counted;
  counted = performance.now();
  const leap = wall + state.s - state.l;
  // A till may have slept, but not for a week while a page counted less than a day.
  if (state.l && leap < -MINUTE_MS) state.s -= leap;
  else if (state.l && leap > 168 * HOUR_MS && elapsed < 24 * HOUR_MS) state.s -= leap - elapsed;
  shift = state.s;
  return (latest = state.l = Math.max(state.l, wall + shift));
}

/** Runs a transaction with what all tabs share. */
function run<T>(
  storage: Storage,
  work: (tx: Transaction, state: State, now: number) => Promise<T>,
  isStrict?: boolean,
): Promise<T> {
  return storage(async (tx) => {
    const state = (await tx.get<State>(['s'])) || { k: ['s'], s: 0, l: 0, m: [], z: 0, w: 0, g: 0 };
    const now = readTime(state);
    state.m = state.m.filter((t) => t <= now && t > now - MINUTE_MS);
    const result = await work(tx, state, now);
    tx.put(state);
    waiting = { samples: state.w, bytes: state.z };
    return result;
  }, isStrict);
}

/** The numbering of this store and terminal. */
async function numberingOf(tx: Transaction, { store, terminal, token }: Identity): Promise<Numbering> {
  const k: Numbering['k'] = ['n', store + ' ' + terminal];
  const none: Numbering = { k, q: uuid(), n: 1, store, terminal, x: [0, 0], f: [0, 0], r: [0, 0], d: 0, c: [] };
  const to = (await tx.get<Numbering>(k)) || none;
  if (token && token !== to.given) {
    to.given = to.token = token;
    to.x = [0, 0];
  }
  tx.put(to);
  return to;
}

function put(tx: Transaction, state: State, row: Row): void {
  row.w = countOf(row.d) + row.e.length + row.x.length;
  if (!row.w) return;
  row.z = JSON.stringify(row).length;
  tx.put(row);
  state.w += row.w;
  state.z += row.z;
}

function remove(tx: Transaction, state: State, { k, w, z }: Row): void {
  tx.remove(k);
  state.w -= w;
  state.z -= z;
}

/** Says that samples will never come, and which number they had if they had one. */
function drop(tx: Transaction, state: State, whose: string, reason: string, samples: number, batch?: Batch): void {
  const t = state.l;
  const numbered = batch && { queue: batch.q, from: batch.n, to: batch.n };
  const k: Row['k'] = ['r', whose, URGENT, floor(t, MINUTE_MS), MINUTE_MS, random()];
  put(tx, state, { k, d: {}, e: [], x: [{ samples, reason, t, ...numbered }], w: 0, z: 0 });
}

/** Keeps what was measured; it is as durable as the storage when this returns. False: there is no consent. */
export const keep = (storage: Storage, limits: Limits, of: Identity, { windows, events, drops }: Measured) =>
  run(storage, async (tx, state, now) => {
    if (state.off) return false;
    const to = await numberingOf(tx, of);
    const add = (urgency: number, t: number, d: SeriesByKey, e: TerminalEvent[], x: Drop[]) =>
      put(tx, state, {
        // Before this transaction the clock may have been wrong by years.
        k: ['r', to.k[1], urgency, Math.min(t, floor(now, MINUTE_MS) + MINUTE_MS), MINUTE_MS, random()],
        r: of.release,
        i: of.session,
        d,
        e,
        x,
        w: 0,
        z: 0,
      });
    for (const [t, d] of windows) add(ORDINARY, t, d, [], []);
    add(URGENT, floor(now, MINUTE_MS), {}, events, drops);
    if (Math.abs(now - state.g) > MINUTE_MS) {
      state.g = now;
      await bound(tx, state, limits, now);
    }
    return true;
  });

/** Seals what is due and says what to post now, or for how many ms to wait. If asked, what is live is due at once. */
export const next = (storage: Storage, limits: Limits, of: Identity, isAsked: boolean) =>
  run<Job | number>(
    storage,
    async (tx, state, now) => {
      let wait = HOUR_MS;
      if (state.off) return wait;
      if (state.m.length >= REQUESTS_PER_MINUTE) return state.m[0] + MINUTE_MS - now;
      const current = await numberingOf(tx, of);
      const all = await tx.all<Numbering>(['n']);
      for (const to of [current, ...all.filter(({ q }) => q !== current.q)])
        for (const at of [0, 1] as Class[]) {
          // A time that lies far ahead was written by a clock that has been set back since.
          const due = Math.min(Math.max(to.x[at], to.r[at]), now + HOUR_MS) - now;
          if (due > 0) wait = Math.min(wait, due);
          else {
            const k: Batch['k'] = ['b', to.k[1], at];
            let batch = await tx.get<Batch>(k);
            if (batch && batch.t < now - limits.ageMaxMs) {
              forget(tx, state, batch);
              drop(tx, state, to.k[1], 'age', batch.w, batch);
              batch = undefined;
            }
            const sealed = batch || (await seal(tx, state, limits, to, k, now, isAsked));
            if (typeof sealed === 'number') wait = Math.min(wait, sealed);
            else {
              sealed.a++;
              tx.put(sealed);
              if (!at) to.d = now;
              tx.put(to);
              state.m.push(now);
              return { to, batch: sealed, isBacklog: !!at };
            }
          }
          // What gets no answer live gets none as backlog.
          if (to.f[0]) break;
        }
      return wait;
    },
    true,
  );

/** Makes a batch of the rows that are due, or says in how many ms some will be. */
async function seal(
  tx: Transaction,
  state: State,
  { intervalMs }: Limits,
  to: Numbering,
  k: Batch['k'],
  now: number,
  isAsked: boolean,
): Promise<Batch | number> {
  const border = floor(now - LIVE_MS, MINUTE_MS);
  const [, whose, at] = k;
  const urgent = at ? [] : await tx.all<Row>(['r', whose, URGENT], undefined, ROWS_MAX);
  const ordinary = at
    ? await tx.all<Row>(['r', whose, ORDINARY], border, ROWS_MAX)
    : await tx.all<Row>(['r', whose, ORDINARY], undefined, ROWS_MAX, border);
  const due = [...urgent, ...ordinary];
  if (!due[0]) return HOUR_MS;
  if (!at && !isAsked) {
    const isMuch = urgent[0] || due.reduce((sum, { w, z }) => sum + w / 50 + z / BATCH_BYTES, 0) >= 1;
    const wait = to.d + (isMuch ? 5000 : intervalMs) - now;
    if (wait > 0 && wait <= intervalMs) return wait;
  }
  const { r, i } = due[due.length - 1];
  const rows: Row[] = [];
  const lists = { e: 0, x: 0, z: 0 };
  for (const row of due) {
    // What dropped says of itself belongs to no session.
    if ((row.r !== r || row.i !== i) && row.w > row.x.length) continue;
    lists.e += row.e.length;
    lists.x += row.x.length;
    lists.z += row.z;
    if (rows[0] && (lists.e > LIST_MAX || lists.x > LIST_MAX || lists.z > BATCH_BYTES)) break;
    rows.push(row);
    remove(tx, state, row);
  }
  const { q, store, terminal } = to;
  const n = to.n++;
  const head = { v: 1, store_id: store, terminal_id: terminal, queue: q, seq: n, release: r, session_id: i, consent: true };
  const w = rows.reduce((sum, row) => sum + row.w, 0);
  const b = JSON.stringify({ ...head, ...contentOf(rows) });
  state.w += w;
  state.z += b.length;
  return { k, b, q, n, w, t: Math.min(...rows.map((row) => row.k[3])), a: 0 };
}

/** What rows hold, as the wire format has it (docs/formats.md). */
function contentOf(rows: Row[]) {
  const windows: { [at: string]: SeriesByKey } = {};
  for (const { k, d } of rows) merge((windows[k[3] + ' ' + k[4]] ||= {}), d);
  const samples: object[] = [];
  const histograms: object[] = [];
  for (const at in windows)
    for (const key in windows[at]) {
      const [t, span_ms] = at.split(' ').map(Number);
      const [m, label, connection] = key.split('|');
      const { n, s, a, b, h, t: last, v } = windows[at][key];
      const scale = scaleOf(m);
      const named = { m, label: label || undefined, connection };
      const sample = (value: number) => samples.push({ ...named, t: last, v: value / scale });
      if (!h) sample(s);
      else if (n) {
        const buckets = Object.entries(h).map(([index, count]) => [+index, count]);
        const min = Math.max(a, lowestOf(buckets[0][0]));
        const max = Math.min(b, highestOf(buckets[buckets.length - 1][0]));
        histograms.push({ ...named, t, span_ms, buckets, sum: s / scale, min: min / scale, max: max / scale });
      }
      if (v !== undefined) sample(v);
    }
  const list = <T>(all: T[]) => (all[0] ? all : undefined);
  return { samples, histograms, events: list(rows.flatMap(({ e }) => e)), drops: list(rows.flatMap(({ x }) => x)) };
}

function forget(tx: Transaction, state: State, { k, b, w }: Batch): void {
  tx.remove(k);
  state.w -= w;
  state.z -= b.length;
}

/** Takes note of what came of a request. */
export const settle = (storage: Storage, { to: { k, token }, batch, isBacklog }: Job, outcome: Outcome) =>
  run(storage, async (tx, state, now) => {
    const to = await tx.get<Numbering>(k);
    const kept = await tx.get<Batch>(batch.k);
    // Another tab has heard of it first, or consent was withdrawn.
    if (!to || kept?.n !== batch.n || kept.q !== batch.q) return;
    const at = +isBacklog;
    to.token = token;
    if (outcome.is === 'later') {
      to.f[at]++;
      to.x[at] = now + Math.max(1000, Math.random() * Math.min(300_000, 1000 * 2 ** to.f[at]));
      to.r[at] = now + outcome.afterMs;
    } else if (outcome.is === 'denied') to.x = [now + 5 * MINUTE_MS, 0];
    else {
      forget(tx, state, kept);
      // A fleet that comes back does so at once; what is old can wait, and comes in turn.
      if (!at && to.f[0]) to.x[1] = now + Math.random() * 30_000;
      else to.x[at] = at && now + 5000;
      to.f[at] = 0;
      const isOthers = outcome.is === 'taken' && (outcome.isConflicting || (outcome.isDuplicate && kept.a === 1));
      // Somebody else uses these numbers: another till has a copy of this one's storage. So this one begins anew.
      if (isOthers) [to.q, to.n] = [uuid(), 1];
      if (outcome.is === 'taken' && outcome.isConflicting) {
        // The collector has something else under this number. So it does not have this.
        const b = JSON.stringify({ ...JSON.parse(kept.b), queue: to.q, seq: 1 });
        tx.put({ ...kept, b, q: to.q, n: to.n++, a: 0 });
        state.w += kept.w;
        state.z += b.length;
      } else if (isOthers || outcome.is !== 'taken')
        drop(tx, state, k[1], outcome.is === 'taken' ? 'other' : outcome.is, kept.w, kept);
    }
    tx.put(to);
  });

/** The network may be back, or there is another token: whatever failed without an answer is tried now. */
export const wake = (storage: Storage, token?: string, k?: Numbering['k']) =>
  run(storage, async (tx, state, now) => {
    for (const to of await tx.all<Numbering>(['n']))
      if (!k || k[1] === to.k[1]) tx.put({ ...to, token: token || to.token, x: [now + (token ? 0 : Math.random() * 2000), to.x[1]] });
    if (token) state.m.push(now);
  });

/** Deletes whatever is kept. Without consent nothing is kept from now on. */
export const clear = (storage: Storage, off: boolean) =>
  run(storage, async (tx, state) => {
    tx.clear();
    state.off = off;
    state.w = state.z = 0;
  });

/** Takes note of consent. */
export const consent = (storage: Storage) => run(storage, async (_, state) => (state.off = false));

/** Keeps what waits within its bounds: merges it, then drops the oldest. */
async function bound(tx: Transaction, state: State, { ageMaxMs, bytesMax }: Limits, now: number): Promise<void> {
  for (const to of await tx.all<Numbering>(['n'])) {
    const whose = to.k[1];
    for (const [tier, [spanMs, afterMs]] of TIERS.entries()) {
      const windowOf = ({ k }: Row) => floor(k[3], spanMs);
      let until = floor(now - afterMs, spanMs);
      const rows = await tx.all<Row>(['r', whose, ORDINARY], until, ROWS_MAX, to.c[tier] || 0);
      // What is left for the next time begins with a whole window.
      if (rows.length === ROWS_MAX) until = windowOf(rows[ROWS_MAX - 1]);
      const groups: { [group: string]: Row[] } = {};
      for (const row of rows)
        if (row.k[3] < until) (groups[`${windowOf(row)} ${row.r} ${row.i}`] ||= []).push(row);
      for (const group of Object.values(groups)) {
        if (!group[1]) continue;
        const d: SeriesByKey = {};
        for (const row of group) {
          merge(d, row.d);
          remove(tx, state, row);
        }
        const k: Row['k'] = ['r', whose, ORDINARY, windowOf(group[0]), spanMs, random()];
        put(tx, state, { ...group[0], k, d });
      }
      to.c[tier] = until;
    }
    tx.put(to);
    for (const urgency of [ORDINARY, URGENT])
      for (const row of await tx.all<Row>(['r', whose, urgency], undefined, ROWS_MAX)) {
        const isOld = row.k[3] < now - ageMaxMs;
        if (!isOld && state.z < bytesMax) break;
        remove(tx, state, row);
        drop(tx, state, whose, isOld ? 'age' : 'quota', row.w);
      }
  }
}
