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
/** IndexedDB. */
export declare const durable: Storage;
/** Memory: it ends with the page, and never fails. */
export declare const volatile: Storage;
