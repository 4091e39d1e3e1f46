-- oldest_binary: 0.1.0
-- One-hour rollups for long ranges, made from rollup_1m by the collector: one row a metric, label, store, release,
-- connection, source and hour, whatever collector and epoch the minutes came from. A row is written anew whenever
-- late minutes have come; of two the one that counts more samples has seen more, and stays.
-- An hour has a thousand buckets: LZ4 reads them at half the processor time of ZSTD, short granules spare reading the
-- neighbours of one store, and a week that has come to rest becomes one part, which FINAL need not merge.
CREATE TABLE IF NOT EXISTS rollup_1h
(
    metric     LowCardinality(String) COMMENT 'wire name of the metric',
    label      LowCardinality(String) COMMENT 'value of its label, empty without one',
    store_id   LowCardinality(String) COMMENT 'the shop',
    release    LowCardinality(String) COMMENT 'release of the application',
    connection LowCardinality(String) COMMENT 'online, offline, slow, metered, offline_sync, unknown',
    source     LowCardinality(String) COMMENT 'rum or synthetic',
    hour_start DateTime('UTC') COMMENT 'start of the hour' CODEC(Delta, ZSTD(1)),
    hist       Tuple(Array(UInt32), Array(UInt64)) COMMENT 'HdrHistogram bucket indices (lowest 1, 3 digits) and counts; empty for counters' CODEC(LZ4),
    count      UInt64 COMMENT 'samples' CODEC(ZSTD(1)),
    sum        UInt64 COMMENT 'sum of the values, recording unit' CODEC(ZSTD(1)),
    min        UInt64 COMMENT 'least value, recording unit' CODEC(ZSTD(1)),
    max        UInt64 COMMENT 'greatest value, recording unit' CODEC(ZSTD(1)),
    over_low   UInt64 COMMENT 'values above the first threshold' CODEC(ZSTD(1)),
    over_high  UInt64 COMMENT 'values above the second threshold' CODEC(ZSTD(1)),
    version    UInt64 COMMENT 'samples in the rows of rollup_1m that it was made from' CODEC(ZSTD(1)),
    rebuilt_at DateTime64(3, 'UTC') COMMENT 'when it was made' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toMonday(hour_start)
PRIMARY KEY (metric, label, store_id, hour_start)
ORDER BY (metric, label, store_id, hour_start, release, connection, source)
TTL hour_start + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1, index_granularity_bytes = 1048576,
    min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1;

-- Each row once, with sum and extremes in the wire unit beside.
CREATE VIEW IF NOT EXISTS v_rollup_1h AS
SELECT
    metric, label, store_id, release, connection, source, hour_start,
    hist, count, sum, min, max, over_low, over_high, version, rebuilt_at,
    sum / tillwatch_scale_v1(metric) AS sum_wire,
    min / tillwatch_scale_v1(metric) AS min_wire,
    max / tillwatch_scale_v1(metric) AS max_wire
FROM rollup_1h FINAL;
