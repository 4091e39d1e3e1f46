// One till: what it said last, what it measured in a day, and how to follow one of its batches.
import type { ComponentChildren } from 'preact';
import { ahead } from '../client';
import { now, place, useAnswer, useCatalogue } from '../state';
import { search } from '../address';
import { ago, count, exact, figure, grouped, plain, plural, rate, span, NONE } from '../format';
import { Command, Heading, Link, Mark, Notice, Num, Scroll, Time, Bar, Heads, Cell } from '../ui';
import { adminOptions } from '../about';
import { shell } from '../series';
import type { Silent, Terminals } from '../types';
import { Beats, SAID, useDetail, usePast } from './store';

const MINUTE = 60_000;

export function TerminalView() {
  const { store_id = '', terminal_id = '' } = place.value.params;
  if (!store_id || !terminal_id) return <><Heading>Terminal</Heading><p>Choose a till of a store: open one on the <Link to="fleet">Fleet</Link> view, and then one of its tills.</p></>;
  return <One key={store_id + '\n' + terminal_id} store={store_id} till={terminal_id} />;
}

function One({ store, till }: { store: string; till: string }) {
  const detail = useDetail(store);
  const live = detail?.terminals.find((one) => one.terminal_id === till);
  const answer = useAnswer<Terminals>('api/v1/terminals?' + search({ store_id: store, terminal_id: till, hours: 24 }), live ? 60_000 : 15_000);
  const silent = useAnswer<Silent>(answer.data ? 'api/v1/terminals/silent?' + search({ store_id: store, limit: 1000 }) : null, 60_000);
  const catalogue = useCatalogue();
  const past = usePast();
  const one = answer.data?.terminals[0];
  const time = now.value + ahead.value;
  const seen = live?.last_seen_ms ?? one?.last_seen_ms ?? null;
  const isReporting = live?.is_reporting ?? one?.is_reporting ?? false;
  const habit = silent.data?.terminals.find(({ terminal_id }) => terminal_id === till);
  const isSilent = !isReporting && (one?.state === 'silent' || habit?.state === 'silent');
  const levels = Object.entries({ ...one?.levels, ...live?.levels }).sort(([a], [b]) => (a < b ? -1 : 1));
  const skew = one?.clock_skew_ms ?? null;
  const isOff = skew !== null && Math.abs(skew) > MINUTE;
  const state = isReporting ? 'reporting' : isSilent && habit ? `silent, missed ${span(habit.missed_ms)}` : SAID[one?.state ?? ''] || (one || live ? 'not heard in 10 min, and not expected' : '');
  const explain = shell('tillwatch explain', adminOptions(), [store, till, 'QUEUE', 'NUMBER']);
  const metrics = [...(one?.metrics ?? [])].sort((a, b) => b.over_high / b.count - a.over_high / a.count || b.over_low / b.count - a.over_low / a.count || (a.metric < b.metric ? -1 : 1));
  return (
    <>
      <p class="crumbs"><Link to="fleet">Fleet</Link> / <Link to="store" params={{ store_id: store }}>{store}</Link> / till</p>
      <header class="head"><div>
        <Heading>{isSilent ? <><Mark state="silent" /> </> : !isReporting && (one || live) ? <><Mark state="quiet" /> </> : null}{till}</Heading>
        <p class="sub">{state}{habit?.last_said && <> · said “{habit.last_said.kind}” <Time t={habit.last_said.t} /></>}{habit?.pending_transactions ? ` · ${plural(habit.pending_transactions, 'transaction')} waiting in it` : ''}</p>
      </div></header>
      <Notice of={answer} />
      {(one || live) && <>
        <dl class="headline facts">
          <Fact name="Heard"><Num of={seen ? ago(Math.max(0, time - seen)) : NONE} level={isSilent ? 'critical' : undefined} /></Fact>
          <Fact name="Release">{live?.release ?? one?.release ?? '–'}</Fact>
          <Fact name="Browser">{one?.browser ?? '–'}</Fact>
          <Fact name="Clock" note={skew === null ? '' : skew > 0 ? 'it is behind' : skew < 0 ? 'it is ahead' : ''}>{skew === null ? '–' : <Num of={figure(Math.abs(skew), 'ms')} level={isOff ? 'warning' : undefined} />}</Fact>
          <Fact name="Clock jumps" note={one?.clock_jumps ? 'or two tills use this name' : ''}><Num of={count(one?.clock_jumps)} level={one?.clock_jumps ? 'warning' : undefined} /></Fact>
          <Fact name="May still come" note="batches"><Num of={count(one?.missing_batches)} level={one?.missing_batches ? 'warning' : undefined} /></Fact>
          <Fact name="Lost" note="batches"><Num of={count(one?.lost_batches)} level={one?.lost_batches ? 'critical' : undefined} /></Fact>
        </dl>
        {live && detail && <section class="pulse"><Bar title="Last 60 minutes" sub="a mark a minute in which a batch was received; red: none for three minutes or longer" /><Beats hex={live.beats} minute={detail.minute} since={detail.beats_since} pitch={5} /></section>}
        <div class="columns">
          <section>
            <Bar title="Measured in 24 hours" sub={one ? plural(one.metrics.length, 'line') : ''} />
            {metrics.length ? <Scroll label="Metrics"><table>
              <Heads of="Metric|>Samples|>Mean|>Greatest|>over the limit|>critical" />
              <tbody>{metrics.map((sums) => {
                const { metric, label, unit, count: n, sum, max, over_low, over_high } = sums;
                const [low, high] = catalogue.get(metric)?.thresholds ?? [];
                const isCounter = catalogue.get(metric)?.kind === 'counter';
                return (
                  <tr key={metric + (label ?? '')}>
                    <td class="name"><Link to="query" params={{ metric, store_id: store }} data-row="" title={catalogue.get(metric)?.help}>{metric}</Link>{label && <small> {label}</small>}</td>
                    <Cell of={count(n)} />
                    <td class="right">{isCounter ? <Num of={count(sum)} title="The sum of the counter" /> : <Num of={figure(n ? sum / n : null, unit)} />}</td>
                    <td class="right">{isCounter ? <Num of={NONE} /> : <Num of={figure(max, unit)} level={past(metric, max)} />}</td>
                    <td class="right">{low === undefined ? <Num of={NONE} /> : <Num of={rate(n ? over_low / n : null)} title={`${grouped(over_low)} of ${plural(n, 'sample')} over ${exact(low, unit)}`} />}</td>
                    <td class="right">{high === undefined ? <Num of={NONE} /> : <Num of={rate(n ? over_high / n : null)} title={`${grouped(over_high)} of ${plural(n, 'sample')} over ${exact(high, unit)}`} level={over_high ? 'critical' : undefined} />}</td>
                  </tr>
                );
              })}</tbody>
            </table></Scroll> : <p class="nothing">{answer.data ? 'It measured nothing in the last 24 hours.' : ''}</p>}
          </section>
          <section>
            <Bar title="Last values" />
            {levels.length ? <Scroll label="Last values"><table>
              <Heads of="Level|>Value|>Limit|>Said" />
              <tbody>{levels.map(([metric, { t, value }]) => {
                const [low] = catalogue.get(metric)?.thresholds ?? [];
                const unit = catalogue.get(metric)?.unit ?? 'count';
                return <tr key={metric}><td title={catalogue.get(metric)?.help}>{metric}</td><Cell of={figure(value, unit)} level={past(metric, value)} /><td class="right sub">{low === undefined ? '–' : exact(low, unit)}</td><td class="right" title={`${plain(ago(Math.max(0, time - t)))} ago`}><Time t={t} /></td></tr>;
              })}</tbody>
            </table></Scroll> : <p class="nothing">It has said no level yet.</p>}
            <Bar title="One of its batches" />
            <p class="sub">What became of one, by the number that the till gave it in its queue; <Link to="lost" params={{ store_id: store }}><u>Lost</u></Link> has the queue and the numbers of those that are missing.</p>
            <Command text={explain} />
          </section>
        </div>
      </>}
    </>
  );
}

const Fact = ({ name, note, children }: { name: string; note?: string; children: ComponentChildren }) => <div><dt>{name}</dt><dd>{children}</dd><dd class="limit-said">{note}</dd></div>;
