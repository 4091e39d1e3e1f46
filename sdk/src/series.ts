/** What was measured of one metric with one label and one connection in one window. */

import { type Buckets, bucketOf } from './histogram';

/**
 * Fields have one letter because they lie in IndexedDB as they are. A counter has no buckets; a level keeps its last
 * value apart, because the collector shows the last value that it gets as a sample.
 */
export interface Series {
  /** How many values, without the last one of a level. */
  n: number;
  /** Their sum, the least (2^53 without any) and the greatest, in the recording unit. */
  s: number;
  a: number;
  b: number;
  h?: Buckets;
  /** When the last value was measured, in Unix ms of the till's time. */
  t: number;
  /** The last value of a level. */
  v?: number;
}

/** Keys are `metric|label|connection`, with more `|` behind them where one histogram is not enough. */
export type SeriesByKey = { [key: string]: Series };

export const DISTRIBUTION = 0;
export const COUNTER = 1;
export const LEVEL = 2;

/** The collector takes histograms with at most so many buckets, and so many values in a minute. */
const BUCKETS_MAX = 4096;
const VALUES_MAX = 60_000;

/** The series to which `n` values in so many buckets can be added. */
function roomFor(all: SeriesByKey, key: string, n: number, buckets: (() => number) | 1): string {
  for (let found; (found = all[key]?.h); key += '|') {
    const values = all[key].n + n;
    const isFull = () => Object.keys(found).length + (buckets === 1 ? 1 : buckets()) > BUCKETS_MAX;
    if (values <= BUCKETS_MAX || (values < VALUES_MAX && !isFull())) break;
  }
  return key;
}

function record(series: Series, value: number): void {
  series.n++;
  series.s += value;
  if (series.h) {
    const index = bucketOf(value);
    series.h[index] = (series.h[index] || 0) + 1;
    series.a = Math.min(series.a, value);
    series.b = Math.max(series.b, value);
  }
}

/** Adds a value. */
export function add(all: SeriesByKey, key: string, kind: number, value: number, t: number): void {
  key = roomFor(all, key, 2, 1);
  const series = (all[key] ||= { n: 0, s: 0, a: 2 ** 53, b: 0, t, h: kind === COUNTER ? undefined : {} });
  if (kind === LEVEL) [value, series.v] = [series.v!, value];
  if (value !== undefined) record(series, value);
  series.t = t;
}

/** Adds all that `from` holds. Nothing of `from` is kept by reference. */
export function merge(all: SeriesByKey, from: SeriesByKey): void {
  for (const name in from) {
    const theirs = from[name];
    const key = roomFor(all, name, theirs.n + 1, () => Object.keys(theirs.h!).length + 1);
    const ours = (all[key] ||= { ...theirs, n: 0, s: 0, h: theirs.h && {}, v: undefined });
    ours.n += theirs.n;
    ours.s += theirs.s;
    ours.a = Math.min(ours.a, theirs.a);
    ours.b = Math.max(ours.b, theirs.b);
    for (const index in theirs.h) ours.h![+index] = (ours.h![+index] || 0) + theirs.h[+index];
    const [older, newer] = ours.t > theirs.t ? [theirs, ours] : [ours, theirs];
    const { t, v } = newer;
    if (v !== undefined && older.v !== undefined) record(ours, older.v);
    ours.v = v ?? older.v;
    ours.t = t;
  }
}

/** How many values there are. */
export const countOf = (all: SeriesByKey): number =>
  Object.values(all).reduce((sum, { n, v }) => sum + n + (v === undefined ? 0 : 1), 0);
