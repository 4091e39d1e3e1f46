// Which releases run, and whether a rollout may go on. The collector judges; this page only shows what it said.
import { now, place, set, useAnswer } from '../state';
import { search } from '../address';
import { count, digits, exact, figure, grouped, plain, plural, rate, share, span, NONE, type Figure } from '../format';
import { Cell, Heading, Mark, Notice, Num, Scroll, Time, Bar, Heads } from '../ui';
import { Explain } from '../links';
import { isWhole, type Judged, type JudgedMetric, type Look, type Percentiles, type Rollout, type Word } from '../types';

const HOUR = 3_600_000;
const MOST_CARDS = 6;
const WORDS: Record<Word, string> = { pass: 'Go on', fail: 'Stop', hold: 'Hold', not_judged: 'Not judged' };
export const STATES: Record<Word, string> = { pass: 'fine', fail: 'critical', hold: 'warning', not_judged: 'quiet' };
const LOOKS: Record<string, string> = { step: 'step reached', look: 'look', arrived: 'awaited data came', revised: 'revised', incident: 'incident' };

export function ReleasesView() {
  const { params } = place.value;
  const from = Math.floor(now.value / HOUR) * HOUR - 168 * HOUR;
  const answer = useAnswer<Percentiles>('api/v1/percentiles?' + search({ metric: 'sync_duration_ms', group_by: 'release', order_by: 'count', q: '0.95', from }), 60_000);
  const changes = useAnswer<{ changes: { kind: string; release?: string }[] }>('api/v1/changes?limit=200', 60_000);
  const releases = (answer.data?.series ?? []).map(({ release, points }) => ({
    release: release ?? '', samples: points.reduce((sum, one) => sum + one.count, 0), p95: points[0]?.values['0.95'] ?? null,
  })).filter(({ release }) => release && !release.startsWith('__'));
  const total = releases.reduce((sum, { samples }) => sum + samples, 0);
  // A rollout that has just begun is rare, and the one that somebody comes for.
  const spoken = [...new Set(changes.data?.changes.flatMap(({ release }) => release ?? []) ?? [])].slice(0, 3);
  const rank = ({ release }: { release: string }): number => (spoken.includes(release) ? 0 : 1);
  const shown = [...releases].sort((one, other) => rank(one) - rank(other)).slice(0, MOST_CARDS).sort((one, other) => other.samples - one.samples);
  // Always as many questions, whatever there is to ask.
  const rollouts = Array.from({ length: MOST_CARDS }, (_, i) => useRollout(shown[i]?.release));
  const isAnswered = answer.data !== null && shown.every((_, i) => rollouts[i].data || rollouts[i].error);
  const judged = rollouts.slice(0, shown.length).flatMap(({ data }) => (data && data.verdict !== 'not_judged' && isWhole(data.judged) ? [{ ...data, judged: data.judged }] : []));
  judged.sort((one, other) => begun(other) - begun(one));
  const newest = judged[0]?.judged;
  // Without a rollout, the second most used one: the first is what most are held against.
  const chosen = params.release || newest?.release || (isAnswered && (releases[1] ?? releases[0])?.release) || '';
  return (
    <>
      <header class="head"><div>
        <Heading>{!isAnswered || !releases.length ? 'Releases' : newest ? <><Mark state={STATES[newest.verdict]} isSaid={false} /> {sentence(newest)}</> : 'No release is being rolled out'}</Heading>
        {isAnswered && newest && <p>{newest.against ? `Held against ${newest.against}` : 'Held against nobody'} at the step of {newest.step_percent} %{next(newest)}. <Explain runbook={newest.verdict === 'fail' ? 'PosRolloutFail' : 'PosRolloutAwaitsData'} release={newest.release} /></p>}
        <p class="sub">Shares are of the synchronisations of seven days.</p>
      </div></header>
      <Notice of={answer} />
      {answer.data && !releases.length && <p class="nothing">No release has been reported in the last seven days.</p>}
      <div class="cards">
        {shown.map((one, i) => <Card key={one.release} {...one} data={rollouts[i].data} part={one.samples / total} isChosen={one.release === chosen} />)}
      </div>
      {releases.length > shown.length && <p class="sub">Rarer: {releases.filter((one) => !shown.includes(one)).slice(0, 24).map(({ release }) => release).join(', ')}</p>}
      {chosen && <Verdict key={chosen} release={chosen} />}
    </>
  );
}

export const useRollout = (release: string | undefined) => useAnswer<Rollout>(release ? `api/v1/rollouts/${encodeURIComponent(release)}` : null, 60_000);
/** When something was first said of a rollout. */
const begun = ({ history, judged }: { history: Look[]; judged: Judged }): number => history[0]?.judged_at ?? judged.step_from ?? 0;

/** When the word may change. */
const next = ({ next_look, look_hours }: Judged): string => (look_hours === null ? '' : `, looked at after ${look_hours} h`) + (next_look !== null && next_look > now.value ? `, next look in ${span(next_look - now.value)}` : '');

/** What to do, so that nobody has to know the words. */
export function sentence({ verdict, release, step_percent }: Judged): string {
  if (verdict === 'pass') return step_percent < 100 ? `${release} may go on` : `${release} may stay in all stores`;
  return verdict === 'fail' ? `Stop ${release}` : `${release} may not go on yet`;
}

function Card({ release, samples, p95, part, isChosen, data }: { release: string; samples: number; p95: number | null; part: number; isChosen: boolean; data: Rollout | null }) {
  return (
    <button type="button" class="card" aria-pressed={isChosen} onClick={() => set({ release })} data-row="">
      <span class="card-head"><b>{release}</b>{data && <span class={'verdict is-' + STATES[data.verdict]}><Mark state={STATES[data.verdict]} isSaid={false} /> {WORDS[data.verdict]}</span>}</span>
      <svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><rect class="base" width="100" height="4" /><rect width={part * 100} height="4" /></svg>
      <span class="sub"><Num of={share(part)} /> · <Num of={count(samples)} /> {samples === 1 ? 'sync' : 'syncs'} · p95 <Num of={figure(p95, 'ms')} /></span>
    </button>
  );
}

function Verdict({ release }: { release: string }) {
  const answer = useRollout(release);
  const { data } = answer;
  const said = data?.judged;
  const judged = isWhole(said) ? said : null;
  const title = data ? WORDS[data.verdict] : '';
  return (
    <section class="judged" aria-label={`Verdict on ${release}`}>
      <Notice of={answer} />
      {data && <header class="bar"><h2 class="large"><Mark state={STATES[data.verdict]} /> {judged ? <>{release}<small> against {judged.against ?? 'nobody'}</small></> : `${title}: ${release}`}</h2></header>}
      {said && !judged && <ul class="plain">{said.reasons.map(({ code, text }) => <li key={code}>{text}</li>)}</ul>}
      {data && !judged && !said?.reasons.length && <p class="nothing">This release is not being judged: it is no rollout that the collector sees. A release is rolled out if it was first seen within four weeks, after others had been seen for a day.</p>}
      {data && judged && <Why judged={judged} revisions={data.revisions} />}
      {judged && <Table judged={judged} />}
      {data && data.history.length > 0 && <>
        <Bar title="Looks" sub="Every word that was said, the latest first" />
        <Scroll label="Looks"><table>
          <Heads of="Said|When|Occasion|>Step|>After|Against|>Samples" />
          <tbody>{[...data.history].reverse().map((look, i) => (
            <tr key={i}><td class="name"><Mark state={STATES[look.verdict]} isSaid={false} />{WORDS[look.verdict]}</td><td><Time t={look.judged_at} /></td><td class="sub">{LOOKS[look.occasion] ?? look.occasion}</td>
              <td class="right num">{look.step_percent} %</td><td class="right num">{look.look_hours === null ? '–' : `${look.look_hours} h`}</td><td class="sub">{look.against ?? '–'}</td><Cell of={count(look.samples)} /></tr>
          ))}</tbody>
        </table></Scroll>
      </>}
    </section>
  );
}

function Why({ judged, revisions }: { judged: Judged; revisions: number }) {
  return (
    <div class="why-said">
      {judged.reasons.length > 0 && <ul>{judged.reasons.map(({ code, text }, i) => <li key={code + i}>{text}</li>)}</ul>}
      <p class="sub">
        Step of {judged.step_percent} % · {plural(judged.stores.candidates, 'store')} against {grouped(judged.stores.controls)} · {plural(judged.terminals.candidates, 'till')}
        {judged.terminals.awaited > 0 && ` · ${plural(judged.terminals.awaited, 'till')} awaited`}
        {judged.next_look_hours !== null && ` · next look at ${judged.next_look_hours} h`}
        {judged.method === 'alone' && ' · nobody is left to be held against'}
        {revisions > 0 && ` · ${plural(revisions, 'verdict')} revised`}
      </p>
    </div>
  );
}

const SAID: Record<string, [string, string]> = {
  worse: ['worse', 'critical'], past_limit: ['past the limit', 'critical'], good: ['good so far', ''], undecided: ['undecided', 'warning'], between_the_limits: ['between the limits', 'warning'],
  compared: ['compared', 'quiet'], too_few_stores: ['too few stores', 'quiet'], too_few_samples: ['too few samples', 'quiet'], absent: ['nobody measured it', 'quiet'],
};

function value(of: JudgedMetric, n: number | null): Figure {
  if (of.kind === 'success') return n === null ? NONE : share(1 - n, 2);
  if (of.kind === 'failure') return rate(n);
  return of.unit ? figure(n, of.unit) : { text: n === null ? '–' : digits(n), unit: '' };
}
const signed = (n: number): string => (n < 0 ? '−' : '+') + Math.abs(n * 100).toFixed(2);

/** What the plan tolerates or asks for, in words. */
function limit(of: JudgedMetric): string {
  const { worse_at_most, green, rollback } = of.limits;
  const parts: string[] = [];
  const set = (n: number): string => (of.unit ? exact(n, of.unit) : plain(value(of, n)).replace(/\.?0+(?=\u202f)/, ''));
  if (worse_at_most !== null) parts.push(`×${worse_at_most}`);
  if (green !== null) parts.push(`pass ${set(green)}`);
  if (rollback !== null && of.kind !== 'volume') parts.push(`stop ${set(rollback)}`);
  return parts.join(' · ');
}

function Table({ judged }: { judged: Judged }) {
  return (
    <Scroll label="Measures"><table class="intervals">
      <thead><tr><th>Measure</th><th>Word</th><th class="right">Before</th><th class="right">Now</th><th class="right">Others</th><th title="The interval, the factor tolerated (dashed), and no change (solid)">Worse by</th><th class="right">Estimate</th><th class="right">Stores</th><th class="right">Samples</th><th>Limits of the plan</th></tr></thead>
      <tbody>{judged.metrics.map((one) => {
        const [said, level] = SAID[one.state] ?? [one.state, ''];
        const { worse } = one;
        const isFactor = one.worse_is === 'factor';
        return (
          <tr key={one.metric}>
            <td class="name"><code>{one.metric}</code>{one.far.length > 0 && <small title={one.far.join(', ')}> {plural(one.far.length, 'store')} far off</small>}</td>
            <td class={level ? 'is-' + level : ''}>{said}</td>
            <Cell of={value(one, one.before)} />
            <Cell of={value(one, one.now)} level={level === 'critical' ? level : undefined} />
            <Cell of={value(one, one.others_now)} />
            <td><Interval of={one} level={level} /></td>
            <td class="right num">{worse?.estimate == null ? '–' : isFactor ? `×${worse.estimate.toFixed(2)}` : `${signed(worse.estimate)} pt`}</td>
            <td class="right num">{one.candidates}/{one.controls}</td>
            <Cell of={count(one.samples)} />
            <td class="sub">{limit(one)}</td>
          </tr>
        );
      })}</tbody>
    </table></Scroll>
  );
}

const WIDTH = 160;
const MARGIN = 4;
const [LEAST, GREATEST] = [0.7, 1.8];

/** Factors on a log scale from 0.7 to 1.8; differences of shares from −1 to +1 point. An arrow says that it goes on. */
function Interval({ of, level }: { of: JudgedMetric; level: string }) {
  const { worse, worse_is, limits } = of;
  const isFactor = worse_is === 'factor';
  const part = (n: number): number => (isFactor ? Math.log(Math.max(n, 0.01) / LEAST) / Math.log(GREATEST / LEAST) : (n * 100 + 1) / 2);
  const x = (n: number): number => MARGIN + Math.min(1, Math.max(0, part(n))) * (WIDTH - 2 * MARGIN);
  if (!worse || worse.estimate === null) return <span class="sub">not compared</span>;
  const [low, high] = [worse.low, worse.high];
  const say = (n: number | null): string => (n === null ? '?' : isFactor ? n.toFixed(2) : signed(n));
  const label = `Worse by ${say(worse.estimate)}, between ${say(low)} and ${say(high)}${limits.worse_at_most === null ? '' : `, tolerated ${limits.worse_at_most}`}`;
  return (
    <svg class={'interval is-' + level} width={WIDTH} height="26" viewBox={`0 0 ${WIDTH} 26`} role="img" aria-label={label}>
      <title>{label}</title>
      <path class="base" d={`M${MARGIN} 13H${WIDTH - MARGIN}`} /><path class="even" d={`M${x(isFactor ? 1 : 0)} 4V22`} />
      {limits.worse_at_most !== null && <path class="tolerated" d={`M${x(limits.worse_at_most)} 2V24`} />}
      <path class={'reach' + (low === null ? ' is-open' : '')} d={`M${low === null ? MARGIN : x(low)} 13H${x(worse.estimate)}`} />
      <path class={'reach' + (high === null ? ' is-open' : '')} d={`M${x(worse.estimate)} 13H${high === null ? WIDTH - MARGIN : x(high)}`} />
      <circle cx={x(worse.estimate)} cy="13" r="3.5" />
    </svg>
  );
}
