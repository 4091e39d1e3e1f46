/** Whatever happens in here must not disturb the page. */
export declare const safely: <T>(work: () => T) => T | undefined;
/** The same, as a function. */
export declare const guarded: <A extends unknown[], R>(work: (...given: A) => R) => (...given: A) => R;
