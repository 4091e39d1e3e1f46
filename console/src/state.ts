// What all views share: the place, the switches, the state of the connection, and questions to the collector.
import { signal, computed, effect, batch } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import { parse, href, type Place, type Params, type View } from './address';
import type { Zone } from './format';
import type { Link } from './stream';
import type { Metric, Metrics } from './types';

// --- the place
export const place = signal<Place>(parse(location.pathname, location.search));
/** Counts how often the view changed, so that its heading takes the focus. */
export const arrivals = signal(0);

export function go(view: View, params: Params = {}, isReplacing = false): void {
  const isNew = view !== place.value.view || (view === 'store' && params.store_id !== place.value.params.store_id);
  const address = href(view, params);
  if (isReplacing) history.replaceState(null, '', address);
  else history.pushState(null, '', address);
  batch(() => {
    place.value = parse(location.pathname, location.search);
    if (isNew) arrivals.value += 1;
  });
  if (isNew) scrollTo(0, 0);
}

/** Changes parts of the state; what is empty is taken out. */
export function set(changed: Params, isReplacing = false): void {
  go(place.value.view, { ...place.value.params, ...changed }, isReplacing);
}

addEventListener('popstate', () => {
  const before = place.value.view;
  batch(() => {
    place.value = parse(location.pathname, location.search);
    if (place.value.view !== before) arrivals.value += 1;
  });
});

// --- switches, remembered where the browser allows it
function remembered(key: string): string | null {
  try { return localStorage.getItem(key); } catch { return null; }
}
function remember(key: string, value: string): void {
  try { localStorage.setItem(key, value); } catch { /* The switch holds until the page is left. */ }
}

export type Theme = 'auto' | 'light' | 'dark';
const THEMES: Theme[] = ['auto', 'light', 'dark'];
export const theme = signal<Theme>(THEMES.find((one) => one === remembered('tillwatch-theme')) ?? 'auto');
export const zone = signal<Zone>(remembered('tillwatch-zone') === 'utc' ? 'utc' : 'local');
const prefersDark = matchMedia('(prefers-color-scheme: dark)');
const systemIsDark = signal(prefersDark.matches);
prefersDark.addEventListener('change', () => (systemIsDark.value = prefersDark.matches));
export const isDark = computed(() => (theme.value === 'auto' ? systemIsDark.value : theme.value === 'dark'));

effect(() => {
  document.documentElement.style.colorScheme = theme.value === 'auto' ? '' : theme.value;
  remember('tillwatch-theme', theme.value);
});
effect(() => remember('tillwatch-zone', zone.value));
export const nextTheme = (): void => { theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length]; };
export const nextZone = (): void => { zone.value = zone.value === 'utc' ? 'local' : 'utc'; };

const phone = matchMedia('(max-width: 759.98px)');
export const isPhone = signal(phone.matches);
phone.addEventListener('change', () => (isPhone.value = phone.matches));
const narrow = matchMedia('(max-width: 979.98px)');
/** Too narrow for a table of ten columns. */
export const isNarrow = signal(narrow.matches);
narrow.addEventListener('change', () => (isNarrow.value = narrow.matches));

// --- time and visibility
export const now = signal(Date.now());
export const isVisible = signal(!document.hidden);
document.addEventListener('visibilitychange', () => {
  batch(() => { isVisible.value = !document.hidden; now.value = Date.now(); });
});
/** Frames of the live stream pass the time on, so that the page is laid out once for both. */
export function pass(isFrame = false): void {
  const time = Date.now();
  if (isVisible.peek() && Math.abs(time - now.peek()) >= (isFrame || link.peek() !== 'live' ? 1_000 : 1_250)) now.value = time;
}
setInterval(pass, 250, false);

// --- the connection
export const isLost = signal(false);
export const lastHeard = signal(Date.now());
/** How what is pushed comes, see stream.ts. */
export const link = signal<Link>('idle');
/** Grows when the collector is back, so that views ask again. */
export const returns = signal(0);

/** A question was answered 401: whoever looks has to show a key first. */
export const isKeyWanted = signal(false);

/** ClickHouse did not answer the last question that needed it. The collector says so after 15 s, and nobody should wait for that twice. */
export const isDatabaseAway = signal(false);
export const needsDatabase = (path: string): boolean => /percentiles|errors|losses|hours=[1-9]/.test(path);

export class Refusal extends Error {
  constructor(readonly status: number, readonly code: string, message: string) { super(message); }
}

export function heard(): void {
  batch(() => {
    lastHeard.value = Date.now();
    if (isLost.value) { isLost.value = false; returns.value += 1; }
  });
}

const PATIENCE_MS = 30_000;
// The collector answers four queries at once, and this page is not the only one that asks.
const AT_ONCE = 3;
let asking = 0;
const waiting: (() => void)[] = [];

/** Asks the collector. */
export async function ask<T>(path: string, signal?: AbortSignal): Promise<T> {
  if (asking >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  asking += 1;
  try {
    signal?.throwIfAborted();
    const patience = AbortSignal.timeout(PATIENCE_MS);
    const response = await fetch(path, { cache: 'no-store', signal: signal ? AbortSignal.any([signal, patience]) : patience });
    // A proxy answers so if the collector is away.
    if (response.status === 502 || response.status === 504) throw new TypeError('The collector is away.');
    const text = await response.text();
    heard();
    if (response.status === 401) isKeyWanted.value = true;
    if (!response.ok) {
      let error: { code?: string; message?: string } = {};
      try { error = JSON.parse(text).error ?? {}; } catch { /* Not an answer of the collector's own. */ }
      if (error.code === 'database_unavailable') isDatabaseAway.value = true;
      throw new Refusal(response.status, error.code ?? '', error.message ?? `The collector answered ${response.status}.`);
    }
    if (needsDatabase(path)) isDatabaseAway.value = false;
    return JSON.parse(text) as T;
  } catch (error) {
    const isAway = error instanceof TypeError || (error instanceof DOMException && error.name === 'TimeoutError');
    // One slow answer does not mean that the collector is away while it pushes.
    if (isAway && link.value !== 'live') isLost.value = true;
    throw error;
  } finally {
    asking -= 1;
    waiting.shift()?.();
  }
}

// Whoever looks at a page that asks nothing learns of it all the same.
const BEAT_MS = 5_000;
setInterval(() => {
  if (!isVisible.value || (!isLost.value && Date.now() - lastHeard.value < BEAT_MS)) return;
  // The one question that needs no key.
  ask('api/v1/about').catch(() => {});
}, 2_000);

/** `path` is the question that `data` answers. */
export interface Answer<T> { data: T | null; path: string; error: Refusal | Error | null; isLoading: boolean }

// What stands beside the fleet, so that whoever comes back to it sees it at once.
const kept = new Map<string, unknown>();
const isKept = (path: string): boolean => /silent\?limit|changes|rollouts/.test(path);

/** The answer to a question, asked again every `every` ms while the page is visible, and when `turn` changes. What was answered last stays. */
export function useAnswer<T>(path: string | null, every = 0, turn = 0): Answer<T> {
  const [answer, setAnswer] = useState<Answer<T>>(() => ({ data: (kept.get(path ?? '') as T) ?? null, path: path ?? '', error: null, isLoading: path !== null }));
  const subject = useRef('');
  const mayAsk = isVisible.value;
  const times = returns.value;
  useEffect(() => {
    if (path === null) { setAnswer({ data: null, path: '', error: null, isLoading: false }); return; }
    if (!mayAsk && subject.current) return;
    const name = path.split('?')[0];
    const isOther = subject.current !== '' && subject.current !== name;
    subject.current = name;
    setAnswer((before) => ({ ...before, data: isOther ? null : before.data, error: isOther ? null : before.error, isLoading: true }));
    const stop = new AbortController();
    let timer = 0;
    const once = async (): Promise<void> => {
      try {
        const data = await ask<T>(path, stop.signal);
        if (isKept(path)) kept.set(path, data);
        if (!stop.signal.aborted) setAnswer({ data, path, error: null, isLoading: false });
      } catch (error) {
        if (stop.signal.aborted) return;
        const isRefused = error instanceof Refusal;
        setAnswer((before) => ({ ...before, data: isRefused && error.status === 404 ? null : before.data, error: isRefused ? error : null, isLoading: false }));
      }
      if (every && !stop.signal.aborted) timer = setTimeout(once, every);
    };
    void once();
    return () => { stop.abort(); clearTimeout(timer); };
  }, [path, every, mayAsk, times, turn]);
  return answer;
}

// --- the catalogue, once
// A threshold that a metric does not have is null in the answer.
const limitsOf = (thresholds: (number | null)[]): number[] => thresholds.filter((limit) => limit !== null);
const catalogue = signal<Map<string, Metric>>(new Map());
let isCatalogueAsked = false;
export function useCatalogue(): Map<string, Metric> {
  const times = returns.value;
  useEffect(() => {
    if (isCatalogueAsked) return;
    isCatalogueAsked = true;
    ask<Metrics>('api/v1/metrics').then((found) => {
      catalogue.value = new Map(found.metrics.map((metric) => [metric.metric, { ...metric, thresholds: limitsOf(metric.thresholds) }]));
    }).catch(() => { isCatalogueAsked = false; });
  }, [times]);
  return catalogue.value;
}

// --- the time that a reading line stands at, for all charts of a view
export const reading = signal<number | null>(null);
export const isHelpOpen = signal(false);
