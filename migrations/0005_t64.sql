-- oldest_binary: 0.1.0
-- T64 keeps of each number only the bits that a block of them needs: half of an hour's buckets on disk, a third less
-- of a minute's, and as fast or faster to read. Parts that are there stay as they are until they are merged.
ALTER TABLE rollup_1m MODIFY COLUMN hist CODEC(T64, LZ4);

ALTER TABLE rollup_1h MODIFY COLUMN hist CODEC(T64, LZ4);
