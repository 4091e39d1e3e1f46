// One store: why it stands where it stands, six measures over time, its tills, and what came late.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { ahead, details, fleet, shape, useLive } from '../client';
import { go, isDatabaseAway, isLost, link, now, place, reading, Refusal, set, useAnswer, useCatalogue } from '../state';
import { range, search, stepFor, milliseconds } from '../address';
import { ago, count, exact, figure, grouped, plain, plural, quantile, rate, span, NONE } from '../format';
import { Watched } from '../late';
import { beats, gaps } from '../live';
import { passed, restsOn, samplesOf, columnOf, worstWhy } from '../measures';
import { worst } from '../order';
import { Chart, type Line } from '../chart';
import { Heading, Link, Mark, Notice, Num, Scroll, Segments, Time, Field, Heads, Cell, levelAt } from '../ui';
import { Explain } from '../links';
import type { Detail, FleetStore, LiveTerminal, Percentiles, Silent, Terminal, Terminals } from '../types';

const CHARTS: { metric: string; title: string; q: string }[] = [
  { metric: 'sync_duration_ms', title: 'Synchronisation', q: '0.95' },
  { metric: 'offline_login_duration_ms', title: 'Offline login', q: '0.95' },
  { metric: 'network_latency_ms', title: 'Network latency', q: '0.75' },
  { metric: 'lcp_ms', title: 'Largest paint (LCP)', q: '0.75' },
  { metric: 'inp_ms', title: 'Interaction (INP)', q: '0.75' },
  { metric: 'cls_score', title: 'Layout shift (CLS)', q: '0.75' },
];
const RANGES = ['1h', '6h', '24h', '7d'];

export function StoreView() {
  const { params } = place.value;
  const id = params.store_id ?? '';
  if (!id) return <><Heading>Store</Heading><p>Choose a store on the <Link to="fleet">Fleet</Link> view, or name one:</p><div class="fields"><Field label="Store" value="" hint="store-001" onTake={(store_id) => set({ store_id })} /></div></>;
  return <One key={id} id={id} />;
}

// --- to the next one, the worst first: in the order that was when somebody began to walk

const WALK_MS = 60_000;
let walk: { ids: string[]; t: number } = { ids: [], t: 0 };
/** From the store of the address: whoever is quick presses again before it is drawn. */
function beside(way: number): void {
  const { view, params } = place.value;
  const id = params.store_id ?? '';
  if (view !== 'store' || !id) return;
  if (Date.now() - walk.t > WALK_MS || !walk.ids.includes(id)) walk.ids = worst(fleet.rows).map(({ store_id }) => store_id);
  walk.t = Date.now();
  const next = walk.ids[walk.ids.indexOf(id) + way];
  if (next !== undefined) go('store', { ...params, store_id: next });
}

const UNPUSHED_MS = 2_000;
/** What is pushed of a store. While another page has its own store pushed, or nothing is pushed at all, it is asked for. */
export function useDetail(id: string): Detail | null | undefined {
  useLive('store:' + id);
  const held = details.value;
  const isPushed = held?.topic === 'store:' + id && link.value !== 'polling';
  const [isAsked, setIsAsked] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setIsAsked(!isPushed), isPushed ? 0 : UNPUSHED_MS);
    return () => clearTimeout(timer);
  }, [isPushed]);
  const asked = useAnswer<Detail>(isAsked && !isPushed ? `api/v1/stores/${encodeURIComponent(id)}/now` : null, 5_000);
  return isPushed ? held.store : asked.data ?? undefined;
}

const RENEW_MS = 15_000;
const LATE_MS = 5_000;
/** Grows when what the charts show may have changed: soon if late data came, else now and then. */
function useRenewals(detail: Detail | null | undefined): number {
  const [turn, setTurn] = useState(0);
  const asked = useRef({ t: Date.now(), late: -1 });
  const late = detail ? Object.values(detail.late).reduce((sum, n) => sum + n, 0) : -1;
  useEffect(() => {
    if (!detail) return;
    const age = Date.now() - asked.current.t;
    if (asked.current.late < 0) asked.current.late = late;
    if (age < (late > asked.current.late ? LATE_MS : RENEW_MS)) return;
    asked.current = { t: Date.now(), late };
    setTurn((before) => before + 1);
  }, [detail]);
  return turn;
}

function One({ id }: { id: string }) {
  const { params } = place.value;
  useLive('fleet');
  const detail = useDetail(id);
  const turn = useRenewals(detail);
  // Charts are of whole minutes, so they are asked for anew when one is over.
  const minute = Math.floor(now.value / 60_000);
  const { from, to, name } = useMemo(() => range(params, minute * 60_000), [params, minute]);
  const every = detail && !isDatabaseAway.value ? 60_000 : 15_000;
  const terminals = useAnswer<Terminals>('api/v1/terminals?' + search({ store_id: id, hours: 24, limit: 1000 }), every);
  const silent = useAnswer<Silent>(terminals.data || detail ? 'api/v1/terminals/silent?' + search({ store_id: id }) : null, every);
  useEffect(() => {
    const key = (event: KeyboardEvent): void => {
      if (event.metaKey || event.ctrlKey || event.altKey || (event.target as HTMLElement).matches('input, select, textarea')) return;
      if (event.key === '[' || event.key === ']') { event.preventDefault(); beside(event.key === ']' ? 1 : -1); }
    };
    addEventListener('keydown', key);
    return () => removeEventListener('keydown', key);
  }, []);
  void shape.value;
  const time = now.value + ahead.value;
  // What is pushed four times a second does not draw the charts anew.
  const charts = useMemo(() => <div class="charts">{CHARTS.map((one) => <Measure key={one.metric} {...one} store_id={id} from={from} to={to} turn={turn} />)}</div>, [id, from, to, turn]);
  const data = terminals.data;
  const row = detail?.row ?? fleet.row(id);
  const tills: (Terminal | LiveTerminal)[] = detail?.terminals ?? data?.terminals ?? [];
  const heard = tills.filter((one) => one.is_reporting).length;
  const last = row?.last_report ?? Math.max(0, ...tills.map((one) => one.last_seen_ms ?? 0));
  const releases = [...new Set(tills.flatMap(({ release }) => release ?? []))];
  const state = row?.state ?? (tills.length > 0 && heard === 0 ? 'silent' : '');
  const isUnknown = terminals.error instanceof Refusal && terminals.error.status < 500;
  return (
    <>
      <p class="crumbs"><Link to="fleet">Fleet</Link> / store</p>
      <header class="head">
        <div>
          <Heading>{state && state !== 'fine' && <><Mark state={state} /> </>}{id}</Heading>
          <p class="sub">{tills.length > 0 ? <>{grouped(heard)} of {plural(data?.terminals_total ?? tills.length, 'till')} heard{releases.length > 0 && ` · ${releases.length === 1 ? 'release ' + releases[0] : plural(releases.length, 'release')}`}{last > 0 && ` · last batch ${plain(ago(Math.max(0, time - last)))}${time - last < 1500 ? '' : ' ago'}`}</> : ' '}</p>
        </div>
        <div class="beside">
          {fleet.rows.length > 1 && <><button type="button" title="The store before it, the worst first ([)" aria-label="Store before it, the worst first" onClick={() => beside(-1)}>‹</button><button type="button" title="The next store, the worst first (])" aria-label="Next store, the worst first" onClick={() => beside(1)}>›</button></>}
          <Segments label="Range" options={RANGES.map((value) => ({ value, text: value }))} chosen={[name]} onChoose={(value) => set({ range: value === '1h' ? '' : value, from: '', to: '' })} />
        </div>
      </header>
      {row && <Reasons row={row} time={time} />}
      <Notice of={terminals} />
      {(data || detail || (terminals.error && !isUnknown)) && <>
        {(data || !isDatabaseAway.value) && charts}
        <div class="below">
          <Tills id={id} terminals={data?.terminals ?? []} detail={detail ?? null} silent={silent.data} time={time} />
          {detail && <Late detail={detail} />}
        </div>
      </>}
    </>
  );
}

function Reasons({ row, time }: { row: FleetStore; time: number }) {
  const isSilent = row.state === 'silent';
  if (!isSilent && !row.why.length) return null;
  return (
    <ul class="reasons" aria-label="Limits that are passed">
      {isSilent && <li class="is-critical"><Mark state="silent" />{row.last_report ? `Silent for ${span(Math.max(0, time - row.last_report))}` : 'Never heard of'}<Explain metric="silent" store_id={row.store_id} isSmall /></li>}
      {worstWhy(row.why).map((one) => {
        const { what, limit } = passed(one);
        const column = columnOf(one.metric);
        const n = column ? samplesOf(row, column.key) : null;
        return <li key={one.metric} class={'is-' + one.level} title={column && restsOn(row, column.key)}><Mark state={one.level} />{what} <small>{limit}{n !== null && ` · of ${plain(count(n))}`}</small><Explain metric={one.metric} store_id={row.store_id} isSmall /></li>;
      })}
      {!isSilent && <li class="sub">last 5 min</li>}
    </ul>
  );
}

function Measure({ metric, title, q, store_id, from, to, turn }: { metric: string; title: string; q: string; store_id: string; from: number; to: number; turn: number }) {
  const step = stepFor(to - from, 90);
  const length = milliseconds(step)!;
  const start = Math.floor(from / length) * length;
  const answer = useAnswer<Percentiles>('api/v1/percentiles?' + search({ metric, store_id, from: start, to, step, q: `0.5,${q}` }), 0, turn);
  const known = useCatalogue().get(metric);
  const limits = known?.thresholds ?? [];
  const unit = answer.data?.unit ?? known?.unit ?? 'ms';
  const points = answer.data?.series[0]?.points ?? [];
  // The answer stays until the one to the next question comes, and may be of other steps than asked for now.
  const watched = useMemo(() => new Watched(), [metric, store_id, answer.data?.step_s]);
  const late = useMemo(() => {
    const { data } = answer;
    return data?.step_s ? watched.take(points.map(({ t, count }) => [t, count]), data.from, data.step_s * 1000, data.complete_to) : undefined;
  }, [answer.data, watched]);
  const lines: Line[] = [
    { key: 'high', label: quantile(q), look: 'ink', points: points.map(({ t, values }) => [t, values[q]]) },
    { key: 'half', label: 'p50', look: 'thin', points: points.map(({ t, values }) => [t, values['0.5']]) },
  ];
  const read = reading.value;
  const point = (read === null ? undefined : points.find(({ t }) => Math.abs(t - read) <= length / 2)) ?? points[points.length - 1];
  const value = point?.values[q];
  const level = levelAt(value, limits);
  return (
    <section class="measure">
      <header><h2>{title}</h2>{limits.length > 0 && <small>limit {exact(limits[0], unit)}</small>}<Explain metric={metric} store_id={store_id} isSmall />
        <span class="values">{point && <><small>{quantile(q)}</small> <Num of={figure(value, unit)} level={level} title={`of ${plural(point.count, 'sample')}${late?.get(point.t) ? `, ${grouped(late.get(point.t)!)} of them late` : ''}`} /> <small>p50</small> <Num of={figure(point.values['0.5'], unit)} /></>}</span>
      </header>
      {answer.error ? <Notice of={answer} /> : <Chart name={`${title} of ${store_id}`} lines={lines} from={start} to={to} step={length} unit={unit} limits={limits} counts={points.map(({ t, count }) => [t, count])} late={late} isAsking={!answer.data} hasArea />}
    </section>
  );
}

export const SAID: Record<string, string> = { silent: 'silent', offline_as_announced: 'offline, as it said', gone: 'gone', reporting: '' };
const STAND: Record<string, number> = { silent: 0, reporting: 1, offline_as_announced: 2, gone: 3 };
const MINUTE = 60_000;

/** The limits of the catalogue, for last values. */
export function usePast(): (metric: string, value: number | undefined) => string | undefined {
  const catalogue = useCatalogue();
  return (metric, value) => levelAt(value, catalogue.get(metric)?.thresholds);
}

const [BEAT, TALL] = [3, 14];
/** A mark a minute: tall where a batch was received, red where none was for three minutes or longer. */
export function Beats({ hex, minute, since, pitch = BEAT }: { hex: string; minute: number; since: number | null | undefined; pitch?: number }) {
  return useMemo(() => {
    const heard = beats(hex, minute, since);
    const missed = gaps(heard);
    const bars = (which: (i: number) => boolean, tall: number, wide = pitch - 1.2): string => heard.map((_, i) => (which(i) ? `M${i * pitch} ${TALL - tall}h${wide}v${tall}h-${wide}z` : '')).join('');
    const n = heard.filter(Boolean).length;
    const gone = missed.filter(Boolean).length;
    const known = heard.filter((one) => one !== null).length;
    return (
      <svg class="beats" width={60 * pitch} height={TALL} role="img" aria-label={`heard in ${n} of the last ${plural(known, 'minute')}${gone ? `, not for ${gone}` : ''}`}>
        <path d={bars((i) => heard[i] === true, TALL)} /><path class="is-off" d={bars((i) => !heard[i] && !missed[i], 4)} /><path class="is-gap" d={bars((i) => missed[i], 4)} />
      </svg>
    );
  }, [hex, minute, since, pitch]);
}

function Tills({ id, terminals, detail, silent, time }: { id: string; terminals: Terminal[]; detail: Detail | null; silent: Silent | null; time: number }) {
  const past = usePast();
  const slow = useCatalogue().get('sync_duration_ms')?.thresholds[1];
  const known = new Map(terminals.map((one) => [one.terminal_id, one]));
  const pushed = new Map(detail?.terminals.map((one) => [one.terminal_id, one]));
  const ids = [...new Set([...known.keys(), ...pushed.keys()])];
  const standOf = (one: string): number => (pushed.get(one)?.is_reporting ? 1 : STAND[known.get(one)?.state ?? ''] ?? 1);
  const sorted = ids.sort((one, other) => standOf(one) - standOf(other) || one.localeCompare(other, undefined, { numeric: true }));
  const missed = new Map(silent?.terminals.map((one) => [one.terminal_id, one]));
  const quiet = ids.filter((one) => !(pushed.get(one) ?? known.get(one))!.is_reporting).length;
  return (
    <section>
      <header class="bar"><h2>Tills</h2><span class="sub">{ids.length ? (quiet ? `${plural(quiet, 'till')} not heard in the last 10 min` : 'all heard in the last 10 min') : ''} · sums of 24 h</span>
        {detail && <span class="key" aria-hidden="true"><svg width="3" height="12"><path d="M0 0h3v12H0z" /></svg> heard in the minute <svg width="9" height="12" class="is-gap"><path d="M0 8h2v4H0zM3.500 8h2v4h-2zM7 8h2v4H7z" /></svg> not for 3 min</span>}</header>
      <Scroll label="Tills">
        <table>
          <Heads of={`Till${detail ? '|Last 60 min' : ''}|>Heard|Release|>Queue|>Memory|>Sync mean|>${slow === undefined ? 'too slow' : `over ${exact(slow, 'ms')}`}|>Errors|>Clock|>Missing`} />
          <tbody>
            {sorted.map((till) => {
              const [one, live] = [known.get(till), pushed.get(till)];
              const sync = one?.metrics.find(({ metric }) => metric === 'sync_duration_ms');
              const errors = one?.metrics.filter(({ metric }) => metric === 'errors').reduce((sum, { sum: more }) => sum + more, 0);
              const skew = one?.clock_skew_ms ?? null;
              const isOff = skew !== null && Math.abs(skew) > MINUTE;
              const habit = missed.get(till);
              const levels = live?.levels ?? one?.levels ?? {};
              const [memory, queue] = [levels.memory_used_mb?.value, levels.pending_transactions?.value];
              const seen = live?.last_seen_ms ?? one?.last_seen_ms;
              const isReporting = (live ?? one)!.is_reporting;
              const isSilent = one?.state === 'silent' && !isReporting;
              const said = isReporting ? '' : isSilent && habit ? `silent, missed ${span(habit.missed_ms)}` : SAID[one?.state ?? ''] || 'not heard';
              return (
                <tr key={till}>
                  <td class="name"><Mark state={isSilent ? 'silent' : isReporting ? 'fine' : 'quiet'} isSaid={false} /><Link to="terminal" params={{ store_id: id, terminal_id: till }} data-row="" title={one?.browser ?? undefined}>{till}</Link>{said && <small class={isSilent ? 'is-critical' : ''}> {said}</small>}</td>
                  {detail && <td>{live && <Beats hex={live.beats} minute={detail.minute} since={detail.beats_since} />}</td>}
                  <Cell of={seen ? ago(Math.max(0, time - seen)) : NONE} level={isLost.value ? undefined : 'quiet'} />
                  <td class="sub">{live?.release ?? one?.release ?? '–'}</td>
                  <Cell of={count(queue)} level={past('pending_transactions', queue)} />
                  <Cell of={figure(memory, 'MB')} level={past('memory_used_mb', memory)} />
                  <Cell of={sync ? figure(sync.sum / sync.count, 'ms') : figure(null, 'ms')} title={sync && plural(sync.count, 'sample')} />
                  <Cell of={rate(sync ? sync.over_high / sync.count : null)} title={sync && `${grouped(sync.over_high)} of ${plural(sync.count, 'sample')}`} />
                  <Cell of={count(errors)} />
                  <td class="right" title="How far the till's clock is behind">{skew === null ? <Num of={NONE} /> : isOff ? <Num of={figure(-skew, 'ms')} level="warning" /> : <span class="sub">ok</span>}</td>
                  <Cell of={count(one && one.missing_batches + one.lost_batches)} level={one?.lost_batches ? 'critical' : one?.missing_batches ? 'warning' : undefined} />
                </tr>
              );
            })}
          </tbody>
        </table>
      </Scroll>
      {silent?.terminals.some(({ last_said }) => last_said) && <ul class="said">{silent.terminals.filter(({ last_said }) => last_said).slice(0, 5).map((one) => <li key={one.terminal_id}><b>{one.terminal_id}</b> said “{one.last_said!.kind}” <Time t={one.last_said!.t} />{one.pending_transactions ? `, with ${plural(one.pending_transactions, 'transaction')} waiting` : ''}.</li>)}</ul>}
    </section>
  );
}

// --- what came late

const AGES: [string, string][] = [['1h', 'up to 1 h'], ['24h', 'up to 24 h'], ['3d', 'up to 3 d'], ['8d', 'up to 8 d']];

function Late({ detail: { late, batches, data_loss_incidents } }: { detail: Detail }) {
  const began = useRef(late);
  const more = (age: string): number => Math.max(0, (late[age] ?? 0) - (began.current[age] ?? 0));
  const most = Math.max(1, ...AGES.map(([age]) => late[age] ?? 0));
  const sum = AGES.reduce((all, [age]) => all + more(age), 0);
  return (
    <section class="late">
      <header class="bar"><h2>Late data</h2>{sum > 0 && <span class="is-late">+{grouped(sum)} while you look</span>}</header>
      <ul>{AGES.map(([age, words]) => (
        <li key={age}><span>{words}</span>
          <svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"><rect class="base" width="100" height="6" /><rect width={((late[age] ?? 0) / most) * 100} height="6" /></svg>
          <span><Num of={count(late[age] ?? 0)} />{more(age) > 0 && <span class="is-late"> +{grouped(more(age))}</span>}</span></li>
      ))}</ul>
      <p class="sub">Samples that were older than 10 minutes when they came. They are in the charts, in the minutes they were measured in (violet if they came while you look), and do not move the five-minute values.</p>
      <dl>
        <div><dt>Batches received</dt><dd><Num of={count(batches.received)} /></dd></div>
        <div><dt>may still come</dt><dd><Num of={count(batches.missing)} level={batches.missing ? 'warning' : undefined} /></dd></div>
        {batches.explained > 0 && <div><dt>dropped, as tills said</dt><dd><Num of={count(batches.explained)} /></dd></div>}
        <div><dt>lost</dt><dd><Num of={count(batches.lost)} level={batches.lost ? 'critical' : undefined} /></dd></div>
        <div><dt>Data loss incidents</dt><dd><Num of={count(data_loss_incidents)} level={data_loss_incidents ? 'critical' : undefined} /></dd></div>
      </dl>
    </section>
  );
}
