// Which runbook explains a number, and on which Grafana board it is seen. Nothing here touches the page.

export type Scope = 'store' | 'fleet' | 'release';

/** The runbooks of the alerts that watch a metric, that of the store first. */
const RUNBOOKS: Record<string, string> = {
  sync_duration_ms: 'PosStoreSyncLatencyHigh PosFleetSyncLatencyHigh',
  sync_success: 'PosStoreSyncSuccessCritical PosFleetSyncSuccessCritical PosReleaseSyncSuccessCritical',
  sync_attempts: 'PosStoreSyncSuccessCritical PosFleetSyncSuccessCritical PosReleaseSyncSuccessCritical',
  offline_login_duration_ms: 'PosStoreOfflineLoginSlow PosFleetOfflineLoginSlow',
  offline_logins: 'PosStoreOfflineLoginFailures',
  login_failures: 'PosStoreLoginFailureBurst PosFleetLoginFailureBurst PosReleaseLoginFailures',
  lcp_ms: 'PosStoreLcpPoor PosFleetLcpPoor',
  inp_ms: 'PosStoreInpPoor PosFleetInpPoor',
  cls_score: 'PosStoreClsPoor PosFleetClsPoor',
  pending_transactions: 'PosStorePendingTransactionsHigh PosFleetPendingTransactionsHigh',
  memory_used_mb: 'PosStoreTerminalMemoryHigh PosFleetTerminalMemoryHigh',
  queue_wait_ms: 'PosStoreQueueWaitHigh PosFleetQueueWaitHigh',
  reconnect_to_synced_ms: 'PosStoreReconnectSyncSlow PosFleetReconnectSyncSlow',
  conflicts: 'PosStoreConflictRatioHigh PosFleetConflictRatioHigh',
  cache_requests: 'PosStoreCacheHitRatioLow PosFleetCacheHitRatioLow',
  errors: 'PosStoreErrorRatioHigh PosFleetErrorRatioHigh PosReleaseErrorsHigher',
  data_loss_incidents: 'PosStoreDataLoss PosFleetDataLoss',
  dropped_samples: 'PosStoreSamplesDropped',
  sync_dead_letters: 'PosStoreDeadLetters',
  offline_transactions: 'PosStoreOfflineTransactionFailures',
  offline_duration_ms: 'PosTerminalsOfflineLong',
  storage_used_ratio: 'PosStoreBrowserStorageNearlyFull',
  product_search_ms: 'PosReleaseProductSearchSlow',
  idb_write_ms: 'PosReleaseDatabaseWriteSlow',
  sync_payload_bytes: 'PosReleaseSyncPayloadLarge',
  silent: 'PosStoreSilent PosFleetStoresSilent',
  silent_terminals: 'PosTerminalsSilent',
  lost: 'PosStoreBatchesLost',
  clock: 'PosStoreClockSkew',
};

/** The runbook about a metric in a store, in the fleet or in a release; the next best one if there is none of its own. */
export function runbookOf(metric: string, scope: Scope = 'store'): string | null {
  const names = RUNBOOKS[metric]?.split(' ') ?? [];
  const wanted = { store: 'PosStore', fleet: 'PosFleet', release: 'PosRelease' }[scope];
  return names.find((name) => name.startsWith(wanted)) ?? names[0] ?? null;
}

// The first that fits: the uid stands in each runbook as "Open the dashboard …", and a test compares the two.
const BOARDS: [RegExp, string][] = [
  [/^TillwatchClockSkew$|^PosSyncErrorBudget|^PosFleet(Conflict|Pending|QueueWait|Reconnect|Sync)/, 'sync'],
  [/^Pos(Release|Rollout|NewError)/, 'releases'],
  [/^Pos(Store|Fleet)(Cls|Inp|Lcp)Poor$/, 'web-vitals'],
  [/^PosStore(BatchesLost|ClockSkew|SamplesDropped)$/, 'terminal'],
  [/^Pos(Fleet|LoginErrorBudget)/, 'fleet'],
  [/^Pos/, 'store'],
];

/** The uid of the board that a runbook tells to open. */
export const boardOf = (runbook: string): string => 'tillwatch-' + (BOARDS.find(([of]) => of.test(runbook))?.[1] ?? 'pipeline');
