/** What a page measures by itself, web vitals apart. */
/** Before the page's own listeners. */
export declare const listen: (type: string, work: (event: any) => void) => void;
/** Listens and observes, for as long as the page lives. */
export declare const watch: () => void;
