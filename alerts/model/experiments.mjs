// What is asked of the model: how often a healthy fleet is called bad, and how soon a bad store is.

import { FLEET, SUSPECT } from './chosen.mjs';
import { uniform } from './random.mjs';
import { firings, holds } from './rule.mjs';
import { TICK_S, watch } from './store.mjs';

/** Stores by their traffic: attempts an hour, tills. */
export const STORES = [
  { perHour: 20, tills: 2 },
  { perHour: 150, tills: 10 },
  { perHour: 600, tills: 10 },
  { perHour: 1500, tills: 10 },
];
/** What fails anyway. */
export const HEALTHY = 0.006;
const STORES_OF_FLEET = 200;
/** The windows are full before anything is counted. */
const WARM_S = 6 * 3600;
const DAYS_AT_ONCE = 10;
/** Alertmanager waits so long for others of the same alert. */
const GROUP_WAIT_S = 30;

/** False lines a day of 200 healthy stores, for each rule. */
export function falseLines(rules, store, { inThrees, days, seed }) {
  const random = uniform(seed);
  const lines = rules.map(() => 0);
  const runs = Math.ceil((days * STORES_OF_FLEET) / DAYS_AT_ONCE);
  for (let run = 0; run < runs; run += 1) {
    const seen = watch(random, { ...store, bad: HEALTHY, inThrees }, WARM_S + DAYS_AT_ONCE * 86_400);
    rules.forEach((rule, at) => (lines[at] += firings(rule, seen, WARM_S / TICK_S).length));
  }
  return lines.map((count) => (count / runs / DAYS_AT_ONCE) * STORES_OF_FLEET);
}

const minutesSince = (at, tick) => (tick === undefined ? Infinity : (tick * TICK_S + GROUP_WAIT_S - at) / 60);
const quantile = (values, share) => values.sort((one, other) => one - other)[Math.min(values.length - 1, Math.floor(values.length * share))];

/** Minutes from the onset of trouble to the notification, at the median and for nine of ten. */
export function timeToNotice(rule, store, { bad, runs, hours, seed }) {
  const random = uniform(seed);
  const times = [];
  for (let run = 0; run < runs; run += 1) {
    const at = WARM_S + random() * 300;
    const seen = watch(random, { ...store, bad: HEALTHY }, WARM_S + 300 + hours * 3600, { at, bad });
    times.push(minutesSince(at, firings(rule, seen, Math.floor(at / TICK_S) - 1)[0]));
  }
  return { median: quantile(times, 0.5), ninetieth: quantile(times, 0.9) };
}

/**
 * Many stores go bad at once: minutes to the fleet's page at the median, and in how many runs a store had been paged
 * before it. Alertmanager holds a store's page back if the fleet's alert is there within its group_wait.
 */
export function fleetGoesBad(page, store, { badStores, stores, bad, runs, seed }) {
  const random = uniform(seed);
  const times = [];
  let early = 0;
  for (let run = 0; run < runs; run += 1) {
    const at = WARM_S + random() * 300;
    const seen = Array.from({ length: badStores }, () => watch(random, { ...store, bad: HEALTHY }, WARM_S + 3600, { at, bad }));
    const from = Math.floor(at / TICK_S) - 1;
    const isFleet = (tick) => {
      const suspects = seen.filter((one) => holds(SUSPECT, one, tick)).length;
      return FLEET.some(({ share, least }) => suspects >= least && suspects / stores >= share);
    };
    let fleet = from;
    while (fleet < seen[0].ticks && !isFleet(fleet)) fleet += 1;
    const firstStore = Math.min(...seen.map((one) => firings(page, one, from)[0] ?? Infinity));
    // The alert of the store must not be older than group_wait when that of the fleet comes; one evaluation to spare.
    if (firstStore + GROUP_WAIT_S / TICK_S - 1 < fleet) early += 1;
    times.push(minutesSince(at, fleet));
  }
  return { median: quantile(times, 0.5), early };
}
