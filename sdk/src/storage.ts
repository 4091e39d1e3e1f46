/** Where the queue lies: IndexedDB, or memory where the browser has none or it fails. */

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
 * it is broken, nothing was changed. What may be done twice is quick: it does not wait for the disk.
 */
export type Storage = <T>(work: (entries: Entries) => Promise<T>, isQuick?: boolean) => Promise<T>;

/** How long a transaction may take. A browser whose IndexedDB hangs is one without IndexedDB. */
const PATIENCE_MS = 10_000;

/** What was asked of entries. */
export const asked = <T>(request: unknown): Promise<T> =>
  new Promise((resolve, reject) => {
    if (!(request instanceof IDBRequest)) return resolve(request as T);
    request.onsuccess = () => resolve(request.result);
    request.onerror = reject;
  });

let database: Promise<IDBDatabase> | undefined;

const open = async (): Promise<IDBDatabase> => {
  const request = indexedDB.open('tillwatch');
  request.onupgradeneeded = () => request.result.createObjectStore('all', { keyPath: 'k' });
  const opened = await asked<IDBDatabase>(request);
  // Whoever deletes the database in the browser's settings need not wait for us.
  opened.onversionchange = opened.onclose = () => {
    opened.close();
    database = undefined;
  };
  return opened;
};

/** IndexedDB. */
export const durable: Storage = (work, isQuick) =>
  new Promise((resolve, reject) => {
    let transaction: IDBTransaction | undefined;
    let isOver = false;
    const fail = (why?: unknown) => {
      isOver = true;
      // What is wrong may be the connection.
      database?.then((opened) => opened.close(), () => {});
      database = undefined;
      reject(why);
    };
    // It is aborted, because the caller does something else instead. If it cannot be, it is done.
    setTimeout(() => {
      try {
        if (!isOver) {
          transaction?.abort();
          fail();
        }
      } catch {}
    }, PATIENCE_MS);
    (database ||= open())
      .then((opened) => {
        if (isOver) return opened.close();
        transaction = opened.transaction('all', 'readwrite', { durability: isQuick ? 'relaxed' : 'strict' });
        transaction.onabort = fail;
        const working = work(transaction.objectStore('all') as Entries);
        transaction.oncomplete = () => resolve(working);
        // A page that ends does not come to commit by itself.
        working
          .then(
            () => transaction!.commit(),
            () => transaction!.abort(),
          )
          .catch(() => {});
      })
      .catch(fail);
  });

const kept = new Map<string, { k: Key }>();
let last: Promise<unknown> = Promise.resolve();

/** Memory: it ends with the page, and never fails. */
export const volatile: Storage = (work) => {
  const next = last.then(() =>
    work({
      get: (key) => kept.get('' + key),
      getAll: (range, limit) =>
        [...kept.values()]
          .filter(({ k }) => range.includes(k))
          .sort((one, other) => indexedDB.cmp(one.k, other.k))
          .slice(0, limit),
      put: (value) => kept.set('' + value.k, value),
      delete: (key) => kept.delete('' + key),
      clear: () => kept.clear(),
    }),
  );
  last = next.catch(() => {});
  return next;
};
