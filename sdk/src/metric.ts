/** What can be measured: names, kinds, units and labels of the catalogue (docs/metrics.md). */

import { COUNTERS, DISTRIBUTIONS, LEVELS } from './catalogue';

/** The kind, how many recording units make a wire unit, the greatest value in recording units, and the label's values. */
export type Metric = [kind: number, scale: number, max: number, labels?: string[]];

/** Scale and greatest value by the unit in which a name ends; without one it counts things. */
const UNITS: { [unit: string]: [scale: number, max: number] } = {
  ms: [1000, 6048e8],
  score: [1e4, 1e6],
  ratio: [1e4, 1e4],
  mb: [1e6, 1e12],
  bytes: [1, 2 ** 40],
};

const METRICS: { [name: string]: Metric } = {};

[DISTRIBUTIONS, COUNTERS, LEVELS].forEach((names, kind) => {
  for (const one of names.split(' ')) {
    const [name, labels] = one.split(':');
    METRICS[name] = [kind, ...(UNITS[name.replace(/.*_/, '')] || [1, 1e9]), labels?.split(',')];
  }
});

export const metricOf = (name: string): Metric | undefined => METRICS[name];

export const scaleOf = (name: string): number => METRICS[name][1];
