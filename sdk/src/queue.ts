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
import { type Entries, type Storage, asked } from './storage';

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
/** Rows of backlog may be as large as a hundred of a minute. */
const BACKLOG_ROWS_MAX = 60;

/** About how many bytes make a batch, of live samples and of backlog. */
const BATCH_BYTES = [100_000, 250_000];

/** So many samples do not wait until the interval is over. */
export const MANY = 500;

/** Rows that go first (events, losses) have the urgency 0, others 1. */
const URGENT = 0;
const ORDINARY = 1;

/** What is posted as live, and what as backlog. */
const LIVE = 0;
const BACKLOG = 1;
type Class = typeof LIVE | typeof BACKLOG;

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
  windows: { [t: number]: SeriesByKey };
  events: TerminalEvent[];
  drops: Drop[];
}

/** What was kept and is no row yet: the JSON of `KeptText`, because a browser copies a text faster than what it stands for. */
interface Kept {
  k: ['e', number, number];
  j: string;
}

interface KeptText extends Measured {
  of: Identity;
  /** By how much the till's time was ahead of the wall clock, as far as the page knew. */
  s: number;
}

/** What waits. */
interface Waiting {
  k: ['r', string, number, number, number, number] | ['b', string, Class];
  /** How many samples it holds, about how many bytes it takes, and how many more samples its losses stand for. */
  w: number;
  z: number;
  y: number;
}

/** What was measured in one window and has no number yet. */
interface Row extends Waiting {
  /** `r`, whose it is, the urgency, the beginning of the window, its span, and a random number. */
  k: ['r', string, number, number, number, number];
  /** The release and the session, together. */
  g: string;
  d: SeriesByKey;
  e: TerminalEvent[];
  x: Drop[];
}

/** What has been given a number. */
interface Batch extends Waiting {
  /** `b`, whose it is, and the class. */
  k: ['b', string, Class];
  /** Its text, its queue and its number there. */
  b: string;
  q: string;
  n: number;
  /** When the oldest of it was measured, and how often it was tried. */
  t: number;
  a: number;
}

/** How one till is numbered. A till that is given another store or terminal begins anew, and the old one is drained. */
export interface Numbering {
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
  /** The numberings, by store and terminal. */
  n: { [whose: string]: Numbering };
  /** Consent was withdrawn. */
  off?: boolean;
}

/** A request to be made. */
export interface Job {
  to: Numbering;
  batch: Batch;
}

/** What came of a request; more than these are reasons for dropping it. */
export const TAKEN = 0;
export const LATER = 1;
export const DENIED = 2;

export interface Outcome {
  is: typeof TAKEN | typeof LATER | typeof DENIED | 'too_large' | 'refused';
  /** The collector knew the number, with this content or another. */
  isDuplicate?: boolean;
  isConflicting?: boolean;
  afterMs: number;
}

export interface Limits {
  /** What may wait, and for how long. */
  bytesMax: number;
  ageMaxMs: number;
  /** How often a till posts that has little to say. */
  intervalMs: number;
  /** The least span of what is posted. */
  spanMs: number;
}

/** A UUID of version 4; `crypto.randomUUID` asks for a secure context. */
export const uuid = (): string =>
  '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (digit) =>
    (+digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (+digit / 4)))).toString(16),
  );

const floor = (t: number, spanMs = MINUTE_MS) => t - (t % spanMs);

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
  if (state.l && leap > 168 * HOUR_MS && elapsed < 24 * HOUR_MS) state.s -= leap - elapsed;
  shift = state.s;
  return (latest = state.l = Math.max(state.l, wall + shift));
}

type Work<T> = (entries: Entries, state: State, now: number) => Promise<T>;

/** Runs a transaction with what all tabs share. */
const run = <T>(storage: Storage, work: Work<T>, isStrict?: boolean): Promise<T> =>
  storage(async (entries) => {
    const state = (await asked<State>(entries.get(['s']))) || { k: ['s'], s: 0, l: 0, m: [], z: 0, w: 0, g: 0, n: {} };
    const now = readTime(state);
    state.m = state.m.filter((t) => t <= now && t > now - MINUTE_MS);
    const result = await work(entries, state, now);
    entries.put(state);
    return result;
  }, isStrict);

/** The numbering of this store and terminal. */
function numberingOf(state: State, { store, terminal, token }: Identity): Numbering {
  const to: Numbering = (state.n[store + ' ' + terminal] ||= {
    q: uuid(), n: 1, store, terminal, x: [0, 0], f: [0, 0], r: [0, 0], d: 0, c: [],
  });
  if (token && token !== to.given) {
    to.given = to.token = token;
    to.x = [0, 0];
  }
  return to;
}

/** Rows of one till and urgency, from one time up to another. */
const rowsOf = (entries: Entries, whose: string, urgency: number, from: number, until: number, limit = ROWS_MAX) =>
  asked<Row[]>(
    entries.getAll(IDBKeyRange.bound(['r', whose, urgency, from], ['r', whose, urgency, Math.max(from, until)]), limit),
  );

function put(entries: Entries, state: State, item: Waiting): void {
  item.z = JSON.stringify(item).length;
  state.w += item.w;
  state.z += item.z;
  entries.put(item);
}

function remove(entries: Entries, state: State, { k, w, z }: Waiting): void {
  entries.delete(k);
  state.w -= w;
  state.z -= z;
}

/** Keeps what was measured in one window. */
function putRow(
  entries: Entries,
  state: State,
  [whose, urgency, t, spanMs]: [string, number, number, number],
  g: string,
  d: SeriesByKey,
  e: TerminalEvent[] = [],
  x: Drop[] = [],
): void {
  const w = countOf(d) + e.length + x.length;
  const y = x.reduce((sum, { samples }) => sum + samples - 1, 0);
  if (w) put(entries, state, { k: ['r', whose, urgency, t, spanMs, Math.random()], g, d, e, x, w, z: 0, y } as Row);
}

/** How many samples were dropped since the page was loaded, by reason. */
export const dropped: { [reason: string]: number } = {};

/** Says that samples will never come, and which number they had if they had one. */
function drop(entries: Entries, state: State, whose: string, reason: string, samples: number, batch?: Batch): void {
  dropped[reason] = (dropped[reason] || 0) + samples;
  const t = state.l;
  const numbered = batch && { queue: batch.q, from: batch.n, to: batch.n };
  putRow(entries, state, [whose, URGENT, floor(t), MINUTE_MS], '', {}, [], [{ samples, reason, t, ...numbered }]);
}

/**
 * Keeps what was measured; it is as durable as the storage when this returns. Nothing is read here, because a page that
 * ends has only one moment. Whoever sends next makes rows of it.
 */
export const keep = (storage: Storage, of: Identity, measured: Measured) =>
  storage(async (entries) => {
    const text: KeptText = { of, s: shift, ...measured };
    entries.put({ k: ['e', Date.now(), Math.random()], j: JSON.stringify(text) } as Kept);
  }, true);

/** Makes rows of what was kept, and looks after the bounds once a minute. */
async function absorb(entries: Entries, state: State, limits: Limits, now: number): Promise<void> {
  for (const { k, j } of await asked<Kept[]>(entries.getAll(IDBKeyRange.bound(['e'], ['f']), ROWS_MAX))) {
    entries.delete(k);
    if (state.off) continue;
    const { of, s, windows, events, drops }: KeptText = JSON.parse(j);
    const whose = of.store + ' ' + of.terminal;
    const g = JSON.stringify([of.release, of.session]);
    numberingOf(state, of);
    // What a page measured before its first transaction may be wrong by years.
    const right = (t: number) => Math.min(t + state.s - s, now);
    for (const t in windows) {
      const d = windows[t];
      for (const key in d) d[key].t = right(d[key].t);
      putRow(entries, state, [whose, ORDINARY, floor(right(+t)), MINUTE_MS], g, d);
    }
    for (const one of [...events, ...drops]) one.t = right(one.t);
    putRow(entries, state, [whose, URGENT, floor((events[0] || drops[0])?.t), MINUTE_MS], g, {}, events, drops);
  }
  if (Math.abs(now - state.g) > MINUTE_MS) {
    state.g = now;
    for (const whose in state.n) await bound(entries, state, limits, whose, now);
  }
}

/** How many samples wait, in all tabs, and about how many bytes they take. */
export const look = (storage: Storage, limits: Limits) =>
  run(storage, async (entries, state, now) => {
    await absorb(entries, state, limits, now);
    return { samples: state.w, bytes: state.z };
  });

/** Seals what is due and says what to post now, or for how many ms to wait. If asked, what is live is due at once. */
export const next = (storage: Storage, limits: Limits, of: Identity, isAsked: boolean) =>
  run<Job | number>(
    storage,
    async (entries, state, now) => {
      let wait = HOUR_MS;
      await absorb(entries, state, limits, now);
      if (state.off) return wait;
      if (state.m.length >= REQUESTS_PER_MINUTE) return state.m[0] + MINUTE_MS - now;
      numberingOf(state, of);
      const own = of.store + ' ' + of.terminal;
      for (const whose of [own, ...Object.keys(state.n).filter((other) => other !== own)]) {
        const to = state.n[whose];
        for (const at of [LIVE, BACKLOG] as Class[]) {
          // A time that lies far ahead was written by a clock that has been set back since.
          let due = Math.min(Math.max(to.x[at], to.r[at]) - now, HOUR_MS);
          if (due <= 0) {
            const k: Batch['k'] = ['b', whose, at];
            let batch = await asked<Batch | undefined>(entries.get(k));
            if (batch && batch.t < now - limits.ageMaxMs) {
              remove(entries, state, batch);
              drop(entries, state, whose, 'age', batch.w + batch.y, batch);
              batch = undefined;
            }
            const sealed = batch || (await seal(entries, state, limits, to, k, now, isAsked));
            if (typeof sealed === 'object') {
              if (batch) remove(entries, state, batch);
              sealed.a++;
              put(entries, state, sealed);
              state.m.push(now);
              return { to, batch: sealed };
            }
            due = sealed;
          }
          wait = Math.min(wait, due);
          // What gets no answer live gets none as backlog.
          if (to.f[LIVE]) break;
        }
      }
      return wait;
    },
    true,
  );

/** Makes a batch of the rows that are due, or says in how many ms some will be. */
async function seal(
  entries: Entries,
  state: State,
  { intervalMs, spanMs }: Limits,
  to: Numbering,
  k: Batch['k'],
  now: number,
  isAsked: boolean,
): Promise<Batch | number> {
  const [, whose, at] = k;
  const border = floor(now - LIVE_MS);
  const urgent = at ? [] : await rowsOf(entries, whose, URGENT, 0, Infinity);
  const due = [...urgent, ...(await (at
    ? rowsOf(entries, whose, ORDINARY, 0, border, BACKLOG_ROWS_MAX)
    : rowsOf(entries, whose, ORDINARY, border, Infinity)))];
  if (!due[0]) return HOUR_MS;
  if (!at && !isAsked) {
    const isMuch = urgent[0] || due.reduce((sum, { w, z }) => sum + w / MANY + z / BATCH_BYTES[0], 0) >= 1;
    const wait = to.d + (isMuch ? 5000 : intervalMs) - now;
    if (wait > 0 && wait <= intervalMs) return wait;
  }
  const g = due.find((row) => row.g)?.g;
  const rows: Row[] = [];
  let room = BATCH_BYTES[at];
  let places = LIST_MAX;
  for (const row of due) {
    room -= row.z;
    places -= Math.max(row.e.length, row.x.length);
    if (rows[0] && (room < 0 || places < 0)) break;
    // A loss belongs to no session.
    if (row.g && row.g !== g) continue;
    rows.push(row);
    remove(entries, state, row);
  }
  // Whatever is left goes next.
  if (!at && rows.length === due.length) to.d = now;
  const [release, session_id] = JSON.parse(g || '[]');
  const { q, store, terminal } = to;
  const n = to.n++;
  const head = { v: 1, store_id: store, terminal_id: terminal, queue: q, seq: n, release, session_id, consent: true };
  return {
    k, q, n,
    b: JSON.stringify({ ...head, ...contentOf(rows, spanMs) }),
    w: rows.reduce((sum, { w }) => sum + w, 0),
    y: rows.reduce((sum, { y }) => sum + y, 0),
    t: Math.min(...rows.map((row) => row.k[3])),
    a: 0,
    z: 0,
  };
}

/** What rows hold, as the wire format has it (docs/formats.md). */
function contentOf(rows: Row[], leastMs: number) {
  const windows: { [at: string]: SeriesByKey } = {};
  for (const { k, d } of rows) {
    const spanMs = Math.max(k[4], leastMs);
    merge((windows[floor(k[3], spanMs) + '|' + spanMs] ||= {}), d);
  }
  const samples: object[] = [];
  const histograms: object[] = [];
  for (const at in windows)
    for (const key in windows[at]) {
      const [m, label, connection] = key.split('|');
      const { n, s, a, b, h, t, v } = windows[at][key];
      const scale = scaleOf(m);
      const named = { m, label: label || undefined, connection };
      const sample = (value: number) => samples.push({ ...named, t, v: value / scale });
      if (!h) sample(s);
      else if (n) {
        const [t, span_ms] = at.split('|').map(Number);
        const buckets = Object.entries(h).map(([index, count]) => [+index, count]);
        const min = Math.max(a, lowestOf(buckets[0][0])) / scale;
        const max = Math.min(b, highestOf(buckets[buckets.length - 1][0])) / scale;
        histograms.push({ ...named, t, span_ms, buckets, sum: s / scale, min, max });
      }
      if (v !== undefined) sample(v);
    }
  return { samples, histograms, events: rows.flatMap(({ e }) => e), drops: rows.flatMap(({ x }) => x) };
}

/** Takes note of what came of a request. */
export const settle = (storage: Storage, { to: { token }, batch }: Job, outcome: Outcome) =>
  run(storage, async (entries, state, now) => {
    const [, whose, at] = batch.k;
    const to = state.n[whose];
    const kept = await asked<Batch | undefined>(entries.get(batch.k));
    // Another tab has heard of it first, or consent was withdrawn.
    if (kept?.q !== batch.q || kept.n !== batch.n) return;
    to.token ||= token;
    const { is, isConflicting, isDuplicate, afterMs } = outcome;
    if (is === LATER) {
      to.x[at] = now + Math.max(1000, Math.random() * Math.min(300_000, 1000 * 2 ** ++to.f[at]));
      to.r[at] = now + afterMs;
      return;
    }
    if (is === DENIED) {
      to.x[LIVE] = to.x[BACKLOG] = now + 5 * MINUTE_MS;
      return;
    }
    remove(entries, state, kept);
    // A fleet that comes back does so at once; what is old can wait, and comes in turn.
    if (at) to.x[BACKLOG] = now + 5000;
    else if (to.f[LIVE]) to.x[BACKLOG] = now + Math.random() * 30_000;
    to.f[at] = 0;
    // Somebody else uses these numbers: another till has a copy of this one's storage. So this one begins anew.
    const isOthers = isConflicting || (isDuplicate && kept.a === 1);
    if (isOthers) [to.q, to.n] = [uuid(), 1];
    if (isConflicting) {
      // The collector has something else under this number. So it does not have this.
      const b = JSON.stringify({ ...JSON.parse(kept.b), queue: to.q, seq: 1 });
      put(entries, state, { ...kept, b, q: to.q, n: to.n++, a: 0 } as Batch);
    } else if (isOthers || is) drop(entries, state, whose, is || 'other', kept.w + kept.y, kept);
  });

/** The network may be back, or one till has another token: whatever failed without an answer is tried now. */
export const wake = (storage: Storage, withinMs: number, of?: Numbering, token?: string) =>
  run(storage, async (_, state, now) => {
    for (const to of Object.values(state.n)) {
      if (of && of.q !== to.q) continue;
      to.token = token || to.token;
      to.x[LIVE] = now + Math.random() * withinMs;
    }
    if (of) state.m.push(now);
  });

/** Deletes whatever is kept, numbers, too. */
export const clear = (storage: Storage) =>
  run(storage, async (entries, state) => {
    entries.clear();
    state.n = {};
    state.w = state.z = 0;
  });

/** Takes note of consent: without it nothing is kept, and nothing stays. A page that begins tries at once to send. */
export const consent = (storage: Storage, isGiven: boolean) =>
  run(storage, async (entries, state, now) => {
    state.off = !isGiven;
    for (const to of Object.values(state.n)) to.x[LIVE] = now + Math.random() * 2000;
    if (isGiven) return;
    entries.clear();
    state.n = {};
    state.w = state.z = 0;
  });

/** Keeps what waits within its bounds: merges it, then drops the oldest. */
async function bound(entries: Entries, state: State, limits: Limits, whose: string, now: number): Promise<void> {
  const merged = state.n[whose].c;
  for (const [tier, [spanMs, afterMs]] of TIERS.entries()) {
    const until = floor(now - afterMs, spanMs);
    const rows = await rowsOf(entries, whose, ORDINARY, merged[tier] || 0, until);
    const windowOf = ({ k }: Row) => floor(k[3], spanMs);
    // What is left for the next time begins with a whole window.
    const begun = (merged[tier] || 0) + spanMs;
    const end = rows.length < ROWS_MAX ? until : Math.max(begun, windowOf(rows[ROWS_MAX - 1]));
    const groups: { [group: string]: Row[] } = {};
    for (const row of rows) if (row.k[3] < end) (groups[windowOf(row) + row.g] ||= []).push(row);
    for (const group of Object.values(groups)) {
      const d: SeriesByKey = {};
      if (group[1])
        for (const row of group) {
          merge(d, row.d);
          remove(entries, state, row);
        }
      putRow(entries, state, [whose, ORDINARY, windowOf(group[0]), spanMs], group[0].g, d);
    }
    merged[tier] = end;
  }
  const isFull = () => state.z > limits.bytesMax;
  const oldest = now - limits.ageMaxMs;
  const lost: { [reason: string]: number } = {};
  for (const urgency of [ORDINARY, URGENT])
    for (const row of await rowsOf(entries, whose, urgency, 0, isFull() ? Infinity : oldest)) {
      const isOld = row.k[3] < oldest;
      if (!isOld && !isFull()) break;
      remove(entries, state, row);
      const reason = isOld ? 'age' : 'quota';
      lost[reason] = (lost[reason] || 0) + row.w + row.y;
    }
  for (const reason in lost) drop(entries, state, whose, reason, lost[reason]);
}
