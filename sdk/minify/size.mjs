// What a text weighs with gzip. Compressors differ by a percent, and names that are searched for one of them alone are
// worse for others: the zlib of Node finds other repetitions than GNU's gzip and older zlibs, which pako 2 is like.
import { gzipSync } from 'node:zlib';
import { gzip } from 'pako';

/** With GNU's gzip at level 9, on every machine, in bytes. */
export const sizeOf = (text) => gzip(text, { level: 9 }).length;

/** The larger of both. What Node makes of it depends on the processor. */
export const largestOf = (text) => Math.max(sizeOf(text), gzipSync(text, { level: 9 }).length);
