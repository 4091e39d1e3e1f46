// Which runbook explains a number, and on which Grafana board it is seen. Nothing here touches the page.

export type Scope = 'store' | 'fleet' | 'release';

const BEGIN: Record<string, string> = { S: 'PosStore', F: 'PosFleet', R: 'PosRelease', T: 'PosTerminals' };
/** The runbooks of the alerts that watch a metric: how they begin and how they end, the next best one first. */
export const RUNBOOKS: Record<string, string> = {
  sync_duration_ms: 'SF SyncLatencyHigh',
  sync_success: 'SFR SyncSuccessCritical',
  sync_attempts: 'SFR SyncSuccessCritical',
  offline_login_duration_ms: 'SF OfflineLoginSlow',
  offline_logins: 'S OfflineLoginFailures',
  login_failures: 'SF LoginFailureBurst R LoginFailures',
  // It has no alert of its own; these tell how to look at the line.
  network_latency_ms: 'SF SyncLatencyHigh',
  lcp_ms: 'SF LcpPoor',
  inp_ms: 'SF InpPoor',
  cls_score: 'SF ClsPoor',
  pending_transactions: 'SF PendingTransactionsHigh',
  memory_used_mb: 'SF TerminalMemoryHigh',
  queue_wait_ms: 'SF QueueWaitHigh',
  reconnect_to_synced_ms: 'SF ReconnectSyncSlow',
  conflicts: 'SF ConflictRatioHigh',
  cache_requests: 'SF CacheHitRatioLow',
  errors: 'SF ErrorRatioHigh R ErrorsHigher',
  data_loss_incidents: 'SF DataLoss',
  dropped_samples: 'S SamplesDropped',
  sync_dead_letters: 'S DeadLetters',
  offline_transactions: 'S OfflineTransactionFailures',
  offline_duration_ms: 'T OfflineLong',
  storage_used_ratio: 'S BrowserStorageNearlyFull',
  product_search_ms: 'R ProductSearchSlow',
  idb_write_ms: 'R DatabaseWriteSlow',
  sync_payload_bytes: 'R SyncPayloadLarge',
  silent: 'S Silent F StoresSilent',
  terminals_silent: 'T Silent',
  lost: 'S BatchesLost',
};

/** The runbook about a metric in a store, in the fleet or in a release; the next best one if there is none of its own. */
export function runbookOf(metric: string, scope: Scope = 'store'): string | null {
  const words = RUNBOOKS[metric]?.split(' ') ?? [];
  const names = words.flatMap((letters, i) => (i % 2 ? [] : [...letters].map((letter) => BEGIN[letter] + words[i + 1])));
  return names.find((name) => name.slice(3).toLowerCase().startsWith(scope)) ?? names[0] ?? null;
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
