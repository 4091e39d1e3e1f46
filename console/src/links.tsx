// Ways from a number to what explains it: the runbook that the collector serves, and the board in Grafana.
import { about } from './about';
import { search } from './address';
import { boardOf, runbookOf, type Scope } from './runbooks';

/** Only what a browser opens as a page: the address comes from the settings. */
const isPage = (address: string | null | undefined): address is string => /^https?:\/\//.test(address ?? '');

/** Names the runbook itself, or the metric that it is about. Nothing is shown where there is none. */
export function Explain({ runbook, metric = '', scope, store_id, terminal_id, release }: {
  runbook?: string; metric?: string; scope?: Scope; store_id?: string; terminal_id?: string; release?: string;
}) {
  const name = runbook ?? runbookOf(metric, scope);
  if (!name) return null;
  const grafana = about.value?.grafana_url;
  const board = boardOf(name);
  const variables = search({ 'var-store_id': store_id, 'var-terminal_id': terminal_id, 'var-release': release });
  return (
    <span class="explain">
      <a href={`./runbooks/${name}.md`} target="_blank" rel="noopener" title={name} aria-label={`Runbook ${name}, in a new tab`}>Runbook</a>
      {isPage(grafana) && <a href={`${grafana.replace(/\/+$/, '')}/d/${board}${variables && '?' + variables}`} target="_blank" rel="noopener" title={board} aria-label={`Grafana board ${board}, in a new tab`}>Grafana</a>}
    </span>
  );
}
