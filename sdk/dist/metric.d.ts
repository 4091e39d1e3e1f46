/** What can be measured: names, kinds, units and labels of the catalogue (docs/metrics.md). */
/** The kind, how many recording units make a wire unit, the greatest value in recording units, and the label's values. */
export type Metric = [kind: number, scale: number, max: number, labels?: string[]];
export declare const metricOf: (name: string) => Metric | undefined;
export declare const scaleOf: (name: string) => number;
