// Stores of a fleet, one share of bad attempts each, over days: stores differ, days differ, hours differ, and sometimes a
// store goes wrong. The rule of alerts/rules/anomalies.yml, as Prometheus evaluates it, says which.

import { ANOMALY } from './chosen.mjs';
import { normal, poisson, uniform } from './random.mjs';
import { lower } from './rule.mjs';

/** Minutes between two evaluations. */
export const STEP_MIN = 5;
const STEPS_A_DAY = (24 * 60) / STEP_MIN;
const WEEK = 7 * STEPS_A_DAY;
/** One till that tries again. */
const RETRIES = 3;
const OPENS_H = 9;
const CLOSES_H = 20;

/** How healthy stores differ, as standard deviations of the log-odds of a bad attempt: from store to store, and from day to day. */
export const SPREAD = { stores: 0.7, days: 0.25, hours: 0.4 };

const odds = (share) => share / (1 - share);
const median = (values) => values.sort((one, other) => one - other)[Math.floor(values.length / 2)];

/**
 * Running sums of attempts and bad ones of a store, by step. `trouble`: from `at` (step) on, the odds of a bad attempt are
 * `times` as high. `fleetTrouble`: the same of all.
 */
function watch(random, { perHour, share, inThrees }, steps, trouble) {
  const [all, bad] = [new Float64Array(steps + 1), new Float64Array(steps + 1)];
  const own = Math.log(odds(share)) + SPREAD.stores * normal(random);
  const peakH = 16 + 2 * normal(random);
  let day = 0;
  for (let step = 1; step <= steps; step += 1) {
    if (step % STEPS_A_DAY === 1) day = SPREAD.days * normal(random);
    const hour = ((step % STEPS_A_DAY) * STEP_MIN) / 60;
    all[step] = all[step - 1];
    bad[step] = bad[step - 1];
    if (hour < OPENS_H || hour >= CLOSES_H) continue;
    const logOdds = own + day + SPREAD.hours * Math.cos(((hour - peakH) / 12) * Math.PI) + (step >= trouble?.at ? Math.log(trouble.times) : 0);
    const chance = 1 / (1 + Math.exp(-logOdds));
    const tries = poisson(random, (perHour * STEP_MIN) / 60);
    // One till that tries again makes three of one.
    const clumps = inThrees ? poisson(random, (tries * chance) / RETRIES) * RETRIES : Math.min(tries, poisson(random, tries * chance));
    all[step] += Math.max(tries, clumps);
    bad[step] += clumps;
  }
  return { all, bad };
}

/** Minutes as steps. */
const stepsOf = (minutes) => Math.round(minutes / STEP_MIN);
const rise = (sums, from, to) => sums[to] - sums[Math.max(0, from)];

/** What is usual: the median of the stores' odds, or 0 if there are too few stores to have one. */
const usual = (known, rule) => (known.length >= rule.peersLeast ? median(known) : 0);

/** How many times its expected odds each store's probably are, or 0, at a step. */
export function factors(fleet, step, rule = ANOMALY) {
  const counts = (minutes) => fleet.map(({ all, bad }) => [bad, all].map((sums) => rise(sums, step - stepsOf(minutes), step)));
  const longest = stepsOf(Math.max(...rule.windows.map(({ minutes }) => minutes)));
  const week = fleet.map(({ all, bad }) => {
    const [k, n] = [bad, all].map((sums) => rise(sums, step - WEEK, step - longest));
    return step >= WEEK && n >= rule.weekLeast ? (k + 1) / (n - k + 1) : 0;
  });
  const usualWeek = usual(week.filter((one) => one > 0), rule);
  const most = fleet.map(() => 0);
  for (const { minutes, z, least } of rule.windows) {
    const now = counts(minutes);
    const usualNow = usual(now.filter(([, n]) => n >= rule.peersOf).map(([k, n]) => (k + 0.5) / (n - k + 0.5)), rule);
    const moved = usualWeek > 0 && usualNow > usualWeek ? usualNow / usualWeek : 1;
    now.forEach(([k, n], at) => {
      // Without peers and without a week nothing is expected.
      if (k < least || (usualNow === 0 && week[at] === 0)) return;
      const expected = Math.max(odds(rule.floor), usualNow, week[at] * moved);
      most[at] = Math.max(most[at], odds(lower(k, n, z)) / expected);
    });
  }
  return most;
}

/** The steps at which the alert begins for a store: each is a line in the chat. */
function lines(held, forSteps, keepSteps) {
  const begun = [];
  let since = -1;
  let last = -Infinity;
  let isFiring = false;
  held.forEach((holds, step) => {
    if (holds) {
      if (since < 0) since = step;
      last = step;
      if (!isFiring && step - since >= forSteps) {
        isFiring = true;
        begun.push(step);
      }
      return;
    }
    since = -1;
    if (isFiring && step - last >= keepSteps) isFiring = false;
  });
  return begun;
}

/** Lines by store over the days after the first week. */
function linesOf(fleet, days, rule) {
  const from = WEEK + STEPS_A_DAY;
  const held = fleet.map(() => []);
  for (let step = from; step < from + days * STEPS_A_DAY; step += 1) {
    factors(fleet, step, rule).forEach((factor, at) => held[at].push(factor > rule.factor));
  }
  return held.map((one) => lines(one, stepsOf(rule.for), stepsOf(rule.keep)));
}

/** False lines a day of so many healthy stores. */
export function falseAnomalies(store, { stores = 200, days, seed, rule = ANOMALY, fleetTimes }) {
  const random = uniform(seed);
  const steps = WEEK + (days + 1) * STEPS_A_DAY;
  // Everybody at once is nobody's anomaly.
  const trouble = fleetTimes && { at: WEEK + STEPS_A_DAY + stepsOf(13 * 60), times: fleetTimes };
  const fleet = Array.from({ length: stores }, () => watch(random, store, steps, trouble));
  const count = linesOf(fleet, days, rule).flat().length;
  return count / days;
}

/** Stores that go wrong at one in the afternoon: which share is named by the evening of the next day, and after how many minutes. */
export function foundAnomalies(store, { stores = 200, bad = 20, times, seed, rule = ANOMALY }) {
  const random = uniform(seed);
  const steps = WEEK + 3 * STEPS_A_DAY;
  const at = WEEK + STEPS_A_DAY + stepsOf(13 * 60);
  const fleet = Array.from({ length: stores }, (_, index) => watch(random, store, steps, index < bad ? { at, times } : undefined));
  const from = WEEK + STEPS_A_DAY;
  const found = linesOf(fleet, 2, rule).slice(0, bad).map((begun) => begun.find((step) => from + step >= at));
  const minutes = found.filter((step) => step !== undefined).map((step) => (from + step - at) * STEP_MIN);
  return { found: minutes.length / bad, minutes: minutes.length > 0 ? median(minutes) : Infinity };
}
