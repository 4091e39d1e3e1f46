/** Everything. */

import type { Options } from './api';
import { init as initLite } from './lite';
import { safely } from './till';
import { watchVitals } from './vitals';

export * from './api';
export * from './wraps';

let isWatching = false;

/** Begins to measure; called again, goes on with other options (another store or terminal has a queue of its own). */
export function init(options: Options): void {
  initLite(options);
  if (isWatching || options.auto === false || !self.document) return;
  isWatching = true;
  safely(watchVitals);
}
