-- oldest_binary: 0.1.0
-- What pages and clients have summed up themselves, one row an identity and seal. Rows are immutable, and readers add
-- them, as in rollup_1m. Percentiles of two reports cannot be merged: each report's stand beside, as they were sent.
-- Values are in the metric's wire unit.
CREATE TABLE IF NOT EXISTS summary_1m
(
    metric       LowCardinality(String) COMMENT 'name of the metric, with its unit',
    store_id     LowCardinality(String) COMMENT 'the shop',
    release      LowCardinality(String) COMMENT 'release of the application',
    connection   LowCardinality(String) COMMENT 'how the terminal was connected',
    source       LowCardinality(String) COMMENT 'rum or synthetic',
    minute       DateTime('UTC') COMMENT 'start of the minute in which the report was made' CODEC(Delta, ZSTD(1)),
    collector_id UUID COMMENT 'the state file the row comes from' CODEC(ZSTD(1)),
    epoch        UInt64 COMMENT 'the seal the row comes from' CODEC(ZSTD(1)),
    count        UInt64 COMMENT 'how many values the reports are of' CODEC(ZSTD(1)),
    sum          Float64 COMMENT 'their sum' CODEC(ZSTD(1)),
    min          Float64 COMMENT 'the least of them' CODEC(ZSTD(1)),
    max          Float64 COMMENT 'the greatest of them' CODEC(ZSTD(1)),
    reports      Array(Tuple(count UInt64, p50 Float64, p95 Float64, p99 Float64)) COMMENT 'percentiles of each report as sent, of 64 reports at most; NaN: not sent' CODEC(ZSTD(1)),
    received_at  DateTime64(3, 'UTC') COMMENT 'when the last batch of the epoch was received' CODEC(Delta, ZSTD(1)),
    row_hash     UInt64 COMMENT 'XXH3 of the row before this column, for reading back',
    PROJECTION by_epoch
    (
        SELECT collector_id, epoch, toRelativeDayNum(minute), count(), sum(row_hash)
        GROUP BY collector_id, epoch, toRelativeDayNum(minute)
    )
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(minute)
PRIMARY KEY (store_id, metric, minute)
ORDER BY (store_id, metric, minute, release, connection, source, collector_id, epoch)
TTL minute + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 1, deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild', fsync_after_insert = 1, fsync_part_directory = 1;

-- Each row once, with the mean beside.
CREATE VIEW IF NOT EXISTS v_summary_1m AS
SELECT
    metric, store_id, release, connection, source, minute, collector_id, epoch,
    count, sum, min, max, reports, received_at, row_hash,
    sum / count AS mean
FROM summary_1m FINAL;
