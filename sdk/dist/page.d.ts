/** What a page measures by itself, web vitals apart. */
/** Listens and observes, for as long as the page lives. */
export declare function watch(): void;
