// Series as the collector's own page writes them: name{label="value"}. Nothing here touches the page.

export type SeriesMap = Record<string, number>;
export interface Labelled { labels: Record<string, string>; value: number }

const LABEL = /(\w+)="((?:\\.|[^"\\])*)"/g;

/** All series of a name. Those that never occurred may be missing. */
export function labelled(series: SeriesMap, name: string): Labelled[] {
  const found: Labelled[] = [];
  for (const [key, value] of Object.entries(series)) {
    if (key !== name && !key.startsWith(name + '{')) continue;
    const labels: Record<string, string> = {};
    for (const [, label, text] of key.slice(name.length).matchAll(LABEL)) labels[label] = text.replace(/\\(.)/g, (_, sign) => (sign === 'n' ? '\n' : sign));
    found.push({ labels, value });
  }
  return found;
}

/** The sum of all series of a name that have these labels; null if there is none. */
export function total(series: SeriesMap, name: string, wanted: Record<string, string> = {}): number | null {
  const values = labelled(series, name).filter(({ labels }) => Object.entries(wanted).every(([label, value]) => labels[label] === value));
  return values.length ? values.reduce((sum, { value }) => sum + value, 0) : null;
}

export interface Ledger { accepted: number; open: number; sealed: number; outbox: number; confirmed: number; differs: number; isWhole: boolean }

/** Where all accepted samples are. `differs` is by how many the two sides are apart, whichever of the two sums it is. */
export function ledger(series: SeriesMap): Ledger | null {
  const at = (place: string): number | null => total(series, 'tillwatch_ledger_samples', { place });
  const [accepted, open, sealed, outbox, confirmed] = ['accepted', 'open', 'sealed', 'outbox', 'confirmed'].map(at);
  if (accepted === null || open === null || sealed === null || outbox === null || confirmed === null) return null;
  const differs = accepted - open - sealed || sealed - outbox - confirmed;
  return { accepted, open, sealed, outbox, confirmed, differs, isWhole: differs === 0 };
}

// --- what is copied into a shell

const word = (text: string): string => (/^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** A command as a shell reads it: names come from strangers. Options without a value are left out; what follows is no option, however it begins. */
export function shell(command: string, options: Record<string, string | undefined>, names: string[] = []): string {
  const given = Object.entries(options).filter(([, value]) => value).map(([name, value]) => (value!.startsWith('-') ? word(`--${name}=${value}`) : `--${name} ${word(value!)}`));
  return [command, ...given, ...(names.some((name) => name.startsWith('-')) ? ['--'] : []), ...names.map(word)].join(' ');
}
