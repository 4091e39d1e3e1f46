// Groups of errors, and one of them.
import { now, place, set, useAnswer } from '../state';
import { search } from '../address';
import { count, plural } from '../format';
import { Bars, Cell, Choice, Field, Heading, Link, Notice, Num, Ranges, Scroll, Segments, Time, Bar, Heads } from '../ui';
import { Explain } from '../links';
import type { ErrorDetail, Errors, Part } from '../types';

const HOUR = 3_600_000;
const RANGES: Record<string, number> = { '24h': 24 * HOUR, '7d': 168 * HOUR, '30d': 720 * HOUR };
const KINDS = ['error', 'offline', 'online', 'shutdown', 'battery', 'custom'];

function useRange(): { chosen: string; since: number } {
  const { params } = place.value;
  const chosen = RANGES[params.range] ? params.range : '24h';
  return { chosen, since: Math.floor(now.value / HOUR) * HOUR - RANGES[chosen] };
}

export function ErrorsView() {
  const { params } = place.value;
  return params.fingerprint ? <Detail key={params.fingerprint} fingerprint={params.fingerprint} /> : <List />;
}

function List() {
  const { params } = place.value;
  const { chosen, since } = useRange();
  const answer = useAnswer<Errors>('api/v1/errors?' + search({ since, store_id: params.store_id, release: params.release, order_by: params.order_by, kind: params.kind, limit: 200 }), 15_000);
  const data = answer.data;
  const most = Math.max(1, ...(data?.groups.flatMap(({ trend }) => trend.map(({ count }) => count)) ?? []));
  const isError = !params.kind || params.kind === 'error';
  return (
    <>
      <header class="head">
        <div><Heading>Errors</Heading><p class="sub">An error is known again by its type and the functions that it came from. <Explain runbook={params.order_by === 'first_seen' ? 'PosNewError' : 'PosErrorSpike'} store_id={params.store_id} release={params.release} /></p></div>
        <Ranges of={RANGES} chosen={chosen} otherwise="24h" />
      </header>
      <div class="fields">
        <div class="field"><span>First</span><Segments label="First" options={[{ value: '', text: 'most often' }, { value: 'first_seen', text: 'new' }, { value: 'stores', text: 'most stores' }]} chosen={[params.order_by ?? '']} onChoose={(order_by) => set({ order_by })} /></div>
        <Choice label="Kind" value={params.kind ?? 'error'} options={KINDS.map((value) => ({ value, text: value }))} onChoose={(kind) => set({ kind: kind === 'error' ? '' : kind })} />
        <Field label="Store" value={params.store_id ?? ''} onTake={(store_id) => set({ store_id })} />
        <Field label="Release" value={params.release ?? ''} onTake={(release) => set({ release })} />
      </div>
      <Notice of={answer} />
      {data && !data.groups.length && <p class="nothing">No {isError ? 'error' : 'event of this kind'} was reported in this range.</p>}
      {data && data.groups.length > 0 && (
        <Scroll label="Groups"><table class="is-tall">
          <Heads of={`${isError ? 'Error' : 'Event'}|${data.step_s > 3600 ? 'By day' : 'By hour'}|>Number|>Stores|>Tills|Releases|First seen|Last seen`} />
          <tbody>{data.groups.map((one) => (
            <tr key={one.fingerprint}>
              <td class="error"><Link to="errors" params={{ ...params, fingerprint: one.fingerprint }} data-row="">{one.type || one.name || one.fingerprint}</Link>{one.fatal > 0 && <em class="is-critical"> fatal</em>}<p>{one.message || one.note}</p></td>
              <td><Bars points={one.trend} from={data.since} to={data.complete_to} step={data.step_s * 1000} most={most} label={`Counts of ${one.type ?? one.name ?? 'the group'}, all on one scale`} /></td>
              <Cell of={count(one.count)} />
              <Cell of={count(one.stores)} />
              <td class="right"><Num of={count(one.terminals)} />{one.are_more && '+'}</td>
              <td class="sub">{one.releases.slice(0, 3).join(', ')}{one.releases.length > 3 && ` +${one.releases.length - 3}`}</td>
              <td><Time t={one.first_seen} /></td>
              <td><Time t={one.last_seen} /></td>
            </tr>
          ))}</tbody>
        </table></Scroll>
      )}
      {data && !data.is_whole && <p class="sub">There are more groups than these {data.groups.length}.</p>}
    </>
  );
}

function Detail({ fingerprint }: { fingerprint: string }) {
  const { params } = place.value;
  const { chosen, since } = useRange();
  const answer = useAnswer<ErrorDetail>(`api/v1/errors/${encodeURIComponent(fingerprint)}?` + search({ since, store_id: params.store_id, release: params.release }), 15_000);
  const one = answer.data;
  const { fingerprint: _, ...rest } = params;
  return (
    <>
      <p class="crumbs"><Link to="errors" params={rest}>Errors</Link> / <code>{fingerprint}</code></p>
      <header class="head">
        <div><Heading>{one?.type || one?.name || 'Error'}</Heading><p class="message">{one?.message || one?.note}</p><Explain runbook={one && one.releases.length === 1 ? 'PosNewError' : 'PosErrorSpike'} store_id={params.store_id} release={params.release} /></div>
        <Ranges of={RANGES} chosen={chosen} otherwise="24h" />
      </header>
      <Notice of={answer} />
      {one && <>
        <dl class="headline">
          <div><dt>Number</dt><dd><Num of={count(one.count)} /></dd></div>
          <div><dt>Fatal</dt><dd><Num of={count(one.fatal)} level={one.fatal ? 'critical' : undefined} /></dd></div>
          <div><dt>Stores</dt><dd><Num of={count(one.stores)} /></dd></div>
          <div><dt>Tills</dt><dd><Num of={count(one.terminals)} /></dd></div>
          <div><dt>First seen</dt><dd><Time t={one.first_seen} /></dd></div>
          <div><dt>Last seen</dt><dd><Time t={one.last_seen} /></dd></div>
        </dl>
        <Bars points={one.trend} from={one.since} to={one.complete_to} step={one.step_s * 1000} most={Math.max(1, ...one.trend.map(({ count }) => count))} width={720} height={64} label="Counts over the range" />
        <div class="columns">
          <section>
            <Bar title="Stack" sub={one.frames_release ? `of release ${one.frames_release}, innermost first` : ''} />
            {one.frames?.length ? <ol class="frames">{one.frames.map((frame, i) => {
              const { original } = frame;
              return <li key={i}><code>{original?.fn || frame.fn || '(anonymous)'}</code><span class="sub">{original ? `${original.source}:${original.line}:${original.col}` : `${frame.module ?? ''}${frame.line == null ? '' : `:${frame.line}:${frame.col ?? 0}`}`}</span></li>;
            })}</ol> : <p class="nothing">No stack came with it.</p>}
          </section>
          <section>
            <Parts title="By release" parts={one.by_release ?? []} of="release" />
            <Parts title="By store" parts={one.by_store ?? []} of="store_id" />
            {one.some_terminals?.length > 0 && <><Bar title="Some of its tills" /><ul class="plain">{one.some_terminals.map((till) => <li key={till.store_id + '\n' + till.terminal_id}><Link to="store" params={{ store_id: till.store_id }}>{till.store_id}</Link> {till.terminal_id}</li>)}</ul></>}
          </section>
        </div>
      </>}
    </>
  );
}

function Parts({ title, parts, of }: { title: string; parts: Part[]; of: 'release' | 'store_id' }) {
  if (!parts.length) return null;
  const most = Math.max(...parts.map(({ count }) => count));
  return (
    <>
      <Bar title={title} sub={plural(parts.length, of === 'release' ? 'release' : 'store')} />
      <ul class="parts">{parts.slice(0, 12).map((part) => {
        const name = part[of] ?? '';
        return <li key={name}><span>{of === 'store_id' ? <Link to="store" params={{ store_id: name }} data-row="">{name}</Link> : name}</span><svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"><rect width={(part.count / most) * 100} height="6" /></svg><Num of={count(part.count)} /></li>;
      })}</ul>
    </>
  );
}
