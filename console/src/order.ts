import type { FleetState, FleetStore } from './types';

const RANK: Record<FleetState, number> = { silent: 0, critical: 1, warning: 2, fine: 3, quiet: 4 };

/** How far past its limits a store is: past those of its worst level only. What must be high counts by what is missing to 1. */
export function distance(store: Pick<FleetStore, 'why'>): number {
  let worst = 0;
  const isCritical = store.why.some(({ level }) => level === 'critical');
  for (const { level, value, limit } of store.why) {
    if (isCritical && level !== 'critical') continue;
    if (value == null || limit == null) continue;
    const far = limit > 0 && limit < 1 && value <= 1 && value < limit ? (1 - value) / (1 - limit) : limit > 0 ? value / limit : 0;
    if (far > worst) worst = far;
  }
  return worst;
}

const byName = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0);

/** Silent ones first, the longest first; then what is critical, by its distance from the limit. */
export function worstFirst(one: FleetStore, other: FleetStore): number {
  const rank = RANK[one.state] - RANK[other.state];
  if (rank) return rank;
  if (one.state === 'silent') return (one.last_report ?? 0) - (other.last_report ?? 0) || byName(one.store_id, other.store_id);
  return (other.distance ?? distance(other)) - (one.distance ?? distance(one)) || byName(one.store_id, other.store_id);
}

/** The same for stores that are in the order of their names: those that are well stay in it. */
export function worst<T extends FleetStore>(stores: T[]): T[] {
  const found: T[][] = [[], [], [], [], []];
  for (const store of stores) found[RANK[store.state]].push(store);
  return found.flatMap((some, rank) => (rank < RANK.fine ? some.sort(worstFirst) : some));
}

export type FleetKey = 'store_id' | 'sync_p95_ms' | 'sync_success' | 'login_p95_ms' | 'lcp_p75_ms' | 'inp_p75_ms' | 'network_p75_ms' | 'pending_max' | 'memory_p95_mb' | 'sync_failing' | 'missing' | 'sync_samples' | 'reporting' | 'last_report';

/** By one column; what has no value comes last whichever way it is sorted. */
export function byColumn(key: FleetKey, isDown: boolean): (one: FleetStore, other: FleetStore) => number {
  return (one, other) => {
    if (key === 'store_id') return byName(one.store_id, other.store_id) * (isDown ? -1 : 1);
    const a = one[key];
    const b = other[key];
    if (a == null || b == null) return (a == null ? 1 : 0) - (b == null ? 1 : 0) || byName(one.store_id, other.store_id);
    return (a - b) * (isDown ? -1 : 1) || byName(one.store_id, other.store_id);
  };
}

/** Stores in which every word is found: in the name, the release, or the state. */
export function find<T extends FleetStore>(stores: T[], text: string): T[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return stores;
  return stores.filter(({ store_id, release, state }) => {
    const all = `${store_id}\n${release ?? ''}\n${state}`.toLowerCase();
    return words.every((word) => all.includes(word));
  });
}
