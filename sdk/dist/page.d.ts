/** What a page measures by itself, web vitals apart. */
/** Listens after the page's own listeners, or before them. Only after them an `error` is one of a script. */
export declare const listen: (type: string, work: (event: any) => void, isBefore?: boolean) => void;
/** Shorter events do not count for INP. Browsers that do not count interactions tell of all, so that they can be counted. */
export declare const EVENT_MS = 40;
/** Observes what the browser knows of these types. */
export declare const watchEntries: (take: (entries: any[]) => void, ...types: string[]) => PerformanceObserver;
/** Listens and observes, for as long as the page lives. */
export declare const watch: () => void;
