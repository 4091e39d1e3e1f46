/**
 * Minute histograms with exactly the buckets of HdrHistogram for lowest value 1 and 3 significant digits
 * (docs/formats.md, "Bucket index"). A value is a whole number in the metric's recording unit.
 */

/** Counts by bucket index. JavaScript lists integer keys in ascending order, as the wire format wants them. */
export type Buckets = { [index: string]: number };

/** The bucket of a whole number from 0 to 2^53 - 1. */
export const bucketOf = (value: number): number => {
  let shift = 0;
  for (; value >= 2048; shift++) value = Math.floor(value / 2);
  return shift * 1024 + value;
};

/** The lowest value of a bucket. */
export const lowestOf = (index: number): number => {
  const shift = Math.max(Math.floor(index / 1024) - 1, 0);
  return (index - shift * 1024) * 2 ** shift;
};

/** The highest value of a bucket, for which the bucket stands. */
export const highestOf = (index: number): number => lowestOf(index + 1) - 1;

/** Counts on. */
export const increase = (counts: Buckets, key: string | number, by = 1): void => {
  counts[key] = (counts[key] || 0) + by;
};
