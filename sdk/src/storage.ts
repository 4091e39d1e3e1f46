/** Where the queue lies: IndexedDB, or memory where the browser has none or it fails. */

import { guarded, safely } from './safely';

export type Key = (number | string)[];

/** Entries carry their key. What a storage and an object store of IndexedDB have in common. */
export interface Entries {
  /** IndexedDB has one, memory has none. */
  name?: string;
  get(key: Key): unknown;
  getAll(range: IDBKeyRange, limit?: number): unknown;
  put(value: { k: Key }): unknown;
  delete(key: Key): unknown;
  clear(): unknown;
}

/**
 * Runs `work`, which may wait for nothing but the entries. What it changed is there for good when the promise is kept; when
 * it is broken, nothing was changed. It begins when `before` is over.
 */
export type Storage = <T>(work: (entries: Entries) => Promise<T>, before?: Promise<unknown>) => Promise<T>;

/** How long a transaction may take. A browser whose IndexedDB hangs is one without IndexedDB. */
const PATIENCE_MS = 10_000;

/** What was asked of entries. */
export const asked = <T>(request: any): Promise<T> =>
  new Promise((resolve, reject) => {
    if (!request?.readyState) return resolve(request);
    request.onsuccess = () => resolve(request.result);
    request.onerror = reject;
  });

let database: Promise<IDBDatabase> | null;

const open = async (): Promise<IDBDatabase> => {
  const request = indexedDB.open('tillwatch');
  request.onupgradeneeded = () => request.result.createObjectStore('all', { keyPath: 'k' });
  const opened = await asked<IDBDatabase>(request);
  // Whoever deletes the database in the browser's settings need not wait for us.
  opened.onversionchange = opened.onclose = () => {
    opened.close();
    database = null;
  };
  return opened;
};

/** IndexedDB. */
export const durable: Storage = (work, before) =>
  new Promise((resolve, reject) => {
    let transaction: IDBTransaction | undefined;
    let isOver = false;
    const fail = (why?: unknown) => {
      isOver = true;
      // What is wrong may be the connection.
      database?.then((opened) => opened.close(), () => {});
      database = null;
      reject(why);
    };
    // It is aborted, because the caller does something else instead. If it cannot be, it is done.
    setTimeout(
      guarded(() => {
        if (isOver) return;
        transaction?.abort();
        fail();
      }),
      PATIENCE_MS,
    );
    const begin = async () => {
      await before;
      const opened = await (database ||= open());
      if (isOver) return;
      transaction = opened.transaction('all', 'readwrite', { durability: 'strict' });
      transaction.onabort = fail;
      const working = work(transaction.objectStore('all') as Entries);
      transaction.oncomplete = () => resolve(working);
      // A page that ends does not come to commit by itself.
      safely(() =>
        working.then(
          () => transaction!.commit(),
          () => transaction!.abort(),
        ),
      );
    };
    begin().catch(fail);
  });

const kept = new Map<string, { k: Key }>();

/** Memory: it ends with the page, never fails, and lists in no order. */
export const volatile: Storage = async (work, before) => {
  await before;
  return work({
    get: (key) => kept.get('' + key),
    getAll: (range, limit) =>
      [...kept.values()]
        .filter(({ k }) => range.includes(k))
        .slice(0, limit),
    put: (value) => kept.set('' + value.k, value),
    delete: (key) => kept.delete('' + key),
    clear: () => kept.clear(),
  });
};
