// Small parts that all views are made of.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { arrivals, go, isDatabaseAway, isLost, needsDatabase, now, set, zone, type Answer, type Refusal } from './state';
import { href, type Params, type View } from './address';
import { when, moment, plain, type Figure } from './format';

export function Num({ of, level, title }: { of: Figure; level?: string; title?: string }) {
  return <span class={'num' + (level ? ' is-' + level : '') + (of.text === '–' ? ' is-none' : '')} title={title}>{of.text}{of.unit && <small>{'\u202f' + of.unit}</small>}</span>;
}

/** A link within the page. */
export function Link({ to, params, children, ...more }: {
  to: View; params?: Params; children: ComponentChildren; class?: string; title?: string; 'aria-current'?: 'page'; 'data-row'?: string;
}) {
  const follow = (event: MouseEvent): void => {
    if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(to, params);
  };
  return <a {...more} href={href(to, params)} onClick={follow}>{children}</a>;
}

export function Time({ t }: { t: number | null | undefined }) {
  if (t == null) return <span class="num is-none">–</span>;
  return <time dateTime={new Date(t).toISOString()} title={moment(t, zone.value)}>{when(t, now.value, zone.value)}</time>;
}

const MARKS: Record<string, string> = { critical: 'M6 1.5 11 10.5H1z', warning: 'M6 1 11 6 6 11 1 6z' };
const SAID: Record<string, string> = { critical: 'critical', warning: 'warning', silent: 'silent', fine: 'good', quiet: 'no samples' };
/** The shape says what the colour says. */
export function Mark({ state, isSaid = true }: { state: string; isSaid?: boolean }) {
  return (
    <svg class={'mark is-' + state} viewBox="0 0 12 12" width="12" height="12" {...(isSaid ? { role: 'img', 'aria-label': SAID[state] ?? state } : { 'aria-hidden': true })}>
      {MARKS[state] ? <path d={MARKS[state]} /> : state === 'silent' ? <circle cx="6" cy="6" r="4" class="ring" /> : state === 'quiet' ? <path d="M3 6h6" class="dash" /> : <circle cx="6" cy="6" r="1.8" />}
    </svg>
  );
}

export function Heading({ children, id }: { children: ComponentChildren; id?: string }) {
  const place = useRef<HTMLHeadingElement>(null);
  const times = arrivals.value;
  useEffect(() => { if (times) place.current?.focus({ preventScroll: true }); }, [times]);
  return <h1 ref={place} id={id} tabIndex={-1}>{children}</h1>;
}

export function Segments({ label, options, chosen, onChoose, isMany }: {
  label: string; options: { value: string; text: string }[]; chosen: string[]; onChoose: (value: string) => void; isMany?: boolean;
}) {
  return (
    <div class="segments" role="group" aria-label={label}>
      {options.map(({ value, text }) => (
        <button type="button" key={value} aria-pressed={chosen.includes(value)} onClick={() => (isMany || !chosen.includes(value)) && onChoose(value)}>{text}</button>
      ))}
    </div>
  );
}

/** How far back a view looks; the first choice that is meant when there is none stays out of the address. */
export function Ranges({ of, chosen, otherwise }: { of: Record<string, number>; chosen: string; otherwise: string }) {
  return <Segments label="Range" options={Object.keys(of).map((value) => ({ value, text: value }))} chosen={[chosen]} onChoose={(range) => set({ range: range === otherwise ? '' : range })} />;
}

/** A number in a table; `title` says what it rests on. */
export const Cell = ({ of, level, title }: { of: Figure; level?: string; title?: string }) => <td class="right" title={title} aria-label={title && `${plain(of)}, ${title}`}><Num of={of} level={level} /></td>;

/** The head of a table: `>` stands before numbers, `-` before what is not shown. */
export const Heads = ({ of }: { of: string }) => <thead><tr>{of.split('|').map((one) => (one[0] === '-' ? <th key={one}><span class="hidden">{one.slice(1)}</span></th> : one[0] === '>' ? <th key={one} class="right">{one.slice(1)}</th> : <th key={one}>{one}</th>))}</tr></thead>;

export const Bar = ({ title, sub, children }: { title: string; sub?: string; children?: ComponentChildren }) => <header class="bar"><h2>{title}</h2>{sub && <span class="sub">{sub}</span>}{children}</header>;

/** Where a value stands, by the limits of the catalogue. */
export const levelAt = (value: number | null | undefined, [low, high]: number[] = []): string | undefined => (value == null ? undefined : value > (high ?? Infinity) ? 'critical' : value > (low ?? Infinity) ? 'warning' : undefined);

/** Choices of which none has to be made. */
export const anyOf = (values: string[]): { value: string; text: string }[] => [{ value: '', text: 'all' }, ...values.map((value) => ({ value, text: value }))];

/** A field that is taken over when it is left or with Enter. */
export function Field({ label, value, onTake, list, hint = 'all' }: { label: string; value: string; onTake: (value: string) => void; list?: string; hint?: string }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const take = (): void => { if (text.trim() !== value) onTake(text.trim()); };
  return (
    <label class="field"><span>{label}</span>
      <input type="text" value={text} placeholder={hint} list={list} spellcheck={false} autocomplete="off" onInput={(event) => setText(event.currentTarget.value)}
        onBlur={take} onKeyDown={(event) => { if (event.key === 'Enter') take(); }} />
    </label>
  );
}

export function Choice({ label, value, options, onChoose }: { label: string; value: string; options: { value: string; text: string; group?: string }[]; onChoose: (value: string) => void }) {
  const groups = [...new Set(options.map(({ group }) => group))];
  const list = (group?: string) => options.filter((one) => one.group === group).map((one) => <option key={one.value} value={one.value} selected={one.value === value}>{one.text}</option>);
  return (
    <label class="field"><span>{label}</span>
      <select value={value} onChange={(event) => onChoose(event.currentTarget.value)}>
        {groups.map((group) => (group ? <optgroup key={group} label={group}>{list(group)}</optgroup> : list(undefined)))}
      </select>
    </label>
  );
}

/** Copies a text and says so on the button. */
export function Copy({ text, children }: { text: () => string; children: ComponentChildren }) {
  const [said, setSaid] = useState('');
  const copy = async (): Promise<void> => {
    try { await navigator.clipboard.writeText(text()); setSaid('Copied'); } catch { setSaid('Not allowed'); }
    setTimeout(() => setSaid(''), 1600);
  };
  return <button type="button" class="button" onClick={copy}><span aria-live="polite">{said || children}</span></button>;
}

/** What is pasted into a shell. */
export const Command = ({ text }: { text: string }) => <div class="code"><pre tabIndex={0} aria-label="Command">{text}</pre><Copy text={() => text}>Copy</Copy></div>;

export function save(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/csv;charset=utf-8' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function Search({ value, onInput, hint }: { value: string; onInput: (value: string) => void; hint: string }) {
  return (
    <div class="search">
      <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true"><circle cx="7" cy="7" r="4.5" /><path d="m10.5 10.5 4 4" /></svg>
      <input type="search" data-search="" aria-label={hint} placeholder={hint} value={value} spellcheck={false} autocomplete="off"
        onInput={(event) => onInput(event.currentTarget.value)} onKeyDown={(event) => { if (event.key === 'Escape') { onInput(''); event.currentTarget.blur(); } }} />
      <kbd aria-hidden="true">/</kbd>
    </div>
  );
}

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');

const Warning = ({ children }: { children: ComponentChildren }) => <div class="notice" role="status"><Mark state="warning" isSaid={false} /><div>{children}</div></div>;

/** What a view shows in place of an answer, or beside one that is older. */
export function Notice({ of }: { of: Answer<unknown> }) {
  if (of.error) {
    const { code, message, status } = of.error as Refusal;
    const title = status === 401 || status === 403 ? 'The collector wants a key to be shown.'
      : code === 'unknown_store' ? 'No such store.' : code === 'database_unavailable' ? 'ClickHouse does not answer.' : code === 'too_many_queries' ? 'The collector is answering others.' : '';
    return <Warning>{title && <b>{title} </b>}{sentence(message)}{of.data !== null && ' What you see was answered before.'}</Warning>;
  }
  if (of.data === null && of.isLoading && isDatabaseAway.value && needsDatabase(of.path)) return <Warning><b>ClickHouse does not answer.</b> This is asked again by itself.</Warning>;
  if (of.data === null && of.isLoading && !isLost.value) return <p class="loading" role="status">Asking the collector …</p>;
  return null;
}

export function Bars({ points, from, to, step, most, width = 120, height = 22, label }: {
  points: { t: number; count: number }[]; from: number; to: number; step: number; most: number; width?: number; height?: number; label: string;
}) {
  const places = Math.max(1, Math.ceil((to - from) / step));
  const pitch = width / places;
  return (
    <svg class="bars" viewBox={`0 0 ${width} ${height}`} width={width} height={height} role="img" aria-label={label}>
      <path class="base" d={`M0 ${height - 0.5}H${width}`} />
      {points.map(({ t, count }) => {
        const tall = Math.max(1.5, (count / most) * (height - 2));
        return <rect key={t} x={Math.floor((t - from) / step) * pitch} y={height - 1 - tall} width={Math.max(1, pitch - 1)} height={tall} />;
      })}
    </svg>
  );
}

/** A table that may be wider than the page. It takes the focus only then, so that the keyboard can move it. */
export function Scroll({ label, children }: { label: string; children: ComponentChildren }) {
  const place = useRef<HTMLDivElement>(null);
  const [isWide, setIsWide] = useState(false);
  useEffect(() => {
    const box = place.current!;
    const watch = new ResizeObserver(() => setIsWide(box.scrollWidth > box.clientWidth));
    watch.observe(box);
    watch.observe(box.firstElementChild!);
    return () => watch.disconnect();
  }, []);
  return <div ref={place} class="scroll" {...(isWide && { tabIndex: 0, role: 'region', 'aria-label': label })}>{children}</div>;
}

/** The width of an element, as it changes. */
export function useWidth<T extends HTMLElement>(first: number): [{ current: T | null }, number] {
  const place = useRef<T>(null);
  const [width, setWidth] = useState(first);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.round(entry.contentRect.width)));
    if (place.current) watch.observe(place.current);
    return () => watch.disconnect();
  }, []);
  return [place, width];
}
