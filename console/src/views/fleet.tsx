// All stores at a glance, and each of them in a row. What changes four times a second is written into the page directly.
import type { Signal } from '@preact/signals';
import type { ComponentChild } from 'preact';
import { computed, effect, signal, useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { ahead, changes, fleet, frame, refusedWith, shape, summedIn, sums, useLive } from '../client';
import { go, isDark, isLost, isNarrow, isPhone, link, now, place, set, useAnswer, useCatalogue, zone } from '../state';
import { ago, clock, count, exact, grouped, plain, plural, span, NONE, type Figure } from '../format';
import { doorsOf, type Doors } from '../address';
import { byColumn, find, worst, type FleetKey } from '../order';
import { COLUMNS, has, heardOf, HINTS, levelOf, passed, reason, restsOn, samplesOf, STATES, unitOf, worstWhy, type Column } from '../measures';
import { SPARK_MINUTES, SPARK_STEPS, STATES as CODES, stepOf, steps, type StoreRow } from '../live';
import { Command, Heading, levelAt, Link, Mark, Notice, Num, Search, useWidth } from '../ui';
import { Explain } from '../links';
import { isWhole, type Change, type Changes, type Fleet, type FleetState, type FleetValues, type Silent, type SilentTerminal } from '../types';
import { sentence, STATES as STATE_OF, useRollout } from './releases';
import type { Settings } from './settings';

const HOUR = 3_600_000;
const ORDER_MS = 700;
/** What is put in order beside other changes is laid out together with them, so the next frame is waited for, for so long. */
const FRAME_MS = 400;
/** Rows before and after those that can be seen. */
const BEYOND = 2;
const watched = (query: string) => {
  const found = matchMedia(query);
  const is = signal(found.matches);
  found.addEventListener('change', () => (is.value = found.matches));
  return is;
};
const isWide = watched('(min-width: 1700px)');
const isTight = watched('(max-width: 1339.98px)');

/** The collector's time; while it does not answer, the time of what it said last. */
const timeOf = (): number => (isLost.value && fleet.t ? fleet.t : now.value + ahead.value);

export function FleetView() {
  useLive('fleet');
  // What the collector says in place of a stream is said by asking it.
  const refused = useAnswer<Fleet>(link.value === 'refused' || (link.value === 'polling' && refusedWith.value >= 400) ? 'api/v1/fleet' : null, 10_000);
  const isKnown = shape.value > 0;
  const columns = useMemo(() => COLUMNS.filter((column) => has(fleet.all, column)), [shape.value, isKnown]);
  const [sumColumns, rowColumns] = useMemo(() => [columns.filter(({ isExtra }) => !isExtra), columns.filter(({ isExtra, isFirstToGo }) => (!isExtra || isWide.value) && !(isFirstToGo && isTight.value))], [columns, isWide.value, isTight.value]);
  const counts = useSignal<Record<string, number>>({});
  // Within the same frame; the hooks of signals would come one later.
  useLayoutEffect(() => effect(() => {
    void frame.value;
    const found: Record<string, number> = {};
    for (let i = 0; i < fleet.ids.length; i += 1) { const state = fleet.stateOf(i); found[state] = (found[state] ?? 0) + 1; }
    if (STATES.some(({ state }) => found[state] !== counts.peek()[state])) counts.value = found;
  }), []);
  if (!isKnown) return <><Heading>Fleet</Heading><Notice of={refused.error ? refused : { data: null, path: '', error: null, isLoading: true }} /></>;
  if (!fleet.ids.length) return <Empty />;
  return (
    <>
      <Head counts={counts} columns={sumColumns} />
      <Notice of={refused} />
      <div class="glance">
        <Mosaic />
        <Chips counts={counts} />
        <Aside />
      </div>
      <StoreTable columns={rowColumns} />
    </>
  );
}

function Head({ counts, columns }: { counts: Signal<Record<string, number>>; columns: Column[] }) {
  const catalogue = useCatalogue();
  const titles = useMemo(() => columns.map((column) => <dt title={HINTS[column.key]}>{column.title}<Explain metric={column.metric} scope="fleet" isSmall /></dt>), [columns]);
  const all = sums.value;
  const began = useRef(all.late ?? null);
  const trouble = (counts.value.critical ?? 0) + (counts.value.silent ?? 0);
  const silent = all.silent_terminals ?? all.silent ?? 0;
  const late = all.late != null && began.current !== null ? all.late - began.current : 0;
  return (
    <>
      <header class="head">
        <div>
          <Heading>{trouble ? <><span class="is-critical">{grouped(trouble)}</span> {trouble === 1 ? 'store is' : 'stores are'} in trouble</> : 'No store is in trouble'}</Heading>
          <p class="sub">{plural(fleet.ids.length, 'store')} · {grouped(all.reporting ?? 0)} of {plural(all.terminals ?? 0, 'till')} heard in 10 min{silent > 0 && ` · ${plural(silent, 'till')} silent`}{fleet.complete_to > 0 && <> · <span title="What was acknowledged before is in these numbers">complete to {clock(fleet.complete_to, zone.value, true)}</span></>}{late > 0 && <> · <span class="is-late">+{plain(count(late))} late while you look</span></>}</p>
        </div>
      </header>
      {columns.length > 1 && <dl class="headline">
        {columns.map((column, i) => {
          const limits = catalogue.get(column.metric)?.thresholds ?? [];
          const n = samplesOf(all, column.key);
          return (
            <div key={column.key}>
              {titles[i]}
              <dd><Num of={column.show(all)} level={levelOfAll(all, column, limits)} title={restsOn(all, column.key)} /></dd>
              <dd class="limit-said">{n !== null && <span title={restsOn(all, column.key)}>of {plain(count(n))}</span>}{limits.length > 0 && <span>limit {exact(limits[0], unitOf(column, column.metric))}</span>}</dd>
            </div>
          );
        })}
      </dl>}
    </>
  );
}

function Chips({ counts }: { counts: Signal<Record<string, number>> }) {
  const state = place.value.params.state ?? '';
  return (
    <div class="chips" role="group" aria-label="Show only">
      {STATES.filter((one) => counts.value[one.state] || one.state === state || one.state === 'critical').map((one) => (
        <button type="button" key={one.state} aria-pressed={state === one.state} onClick={() => set({ state: state === one.state ? '' : one.state }, true)}>
          <Mark state={one.state} isSaid={false} /><b>{grouped(counts.value[one.state] ?? 0)}</b> {one.word}
        </button>
      ))}
    </div>
  );
}

// --- what has happened

const NEWEST = 6;
const MOST_DEAD = 5;
const VERDICTS: Record<string, string> = { pass: 'go on', fail: 'stop', hold: 'hold', not_judged: 'not judged' };
const keyOf = (one: Change): string => `${one.t} ${one.kind === 'store' ? one.store_id + one.to : one.release + one.occasion}`;

const silentTills = computed(() => sums.value.silent_terminals ?? 0);

/** A rollout that is under way, tills that are dead, and what has changed. */
function Aside() {
  const asked = useAnswer<Changes>('api/v1/changes?limit=200');
  const [isAllDead, setIsAllDead] = useState(false);
  const n = silentTills.value;
  const silent = useAnswer<Silent>(`api/v1/terminals/silent?limit=${isAllDead ? 1000 : 100}`, 30_000, n);
  const pushed = changes.value;
  const all = useMemo(() => {
    const known = new Map([...pushed, ...(asked.data?.changes ?? [])].map((one) => [keyOf(one), one]));
    return [...known.values()].sort((one, other) => other.t - one.t);
  }, [pushed, asked.data]);
  // Of a store that is silent itself the table speaks.
  const dead = silent.data?.terminals.filter(({ state, is_store_silent }) => state === 'silent' && !is_store_silent) ?? [];
  const release = all.flatMap((one) => (one.kind === 'release' ? one.release : []))[0];
  return (
    <div class="aside">
      {release && <Rollout release={release} />}
      {(dead.length > 0 || (n > 0 && !silent.data)) && <Dead tills={dead} n={Math.max(n, dead.length)} isAll={isAllDead} onAll={setIsAllDead} />}
      {asked.error && !all.length ? null : <Happened all={all} most={dead.length ? MOST_DEAD : NEWEST} isAsking={asked.isLoading && !asked.data} />}
    </div>
  );
}

function Rollout({ release }: { release: string }) {
  const { data } = useRollout(release);
  const judged = data && data.verdict !== 'not_judged' && isWhole(data.judged) ? data.judged : null;
  // One that has arrived everywhere is over.
  if (!judged || (judged.step_percent >= 100 && judged.verdict === 'pass')) return null;
  return (
    <p class="rolled"><Mark state={STATE_OF[judged.verdict]} isSaid={false} /><span><Link to="releases" params={{ release }}>{sentence(judged)}</Link> <span class="sub">step of {judged.step_percent} %{judged.next_look && judged.next_look > now.value ? `, next look in ${span(judged.next_look - now.value)}` : ''}</span></span></p>
  );
}

const All = ({ isAll, n, less, what = '', onAll }: { isAll: boolean; n: number; less: string; what?: string; onAll: (isAll: boolean) => void }) =>
  <button type="button" class="more" aria-expanded={isAll} onClick={() => onAll(!isAll)}>{isAll ? less : `all ${grouped(n)}${what}`}</button>;

function Dead({ tills, n, isAll, onAll }: { tills: SilentTerminal[]; n: number; isAll: boolean; onAll: (isAll: boolean) => void }) {
  const time = timeOf();
  return (
    <section class={'happened' + (isAll ? ' is-all' : '')} aria-labelledby="dead">
      <header><h2 id="dead">Silent tills<Explain metric="terminals_silent" isSmall /></h2>{n > MOST_DEAD && <All isAll={isAll} n={n} less="only the first" onAll={onAll} />}</header>
      <ul {...(isAll && { tabIndex: 0, 'aria-label': 'Silent tills' })}>{(isAll ? tills : tills.slice(0, MOST_DEAD)).map(({ store_id, terminal_id, since, missed_ms, pending_transactions, last_said }) => {
        const words = pending_transactions ? `${grouped(pending_transactions)} waiting` : since === null ? 'never heard of' : last_said ? `said “${last_said.kind}”` : `missed ${span(missed_ms)}`;
        return (
          <li key={store_id + '\n' + terminal_id}>
            <time title="How long ago it was heard">{since === null ? '–' : plain(ago(Math.max(0, time - since)))}</time><Mark state="silent" />
            <p title={`${store_id} ${terminal_id}, ${pending_transactions ? plural(pending_transactions, 'transaction') + ' waiting in it' : words}`}><Link to="terminal" params={{ store_id, terminal_id }}>{store_id} {terminal_id}</Link> {words}</p>
          </li>
        );
      })}</ul>
    </section>
  );
}

function Happened({ all, most, isAsking }: { all: Change[]; most: number; isAsking: boolean }) {
  const [isAll, setIsAll] = useState(false);
  const time = timeOf();
  const ofHour = all.filter(({ t }) => time - t < HOUR);
  const shown = isAll ? ofHour : ofHour.slice(0, most);
  return (
    <section class={'happened' + (isAll ? ' is-all' : '')} aria-labelledby="happened">
      <header><h2 id="happened">Changes</h2>{ofHour.length > most && <All isAll={isAll} n={ofHour.length} what=" of the last hour" less="only the newest" onAll={setIsAll} />}</header>
      {shown.length ? (
        <ul {...(isAll && { tabIndex: 0, 'aria-label': 'Changes of the last hour' })}>{shown.map((one) => (
          <li key={keyOf(one)}>
            <time dateTime={new Date(one.t).toISOString()} title={`${span(Math.max(0, time - one.t))} ago`}>{clock(one.t, zone.value)}</time>
            {one.kind === 'store' ? <><Mark state={one.to} /><p title={`${one.store_id} ${wordsOf(one)}`}><Link to="store" params={{ store_id: one.store_id }}>{one.store_id}</Link> {wordsOf(one)}</p></>
              : <><svg class="mark is-step" viewBox="0 0 12 12" width="12" height="12" role="img" aria-label="release"><path d="M6 1v6M3 4.500 6 7.500 9 4.500M1.500 10.500h9" /></svg><p><Link to="releases" params={{ release: one.release }}>{one.release}</Link> {VERDICTS[one.verdict] ?? one.verdict}{one.step_percent != null && ` at ${one.step_percent} %`}</p></>}
          </li>
        ))}</ul>
      ) : <p class="nothing">{isAsking ? '' : 'No store became critical or silent in the last hour, and none came back.'}</p>}
    </section>
  );
}

function wordsOf(one: Change & { kind: 'store' }): string {
  if (one.to === 'silent') return 'is silent';
  if (one.to !== 'critical') return one.from === 'silent' ? 'is heard again' : 'is no longer critical';
  const [first] = worstWhy(one.why);
  if (!first) return 'is critical';
  const { what, limit } = passed(first);
  return `${what.charAt(0).toLowerCase()}${what.slice(1)}${limit && ', ' + limit}`.replace(/^lCP|^iNP/, (name) => name.toUpperCase());
}

// --- the table: only rows that can be seen are in the page

function StoreTable({ columns }: { columns: Column[] }) {
  const { params } = place.value;
  const [state, text] = [params.state ?? '', params.find ?? ''];
  const key = params.sort as FleetKey | undefined;
  const isDown = params.way !== 'up';
  const isSmall = isNarrow.value;
  const height = isSmall ? 64 : 34;
  const body = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState<[number, number]>([0, 30]);
  const [focused, setFocused] = useState<string | null>(null);
  const [turn, setTurn] = useState(0);
  const isHeld = useRef(false);
  const order = useRef<{ for: string; rows: StoreRow[] }>({ for: '', rows: [] });

  // While somebody points at a row or has walked to it, rows do not move away from under them; their numbers go on.
  const sorted = useMemo(() => {
    const subject = `${key} ${isDown} ${text} ${state}`;
    const kept = find(fleet.rows, text).filter((row) => !state || row.state === state);
    let rows: StoreRow[];
    if (isHeld.current && order.current.for === subject) {
      const held = order.current.rows.flatMap(({ store_id }) => fleet.row(store_id) ?? []);
      const isIn = new Set(held);
      rows = [...held, ...kept.filter((row) => !isIn.has(row))];
    } else rows = key ? kept.sort(byColumn(key, isDown)) : worst(kept);
    const before = order.current.rows;
    if (rows.length === before.length && rows.every((row, i) => row === before[i])) rows = before;
    order.current = { for: subject, rows };
    return rows;
  }, [shape.value, turn, key, isDown, text, state]);
  const hold = (is: boolean): void => { isHeld.current = is; if (!is) setTurn((before) => before + 1); };
  // Together with what else changes in the frame, so that the page is laid out once.
  useLayoutEffect(() => {
    let [last, timer] = [0, 0];
    const renew = (): void => {
      if (isHeld.current) return;
      last = performance.now();
      setTurn((before) => before + 1);
    };
    const stop = effect(() => {
      void frame.value;
      clearTimeout(timer);
      // What comes too soon is put in order later, even if nothing changes after it.
      const wait = last + ORDER_MS - performance.now();
      if (wait > 0 || (summedIn === frame.value && wait > -FRAME_MS)) timer = setTimeout(renew, Math.max(wait, FRAME_MS));
      else renew();
    });
    return () => { stop(); clearTimeout(timer); };
  }, []);

  useEffect(() => {
    const look = (): void => {
      if (!body.current) return;
      const { top } = body.current.getBoundingClientRect();
      const first = Math.max(0, Math.floor(-top / height) - BEYOND);
      const last = Math.ceil((innerHeight - top) / height) + BEYOND;
      setSeen((before) => (before[0] === first && before[1] === last ? before : [first, last]));
    };
    look();
    const watch = new ResizeObserver(look);
    watch.observe(document.body);
    addEventListener('scroll', look, { passive: true });
    addEventListener('resize', look);
    return () => { watch.disconnect(); removeEventListener('scroll', look); removeEventListener('resize', look); };
  }, [height]);

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

  const rows: [number, StoreRow][] = [];
  for (let i = seen[0]; i < Math.min(seen[1], sorted.length); i += 1) rows.push([i, sorted[i]]);
  // The row that has the focus stays, or the keyboard would lose its place.
  const at = focused === null ? -1 : sorted.findIndex(({ store_id }) => store_id === focused);
  if (at >= 0 && at < seen[0]) rows.unshift([at, sorted[at]]);
  if (at >= 0 && at >= seen[1]) rows.push([at, sorted[at]]);
  // A place in the table shows whatever store comes to stand there; if that is the one it showed, it is not even looked at.
  const made = useRef(new Map<number, { of: unknown[]; place: ComponentChild }>());
  const kept: typeof made.current = new Map();
  for (const [i, row] of rows) {
    const of = [row, height, columns];
    const before = made.current.get(i);
    kept.set(i, before?.of.every((one, n) => one === of[n]) ? before : { of, place: <Row key={i} row={row} columns={columns} index={i} top={i * height} isSmall={isSmall} /> });
  }
  made.current = kept;
  // What may be cut is said once somebody points at it.
  const explain = (event: Event): void => {
    const on = event.target as HTMLElement;
    if (on.classList.contains('why')) on.title = on.textContent!;
  };

  return (
    <section>
      <header class="bar">
        <h2 id="stores">{key ? 'Stores' : 'Worst first'}{(text || state) && <small> {grouped(sorted.length)} of {grouped(fleet.ids.length)}</small>}</h2>
        <Search value={text} onInput={(value) => set({ find: value }, true)} hint="Find a store or release" />
      </header>
      <Inks />
      <div class="fleet" role="table" aria-labelledby="stores" aria-rowcount={sorted.length + 2} style={{ '--columns': columns.length + 2 }}
        onPointerEnter={() => (isHeld.current = true)} onPointerLeave={() => hold(focused !== null)} onPointerOver={explain}
        onFocusIn={(event) => { isHeld.current = true; setFocused((event.target as HTMLElement).dataset.row ?? null); }} onFocusOut={() => { hold(false); setFocused(null); }}>
        <div role="row" class="row is-head" aria-rowindex={1}>
          {header('store_id', 'Store')}
          <div role="columnheader" class="why">Why</div>
          <div role="columnheader" class="spark" title="Sync p95 of each minute of the last hour, on one logarithmic scale for all stores"><span class="hidden">Sync p95 of the last hour</span></div>
          {columns.map(({ key, title }) => header(key, title, 'right'))}
          {header('reporting', 'Tills', 'right')}
          {header('last_report', 'Heard', 'right')}
        </div>
        {has(fleet.all, columns[0]) && <AllRow columns={columns} />}
        <div ref={body} role="rowgroup" class="rows" style={{ height: sorted.length * height + 'px' }}>
          {[...kept.values()].map(({ place }) => place)}
        </div>
        {!sorted.length && <p class="nothing">No store is like this. <button type="button" class="more" onClick={() => set({ state: '', find: '' }, true)}>Show all</button></p>}
      </div>
    </section>
  );
}

/** The fleet is no store that the collector judges; its numbers stand beside the limits of the catalogue. */
const levelOfAll = (all: FleetValues, column: Column, limits?: number[]): string | undefined => ((samplesOf(all, column.key) ?? 20) < 20 ? undefined : levelAt(all[column.key], limits));

/** What a number rests on, for whoever points at it and for whoever hears it. */
function rests(values: FleetValues, column: Column): { title: string; 'aria-label': string } {
  const title = restsOn(values, column.key);
  return { title, 'aria-label': `${plain(column.show(values))}, ${title}` };
}

function AllRow({ columns }: { columns: Column[] }) {
  const catalogue = useCatalogue();
  const all = sums.value;
  return (
    <div role="row" class="row is-all" aria-rowindex={2}>
      <div role="cell" class="name">All stores</div>
      <div role="cell" class="why">All samples, last 5 min</div>
      <div role="cell" class="spark"><Spark of={fleet.spark} /></div>
      {columns.map((column, i) => <div role="cell" key={column.key} class={'right' + (i ? ' is-wide' : '')} {...rests(all, column)}><Num of={column.show(all)} level={levelOfAll(all, column, catalogue.get(column.metric)?.thresholds)} /></div>)}
      <div role="cell" class="right is-wide">{grouped(all.reporting ?? 0)}</div>
      <div role="cell" class="right is-wide"><Num of={all.last_report ? ago(Math.max(0, timeOf() - all.last_report)) : NONE} level="quiet" /></div>
    </div>
  );
}

/** One number of a row, written only where it differs. */
interface Cell { box: HTMLElement; num: HTMLElement; text: Text; unit: Text; said: string; rests: string }
const worstOf = (row: StoreRow, columns: Column[]): Column => columns.find((column) => levelOf(row, column) === 'critical') ?? columns.find((column) => levelOf(row, column)) ?? columns[0];

function Row({ row, columns, index, top, isSmall }: { row: StoreRow; columns: Column[]; index: number; top: number; isSmall: boolean }) {
  const box = useRef<HTMLDivElement>(null);
  const [, redraw] = useState(0);
  const paint = useRef<(isOther?: boolean) => void>(() => {});
  const shown = useRef({ row, state: row.state });
  shown.current = { row, state: row.state };
  useLayoutEffect(() => {
    const cells = [...box.current!.querySelectorAll<HTMLElement>('.num')].map((num): Cell => {
      const [text, small, unit] = [new Text(), document.createElement('small'), new Text()];
      small.append(unit);
      num.replaceChildren(text, small);
      return { box: num.parentElement!, num, text, unit, said: '', rests: '' };
    });
    const why = box.current!.querySelector<HTMLElement>('.why')!;
    const line = box.current!.querySelector('path.spark-line')!;
    let [reasonSaid, sparkDrawn] = ['', ''];
    const put = (cell: Cell, { text, unit }: Figure, level: string, isHidden: boolean): void => {
      const said = text + unit + level + isHidden;
      if (cell.said === said) return;
      cell.said = said;
      if (cell.text.data !== text) cell.text.data = text;
      const small = unit && '\u202f' + unit;
      if (cell.unit.data !== small) cell.unit.data = small;
      const kind = 'num' + (level && ' is-' + level) + (text === '–' ? ' is-none' : '');
      if (cell.num.className !== kind) cell.num.className = kind;
      const place = 'right' + (isHidden ? ' is-wide' : '');
      if (cell.box.className !== place) cell.box.className = place;
    };
    let [stamp, second, labelled, labelledAt, turn] = [-1, -1, -1, 0, index];
    paint.current = (isOther) => {
      const time = timeOf();
      const { row, state } = shown.current;
      if (isOther) stamp = labelled = -1;
      const isSame = row.stamp === stamp;
      const isSameSecond = Math.floor(time / 1000) === second;
      // What a number rests on is for whoever points at it or hears it: that may be a second old, and rows take turns.
      turn += 1;
      if (row.stamp !== labelled && (labelled < 0 || time - labelledAt >= 1_000 || turn % 4 === 0)) {
        [labelled, labelledAt] = [row.stamp, time];
        columns.forEach((column, i) => {
          const said = rests(row, column);
          if (cells[i].rests === said['aria-label']) return;
          cells[i].rests = said['aria-label'];
          for (const name in said) cells[i].box.setAttribute(name, said[name as 'title']);
        });
      }
      if (isSame && isSameSecond) return;
      [stamp, second] = [row.stamp, Math.floor(time / 1000)];
      const isSilent = row.state === 'silent';
      if (!isSame || isSilent) {
        const words = reason(row, time);
        if (words !== reasonSaid) why.textContent = reasonSaid = words;
      }
      const { last_report } = row;
      put(cells[columns.length + 1], last_report ? ago(Math.max(0, time - last_report)) : NONE, isSilent ? 'critical' : 'quiet', !isSilent);
      if (isSame) return;
      const chief = isSmall && !isSilent ? worstOf(row, columns) : null;
      columns.forEach((column, i) => {
        put(cells[i], column.show(row), levelOf(row, column) ?? '', column !== chief);
      });
      const heard = heardOf(row);
      put(cells[columns.length], { text: heard, unit: '' }, row.silent && !isSilent ? 'warning' : heard.includes('/') ? 'quiet' : '', true);
      const { spark } = row;
      if (spark !== sparkDrawn) { sparkDrawn = spark; trace(line.parentElement!, spark, row); }
      if (row.state !== state) redraw((before) => before + 1);
    };
  }, [columns, isSmall]);
  // What is written directly is the same whichever store the row shows.
  const written = useMemo(() => <>
    <div role="cell" class="why" />
    <div role="cell" class="spark"><SparkFrame /></div>
    {columns.map(({ key }) => <div role="cell" key={key} class="right"><span class="num" /></div>)}
    <div role="cell" class="right is-wide"><span class="num" /></div>
    <div role="cell" class="right is-wide"><span class="num" /></div>
  </>, [columns]);
  useLayoutEffect(() => paint.current(true), [row, columns, isSmall]);
  useLayoutEffect(() => effect(() => { void frame.value; void now.value; paint.current(); }), []);
  return (
    <div ref={box} role="row" class="row" aria-rowindex={index + 3} style={{ top: top + 'px' }}>
      <div role="cell" class="name"><Mark state={row.state} /><Link to="store" params={{ store_id: row.store_id }} data-row={row.store_id} title={row.store_id}>{row.store_id}</Link></div>
      {written}
    </div>
  );
}

// --- an hour of sync p95: one scale and one ink for all rows

const [SPARK_WIDTH, SPARK_HEIGHT] = [106, 20];
const sparkY = (step: number): number => SPARK_HEIGHT - 2 - (step / SPARK_STEPS) * (SPARK_HEIGHT - 4);

/** A small store synchronises every few minutes, and a till's backlog comes in pieces of five: that is one line. */
const APART_MINUTES = 5;
interface Line { spark: string; d: string; end: [number, number] | null }
/** The line of a store goes along with it, whichever row shows it. */
const lines = new WeakMap<object, Line>();

function lineOf(spark: string): Line {
  const pitch = (SPARK_WIDTH - 6) / (SPARK_MINUTES - 1);
  let d = '';
  let last = -Infinity;
  let end: [number, number] | null = null;
  steps(spark).forEach((step, i) => {
    if (step === null) return;
    end = [2 + i * pitch, sparkY(step)];
    const place = `${end[0].toFixed(1)} ${end[1].toFixed(1)}`;
    // What stands alone is a dot.
    d += i - last <= APART_MINUTES ? 'L' + place : 'M' + place + 'h.1';
    last = i;
  });
  return { spark, d, end };
}

function trace(svg: Element, spark: string, of: object): void {
  let line = lines.get(of);
  if (line?.spark !== spark) lines.set(of, line = lineOf(spark));
  const { d, end } = line;
  svg.querySelector('.spark-line')!.setAttribute('d', d);
  const dot = svg.querySelector('.spark-end')!;
  if (end) { dot.setAttribute('cx', String(end[0])); dot.setAttribute('cy', String(end[1])); }
  dot.setAttribute('r', end ? '1.7' : '0');
}
const SparkFrame = () => (
  <svg viewBox={`0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`} width={SPARK_WIDTH} height={SPARK_HEIGHT} aria-hidden="true"><use href="#spark-limit" /><path class="spark-line" stroke="url(#spark-ink)" /><circle class="spark-end" fill="url(#spark-ink)" r="0" /></svg>
);
function Spark({ of }: { of: string }) {
  const box = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => trace(box.current!.firstElementChild!, of, box), [of]);
  return <span ref={box}><SparkFrame /></span>;
}
/** The ink changes at the limits, which lie at the same height in all rows. */
function Inks() {
  const [low, high] = useCatalogue().get('sync_duration_ms')?.thresholds ?? [];
  const at = (limit: number | undefined): number => (limit === undefined ? 1 : 1 - sparkY(stepOf(limit)) / SPARK_HEIGHT);
  return (
    <svg class="inks" width="0" height="0" aria-hidden="true">
      <linearGradient id="spark-ink" gradientUnits="userSpaceOnUse" x1="0" y1={SPARK_HEIGHT} x2="0" y2="0">
        <stop offset="0" class="stop-ink" /><stop offset={at(low)} class="stop-ink" /><stop offset={at(low)} class="stop-warn" /><stop offset={at(high)} class="stop-warn" /><stop offset={at(high)} class="stop-critical" /><stop offset="1" class="stop-critical" />
      </linearGradient>
      <path id="spark-limit" d={low === undefined ? '' : `M2 ${sparkY(stepOf(low))}H${SPARK_WIDTH - 4}`} />
    </svg>
  );
}

// --- the mosaic: a square a store, by name, so that a store keeps its place

const PITCHES = [26, 22, 18, 15, 12, 10, 8, 7, 6, 5, 4];
const ASIDE = 8;

function Mosaic() {
  const [box, width] = useWidth<HTMLDivElement>(700);
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawn = useRef<{ layout: string; cells: Int8Array; colours: Colours | null }>({ layout: '', cells: new Int8Array(0), colours: null });
  const [pointed, setPointed] = useState<number | null>(null);
  const state = place.value.params.state ?? '';
  const n = shape.value ? fleet.ids.length : 0;
  const tallest = isPhone.value ? 150 : Math.max(172, innerHeight / 7);
  const pitch = PITCHES.find((one) => Math.ceil(n / Math.floor(width / one)) * one <= tallest) ?? 4;
  const columns = Math.max(1, Math.floor(width / pitch));
  const height = Math.ceil(n / columns) * pitch;

  const draw = (): void => {
    const place = canvas.current;
    const pen = place?.getContext('2d');
    if (!place || !pen) return;
    const ratio = devicePixelRatio || 1;
    const layout = `${width} ${height} ${pitch} ${ratio} ${isDark.value} ${n}`;
    if (drawn.current.layout !== layout) {
      drawn.current = { layout, cells: new Int8Array(n).fill(-1), colours: colorsOf(place) };
      place.width = Math.round(width * ratio);
      place.height = Math.round(height * ratio);
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const size = pitch - (pitch > 12 ? 4 : pitch > 6 ? 2 : 1);
    const { cells } = drawn.current;
    const colours = drawn.current.colours!;
    // Only squares that changed are drawn.
    for (let i = 0; i < n; i += 1) {
      const is = fleet.stateOf(i);
      const isKept = !state || is === state;
      const cell = CODES.indexOf(is) + (isKept ? 0 : ASIDE);
      if (cells[i] === cell) continue;
      cells[i] = cell;
      const [x, y] = [(i % columns) * pitch, Math.floor(i / columns) * pitch];
      pen.clearRect(x, y, pitch, pitch);
      pen.globalAlpha = isKept ? 1 : 0.18;
      pen.beginPath();
      if (is === 'silent') {
        pen.strokeStyle = colours.silent;
        pen.lineWidth = size > 8 ? 1.6 : 1;
        pen.roundRect(x + 0.5, y + 0.5, size - 1, size - 1, size > 8 ? 3 : 0.5);
        pen.stroke();
        if (size > 8) { pen.beginPath(); pen.moveTo(x + 3, y + size - 3); pen.lineTo(x + size - 3, y + 3); pen.stroke(); }
      } else {
        pen.fillStyle = colours[is];
        pen.roundRect(x, y, size, size, size > 8 ? 3 : 0.5);
        pen.fill();
        if (is === 'critical' && size > 12) {
          pen.fillStyle = colours.mark;
          pen.beginPath();
          pen.moveTo(x + size / 2, y + size * 0.3); pen.lineTo(x + size * 0.72, y + size * 0.7); pen.lineTo(x + size * 0.28, y + size * 0.7);
          pen.fill();
        }
      }
      pen.globalAlpha = 1;
    }
  };
  const latest = useRef(draw);
  latest.current = draw;
  useLayoutEffect(draw, [width, height, pitch, n, state, isDark.value]);
  useLayoutEffect(() => effect(() => { void frame.value; latest.current(); }), []);

  const under = (event: PointerEvent | MouseEvent): number | null => {
    const { left, top } = canvas.current!.getBoundingClientRect();
    const i = Math.floor((event.clientY - top) / pitch) * columns + Math.floor((event.clientX - left) / pitch);
    return event.clientX - left < columns * pitch && fleet.rows[i] ? i : null;
  };
  const [x, y] = pointed === null ? [0, 0] : [(pointed % columns) * pitch, Math.floor(pointed / columns) * pitch];
  return (
    <div ref={box} class="mosaic" style={{ height: height + 'px' }}>
      <canvas ref={canvas} aria-hidden="true" style={{ width: width + 'px', height: height + 'px' }} class={pointed === null ? '' : 'is-pointing'}
        onPointerMove={(event) => setPointed(under(event))} onPointerLeave={() => setPointed(null)}
        onClick={(event) => { const i = under(event); if (i !== null) go('store', { store_id: fleet.ids[i] }); }} />
      {pointed !== null && fleet.rows[pointed] && <Pointed row={fleet.rows[pointed]} isLeft={x > width / 2} left={x + pitch / 2} top={y + pitch + 2} />}
    </div>
  );
}

function Pointed({ row, isLeft, left, top }: { row: StoreRow; isLeft: boolean; left: number; top: number }) {
  void frame.value;
  return (
    <div class={'tip' + (isLeft ? ' is-left' : '')} style={{ left: left + 'px', top: top + 'px' }} aria-hidden="true">
      <b><Mark state={row.state} isSaid={false} /> {row.store_id}</b><span class="sub">{reason(row, timeOf()) || 'Within its limits'}</span>
    </div>
  );
}

type Colours = Record<FleetState | 'mark', string>;
/** A canvas does not know the page's colours by name; an element that has each tells them. */
function colorsOf(place: HTMLElement): Colours {
  const probe = document.createElement('i');
  probe.style.setProperty('forced-color-adjust', 'none');
  place.parentElement!.append(probe);
  const colour = (name: string): string => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  const found = { critical: colour('critical'), warning: colour('warn-cell'), silent: colour('text-2'), fine: colour('cell'), quiet: colour('raised'), mark: colour('bg') };
  probe.remove();
  return found;
}

// --- before the first store

const post = ({ url, hasToken }: Doors): string => `NOW=$(date +%s000)
curl -i ${url}/v1/batches -H 'Content-Type: application/json'${hasToken ? " -H 'Authorization: Bearer TOKEN'" : ''} -d '{
  "v": 1, "sent_at_ms": '$NOW',
  "store_id": "my-store", "terminal_id": "till-1",
  "queue": "5f0c6a52-6f3f-4c0e-8f43-2a6b2f1f8f10", "seq": 1,
  "release": "2.4.1", "consent": true,
  "samples": [
    {"m": "sync_duration_ms", "t": '$NOW', "v": 812.4, "connection": "online"}
  ]
}'`;

function Empty() {
  const { data, isLoading } = useAnswer<Settings>('api/v1/settings');
  const doors = doorsOf(data?.settings ?? [], location.hostname);
  return (
    <div class="empty">
      <Heading>No store has reported yet</Heading>
      <p>The collector is ready. This page shows a store as soon as one of its tills has posted a batch. Paste this into a terminal to post one with a single sample:</p>
      {!isLoading && <Command text={post(doors)} />}
      <p class="sub">{!doors.isKnown && 'The settings do not say at which port the collector listens; it said so as it started. '}{doors.hasToken && <>This collector asks tills for tokens: <code>tillwatch token</code> makes one, which stands in place of <code>TOKEN</code>. </>}For a whole fleet of simulated tills there is <code>tillwatch simulate</code>, and <code>tillwatch sdk</code> prints the lines that measure a page of your own.</p>
    </div>
  );
}
