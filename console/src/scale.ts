// Scales and ticks of the charts.
import { shifted, offset, type Zone } from './format';

export interface Scale { low: number; high: number; isLog: boolean; ticks: number[]; at: (value: number) => number }

/** The next number of the row 1, 2, 5, 10 …. */
export function nice(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const rest = value / power;
  return (rest <= 1.0001 ? 1 : rest <= 2.0001 ? 2 : rest <= 5.0001 ? 5 : 10) * power;
}

/** From 0 to a little over the greatest value. */
export function linear(greatest: number, height: number, wanted = 4): Scale {
  const high = greatest > 0 ? greatest * 1.06 : 1;
  const step = nice(high / wanted);
  const ticks: number[] = [];
  for (let i = 0; i * step <= high * 1.0001; i += 1) ticks.push(Number((i * step).toPrecision(12)));
  return { low: 0, high, isLog: false, ticks, at: (value) => height - (value / high) * height };
}

/** Of values above 0. */
export function logarithmic(least: number, greatest: number, height: number): Scale {
  const low = Math.max(least, greatest / 1e6, 1e-6) * 0.9;
  const high = Math.max(greatest * 1.1, low * 10);
  const ticks: number[] = [];
  const decades = Math.log10(high / low);
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const first of decades < 2 ? [1, 2, 5] : [1]) {
      const tick = Number((first * 10 ** power).toPrecision(12));
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
  const width = Math.log(high / low);
  return { low, high, isLog: true, ticks, at: (value) => height - (Math.log(Math.max(value, low) / low) / width) * height };
}

/** A limit belongs on the chart if the values come near it, or else it would flatten them. */
export const nearLimits = (limits: number[], greatest: number): number[] => limits.filter((limit, i) => greatest >= limit * (i ? 0.75 : 0.2));

const MINUTE = 60_000;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7 * 1440, 14 * 1440, 28 * 1440].map((minutes) => minutes * MINUTE);

export interface TimeTick { t: number; isDay: boolean }

/** Round times of the zone, at most `most` of them. */
export function timeTicks(from: number, to: number, most: number, zone: Zone): TimeTick[] {
  const step = STEPS.find((one) => (to - from) / one <= Math.max(1, most)) ?? STEPS[STEPS.length - 1];
  const shift = offset(from, zone) * MINUTE;
  const ticks: TimeTick[] = [];
  for (let t = Math.ceil((from + shift) / step) * step - shift; t <= to; t += step) {
    const date = shifted(t, zone);
    ticks.push({ t, isDay: date.getUTCHours() === 0 && date.getUTCMinutes() === 0 });
  }
  return ticks;
}

/** Pieces of a line: it is broken where nothing was measured for longer than a step. */
export function pieces(points: [number, number][], step: number): [number, number][][] {
  const found: [number, number][][] = [];
  for (const point of points) {
    const last = found[found.length - 1];
    if (last && point[0] - last[last.length - 1][0] <= step * 1.5) last.push(point);
    else found.push([point]);
  }
  return found;
}

/** Labels that would cover each other are pushed apart, in their order, within 0 and `height`. */
export function apart(places: number[], gap: number, height: number): number[] {
  const order = places.map((_, i) => i).sort((one, other) => places[one] - places[other]);
  const out = [...places];
  let last = -Infinity;
  for (const i of order) last = out[i] = Math.max(out[i], last + gap);
  let next = height + gap;
  for (const i of order.reverse()) next = out[i] = Math.min(out[i], next - gap);
  return out;
}
