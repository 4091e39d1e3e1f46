// All stores at a glance, and each of them in a row.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { go, isDark, isLost, isNarrow, isPhone, now, place, set, useAnswer, useCatalogue } from '../state';
import { ago, count, exact, figure, grouped, plain, plural, share, span, type Figure } from '../format';
import { byColumn, find, worstFirst, type FleetKey } from '../order';
import { Heading, Link, Mark, Notice, Num, Search, useWidth, Copy } from '../ui';
import type { Fleet, FleetState, FleetStore, FleetValues } from '../types';

const POLL_MS = 2_000;

interface Column { key: Exclude<FleetKey, 'store_id'>; title: string; metric: string; words: string; show: (store: FleetValues) => Figure }

const COLUMNS: Column[] = [
  { key: 'sync_p95_ms', title: 'Sync p95', metric: 'sync_duration_ms', words: 'Sync p95', show: (store) => figure(store.sync_p95_ms, 'ms') },
  { key: 'sync_success', title: 'Synced', metric: 'sync_success', words: 'Synced', show: (store) => share(store.sync_success) },
  { key: 'login_p95_ms', title: 'Login p95', metric: 'offline_login_duration_ms', words: 'Offline login p95', show: (store) => figure(store.login_p95_ms, 'ms') },
  { key: 'lcp_p75_ms', title: 'LCP p75', metric: 'lcp_ms', words: 'LCP p75', show: (store) => figure(store.lcp_p75_ms, 'ms') },
  { key: 'inp_p75_ms', title: 'INP p75', metric: 'inp_ms', words: 'INP p75', show: (store) => figure(store.inp_p75_ms, 'ms') },
  { key: 'pending_max', title: 'Queue', metric: 'pending_transactions', words: 'Queue of a till', show: (store) => count(store.pending_max) },
  { key: 'memory_p95_mb', title: 'Memory', metric: 'memory_used_mb', words: 'Memory of a till', show: (store) => figure(store.memory_p95_mb, 'MB') },
  { key: 'sync_failing', title: 'Failing', metric: '', words: '', show: (store) => count(store.sync_failing) },
  { key: 'missing', title: 'Missing', metric: '', words: '', show: (store) => count(store.missing) },
];
const HINTS: Record<string, string> = { sync_failing: 'Tills of which a synchronisation failed in the last ten minutes', missing: 'Batches that are missing and may still come', pending_max: 'Transactions that wait in the till with the most of them' };
const columnOf = (metric: string): Column | undefined => COLUMNS.find((one) => one.metric === metric || one.key === metric);
const levelOf = ({ why }: FleetValues, column: Column): string | undefined => why?.find(({ metric }) => metric === column.metric || metric === column.key)?.level;
const has = (values: FleetValues, column: Column): boolean => values[column.key] !== undefined;

/** A metric that has no column, by its own name: "network latency p95". */
const VITALS = ['lcp_ms', 'inp_ms', 'cls_score'];
const wordsOf = (metric: string): string => `${metric.replace(/_(ms|mb|bytes|score|ratio|count)$/, '').replaceAll('_', ' ')}${/_(ms|bytes|score)$/.test(metric) ? (VITALS.includes(metric) ? ' p75' : ' p95') : ''}`.replace(/^./, (first) => first.toUpperCase()).replace(/^(Cls|Fcp|Ttfb|Idb)/, (name) => name.toUpperCase());
const heardOf = (store: FleetValues): string => {
  const reporting = store.reporting ?? 0;
  const known = store.terminals ?? reporting + (store.silent ?? 0);
  return reporting === known ? grouped(known) : `${grouped(reporting)}/${grouped(known)}`;
};

/** Why a store stands where it stands, in words. */
function reason(store: FleetStore, time: number): string {
  if (store.state === 'silent') return store.last_report ? `Silent for ${span(Math.max(0, time - store.last_report))}` : 'Silent, and never heard of';
  const [first, ...rest] = [...store.why].sort((one, other) => (one.level < other.level ? -1 : one.level > other.level ? 1 : 0));
  if (!first) return store.state === 'quiet' ? 'Too few samples to judge' : '';
  const column = columnOf(first.metric);
  const isShare = column?.key === 'sync_success';
  const unit = unitOf(column, first.metric);
  const limit = first.limit == null ? '' : `, limit ${isShare ? plain(share(first.limit)).replace('.0', '') : exact(first.limit, unit)}`;
  return `${column?.words ?? wordsOf(first.metric)} ${plain(isShare ? share(first.value) : figure(first.value, unit))}${limit}${rest.length ? ` +${rest.length}` : ''}`;
}
const unitOf = (column: Column | undefined, metric: string): string => {
  const name = column?.metric ?? metric;
  const end = name.slice(name.lastIndexOf('_') + 1);
  return end === 'mb' ? 'MB' : ['ms', 'bytes', 'score', 'ratio'].includes(end) ? end : 'count';
};

const STATES: { state: FleetState; word: string }[] = [
  { state: 'critical', word: 'critical' }, { state: 'silent', word: 'silent' }, { state: 'warning', word: 'warning' }, { state: 'fine', word: 'good' }, { state: 'quiet', word: 'quiet' },
];

export function FleetView() {
  const answer = useAnswer<Fleet>('api/v1/fleet', POLL_MS);
  const catalogue = useCatalogue();
  const { params } = place.value;
  const fleet = answer.data;
  const [state, text] = [params.state ?? '', params.find ?? ''];
  const time = isLost.value && fleet ? fleet.t : now.value;

  const byName = useMemo(() => [...(fleet?.stores ?? [])].sort((one, other) => (one.store_id < other.store_id ? -1 : 1)), [fleet]);
  const counts = useMemo(() => {
    const found: Record<string, number> = {};
    for (const store of byName) found[store.state] = (found[store.state] ?? 0) + 1;
    return found;
  }, [byName]);
  const kept = useMemo(() => find(byName, text).filter((store) => !state || store.state === state), [byName, text, state]);
  const choose = (store_id: string): void => go('store', { store_id });

  if (!fleet) return <><Heading>Fleet</Heading><Notice of={answer} /></>;
  if (!fleet.stores.length) return <Empty />;

  const trouble = (counts.critical ?? 0) + (counts.silent ?? 0);
  const { all } = fleet;
  const columns = COLUMNS.filter((column) => has(fleet.stores[0], column));
  const sums = columns.filter((column) => has(all, column));
  const silentTills = all.silent_terminals ?? all.silent ?? 0;
  return (
    <>
      <header class="head">
        <div>
          <Heading>{trouble ? <><span class="is-critical">{grouped(trouble)}</span> {trouble === 1 ? 'store is' : 'stores are'} in trouble</> : 'No store is in trouble'}</Heading>
          <p class="sub">{plural(fleet.stores.length, 'store')} · {grouped(all.reporting ?? 0)}{all.terminals != null && ` of ${grouped(all.terminals)}`} tills heard in 10 min{silentTills > 0 && ` · ${plural(silentTills, 'till')} silent`}</p>
        </div>
      </header>
      <Notice of={answer} />
      {sums.length > 1 && <dl class="headline">
        {sums.map((column) => {
          const limits = catalogue.get(column.metric)?.thresholds ?? [];
          const limit = column.key === 'sync_success' ? '' : limits.length ? `limit ${exact(limits[0], unitOf(column, column.metric))}` : '';
          return (
            <div key={column.key}>
              <dt title={HINTS[column.key]}>{column.title}</dt>
              <dd><Num of={column.show(all)} level={levelOf(all, column)} /></dd>
              <dd class="limit-said">{column.key === 'sync_success' && all.sync_samples != null ? `of ${plain(count(all.sync_samples))}` : limit}</dd>
            </div>
          );
        })}
      </dl>}
      <Mosaic stores={byName} isKept={(store) => !state || store.state === state} time={time} onChoose={choose} />
      <div class="chips" role="group" aria-label="Show only">
        {STATES.filter((one) => counts[one.state] || one.state === state || one.state === 'critical').map((one) => (
          <button type="button" key={one.state} aria-pressed={state === one.state} onClick={() => set({ state: state === one.state ? '' : one.state }, true)}>
            <Mark state={one.state} isSaid={false} /><b>{grouped(counts[one.state] ?? 0)}</b> {one.word}
          </button>
        ))}
      </div>
      <StoreTable stores={kept} total={fleet.stores.length} all={all} columns={columns} time={time} text={text} state={state} />
    </>
  );
}

// --- the table: only rows that can be seen are in the page

function StoreTable({ stores, total, all, columns, time, text, state }: { stores: FleetStore[]; total: number; all: FleetValues; columns: Column[]; time: number; text: string; state: string }) {
  const { params } = place.value;
  const key = params.sort as FleetKey | undefined;
  const isDown = params.way !== 'up';
  const isSmall = isNarrow.value;
  const height = isSmall ? 64 : 34;
  const body = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState<[number, number]>([0, 30]);
  const [focused, setFocused] = useState<string | null>(null);
  const isHeld = useRef(false);
  const order = useRef<{ for: string; ids: string[] }>({ for: '', ids: [] });

  // While somebody points at a row or has walked to it, rows do not move away from under them; their numbers go on.
  const sorted = useMemo(() => {
    const subject = `${key} ${isDown} ${text} ${state}`;
    const known = new Map(stores.map((store) => [store.store_id, store]));
    if (isHeld.current && order.current.for === subject) {
      const held = order.current.ids.flatMap((id) => known.get(id) ?? []);
      const isIn = new Set(order.current.ids);
      return [...held, ...stores.filter(({ store_id }) => !isIn.has(store_id))];
    }
    const found = [...stores].sort(key ? byColumn(key, isDown) : worstFirst);
    order.current = { for: subject, ids: found.map(({ store_id }) => store_id) };
    return found;
  }, [stores, key, isDown, text, state]);

  useEffect(() => {
    const look = (): void => {
      if (!body.current) return;
      const { top } = body.current.getBoundingClientRect();
      const first = Math.max(0, Math.floor(-top / height) - 8);
      const last = Math.ceil((innerHeight - top) / height) + 8;
      setSeen((before) => (before[0] === first && before[1] === last ? before : [first, last]));
    };
    look();
    addEventListener('scroll', look, { passive: true });
    addEventListener('resize', look);
    return () => { removeEventListener('scroll', look); removeEventListener('resize', look); };
  }, [height, sorted.length]);

  const sort = (to: FleetKey): void => {
    // The third time takes the order away again.
    const firstDown = to !== 'store_id' && to !== 'sync_success' && to !== 'reporting' && to !== 'last_report';
    if (key !== to) set({ sort: to, way: firstDown ? '' : 'up' }, true);
    else if (isDown === firstDown) set({ way: isDown ? 'up' : '' }, true);
    else set({ sort: '', way: '' }, true);
  };
  const header = (to: FleetKey, title: string, kind = '') => (
    <div role="columnheader" class={kind} title={HINTS[to]} aria-sort={key === to ? (isDown ? 'descending' : 'ascending') : 'none'} key={to}>
      <button type="button" onClick={() => sort(to)}>{title}{key === to && <span aria-hidden="true">{isDown ? ' ↓' : ' ↑'}</span>}</button>
    </div>
  );

  const rows: [number, FleetStore][] = [];
  for (let i = seen[0]; i < Math.min(seen[1], sorted.length); i += 1) rows.push([i, sorted[i]]);
  // The row that has the focus stays, or the keyboard would lose its place.
  const at = focused === null ? -1 : sorted.findIndex(({ store_id }) => store_id === focused);
  if (at >= 0 && at < seen[0]) rows.unshift([at, sorted[at]]);
  if (at >= 0 && at >= seen[1]) rows.push([at, sorted[at]]);

  return (
    <section>
      <header class="bar">
        <h2 id="stores">{key ? 'Stores' : 'Worst first'}{(text || state) && <small> {grouped(sorted.length)} of {grouped(total)}</small>}</h2>
        <Search value={text} onInput={(value) => set({ find: value }, true)} hint="Find a store or release" />
      </header>
      <div class="fleet" role="table" aria-labelledby="stores" aria-rowcount={sorted.length + 2} style={{ '--columns': columns.length + 2 }}
        onPointerEnter={() => (isHeld.current = true)} onPointerLeave={() => (isHeld.current = focused !== null)}
        onFocusIn={(event) => { isHeld.current = true; setFocused((event.target as HTMLElement).dataset.row ?? null); }} onFocusOut={() => { isHeld.current = false; setFocused(null); }}>
        <div role="row" class="row is-head" aria-rowindex={1}>
          {header('store_id', 'Store')}
          <div role="columnheader" class="why">Why</div>
          {columns.map(({ key, title }) => header(key, title, 'right'))}
          {header('reporting', 'Tills', 'right')}
          {header('last_report', 'Heard', 'right')}
        </div>
        {has(all, columns[0]) && <div role="row" class="row is-all" aria-rowindex={2}>
          <div role="cell" class="name">All stores</div>
          <div role="cell" class="why">Percentiles of all samples, not of stores</div>
          {columns.map((column, i) => <div role="cell" key={column.key} class={'right' + (i ? ' is-wide' : '')}><Num of={column.show(all)} level={levelOf(all, column)} /></div>)}
          <div role="cell" class="right is-wide">{grouped(all.reporting ?? 0)}</div>
          <div role="cell" class="right is-wide"><Num of={all.last_report ? ago(Math.max(0, time - all.last_report)) : { text: '–', unit: '' }} /></div>
        </div>}
        <div ref={body} role="rowgroup" class="rows" style={{ height: sorted.length * height + 'px' }}>
          {rows.map(([i, store]) => <StoreRow key={store.store_id} store={store} columns={columns} index={i} top={i * height} time={time} />)}
        </div>
        {!sorted.length && <p class="nothing">No store is like this.</p>}
      </div>
    </section>
  );
}

function StoreRow({ store, columns, index, top, time }: { store: FleetStore; columns: Column[]; index: number; top: number; time: number }) {
  const isSilent = store.state === 'silent';
  const worst = columns.find((column) => levelOf(store, column) === 'critical') ?? columns.find((column) => levelOf(store, column)) ?? columns[0];
  const heard = store.last_report ? ago(Math.max(0, time - store.last_report)) : { text: '–', unit: '' };
  return (
    <div role="row" class="row" aria-rowindex={index + 3} style={{ top: top + 'px' }}>
      <div role="cell" class="name"><Mark state={store.state} /><Link to="store" params={{ store_id: store.store_id }} data-row={store.store_id}>{store.store_id}</Link></div>
      <div role="cell" class="why">{reason(store, time)}</div>
      {columns.map((column) => (
        <div role="cell" key={column.key} class={'right' + (column === worst && !isSilent ? '' : ' is-wide')}><Num of={column.show(store)} level={levelOf(store, column)} /></div>
      ))}
      <div role="cell" class="right is-wide"><span class="num">{heardOf(store)}</span></div>
      <div role="cell" class={'right' + (isSilent ? '' : ' is-wide')}><Num of={heard} level={isSilent ? 'critical' : 'quiet'} /></div>
    </div>
  );
}

// --- the mosaic: a square a store, by name, so that a store keeps its place

const PITCHES = [26, 22, 18, 15, 12, 10, 8, 7, 6, 5, 4];

function Mosaic({ stores, isKept, time, onChoose }: { stores: FleetStore[]; isKept: (store: FleetStore) => boolean; time: number; onChoose: (store_id: string) => void }) {
  const [box, width] = useWidth<HTMLDivElement>(700);
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawn = useRef<{ layout: string; cells: string[] }>({ layout: '', cells: [] });
  const [pointed, setPointed] = useState<number | null>(null);
  const tallest = isPhone.value ? 150 : 172;
  const pitch = PITCHES.find((one) => Math.ceil(stores.length / Math.floor(width / one)) * one <= tallest) ?? 4;
  const columns = Math.max(1, Math.floor(width / pitch));
  const height = Math.ceil(stores.length / columns) * pitch;

  useEffect(() => {
    const place = canvas.current;
    const pen = place?.getContext('2d');
    if (!place || !pen) return;
    const ratio = devicePixelRatio || 1;
    const layout = `${width} ${height} ${pitch} ${ratio} ${isDark.value}`;
    if (drawn.current.layout !== layout) {
      drawn.current = { layout, cells: [] };
      place.width = Math.round(width * ratio);
      place.height = Math.round(height * ratio);
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const colours = colorsOf(place);
    const size = pitch - (pitch > 12 ? 4 : pitch > 6 ? 2 : 1);
    const { cells } = drawn.current;
    // Only squares that changed are drawn: this is called every two seconds.
    for (let i = 0; i < Math.max(stores.length, cells.length); i += 1) {
      const store = stores[i];
      const cell = store ? store.state + (isKept(store) ? '' : ' aside') : '';
      if (cells[i] === cell) continue;
      cells[i] = cell;
      const [x, y] = [(i % columns) * pitch, Math.floor(i / columns) * pitch];
      pen.clearRect(x, y, pitch, pitch);
      if (!store) continue;
      pen.globalAlpha = isKept(store) ? 1 : 0.18;
      pen.beginPath();
      if (store.state === 'silent') {
        pen.strokeStyle = colours.silent;
        pen.lineWidth = size > 8 ? 1.6 : 1;
        pen.roundRect(x + 0.5, y + 0.5, size - 1, size - 1, size > 8 ? 3 : 0.5);
        pen.stroke();
        if (size > 8) { pen.beginPath(); pen.moveTo(x + 3, y + size - 3); pen.lineTo(x + size - 3, y + 3); pen.stroke(); }
      } else {
        pen.fillStyle = colours[store.state];
        pen.roundRect(x, y, size, size, size > 8 ? 3 : 0.5);
        pen.fill();
        if (store.state === 'critical' && size > 12) {
          pen.fillStyle = colours.mark;
          pen.beginPath();
          pen.moveTo(x + size / 2, y + size * 0.3); pen.lineTo(x + size * 0.72, y + size * 0.7); pen.lineTo(x + size * 0.28, y + size * 0.7);
          pen.fill();
        }
      }
      pen.globalAlpha = 1;
    }
    cells.length = stores.length;
  });

  const under = (event: PointerEvent | MouseEvent): number | null => {
    const { left, top } = canvas.current!.getBoundingClientRect();
    const i = Math.floor((event.clientY - top) / pitch) * columns + Math.floor((event.clientX - left) / pitch);
    return event.clientX - left < columns * pitch && stores[i] ? i : null;
  };
  const one = pointed === null ? undefined : stores[pointed];
  const [x, y] = pointed === null ? [0, 0] : [(pointed % columns) * pitch, Math.floor(pointed / columns) * pitch];
  return (
    <div ref={box} class="mosaic" style={{ height: height + 'px' }}>
      <canvas ref={canvas} aria-hidden="true" style={{ width: width + 'px', height: height + 'px' }} class={one ? 'is-pointing' : ''}
        onPointerMove={(event) => setPointed(under(event))} onPointerLeave={() => setPointed(null)}
        onClick={(event) => { const i = under(event); if (i !== null) onChoose(stores[i].store_id); }} />
      {one && (
        <div class={'tip' + (x > width / 2 ? ' is-left' : '')} style={{ left: x + pitch / 2 + 'px', top: y + pitch + 2 + 'px' }} aria-hidden="true">
          <b><Mark state={one.state} isSaid={false} /> {one.store_id}</b><span class="sub">{reason(one, time) || 'Within its limits'}</span>
        </div>
      )}
    </div>
  );
}

type Colours = Record<FleetState | 'mark', string>;
/** A canvas does not know the page's colours by name; an element that has each tells them. */
function colorsOf(place: HTMLElement): Colours {
  const probe = document.createElement('i');
  place.parentElement!.append(probe);
  const colour = (name: string): string => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  const found = { critical: colour('critical'), warning: colour('warn-cell'), silent: colour('text-2'), fine: colour('cell'), quiet: colour('raised'), mark: colour('bg') };
  probe.remove();
  return found;
}

// --- before the first store

const POST = `NOW=$(date +%s000)
curl -i http://127.0.0.1:8080/v1/batches -H 'Content-Type: application/json' -d '{
  "v": 1, "sent_at_ms": '$NOW',
  "store_id": "my-store", "terminal_id": "till-1",
  "queue": "5f0c6a52-6f3f-4c0e-8f43-2a6b2f1f8f10", "seq": 1,
  "release": "2.4.1", "consent": true,
  "samples": [
    {"m": "sync_duration_ms", "t": '$NOW', "v": 812.4, "connection": "online"}
  ]
}'`;

function Empty() {
  return (
    <div class="empty">
      <Heading>No store has reported yet</Heading>
      <p>The collector is ready. This page shows a store as soon as one of its tills has posted a batch. Paste this into a terminal to post one with a single sample:</p>
      <div class="code"><pre tabIndex={0}>{POST}</pre><Copy text={() => POST}>Copy</Copy></div>
      <p class="sub">If the collector listens on another address than port 8080 of this machine, write that one. If it asks terminals for tokens, add the header <code>Authorization: Bearer …</code>. For a whole fleet of simulated tills there is <code>tillwatch simulate</code>, and <code>tillwatch sdk</code> prints the lines that measure a page of your own.</p>
    </div>
  );
}
