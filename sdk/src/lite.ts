/** Everything but web vitals. */

import type { Options } from './api';
import { watch } from './page';
import { safely, start } from './till';

export * from './api';
export * from './wraps';

let isWatching = false;

/** Begins to measure; called again, goes on with other options (another store or terminal has a queue of its own). */
export function init(options: Options): void {
  safely(() => start(options));
  if (isWatching || options.auto === false) return;
  isWatching = true;
  safely(watch);
}
