/** For a service worker: `importScripts` this file, then `tillwatch.init({ … })` as in the page. */

import { count, erase, error, event, flush, init, level, measureCaches, measureIndexedDb, observe, offlineLogin, setConsent, status, syncQueue, time, version } from './lite';

(self as any).tillwatch = { count, erase, error, event, flush, init, level, measureCaches, measureIndexedDb, observe, offlineLogin, setConsent, status, syncQueue, time, version };

// Where the browser has background sync, it wakes the worker when the network is back.
addEventListener('sync', (event: any) => event.tag === 'tillwatch' && event.waitUntil(flush()));
