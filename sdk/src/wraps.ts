/** Helpers for what tills have: a local database, a cache, a queue of sales, a login without a network. */

import { count, level, observe, time } from './api';
import { listen } from './page';
import { atSwitch, begun } from './till';

/** Does something with whatever a method returns from now on. */
const wrap = ({ prototype }: { prototype: any }, name: string, take: (result: any) => void): void => {
  const original = prototype[name];
  prototype[name] = function (...given: unknown[]) {
    const result = original.apply(this, given);
    take(result);
    return result;
  };
};

/** Measures how long transactions that write to IndexedDB take, and counts them. */
export const measureIndexedDb = (): void =>
  wrap(IDBDatabase, 'transaction', (transaction: IDBTransaction) => {
    if (transaction.mode === 'readonly' || transaction.db.name === 'tillwatch') return;
    const end = begun('idb_write_ms');
    transaction.addEventListener('complete', () => {
      end();
      count('idb_transaction_count');
    });
  });

/** Counts whether caches had what was asked of them; in a service worker, too. */
export const measureCaches = (): void => {
  for (const type of [Cache, CacheStorage])
    wrap(type, 'match', (found: Promise<unknown>) => {
      found.then((response) => count('cache_requests', { label: response ? 'hit' : 'miss' }), () => {});
    });
};

/** How it went, as a label. */
const went = (isSuccess: unknown) => ({ label: isSuccess ? 'success' : 'failure' });

/** Measures an attempt and counts how it went. Where failures are counted apart, it must give something to have gone well. */
const attempt = async <T>(metric: string, counter: string, work: () => T, failures?: string): Promise<Awaited<T>> => {
  let isWell: unknown;
  try {
    const result = await time(metric, work);
    isWell = !failures || result;
    return result;
  } finally {
    count(counter, went(isWell));
    if (failures && !isWell) count(failures);
  }
};

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
export const syncQueue = (): SyncQueue => {
  let end: (() => void) | null;
  let isWaiting = false;
  const reconnect = () => {
    if (isWaiting) end ??= begun('reconnect_to_synced_ms');
  };
  // Whoever says it first: the browser, at which the shop's own synchronisation may begin, too, or an answer.
  listen('online', reconnect);
  atSwitch.push((to, from) => {
    if (to === 'offline') end = null;
    else if (from === 'offline') reconnect();
  });
  return {
    pending(n) {
      isWaiting = n > 0;
      level('pending_transactions', n);
      if (isWaiting) return;
      end?.();
      end = null;
    },
    waited: (ms) => observe('queue_wait_ms', ms),
    transaction: (isSuccess) => count('offline_transactions', went(isSuccess)),
    async sync(work) {
      const brought = await attempt('sync_duration_ms', 'sync_attempts', work);
      if (brought?.items) count('sync_items_count', { by: brought.items });
      if (brought?.bytes) observe('sync_payload_bytes', brought.bytes);
      return brought as any;
    },
  };
};

/** Measures a login without a network. `work` returns whether the person was let in. */
export const offlineLogin = (work: () => Promise<boolean> | boolean): Promise<boolean> =>
  attempt('offline_login_duration_ms', 'offline_logins', work, 'login_failures');
