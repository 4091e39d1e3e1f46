// Numbers and times as people read them. Nothing here touches the page.

export type Zone = 'local' | 'utc';
export interface Figure { text: string; unit: string }

export const NONE: Figure = { text: '–', unit: '' };
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Three digits, never in powers of ten. */
export function digits(value: number): string {
  if (value < 0) return '−' + digits(-value).replace('<', '');
  const size = value;
  if (size >= 999.5) return grouped(value);
  if (size >= 99.95) return value.toFixed(0);
  if (size >= 9.995) return value.toFixed(1);
  if (size >= 0.9995 || size === 0) return size === 0 ? '0' : value.toFixed(2);
  if (size < 0.0005) return '<0.001';
  return value.toFixed(3);
}

export function grouped(value: number): string {
  const text = Math.round(Math.abs(value)).toString().replace(/\B(?=(\d{3})+$)/g, ',');
  return value <= -0.5 ? '−' + text : text;
}

/** Large counts become short: 411 k, 2.34 M. */
export function count(value: number | null | undefined): Figure {
  if (value == null || !Number.isFinite(value)) return NONE;
  // A rate is a count that need not be whole.
  if (Math.abs(value) < 99_999.5) return { text: value % 1 && Math.abs(value) < 99 ? digits(value) : grouped(value), unit: '' };
  if (Math.abs(value) < 999_500) return { text: digits(value / 1e3), unit: 'k' };
  if (Math.abs(value) < 999_500_000) return { text: digits(value / 1e6), unit: 'M' };
  return { text: digits(value / 1e9), unit: 'G' };
}

export function duration(ms: number): Figure {
  const size = Math.abs(ms);
  if (size < 999.5) return { text: digits(ms), unit: 'ms' };
  if (size < 99_950) return { text: digits(ms / 1000), unit: 's' };
  if (size < 99.95 * MINUTE) return { text: digits(ms / MINUTE), unit: 'min' };
  if (size < 2 * DAY) return { text: digits(ms / HOUR), unit: 'h' };
  return { text: digits(ms / DAY), unit: 'd' };
}

function bytes(value: number): Figure {
  const size = Math.abs(value);
  if (size < 999.5) return { text: digits(value), unit: 'B' };
  if (size < 999_500) return { text: digits(value / 1e3), unit: 'kB' };
  if (size < 999_500_000) return { text: digits(value / 1e6), unit: 'MB' };
  return { text: digits(value / 1e9), unit: 'GB' };
}

/** A value in the unit of the wire. */
export function figure(value: number | null | undefined, unit: string): Figure {
  if (value == null || !Number.isFinite(value)) return NONE;
  if (unit === 'ms') return duration(value);
  if (unit === 'bytes') return bytes(value);
  if (unit === 'MB') return Math.abs(value) < 999.5 ? { text: digits(value), unit: 'MB' } : { text: digits(value / 1000), unit: 'GB' };
  if (unit === 'count') return count(value);
  return { text: digits(value), unit: '' };
}

/** What somebody has set, such as a limit: as it was set, without zeros at the end. */
export function exact(value: number, unit: string): string {
  const { text, unit: shown } = figure(value, unit);
  return plain({ text: text.includes('.') ? text.replace(/\.?0+$/, '') : text, unit: shown });
}

/** Rounded down, so that what is not all never reads 100 %. */
export function share(value: number | null | undefined, places = 1): Figure {
  if (value == null || !Number.isFinite(value)) return NONE;
  const scale = 10 ** places;
  // A hair is added because 0.57 * 100 is less than 57.
  const down = Math.floor(value * 100 * scale + 1e-7) / scale;
  return { text: down === 100 || down === 0 ? String(down) : down.toFixed(places), unit: '%' };
}

/** How often: a share of bad ones, in which small numbers matter. */
export function rate(value: number | null | undefined): Figure {
  if (value == null || !Number.isFinite(value)) return NONE;
  return { text: value === 0 ? '0' : digits(value * 100), unit: '%' };
}

/** A percentage a label can carry: "p95", "p99.9". */
export const quantile = (q: number | string): string => 'p' + Number((Number(q) * 100).toFixed(4));

export const plain = ({ text, unit }: Figure): string => (unit ? `${text}\u202f${unit}` : text);

/** How long something takes or has lasted, in words: "1 h 38 min". */
export function span(ms: number): string {
  if (ms < 1000) return 'under 1 s';
  if (ms < MINUTE) return `${Math.floor(ms / 1000)} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < DAY) {
    const minutes = Math.floor((ms % HOUR) / MINUTE);
    return `${Math.floor(ms / HOUR)} h` + (minutes ? ` ${minutes} min` : '');
  }
  const hours = Math.floor((ms % DAY) / HOUR);
  return `${Math.floor(ms / DAY)} d` + (hours ? ` ${hours} h` : '');
}

/** How long ago, short enough for a column. */
export function ago(ms: number): Figure {
  if (ms < 1500) return { text: 'now', unit: '' };
  if (ms < MINUTE) return { text: String(Math.floor(ms / 1000)), unit: 's' };
  if (ms < HOUR) return { text: String(Math.floor(ms / MINUTE)), unit: 'min' };
  if (ms < 2 * DAY) return { text: (Math.floor(ms / (HOUR / 10)) / 10).toFixed(1), unit: 'h' };
  return { text: String(Math.floor(ms / DAY)), unit: 'd' };
}

const two = (value: number): string => String(value).padStart(2, '0');
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** Minutes east of UTC at that time. */
export const offset = (t: number, zone: Zone): number => (zone === 'utc' ? 0 : -new Date(t).getTimezoneOffset());

/** A date whose UTC fields are those of the zone. */
export const shifted = (t: number, zone: Zone): Date => new Date(t + offset(t, zone) * MINUTE);

export function clock(t: number, zone: Zone, withSeconds = false): string {
  const date = shifted(t, zone);
  return `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}` + (withSeconds ? ':' + two(date.getUTCSeconds()) : '');
}

export function day(t: number, zone: Zone): string {
  const date = shifted(t, zone);
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
}

export function moment(t: number, zone: Zone): string {
  const date = shifted(t, zone);
  return `${day(t, zone)} ${date.getUTCFullYear()} ${clock(t, zone)}`;
}

/** Short if it is of the same day as `now`. */
export const when = (t: number, now: number, zone: Zone): string =>
  day(t, zone) === day(now, zone) && Math.abs(now - t) < DAY ? clock(t, zone) : `${day(t, zone)} ${clock(t, zone)}`;

export function zoneName(t: number, zone: Zone): string {
  const minutes = offset(t, zone);
  if (minutes === 0) return 'UTC';
  const size = Math.abs(minutes);
  return `UTC${minutes < 0 ? '−' : '+'}${Math.floor(size / 60)}` + (size % 60 ? ':' + two(size % 60) : '');
}

export const plural = (n: number, one: string, many = one + 's'): string => `${grouped(n)} ${n === 1 ? one : many}`;
