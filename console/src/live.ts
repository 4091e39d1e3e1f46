// What comes over the live stream, and the fleet that it makes. Nothing here touches a page or the network.
import { distance } from './order';
import type { Fleet as Answer, FleetState, FleetStore, FleetValues, Pipeline, Why } from './types';

// --- server-sent events

/** Takes the text as it comes, in pieces of any length, and gives each event once it is whole. */
export function events(give: (event: string, data: string) => void): (text: string) => void {
  let pieces: string[] = [];
  let [event, data, isAfterReturn] = ['', '', false];
  const line = (text: string): void => {
    if (!text) {
      if (data) give(event || 'message', data.slice(1));
      event = data = '';
      return;
    }
    const colon = text.indexOf(':');
    const [field, value] = colon < 0 ? [text, ''] : [text.slice(0, colon), text.slice(text[colon + 1] === ' ' ? colon + 2 : colon + 1)];
    if (field === 'event') event = value;
    else if (field === 'data') data += '\n' + value;
  };
  return (text) => {
    let from = isAfterReturn && text[0] === '\n' ? 1 : 0;
    if (text) isAfterReturn = text.endsWith('\r');
    // A line may be long and come in many pieces, so they are joined only once it is whole.
    for (let end = next(text, from); end >= 0; end = next(text, from)) {
      pieces.push(text.slice(from, end));
      from = end + (text[end] === '\r' && text[end + 1] === '\n' ? 2 : 1);
      const whole = pieces.length > 1 ? pieces.join('') : pieces[0];
      pieces = [];
      line(whole);
    }
    if (from < text.length) pieces.push(text.slice(from));
  };
}

function next(text: string, from: number): number {
  const feed = text.indexOf('\n', from);
  const back = text.indexOf('\r', from);
  return back < 0 || (feed >= 0 && feed < back) ? feed : back;
}

const FIRST_MS = 250;
const LONGEST_MS = 10_000;
/** How long to wait before try `n` (from 0), anywhere up to a bound that doubles: a thousand pages must not come back at once. */
export const backOff = (n: number, random: number): number => random * Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(n, 10));

// --- sparks: an hour of sync p95, one character a minute

const STEPS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
export const SPARK_MINUTES = 60;
export const SPARK_STEPS = 63;
const [LOW_MS, HIGH_MS] = [200, 12_000];
/** The step of each minute, 0 to 63, or null where nothing was measured. */
export const steps = (spark: string): (number | null)[] => Array.from(spark, (letter) => { const at = STEPS.indexOf(letter); return at < 0 ? null : at; });
/** Where a value lies on the scale of the sparks. */
export const stepOf = (ms: number): number => Math.min(SPARK_STEPS, Math.max(0, (Math.log(ms / LOW_MS) / Math.log(HIGH_MS / LOW_MS)) * SPARK_STEPS));
/** Appended, as many minutes later as it is; the oldest go. */
const appended = (spark: string, letter: string, minutes: number): string =>
  (spark.padStart(SPARK_MINUTES, '.') + '.'.repeat(Math.min(SPARK_MINUTES, minutes - 1)) + letter).slice(-SPARK_MINUTES);

// --- beats: a bit for each of 60 minutes

/** The minutes in which something was heard, the oldest first; null before anything is known. `minute` begins the last one. */
export function beats(hex: string, minute: number, since: number | null | undefined): (boolean | null)[] {
  const high = parseInt(hex.slice(0, -8) || '0', 16);
  const low = parseInt(hex.slice(-8), 16);
  return Array.from({ length: 60 }, (_, i) => {
    const back = 59 - i;
    if (since != null && minute - back * 60_000 < Math.floor(since / 60_000) * 60_000) return null;
    return ((back < 32 ? low >>> back : high >>> (back - 32)) & 1) === 1;
  });
}

/** Which minutes are gaps: three or more without a beat, after one that had one. The minute under way is no gap yet. */
export function gaps(heard: (boolean | null)[]): boolean[] {
  const out = heard.map(() => false);
  let begin = -1;
  let hasBeen = false;
  const close = (end: number): void => { if (begin >= 0 && end - begin >= 3) out.fill(true, begin, end); begin = -1; };
  heard.forEach((is, i) => {
    if (is) { close(i); hasBeen = true; }
    else if (is === false && (hasBeen || heard[0] !== null) && begin < 0) begin = i;
  });
  close(heard.length - 1);
  return out;
}

// --- the fleet: numbers of all stores in one field, because 2,000 stores may change four times a second

const NUMBERS = ['sync_p95_ms', 'sync_samples', 'sync_success', 'sync_attempts', 'login_p95_ms', 'login_samples', 'lcp_p75_ms', 'lcp_samples', 'inp_p75_ms', 'inp_samples', 'network_p75_ms', 'network_samples', 'pending_max', 'memory_p95_mb',
  'terminals', 'reporting', 'silent', 'sync_failing', 'missing', 'lost', 'late', 'last_report'] as const;
export const STATES: FleetState[] = ['critical', 'warning', 'silent', 'fine', 'quiet'];
const STATE = NUMBERS.length;
const FAR = STATE + 1;
const WIDTH = FAR + 1;

export interface Whole {
  kind: 'fleet'; seq: number; t: number; complete_to: number; all: FleetValues; minute: number; spark: string;
  ids: string[]; values: Float64Array; why: string[]; releases: (string | null)[]; sparks: string[];
}
/** `why` and `releases` of those stores only of which they are others than before: texts are what is dear to hand over. */
export interface Part { kind: 'rows'; seq: number; t: number; complete_to: number; all: FleetValues; slots: Uint32Array; values: Float64Array; why: [slot: number[], text: string[]]; releases: [slot: number[], name: (string | null)[]] }
/** One character a store, in the order of the stores. */
export interface Minute { kind: 'minute'; minute: number; spark: string; sparks: string }
export interface Rows { seq: number; t: number; complete_to?: number; stores: FleetStore[]; gone?: string[]; all: FleetValues }
export interface Sparks { minute: number; all: string; stores: Record<string, string> }

function put(values: Float64Array, at: number, row: FleetStore): void {
  for (let i = 0; i < STATE; i += 1) values[at + i] = row[NUMBERS[i]] ?? NaN;
  values[at + STATE] = STATES.indexOf(row.state);
  values[at + FAR] = distance(row);
}
const text = (why: Why[]): string => (why.length ? JSON.stringify(why) : '');

export class Fleet {
  seq = 0; t = 0; complete_to = 0; all: FleetValues = {}; minute = 0; spark = '';
  ids: string[] = []; values = new Float64Array(0); why: string[] = []; releases: (string | null)[] = []; sparks: string[] = [];
  slots = new Map<string, number>();
  rows: StoreRow[] = [];
  /** Grows for a store whenever something of it changes. */
  stamps = new Uint32Array(0);

  /** Says whether there are other stores than before. */
  load(whole: Whole): boolean {
    const { kind: _, ...own } = whole;
    const isOther = own.ids.length !== this.ids.length || own.ids.some((id, i) => id !== this.ids[i]);
    Object.assign(this, own);
    if (isOther) {
      this.slots = new Map(this.ids.map((id, i) => [id, i]));
      this.rows = this.ids.map((_, i) => new StoreRow(this, i));
      this.stamps = new Uint32Array(this.ids.length);
    }
    for (let i = 0; i < this.stamps.length; i += 1) this.stamps[i] += 1;
    return isOther;
  }

  apply({ seq, t, complete_to, all, slots, values, why, releases }: Part): void {
    Object.assign(this, { seq, t, complete_to, all });
    for (let i = 0; i < slots.length; i += 1) {
      const slot = slots[i];
      // Two thousand views of the field would be collected again.
      for (let n = 0; n < WIDTH; n += 1) this.values[slot * WIDTH + n] = values[i * WIDTH + n];
      this.stamps[slot] += 1;
    }
    why[0].forEach((slot, i) => { this.why[slot] = why[1][i]; });
    releases[0].forEach((slot, i) => { this.releases[slot] = releases[1][i]; });
  }

  pass({ minute, spark, sparks }: Minute): void {
    const minutes = Math.round((minute - this.minute) / 60_000);
    if (minutes < 1) return;
    this.minute = minute;
    this.spark = appended(this.spark, spark, minutes);
    this.sparks = this.sparks.map((one, i) => appended(one, sparks[i] ?? '.', minutes));
    for (let i = 0; i < this.stamps.length; i += 1) this.stamps[i] += 1;
  }

  whole(): Whole {
    const { seq, t, complete_to, all, minute, spark, ids, values, why, releases, sparks } = this;
    return { kind: 'fleet', seq, t, complete_to, all, minute, spark, ids, values, why, releases, sparks };
  }

  row(store_id: string): StoreRow | undefined { return this.rows[this.slots.get(store_id) ?? -1]; }
  stateOf(slot: number): FleetState { return STATES[this.values[slot * WIDTH + STATE]]; }
}

/** One store of a fleet; its numbers are those that the fleet has now. */
export interface StoreRow extends FleetStore {}
export class StoreRow {
  #text = '';
  #why: Why[] = [];
  constructor(readonly fleet: Fleet, readonly slot: number) {}
  get store_id(): string { return this.fleet.ids[this.slot]; }
  get state(): FleetState { return this.fleet.stateOf(this.slot); }
  get distance(): number { return this.fleet.values[this.slot * WIDTH + FAR]; }
  get release(): string | null { return this.fleet.releases[this.slot]; }
  get spark(): string { return this.fleet.sparks[this.slot] ?? ''; }
  get stamp(): number { return this.fleet.stamps[this.slot]; }
  get why(): Why[] {
    const now = this.fleet.why[this.slot];
    if (now !== this.#text) { this.#text = now; this.#why = now ? JSON.parse(now) : []; }
    return this.#why;
  }
}
NUMBERS.forEach((key, i) => Object.defineProperty(StoreRow.prototype, key, {
  get(this: StoreRow) { const value = this.fleet.values[this.slot * WIDTH + i]; return Number.isNaN(value) ? null : value; },
}));

/** A store may be called `constructor`, which every object has. */
const sparkOf = (sparks: Record<string, string> | undefined, id: string): string | undefined => (sparks && Object.hasOwn(sparks, id) ? sparks[id] : undefined);

/** The answer to `/fleet`, by name: a store keeps its place whatever state it is in. */
export function whole(answer: Answer): Whole {
  const stores = [...answer.stores].sort((one, other) => (one.store_id < other.store_id ? -1 : 1));
  const values = new Float64Array(stores.length * WIDTH);
  stores.forEach((row, i) => put(values, i * WIDTH, row));
  return {
    kind: 'fleet', seq: answer.seq ?? 0, t: answer.t, complete_to: answer.complete_to, all: answer.all, minute: answer.sparks?.minute ?? 0, spark: answer.sparks?.all ?? '',
    ids: stores.map(({ store_id }) => store_id), values, why: stores.map(({ why }) => text(why)), releases: stores.map(({ release }) => release ?? null), sparks: stores.map(({ store_id }) => sparkOf(answer.sparks?.stores, store_id) ?? ''),
  };
}

/** What a `rows` event changes; the whole fleet if stores came or went. */
export function changed(fleet: Fleet, { seq, t, complete_to = t, stores, gone = [], all }: Rows): Part | Whole {
  if (gone.some((id) => fleet.slots.has(id)) || stores.some(({ store_id }) => !fleet.slots.has(store_id))) {
    const isOver = new Set([...gone, ...stores.map(({ store_id }) => store_id)]);
    const { minute, spark } = fleet;
    const sparks = { minute, all: spark, stores: Object.fromEntries(fleet.ids.map((id, i) => [id, fleet.sparks[i]])) };
    return whole({ seq, t, complete_to, all, sparks, stores: [...fleet.rows.filter(({ store_id }) => !isOver.has(store_id)), ...stores.filter(({ store_id }) => !gone.includes(store_id))] });
  }
  const slots = new Uint32Array(stores.length);
  const values = new Float64Array(stores.length * WIDTH);
  const why: Part['why'] = [[], []];
  const releases: Part['releases'] = [[], []];
  stores.forEach((row, i) => {
    const slot = slots[i] = fleet.slots.get(row.store_id)!;
    put(values, i * WIDTH, row);
    const [reasons, release] = [text(row.why), row.release ?? null];
    if (reasons !== fleet.why[slot]) { why[0].push(slot); why[1].push(reasons); }
    if (release !== fleet.releases[slot]) { releases[0].push(slot); releases[1].push(release); }
  });
  return { kind: 'rows', seq, t, complete_to, all, slots, values, why, releases };
}

export const minuteOf = (fleet: Fleet, { minute, all, stores }: Sparks): Minute => ({ kind: 'minute', minute, spark: all, sparks: fleet.ids.map((id) => sparkOf(stores, id) ?? '.').join('') });

// --- the pipeline

export const KEPT_MS = 15 * 60_000;

/** What is known after an event: its series are all there are, its points the new ones. */
export function joined(before: Pipeline | null, { t, series, points }: Pick<Pipeline, 't' | 'series' | 'points'>): Pipeline {
  const old = before?.points ?? [];
  const last = old[old.length - 1]?.t ?? 0;
  return { ...before!, t, series, points: [...old, ...points.filter((one) => one.t > last)].filter((one) => one.t > t - KEPT_MS) };
}
