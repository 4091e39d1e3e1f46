// What was sent and has not come, and what terminals say they had to drop.
import { Fragment } from 'preact';
import { useState } from 'preact/hooks';
import { place, set, useAnswer, now } from '../state';
import { search } from '../address';
import { count, grouped, plural, span } from '../format';
import { Cell, Command, Field, Heading, Link, Mark, Notice, Ranges, Scroll, Segments, Time, Heads } from '../ui';
import { Explain } from '../links';
import { adminOptions } from '../about';
import { shell } from '../series';
import type { Loss, Losses } from '../types';

const RANGES: Record<string, number> = { '24h': 86_400_000, '7d': 7 * 86_400_000, '30d': 30 * 86_400_000 };
const STATES = ['', 'open', 'closed', 'explained', 'lost'];
const REASONS: Record<string, string> = { too_old: 'older than nine days', too_far_behind: 'too far behind', given_up: 'too many gaps' };

export function LostView() {
  const { params } = place.value;
  const chosen = RANGES[params.range] ? params.range : '7d';
  // To the hour, so that the question stays the same while somebody looks.
  const from = Math.floor(now.value / 3_600_000) * 3_600_000 - RANGES[chosen];
  const answer = useAnswer<Losses>('api/v1/losses?' + search({ from, store_id: params.store_id, state: params.state, limit: 500 }), 10_000);
  const data = answer.data;
  const [open, setOpen] = useState('');
  return (
    <>
      <header class="head">
        <div><Heading>Lost batches</Heading><p class="sub">Every gap in the numbers of a queue, and everything that a till says it dropped.</p></div>
        <Ranges of={RANGES} chosen={chosen} otherwise="7d" />
      </header>
      <div class="fields">
        <div class="field"><span>State</span><Segments label="State" options={STATES.map((value) => ({ value, text: value || 'all' }))} chosen={[params.state ?? '']} onChoose={(state) => set({ state })} /></div>
        <Field label="Store" value={params.store_id ?? ''} onTake={(store_id) => set({ store_id })} />
      </div>
      <Notice of={answer} />
      {data && <>
        <div class="ledger" role="group" aria-label="The ledger">
          <Sum n={data.totals.numbered} word="sent" /><i>=</i><Sum n={data.totals.received} word="received" /><i>+</i><Sum n={data.totals.open} word="may still come" level={data.totals.open ? 'warning' : undefined} /><i>+</i>
          <Sum n={data.totals.explained} word="dropped, as tills said" /><i>+</i><Sum n={data.totals.lost} word="lost" level={data.totals.lost ? 'critical' : undefined} />
        </div>
        <p class="statement">{data.statement} <Explain metric="lost" store_id={params.store_id} /></p>
        {data.losses.length === 0 ? <p class="nothing">No gap is listed for this range.</p> : (
          <section>
            <header class="bar"><h2>{plural(data.losses.length, 'line')}{!data.is_whole && ' and more'}</h2><span class="sub">What is open comes first, the oldest before the others</span></header>
            <Scroll label="Gaps"><table>
              <Heads of="State|Store|Till|>Batches|>Samples|Numbers|Why|Missing since|Ended|-Explain" />
              <tbody>{data.losses.map((one) => {
                const key = `${one.store_id} ${one.terminal_id} ${one.queue} ${one.from_seq} ${one.state} ${one.ended_at}`;
                const isOpen = key === open;
                return <Fragment key={key}><tr>
                  <td class="name"><Mark state={one.state === 'lost' ? 'critical' : one.state === 'open' ? 'warning' : 'fine'} isSaid={false} />{one.state}</td>
                  <td><Link to="store" params={{ store_id: one.store_id }} data-row="">{one.store_id}</Link></td>
                  <td>{one.terminal_id}</td>
                  <Cell of={count(one.batches)} />
                  <Cell of={count(one.samples)} />
                  <td class="sub num" title={one.queue ?? ''}>{one.from_seq === null ? '–' : one.from_seq === one.to_seq ? grouped(one.from_seq) : `${grouped(one.from_seq)}–${grouped(one.to_seq!)}`}</td>
                  <td class="sub">{one.reason ? REASONS[one.reason] ?? one.reason : one.state === 'open' && one.may_come_until ? `may come for ${span(Math.max(0, one.may_come_until - now.value))}` : ''}</td>
                  <td><Time t={one.opened_at} /></td>
                  <td><Time t={one.ended_at} /></td>
                  <td class="right">{one.queue && one.from_seq !== null && <button type="button" class="link" aria-expanded={isOpen} aria-label={`Explain batch ${one.from_seq} of ${one.store_id} ${one.terminal_id}`} onClick={() => setOpen(isOpen ? '' : key)}>explain</button>}</td>
                </tr>
                {isOpen && <tr><td colSpan={10}><How of={one} /></td></tr>}</Fragment>;
              })}</tbody>
            </table></Scroll>
          </section>
        )}
      </>}
    </>
  );
}

/** The collector says what became of a batch, sample by sample while its journal has it. */
function How({ of: { store_id, terminal_id, queue, from_seq, batches } }: { of: Loss }) {
  const command = shell('tillwatch explain', adminOptions(), [store_id, terminal_id, queue!, String(from_seq)]);
  return <div class="how" aria-live="polite"><p class="sub">What became of {batches > 1 ? `the first of these ${grouped(batches)} batches` : 'this batch'}, in a terminal: <Explain metric="lost" store_id={store_id} terminal_id={terminal_id} /></p><Command text={command} /></div>;
}

export const Sum = ({ n, word, level }: { n: number; word: string; level?: string }) => <div><b class={'num' + (level ? ' is-' + level : '')}>{grouped(n)}</b><span>{word}</span></div>;
