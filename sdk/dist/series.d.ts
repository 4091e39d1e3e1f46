/** What was measured of one metric with one label and one connection in one window. */
import { type Buckets } from './histogram';
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
export type SeriesByKey = {
    [key: string]: Series;
};
export declare const DISTRIBUTION = 0;
export declare const COUNTER = 1;
export declare const LEVEL = 2;
/** Adds a value. */
export declare const add: (all: SeriesByKey, key: string, kind: number, value: number | undefined, t: number) => void;
/** Adds all that `from` holds, with something before its keys. Nothing of `from` is kept by reference. */
export declare const merge: (all: SeriesByKey, from: SeriesByKey, before?: string) => void;
/** How many values there are. */
export declare const countOf: (all: SeriesByKey) => number;
/** The sum of what each is worth. */
export declare const sum: <T>(list: T[], of: (one: T) => number) => number;
