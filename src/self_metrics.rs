//! Every metric tillwatch reports about itself: name, kind, help. Served at `/metrics`.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Whether a metric counts up, or goes up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Counts up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in seconds, in buckets.
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
    REQUESTS = Counter "tillwatch_requests_total" "Requests to the ingest listener, by status.";
    BODY_BYTES = Counter "tillwatch_request_body_bytes_total" "Bytes of request bodies as they came.";
    UNKNOWN_KEYS = Counter "tillwatch_unknown_keys_total" "Keys in batches that mean nothing in this version.";
    INVALID_RELEASES = Counter "tillwatch_invalid_releases_total" "Batches whose release was not written as releases are and became __invalid__.";
    LEDGER = Gauge "tillwatch_ledger_samples" "Samples by where they are, over the life of the state file: accepted = sealed + open, sealed = confirmed + outbox.";
    TOTALS = Gauge "tillwatch_journal_samples" "What the journal's records added up to over the life of the state file, by outcome: rejected, repeated records, unreadable records, unknown metrics, overflowed batches.";
    JOURNAL_DURABLE = Gauge "tillwatch_journal_durable_position" "Highest durable position of the journal.";
    JOURNAL_APPLIED = Gauge "tillwatch_journal_applied_position" "Highest position the aggregate has applied.";
    JOURNAL_USED = Gauge "tillwatch_journal_used_bytes" "Bytes of the journal's segments.";
    JOURNAL_BUDGET = Gauge "tillwatch_journal_budget_bytes" "The most the journal's segments may take.";
    JOURNAL_QUEUE = Gauge "tillwatch_journal_queue_bytes" "Bytes that wait for the disk.";
    JOURNAL_GROUPS = Gauge "tillwatch_journal_groups" "Groups written since the start, each with one fdatasync.";
    JOURNAL_RECORDS = Gauge "tillwatch_journal_records" "Records made durable since the start.";
    JOURNAL_SYNC_SECONDS = Gauge "tillwatch_journal_sync_seconds" "Time spent in fdatasync since the start.";
    JOURNAL_HALTED = Gauge "tillwatch_journal_halted" "1 after a failed write or sync: nothing is acknowledged any more.";
    JOURNAL_FULL = Gauge "tillwatch_journal_full" "1 while appends are refused because budget or disk are full.";
    RECOVERY_TORN = Gauge "tillwatch_recovery_torn_records" "Records of a torn tail that the last start cut off; none was acknowledged.";
    RECOVERY_DAMAGED = Gauge "tillwatch_recovery_damaged_records" "Acknowledged records that the last start could not read; their segments are in quarantine.";
    RECOVERY_SECONDS = Gauge "tillwatch_recovery_seconds" "How long the last start took to recover and replay the journal.";
    OPEN_ROWS = Gauge "tillwatch_open_rows" "Rows that a seal would write now.";
    STORES = Gauge "tillwatch_stores" "Stores with series of their own.";
    RELEASES = Gauge "tillwatch_releases" "Releases with series of their own.";
    TERMINALS = Gauge "tillwatch_terminals" "Terminals known.";
    QUEUES = Gauge "tillwatch_queues" "Queues whose sequence numbers are remembered.";
    SEQ_GAPS = Gauge "tillwatch_missing_batches" "Batches that are missing and may still come.";
    SEQ_LOST = Gauge "tillwatch_lost_batches" "Batches that were missing for nine days, or too many, and will not come.";
    SEALS = Counter "tillwatch_seals_total" "Epochs sealed, by result.";
    SEAL_SECONDS = Histogram "tillwatch_seal_duration_seconds" "How long a seal took, from the cut to the commit.";
    SEAL_AGE = Gauge "tillwatch_last_seal_timestamp_seconds" "When the last epoch was sealed.";
    SHIPPED_ROWS = Counter "tillwatch_rows_shipped_total" "Rows sent to ClickHouse.";
    SHIP_ROUNDS = Counter "tillwatch_ship_rounds_total" "Rounds of shipping, by result.";
    SHIP_SECONDS = Histogram "tillwatch_ship_duration_seconds" "How long a round of shipping took: insert, read back, confirm.";
    CONFIRMED_EPOCH = Gauge "tillwatch_confirmed_epoch" "Highest epoch that ClickHouse was found to hold, with all before it.";
    SEALED_EPOCH = Gauge "tillwatch_sealed_epoch" "Highest epoch sealed.";
    OUTBOX_EPOCHS = Gauge "tillwatch_outbox_epochs" "Epochs that wait to be confirmed.";
    OUTBOX_BYTES = Gauge "tillwatch_outbox_bytes" "Bytes of their blobs.";
    OUTBOX_BUDGET = Gauge "tillwatch_outbox_budget_bytes" "The most they may take; past it requests are answered 503.";
    OUTBOX_OLDEST = Gauge "tillwatch_outbox_oldest_timestamp_seconds" "When the oldest of them was sealed; 0 when none waits.";
    DIRTY_HOURS = Gauge "tillwatch_dirty_hours" "Hours of stores whose minutes rollup_1h does not hold in full; queries read their minutes.";
    UNCHECKED_DAYS = Gauge "tillwatch_unchecked_days" "Days of which that has to be found out: after an upgrade, or in another database.";
    REBUILT_HOURS = Counter "tillwatch_rebuilt_hours_total" "Hours of stores summed up in rollup_1h and read back.";
    REBUILDS = Counter "tillwatch_rebuilds_total" "Rounds of summing up hours, by result.";
    REBUILD_SECONDS = Histogram "tillwatch_rebuild_duration_seconds" "How long a round took: insert and read back.";
    CLICKHOUSE_UP = Gauge "tillwatch_clickhouse_up" "1 if the last round of shipping or the last look at ClickHouse went well.";
    QUERY_READS = Counter "tillwatch_query_reads_total" "Times ClickHouse was read for a query, by the finest table that whole hours were read from: rollup_1h, rollup_1m; again counts those read again because hours were summed up meanwhile.";
    QUERY_SECONDS = Histogram "tillwatch_query_duration_seconds" "How long a query of the API took.";
    UPTIME = Gauge "tillwatch_start_timestamp_seconds" "When this process started.";
    BUILD = Gauge "tillwatch_build_info" "Always 1; the label says which release runs.";
}

/// Upper bounds of durations, in seconds.
const SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Makes the process-wide recorder; later calls get the first one's handle.
///
/// # Errors
/// When another recorder is there already.
pub fn install() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_duration_seconds".to_owned()), &SECONDS)?
        .install_recorder()?;
    for (name, kind, help) in ALL {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *help),
            Kind::Gauge => metrics::describe_gauge!(*name, *help),
            Kind::Histogram => metrics::describe_histogram!(*name, *help),
        }
    }
    metrics::gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}
