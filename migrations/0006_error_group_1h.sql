-- oldest_binary: 0.1.0
-- What terminals reported of errors and other events, one row an identity and seal. Rows are immutable, and readers add
-- them, as in rollup_1m. Terminals are hashes, of which a reader counts those that differ: numbers of terminals could
-- not be added. Type, message and frames are those of the first event that the row counts.
CREATE TABLE IF NOT EXISTS error_group_1h
(
    kind         LowCardinality(String) COMMENT 'error, offline, online, shutdown, battery or custom',
    name         LowCardinality(String) COMMENT 'name of a custom event, __overflow__ of all without a place, else empty',
    fingerprint  String COMMENT 'what tells the group from others of its kind, 16 hexadecimal digits' CODEC(ZSTD(1)),
    store_id     LowCardinality(String) COMMENT 'the shop',
    release      LowCardinality(String) COMMENT 'release of the application',
    source       LowCardinality(String) COMMENT 'rum or synthetic',
    type         String COMMENT 'type of the error' CODEC(ZSTD(1)),
    message      String COMMENT 'its message, scrubbed' CODEC(ZSTD(1)),
    frames_json  String COMMENT 'its frames, innermost first' CODEC(ZSTD(1)),
    hour_start   DateTime('UTC') COMMENT 'start of the hour' CODEC(Delta, ZSTD(1)),
    collector_id UUID COMMENT 'the state file the row comes from' CODEC(ZSTD(1)),
    epoch        UInt64 COMMENT 'the seal the row comes from' CODEC(ZSTD(1)),
    count        UInt64 COMMENT 'how often it happened' CODEC(ZSTD(1)),
    fatal        UInt64 COMMENT 'how often of these the application could not go on' CODEC(ZSTD(1)),
    terminals    Array(UInt64) COMMENT 'hashes of the terminals, 256 at most' CODEC(ZSTD(1)),
    received_at  DateTime64(3, 'UTC') COMMENT 'when the last batch of the epoch was received' CODEC(Delta, ZSTD(1)),
    row_hash     UInt64 COMMENT 'XXH3 of the row before this column, for reading back',
    PROJECTION by_epoch
    (
        SELECT collector_id, epoch, toRelativeDayNum(hour_start), count(), sum(row_hash)
        GROUP BY collector_id, epoch, toRelativeDayNum(hour_start)
    )
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(hour_start)
PRIMARY KEY (store_id, kind, fingerprint, hour_start)
ORDER BY (store_id, kind, fingerprint, hour_start, release, source, collector_id, epoch)
TTL hour_start + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 1, deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild', fsync_after_insert = 1, fsync_part_directory = 1;

-- Each row once, with the number of terminals beside.
CREATE VIEW IF NOT EXISTS v_error_group_1h AS
SELECT
    kind, name, fingerprint, store_id, release, source, type, message, frames_json, hour_start, collector_id, epoch,
    count, fatal, terminals, received_at, row_hash,
    length(terminals) AS terminal_count
FROM error_group_1h FINAL;
