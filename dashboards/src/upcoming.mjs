// What dashboards would show but the program does not have yet. A panel made with `needs: 'name'` is left out
// while its entry here is false; set it to true when the series or the table exists, and build again.

export const AVAILABLE = {
  /** v_rollup_1h: weeks and months are read from hours instead of minutes. */
  hourly: true,
  /** v_rollup_terminal_1h: depth by terminal. */
  terminals: true,
  /** v_session: cashiers' sessions. */
  sessions: true,
  /** pos_terminal_clock_skew_seconds. */
  clockSkew: true,
  /** pos_sdk_batches_{received,lost,explained}_total, pos_sdk_batches_missing. */
  coverage: true,
  /** pos_release_{sync_attempts,errors,offline_logins,cache_requests,data_loss_incidents,service_worker_updates}_total and others. */
  releaseCounters: true,
  /** tillwatch_request_duration_seconds. */
  requestDurations: true,
  /** tillwatch_disk_{free,size}_bytes. */
  disk: true,
  /** tillwatch_rollout_…: the verdicts of rollouts. */
  rollouts: true,
};

/** What every series of a rollout is about. */
const OF_ROLLOUT = ['release', 'against', 'step'];
/** Series that come with those entries: name, kind, labels beside job and instance. */
export const UPCOMING_SERIES = [
  ['clockSkew', 'pos_terminal_clock_skew_seconds', 'histogram', ['store_id']],
  ['coverage', 'pos_sdk_batches_received_total', 'counter', ['store_id']],
  ['coverage', 'pos_sdk_batches_lost_total', 'counter', ['store_id']],
  ['coverage', 'pos_sdk_batches_explained_total', 'counter', ['store_id']],
  ['coverage', 'pos_sdk_batches_missing', 'gauge', ['store_id']],
  ['releaseCounters', 'pos_release_sync_attempts_total', 'counter', ['release', 'result']],
  ['releaseCounters', 'pos_release_errors_total', 'counter', ['release', 'kind']],
  ['releaseCounters', 'pos_release_offline_logins_total', 'counter', ['release', 'result']],
  ['releaseCounters', 'pos_release_cache_requests_total', 'counter', ['release', 'result']],
  ['releaseCounters', 'pos_release_cache_assets_requests_total', 'counter', ['release', 'result']],
  ['releaseCounters', 'pos_release_cache_search_requests_total', 'counter', ['release', 'result']],
  ['releaseCounters', 'pos_release_cache_data_requests_total', 'counter', ['release', 'result']],
  ['releaseCounters', 'pos_release_service_worker_updates_total', 'counter', ['release', 'result']],
  ['releaseCounters', 'pos_release_data_loss_incidents_total', 'counter', ['release']],
  ['requestDurations', 'tillwatch_request_duration_seconds', 'histogram', ['class']],
  ['disk', 'tillwatch_disk_free_bytes', 'gauge', []],
  ['disk', 'tillwatch_disk_size_bytes', 'gauge', []],
  ['rollouts', 'tillwatch_rollout_verdict', 'gauge', [...OF_ROLLOUT, 'verdict']],
  ['rollouts', 'tillwatch_rollout_reason', 'gauge', [...OF_ROLLOUT, 'reason']],
  ['rollouts', 'tillwatch_rollout_look_hours', 'gauge', OF_ROLLOUT],
  ['rollouts', 'tillwatch_rollout_next_look_timestamp_seconds', 'gauge', OF_ROLLOUT],
  ['rollouts', 'tillwatch_rollout_revisions', 'gauge', OF_ROLLOUT],
  ['rollouts', 'tillwatch_rollout_revised_timestamp_seconds', 'gauge', OF_ROLLOUT],
  ['rollouts', 'tillwatch_rollout_worse_ratio', 'gauge', [...OF_ROLLOUT, 'metric', 'bound']],
  ['rollouts', 'tillwatch_rollout_worse_difference_ratio', 'gauge', [...OF_ROLLOUT, 'metric', 'bound']],
  ['rollouts', 'tillwatch_rollout_stores', 'gauge', [...OF_ROLLOUT, 'group']],
  ['rollouts', 'tillwatch_rollout_terminals_awaited', 'gauge', OF_ROLLOUT],
  ['rollouts', 'tillwatch_rollout_swept_timestamp_seconds', 'gauge', []],
  ['rollouts', 'tillwatch_rollout_sweeps_total', 'counter', ['result']],
  ['rollouts', 'tillwatch_rollout_sweep_duration_seconds', 'histogram', []],
];
