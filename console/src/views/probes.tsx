// What probes found: programs that use the page as a cashier does, so that somebody notices when nobody else is there.
import { now, place, useAnswer, useCatalogue } from '../state';
import { search } from '../address';
import { count, exact, figure } from '../format';
import { Command, Heading, Link, Notice, Ranges, Scroll, Bar, Cell, levelAt } from '../ui';
import { Explain } from '../links';
import type { Percentiles } from '../types';

const HOUR = 3_600_000;
const RANGES: Record<string, number> = { '24h': 24, '7d': 168, '30d': 720 };
/** What the scenarios that are shipped post, with a name for the column. */
const SHIPPED: [string, string][] = [['offline_login_duration_ms', 'Login offline'], ['sync_100_duration_ms', '100 sales synchronised'], ['reconnect_to_synced_ms', 'Back from offline'], ['memory_used_mb', 'Memory after 1,000 sales']];
const RUN = `npm ci --prefix probe
node probe/bin/tillwatch-probe.mjs run probe/scenarios/*.json \\
  --url https://pos.example.com --store store-017 \\
  --collector https://rum.example.com --token-file /etc/tillwatch/probe.key \\
  --metrics 127.0.0.1:9469`;

export function ProbesView() {
  const { params } = place.value;
  const catalogue = useCatalogue();
  const chosen = RANGES[params.range] ? params.range : '24h';
  const from = Math.floor(now.value / HOUR) * HOUR - RANGES[chosen] * HOUR;
  const answers = SHIPPED.map(([metric]) => useAnswer<Percentiles>(catalogue.size ? 'api/v1/percentiles?' + search({ metric, source: 'synthetic', group_by: 'store_id', order_by: '0.95', q: '0.95', from, limit: 200 }) : null, 60_000));
  const stores = [...new Set(answers.flatMap(({ data }) => data?.series.map(({ store_id }) => store_id ?? '') ?? []))].sort();
  const isAnswered = answers.every(({ data, error }) => data || error);
  const failed = answers.find(({ error }) => error) ?? answers[0];
  return (
    <>
      <header class="head">
        <div><Heading>Probes</Heading><p class="sub">Programs that use the page of a till by themselves. What they find is kept apart from what people measure.</p></div>
        <Ranges of={RANGES} chosen={chosen} otherwise="24h" />
      </header>
      <Notice of={failed} />
      {isAnswered && stores.length === 0 && !failed.error && <Empty range={chosen} />}
      {stores.length > 0 && <>
        <Scroll label="What probes found, by store"><table class="probes">
          <thead>
            <tr><th rowSpan={2}>Store</th>{SHIPPED.map(([metric, name]) => { const limits = catalogue.get(metric)?.thresholds ?? []; return <th key={metric} colSpan={2} scope="colgroup" class="right" title={metric}>{name}{limits.length > 0 && <small> · limit {exact(limits[0], catalogue.get(metric)!.unit)}</small>}</th>; })}</tr>
            <tr>{SHIPPED.map(([metric]) => [<th key={metric} class="right">p95</th>, <th key={metric + 'n'} class="right">Count</th>])}</tr>
          </thead>
          <tbody>{stores.map((store_id) => (
            <tr key={store_id}>
              <td class="name"><Link to="query" params={{ metric: SHIPPED[0][0], source: 'synthetic', store_id, range: chosen }} data-row="">{store_id}</Link></td>
              {SHIPPED.map(([metric], i) => {
                const point = answers[i].data?.series.find((one) => one.store_id === store_id)?.points[0];
                const limits = catalogue.get(metric)?.thresholds ?? [];
                const value = point?.values['0.95'] ?? null;
                return [<Cell key={metric} of={figure(value, answers[i].data?.unit ?? '')} level={levelAt(value, limits)} />, <Cell key={metric + 'n'} of={count(point?.count)} level="quiet" />];
              })}
            </tr>
          ))}</tbody>
        </table></Scroll>
        <p class="said">Scenarios may have stricter limits than the catalogue.</p>
      </>}
      {isAnswered && <>
        <Bar title="Alerts" sub="Probes tell Prometheus whether their scenarios pass. It alerts if" />
        <ul class="plain alerts">
          <li>the last run of a scenario failed <Explain runbook="PosSyntheticFailing" /></li>
          <li>something that it measured is over its limit <Explain runbook="PosSyntheticSlow" /></li>
          <li>none has ended for two intervals <Explain runbook="PosSyntheticMissing" /></li>
        </ul>
      </>}
    </>
  );
}

function Empty({ range }: { range: string }) {
  return (
    <div class="empty">
      <p><b>No probe has posted in the last {range}.</b> Run one, with the address of your till's page, a store for tests and the address to which tills post. Where the collector asks for credentials, the key is one of the scope <code>post</code>.</p>
      <Command text={RUN} />
    </div>
  );
}
