/** Where the queue lies: IndexedDB, or memory where the browser has none or it fails. */
export type Key = (number | string)[];
/** Entries carry their key. What a storage and an object store of IndexedDB have in common. */
export interface Entries {
    /** IndexedDB has one, memory has none. */
    name?: string;
    get(key: Key): unknown;
    getAll(range: IDBKeyRange, limit?: number): unknown;
    put(value: {
        k: Key;
    }): unknown;
    delete(key: Key): unknown;
    clear(): unknown;
}
/**
 * Runs `work`, which may wait for nothing but the entries. What it changed is there for good when the promise is kept; when
 * it is broken, nothing was changed. What may be done twice is quick: it does not wait for the disk.
 */
export type Storage = <T>(work: (entries: Entries) => Promise<T>, isQuick?: boolean) => Promise<T>;
/** What was asked of entries. */
export declare const asked: <T>(request: unknown) => Promise<T>;
/** IndexedDB. */
export declare const durable: Storage;
/** Memory: it ends with the page, and never fails. */
export declare const volatile: Storage;
