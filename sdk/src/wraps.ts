/** Helpers for what tills have: a local database, a cache, a queue of sales, a login without a network. */

import { count, level, observe } from './api';
import { atSwitch } from './till';

/** Measures how long transactions that write to IndexedDB take, and counts them. */
export function measureIndexedDb(): void {
  const { prototype } = IDBDatabase;
  const original = prototype.transaction;
  prototype.transaction = function (this: IDBDatabase, ...given: Parameters<typeof original>) {
    const transaction = original.apply(this, given);
    if (given[1] === 'readwrite' && this.name !== 'tillwatch') {
      const started = performance.now();
      transaction.addEventListener('complete', () => {
        observe('idb_write_ms', performance.now() - started);
        count('idb_transaction_count');
      });
    }
    return transaction;
  } as typeof original;
}

/** Counts whether caches had what was asked of them; in a service worker, too. */
export function measureCaches(): void {
  for (const { prototype } of [Cache, CacheStorage]) {
    const original = prototype.match;
    prototype.match = function (this: never, ...given: Parameters<Cache['match']>) {
      const found = original.apply(this, given);
      found.then((response) => count('cache_requests', { label: response ? 'hit' : 'miss' }), () => {});
      return found;
    } as never;
  }
}

/** What a synchronisation brought over. */
export interface Brought {
  items?: number;
  bytes?: number;
}

/** Watches a queue of sales that wait for the server. */
export interface SyncQueue {
  /** How many sales wait now. */
  pending(n: number): void;
  /** How long one sale waited, in ms. */
  waited(ms: number): void;
  /** Whether a sale that was made offline has arrived. */
  transaction(isSuccess: boolean): void;
  /** Measures one synchronisation. `work` may tell what it brought over. */
  sync<T extends Brought | void>(work: () => Promise<T>): Promise<T>;
}

/** Makes a watcher of a queue of sales. It knows by itself how long it took from the reconnection to an empty queue. */
export function syncQueue(): SyncQueue {
  let reconnected: number | undefined;
  let isWaiting = false;
  const reconnect = () => {
    if (isWaiting) reconnected ??= performance.now();
  };
  const settle = () => {
    if (reconnected === undefined || isWaiting) return;
    observe('reconnect_to_synced_ms', performance.now() - reconnected);
    reconnected = undefined;
  };
  // Whoever says it first: the browser, at which the shop's own synchronisation may begin, too, or an answer.
  addEventListener('online', reconnect);
  atSwitch.push((to, from) => {
    if (to === 'offline') reconnected = undefined;
    else if (from === 'offline') reconnect();
  });
  return {
    pending(n) {
      isWaiting = n > 0;
      level('pending_transactions', n);
      settle();
    },
    waited: (ms) => observe('queue_wait_ms', ms),
    transaction: (isSuccess) => count('offline_transactions', { label: isSuccess ? 'success' : 'failure' }),
    async sync(work) {
      const started = performance.now();
      let label = 'failure';
      try {
        const brought = await work();
        label = 'success';
        if (brought?.items) count('sync_items_count', { by: brought.items });
        if (brought?.bytes) observe('sync_payload_bytes', brought.bytes);
        return brought;
      } finally {
        observe('sync_duration_ms', performance.now() - started);
        count('sync_attempts', { label });
      }
    },
  };
}

/** Measures a login without a network. `work` returns whether the person was let in. */
export async function offlineLogin(work: () => Promise<boolean> | boolean): Promise<boolean> {
  const started = performance.now();
  let isIn = false;
  try {
    return (isIn = await work());
  } finally {
    observe('offline_login_duration_ms', performance.now() - started);
    count('offline_logins', { label: isIn ? 'success' : 'failure' });
    if (!isIn) count('login_failures');
  }
}
