-- oldest_binary: 0.1.0
-- Depth by terminal: scalars of the metrics kept by terminal, one row an identity and seal. Rows are
-- immutable, and readers add them, as in rollup_1m. No histogram: percentiles are not read by terminal.
CREATE TABLE IF NOT EXISTS rollup_terminal_1h
(
    metric       LowCardinality(String) COMMENT 'wire name of the metric',
    label        LowCardinality(String) COMMENT 'value of its label, empty without one',
    store_id     LowCardinality(String) COMMENT 'the shop',
    terminal_id  String COMMENT 'the terminal in it' CODEC(ZSTD(1)),
    release      LowCardinality(String) COMMENT 'release of the application',
    source       LowCardinality(String) COMMENT 'rum or synthetic',
    hour_start   DateTime('UTC') COMMENT 'start of the hour' CODEC(Delta, ZSTD(1)),
    collector_id UUID COMMENT 'the state file the row comes from' CODEC(ZSTD(1)),
    epoch        UInt64 COMMENT 'the seal the row comes from' CODEC(ZSTD(1)),
    count        UInt64 COMMENT 'samples' CODEC(ZSTD(1)),
    sum          UInt64 COMMENT 'sum of the values, recording unit' CODEC(ZSTD(1)),
    min          UInt64 COMMENT 'least value, recording unit' CODEC(ZSTD(1)),
    max          UInt64 COMMENT 'greatest value, recording unit' CODEC(ZSTD(1)),
    last         UInt64 COMMENT 'value with the latest time, recording unit; of a histogram its greatest' CODEC(ZSTD(1)),
    last_at      DateTime64(3, 'UTC') COMMENT 'that time' CODEC(Delta, ZSTD(1)),
    over_low     UInt64 COMMENT 'values above the first threshold' CODEC(ZSTD(1)),
    over_high    UInt64 COMMENT 'values above the second threshold' CODEC(ZSTD(1)),
    received_at  DateTime64(3, 'UTC') COMMENT 'when the last batch of the epoch was received' CODEC(Delta, ZSTD(1)),
    row_hash     UInt64 COMMENT 'XXH3 of the row before this column, for reading back'
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(hour_start)
PRIMARY KEY (store_id, terminal_id, metric, label, hour_start)
ORDER BY (store_id, terminal_id, metric, label, hour_start, release, source, collector_id, epoch)
TTL hour_start + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- What a seal adds to a session on a day; all durations in microseconds. The session is a pseudonym:
-- the first 16 bytes of an HMAC-SHA-256 of its id under a key of the day, destroyed after 90 days.
CREATE TABLE IF NOT EXISTS session
(
    session             FixedString(16) COMMENT 'pseudonym; hex(session) is how it is written' CODEC(ZSTD(1)),
    store_id            LowCardinality(String) COMMENT 'the shop',
    day                 Date COMMENT 'day of the samples, UTC' CODEC(ZSTD(1)),
    collector_id        UUID COMMENT 'the state file the row comes from' CODEC(ZSTD(1)),
    epoch               UInt64 COMMENT 'the seal the row comes from' CODEC(ZSTD(1)),
    first_at            DateTime64(3, 'UTC') COMMENT 'time of the earliest sample' CODEC(ZSTD(1)),
    last_at             DateTime64(3, 'UTC') COMMENT 'time of the latest sample' CODEC(ZSTD(1)),
    samples             UInt64 COMMENT 'samples of any metric' CODEC(ZSTD(1)),
    lcp_count           UInt64 COMMENT 'samples of lcp_ms' CODEC(ZSTD(1)),
    lcp_sum             UInt64 COMMENT 'their sum' CODEC(ZSTD(1)),
    lcp_max             UInt64 COMMENT 'the greatest' CODEC(ZSTD(1)),
    offline_login_count UInt64 COMMENT 'samples of offline_login_duration_ms' CODEC(ZSTD(1)),
    offline_login_sum   UInt64 COMMENT 'their sum' CODEC(ZSTD(1)),
    offline_login_max   UInt64 COMMENT 'the greatest' CODEC(ZSTD(1)),
    sync_count          UInt64 COMMENT 'samples of sync_duration_ms' CODEC(ZSTD(1)),
    sync_sum            UInt64 COMMENT 'their sum' CODEC(ZSTD(1)),
    sync_max            UInt64 COMMENT 'the greatest' CODEC(ZSTD(1)),
    sync_attempts       UInt64 COMMENT 'sum of sync_attempts' CODEC(ZSTD(1)),
    sync_failures       UInt64 COMMENT 'those of them that failed' CODEC(ZSTD(1)),
    db_size_max         UInt64 COMMENT 'greatest db_size_mb, bytes' CODEC(ZSTD(1)),
    errors              UInt64 COMMENT 'sum of errors' CODEC(ZSTD(1)),
    received_at         DateTime64(3, 'UTC') COMMENT 'when the last batch of the epoch was received' CODEC(Delta, ZSTD(1)),
    row_hash            UInt64 COMMENT 'XXH3 of the row before this column, for reading back'
)
ENGINE = ReplacingMergeTree
PARTITION BY day
PRIMARY KEY (session, store_id)
ORDER BY (session, store_id, day, collector_id, epoch)
TTL day + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- Each row once, with sum, extremes and last value in the wire unit beside.
CREATE VIEW IF NOT EXISTS v_rollup_terminal_1h AS
SELECT
    metric, label, store_id, terminal_id, release, source, hour_start, collector_id, epoch,
    count, sum, min, max, last, last_at, over_low, over_high, received_at, row_hash,
    sum / tillwatch_scale_v1(metric) AS sum_wire,
    min / tillwatch_scale_v1(metric) AS min_wire,
    max / tillwatch_scale_v1(metric) AS max_wire,
    last / tillwatch_scale_v1(metric) AS last_wire
FROM rollup_terminal_1h FINAL;

-- A session by store and day. Averages and the error ratio are NULL where there is nothing to divide by.
CREATE VIEW IF NOT EXISTS v_session AS
SELECT
    session,
    lower(hex(session)) AS pseudonym,
    store_id,
    day,
    min(first_at) AS began_at,
    max(last_at) AS ended_at,
    sum(samples) AS sample_count,
    sum(lcp_sum) / nullIf(sum(lcp_count), 0) / 1000 AS lcp_avg_ms,
    sum(offline_login_sum) / nullIf(sum(offline_login_count), 0) / 1000 AS offline_login_avg_ms,
    sum(sync_count) AS syncs,
    sum(sync_sum) / nullIf(sum(sync_count), 0) / 1000 AS sync_avg_ms,
    max(lcp_max) / 1000 AS lcp_max_ms,
    max(offline_login_max) / 1000 AS offline_login_max_ms,
    max(sync_max) / 1000 AS sync_max_ms,
    sum(sync_attempts) AS attempts,
    sum(sync_failures) AS failures,
    max(db_size_max) / 1000000 AS db_size_max_mb,
    sum(errors) AS error_count,
    sum(errors) / nullIf(sum(samples), 0) AS error_ratio
FROM session FINAL
GROUP BY session, store_id, day;
