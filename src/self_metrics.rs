//! Every metric tillwatch reports about itself: name, kind, help. Served at `/metrics`.

use crate::recorder::{Declared, Handle, Recorder};

/// Whether a metric counts up, or goes up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// Counts up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in seconds, or numbers, in buckets.
    Histogram,
}

macro_rules! metrics_of_self {
    ($($constant:ident = $kind:ident $name:literal $help:literal;)*) => {
        $(#[doc = concat!("`", $name, "`")] pub const $constant: &str = $name;)*

        /// Every metric: name, kind, help.
        pub const ALL: &[(&str, MetricType, &str)] = &[$(($name, MetricType::$kind, $help)),*];
    };
}

metrics_of_self! {
    RECEIVED = Counter "tillwatch_samples_received_total" "Counts the samples in requests that could be split into batches; a histogram counts as many samples as it holds.";
    SAMPLES = Counter "tillwatch_samples_total" "Counts samples that were not rejected, by outcome (accepted, duplicate, deferred); tillwatch_samples_rejected_total counts the rejected ones.";
    REJECTED = Counter "tillwatch_samples_rejected_total" "Counts rejected samples, by reason.";
    BATCHES = Counter "tillwatch_batches_received_total" "Counts the batches in requests that could be split into batches.";
    CONNECTIONS = Gauge "tillwatch_connections" "Shows how many connections are open, by listener.";
    CONNECTIONS_MAX = Gauge "tillwatch_connections_limit" "Shows how many connections a listener may hold open at once.";
    CONNECTIONS_ACCEPTED = Counter "tillwatch_connections_accepted_total" "Counts accepted connections, by listener.";
    CONNECTIONS_CLOSED = Counter "tillwatch_connections_closed_total" "Counts connections that tillwatch closed, by listener and reason: no_room (the listener was at its limit and worked on every connection), made_room (a new connection needed the place: the longest idle goes first, then the slowest), head_timeout, idle_timeout, body_timeout (the body came long after the setting body_timeout, which should have cut it first), unread (the client read nothing of its answer for 30 s), left (the client closed its side and the answer took over 5 s).";
    HEADS_REFUSED = Counter "tillwatch_heads_refused_total" "Counts bytes that never became a request, by listener and reason: too_large (the head had over 16 KiB or 100 fields; answered 431), malformed, tls, http2, proxy (answered 400), incomplete (the client closed in the middle of a head), timeout (the head came too slowly; answered 408).";
    TLS_HANDSHAKES = Counter "tillwatch_tls_handshakes_total" "Counts TLS handshakes that ended, by listener and result: ok, plain_http (the client spoke HTTP without TLS; answered 400), timed_out (it was not done within head_timeout), failed (the client left, does not trust the certificate, or speaks no TLS 1.2 or 1.3).";
    ACCEPT_ERRORS = Counter "tillwatch_connection_accept_errors_total" "Counts connections that could not be accepted, by listener; usually too few file descriptors are allowed.";
    ADMIN_REFUSED = Counter "tillwatch_admin_requests_refused_total" "Counts requests that the admin listener refused because a web page could have sent them, by reason: invalid_host, host_not_allowed (the host is not in admin_hosts), foreign_origin.";
    REQUESTS = Counter "tillwatch_requests_total" "Counts requests to the ingest listener, by status.";
    REFUSED = Counter "tillwatch_requests_refused_total" "Counts requests that were answered with an error, by error code.";
    RATE_LIMITED = Counter "tillwatch_rate_limited_total" "Counts requests that were answered 429 rate_limited, by what posts too fast (address, terminal, store) and by store where a credential has shown it; more than 1,000 stores are counted as __overflow__.";
    RENEWED = Counter "tillwatch_tokens_renewed_total" "Counts tokens that terminals were given for others of theirs (POST /v1/token).";
    FALSE_BACKLOG = Counter "tillwatch_false_backlog_total" "Counts requests that said they bring a backlog (class=backlog) and held samples of the last ten minutes; they are counted and limited as live ones.";
    AUTH_REFUSED = Counter "tillwatch_admin_credentials_refused_total" "Counts requests to the admin listener that were refused because of their credential, by code: no_credential, invalid_token, scope.";
    ABANDONED = Counter "tillwatch_requests_abandoned_total" "Counts requests whose client went away before the answer.";
    SLOW = Counter "tillwatch_requests_slow_total" "Counts requests that took longer than the setting log_slow_request.";
    REQUEST_SECONDS = Histogram "tillwatch_request_duration_seconds" "Measures how long a request took from the end of its head to its answer, by class of status.";
    STAGE_SECONDS = Histogram "tillwatch_request_stage_duration_seconds" "Measures how long each stage of a request took: read (the body arrives), decode (decompress and parse), check (rate limits, deduplication, validation, making the record), dedup_wait (wait for another post of the same batch), journal_wait (wait until the journal's thread takes the record), journal_commit (write and fdatasync), hand_on (hand the record to the aggregate until the request continues).";
    IN_FLIGHT = Gauge "tillwatch_requests_in_flight" "Shows how many requests have sent their head and wait for their answer.";
    IN_FLIGHT_BYTES = Gauge "tillwatch_request_in_flight_bytes" "Shows how many bytes are set aside for the bodies of requests under way.";
    IN_FLIGHT_LIMIT = Gauge "tillwatch_request_in_flight_limit_bytes" "Shows how many bytes may be set aside for requests under way; when they are used up, requests are answered 503.";
    BODY_BYTES = Counter "tillwatch_request_body_bytes_total" "Counts bytes of request bodies as they arrived, before decompression.";
    UNKNOWN_KEYS = Counter "tillwatch_unknown_keys_total" "Counts keys in batches that this version does not know and ignores.";
    INVALID_RELEASES = Counter "tillwatch_invalid_releases_total" "Counts batches whose release was not written as releases must be and was replaced by __invalid__.";
    CLOCK_UNSURE = Gauge "tillwatch_clock_unsure" "Is 1 while the collector does not trust its clock and answers batches with 503 clock_unsure, else 0.";
    CLOCK_SETTLED = Gauge "tillwatch_clock_settled" "Is 1 while the collector may destroy old data, because it trusts its clock, the clock has not moved for ten minutes, and the terminals do not agree on another time.";
    CLOCK_DOUBTS = Counter "tillwatch_clock_doubts_total" "Counts how often the collector began to doubt its clock, and once more for every five minutes of a lasting doubt, by reason: before_release, before_journal, moved.";
    CLOCK_FLEET_AHEAD = Gauge "tillwatch_clock_fleet_ahead_seconds" "Shows how far the terminals' clocks are ahead of the collector's clock (negative: behind), as the median of the terminals heard within the last hour.";
    CLOCK_FLEET_TERMINALS = Gauge "tillwatch_clock_fleet_terminals" "Shows how many terminals tillwatch_clock_fleet_ahead_seconds is the median of, at most 1,024.";
    IGNORED_VALUES = Counter "tillwatch_ignored_values_total" "Counts values that were ignored while their sample or batch was accepted, by kind: connection_type (the connection was not text), connection_unknown (the connection was none of the known ones), session_id_type (the session id was neither text nor digits).";
    MISLABELLED = Counter "tillwatch_mislabelled_bodies_total" "Counts bodies that were marked as compressed but were plain; tillwatch read them as plain.";
    CONFLICTING = Counter "tillwatch_conflicting_batches_total" "Counts batches that repeat the queue and number of an earlier batch with other samples; their content is lost, usually because two pages or tills share one queue.";
    LEDGER = Gauge "tillwatch_ledger_samples" "Shows how many samples each place has held since the state file was made; accepted = sealed + open and sealed = confirmed + outbox.";
    TOTALS = Gauge "tillwatch_journal_samples" "Shows totals of the journal's records since the state file was made: samples rejected, repeated_records, unreadable_records, unknown_acts (acts of an operator that only a later release knows; they are passed over), unknown_metrics, unknown_labels, unknown_connections and unknown_sources (samples of which only a later release knows that; they are kept as __unknown__), unknown_entries (of a kind that only a later release knows; they are passed over), overflowed_batches (their store or release found no room), overflowed_terminals (batches with a key whose terminal found no room).";
    JOURNAL_DURABLE = Gauge "tillwatch_journal_durable_position" "Shows the highest journal position that is safely on disk.";
    JOURNAL_APPLIED = Gauge "tillwatch_journal_applied_position" "Shows the highest journal position that the aggregate has applied.";
    JOURNAL_USED = Gauge "tillwatch_journal_used_bytes" "Shows how many bytes the journal's segments take on disk.";
    JOURNAL_BUDGET = Gauge "tillwatch_journal_budget_bytes" "Shows how many bytes the journal's segments may take on disk.";
    JOURNAL_QUEUE = Gauge "tillwatch_journal_queue_bytes" "Shows how many bytes wait to be written to the journal.";
    JOURNAL_QUEUE_LIMIT = Gauge "tillwatch_journal_queue_limit_bytes" "Shows how many bytes may wait to be written to the journal; when they do, requests are answered 503.";
    JOURNAL_QUEUED = Gauge "tillwatch_journal_queue_appends" "Shows how many appends to the journal wait for the disk or are being written.";
    JOURNAL_WRITTEN = Gauge "tillwatch_journal_written_bytes" "Shows how many bytes were written to journal segments since the start, with headers and padding.";
    JOURNAL_SEGMENTS = Gauge "tillwatch_journal_segments" "Shows how many segment files the journal has, by state: live, ready.";
    JOURNAL_SEGMENT_FAILURES = Gauge "tillwatch_journal_segment_failures" "Shows how often the journal failed to prepare or reuse a segment file since the start.";
    JOURNAL_COMMIT_SECONDS = Histogram "tillwatch_journal_sync_duration_seconds" "Measures how long one fdatasync of the journal took.";
    JOURNAL_GROUP_RECORDS = Histogram "tillwatch_journal_group_records" "Measures how many records shared one fdatasync of the journal.";
    JOURNAL_GROUPS = Gauge "tillwatch_journal_groups" "Shows how many groups of records the journal has written since the start, each with one fdatasync.";
    JOURNAL_RECORDS = Gauge "tillwatch_journal_records" "Shows how many records the journal has made durable since the start.";
    JOURNAL_SYNC_SECONDS = Gauge "tillwatch_journal_sync_seconds" "Shows how much time the journal has spent in fdatasync since the start.";
    JOURNAL_DISK_WAIT = Gauge "tillwatch_journal_disk_wait_seconds" "Shows how long the journal has been waiting for its current write or sync, 0 if there is none; over 5 s, /readyz says that the disk does not answer.";
    JOURNAL_HALTED = Gauge "tillwatch_journal_halted" "Is 1 after a failed write or sync, when the journal acknowledges nothing any more, else 0.";
    JOURNAL_FULL = Gauge "tillwatch_journal_full" "Is 1 while the journal refuses appends because its budget is used up or the disk is full, else 0.";
    RECOVERY_TORN = Gauge "tillwatch_recovery_torn_records" "Shows how many records of a torn tail the last start cut off; none of them had been acknowledged.";
    RECOVERY_DAMAGED = Gauge "tillwatch_recovery_damaged_records" "Shows how many acknowledged records the last start could not read or find; the remains of their segments are in quarantine.";
    RECOVERY_DAMAGED_SEGMENTS = Gauge "tillwatch_recovery_damaged_segments" "Shows how many journal segments the last start found missing, cut short, renamed or without a readable header, even if all their records could be read.";
    RECOVERY_SECONDS = Gauge "tillwatch_recovery_seconds" "Shows how long the last start took to recover and replay the journal.";
    APPLY_QUEUE = Gauge "tillwatch_apply_queue_groups" "Shows how many durable groups of records wait for the aggregate or are being applied.";
    APPLY_QUEUE_LIMIT = Gauge "tillwatch_apply_queue_limit_groups" "Shows how many durable groups may wait for the aggregate; when they do, the journal waits.";
    APPLY_LAG_RECORDS = Gauge "tillwatch_apply_lag_records" "Shows how many durable records the aggregate has not applied yet.";
    APPLY_LAG_SECONDS = Gauge "tillwatch_apply_lag_seconds" "Shows how long the oldest durable record has waited for the aggregate, 0 if none waits.";
    APPLY_SECONDS = Histogram "tillwatch_apply_delay_seconds" "Measures how long a group of records waited from being durable to being applied.";
    OPEN_ROWS = Gauge "tillwatch_open_rows" "Shows how many rows a seal would write now.";
    STORES = Gauge "tillwatch_stores" "Shows how many stores have series of their own.";
    RELEASES = Gauge "tillwatch_releases" "Shows how many releases have series of their own.";
    WINDOW_BYTES = Gauge "tillwatch_window_bytes" "Shows roughly how much memory the minutes behind the window gauges take.";
    WINDOW_LIMIT = Gauge "tillwatch_window_limit_bytes" "Shows how much memory the minutes behind the window gauges may take; beyond it, the store that takes most loses its oldest minutes.";
    WINDOWS_GIVEN_UP = Gauge "tillwatch_windows_given_up" "Shows how many minutes of a metric in a store were dropped since the start to save memory; the window gauges stand on fewer samples then.";
    TERMINALS = Gauge "tillwatch_terminals" "Shows how many terminals the collector knows.";
    QUEUES = Gauge "tillwatch_queues" "Shows how many terminal queues the collector remembers sequence numbers of.";
    SHARE_HELD = Gauge "tillwatch_share_held" "Shows how many of the places that all stores share are held, by kind: queues (with those of which only the id is remembered), gaps (ranges of missing numbers in queues), idempotency_keys.";
    SHARE_PLACES = Gauge "tillwatch_share_places" "Shows how many places of each kind all stores share; of rows, how many one store may make in an hour.";
    SHARE_LARGEST = Gauge "tillwatch_share_largest_store" "Shows how many places of each kind the store with the most of them holds, and how many rows the store with the most of them has made in this hour; the log names a store when it gets no more.";
    SHARE_REFUSED = Counter "tillwatch_share_refusals_total" "Counts how often a store was refused another place because it holds as many as it may while others need room, by kind; the batch is answered 503 (for rows: 429), and the log names the store.";
    KEYS = Gauge "tillwatch_idempotency_keys" "Shows how many idempotency keys the collector remembers, on disk and in memory.";
    KEYS_REPLAYED = Counter "tillwatch_idempotent_replays_total" "Counts batches that came with a known idempotency key; they got the first batch's answer, and their samples count as duplicates.";
    SEQ_GAPS = Gauge "tillwatch_missing_batches" "Shows how many batches are missing between received ones and may still come.";
    SEQ_LOST = Gauge "tillwatch_lost_batches" "Shows how many batches are given up as lost, because they were missing for nine days or fell too far behind.";
    SEALS = Counter "tillwatch_seals_total" "Counts attempts to seal an epoch, by result.";
    SEAL_SECONDS = Histogram "tillwatch_seal_duration_seconds" "Measures how long a seal took, from cutting the open windows to the commit.";
    SEALED_ROWS = Counter "tillwatch_rows_sealed_total" "Counts rows in sealed epochs.";
    SEALED_SAMPLES = Counter "tillwatch_samples_sealed_total" "Counts samples in sealed epochs.";
    SEALED_BYTES = Counter "tillwatch_sealed_bytes_total" "Counts compressed bytes of sealed epochs.";
    SEAL_AGE = Gauge "tillwatch_last_seal_timestamp_seconds" "Shows when the last epoch was sealed.";
    SHIPPED_ROWS = Counter "tillwatch_rows_shipped_total" "Counts rows sent to ClickHouse.";
    SHIP_ROUNDS = Counter "tillwatch_ship_rounds_total" "Counts rounds of shipping to ClickHouse, by result.";
    SHIP_SECONDS = Histogram "tillwatch_ship_duration_seconds" "Measures how long a round of shipping took, from insert through read-back to confirmation.";
    SHIP_STAGE_SECONDS = Histogram "tillwatch_ship_stage_duration_seconds" "Measures how long each stage of a round of shipping took: insert, read_back, confirm.";
    SHIP_FAILURES = Gauge "tillwatch_ship_failures" "Shows how many rounds of shipping have failed since the last successful one.";
    CONFIRMED_EPOCH = Gauge "tillwatch_confirmed_epoch" "Shows the highest epoch that ClickHouse was found to hold together with all before it.";
    SEALED_EPOCH = Gauge "tillwatch_sealed_epoch" "Shows the highest epoch that was sealed.";
    OUTBOX_EPOCHS = Gauge "tillwatch_outbox_epochs" "Shows how many sealed epochs wait for ClickHouse to confirm them.";
    OUTBOX_BYTES = Gauge "tillwatch_outbox_bytes" "Shows how many bytes the epochs in the outbox take on disk.";
    OUTBOX_BUDGET = Gauge "tillwatch_outbox_budget_bytes" "Shows how many bytes the outbox may take on disk; when they are used up, requests are answered 503.";
    OUTBOX_OLDEST = Gauge "tillwatch_outbox_oldest_timestamp_seconds" "Shows when the oldest epoch in the outbox was sealed, 0 if the outbox is empty.";
    OUTBOX_LAG = Gauge "tillwatch_outbox_lag_seconds" "Shows how long ago the oldest epoch in the outbox was sealed, 0 if the outbox is empty.";
    ROLLOUT_VERDICT = Gauge "tillwatch_rollout_verdict" "Is 1 for the verdict that stands on a release at the step of its rollout (percent of the stores), else 0: pass, fail (roll back), hold, not_judged. A look that failed ends the step. Steps that are over have no series.";
    ROLLOUT_REASON = Gauge "tillwatch_rollout_reason" "Is 1 for each reason why the verdict that stands is no pass: first_look, too_early, too_few_stores, too_few_samples, incomplete (data are awaited), adoption, single_stores, undecided, between_the_limits; or why it fails: worse, past_limit, incident, silence.";
    ROLLOUT_LOOK = Gauge "tillwatch_rollout_look_hours" "Shows how many hours after the beginning of the step the last look was; 0: the first is still to come.";
    ROLLOUT_NEXT_LOOK = Gauge "tillwatch_rollout_next_look_timestamp_seconds" "Shows when the hours of the next look will have passed, as Unix time.";
    ROLLOUT_REVISIONS = Gauge "tillwatch_rollout_revisions" "Shows how many verdicts of the release, at whatever step, were revised because data came late that nobody awaited.";
    ROLLOUT_REVISED = Gauge "tillwatch_rollout_revised_timestamp_seconds" "Shows when a verdict of the release, at whatever step, was revised last, as Unix time; missing if none was.";
    ROLLOUT_WORSE = Gauge "tillwatch_rollout_worse_ratio" "Shows by which factor the stores of a release became worse than the others, by metric and bound (low, on which a failure stands; estimate; high, on which a pass stands): a p95 now through that of the week before, against the same of the others. Of samples, below 1 is worse. A bound is missing that so few stores do not give.";
    ROLLOUT_WORSE_DIFFERENCE = Gauge "tillwatch_rollout_worse_difference_ratio" "Shows by how much the share of bad ones rose in the stores of a release against the others, by metric and bound.";
    ROLLOUT_STORES = Gauge "tillwatch_rollout_stores" "Shows how many stores are compared, by group: candidate (they have the release), control (they do not).";
    ROLLOUT_AWAITED = Gauge "tillwatch_rollout_terminals_awaited" "Shows how many terminals of the release had not delivered the hours of the last look when it was judged last.";
    ROLLOUT_SWEPT = Gauge "tillwatch_rollout_swept_timestamp_seconds" "Shows when it was last looked whether a rollout is to be judged, as Unix time.";
    ROLLOUT_SWEEPS = Counter "tillwatch_rollout_sweeps_total" "Counts the rounds in which all rollouts are judged, at every full hour and after late data, by result: ok, error (tried again).";
    ROLLOUT_SWEEP_SECONDS = Histogram "tillwatch_rollout_sweep_duration_seconds" "Measures how long a round took in which all rollouts were judged.";
    BACKUPS = Counter "tillwatch_backups_total" "Counts scheduled backups by result: ok (made and read back), failed (not made), unverified (made, but not read back as it was written, and removed). Only with backup_dir.";
    BACKUP_SECONDS = Histogram "tillwatch_backup_duration_seconds" "Measures how long a scheduled backup took that went well, with the seal before it and the reading back after it. Only with backup_dir.";
    BACKUP_AGE = Gauge "tillwatch_backup_age_seconds" "Shows how long ago the newest scheduled backup that could be read back was made; if there has never been one, how long ago backup_dir was first set. A restart does not begin anew. Only with backup_dir.";
    BACKUP_INTERVAL = Gauge "tillwatch_backup_interval_seconds" "Shows how old the newest backup may become before another is made (the setting backup_interval). Only with backup_dir.";
    BACKUP_BYTES = Gauge "tillwatch_backup_bytes" "Shows how many bytes the state file in the newest scheduled backup has. Only with backup_dir.";
    DIRTY_HOURS = Gauge "tillwatch_dirty_rollups" "Shows how many hours of stores are not completely in rollup_1h yet; queries read their minutes instead.";
    UNCHECKED_DAYS = Gauge "tillwatch_unchecked_partitions" "Shows how many days must still be compared with rollup_1h, as after an upgrade or in another database; queries read their minutes instead.";
    REBUILT_HOURS = Counter "tillwatch_rebuilt_rollups_total" "Counts hours of stores that were built in rollup_1h from their minutes and read back.";
    REBUILDS = Counter "tillwatch_rebuilds_total" "Counts rounds of building hours in rollup_1h, by result.";
    REBUILD_SECONDS = Histogram "tillwatch_rebuild_duration_seconds" "Measures how long a round of building hours in rollup_1h took, insert and read-back together.";
    TABLES_MADE_AGAIN = Gauge "tillwatch_database_tables_made_again" "Shows how many tables, views and functions were missing when the database was last prepared and were created again, empty.";
    CLICKHOUSE_UP = Gauge "tillwatch_clickhouse_up" "Is 1 if the last contact with ClickHouse succeeded, else 0.";
    CLICKHOUSE_BYTES = Gauge "tillwatch_clickhouse_bytes" "Shows how many bytes each table takes on ClickHouse's disk, as measured every two minutes.";
    CLICKHOUSE_BUDGET = Gauge "tillwatch_clickhouse_budget_bytes" "Shows how many bytes all tables may take on ClickHouse's disk; when they take more, the oldest days are given up.";
    CLICKHOUSE_GIVEN_UP = Counter "tillwatch_clickhouse_partitions_given_up_total" "Counts partitions that were dropped because the tables took more disk than clickhouse_budget, by table: days of minutes, of terminals, of sessions and of events, and weeks of rollup_1h.";
    ENGINE_ENDS = Counter "tillwatch_engine_restarts_total" "Counts restarts of the embedded engine, by reason: ended (the engine ended by itself or was killed), hung (the engine did not answer for half a minute), not_ready (the previous start failed).";
    QUERY_READS = Counter "tillwatch_query_reads_total" "Counts reads of ClickHouse for queries, by the finest table that whole hours were read from (rollup_1h, rollup_1m); again counts reads that were repeated because their hours were rebuilt meanwhile.";
    LIVE_STREAMS = Gauge "tillwatch_live_streams" "Shows how many pages are told what changes (GET /api/v1/live).";
    LIVE_SNAPSHOTS = Counter "tillwatch_live_snapshots_total" "Counts snapshots of the fleet that were made for pages: for those that came, and for those that had read too slowly.";
    LIVE_LOOK_SECONDS = Histogram "tillwatch_live_look_duration_seconds" "Measures how long a look at the stores that have reported took, for pages and for what changed in the last hour.";
    QUERY_SECONDS = Histogram "tillwatch_query_duration_seconds" "Measures how long a query of the API took.";
    CONFIG_RELOADS = Counter "tillwatch_config_reloads_total" "Counts how often the settings were read again on SIGHUP, by result.";
    CONFIG_SUCCESS = Gauge "tillwatch_config_last_reload_success" "Is 1 if the settings were usable when they were last read; 0 means that the collector keeps the settings it had before.";
    QUERIES = Counter "tillwatch_queries_total" "Counts queries of the API, by result: ok, or the code of the error.";
    QUERIES_WAITING = Gauge "tillwatch_queries_in_flight" "Shows how many queries of the API wait for their turn or are being answered.";
    PAGE_SECONDS = Histogram "tillwatch_page_duration_seconds" "Measures how long a page took to render: fleet is /metrics/fleet, own is /metrics (as of the scrapes before).";
    PAGE_BYTES = Gauge "tillwatch_page_bytes" "Shows how many bytes each page had when it was last rendered.";
    DISK_LOOK_AGE = Gauge "tillwatch_disk_look_age_seconds" "Shows how old the numbers about outbox, state file and free disk space are; the age rises when the disk does not answer.";
    STATE_BYTES = Gauge "tillwatch_state_bytes" "Shows how many bytes the state file and its write-ahead log take.";
    DISK_FREE = Gauge "tillwatch_disk_free_bytes" "Shows how many bytes tillwatch may still write on the disk of its data folder.";
    DISK_SIZE = Gauge "tillwatch_disk_size_bytes" "Shows how many bytes the disk of the data folder has.";
    PROCESS_CPU = Gauge "tillwatch_process_cpu_seconds" "Shows how much processor time this process has used since its start, without the embedded engine; the value only rises.";
    PROCESS_MEMORY = Gauge "tillwatch_process_resident_memory_bytes" "Shows how much resident memory this process takes, without the embedded engine (Linux only).";
    PROCESS_FDS = Gauge "tillwatch_process_open_fds" "Shows how many file descriptors this process has open (Linux only).";
    PROCESS_FDS_LIMIT = Gauge "tillwatch_process_max_fds" "Shows how many file descriptors this process may open.";
    PROCESS_THREADS = Gauge "tillwatch_process_threads" "Shows how many threads this process has (Linux only).";
    TASKS = Gauge "tillwatch_tasks" "Shows how many tasks the async runtimes have: connections, requests, housekeeping.";
    TASKS_QUEUED = Gauge "tillwatch_tasks_queued" "Shows how many tasks of the async runtimes wait for a thread.";
    UPTIME = Gauge "tillwatch_start_timestamp_seconds" "Shows when this process started.";
    BUILD = Gauge "tillwatch_build_info" "Is always 1; its label names the release that runs.";
}

/// Upper bounds of durations, in seconds. Half a second is among them: what a request may take.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];
/// Upper bounds of numbers of things.
const NUMBERS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0,
];

/// Another recorder is there already.
#[derive(Debug, thiserror::Error)]
#[error("another recorder of metrics is there already")]
pub struct AlreadyThere;

fn declared((name, kind, help): &(&'static str, MetricType, &'static str)) -> Option<Declared> {
    (*kind == MetricType::Histogram).then_some(Declared {
        name,
        help,
        bounds: if name.ends_with("_seconds") {
            SECONDS
        } else {
            NUMBERS
        },
    })
}

/// Has a counter there at 0 for each value of its one label, and histograms without labels empty: what
/// is not there before it first happens has no rise.
pub fn start(
    counter: &'static str,
    label: &'static str,
    values: impl IntoIterator<Item = &'static str>,
    histograms: &[&'static str],
) {
    for value in values {
        metrics::counter!(counter, label => value).increment(0);
    }
    for histogram in histograms {
        drop(metrics::histogram!(*histogram));
    }
}

/// Makes the process-wide recorder.
///
/// # Errors
/// When another one is there already.
pub fn install() -> Result<Handle, AlreadyThere> {
    let recorder = Recorder::new(ALL.iter().filter_map(declared));
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_second| AlreadyThere)?;
    for (name, kind, help) in ALL {
        match kind {
            MetricType::Counter => metrics::describe_counter!(*name, *help),
            MetricType::Gauge => metrics::describe_gauge!(*name, *help),
            MetricType::Histogram => {}
        }
    }
    metrics::gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}
