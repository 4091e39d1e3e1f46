-- oldest_binary: 0.1.0
-- Reading back asks for the rows of single epochs, and before shipping the highest epoch is asked for. The sorting
-- keys end with collector and epoch, so both would read whole days. Each part therefore keeps the sums of its rows
-- by collector, epoch and day; an epoch's rows are asked for one by one only where the sums are not the ledger's.
-- Sums count a row that was sent twice twice, until its parts are merged: a merge makes them anew.
-- Parts from before this migration have no sums; `serve` adds them, one partition after the other.
ALTER TABLE rollup_1m MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';

ALTER TABLE rollup_1m ADD PROJECTION IF NOT EXISTS by_epoch
(
    SELECT collector_id, epoch, toRelativeDayNum(window_start), count(), sum(count), sum(row_hash)
    GROUP BY collector_id, epoch, toRelativeDayNum(window_start)
);

ALTER TABLE rollup_terminal_1h MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';

ALTER TABLE rollup_terminal_1h ADD PROJECTION IF NOT EXISTS by_epoch
(
    SELECT collector_id, epoch, toRelativeDayNum(hour_start), count(), sum(row_hash)
    GROUP BY collector_id, epoch, toRelativeDayNum(hour_start)
);

ALTER TABLE session MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';

ALTER TABLE session ADD PROJECTION IF NOT EXISTS by_epoch
(
    SELECT collector_id, epoch, toRelativeDayNum(day), count(), sum(row_hash)
    GROUP BY collector_id, epoch, toRelativeDayNum(day)
);
