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
import { unitOf } from './metric';
import { safely } from './safely';
import { type SeriesByKey, countOf, merge, sum } from './series';
import { type Entries, type Key, type Storage, asked, durable, volatile } from './storage';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** Spans of windows longer than a minute, and how old a window is when it is merged into one of the span. */
const TIERS = [
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

/** Only events have a `k`. */
export type Happened = (TerminalEvent & { reason?: undefined }) | (Drop & { k?: undefined });

/** Who posts: the store and the terminal with a line break between them, the release and the session as the JSON of both, and the page's token. */
export type Identity = [whose: string, g: string, token?: string];

/** What was measured and waits to be kept. */
export type Measured = [windows: { [t: number]: SeriesByKey }, happened: Happened[]];

/** What was kept and is no row yet: the JSON of `KeptText`, because a browser copies a text faster than what it stands for. */
interface Kept {
  /** `e`, and an id, under which it may also be handed over. */
  k: ['e', string];
  j: string;
}

/** With it go whose it is, and by how much the till's time was ahead of the wall clock, as far as the page knew. */
type KeptText = [of: Identity, aheadMs: number, ...measured: Measured];

/**
 * Whose it is, the urgency, the beginning of the window, its span, and the release and the session. What is urgent has a
 * time and a random number.
 */
type RowKey = [whose: string, urgency: number, t: number, spanMs: number, g: string];

/** What waits. */
interface Waiting {
  k: ['r', ...RowKey] | ['b', string, Class];
  /** How many samples it holds or says are lost, and about how many bytes it takes. */
  w: number;
  z: number;
}

/** What was measured in one window and has no number yet. */
interface Row extends Waiting {
  k: ['r', ...RowKey];
  d: SeriesByKey;
  e: Happened[];
}

/** What has been given a number. */
export interface Batch extends Waiting {
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
  /** The token that the page gave, and the one that was made of it. */
  given?: string;
  token?: string;
  /** By class: when to try next, how often the last attempts failed, and until when the collector asked to wait. */
  x: number[];
  f: number[];
  r: number[];
  /** When a live request went out last. */
  d: number;
  /** How far each tier has been merged, by its span. */
  c: { [spanMs: number]: number };
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
  h: string[];
  /** Consent was withdrawn. */
  off?: boolean;
}

/** A request to be made. */
export type Job = [to: Numbering, batch: Batch];

/**
 * What came of a request: the status (0: no answer), what the collector said (a code of `error`, or `accepted`, whether it
 * knew the number, `duplicate`, and with other content, `conflicting`), for how long it asks to wait, and how long it took.
 */
export type Answer = [status: number, json: any, afterMs: number, tookMs: number];

/** How long to wait after the collector said that this one may not post. */
const DENIED_MS = 300_000;

/** What may wait and for how long, how often a till posts that has little to say, and how much slower it is now. */
export const limits = [] as unknown as [bytesMax: number, ageMaxMs: number, intervalMs: number, times: number];

/** A UUID. `crypto.randomUUID` asks for a secure context; elsewhere the address of a blob ends with one. */
export const uuid = (): string => crypto.randomUUID?.() || URL.createObjectURL(new Blob()).slice(-36);

export const floor = (t: number, spanMs = MINUTE_MS) => t - (t % spanMs);

let shift = 0;
let latest = 0;
/** When the wall clock was last compared with the clock that only counts on. */
let counted = NaN;

/**
 * The till's time in Unix ms: the wall clock, but it never runs back. By how much it is wrong does not matter, because
 * `sent_at_ms` is of the same clock and the collector corrects by it.
 */
export const tillTime = (): number => {
  latest = Math.max(latest, Date.now() + shift);
  return latest;
};

/** The transaction that is under way, and what all tabs share. Now is `state.l`. */
let entries: Entries;
let state: State;
let running: Promise<unknown> = Promise.resolve();

/**
 * Runs transactions, one after the other. Keeps the till's time from running back with a clock that was set back, and from
 * leaping on by more than a week.
 */
const run = <T>(storage: Storage, work: () => Promise<T>): Promise<T> => {
  const next = storage(async (given) => {
      const shared = await asked<State>(given.get(['s']));
      entries = given;
      state = shared || { k: ['s'], s: 0, l: Date.now(), m: [], z: 0, w: 0, g: 0, n: {}, h: [] };
      const wall = Date.now();
      const elapsed = -counted + (counted = performance.now());
      const leap = wall + state.s - state.l;
      if (leap < -MINUTE_MS) state.s -= leap;
      // A till may have slept, but not for a week while a page counted less than a day.
      if (leap > 168 * HOUR_MS && elapsed < 24 * HOUR_MS) state.s -= leap - elapsed;
      shift = state.s;
      latest = state.l = Math.max(state.l, wall + shift);
      state.m = state.m.filter((t) => t > state.l - MINUTE_MS);
      const result = await work();
      entries.put(state);
      return result;
    }, running);
  running = safely(() => next)!;
  return next;
};

/** Sees to it that this store and terminal has a numbering, with its present token. */
const beginNumbering = ([whose, , token]: Identity): void => {
  const to: Numbering = (state.n[whose] ||= { q: uuid(), n: 1, x: [0, 0], f: [0, 0], r: [0, 0], d: 0, c: {} });
  if (token && token !== to.given) withToken(to, (to.given = token));
};

/** Has a new token, with which it may try again at once. */
const withToken = (to: Numbering, token: string): void => {
  to.token = token;
  to.x = [0, 0];
};

const listed = <T>(from: Key, to: Key, limit = ROWS_MAX) =>
  asked<T[]>(entries.getAll(IDBKeyRange.bound(from, to), limit));

/** Rows of one till and urgency, from one time up to another. */
const rowsOf = (whose: string, urgency: number, from: number, until: number, limit?: number) =>
  listed<Row>(['r', whose, urgency, from], ['r', whose, urgency, Math.max(from, until)], limit);

const put = (item: Waiting): void => {
  item.z = JSON.stringify(item).length;
  state.w += item.w;
  state.z += item.z;
  entries.put(item);
};

const remove = ({ k, w, z }: Waiting): void => {
  entries.delete(k);
  state.w -= w;
  state.z -= z;
};

/** Keeps what was measured in one window, together with what is there. */
const putRow = async (key: RowKey, d: SeriesByKey, e: Happened[] = []): Promise<void> => {
  const k: Row['k'] = ['r', ...key];
  const before = await asked<Row | undefined>(entries.get(k));
  if (before) {
    remove(before);
    merge(d, before.d);
  }
  const w = countOf(d) + sum(e, (one: any) => one.samples ?? 1);
  if (w) put({ k, d, e, w } as Row);
};

/** How many samples were dropped since the page was loaded, by reason. */
export const dropped: { [reason: string]: number } = {};

/** Says that samples will never come, and which number they had if they had one. */
const drop = (whose: string, reason: string, samples: number, { q: queue, n }: Partial<Batch> = {}): Promise<void> => {
  const t = state.l;
  increase(dropped, reason, samples);
  return putRow([whose, URGENT, t, Math.random(), ''], {}, [{ samples, reason, t, queue, from: n, to: n }]);
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
  const kept: Kept = { k: ['e', 'tillwatch' + Math.random()], j: JSON.stringify(text) };
  const put = async (entries: Entries) => entries.put(kept);
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
      localStorage[kept.k[1]] = kept.j;
      underWay.delete(kept);
    }
};

/** The ids of what was handed over. A worker sees none of it. */
const handed = (): string[] => safely(() => Object.keys(localStorage).filter((id) => /^tillwatch\d/.test(id))) || [];

/** Rows that are about to be made, by the JSON of their keys. */
type Rows = { [key: string]: [d: SeriesByKey, e?: Happened[]] };

const gather = (rows: Rows, key: RowKey, d: SeriesByKey): void => merge((rows[JSON.stringify(key)] ||= [{}])[0], d);

const putRows = async (rows: Rows): Promise<void> => {
  for (const key in rows) await putRow(JSON.parse(key), ...rows[key]);
};

/** Gathers what was kept. */
const gatherKept = (rows: Rows, [of, aheadMs, windows, happened]: KeptText): void => {
  const [whose, g] = of;
  beginNumbering(of);
  // What a page measured before its first transaction may be wrong by years.
  const right = (t: number) => Math.min(t + state.s - aheadMs, state.l) || 0;
  for (const t in windows) {
    const d = windows[t];
    for (const key in d) d[key].t = right(d[key].t);
    gather(rows, [whose, ORDINARY, floor(right(+t)), MINUTE_MS, g], d);
  }
  for (const one of happened) one.t = right(one.t);
  if (happened[0]) rows[JSON.stringify([whose, URGENT, happened[0].t, Math.random(), g])] = [{}, happened];
};

/** Makes rows of what was kept and handed over, each once, and looks after the bounds once a minute. */
const absorb = async (): Promise<void> => {
  const now = state.l;
  const all = await listed<Kept>(['e'], ['f']);
  const known = state.h;
  const rows: Rows = {};
  if (entries.name)
    for (const id of handed())
      // What was known before this transaction is there for good.
      if (known.includes(id)) delete localStorage[id];
      else all.push({ k: ['e', id], j: localStorage[id] });
  for (const { k, j } of all) {
    const isKnown = known.includes(k[1]);
    entries.delete(k);
    // What is in both places comes twice; it is forgotten last.
    known.push(k[1]);
    // A text that another version or another script has left must not stop the queue.
    if (!isKnown && !state.off) safely(() => gatherKept(rows, JSON.parse(j)));
  }
  await putRows(rows);
  state.h = known.slice(-KNOWN_MAX);
  if (now - state.g > MINUTE_MS) {
    state.g = now;
    for (const whose in state.n) await bound(whose);
  }
};

/** What waits, in all tabs: how many samples, and about how many bytes they take. */
export const look = (storage: Storage) =>
  run(storage, async () => {
    await absorb();
    return state;
  });

/** Seals what is due and says what to post now, or for how many ms to wait. If asked, what is live is due at once. */
export const next = (storage: Storage, of: Identity, isAsked: boolean) =>
  run<Job | number>(storage, async () => {
    let wait = HOUR_MS;
    await absorb();
    if (state.off) return wait;
    if (state.m[REQUESTS_PER_MINUTE - 1]) return state.m[0] + MINUTE_MS - state.l;
    beginNumbering(of);
    for (const whose in state.n) {
      const to = state.n[whose];
      for (const at of [LIVE, BACKLOG] as Class[]) {
        let due: any = Math.max(to.x[at], to.r[at]) - state.l;
        if (due <= 0) due = await batchOf(['b', whose, at], isAsked);
        if (due.k) {
          due.a++;
          put(due);
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
const batchOf = async (k: Batch['k'], isAsked: boolean): Promise<Batch | number> => {
  const [, ageMaxMs, intervalMs, times] = limits;
  const [, whose, at] = k;
  const now = state.l;
  const to = state.n[whose];
  const batch = await asked<Batch | undefined>(entries.get(k));
  if (batch) {
    remove(batch);
    if (batch.t >= now - ageMaxMs) return batch;
    await drop(whose, 'age', batch.w, batch);
  }
  const border = now - LIVE_MS;
  const urgent = at ? [] : await rowsOf(whose, URGENT, 0, Infinity);
  const ordinary = await rowsOf(whose, ORDINARY, ...((at ? [0, border, BACKLOG_ROWS_MAX] : [border, Infinity]) as [number, number]));
  const due = [...urgent, ...ordinary];
  if (!due[0]) return HOUR_MS;
  if (!at && !isAsked) {
    const isMuch = urgent[0] || sum(due, ({ w, z }) => w / MANY + z / BATCH_BYTES[0]) >= 1;
    const wait = to.d + (isMuch ? 5000 : intervalMs * times) - now;
    if (wait > 0) return wait;
  }
  const g = due.find(({ k }) => k[5])?.k[5];
  const rows: Row[] = [];
  let room = BATCH_BYTES[at];
  let places = LIST_MAX;
  for (const row of due) {
    room -= row.z;
    places -= row.e.length;
    if (rows[0] && (room < 0 || places < 0)) break;
    // A loss belongs to no session.
    if (row.k[5] && row.k[5] !== g) continue;
    rows.push(row);
    remove(row);
  }
  // Whatever is left goes next.
  if (!at && rows.length === due.length) to.d = now;
  const { q } = to;
  const n = to.n++;
  const [store_id, terminal_id] = whose.split('\n');
  const head = { v: 1, store_id, terminal_id, queue: q, seq: n, ...JSON.parse(g || '{}'), consent: true };
  return {
    k, q, n,
    b: JSON.stringify({ ...head, ...contentOf(rows, MINUTE_MS * times) }),
    w: sum(rows, ({ w }) => w),
    t: rows[0].k[3],
    a: 0,
  } as Batch;
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
    const [scale] = unitOf(m);
    const named = { m, label, connection };
    const sample = (value: number) => samples.push({ ...named, t, v: value / scale });
    if (!h) sample(s);
    else if (n) {
      const buckets = Object.entries(h).map(([index, count]) => [+index, count]);
      histograms.push({ ...named, t: +window, span_ms: +span, buckets, sum: s / scale, min: a / scale, max: b / scale });
    }
    if (v != null) sample(v);
  }
  const happened = rows.flatMap(({ e }) => e);
  return { samples, histograms, events: happened.filter(({ k }) => k), drops: happened.filter(({ k }) => !k) };
};

/** Takes note of what came of a request, and of the token that the next one has. */
export const settle = (storage: Storage, [{ token }, batch]: Job, [status, json, afterMs]: Answer, next?: string | false) =>
  run(storage, async () => {
    const [, whose, at] = batch.k;
    const now = state.l;
    const to = state.n[whose];
    const kept = await asked<Batch | undefined>(entries.get(batch.k));
    // Another tab has heard of it first, or consent was withdrawn.
    if (kept?.b !== batch.b) return;
    to.token ||= token;
    if (next && next !== token) {
      withToken(to, next);
      // To ask for it was a request, too.
      state.m.push(now);
      return;
    }
    // Whoever stands between, such as the login page of a network, may answer anything. The collector's own answers count.
    const isTaken = status === 202 && json?.accepted >= 0;
    const code = json?.error?.code && '' + status;
    const reason = status === 413 ? 'too_large' : /400|415|422/.test(code) && 'refused';
    if (!isTaken && !reason) {
      to.x[at] = now + Math.max(/40[13]/.test(code) ? DENIED_MS : 1000, Math.random() * Math.min(300_000, 1000 * 2 ** ++to.f[at]));
      to.r[at] = now + afterMs;
      return;
    }
    remove(kept!);
    // A fleet that comes back does so at once; what is old can wait, and comes in turn.
    if (at || to.f[LIVE]) to.x[BACKLOG] = now + (at ? 5000 : Math.random() * 30_000);
    to.f[at] = 0;
    // Somebody else uses these numbers: another till has a copy of this one's storage. So this one begins anew.
    const isConflicting = json?.conflicting > 0;
    const isOthers = isConflicting || (json?.duplicate > 0 && kept!.a === 1);
    if (isOthers) [to.q, to.n] = [uuid(), 1];
    if (isConflicting) {
      // The collector has something else under this number. So it does not have this.
      const b = JSON.stringify({ ...JSON.parse(kept!.b), queue: to.q, seq: 1 });
      put({ ...kept, b, q: to.q, n: to.n++, a: 0 } as Batch);
    } else if (isOthers || reason) await drop(whose, reason || 'other', kept!.w, kept);
  });

/**
 * The network may be back: whatever failed without an answer is tried within so many ms. Takes note of consent, too, if it
 * was given or withdrawn, and deletes everything if asked.
 */
export const change = (storage: Storage, withinMs: number, isGiven?: boolean, isErased?: boolean) =>
  run(storage, async () => {
    state.off = !(isGiven ?? !state.off);
    if (isErased) {
      entries.clear();
      state.n = {};
      state.w = state.z = 0;
      for (const id of handed()) delete localStorage[id];
    }
    for (const whose in state.n) state.n[whose].x[LIVE] = state.l + Math.random() * withinMs;
  });

/** Keeps what waits within its bounds: merges it, then drops the oldest. */
const bound = async (whose: string): Promise<void> => {
  const [bytesMax, ageMaxMs] = limits;
  const merged = state.n[whose].c;
  const now = state.l;
  for (const [spanMs, afterMs] of TIERS) {
    const until = floor(now - afterMs, spanMs);
    const rows = await rowsOf(whose, ORDINARY, (merged[spanMs] ||= 0), until);
    const merging: Rows = {};
    for (const row of rows)
      if (row.k[4] < spanMs) {
        remove(row);
        gather(merging, [whose, ORDINARY, floor(row.k[3], spanMs), spanMs, row.k[5]], row.d);
      }
    await putRows(merging);
    // Where there were too many, the rest is for the next time.
    merged[spanMs] = rows[ROWS_MAX - 1]?.k[3] ?? until;
  }
  const isFull = () => state.z > bytesMax;
  const oldest = now - ageMaxMs;
  const lost: { [reason: string]: number } = {};
  for (const urgency of [ORDINARY, URGENT])
    for (const row of await rowsOf(whose, urgency, 0, isFull() ? Infinity : oldest)) {
      const isOld = row.k[3] < oldest;
      if (!isOld && !isFull()) break;
      remove(row);
      increase(lost, isOld ? 'age' : 'quota', row.w);
    }
  for (const reason in lost) await drop(whose, reason, lost[reason]);
};
