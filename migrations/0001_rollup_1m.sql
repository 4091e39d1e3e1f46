-- oldest_binary: 0.1.0
-- One-minute rollups (and a terminal's own 5- and 60-minute histograms), one row an identity.
-- Rows are immutable: the same identity always has the same content, so sending a row again changes nothing.
CREATE TABLE IF NOT EXISTS rollup_1m
(
    metric       LowCardinality(String) COMMENT 'wire name of the metric',
    label        LowCardinality(String) COMMENT 'value of its label, empty without one',
    store_id     LowCardinality(String) COMMENT 'the shop',
    release      LowCardinality(String) COMMENT 'release of the application',
    connection   LowCardinality(String) COMMENT 'online, offline, slow, metered, offline_sync, unknown',
    source       LowCardinality(String) COMMENT 'rum or synthetic',
    window_start DateTime('UTC') COMMENT 'start of the window' CODEC(Delta, ZSTD(1)),
    span_s       UInt32 COMMENT 'length of the window in seconds' CODEC(ZSTD(1)),
    collector_id UUID COMMENT 'the state file the row comes from' CODEC(ZSTD(1)),
    epoch        UInt64 COMMENT 'the seal the row comes from' CODEC(ZSTD(1)),
    hist         Tuple(Array(UInt32), Array(UInt64)) COMMENT 'HdrHistogram bucket indices (lowest 1, 3 digits) and counts; empty for counters' CODEC(ZSTD(1)),
    count        UInt64 COMMENT 'samples' CODEC(ZSTD(1)),
    sum          UInt64 COMMENT 'sum of the values, recording unit' CODEC(ZSTD(1)),
    min          UInt64 COMMENT 'least value, recording unit' CODEC(ZSTD(1)),
    max          UInt64 COMMENT 'greatest value, recording unit' CODEC(ZSTD(1)),
    over_low     UInt64 COMMENT 'values above the first threshold' CODEC(ZSTD(1)),
    over_high    UInt64 COMMENT 'values above the second threshold' CODEC(ZSTD(1)),
    received_at  DateTime64(3, 'UTC') COMMENT 'when the last batch of the epoch was received' CODEC(Delta, ZSTD(1)),
    row_hash     UInt64 COMMENT 'XXH3 of the row before this column, for reading back'
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(window_start)
PRIMARY KEY (metric, label, store_id, window_start)
ORDER BY (metric, label, store_id, window_start, release, connection, source, span_s, collector_id, epoch)
TTL window_start + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- The highest value of a bucket: what a percentile reads as. Same as in Rust and TypeScript.
CREATE FUNCTION IF NOT EXISTS tillwatch_bucket_value_v1 AS (index) ->
    if(
        bitShiftRight(toUInt64(index), 10) < 2,
        toUInt64(index),
        toUInt64(bitShiftLeft(bitAnd(toUInt64(index), 1023) + 1025, toUInt8(greatest(bitShiftRight(toUInt64(index), 10), 1) - 1)) - 1)
    );

-- Recording units in one wire unit. The unit is the metric's last word.
CREATE FUNCTION IF NOT EXISTS tillwatch_scale_v1 AS (metric) ->
    multiIf(
        endsWith(metric, '_ms'), 1000,
        endsWith(metric, '_mb'), 1000000,
        endsWith(metric, '_score') OR endsWith(metric, '_ratio'), 10000,
        1
    );

-- Each row once, with sum, extremes and mean in the wire unit beside.
CREATE VIEW IF NOT EXISTS v_rollup_1m AS
SELECT
    metric, label, store_id, release, connection, source, window_start, span_s, collector_id, epoch,
    hist, count, sum, min, max, over_low, over_high, received_at, row_hash,
    sum / tillwatch_scale_v1(metric) AS sum_wire,
    min / tillwatch_scale_v1(metric) AS min_wire,
    max / tillwatch_scale_v1(metric) AS max_wire
FROM rollup_1m FINAL;
