-- oldest_binary: 0.1.0
-- The ledger of losses: what has become of numbers that were missing in a queue, and what terminals said that they had
-- to drop. What is missing still is in the collector's state file. Rows are immutable, as in rollup_1m.
CREATE TABLE IF NOT EXISTS loss
(
    store_id     LowCardinality(String) COMMENT 'the shop',
    terminal_id  String COMMENT 'the terminal in the store' CODEC(ZSTD(1)),
    queue        String COMMENT 'UUID of the queue; zero: what was dropped never had a number' CODEC(ZSTD(1)),
    state        LowCardinality(String) COMMENT 'closed: the batches have come; explained: the terminal dropped them; lost: they will not come any more',
    reason       LowCardinality(String) COMMENT 'of explained what the terminal said, of lost why the collector gave up, else empty',
    ended_at     DateTime('UTC') COMMENT 'when it ended' CODEC(Delta, ZSTD(1)),
    collector_id UUID COMMENT 'the state file the row comes from' CODEC(ZSTD(1)),
    epoch        UInt64 COMMENT 'the seal the row comes from' CODEC(ZSTD(1)),
    from_seq     UInt64 COMMENT 'the first of the numbers' CODEC(ZSTD(1)),
    to_seq       UInt64 COMMENT 'the last of the numbers' CODEC(ZSTD(1)),
    batches      UInt64 COMMENT 'batches between the two that the row is about' CODEC(ZSTD(1)),
    samples      UInt64 COMMENT 'samples in them: as the terminal said, else about' CODEC(ZSTD(1)),
    opened_at    DateTime64(3, 'UTC') COMMENT 'since when they were missing, or when they were dropped' CODEC(Delta, ZSTD(1)),
    received_at  DateTime64(3, 'UTC') COMMENT 'when the last batch of the epoch was received' CODEC(Delta, ZSTD(1)),
    row_hash     UInt64 COMMENT 'XXH3 of the row before this column, for reading back',
    PROJECTION by_epoch
    (
        SELECT collector_id, epoch, toRelativeDayNum(ended_at), count(), sum(row_hash)
        GROUP BY collector_id, epoch, toRelativeDayNum(ended_at)
    )
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(ended_at)
PRIMARY KEY (store_id, terminal_id, ended_at)
ORDER BY (store_id, terminal_id, ended_at, queue, state, reason, from_seq, to_seq, opened_at, collector_id, epoch)
TTL ended_at + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 1, deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild', fsync_after_insert = 1, fsync_part_directory = 1;

-- Each row once, with the time between beside.
CREATE VIEW IF NOT EXISTS v_loss AS
SELECT
    store_id, terminal_id, queue, state, reason, from_seq, to_seq, batches, samples, opened_at, ended_at, collector_id, epoch,
    received_at, row_hash,
    dateDiff('second', opened_at, ended_at) AS open_s
FROM loss FINAL;
