/**
 * Minute histograms with exactly the buckets of HdrHistogram for lowest value 1 and 3 significant digits
 * (docs/formats.md, "Bucket index"). A value is a whole number in the metric's recording unit.
 */

/** Counts by bucket index. JavaScript lists integer keys in ascending order, as the wire format wants them. */
export type Buckets = { [index: number]: number };

/** The bucket of a whole number from 0 to 2^53 - 1. */
export function bucketOf(value: number): number {
  if (value < 2048) return value;
  const shift = (value < 2 ** 32 ? 31 - Math.clz32(value) : 63 - Math.clz32(value / 2 ** 32)) - 10;
  return shift * 1024 + Math.floor(value / 2 ** shift);
}

/** The lowest value of a bucket. */
export function lowestOf(index: number): number {
  return index < 2048 ? index : ((index % 1024) + 1024) * 2 ** (Math.floor(index / 1024) - 1);
}

/** The highest value of a bucket, for which the bucket stands. */
export function highestOf(index: number): number {
  return index < 2048 ? index : lowestOf(index) + 2 ** (Math.floor(index / 1024) - 1) - 1;
}
