/** What can be measured: names, kinds, units and labels of the catalogue (docs/metrics.md). */

import { COUNTERS, DISTRIBUTIONS, LEVELS } from './catalogue';

/** The kind, how many recording units make a wire unit, the greatest value in recording units, and the label's values. */
export type Metric = [kind: number, scale: number, max: number, labels?: string[]];

/** Scale and greatest value by the name, or by the unit in which it ends; without one it counts things. */
const UNITS: { [unit: string]: [scale: number, max: number] } = {
  ms: [1000, 6048e8],
  score: [1e4, 1e6],
  ratio: [1e4, 1e4],
  mb: [1e6, 1e12],
  bytes: [1, 2 ** 40],
  // Longer than other durations: 30 days.
  offline_duration_ms: [1000, 2592e9],
};

/** All that are known. */
export const METRICS: { [name: string]: Metric } = {};

/** By the name alone: what another page has kept may be of a metric that this one does not know. */
export const unitOf = (name: string) => UNITS[name] || UNITS[name.replace(/.*_/, '')] || [1, 1e9];

/** Makes a metric known: one of the catalogue, or one that the shop has declared itself. */
export const declare = (name: string, kind: number, labels?: string[]): void => {
  METRICS[name] = [kind, ...unitOf(name), labels];
};

[DISTRIBUTIONS, COUNTERS, LEVELS].forEach((names, kind) => {
  for (const one of names.split(' ')) {
    const [name, labels] = one.split(':');
    declare(name, kind, labels?.split(','));
  }
});
