// The frame around the views, and the keys.
import { render } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { View } from './address';
import { go, isDark, isHelpOpen, isKeyWanted, isLost, lastHeard, link, nextTheme, nextZone, now, place, set, theme, zone } from './state';
import { clock, span, zoneName } from './format';
import { Link } from './ui';
import { about, signOut } from './about';
import { FleetView } from './views/fleet';
import { StoreView } from './views/store';
import { TerminalView } from './views/terminal';
import { ReleasesView } from './views/releases';
import { ErrorsView } from './views/errors';
import { LostView } from './views/lost';
import { QueryView } from './views/query';
import { PipelineView } from './views/pipeline';
import { ProbesView } from './views/probes';
import { SettingsView } from './views/settings';
import { SignIn } from './views/signin';

const VIEWS: { view: View; name: string; key: string; icon: string }[] = [
  { view: 'fleet', name: 'Fleet', key: 'f', icon: 'M2 2h5v5H2zM9 2h5v5H9zM2 9h5v5H2zM9 9h5v5H9z' },
  { view: 'store', name: 'Store', key: 's', icon: 'M2 6.5 3.5 2h9L14 6.5zM3 6.5V14h10V6.5M6.5 14v-4h3v4' },
  { view: 'releases', name: 'Releases', key: 'r', icon: 'M8 2v8M4.5 7 8 10.5 11.5 7M2.5 13.5h11' },
  { view: 'errors', name: 'Errors', key: 'e', icon: 'M8 2.5 14.5 13.5H1.5zM8 6.5v3.5M8 11.6v.6' },
  { view: 'lost', name: 'Lost', key: 'l', icon: 'M2 4h5M9.5 4H14M2 8h2.5M7 8h7M2 12h7M11.5 12H14' },
  { view: 'query', name: 'Query', key: 'q', icon: 'M2 2v12h12M4.5 10.5 7.5 6.5 10 9l4-5' },
  { view: 'pipeline', name: 'Pipeline', key: 'p', icon: 'M1.5 8H5M11 8h3.5M5 5h6v6H5z' },
  { view: 'probes', name: 'Probes', key: 'b', icon: 'M8 13.5a5.5 5.5 0 1 0-5.5-5.5M8 8l2.5-2.5M2.5 11.5h3v3' },
  { view: 'settings', name: 'Settings', key: 'c', icon: 'M2 4.5h7M12.5 4.5H14M2 11.5h1.5M7 11.5h7M9 2.8h3.5v3.4H9zM3.5 9.8H7v3.4H3.5z' },
];
const SHOWN = { fleet: FleetView, store: StoreView, terminal: TerminalView, releases: ReleasesView, errors: ErrorsView, lost: LostView, query: QueryView, pipeline: PipelineView, probes: ProbesView, settings: SettingsView };
/** How many views the bar of a phone holds beside More. */
const IN_BAR = 4;

/** What is not pushed as it changes is not called live. */
const LINKS: Record<string, string> = { polling: 'Polling', connecting: 'Connecting', refused: 'Refused' };

function App() {
  const { view } = place.value;
  const state = isLost.value ? 'No answer' : isKeyWanted.value ? 'Signed out' : LINKS[link.value];
  const Shown = SHOWN[view];
  // The frame is drawn each second, and the view only if something of it has changed.
  const shown = useMemo(() => <Shown />, [Shown]);
  const name = VIEWS.find((one) => one.view === view)?.name ?? 'Terminal';
  const local = zoneName(now.value, 'local');
  const shownZone = zone.value === 'utc' ? 'UTC' : local === 'UTC' ? 'local' : local;
  const subject = view === 'store' ? place.value.params.store_id : view === 'terminal' ? place.value.params.terminal_id : '';
  const title = isKeyWanted.value ? 'Sign in' : `${subject ? subject + ' · ' : ''}${name}`;
  useEffect(() => { document.title = `${title} · tillwatch`; }, [title]);
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById('main')?.focus(); }}>Skip to the content</a>
      <header class="side">
        <Link to="fleet" class="brand"><svg viewBox="0 0 16 16" width="18" height="18" aria-hidden="true"><path d="M1 8.5h3l2-5.5 3.5 10.5 2.200-5H15" /></svg>tillwatch</Link>
        <nav aria-label="Views">
          {VIEWS.slice(0, IN_BAR).map((one) => <ViewLink key={one.view} of={one} />)}
          <More />
        </nav>
        <div class="switches">
          <div class={'live' + (isLost.value ? ' is-lost' : state ? ' is-asked' : now.value - lastHeard.value < 1500 ? ' is-heard' : '')} title={state === 'Polling' ? 'This collector pushes nothing to this page, so it is asked every two seconds.' : undefined}><i aria-hidden="true" />{state ?? 'Live'}</div>
          <div>
            <button type="button" onClick={nextZone} title="Time zone (z)" aria-label={`${shownZone}: times are in ${zone.value === 'utc' ? 'UTC' : 'the zone of the browser'}. Switch the time zone`}>{shownZone}</button>
            <button type="button" onClick={nextTheme} title="Light or dark (t)" aria-label={`${theme.value}: switch between light, dark and that of the system`}><svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true"><circle cx="8" cy="8" r="6" /><path d="M8 2a6 6 0 0 1 0 12z" class="half" /></svg>{theme.value}</button>
            <button type="button" onClick={() => (isHelpOpen.value = true)} title="Keys" aria-label="? Keys">?</button>
          </div>
          {about.value?.signed_in && <div><button type="button" onClick={signOut} title={`Signed in with the key ${about.value.signed_in.key}`}>Sign out</button></div>}
        </div>
      </header>
      <main id="main" tabIndex={-1} class={isLost.value ? 'is-lost' : ''}>
        <div role="alert">{isLost.value && <p class="banner">The collector does not answer. What you see is of {clock(lastHeard.value, zone.value, true)}{now.value - lastHeard.value > 60_000 ? `, ${span(now.value - lastHeard.value)} ago` : ''}. This page asks again by itself.</p>}</div>
        <div class="view" data-theme={isDark.value ? 'dark' : 'light'}>{isKeyWanted.value ? <SignIn /> : shown}</div>
      </main>
      <Help />
    </>
  );
}

function ViewLink({ of: { view, name, key, icon } }: { of: (typeof VIEWS)[number] }) {
  return (
    <Link to={view} aria-current={place.value.view === view || (place.value.view === 'terminal' && view === 'store') ? 'page' : undefined} title={`g ${key}`}>
      <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path d={icon} /></svg><span>{name}</span>
    </Link>
  );
}

/** The views that the bar of a phone has no room for. On wider screens they stand in line with the others. */
function More() {
  const [isOpen, setIsOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const { view } = place.value;
  const rest = VIEWS.slice(IN_BAR);
  useEffect(() => setIsOpen(false), [view]);
  useEffect(() => {
    if (!isOpen) return;
    box.current?.querySelector('a')?.focus();
    const stop = new AbortController();
    const listen = { signal: stop.signal, capture: true };
    const outside = (event: Event): void => { if (!box.current?.contains(event.target as Node) && !button.current?.contains(event.target as Node)) setIsOpen(false); };
    addEventListener('pointerdown', outside, listen);
    addEventListener('focusin', outside, listen);
    addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      event.stopImmediatePropagation();
      setIsOpen(false);
      button.current?.focus();
    }, listen);
    return () => stop.abort();
  }, [isOpen]);
  return (
    <>
      <button ref={button} type="button" class={'more-button' + (rest.some((one) => one.view === view) ? ' is-here' : '')} aria-expanded={isOpen} aria-controls="more-views" onClick={() => setIsOpen(!isOpen)}>
        <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path d="M3 8h.01M8 8h.01M13 8h.01" stroke-width="2.5" /></svg>More
      </button>
      <div ref={box} id="more-views" class={'more-views' + (isOpen ? ' is-open' : '')} onClick={(event) => { if ((event.target as Element).closest('a')) setIsOpen(false); }}>{rest.map((one) => <ViewLink key={one.view} of={one} />)}</div>
    </>
  );
}

const KEYS: [string, string][] = [
  ['/', 'Search'], ['j  k', 'Next and previous row'], ['Enter', 'Open the row'], ['[  ]', 'Store before and after, the worst first'], ['Esc', 'Leave a field, or go back to the fleet'],
  ...VIEWS.map(({ key, name }): [string, string] => [`g ${key}`, name]), ['← →', 'Move the line of a chart that has the focus'], ['z', 'Time zone'], ['t', 'Light or dark'], ['?', 'These keys'],
];

function Help() {
  const dialog = useRef<HTMLDialogElement>(null);
  const isOpen = isHelpOpen.value;
  useEffect(() => { if (isOpen) dialog.current?.showModal(); else dialog.current?.close(); }, [isOpen]);
  return (
    <dialog ref={dialog} aria-labelledby="keys" onClose={() => (isHelpOpen.value = false)} onClick={(event) => { if (event.target === dialog.current) isHelpOpen.value = false; }}>
      <div><h2 id="keys">Keys</h2>
        <dl>{KEYS.map(([key, what]) => <div key={key}><dt>{key.split(' ').filter(Boolean).map((one) => <kbd key={one}>{one}</kbd>)}</dt><dd>{what}</dd></div>)}</dl>
        <button type="button" class="button" onClick={() => (isHelpOpen.value = false)}>Close</button>
      </div>
    </dialog>
  );
}

// --- keys

const SEQUENCE_MS = 1_200;
let went = 0;

function row(way: number): void {
  const rows = [...document.querySelectorAll<HTMLElement>('[data-row]')];
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement as HTMLElement);
  const next = rows[at < 0 ? (way > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + way))];
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: 'nearest' });
}

addEventListener('keydown', (event) => {
  if (event.metaKey || event.ctrlKey || event.altKey || document.querySelector('dialog[open]')) return;
  const on = event.target as HTMLElement;
  if (on.matches('input, select, textarea')) {
    if (event.key === 'Escape') on.blur();
    return;
  }
  const isSecond = event.timeStamp - went < SEQUENCE_MS;
  went = 0;
  const target = isSecond && VIEWS.find(({ key }) => key === event.key);
  if (target) go(target.view);
  else if (event.key === 'g') went = event.timeStamp;
  else if (event.key === 'j') row(1);
  else if (event.key === 'k') row(-1);
  else if (event.key === 'z') nextZone();
  else if (event.key === 't') nextTheme();
  else if (event.key === '?') isHelpOpen.value = true;
  else if (event.key === '/') {
    const field = document.querySelector<HTMLInputElement>('[data-search]') ?? document.querySelector<HTMLInputElement>('.fields input');
    if (!field) return;
    field.focus();
    field.select();
  } else if (event.key === 'Escape') {
    const { view, params } = place.value;
    if (view === 'store') go('fleet');
    else if (view === 'terminal') go('store', { store_id: params.store_id });
    else if (view === 'errors' && params.fingerprint) set({ fingerprint: '' });
    else on.blur();
  } else return;
  event.preventDefault();
});

render(<App />, document.getElementById('app')!);
