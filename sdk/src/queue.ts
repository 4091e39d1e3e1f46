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

import { increase } from './histogram';
import { scaleOf } from './metric';
import { safely } from './safely';
import { type SeriesByKey, countOf, merge } from './series';
import { type Entries, type Key, type Storage, asked, durable, volatile } from './storage';

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
/** So much of what became rows is remembered. */
const KNOWN_MAX = 50;
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
  token?: string;
  /** The release and the session, as the JSON of a list. */
  g: string;
}

/** What was measured and waits to be kept. */
export type Measured = [windows: { [t: number]: SeriesByKey }, events: TerminalEvent[], drops: Drop[]];

/** What was kept and is no row yet: the JSON of `KeptText`, because a browser copies a text faster than what it stands for. */
interface Kept {
  /** `e`, when it was kept, and an id, under which it may also be handed over. */
  k: ['e', number, string];
  j: string;
}

/** With it go whose it is, and by how much the till's time was ahead of the wall clock, as far as the page knew. */
type KeptText = [of: Identity, aheadMs: number, ...measured: Measured];

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
  /** What became rows last: it may come a second time, from a page that did not see it kept. */
  h?: string[];
  /** Consent was withdrawn. */
  off?: boolean;
}

/** A request to be made. */
export type Job = [to: Numbering, batch: Batch];

/** What came of a request; more than these are reasons for dropping it. */
export const TAKEN = 0;
export const LATER = 1;
export const DENIED = 2;

/**
 * What became of it, what the collector said (whether it knew the number, `duplicate`, and with other content,
 * `conflicting`), and for how long it asks to wait.
 */
export type Outcome = [is: typeof TAKEN | typeof LATER | typeof DENIED | 'too_large' | 'refused', json: any, afterMs: number];

/** What may wait and for how long, how often a till posts that has little to say, and how much slower it is now. */
export type Limits = [bytesMax: number, ageMaxMs: number, intervalMs: number, times: number];

/** A UUID. `crypto.randomUUID` asks for a secure context; elsewhere the address of a blob ends with one. */
export const uuid = (): string => crypto.randomUUID?.() || URL.createObjectURL(new Blob()).slice(-36);

export const whoseOf = ({ store, terminal }: { store: string; terminal: string }): string => store + ' ' + terminal;

const sum = <T>(list: T[], of: (one: T) => number): number => list.reduce((all, one) => all + of(one), 0);

const floor = (t: number, spanMs = MINUTE_MS) => t - (t % spanMs);

let shift = 0;
let latest = 0;
/** When the wall clock was last compared with the clock that only counts on. */
let counted = NaN;

/**
 * The till's time in Unix ms: the wall clock, but it never runs back. By how much it is wrong does not matter, because
 * `sent_at_ms` is of the same clock and the collector corrects by it.
 */
export const tillTime = (): number => {
  const now = Date.now() + shift;
  return now > latest - 1000 ? (latest = now) : latest;
};

/** Keeps the till's time from running back with a clock that was set back, and from leaping on by more than a week. */
const readTime = (state: State): void => {
  const wall = Date.now();
  const elapsed = performance.now() - counted;
  counted = performance.now();
  const leap = wall + state.s - state.l;
  // A till may have slept, but not for a week while a page counted less than a day.
  if (leap < -MINUTE_MS) state.s -= leap;
  if (leap > 168 * HOUR_MS && elapsed < 24 * HOUR_MS) state.s -= leap - elapsed;
  shift = state.s;
  latest = state.l = Math.max(state.l, wall + shift);
};

/** Runs a transaction with what all tabs share. Now is `state.l`. */
const run = <T>(storage: Storage, work: (entries: Entries, state: State) => Promise<T>, isQuick?: boolean): Promise<T> =>
  storage(async (entries) => {
    const state = (await asked<State>(entries.get(['s']))) || { k: ['s'], s: 0, l: Date.now(), m: [], z: 0, w: 0, g: 0, n: {} };
    readTime(state);
    state.m = state.m.filter((t) => t > state.l - MINUTE_MS);
    const result = await work(entries, state);
    entries.put(state);
    return result;
  }, isQuick);

/** Sees to it that this store and terminal has a numbering, with its present token. */
const beginNumbering = (state: State, of: Identity): void => {
  const { store, terminal, token } = of;
  const to: Numbering = (state.n[whoseOf(of)] ||= { q: uuid(), n: 1, store, terminal, x: [0, 0], f: [0, 0], r: [0, 0], d: 0, c: [] });
  if (token && token !== to.given) {
    to.given = to.token = token;
    to.x = [0, 0];
  }
};

const listed = <T>(entries: Entries, from: Key, to: Key, limit = ROWS_MAX) =>
  asked<T[]>(entries.getAll(IDBKeyRange.bound(from, to), limit));

/** Rows of one till and urgency, from one time up to another. */
const rowsOf = (entries: Entries, whose: string, urgency: number, from: number, until: number, limit?: number) =>
  listed<Row>(entries, ['r', whose, urgency, from], ['r', whose, urgency, Math.max(from, until)], limit);

const put = (entries: Entries, state: State, item: Waiting): void => {
  item.z = JSON.stringify(item).length;
  state.w += item.w;
  state.z += item.z;
  entries.put(item);
};

const remove = (entries: Entries, state: State, { k, w, z }: Waiting): void => {
  entries.delete(k);
  state.w -= w;
  state.z -= z;
};

/** Keeps what was measured in one window. */
const putRow = (
  entries: Entries,
  state: State,
  [whose, urgency, t, spanMs]: [string, number, number, number],
  g: string,
  d: SeriesByKey,
  e: TerminalEvent[] = [],
  x: Drop[] = [],
): void => {
  const w = countOf(d) + e.length + x.length;
  const y = sum(x, ({ samples }) => samples - 1);
  if (w) put(entries, state, { k: ['r', whose, urgency, t, spanMs, Math.random()], g, d, e, x, w, z: 0, y } as Row);
};

/** How many samples were dropped since the page was loaded, by reason. */
export const dropped: { [reason: string]: number } = {};

/** Says that samples will never come, and which number they had if they had one. */
const drop = (entries: Entries, state: State, whose: string, reason: string, samples: number, { q: queue, n }: Partial<Batch> = {}): void => {
  const t = state.l;
  increase(dropped, reason, samples);
  putRow(entries, state, [whose, URGENT, floor(t), MINUTE_MS], '', {}, [], [{ samples, reason, t, queue, from: n, to: n }]);
};

/** What is on its way into the storage, and whether IndexedDB failed last time. */
const underWay = new Set<Kept>();
let isBroken = false;

/**
 * Keeps what was measured; it is as durable as the storage when this returns. Nothing is read here, because a page that
 * ends has only one moment. Whoever sends next makes rows of it.
 */
export const keep = async (of: Identity, measured: Measured): Promise<void> => {
  const text: KeptText = [of, shift, ...measured];
  const kept: Kept = { k: ['e', Date.now(), 'tillwatch' + Math.random()], j: JSON.stringify(text) };
  const put = async (entries: Entries) => void entries.put(kept);
  underWay.add(kept);
  try {
    await durable(put);
    isBroken = false;
  } catch {
    isBroken = true;
    if (underWay.has(kept)) await volatile(put);
  }
  underWay.delete(kept);
};

/**
 * A transaction that waits for another one, or for the database to open, ends with its page. So a page that may end
 * hands what is on its way over in `localStorage`, which does not wait. It is then kept there or in IndexedDB or in both.
 */
export const handOver = (): void => {
  if (!isBroken)
    for (const kept of underWay) {
      localStorage[kept.k[2]] = kept.j;
      underWay.delete(kept);
    }
};

/** The ids of what was handed over. A worker sees none of it. */
const handed = (): string[] => safely(() => Object.keys(localStorage).filter((id) => /^tillwatch\d/.test(id))) || [];

/** Makes rows of what was kept. */
const putKept = (entries: Entries, state: State, [of, aheadMs, windows, events, drops]: KeptText): void => {
  const whose = whoseOf(of);
  beginNumbering(state, of);
  // What a page measured before its first transaction may be wrong by years.
  const right = (t: number) => Math.min(t + state.s - aheadMs, state.l);
  for (const t in windows) {
    const d = windows[t];
    for (const key in d) d[key].t = right(d[key].t);
    putRow(entries, state, [whose, ORDINARY, floor(right(+t)), MINUTE_MS], of.g, d);
  }
  for (const one of [...events, ...drops]) one.t = right(one.t);
  putRow(entries, state, [whose, URGENT, floor((events[0] || drops[0])?.t), MINUTE_MS], of.g, {}, events, drops);
};

/** Makes rows of what was kept and handed over, each once, and looks after the bounds once a minute. */
const absorb = async (entries: Entries, state: State, limits: Limits): Promise<void> => {
  const now = state.l;
  const all = await listed<Kept>(entries, ['e'], ['f']);
  const known = (state.h ||= []);
  if (entries.name)
    for (const id of handed())
      // What was known before this transaction is there for good.
      if (known.includes(id)) delete localStorage[id];
      else all.push({ k: ['e', 0, id], j: localStorage[id] });
  for (const { k, j } of all) {
    entries.delete(k);
    if (known.includes(k[2])) continue;
    known.push(k[2]);
    // A text that another version or another script has left must not stop the queue.
    if (!state.off) safely(() => putKept(entries, state, JSON.parse(j)));
  }
  known.splice(0, known.length - KNOWN_MAX);
  if (now - state.g > MINUTE_MS) {
    state.g = now;
    for (const whose in state.n) await bound(entries, state, limits, whose);
  }
};

/** What waits, in all tabs: how many samples, and about how many bytes they take. */
export const look = (storage: Storage, limits: Limits) =>
  run(storage, async (entries, state) => {
    await absorb(entries, state, limits);
    return state;
  });

/** Seals what is due and says what to post now, or for how many ms to wait. If asked, what is live is due at once. */
export const next = (storage: Storage, limits: Limits, of: Identity, isAsked: boolean) =>
  run<Job | number>(storage, async (entries, state) => {
    let wait = HOUR_MS;
    await absorb(entries, state, limits);
    if (state.off) return wait;
    if (state.m.length >= REQUESTS_PER_MINUTE) return state.m[0] + MINUTE_MS - state.l;
    beginNumbering(state, of);
    for (const whose of new Set([whoseOf(of), ...Object.keys(state.n)])) {
      const to = state.n[whose];
      for (const at of [LIVE, BACKLOG] as Class[]) {
        let due: Batch | number = Math.max(to.x[at], to.r[at]) - state.l;
        if (due <= 0) due = await batchOf(entries, state, limits, ['b', whose, at], isAsked);
        if (typeof due === 'object') {
          due.a++;
          put(entries, state, due);
          state.m.push(state.l);
          return [to, due];
        }
        wait = Math.min(wait, due);
        // What gets no answer live gets none as backlog.
        if (to.f[LIVE]) break;
      }
    }
    return wait;
  });

/** The batch that has a number already, or one of the rows that are due, or in how many ms some will be. */
const batchOf = async (entries: Entries, state: State, limits: Limits, k: Batch['k'], isAsked: boolean): Promise<Batch | number> => {
  const [, ageMaxMs, intervalMs, times] = limits;
  const [, whose, at] = k;
  const now = state.l;
  const to = state.n[whose];
  const batch = await asked<Batch | undefined>(entries.get(k));
  if (batch) {
    remove(entries, state, batch);
    if (batch.t >= now - ageMaxMs) return batch;
    drop(entries, state, whose, 'age', batch.w + batch.y, batch);
  }
  const border = floor(now - LIVE_MS);
  const urgent = at ? [] : await rowsOf(entries, whose, URGENT, 0, Infinity);
  const ordinary = await (at
    ? rowsOf(entries, whose, ORDINARY, 0, border, BACKLOG_ROWS_MAX)
    : rowsOf(entries, whose, ORDINARY, border, Infinity));
  const due = [...urgent, ...ordinary];
  if (!due[0]) return HOUR_MS;
  if (!at && !isAsked) {
    const isMuch = urgent[0] || sum(due, ({ w, z }) => w / MANY + z / BATCH_BYTES[0]) >= 1;
    const wait = to.d + (isMuch ? 5000 : intervalMs * times) - now;
    if (wait > 0) return wait;
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
    b: JSON.stringify({ ...head, ...contentOf(rows, MINUTE_MS * times) }),
    w: sum(rows, ({ w }) => w),
    y: sum(rows, ({ y }) => y),
    t: Math.min(...rows.map((row) => row.k[3])),
    a: 0,
    z: 0,
  };
};

/** What rows hold, as the wire format has it (docs/formats.md). */
const contentOf = (rows: Row[], leastMs: number) => {
  const all: SeriesByKey = {};
  for (const { k, d } of rows) {
    const spanMs = Math.max(k[4], leastMs);
    merge(all, d, floor(k[3], spanMs) + '|' + spanMs + '|');
  }
  const samples: object[] = [];
  const histograms: object[] = [];
  for (const key in all) {
    const [window, span, m, label, connection] = key.split('|');
    const { n, s, a, b, h, t, v } = all[key];
    const scale = scaleOf(m);
    const named = { m, label: label || undefined, connection };
    const sample = (value: number) => samples.push({ ...named, t, v: value / scale });
    if (!h) sample(s);
    else if (n) {
      const buckets = Object.entries(h).map(([index, count]) => [+index, count]);
      histograms.push({ ...named, t: +window, span_ms: +span, buckets, sum: s / scale, min: a / scale, max: b / scale });
    }
    if (v !== undefined) sample(v);
  }
  return { samples, histograms, events: rows.flatMap(({ e }) => e), drops: rows.flatMap(({ x }) => x) };
};

/** Takes note of what came of a request, and of the token that the next one has. */
export const settle = (storage: Storage, [{ token }, batch]: Job, [is, json, afterMs]: Outcome, next?: string | false) =>
  run(storage, async (entries, state) => {
    const [, whose, at] = batch.k;
    const now = state.l;
    const to = state.n[whose];
    const kept = await asked<Batch | undefined>(entries.get(batch.k));
    // Another tab has heard of it first, or consent was withdrawn.
    if (kept?.q !== batch.q || kept.n !== batch.n) return;
    to.token ||= token;
    if (next && next !== token) {
      to.token = next;
      to.x = [now, now];
      // To ask for it was a request, too.
      state.m.push(now);
      return;
    }
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
    const isConflicting = json?.conflicting > 0;
    const isOthers = isConflicting || (json?.duplicate > 0 && kept.a === 1);
    if (isOthers) [to.q, to.n] = [uuid(), 1];
    if (isConflicting) {
      // The collector has something else under this number. So it does not have this.
      const b = JSON.stringify({ ...JSON.parse(kept.b), queue: to.q, seq: 1 });
      put(entries, state, { ...kept, b, q: to.q, n: to.n++, a: 0 } as Batch);
    } else if (isOthers || is) drop(entries, state, whose, is || 'other', kept.w + kept.y, kept);
  }, true);

/** The network may be back: whatever failed without an answer is tried soon. */
export const wake = (storage: Storage, withinMs: number, isOff?: boolean) =>
  run(storage, async (_, state) => {
    state.off = isOff ?? state.off;
    for (const to of Object.values(state.n)) to.x[LIVE] = state.l + Math.random() * withinMs;
  }, true);

/** Takes note of consent: with it a page tries at once to send; without it nothing is kept. Else deletes everything. */
export const consent = (storage: Storage, isGiven?: boolean) =>
  isGiven
    ? wake(storage, 2000, false)
    : run(storage, async (entries, state) => {
        state.off ||= isGiven === false;
        entries.clear();
        state.n = {};
        state.w = state.z = 0;
        for (const id of handed()) delete localStorage[id];
      });

/** Keeps what waits within its bounds: merges it, then drops the oldest. */
const bound = async (entries: Entries, state: State, [bytesMax, ageMaxMs]: Limits, whose: string): Promise<void> => {
  const merged = state.n[whose].c;
  const now = state.l;
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
  const isFull = () => state.z > bytesMax;
  const oldest = now - ageMaxMs;
  const lost: { [reason: string]: number } = {};
  for (const urgency of [ORDINARY, URGENT])
    for (const row of await rowsOf(entries, whose, urgency, 0, isFull() ? Infinity : oldest)) {
      const isOld = row.k[3] < oldest;
      if (!isOld && !isFull()) break;
      remove(entries, state, row);
      increase(lost, isOld ? 'age' : 'quota', row.w + row.y);
    }
  for (const reason in lost) drop(entries, state, whose, reason, lost[reason]);
};
