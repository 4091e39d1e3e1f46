/** What can be measured: names, kinds, units and labels of the catalogue (docs/metrics.md). */
/** The kind, how many recording units make a wire unit, the greatest value in recording units, and the label's values. */
export type Metric = [kind: number, scale: number, max: number, labels?: string[]];
/** All that are known. */
export declare const METRICS: {
    [name: string]: Metric;
};
/** By the name alone: what another page has kept may be of a metric that this one does not know. */
export declare const unitOf: (name: string) => [scale: number, max: number];
/** Makes a metric known: one of the catalogue, or one that the shop has declared itself. */
export declare const declare: (name: string, kind: number, labels?: string[]) => void;
