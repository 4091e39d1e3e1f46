// A rule as Prometheus evaluates it: windows, a bound, tills, `for` and `keep_firing_for`.

import { TICK_S } from './store.mjs';

/** The lower end of Wilson's interval for k of n, z standard deviations wide. */
export function lower(k, n, z) {
  if (n <= 0) return 0;
  return (k + (z * z) / 2 - z * Math.sqrt((k * (n - k)) / n + (z * z) / 4)) / (n + z * z);
}

const ticks = (minutes) => Math.round((minutes * 60) / TICK_S);
/** What came in the last minutes before an evaluation. */
const last = (sums, tick, minutes) => sums[tick] - sums[Math.max(0, tick - ticks(minutes))];

/** The most tills that were in trouble at once, now or in the minutes before. */
function tillsInTrouble({ troubled }, tick, minutes) {
  let most = 0;
  for (let at = tick; at >= Math.max(0, tick - ticks(minutes)); at -= 1) most = Math.max(most, troubled[at]);
  return most;
}

/** Whether nothing was bad lately where so much would be expected: the trouble is over. */
function isRecovered({ recovered = [], windows }, seen, tick) {
  if (recovered.length === 0) return false;
  const share = Math.max(...windows.map(({ minutes }) => last(seen.bad, tick, minutes) / last(seen.attempts, tick, minutes) || 0));
  return recovered.some(({ minutes, expected }) => last(seen.bad, tick, minutes) === 0 && share * last(seen.attempts, tick, minutes) >= expected);
}

/** Whether the rule's expression holds at an evaluation. A store that has fewer tills than are asked for needs all. */
export function holds(rule, seen, tick) {
  return isOver(rule, seen, tick) && !isRecovered(rule, seen, tick);
}
function isOver(rule, seen, tick) {
  return rule.windows.some(({ minutes, z, least = 0, tills = 0, tillsOver = 0 }) => {
    const k = last(seen.bad, tick, minutes);
    if (k < Math.max(least, 1)) return false;
    if (tills > 0 && tillsInTrouble(seen, tick, tillsOver) < Math.min(tills, seen.tills)) return false;
    return lower(k, last(seen.attempts, tick, minutes), z) > rule.limit;
  });
}

/** The evaluations at which the rule begins to fire: each is a line in the chat, or a page. */
export function firings(rule, seen, from = 0) {
  const begun = [];
  let heldSince = -1;
  let heldLast = -Infinity;
  let isFiring = false;
  for (let tick = from; tick <= seen.ticks; tick += 1) {
    if (holds(rule, seen, tick)) {
      if (heldSince < 0) heldSince = tick;
      heldLast = tick;
      if (!isFiring && tick - heldSince >= ticks(rule.for)) {
        isFiring = true;
        begun.push(tick);
      }
    } else {
      heldSince = -1;
      if (isFiring && tick - heldLast >= ticks(rule.keep)) isFiring = false;
    }
  }
  return begun;
}
