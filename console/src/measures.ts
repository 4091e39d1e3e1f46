// The measures of a store in a row, and why a store stands where it stands, in words.
import { count, exact, figure, grouped, plain, plural, share, span, type Figure } from './format';
import type { FleetKey } from './order';
import type { FleetState, FleetStore, FleetValues, Why } from './types';

export interface Column { key: Exclude<FleetKey, 'store_id'>; title: string; metric: string; words: string; /** Only on a wide screen, or not on a tight one. */ isExtra?: boolean; isFirstToGo?: boolean; show: (store: FleetValues) => Figure }

export const COLUMNS: Column[] = [
  { key: 'sync_p95_ms', title: 'Sync p95', metric: 'sync_duration_ms', words: 'Sync p95', show: (store) => figure(store.sync_p95_ms, 'ms') },
  { key: 'sync_success', title: 'Synced', metric: 'sync_success', words: 'Synced', show: (store) => share(store.sync_success) },
  { key: 'login_p95_ms', title: 'Login p95', metric: 'offline_login_duration_ms', words: 'Offline login p95', show: (store) => figure(store.login_p95_ms, 'ms') },
  { key: 'lcp_p75_ms', title: 'LCP p75', metric: 'lcp_ms', words: 'LCP p75', show: (store) => figure(store.lcp_p75_ms, 'ms') },
  { key: 'inp_p75_ms', title: 'INP p75', metric: 'inp_ms', words: 'INP p75', isFirstToGo: true, show: (store) => figure(store.inp_p75_ms, 'ms') },
  { key: 'network_p75_ms', title: 'Net p75', metric: 'network_latency_ms', words: 'Network latency p75', isFirstToGo: true, show: (store) => figure(store.network_p75_ms, 'ms') },
  { key: 'pending_max', title: 'Queue', metric: 'pending_transactions', words: 'Queue of a till', show: (store) => count(store.pending_max) },
  { key: 'memory_p95_mb', title: 'Memory', metric: 'memory_used_mb', words: 'Memory of a till', show: (store) => figure(store.memory_p95_mb, 'MB') },
  { key: 'sync_failing', title: 'Failing', metric: '', words: '', isExtra: true, show: (store) => count(store.sync_failing) },
  { key: 'missing', title: 'Missing', metric: '', words: '', isExtra: true, show: (store) => count(store.missing) },
  { key: 'sync_samples', title: 'Samples', metric: '', words: '', isExtra: true, show: (store) => count(store.sync_samples) },
];
export const HINTS: Record<string, string> = {
  sync_failing: 'Tills of which a synchronisation failed in the last ten minutes', missing: 'Batches that are missing and may still come', pending_max: 'Transactions that wait in the till with the most of them',
  sync_samples: 'Samples of sync_duration_ms in the last five minutes', memory_p95_mb: 'Of 100 tills 95 use less', sync_success: 'Share of the synchronisations of the last ten minutes that succeeded', network_p75_ms: 'A round trip to the back office', reporting: 'Tills that posted in the last ten minutes, of those known', last_report: 'How long ago the last batch came',
};

export const columnOf = (metric: string): Column | undefined => COLUMNS.find((one) => one.metric === metric || one.key === metric);
export const levelOf = ({ why }: FleetValues, { metric, key }: Column): string | undefined => why?.find((one) => one.metric === metric || one.metric === key)?.level;
export const has = (values: FleetValues, column: Column): boolean => values[column.key] !== undefined;

/** How many samples a number is of, if it is of samples. */
export const samplesOf = (values: FleetValues, key: string): number | null =>
  (key === 'sync_success' ? values.sync_attempts : key.endsWith('_ms') ? values[key.replace(/_p\d+_ms$/, '_samples') as 'sync_samples'] : null) ?? null;

/** What a number rests on, in words. */
export function restsOn(values: FleetValues, key: string): string {
  const isShare = key === 'sync_success';
  const n = samplesOf(values, key);
  if (n !== null) return `of ${plural(n, isShare ? 'attempt' : 'sample')} in ${isShare ? 10 : 5} min${n && n < 20 ? ', too few to judge' : ''}`;
  return HINTS[key] ?? '';
}

const VITALS = ['lcp_ms', 'inp_ms', 'cls_score', 'network_latency_ms'];
/** A metric that has no column, by its own name: "Queue wait p95". */
const wordsOf = (metric: string): string => `${metric.replace(/_(ms|mb|bytes|score|ratio|count)$/, '').replaceAll('_', ' ')}${/_(ms|bytes|score)$/.test(metric) ? (VITALS.includes(metric) ? ' p75' : ' p95') : ''}`.replace(/^./, (first) => first.toUpperCase()).replace(/^(Cls|Fcp|Ttfb|Idb)/, (name) => name.toUpperCase());
export const unitOf = (column: Column | undefined, metric: string): string => {
  const name = column?.metric || metric;
  const end = name.slice(name.lastIndexOf('_') + 1);
  return end === 'mb' ? 'MB' : ['ms', 'bytes', 'score', 'ratio'].includes(end) ? end : 'count';
};

/** What is past a limit, and which limit. */
export function passed({ metric, value, limit }: Why): { what: string; limit: string } {
  if (metric === 'terminals_silent') return { what: `${plural(value ?? 0, 'till')} silent`, limit: '' };
  const column = columnOf(metric);
  const unit = unitOf(column, metric);
  const isShare = column?.key === 'sync_success';
  return {
    what: isShare ? `Only ${plain(share(value))} synced` : `${column?.words ?? wordsOf(metric)} ${plain(figure(value, unit))}`,
    limit: limit == null ? '' : `limit ${isShare ? plain(share(limit)).replace('.0', '') : exact(limit, unit)}`,
  };
}

export const worstWhy = (why: Why[]): Why[] => [...why].sort((one, other) => (one.level < other.level ? -1 : one.level > other.level ? 1 : 0));

export function reason(store: Pick<FleetStore, 'state' | 'why' | 'last_report'>, time: number): string {
  if (store.state === 'silent') return store.last_report ? `Silent for ${span(Math.max(0, time - store.last_report))}` : 'Silent, and never heard of';
  const [first, ...rest] = worstWhy(store.why);
  if (!first) return store.state === 'quiet' ? 'Too few samples to judge' : '';
  const { what, limit } = passed(first);
  return what + (limit && ', ' + limit) + (rest.length ? ` +${rest.length}` : '');
}

export const heardOf = (store: FleetValues): string => {
  const reporting = store.reporting ?? 0;
  const known = store.terminals ?? reporting + (store.silent ?? 0);
  return reporting === known ? grouped(known) : `${grouped(reporting)}/${grouped(known)}`;
};

export const STATES: { state: FleetState; word: string }[] = [
  { state: 'critical', word: 'critical' }, { state: 'silent', word: 'silent' }, { state: 'warning', word: 'warning' }, { state: 'fine', word: 'good' }, { state: 'quiet', word: 'quiet' },
];
