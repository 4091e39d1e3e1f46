/**
 * Minute histograms with exactly the buckets of HdrHistogram for lowest value 1 and 3 significant digits
 * (docs/formats.md, "Bucket index"). A value is a whole number in the metric's recording unit.
 */
/** Counts by bucket index. JavaScript lists integer keys in ascending order, as the wire format wants them. */
export type Buckets = {
    [index: string]: number;
};
/** The bucket of a whole number from 0 to 2^53 - 1. */
export declare const bucketOf: (value: number) => number;
/** The lowest value of a bucket. */
export declare const lowestOf: (index: number) => number;
/** The highest value of a bucket, for which the bucket stands. */
export declare const highestOf: (index: number) => number;
/** Counts on. */
export declare const increase: (counts: Buckets, key: string | number, by?: number) => void;
