//! Every metric tillwatch reports about itself: name, kind, help. Served at `/metrics`.

use crate::recorder::{Declared, Handle, Recorder};

/// Whether a metric counts up, or goes up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
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

        /// All of them: name, kind, help.
        pub const ALL: &[(&str, Kind, &str)] = &[$(($name, Kind::$kind, $help)),*];
    };
}

metrics_of_self! {
    RECEIVED = Counter "tillwatch_samples_received_total" "Samples of requests that could be split into batches; a histogram weighs its counts.";
    SAMPLES = Counter "tillwatch_samples_total" "Samples by outcome: accepted, duplicate, deferred. The rejected ones are in tillwatch_samples_rejected_total.";
    REJECTED = Counter "tillwatch_samples_rejected_total" "Samples rejected, by reason.";
    BATCHES = Counter "tillwatch_batches_received_total" "Batches of requests that could be split into them.";
    CONNECTIONS = Gauge "tillwatch_connections" "Connections open, by listener.";
    CONNECTIONS_MAX = Gauge "tillwatch_connections_limit" "The most connections a listener holds open at once.";
    CONNECTIONS_ACCEPTED = Counter "tillwatch_connections_accepted_total" "Connections accepted, by listener.";
    CONNECTIONS_CLOSED = Counter "tillwatch_connections_closed_total" "Connections closed by tillwatch, by listener and reason: no_room (at the limit, all worked on), made_room (for a new one: the longest idle, then the slowest), head_timeout, idle_timeout, body_timeout (far over body_timeout, which cuts first), unread (nothing of an answer was read for 30 s), left (its side closed for 5 s while it was worked on).";
    HEADS_REFUSED = Counter "tillwatch_heads_refused_total" "What came and never became a request, by listener and reason: too_large (over 16 KiB or 100 fields; 431), malformed, tls, http2, proxy (400), incomplete (closed in the middle of a head), timeout (408).";
    ACCEPT_ERRORS = Counter "tillwatch_connection_accept_errors_total" "Connections that could not be accepted, by listener; too few file descriptors, as a rule.";
    ADMIN_REFUSED = Counter "tillwatch_admin_requests_refused_total" "Requests that were not meant for the admin listener, by reason: invalid_host, host_not_allowed (a name that is not in admin_hosts), foreign_origin.";
    REQUESTS = Counter "tillwatch_requests_total" "Requests to the ingest listener, by status.";
    REFUSED = Counter "tillwatch_requests_refused_total" "Requests answered with an error, by its code.";
    ABANDONED = Counter "tillwatch_requests_abandoned_total" "Requests whose client went away before the answer.";
    SLOW = Counter "tillwatch_requests_slow_total" "Requests that took longer than log_slow_request.";
    REQUEST_SECONDS = Histogram "tillwatch_request_duration_seconds" "From the end of a request's head to its answer, by class of status.";
    STAGE_SECONDS = Histogram "tillwatch_request_stage_duration_seconds" "Parts of it: read (the body), decode (undo compression, take apart), check (rates, deduplication, validation, the record), dedup_wait (for another post of the same batch), journal_wait (until the journal's thread takes it), journal_commit (write, fdatasync), hand_on (to the aggregate, until the request goes on).";
    IN_FLIGHT = Gauge "tillwatch_requests_in_flight" "Requests between their head and their answer.";
    IN_FLIGHT_BYTES = Gauge "tillwatch_request_in_flight_bytes" "Bytes set aside for the bodies of requests under way.";
    IN_FLIGHT_LIMIT = Gauge "tillwatch_request_in_flight_limit_bytes" "The most bytes that may be set aside; past it requests are answered 503.";
    BODY_BYTES = Counter "tillwatch_request_body_bytes_total" "Bytes of request bodies as they came.";
    UNKNOWN_KEYS = Counter "tillwatch_unknown_keys_total" "Keys in batches that mean nothing in this version.";
    INVALID_RELEASES = Counter "tillwatch_invalid_releases_total" "Batches whose release was not written as releases are and became __invalid__.";
    CLOCK_UNSURE = Gauge "tillwatch_clock_unsure" "1 while the collector's clock cannot be trusted: batches are answered 503 clock_unsure.";
    CLOCK_SETTLED = Gauge "tillwatch_clock_settled" "1 while what is too old may be destroyed: the clock is trusted, has not moved for ten minutes, and the terminals do not agree on another time.";
    CLOCK_DOUBTS = Counter "tillwatch_clock_doubts_total" "How often the clock began to be doubted, or was still, every five minutes, by why: before_release, before_journal, moved.";
    CLOCK_FLEET_AHEAD = Gauge "tillwatch_clock_fleet_ahead_seconds" "How far the terminals' clocks are ahead of the collector's, at the median of those heard within the hour; negative: behind.";
    CLOCK_FLEET_TERMINALS = Gauge "tillwatch_clock_fleet_terminals" "Terminals of which that is the median, at most 1,024.";
    IGNORED_VALUES = Counter "tillwatch_ignored_values_total" "Values passed over while the sample or the batch was taken in, by what they were: connection_type (no text), connection_unknown (none of those known), session_id_type (neither text nor digits).";
    MISLABELLED = Counter "tillwatch_mislabelled_bodies_total" "Bodies marked as compressed that were plain, and were read as plain.";
    CONFLICTING = Counter "tillwatch_conflicting_batches_total" "Batches of a queue and number that were taken in before with other samples: duplicates whose content is lost. Two pages or tills use one queue.";
    LEDGER = Gauge "tillwatch_ledger_samples" "Samples by where they are, over the life of the state file: accepted = sealed + open, sealed = confirmed + outbox.";
    TOTALS = Gauge "tillwatch_journal_samples" "What the journal's records added up to over the life of the state file, by outcome: rejected, repeated records, unreadable records, unknown metrics, overflowed batches (of a store or a release without room), overflowed terminals (batches with a key whose terminal found no room).";
    JOURNAL_DURABLE = Gauge "tillwatch_journal_durable_position" "Highest durable position of the journal.";
    JOURNAL_APPLIED = Gauge "tillwatch_journal_applied_position" "Highest position the aggregate has applied.";
    JOURNAL_USED = Gauge "tillwatch_journal_used_bytes" "Bytes of the journal's segments.";
    JOURNAL_BUDGET = Gauge "tillwatch_journal_budget_bytes" "The most the journal's segments may take.";
    JOURNAL_QUEUE = Gauge "tillwatch_journal_queue_bytes" "Bytes that wait for the disk.";
    JOURNAL_QUEUE_LIMIT = Gauge "tillwatch_journal_queue_limit_bytes" "The most bytes that may wait for the disk; past it requests are answered 503.";
    JOURNAL_QUEUED = Gauge "tillwatch_journal_queue_appends" "Appends that wait for the disk or are being written.";
    JOURNAL_WRITTEN = Gauge "tillwatch_journal_written_bytes" "Bytes written to segments since the start, headers and padding included.";
    JOURNAL_SEGMENTS = Gauge "tillwatch_journal_segments" "Segment files, by state: live, ready.";
    JOURNAL_SEGMENT_FAILURES = Gauge "tillwatch_journal_segment_failures" "Failed tries to prepare a segment or to take one back since the start.";
    JOURNAL_COMMIT_SECONDS = Histogram "tillwatch_journal_sync_duration_seconds" "How long one fdatasync took.";
    JOURNAL_GROUP_RECORDS = Histogram "tillwatch_journal_group_records" "Records that shared one fdatasync.";
    JOURNAL_GROUPS = Gauge "tillwatch_journal_groups" "Groups written since the start, each with one fdatasync.";
    JOURNAL_RECORDS = Gauge "tillwatch_journal_records" "Records made durable since the start.";
    JOURNAL_SYNC_SECONDS = Gauge "tillwatch_journal_sync_seconds" "Time spent in fdatasync since the start.";
    JOURNAL_DISK_WAIT = Gauge "tillwatch_journal_disk_wait_seconds" "How long the write or sync of the journal that is under way has taken so far; 0 when there is none. Past 5 s /readyz says that the disk does not answer.";
    JOURNAL_HALTED = Gauge "tillwatch_journal_halted" "1 after a failed write or sync: nothing is acknowledged any more.";
    JOURNAL_FULL = Gauge "tillwatch_journal_full" "1 while appends are refused because budget or disk are full.";
    RECOVERY_TORN = Gauge "tillwatch_recovery_torn_records" "Records of a torn tail that the last start cut off; none was acknowledged.";
    RECOVERY_DAMAGED = Gauge "tillwatch_recovery_damaged_records" "Acknowledged records that the last start could not read or find; what there is of their segments is in quarantine.";
    RECOVERY_DAMAGED_SEGMENTS = Gauge "tillwatch_recovery_damaged_segments" "Segments of the journal that the last start found missing, cut short, renamed or without a readable head, whatever could be read of them.";
    RECOVERY_SECONDS = Gauge "tillwatch_recovery_seconds" "How long the last start took to recover and replay the journal.";
    APPLY_QUEUE = Gauge "tillwatch_apply_queue_groups" "Durable groups that wait for the aggregate or are being applied.";
    APPLY_QUEUE_LIMIT = Gauge "tillwatch_apply_queue_limit_groups" "The most groups that may wait; past it the journal waits.";
    APPLY_LAG_RECORDS = Gauge "tillwatch_apply_lag_records" "Durable records that the aggregate has not applied.";
    APPLY_LAG_SECONDS = Gauge "tillwatch_apply_lag_seconds" "Since when the oldest of them has been durable; 0 when there is none.";
    APPLY_SECONDS = Histogram "tillwatch_apply_delay_seconds" "From a group's being durable to its being applied.";
    OPEN_ROWS = Gauge "tillwatch_open_rows" "Rows that a seal would write now.";
    STORES = Gauge "tillwatch_stores" "Stores with series of their own.";
    RELEASES = Gauge "tillwatch_releases" "Releases with series of their own.";
    WINDOW_BYTES = Gauge "tillwatch_window_bytes" "Memory of the last minutes that window gauges read, about.";
    WINDOW_LIMIT = Gauge "tillwatch_window_limit_bytes" "The most memory they may take; past it the store that takes most loses its oldest minutes.";
    WINDOWS_GIVEN_UP = Gauge "tillwatch_windows_given_up" "Minutes of a metric in a store that were lost so since the start: the gauges stand on fewer samples.";
    TERMINALS = Gauge "tillwatch_terminals" "Terminals known.";
    QUEUES = Gauge "tillwatch_queues" "Queues whose sequence numbers are remembered.";
    KEYS = Gauge "tillwatch_idempotency_keys" "Idempotency keys remembered, on disk and in memory.";
    KEYS_REPLAYED = Counter "tillwatch_idempotent_replays_total" "Batches whose idempotency key was known: answered as the first one was, their samples counted as duplicates.";
    SEQ_GAPS = Gauge "tillwatch_missing_batches" "Batches that are missing and may still come.";
    SEQ_LOST = Gauge "tillwatch_lost_batches" "Batches that were missing for nine days, or too many, and will not come.";
    SEALS = Counter "tillwatch_seals_total" "Epochs sealed, by result.";
    SEAL_SECONDS = Histogram "tillwatch_seal_duration_seconds" "How long a seal took, from the cut to the commit.";
    SEALED_ROWS = Counter "tillwatch_rows_sealed_total" "Rows of sealed epochs.";
    SEALED_SAMPLES = Counter "tillwatch_samples_sealed_total" "Samples of sealed epochs.";
    SEALED_BYTES = Counter "tillwatch_sealed_bytes_total" "Bytes of the blobs of sealed epochs.";
    SEAL_AGE = Gauge "tillwatch_last_seal_timestamp_seconds" "When the last epoch was sealed.";
    SHIPPED_ROWS = Counter "tillwatch_rows_shipped_total" "Rows sent to ClickHouse.";
    SHIP_ROUNDS = Counter "tillwatch_ship_rounds_total" "Rounds of shipping, by result.";
    SHIP_SECONDS = Histogram "tillwatch_ship_duration_seconds" "How long a round of shipping took: insert, read back, confirm.";
    SHIP_STAGE_SECONDS = Histogram "tillwatch_ship_stage_duration_seconds" "Parts of a round: insert, read_back, confirm.";
    SHIP_FAILURES = Gauge "tillwatch_ship_failures" "Rounds of shipping that have failed since the last good one.";
    CONFIRMED_EPOCH = Gauge "tillwatch_confirmed_epoch" "Highest epoch that ClickHouse was found to hold, with all before it.";
    SEALED_EPOCH = Gauge "tillwatch_sealed_epoch" "Highest epoch sealed.";
    OUTBOX_EPOCHS = Gauge "tillwatch_outbox_epochs" "Epochs that wait to be confirmed.";
    OUTBOX_BYTES = Gauge "tillwatch_outbox_bytes" "Bytes of their blobs.";
    OUTBOX_BUDGET = Gauge "tillwatch_outbox_budget_bytes" "The most they may take; past it requests are answered 503.";
    OUTBOX_OLDEST = Gauge "tillwatch_outbox_oldest_timestamp_seconds" "When the oldest of them was sealed; 0 when none waits.";
    OUTBOX_LAG = Gauge "tillwatch_outbox_lag_seconds" "How long ago the oldest of them was sealed; 0 when none waits.";
    DIRTY_HOURS = Gauge "tillwatch_dirty_rollups" "Hours of stores whose minutes rollup_1h does not hold in full; queries read their minutes.";
    UNCHECKED_DAYS = Gauge "tillwatch_unchecked_partitions" "Days of which that has to be found out: after an upgrade, or in another database.";
    REBUILT_HOURS = Counter "tillwatch_rebuilt_rollups_total" "Hours of stores summed up in rollup_1h and read back.";
    REBUILDS = Counter "tillwatch_rebuilds_total" "Rounds of summing up hours, by result.";
    REBUILD_SECONDS = Histogram "tillwatch_rebuild_duration_seconds" "How long a round took: insert and read back.";
    TABLES_MADE_AGAIN = Gauge "tillwatch_database_tables_made_again" "Tables, views and functions that were gone from the database when it was last prepared, and were made again, empty.";
    CLICKHOUSE_UP = Gauge "tillwatch_clickhouse_up" "1 if the last round of shipping or the last look at ClickHouse went well.";
    ENGINE_ENDS = Counter "tillwatch_engine_restarts_total" "Times the embedded engine was started again, by what was before: ended (by itself, or killed), hung (no answer for half a minute), not_ready (the start failed).";
    QUERY_READS = Counter "tillwatch_query_reads_total" "Times ClickHouse was read for a query, by the finest table that whole hours were read from: rollup_1h, rollup_1m; again counts those read again because hours were summed up meanwhile.";
    QUERY_SECONDS = Histogram "tillwatch_query_duration_seconds" "How long a query of the API took.";
    CONFIG_RELOADS = Counter "tillwatch_config_reloads_total" "Times the settings were read again on SIGHUP, by result.";
    CONFIG_SUCCESS = Gauge "tillwatch_config_last_reload_success" "1 if the settings could be used when they were last read; 0: those before stay.";
    QUERIES = Counter "tillwatch_queries_total" "Queries of the API, by result: ok, or the code of the error.";
    QUERIES_WAITING = Gauge "tillwatch_queries_in_flight" "Queries of the API that wait for their turn or are being answered.";
    PAGE_SECONDS = Histogram "tillwatch_page_duration_seconds" "How long /metrics (own) and /metrics/fleet (fleet) took to render; of own, that of the scrapes before.";
    PAGE_BYTES = Gauge "tillwatch_page_bytes" "Bytes of the page when it was last rendered.";
    DISK_LOOK_AGE = Gauge "tillwatch_disk_look_age_seconds" "How old are the numbers that only the disk can tell: the outbox, the state file, the room on the disk. Rises when the disk does not answer.";
    STATE_BYTES = Gauge "tillwatch_state_bytes" "Bytes of the state file and its log.";
    DISK_FREE = Gauge "tillwatch_disk_free_bytes" "Bytes that tillwatch may still write on the disk of its data folder.";
    DISK_SIZE = Gauge "tillwatch_disk_size_bytes" "Bytes of that disk.";
    PROCESS_CPU = Gauge "tillwatch_process_cpu_seconds" "Processor time of this process since its start, the engine's not included; it only rises.";
    PROCESS_MEMORY = Gauge "tillwatch_process_resident_memory_bytes" "Resident memory of this process, the engine's not included (Linux).";
    PROCESS_FDS = Gauge "tillwatch_process_open_fds" "Open file descriptors (Linux).";
    PROCESS_FDS_LIMIT = Gauge "tillwatch_process_max_fds" "The most file descriptors this process may open.";
    PROCESS_THREADS = Gauge "tillwatch_process_threads" "Threads (Linux).";
    TASKS = Gauge "tillwatch_tasks" "Tasks of the async runtime: connections, requests, housekeeping.";
    TASKS_QUEUED = Gauge "tillwatch_tasks_queued" "Tasks that wait for a thread of the runtime.";
    UPTIME = Gauge "tillwatch_start_timestamp_seconds" "When this process started.";
    BUILD = Gauge "tillwatch_build_info" "Always 1; the label says which release runs.";
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

fn declared((name, kind, help): &(&'static str, Kind, &'static str)) -> Option<Declared> {
    (*kind == Kind::Histogram).then_some(Declared {
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
    (counter, label, values): (&'static str, &'static str, &[&'static str]),
    histograms: &[&'static str],
) {
    for value in values {
        metrics::counter!(counter, label => *value).increment(0);
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
            Kind::Counter => metrics::describe_counter!(*name, *help),
            Kind::Gauge => metrics::describe_gauge!(*name, *help),
            Kind::Histogram => {}
        }
    }
    metrics::gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}
