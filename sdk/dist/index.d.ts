/** Everything. */
import type { Options } from './api';
export * from './api';
export * from './wraps';
/** Begins to measure; called again, goes on with other options (another store or terminal has a queue of its own). */
export declare const init: (options: Options) => void;
