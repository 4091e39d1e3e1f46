/** For a service worker: `importScripts` this file, then `tillwatch.init({ … })` as in the page. */

import { flush } from './api';

export * from './lite';

// Where the browser has background sync, it wakes the worker when the network is back.
addEventListener('sync', (event) => {
  const { tag, waitUntil } = event as never as { tag: string; waitUntil(until: Promise<void>): void };
  if (tag === 'tillwatch') waitUntil.call(event, flush());
});
