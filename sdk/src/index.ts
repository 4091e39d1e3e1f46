/** Everything. */

import type { Options } from './api';
import { watch } from './page';
import { start } from './till';
import { watchVitals } from './vitals';

export * from './api';
export * from './wraps';

/** Begins to measure; called again, goes on with other options (another store or terminal has a queue of its own). */
export const init = (options: Options): void => start(options, watchVitals, watch);
