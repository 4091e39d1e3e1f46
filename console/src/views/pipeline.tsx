// A batch's way through the collector, stage by stage, and whether all samples are where they should be.
import { useMemo } from 'preact/hooks';
import { place, set, zone } from '../state';
import { count, figure, grouped, moment, plain, plural, share, span, type Figure } from '../format';
import { Chart, type Line } from '../chart';
import { anyOf, Cell, Choice, Command, Field, Heading, Mark, Notice, Num, Scroll, Bar, Heads } from '../ui';
import { adminOptions } from '../about';
import { Explain } from '../links';
import { usePipeline } from '../pipeline';
import { KEPT_MS } from '../live';
import { labelled, ledger, shell, total, type SeriesMap } from '../series';
import type { Pipeline, PipelinePoint } from '../types';
import { Sum } from './lost';

/** What a rate is taken over, so that it can be read while it moves. */
const RATE_S = 10;
const BIN_MS = 5_000;

export function PipelineView() {
  const answer = usePipeline();
  const { data } = answer;
  return (
    <>
      <header class="head">
        <div><Heading>Pipeline</Heading><p class="sub">The way of a batch, stage by stage.{data && ` Version ${data.version}, running since ${moment(data.started_at, zone.value)} (${span(Math.max(0, data.t - data.started_at))}).`}</p></div>
      </header>
      <Notice of={answer} />
      {data && <><Stages of={data} /><Rates points={data.points} until={data.t} /><Samples series={data.series} /><Refusals series={data.series} /></>}
      <Tap />
    </>
  );
}

interface Stage { name: string; state?: 'critical' | 'warning'; value: Figure; what: string; used?: number | null; limit?: number | null; unit?: string; note: string; runbook: string }

function stagesOf({ series, points }: Pipeline): Stage[] {
  const one = (name: string, labels?: Record<string, string>): number | null => total(series, 'tillwatch_' + name, labels);
  const is = (name: string): boolean => one(name) === 1;
  const bytes = (n: number | null): Figure => figure(n, 'bytes');
  const last = points.slice(-RATE_S);
  const minute = points.slice(-60);
  const sum = (of: PipelinePoint[], key: 'requests' | 'refused'): number => of.reduce((all, point) => all + point[key], 0);
  const refused = sum(minute, 'refused');

  const diskWait = one('journal_disk_wait_seconds') ?? 0;
  const queued = one('journal_queue_appends') ?? 0;
  const lag = one('apply_lag_records') ?? 0;
  const epochs = one('outbox_epochs') ?? 0;
  const waiting = one('ledger_samples', { place: 'outbox' }) ?? 0;
  const failures = one('ship_failures') ?? 0;
  const isUp = is('clickhouse_up');
  const ahead = one('clock_fleet_ahead_seconds') ?? 0;
  const tills = one('clock_fleet_terminals') ?? 0;
  const doubts = one('clock_doubts_total') ?? 0;
  return [
    {
      name: 'Doors', value: count(last.length ? Math.round(sum(last, 'requests') / last.length) : null), what: 'requests a second',
      used: one('request_in_flight_bytes'), limit: one('request_in_flight_limit_bytes'), unit: 'bytes', runbook: 'TillwatchRefusingBatches',
      note: `${plural(one('connections', { listener: 'ingest' }) ?? 0, 'connection')}, ${plural(one('requests_in_flight') ?? 0, 'request')} under way. ${grouped(refused)} of ${grouped(sum(minute, 'requests'))} were refused in the last minute.`,
    },
    {
      name: 'Journal', state: is('journal_halted') || is('journal_full') ? 'critical' : diskWait > 5 ? 'warning' : undefined, value: bytes(one('journal_used_bytes')), what: 'on disk',
      used: one('journal_used_bytes'), limit: one('journal_budget_bytes'), unit: 'bytes', runbook: is('journal_halted') ? 'TillwatchJournalHalted' : is('journal_full') ? 'TillwatchJournalFull' : diskWait > 5 ? 'TillwatchDiskHangs' : 'TillwatchJournalFilling',
      note: is('journal_halted') ? 'A write has failed: nothing is acknowledged.' : is('journal_full') ? 'Full: tills keep their batches.'
        : diskWait > 5 ? `The disk has not answered for ${span(diskWait * 1000)}.` : `${queued ? `${plural(queued, 'batch waits', 'batches wait')} for the disk.` : 'All that was acknowledged is on disk.'}`,
    },
    {
      name: 'Aggregate', value: count(one('ledger_samples', { place: 'open' })), what: 'samples not yet sealed',
      used: one('apply_queue_groups'), limit: one('apply_queue_limit_groups'), unit: 'count', runbook: 'TillwatchSealsFailing',
      note: `${plural(one('stores') ?? 0, 'store')}, ${plural(one('terminals') ?? 0, 'till')}. ${lag ? `${plural(lag, 'record waits', 'records wait')}, the oldest for ${span((one('apply_lag_seconds') ?? 0) * 1000)}.` : 'All that is on disk is counted.'}`,
    },
    {
      name: 'Outbox', value: bytes(one('outbox_bytes')), what: 'sealed, not yet confirmed', used: one('outbox_bytes'), limit: one('outbox_budget_bytes'), unit: 'bytes', runbook: waiting ? 'TillwatchShippingStalled' : 'TillwatchOutboxFilling',
      note: epochs ? `${plural(epochs, 'epoch waits', 'epochs wait')} for ClickHouse, the oldest for ${span((one('outbox_lag_seconds') ?? 0) * 1000)}.` : waiting ? `${plural(waiting, 'sample waits', 'samples wait')} for ClickHouse.` : 'ClickHouse has everything that was sealed.',
    },
    {
      name: 'ClickHouse', state: isUp ? failures ? 'warning' : undefined : 'critical', value: bytes(one('clickhouse_bytes')), what: 'in its tables', used: one('clickhouse_bytes'), limit: one('clickhouse_budget_bytes'), unit: 'bytes', runbook: isUp ? 'TillwatchDatabaseFilling' : 'TillwatchClickHouseAway',
      note: isUp ? `It answers. ${failures ? `${plural(failures, 'round')} of shipping failed.` : `Epoch ${grouped(one('confirmed_epoch') ?? 0)} of ${grouped(one('sealed_epoch') ?? 0)} is confirmed.`}` : 'It does not answer.',
    },
    {
      name: 'Clock', state: is('clock_unsure') ? 'critical' : undefined, value: figure(tills ? Math.abs(ahead) * 1000 : null, 'ms'), what: tills ? `the tills are ${ahead < 0 ? 'behind' : 'ahead'}` : 'no till was heard', runbook: 'TillwatchClockUnsure',
      note: (is('clock_unsure') ? 'Not trusted: tills keep their batches. ' : is('clock_settled') ? 'Trusted and settled. ' : 'Trusted, not settled. ')
        + (tills ? `Median of ${plural(tills, 'till')}. ` : '') + (doubts ? `${plural(doubts, 'doubt')} since the start.` : ''),
    },
  ];
}

function Stages({ of }: { of: Pipeline }) {
  return (
    <ol class="stages" aria-label="Stages">
      {stagesOf(of).map((one) => {
        const part = one.limit ? Math.min(1, (one.used ?? 0) / one.limit) : null;
        return (
          <li key={one.name} class={'stage' + (one.state ? ' at-' + one.state : '')}>
            <h2>{one.state && <Mark state={one.state} />}{one.name}</h2>
            <p class="value"><Num of={one.value} /> <small>{one.what}</small></p>
            {part === null ? <p class="fill" /> : (
              <p class="fill"><svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><rect class="base" width="100" height="4" /><rect class={part >= 1 ? 'is-full' : ''} width={part * 100} height="4" /></svg>
                <small>{plain(share(part))} of {plain(figure(one.limit, one.unit!))}{one.unit === 'count' && ' groups'}</small></p>
            )}
            <p class="note">{one.note}</p>
            <Explain runbook={one.runbook} />
          </li>
        );
      })}
    </ol>
  );
}

function Rates({ points, until }: { points: PipelinePoint[]; until: number }) {
  const to = Math.floor(until / BIN_MS) * BIN_MS;
  const charts = useMemo(() => {
    const bins = new Map<number, PipelinePoint[]>();
    for (const point of points) {
      const t = Math.floor(point.t / BIN_MS) * BIN_MS;
      if (t + BIN_MS <= to) bins.set(t, [...(bins.get(t) ?? []), point]);
    }
    // Percentiles are never averaged: what is shown is the slowest second.
    const of = (key: keyof PipelinePoint): [number, number][] => [...bins].flatMap(([t, all]): [number, number][] => {
      const values = all.map((point) => point[key]).filter((value) => value !== null);
      if (!values.length) return [];
      return [[t, key.endsWith('_ms') ? Math.max(...values) : values.reduce((sum, value) => sum + value, 0) / values.length]];
    });
    const refused = of('refused');
    const line = (key: string, label: string, look: Line['look'], data: [number, number][]): Line => ({ key, label, look, points: data });
    return [
      { name: 'Requests a second', unit: 'count', lines: [line('requests', 'all', 'ink', of('requests')), ...(refused.some(([, n]) => n) ? [line('refused', 'refused', 2, refused)] : [])] },
      { name: 'Time to the answer', unit: 'ms', lines: [line('p99', 'p99', 'ink', of('p99_ms')), line('p50', 'p50', 'thin', of('p50_ms'))] },
      { name: 'Samples a second', unit: 'count', lines: [line('samples', 'all', 'ink', of('samples'))] },
    ];
  }, [points]);
  return (
    <section>
      <Bar title="The last 15 minutes" sub="Every 5 s: the mean rate, and the times of the slowest second" />
      <div class="charts">{charts.map(({ name, unit, lines }) => (
        <section key={name} class="measure" aria-label={name}>
          <header><h2>{name}</h2><span class="values sub">{lines.map(({ key, label, points: all }) => <span key={key}>{label === 'all' ? '' : label + ' '}<Num of={figure(all[all.length - 1]?.[1], unit)} /> </span>)}</span></header>
          <Chart name={name} lines={lines} from={to - KEPT_MS} to={to} step={BIN_MS} unit={unit} />
        </section>
      ))}</div>
    </section>
  );
}

function Samples({ series }: { series: SeriesMap }) {
  const all = ledger(series);
  if (!all) return null;
  return (
    <section>
      <Bar title="The ledger of samples" sub="Since the data folder was made" />
      <div class="ledger" role="group" aria-label="The ledger of samples">
        <Sum n={all.accepted} word="accepted" /><i>=</i><Sum n={all.open} word="open" /><i>+</i><Sum n={all.outbox} word="in the outbox" /><i>+</i><Sum n={all.confirmed} word="confirmed by ClickHouse" />
      </div>
      <p class="statement">{all.isWhole ? <><b>It adds up.</b></> : (
        <><Mark state="critical" isSaid={false} /> <b class="is-critical">It does not add up:</b> {all.accepted - all.open - all.sealed ? 'accepted is not open + sealed' : 'sealed is not outbox + confirmed'}, by {grouped(all.differs)}. <code>tillwatch audit</code> says where. <Explain runbook="TillwatchDamagedRecords" /></>
      )}</p>
    </section>
  );
}

// --- what was refused

/** What it is, its series, and its runbook. */
const REFUSALS = [
  ['request', 'requests_refused', 'TillwatchRefusingBatches'], ['sample', 'samples_rejected', 'TillwatchSamplesRejected'], ['too fast', 'rate_limited', 'TillwatchRateLimiting'], ['place of a store', 'share_refusals', 'TillwatchStoreAtItsShare'],
  ['batch in conflict', 'conflicting_batches', 'PosStoreBatchesLost'], ['no request', 'heads_refused'], ['TLS handshake', 'tls_handshakes'], ['admin', 'admin_requests_refused'], ['admin', 'admin_credentials_refused'],
];

function Refusals({ series }: { series: SeriesMap }) {
  const rows = REFUSALS.flatMap(([what, name, runbook]) => labelled(series, `tillwatch_${name}_total`).filter(({ labels, value }) => value > 0 && labels.result !== 'ok')
    .map(({ labels, value }) => ({ what, runbook, value, labels: Object.values(labels).filter((label) => label !== 'ingest') })).sort((one, other) => other.value - one.value));
  return (
    <section>
      <Bar title="Refused" sub="Since the start, by reason" />
      {rows.length === 0 ? <p class="nothing">Nothing was refused.</p> : (
        <Scroll label="Refusals"><table>
          <Heads of="What|Reason|>Number|-Explained in" />
          <tbody>{rows.slice(0, 60).map(({ what, labels, value, runbook }) => (
            <tr key={what + labels}><td class="name">{what}</td><td><code>{labels.join(' · ')}</code></td><Cell of={count(value)} /><td class="right">{runbook && <Explain runbook={runbook} />}</td></tr>
          ))}</tbody>
        </table></Scroll>
      )}
    </section>
  );
}

// --- the tap

const OUTCOMES = ['accepted', 'duplicate', 'conflicting', 'rejected', 'deferred'];
const DOORS = ['terminal', 'legacy', 'faro', 'otlp', 'other'];

function Tap() {
  const { store_id, terminal_id, outcome, door } = place.value.params;
  const command = shell('tillwatch tap', { store: store_id, terminal: terminal_id, outcome, door, ...adminOptions() });
  return (
    <section>
      <Bar title="Watch what arrives" sub="Each batch and what became of it, in a terminal" />
      <div class="fields is-plain">
        <Field label="Store" value={store_id ?? ''} onTake={(value) => set({ store_id: value }, true)} />
        <Field label="Till" value={terminal_id ?? ''} onTake={(value) => set({ terminal_id: value }, true)} />
        <Choice label="What became of it" value={outcome ?? ''} options={anyOf(OUTCOMES)} onChoose={(value) => set({ outcome: value }, true)} />
        <Choice label="Door" value={door ?? ''} options={anyOf(DOORS)} onChoose={(value) => set({ door: value }, true)} />
      </div>
      <Command text={command} />
    </section>
  );
}
