// One store: its tills try something at random times, some of the attempts are bad (a synchronisation that fails, or
// one that takes too long), and Prometheus sees it a little later.

import { wait } from './random.mjs';

/** Seconds between two evaluations of a rule, two scrapes, and two batches of a till. */
export const TICK_S = 30;
const SCRAPE_S = 15;
const BATCH_S = 60;
/** How long a till counts as in trouble after a bad attempt, as the collector has it. */
export const TROUBLED_S = 600;
/** One till that tries again: so many attempts, so far apart. */
const RETRIES = 3;
const RETRY_S = 20;

/**
 * What Prometheus knows of a store at each evaluation: sums of attempts and of bad ones since the beginning, and how
 * many tills are in trouble.
 *
 * store: { perHour, tills, bad, inThrees }; bad is the share of bad attempts, inThrees whether they come as one till
 * that tries three times. trouble: { at, bad }: from that second on, each attempt is bad with that chance.
 */
export function watch(random, store, seconds, trouble) {
  const ticks = Math.floor(seconds / TICK_S);
  const attempts = new Float64Array(ticks + 1);
  const bad = new Float64Array(ticks + 1);
  const phases = Array.from({ length: store.tills }, () => random() * BATCH_S);
  const scrapePhase = random() * SCRAPE_S;
  const failures = [];
  const next = (at, phase, every) => Math.ceil((at - phase) / every) * every + phase;
  const note = (at, till, isBad) => {
    const scraped = next(next(at, phases[till], BATCH_S), scrapePhase, SCRAPE_S);
    const tick = Math.ceil(scraped / TICK_S);
    if (tick > ticks) return;
    attempts[tick] += 1;
    if (!isBad) return;
    bad[tick] += 1;
    failures.push({ till, from: tick, to: Math.ceil((at + TROUBLED_S) / TICK_S) });
  };
  for (let at = wait(random, store.perHour); at < seconds; at += wait(random, store.perHour)) {
    const till = Math.floor(random() * store.tills);
    const share = trouble && at >= trouble.at ? trouble.bad : store.bad;
    const isAlone = !store.inThrees || share !== store.bad;
    if (isAlone) {
      note(at, till, random() < share);
    } else if (random() < share / RETRIES) {
      for (let retry = 0; retry < RETRIES; retry += 1) note(at + retry * RETRY_S, till, true);
    } else {
      note(at, till, false);
    }
  }
  for (let tick = 1; tick <= ticks; tick += 1) {
    attempts[tick] += attempts[tick - 1];
    bad[tick] += bad[tick - 1];
  }
  return { ticks, attempts, bad, tills: store.tills, troubled: troubledTills(failures, store.tills, ticks) };
}

/** How many tills are in trouble at each evaluation. */
function troubledTills(failures, tills, ticks) {
  const count = new Uint8Array(ticks + 1);
  const until = new Int32Array(tills);
  for (const { till, from, to } of failures.sort((one, other) => one.from - other.from)) {
    for (let tick = Math.max(from, until[till]); tick < Math.min(to, ticks + 1); tick += 1) count[tick] += 1;
    until[till] = Math.max(until[till], to);
  }
  return count;
}
