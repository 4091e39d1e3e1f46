// Any metric as a plot and a table. The address is the query.
import { useMemo, useState } from 'preact/hooks';
import { now, place, set, useAnswer, useCatalogue, zone } from '../state';
import { milliseconds, range, search, stepFor } from '../address';
import { count, exact, figure, grouped, moment, offset, plural, quantile, share, shifted, zoneName } from '../format';
import { csv } from '../csv';
import { Chart, type Line } from '../chart';
import { anyOf, Cell, Choice, Copy, Field, Heading, Link, Notice, Num, Scroll, Segments, save, levelAt } from '../ui';
import { about } from '../about';
import { Explain } from '../links';
import type { Percentiles, Series } from '../types';

const RANGES = ['15m', '1h', '6h', '24h', '7d', '30d', '90d'];
const QUANTILES = ['0.5', '0.75', '0.95', '0.99'];
const STEPS = ['1m', '5m', '15m', '1h', '6h', '1d'];
const GROUPS = [{ value: '', text: 'nothing' }, { value: 'store_id', text: 'store' }, { value: 'release', text: 'release' }, { value: 'connection', text: 'connection' }, { value: 'label', text: 'label' }];
const KINDS = { distribution: 'Distributions', level: 'Levels', counter: 'Counters' };
const ORDERS: Record<string, string> = { count: 'most samples', sum: 'greatest sum', max: 'greatest value', over: 'most over the limit' };
const LIMITS = ['6', '20', '50', '100'];
const COLOURS = 6;
const MOST_POINTS = 11_000;

const nameOf = (series: Series, group: string): string => (group ? String((series as unknown as Record<string, unknown>)[group] ?? '–') : 'all');

export function QueryView() {
  const { params } = place.value;
  const catalogue = useCatalogue();
  const metric = params.metric || 'sync_duration_ms';
  const known = catalogue.get(metric) ?? [...catalogue.values()].find(({ aliases }) => aliases.includes(metric));
  const isCounter = known?.kind === 'counter';
  const given = (params.q ?? '').split(',').filter((q) => q && Number(q) >= 0 && Number(q) <= 1);
  const qs = given.length ? given : ['0.5', '0.95'];
  const group = params.group_by ?? '';
  const plotted = params.plot && qs.includes(params.plot) ? params.plot : qs[qs.length - 1];
  const isLog = params.scale === 'log';
  const [isAsked, setAsked] = useState(false);
  // What narrows the answer is never out of sight.
  const isMore = isAsked || Boolean(params.connection || params.label || params.source);
  const [lifted, setLifted] = useState<string | null>(null);

  const minute = Math.floor(now.value / 60_000);
  const when = useMemo(() => range(params, minute * 60_000), [params.from, params.to, params.range, minute]);
  const length = when.to - when.from;
  const auto = stepFor(length);
  // Whoever writes a step by hand may ask for more points than an answer has.
  const step = milliseconds(params.step) && length / milliseconds(params.step)! <= 2000 ? params.step : auto;
  const each = milliseconds(step)!;
  const start = Math.floor(when.from / each) * each;
  const points = Math.ceil((when.to - start) / each) + 1;
  const most = Math.max(1, Math.min(200, Math.floor(MOST_POINTS / points)));

  const orders = isCounter ? ['sum', 'count', 'max'] : [...qs, 'count', 'max', 'over'];
  const order = orders.includes(params.order_by) ? params.order_by : isCounter ? 'sum' : plotted;

  const asked = {
    metric, from: start, to: when.to, q: isCounter ? undefined : qs.join(','), group_by: group, store_id: params.store_id, release: params.release, connection: params.connection, label: params.label, source: params.source,
    ...(group ? { order_by: order, limit: Math.min(most, Number(params.limit) || most) } : {}),
  };
  const isReady = catalogue.size > 0;
  const plot = useAnswer<Percentiles>(isReady ? 'api/v1/percentiles?' + search({ ...asked, step }) : null);
  // Percentiles of the whole range are another question: they are not made of those of its parts.
  const whole = useAnswer<Percentiles>(isReady ? 'api/v1/percentiles?' + search(asked) : null);
  // What was answered to another question stays out of the plot: its lines would stand under a wrong name.
  const isSame = (path: string): boolean => {
    const answered = new URLSearchParams(path.split('?')[1]);
    return answered.get('metric') === metric && (answered.get('group_by') ?? '') === group && (isCounter || qs.every((q) => answered.get('q')?.split(',').includes(q)));
  };
  const data = isSame(plot.path) ? plot.data : null;
  const unit = data?.unit ?? known?.unit ?? '';
  const limits = known?.thresholds ?? [];
  const title = (name: string) => group ? name : isCounter ? 'sum' : quantile(plotted);

  const lines: Line[] = useMemo(() => {
    if (!data) return [];
    if (!group && !isCounter) {
      return [...qs].sort((one, other) => Number(other) - Number(one)).map((q, i) => ({ key: q, label: quantile(q), look: q === plotted ? 'ink' as const : i < 4 ? 'thin' as const : 'faint' as const, points: (data.series[0]?.points ?? []).map(({ t, values }) => [t, values[q]] as [number, number]).filter(([, v]) => v !== undefined) }));
    }
    return data.series.map((series, i) => ({
      key: nameOf(series, group), label: title(nameOf(series, group)), look: group ? (i < COLOURS ? i : 'faint' as const) : 'ink' as const,
      points: isCounter ? zeros(series, start, Math.min(when.to, data.complete_to), each) : series.points.map((point) => [point.t, point.values[plotted]] as [number, number]).filter(([, v]) => v !== undefined),
    }));
  }, [data, group, plotted, isCounter]);
  const counts = useMemo(() => {
    const sums = new Map<number, number>();
    for (const { points } of data?.series ?? []) for (const { t, count } of points) sums.set(t, (sums.get(t) ?? 0) + count);
    return [...sums];
  }, [data]);

  const rows = (isSame(whole.path) && whole.data?.series) || [];
  const samples = rows.reduce((sum, { points }) => sum + points.reduce((more, { count }) => more + count, 0), 0);
  const toggle = (q: string): void => {
    const next = qs.includes(q) ? qs.filter((one) => one !== q) : [...qs, q].sort((one, other) => Number(one) - Number(other));
    if (next.length) set({ q: next.join(','), plot: next.includes(params.plot) ? params.plot : '' }, true);
  };
  const apiAddress = (): string => new URL('api/v1/percentiles?' + search({ ...asked, step }), document.baseURI).href;
  // A name may hold a quote, and whoever pastes this runs it in a shell.
  const curl = (): string => `curl -s ${about.value?.auth === 'required' ? '-H "Authorization: Bearer $KEY" ' : ''}'${apiAddress().replaceAll("'", '%27')}'`;
  const download = (): void => {
    const kept = data?.series ?? [];
    const head = ['time', 'unix_ms', ...(group ? [group] : []), 'count', 'sum', 'min', 'max', ...(isCounter ? [] : qs.map(quantile)), ...limits.map((limit) => `over_${limit}`)];
    const body = kept.flatMap((series) => series.points.map((point) => [
      new Date(point.t).toISOString(), point.t, ...(group ? [nameOf(series, group)] : []), point.count, point.sum, point.min, point.max, ...(isCounter ? [] : qs.map((q) => point.values[q])), ...limits.map((_, i) => point.over?.[i]),
    ]));
    save(`${metric}-${new Date(start).toISOString().slice(0, 16).replace(':', '')}.csv`, csv([head, ...body]));
  };

  const options = Object.entries(KINDS).flatMap(([kind, group]) => [...catalogue.values()].filter((one) => one.kind === kind && one.metric !== 'summaries').map(({ metric }) => ({ value: metric, text: metric, group })).sort((one, other) => (one.value < other.value ? -1 : 1)));
  const error = plot.error ? plot : whole;
  return (
    <>
      <header class="head">
        <div><Heading>Query</Heading><p class="sub">True percentiles: histograms are merged, never averaged; within 0.1 %.</p></div>
        <div class="buttons">
          <Copy text={() => location.href}>Copy link</Copy>
          <button type="button" class="button" disabled={when.isFixed} onClick={() => set({ from: String(when.from), to: String(when.to), range: '' })}>Fixed times</button>
          <Copy text={curl}>Copy curl</Copy>
          <button type="button" class="button" disabled={!data} onClick={download}>CSV</button>
        </div>
      </header>
      <div class="fields">
        <Choice label="Metric" value={known?.metric ?? metric} options={options} onChoose={(value) => set({ metric: value, label: '' })} />
        {!isCounter && <div class="field"><span>Percentiles</span><Segments label="Percentiles" isMany options={QUANTILES.map((value) => ({ value, text: quantile(value) }))} chosen={qs} onChoose={toggle} /></div>}
        <div class="field is-range"><span>Range</span><Segments label="Range" options={RANGES.map((value) => ({ value, text: value }))} chosen={when.isFixed ? [] : [when.name]} onChoose={(value) => set({ range: value, from: '', to: '', step: '' })} /></div>
        <Choice label="Step" value={params.step ?? ''} options={[{ value: '', text: `auto (${auto})` }, ...STEPS.filter((one) => length / milliseconds(one)! <= 2000 && milliseconds(one)! <= length).map((value) => ({ value, text: value }))]} onChoose={(value) => set({ step: value }, true)} />
        <Choice label="Split by" value={group} options={GROUPS.filter(({ value }) => value !== 'label' || known?.label != null || group === 'label')} onChoose={(value) => set({ group_by: value })} />
        {group && <Choice label="First" value={order} options={orders.map((value) => ({ value, text: ORDERS[value] ?? `highest ${quantile(value)}` }))} onChoose={(value) => set({ order_by: value }, true)} />}
        {group && <Choice label="At most" value={params.limit ?? ''} options={[{ value: '', text: String(most) }, ...LIMITS.filter((value) => Number(value) < most).map((value) => ({ value, text: value }))]} onChoose={(value) => set({ limit: value }, true)} />}
        <Field label="Store" value={params.store_id ?? ''} onTake={(value) => set({ store_id: value })} list="stores" />
        <Field label="Release" value={params.release ?? ''} onTake={(value) => set({ release: value })} />
        {isMore && <><Field label="Connection" value={params.connection ?? ''} onTake={(value) => set({ connection: value })} />
        {known?.label != null && <Choice label={known.label.key} value={params.label ?? ''} options={anyOf(known.label.values)} onChoose={(value) => set({ label: value })} />}
        <Choice label="Measured by" value={params.source ?? ''} options={[{ value: '', text: 'people' }, { value: 'synthetic', text: 'probes' }, { value: 'all', text: 'both' }]} onChoose={(value) => set({ source: value })} /></>}
        {when.isFixed && <><Moment label="From" value={when.from} onTake={(from) => set({ from: String(Math.min(from, when.to - 60_000)) })} /><Moment label="To" value={when.to} onTake={(to) => set({ to: String(Math.max(to, when.from + 60_000)) })} /></>}
        <div class="field"><button type="button" class="button" aria-expanded={isMore} onClick={() => { setAsked(!isMore); set({ connection: '', label: '', source: '' }, true); }}>{isMore ? 'Fewer filters' : 'More filters'}</button></div>
        <StoreNames />
      </div>
      <Notice of={error} />
      {(data || !error.error) && <div class={'plot' + (plot.isLoading && data ? ' is-loading' : '')} aria-busy={plot.isLoading}>
        <header><code>{metric}</code> <span class="sub">{known?.help}</span> <Explain metric={known?.metric} scope={params.store_id || group === 'store_id' ? 'store' : params.release || group === 'release' ? 'release' : 'fleet'} store_id={params.store_id} release={params.release} /></header>
        <Chart name={metric} lines={lines} from={start} to={when.to} step={each} unit={unit} limits={isCounter ? [] : limits} counts={counts} isAsking={!data} height={280} isLog={isLog} lifted={lifted} onLift={group ? setLifted : undefined}
          onZoom={(from, to) => set({ from: String(from), to: String(to), range: '', step: '' })} />
        <footer>
          <span>{moment(when.from, zone.value)} to {moment(when.to, zone.value)} {zoneName(when.to, zone.value)}</span><span>{step} steps</span><span><Num of={count(samples)} /> samples</span>
          {group && data && <span>{plural(data.series.length, 'series', 'series')}{data.series_total && data.series_total > data.series.length ? ` of ${grouped(data.series_total)}` : ''}{data.series.length > COLOURS ? `, the ${COLOURS} highest in colour` : ''}</span>}
          {data && <span>complete to {moment(data.complete_to, zone.value).slice(-5)}</span>}
          <span class="push">
            <Segments label="Scale" options={[{ value: '', text: 'linear' }, { value: 'log', text: 'log' }]} chosen={[params.scale ?? '']} onChoose={(scale) => set({ scale }, true)} />
            {!isCounter && qs.length > 1 && <Segments label="Plotted" options={qs.map((value) => ({ value, text: quantile(value) }))} chosen={[plotted]} onChoose={(value) => set({ plot: value }, true)} />}
          </span>
        </footer>
      </div>}
      {rows.length > 0 && (
        <Scroll label="Values of the whole range"><table>
          <thead><tr><th>{GROUPS.find(({ value }) => value === group)?.text === 'nothing' ? 'Series' : GROUPS.find(({ value }) => value === group)?.text ?? group}</th><th class="right">Samples</th>{isCounter ? <th class="right">Sum</th> : qs.map((q) => <th key={q} class="right">{quantile(q)}</th>)}<th class="right">Greatest</th>{!isCounter && limits.map((limit) => <th key={limit} class="right">over {exact(limit, unit)}</th>)}</tr></thead>
          <tbody>{rows.map((series, i) => {
            const point = series.points[0];
            if (!point) return null;
            const name = nameOf(series, group);
            const inPlot = lines.find(({ key }) => key === name);
            return (
              <tr key={name + i} class={lifted === name ? 'is-lifted' : ''} onPointerEnter={() => group && setLifted(name)} onPointerLeave={() => setLifted(null)}>
                <td class="name">{group && <i class={'swatch ' + (typeof inPlot?.look === 'number' ? 'series-' + inPlot.look : '')} />}{group === 'store_id' ? <Link to="store" params={{ store_id: name }} data-row="">{name}</Link> : name}</td>
                <Cell of={count(point.count)} />
                {isCounter ? <Cell of={count(point.sum)} /> : qs.map((q) => <Cell key={q} of={figure(point.values[q], unit)} level={levelAt(point.values[q], limits)} />)}
                <Cell of={figure(point.max, unit)} level="quiet" />
                {!isCounter && limits.map((limit, j) => <Cell key={limit} of={share(point.over[j] / point.count, 2)} />)}
              </tr>
            );
          })}</tbody>
        </table></Scroll>
      )}
    </>
  );
}

/** A time in the zone of the page, for whoever cannot draw a range with the pointer. */
function Moment({ label, value, onTake }: { label: string; value: number; onTake: (t: number) => void }) {
  const take = (event: { currentTarget: HTMLInputElement }): void => {
    const t = Date.parse(event.currentTarget.value + 'Z');
    // The offset is that of the time meant, but for the hour in which the clocks change.
    if (t > 0) onTake(t - offset(t - offset(t, zone.value) * 60_000, zone.value) * 60_000);
  };
  return <label class="field"><span>{label}</span><input class="is-moment" type="datetime-local" value={shifted(value, zone.value).toISOString().slice(0, 16)} onChange={take} /></label>;
}

/** What was not counted did not happen: a counter is 0 where it has no point. */
function zeros(series: Series, from: number, to: number, step: number): [number, number][] {
  const sums = new Map(series.points.map(({ t, sum }) => [t, sum]));
  const points: [number, number][] = [];
  for (let t = from; t < to; t += step) points.push([t, sums.get(t) ?? 0]);
  return points;
}

/** Names to choose from, for the field that asks for a store. */
function StoreNames() {
  const { data } = useAnswer<{ stores: { store_id: string }[] }>('api/v1/stores?limit=2000');
  return <datalist id="stores">{data?.stores.map(({ store_id }) => <option key={store_id} value={store_id} />)}</datalist>;
}
