/** Everything as one global, for a page without modules. */

import { count, erase, error, event, flush, init, level, measureCaches, measureIndexedDb, observe, offlineLogin, setConsent, status, syncQueue, time, version } from './index';

(self as any).tillwatch = { count, erase, error, event, flush, init, level, measureCaches, measureIndexedDb, observe, offlineLogin, setConsent, status, syncQueue, time, version };
