/** What was measured of one metric with one label and one connection in one window. */

import { type Buckets, bucketOf, increase } from './histogram';

/**
 * Fields have one letter because they lie in IndexedDB as they are. A counter has no buckets; a level keeps its last
 * value apart, because the collector shows the last value that it gets as a sample.
 */
export interface Series {
  /** How many values, without the last one of a level. */
  n: number;
  /** Their sum, the least (9e15 without any) and the greatest, in the recording unit. */
  s: number;
  a: number;
  b: number;
  h: Buckets | false;
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

/** The collector takes histograms with at most so many buckets, and 60,000 values in a minute. */
const BUCKETS_MAX = 4096;
const VALUES_MAX = 50_000;

const sizeOf = (buckets: Buckets | false) => Object.keys(buckets).length;

/** The series to which `n` values in so many buckets, and one more of a level, can be added. */
const roomFor = (all: SeriesByKey, key: string, n: number, buckets: Buckets | false = {}): string => {
  const isFull = ({ h, n: before }: Series) =>
    before + n >= BUCKETS_MAX && (before + n >= VALUES_MAX || sizeOf(h) + sizeOf(buckets) >= BUCKETS_MAX);
  while (all[key] && isFull(all[key])) key += '|';
  return key;
};

/** Counts a value in the recording unit, or nothing. */
const record = (series: Series, value?: number): void => {
  if (value == null) return;
  series.n++;
  series.s += value;
  if (!series.h) return;
  increase(series.h, bucketOf(value));
  series.a = Math.min(series.a, value);
  series.b = Math.max(series.b, value);
};

/** Adds a value. */
export const add = (all: SeriesByKey, key: string, kind: number, value: number | undefined, t: number): void => {
  const series = (all[roomFor(all, key, 1)] ||= { n: 0, s: 0, a: 9e15, b: 0, t, h: kind !== COUNTER && {} });
  if (kind === LEVEL) [value, series.v] = [series.v, value];
  record(series, value);
  series.t = t;
};

/** Adds all that `from` holds, with something before its keys. Nothing of `from` is kept by reference. */
export const merge = (all: SeriesByKey, from: SeriesByKey, before = ''): void => {
  for (const name in from) {
    const theirs = from[name];
    const key = roomFor(all, before + name, theirs.n, theirs.h);
    const ours = (all[key] ||= { ...theirs, n: 0, s: 0, h: theirs.h && {}, v: undefined });
    ours.n += theirs.n;
    ours.s += theirs.s;
    ours.a = Math.min(ours.a, theirs.a);
    ours.b = Math.max(ours.b, theirs.b);
    for (const index in theirs.h as Buckets) increase(ours.h as Buckets, index, (theirs.h as Buckets)[index]);
    // The last value of a level is apart, those before it are in the histogram.
    const [older, newer] = [ours, theirs].sort((one, other) => one.t - other.t);
    if (newer.v != null) record(ours, older.v);
    ours.v = newer.v ?? older.v;
    ours.t = newer.t;
  }
};

/** How many values there are. */
export const countOf = (all: SeriesByKey): number => sum(Object.values(all), ({ n, v }) => n + +(v != null));

/** The sum of what each is worth. */
export const sum = <T>(list: T[], of: (one: T) => number): number => list.reduce((all, one) => all + of(one), 0);
