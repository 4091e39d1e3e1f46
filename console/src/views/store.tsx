// One store: six measures over time, and its tills.
import { useMemo } from 'preact/hooks';
import { isLost, now, place, reading, set, useAnswer, useCatalogue } from '../state';
import { range, search, stepFor, milliseconds } from '../address';
import { ago, count, exact, figure, grouped, plain, plural, quantile, share, span } from '../format';
import { Chart, type Line } from '../chart';
import { Heading, Link, Mark, Notice, Num, Scroll, Segments, Time, Field } from '../ui';
import type { Percentiles, Silent, Terminal, Terminals } from '../types';

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

function One({ id }: { id: string }) {
  const { params } = place.value;
  // Charts are of whole minutes, so they are asked for anew when one is over.
  const minute = Math.floor(now.value / 60_000);
  const { from, to, name } = useMemo(() => range(params, minute * 60_000), [params, minute]);
  const terminals = useAnswer<Terminals>('api/v1/terminals?' + search({ store_id: id, hours: 24, limit: 1000 }), 15_000);
  const silent = useAnswer<Silent>(terminals.data ? 'api/v1/terminals/silent?' + search({ store_id: id }) : null, 15_000);
  const data = terminals.data;
  const heard = data?.terminals.filter((one) => one.is_reporting).length ?? 0;
  const last = data ? Math.max(0, ...data.terminals.map((one) => one.last_seen_ms ?? 0)) : 0;
  const releases = [...new Set(data?.terminals.flatMap(({ release }) => release ?? []))];
  const isGone = data !== null && data.terminals.length > 0 && heard === 0;
  const isUnknown = terminals.error !== null && (terminals.error as { code?: string }).code === 'unknown_store';
  return (
    <>
      <p class="crumbs"><Link to="fleet">Fleet</Link> / store</p>
      <header class="head">
        <div>
          <Heading>{isGone && <><Mark state="silent" /> </>}{id}</Heading>
          <p class="sub">{data ? <>{grouped(heard)} of {plural(data.terminals_total, 'till')} heard{releases.length > 0 && ` · ${releases.length === 1 ? 'release ' + releases[0] : plural(releases.length, 'release')}`}{last > 0 && ` · last batch ${plain(ago(Math.max(0, now.value - last)))}${now.value - last < 1500 ? '' : ' ago'}`}</> : ' '}</p>
        </div>
        <Segments label="Range" options={RANGES.map((value) => ({ value, text: value }))} chosen={[name]} onChoose={(value) => set({ range: value === '1h' ? '' : value, from: '', to: '' })} />
      </header>
      <Notice of={terminals} />
      {(data || (terminals.error && !isUnknown)) && <>
        <div class="charts">{CHARTS.map((one) => <Measure key={one.metric} {...one} store_id={id} from={from} to={to} />)}</div>
        <Tills terminals={data?.terminals ?? []} silent={silent.data} />
      </>}
    </>
  );
}

function Measure({ metric, title, q, store_id, from, to }: { metric: string; title: string; q: string; store_id: string; from: number; to: number }) {
  const step = stepFor(to - from, 90);
  const length = milliseconds(step)!;
  const start = Math.floor(from / length) * length;
  const answer = useAnswer<Percentiles>('api/v1/percentiles?' + search({ metric, store_id, from: start, to, step, q: `0.5,${q}` }));
  const known = useCatalogue().get(metric);
  const limits = known?.thresholds ?? [];
  const unit = answer.data?.unit ?? known?.unit ?? 'ms';
  const points = answer.data?.series[0]?.points ?? [];
  const lines: Line[] = [
    { key: 'high', label: quantile(q), look: 'ink', points: points.map(({ t, values }) => [t, values[q]]) },
    { key: 'half', label: 'p50', look: 'thin', points: points.map(({ t, values }) => [t, values['0.5']]) },
  ];
  const read = reading.value;
  const point = (read === null ? undefined : points.find(({ t }) => Math.abs(t - read) <= length / 2)) ?? points[points.length - 1];
  const value = point?.values[q];
  const level = value === undefined || !limits.length ? undefined : limits.length > 1 && value > limits[1] ? 'critical' : value > limits[0] ? 'warning' : undefined;
  return (
    <section class="measure">
      <header><h2>{title}</h2>{limits.length > 0 && <small>limit {exact(limits[0], unit)}</small>}
        <span class="values">{point && <><small>{quantile(q)}</small> <Num of={figure(value, unit)} level={level} /> <small>p50</small> <Num of={figure(point.values['0.5'], unit)} /></>}</span>
      </header>
      {answer.error ? <Notice of={answer} /> : <Chart name={`${title} of ${store_id}`} lines={lines} from={start} to={to} step={length} unit={unit} limits={limits} counts={points.map(({ t, count }) => [t, count])} hasArea />}
    </section>
  );
}

const SAID: Record<string, string> = { silent: 'silent', offline_as_announced: 'offline, as it said', gone: 'gone', reporting: '' };
const STAND: Record<string, number> = { silent: 0, reporting: 1, offline_as_announced: 2, gone: 3 };
const MINUTE = 60_000;

function Tills({ terminals, silent }: { terminals: Terminal[]; silent: Silent | null }) {
  const catalogue = useCatalogue();
  const past = (metric: string, value: number | undefined): string | undefined => {
    const [low, high] = catalogue.get(metric)?.thresholds ?? [];
    return value === undefined ? undefined : high !== undefined && value > high ? 'critical' : low !== undefined && value > low ? 'warning' : undefined;
  };
  const slow = catalogue.get('sync_duration_ms')?.thresholds[1];
  const sorted = [...terminals].sort((one, other) => (STAND[one.state] ?? 1) - (STAND[other.state] ?? 1));
  const missed = new Map(silent?.terminals.map((one) => [one.terminal_id, one]));
  const quiet = terminals.filter((one) => !one.is_reporting).length;
  return (
    <section>
      <header class="bar"><h2>Tills</h2><span class="sub">{terminals.length ? (quiet ? `${plural(quiet, 'till')} not heard in the last 10 min` : 'all heard in the last 10 min') : ''} · sums of 24 h</span></header>
      <Scroll label="Tills">
        <table>
          <thead><tr><th>Till</th><th>State</th><th>Release</th><th>Browser</th><th class="right">Heard</th><th class="right">Queue</th><th class="right">Memory</th><th class="right">Sync mean</th><th class="right">{slow === undefined ? 'too slow' : `over ${exact(slow, 'ms')}`}</th><th class="right">Errors</th><th class="right">Clock</th><th class="right">Missing</th></tr></thead>
          <tbody>
            {sorted.map((one) => {
              const sync = one.metrics.find(({ metric }) => metric === 'sync_duration_ms');
              const errors = one.metrics.filter(({ metric }) => metric === 'errors').reduce((sum, { sum: more }) => sum + more, 0);
              const skew = one.clock_skew_ms;
              const isOff = skew !== null && Math.abs(skew) > MINUTE;
              const habit = missed.get(one.terminal_id);
              const memory = one.levels.memory_used_mb?.value;
              const queue = one.levels.pending_transactions?.value;
              return (
                <tr key={one.terminal_id}>
                  <td class="name"><Mark state={one.state === 'silent' ? 'silent' : one.is_reporting ? 'fine' : 'quiet'} isSaid={false} /><span tabIndex={0} data-row="">{one.terminal_id}</span></td>
                  <td class={one.state === 'silent' ? 'is-critical' : 'sub'}>{one.state === 'silent' && habit ? `silent, missed ${span(habit.missed_ms)}` : SAID[one.state] || (one.is_reporting ? 'reporting' : 'not heard, not expected')}</td>
                  <td class="sub">{one.release ?? '–'}</td>
                  <td class="sub">{one.browser ?? '–'}</td>
                  <td class="right"><Num of={one.last_seen_ms ? ago(Math.max(0, now.value - one.last_seen_ms)) : { text: '–', unit: '' }} level={isLost.value ? undefined : 'quiet'} /></td>
                  <td class="right"><Num of={count(queue)} level={past('pending_transactions', queue)} /></td>
                  <td class="right"><Num of={figure(memory, 'MB')} level={past('memory_used_mb', memory)} /></td>
                  <td class="right"><Num of={sync ? figure(sync.sum / sync.count, 'ms') : figure(null, 'ms')} /></td>
                  <td class="right"><Num of={share(sync ? sync.over_high / sync.count : null)} /></td>
                  <td class="right"><Num of={count(errors)} /></td>
                  <td class="right" title="How far the till's clock is behind">{skew === null ? <Num of={{ text: '–', unit: '' }} /> : isOff ? <Num of={figure(-skew, 'ms')} level="warning" /> : <span class="sub">ok</span>}</td>
                  <td class="right"><Num of={count(one.missing_batches + one.lost_batches)} level={one.lost_batches ? 'critical' : one.missing_batches ? 'warning' : undefined} /></td>
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
