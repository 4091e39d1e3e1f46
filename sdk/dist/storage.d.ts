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
 * it is broken, nothing was changed. It begins when `before` is over.
 */
export type Storage = <T>(work: (entries: Entries) => Promise<T>, before?: Promise<unknown>) => Promise<T>;
/** What was asked of entries. */
export declare const asked: <T>(request: any) => Promise<T>;
/** IndexedDB. */
export declare const durable: Storage;
/** Memory: it ends with the page, never fails, and lists in no order. */
export declare const volatile: Storage;
