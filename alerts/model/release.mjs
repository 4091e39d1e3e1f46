// A day on which a release comes to some of the stores at nine in the morning. Stores differ in what fails there, quarters of
// an hour hang together, and on some days a store's line is bad for an hour or two. The rules of alerts/rules/releases.yml, as
// Prometheus evaluates them each minute, say whether the release is bad.

import { RELEASE } from './chosen.mjs';
import { normal, poisson, uniform } from './random.mjs';
import { lower } from './rule.mjs';

const QUARTERS = 96;
const QUARTER_MIN = 15;
const DAY_MIN = QUARTERS * QUARTER_MIN;
const BEGINS_H = 9;
/** How busy a shop is from 7 to 21, an hour each, and at night. */
const TRADE = [0.5, 0.7, 0.9, 1.1, 1.3, 1.3, 1.1, 0.9, 0.9, 1.1, 1.3, 1.3, 0.9, 0.7];
const OPENS_H = 7;
const NIGHT = 0.04;
const load = (quarter) => TRADE[((BEGINS_H + Math.floor(quarter / 4)) % 24) - OPENS_H] ?? NIGHT;
/** Terminals of stores. */
const SIZES = [4, 6, 8, 10, 12, 20];
/** What fails anyway. */
export const HEALTHY = 0.004;
/** Standard deviations of the logarithm of a store's share, from store to store and within its day, and what a quarter keeps. */
const SPREAD = { stores: 0.5, drift: 0.5, memory: 0.9 };
/** The chance of a store's day with a bad line, the share that fails then, and how many quarters it lasts. */
const BURST = { chance: 0.03, share: 0.3, least: 4, most: 8, beginsBefore: 48 };

/** Attempts of a terminal in an hour of average trade. */
export const SYNCS = { perHour: 30 };
export const LOGINS = { perHour: 6 };
/** Errors of a terminal in an hour, beside the one of each synchronisation that fails. */
export const errorsOf = (perHour) => ({ ...SYNCS, otherErrors: perHour });

function shuffled(random, values) {
  for (let at = values.length - 1; at > 0; at -= 1) {
    const other = Math.floor(random() * (at + 1));
    [values[at], values[other]] = [values[other], values[at]];
  }
  return values;
}

/** Factors of the quarters of one store's day: mean 1. */
function factors(random) {
  const centred = (deviation) => (value) => Math.exp(deviation * value - deviation ** 2 / 2);
  const own = centred(SPREAD.stores)(normal(random));
  const within = centred(SPREAD.drift);
  const scale = Math.sqrt(1 - SPREAD.memory ** 2);
  let drift = normal(random);
  return Array.from({ length: QUARTERS }, (_, quarter) => {
    if (quarter > 0) drift = SPREAD.memory * drift + scale * normal(random);
    return own * within(drift);
  });
}

function burst(random, chance) {
  const isHit = random() < chance;
  const from = Math.floor(random() * BURST.beginsBefore);
  const to = from + BURST.least + Math.floor(random() * (BURST.most - BURST.least + 1));
  return (quarter) => (isHit && quarter >= from && quarter < to ? BURST.share : 0);
}

/** Puts so many events, `together` each time, at random minutes of a quarter. */
function scatter(random, sums, quarter, times, together = 1) {
  for (let event = 0; event < times; event += 1) sums[1 + quarter * QUARTER_MIN + Math.floor(random() * QUARTER_MIN)] += together;
}

function runningSum(sums) {
  for (let minute = 1; minute < sums.length; minute += 1) sums[minute] += sums[minute - 1];
  return sums;
}
function total(stores) {
  const sums = new Float64Array(DAY_MIN + 1);
  for (const one of stores) for (let minute = 0; minute <= DAY_MIN; minute += 1) sums[minute] += one[minute];
  return sums;
}

/**
 * Running sums by minute. `measure`: what is attempted. `bad`: which share fails on the release, `badStores`: in how many
 * of its stores (all). `times`: how often it has the other errors. `together`: failures come in such numbers, as one till
 * makes that tries again. `bursts`: the chance of a bad line.
 */
function watch(random, measure, { stores, candidates, bad = HEALTHY, badStores = candidates, times = 1, together = 1, bursts = BURST.chance }) {
  const sizes = shuffled(random, Array.from({ length: stores }, (_, at) => SIZES[at % SIZES.length]));
  const failures = [];
  const errors = [];
  const good = new Float64Array(QUARTERS);
  sizes.forEach((terminals, store) => {
    const isCandidate = store < candidates;
    const [failed, erred] = [new Float64Array(DAY_MIN + 1), new Float64Array(DAY_MIN + 1)];
    const [shares, line] = [factors(random), burst(random, bursts)];
    const others = measure.otherErrors ? factors(random) : [];
    for (let quarter = 0; quarter < QUARTERS; quarter += 1) {
      const share = Math.min(1, (store < badStores ? bad : HEALTHY) * shares[quarter]);
      const fails = 1 - (1 - share) * (1 - line(quarter));
      const attempts = (terminals * measure.perHour * load(quarter)) / 4;
      scatter(random, failed, quarter, poisson(random, (attempts * fails) / together), together);
      if (isCandidate) good[quarter] += attempts * (1 - fails);
      if (!measure.otherErrors) continue;
      const mean = (terminals * measure.otherErrors * (isCandidate ? times : 1) * load(quarter) * others[quarter]) / 4;
      scatter(random, erred, quarter, poisson(random, mean));
    }
    failures.push(runningSum(failed));
    if (!measure.otherErrors) return;
    runningSum(erred);
    for (let minute = 0; minute <= DAY_MIN; minute += 1) erred[minute] += failed[minute];
    errors.push(erred);
  });
  const [ofRelease, ofOthers] = [sizes.slice(0, candidates), sizes.slice(candidates)].map((list) => list.reduce((sum, one) => sum + one, 0));
  const failed = total(failures.slice(0, candidates));
  const attempts = new Float64Array(DAY_MIN + 1);
  for (let minute = 1; minute <= DAY_MIN; minute += 1) {
    const succeeded = poisson(random, good[Math.floor((minute - 1) / QUARTER_MIN)] / QUARTER_MIN);
    attempts[minute] = attempts[minute - 1] + succeeded + failed[minute] - failed[minute - 1];
  }
  return {
    failed,
    attempts,
    errors: total(errors.slice(0, candidates)),
    errorsOfOthers: total(errors.slice(candidates)),
    terminals: { ofRelease, ofOthers },
    worst: { failures, errors },
  };
}

const rise = (sums, minute, minutes) => sums[minute] - sums[Math.max(0, minute - minutes)];
/** Without the store that has most, of whatever release. */
const elsewhere = (sums, stores, minute, minutes) => rise(sums, minute, minutes) - stores.reduce((most, one) => Math.max(most, rise(one, minute, minutes)), 0);
/** By how much a terminal of the release has more errors than one of the others. */
function times(errors, { errorsOfOthers, terminals }, minute, minutes) {
  return errors / terminals.ofRelease / (rise(errorsOfOthers, minute, minutes) / terminals.ofOthers);
}

/** Whether a rule's expression holds at a minute; `before`: as the rules were, all stores of a release in one. */
export const HOLDS = {
  sync(seen, minute, { minutes, limit, elsewhere: left, least } = RELEASE.sync) {
    const attempts = rise(seen.attempts, minute, minutes);
    if (!(rise(seen.failed, minute, minutes) / attempts > limit)) return false;
    const failures = elsewhere(seen.failed, seen.worst.failures, minute, minutes);
    return failures >= least - 0.5 && failures / attempts > left;
  },
  logins(seen, minute, { minutes, limit, z } = RELEASE.logins) {
    const [failed, attempts] = [rise(seen.failed, minute, minutes), rise(seen.attempts, minute, minutes)];
    // The bound of fewer is lower: most minutes need no look at the stores.
    if (lower(failed, attempts, z) <= limit) return false;
    return lower(Math.max(0, elsewhere(seen.failed, seen.worst.failures, minute, minutes)), attempts, z) > limit;
  },
  errors(seen, minute, { minutes, times: factor, least } = RELEASE.errors) {
    const all = rise(seen.errors, minute, minutes);
    if (all < least || !(times(all, seen, minute, minutes) > factor)) return false;
    const left = elsewhere(seen.errors, seen.worst.errors, minute, minutes);
    return left >= least && times(left, seen, minute, minutes) > factor;
  },
};
export const HELD_BEFORE = {
  sync: (seen, minute) => rise(seen.attempts, minute, 30) >= 100 && rise(seen.failed, minute, 30) / rise(seen.attempts, minute, 30) > 0.05,
  logins: (seen, minute) => rise(seen.attempts, minute, 60) >= 200 && rise(seen.failed, minute, 60) / rise(seen.attempts, minute, 60) > 0.01,
  errors: (seen, minute) => rise(seen.errors, minute, 60) >= 50 && times(rise(seen.errors, minute, 60), seen, minute, 60) > 2,
};

/** The minute at which a rule begins to fire, if it does within the day. */
function firesAt(holds, seen, wait) {
  let since = -1;
  for (let minute = 1; minute <= DAY_MIN; minute += 1) {
    if (!holds(seen, minute)) since = -1;
    else if (since < 0) since = minute;
    if (since >= 0 && minute - since >= wait) return minute;
  }
  return Infinity;
}

/** How often the rules fire within an hour and within the day, and after how many minutes at the median: as they are, and as they were. */
export function releaseAlerts(rule, measure, fleet, { runs, seed }) {
  const random = uniform(seed);
  const at = { now: [], before: [] };
  for (let run = 0; run < runs; run += 1) {
    const seen = watch(random, measure, fleet);
    at.now.push(firesAt(HOLDS[rule], seen, RELEASE[rule].for));
    at.before.push(firesAt(HELD_BEFORE[rule], seen, RELEASE[rule].for));
  }
  const of = (minutes) => ({
    hour: minutes.filter((minute) => minute <= 60).length / runs,
    day: minutes.filter((minute) => minute < Infinity).length / runs,
    median: minutes.sort((one, other) => one - other)[Math.floor(runs / 2)],
  });
  return { now: of(at.now), before: of(at.before) };
}
