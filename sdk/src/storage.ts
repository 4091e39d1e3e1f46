/** Where the queue lies: IndexedDB, or memory where the browser has none or it fails. */

export type Key = (number | string)[];

/** Whatever is stored carries its key. */
export interface Stored {
  k: Key;
}

/** Changes are there for good, all or none, when the promise of the whole transaction is kept. */
export interface Transaction {
  get<T>(key: Key): Promise<T | undefined>;
  /** Entries whose key begins with `prefix` and is less than `prefix` and `until`, in the order of their keys. */
  all<T>(prefix: Key, until?: Key[0], limit?: number, from?: Key[0]): Promise<T[]>;
  put<T extends Stored>(value: T): unknown;
  remove(key: Key): unknown;
  clear(): unknown;
}

/** Runs `work`, which may wait for nothing but the transaction. Throws if nothing of it was stored. */
export type Storage = <T>(work: (transaction: Transaction) => Promise<T>, isStrict?: boolean) => Promise<T>;

/** How long a transaction may take. A browser whose IndexedDB hangs is one without IndexedDB. */
const PATIENCE_MS = 10_000;

/** Arrays are greater than all numbers and texts. */
const LAST = [] as never as number;

const range = (prefix: Key, until: Key[0] = LAST, from?: Key[0]) =>
  IDBKeyRange.bound(from === undefined ? prefix : [...prefix, from], [...prefix, until], false, true);

const promised = <T>(request: IDBRequest): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = reject;
  });

let opened: Promise<IDBDatabase> | undefined;

function open(): Promise<IDBDatabase> {
  const request = indexedDB.open('tillwatch');
  request.onupgradeneeded = () => request.result.createObjectStore('all', { keyPath: 'k' });
  return promised<IDBDatabase>(request).then((database) => {
    // Whoever deletes the database in the browser's settings need not wait for us.
    database.onversionchange = database.onclose = () => {
      database.close();
      opened = undefined;
    };
    return database;
  });
}

/** IndexedDB. */
export const durable: Storage = (work, isStrict) =>
  new Promise((resolve, reject) => {
    let transaction: IDBTransaction | undefined;
    let isOver = false;
    const fail = (why: unknown) => {
      clearTimeout(timer);
      isOver = true;
      // What is wrong may be the connection.
      opened = undefined;
      reject(why);
    };
    // It is aborted, because what the caller does instead must not be done twice. If it cannot be, it was just done.
    const timer = setTimeout(() => {
      try {
        transaction?.abort();
        fail(0);
      } catch {}
    }, PATIENCE_MS);
    (opened ||= open()).then((database) => {
      if (isOver) return;
      transaction = database.transaction('all', 'readwrite', { durability: isStrict ? 'strict' : 'relaxed' });
      const all = transaction.objectStore('all');
      const working = work({
        get: (key) => promised(all.get(key)),
        all: (prefix, until, limit, from) => promised(all.getAll(range(prefix, until, from), limit)),
        put: (value) => all.put(value),
        remove: (key) => all.delete(key),
        clear: () => all.clear(),
      });
      transaction.oncomplete = () => {
        clearTimeout(timer);
        resolve(working);
      };
      transaction.onabort = fail;
      working.catch(() => transaction!.abort());
    }).catch(fail);
  });

const kept = new Map<string, Stored>();
let last: Promise<unknown> = Promise.resolve();

/** Memory: it ends with the page, and never fails. */
export const volatile: Storage = (work) => {
  const next = last.then(() =>
    work({
      get: async (key) => kept.get('' + key) as never,
      all: async (prefix, until, limit, from) =>
        [...kept.values()]
          .filter(({ k }) => range(prefix, until, from).includes(k))
          .sort((one, other) => indexedDB.cmp(one.k, other.k))
          .slice(0, limit) as never,
      put: (value) => kept.set('' + value.k, value),
      remove: (key) => kept.delete('' + key),
      clear: () => kept.clear(),
    }),
  );
  last = next.catch(() => {});
  return next;
};
