// Ways from a number to what explains it: the runbook that the collector serves, and the board in Grafana.
import { about } from './about';
import { search } from './address';
import { boardOf, runbookOf, type Scope } from './runbooks';

/** Only what a browser opens as a page: the address comes from the settings. */
const isPage = (address: string | null | undefined): address is string => /^https?:\/\//.test(address ?? '');

const BOOK = 'M7 3.5C6 2.5 4 2.5 1.5 2.5V11c2.5 0 4.5 0 5.5 1 1-1 3-1 5.5-1V2.5c-2.5 0-4.5 0-5.5 1V12';
const LINES = 'M2 2v10h10M4.5 9l2.5-3.5L9 7l3-4';
const icon = (path: string) => <svg viewBox="0 0 14 14" width="13" height="13" aria-hidden="true"><path d={path} /></svg>;

/** Names the runbook itself, or the metric that it is about. Nothing is shown where there is none. */
export function Explain({ runbook, metric = '', scope, store_id, terminal_id, release, isSmall }: {
  isSmall?: boolean; runbook?: string; metric?: string; scope?: Scope; store_id?: string; terminal_id?: string; release?: string;
}) {
  const name = runbook ?? runbookOf(metric, scope);
  if (!name) return null;
  const grafana = about.value?.grafana_url;
  const board = boardOf(name);
  const variables = search({ 'var-store_id': store_id, 'var-terminal_id': terminal_id, 'var-release': release });
  return (
    <span class={'explain' + (isSmall ? ' is-small' : '')}>
      <a href={`./runbooks/${name}.md`} target="_blank" rel="noopener" title={`Runbook ${name}`} aria-label={`Runbook ${name}, in a new tab`}>{isSmall ? icon(BOOK) : 'Runbook'}</a>
      {isPage(grafana) && <a href={`${grafana.replace(/\/+$/, '')}/d/${board}${variables && '?' + variables}`} target="_blank" rel="noopener" title={`Grafana board ${board}`} aria-label={`Grafana board ${board}, in a new tab`}>{isSmall ? icon(LINES) : 'Grafana'}</a>}
    </span>
  );
}
