// What a page shows is in its address: a view as the last part of the path, and everything else in the query string.

export type View = 'fleet' | 'store' | 'terminal' | 'releases' | 'errors' | 'lost' | 'query' | 'pipeline' | 'probes' | 'settings';
export type Params = Record<string, string>;
export interface Place { view: View; params: Params }

const VIEWS: View[] = ['fleet', 'store', 'terminal', 'releases', 'errors', 'lost', 'query', 'pipeline', 'probes', 'settings'];

export function parse(path: string, search: string): Place {
  const last = path.slice(path.lastIndexOf('/') + 1);
  const view = VIEWS.find((one) => one === last) ?? 'fleet';
  const params: Params = {};
  // The first of several counts: the page writes each once.
  for (const [key, value] of new URLSearchParams(search)) if (!(key in params) && value) params[key] = value;
  return { view, params };
}

/** Relative to the folder of the page, so that it works behind any prefix. */
export function href(view: View, params: Params = {}): string {
  const text = search(params);
  return './' + (view === 'fleet' ? '' : view) + (text && '?' + text);
}

/** Sorted, so that the same state has one address. What is empty is left out. */
export function search(params: Record<string, string | number | null | undefined>): string {
  const kept = Object.entries(params).filter(([, value]) => value != null && value !== '').sort(([one], [other]) => (one < other ? -1 : 1));
  return new URLSearchParams(kept.map(([key, value]) => [key, String(value)])).toString().replaceAll('%2C', ',');
}

// --- ranges of time

const UNITS: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

export function milliseconds(text: string | undefined): number | null {
  const found = /^(\d{1,5})([mhd])$/.exec(text ?? '');
  const value = found ? Number(found[1]) * UNITS[found[2]] : 0;
  return value > 0 ? value : null;
}

export interface Range { from: number; to: number; isFixed: boolean; name: string }

/** Either fixed times in Unix ms, or so long until now, from whole minutes on. */
export function range(params: Params, now: number, otherwise = '1h'): Range {
  const from = Number(params.from);
  const to = Number(params.to);
  if (Number.isSafeInteger(from) && Number.isSafeInteger(to) && from > 0 && to > from) return { from, to, isFixed: true, name: '' };
  const name = milliseconds(params.range) ? params.range : otherwise;
  const end = Math.floor(now / 60_000) * 60_000;
  return { from: end - milliseconds(name)!, to: end, isFixed: false, name };
}

const STEPS = ['1m', '2m', '5m', '10m', '15m', '30m', '1h', '2h', '6h', '12h', '1d'];

/** The shortest step that leaves at most `points`. */
export function stepFor(length: number, points = 130): string {
  return STEPS.find((step) => length / milliseconds(step)! <= points) ?? '1d';
}

/** Where tills post, as far as the settings say: a port that the system chose is not in them. */
export interface Doors { url: string; isKnown: boolean; hasToken: boolean }
export function doorsOf(settings: { name: string; value: string | null }[], here: string): Doors {
  const of = (name: string): string => settings.find((one) => one.name === name)?.value ?? '';
  const [, host, port] = /^(.+):(\d+)$/.exec(of('listen')) ?? ['', '', '0'];
  const isKnown = port !== '0';
  const isLocal = /^(127\.|\[::1\])/.test(host);
  const auth = of('auth') || (isLocal || !host || of('allow_unauthenticated') === 'true' ? 'off' : 'required');
  return { url: `http${of('tls_certificate') ? 's' : ''}://${isKnown && !/^(0\.0\.0\.0|\[::\])$/.test(host) ? host : isKnown ? here : '127.0.0.1'}:${isKnown ? port : '8080'}`, isKnown, hasToken: auth === 'required' };
}
