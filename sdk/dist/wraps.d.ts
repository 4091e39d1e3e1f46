/** Helpers for what tills have: a local database, a cache, a queue of sales, a login without a network. */
/** Measures how long transactions that write to IndexedDB take, and counts them. */
export declare const measureIndexedDb: () => void;
/** Counts whether caches had what was asked of them; in a service worker, too. */
export declare const measureCaches: () => void;
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
export declare const syncQueue: () => SyncQueue;
/** Measures a login without a network. `work` returns whether the person was let in. */
export declare const offlineLogin: (work: () => Promise<boolean> | boolean) => Promise<boolean>;
