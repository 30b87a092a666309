-- When the log had what the machines said, so that it can be asked later what was known by an instant; and every version
-- of every flag, for the same reason. 1970: not recorded (rows of before).
ALTER TABLE telemetry ADD COLUMN IF NOT EXISTS arrived DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
    COMMENT 'when the log had it; 1970: not recorded; of a value sent again the last time' AFTER value;

CREATE TABLE IF NOT EXISTS anomaly_revisions AS anomalies
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(first)
ORDER BY (machine, signal, kind, first, known_at)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Every version of every flag since the store keeps them, for what was known when';

-- The key of an event or a count is its place in its frame, so a frame sent again says the same: of its rows the first to
-- arrive stays. Where the migration stopped half-way before, the rows of either table are brought together first, and the
-- copy begins anew; what a sink inserts while the tables change places is copied, too.
ALTER TABLE events ADD COLUMN IF NOT EXISTS arrived DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
    COMMENT 'when the log had it first; 1970: not recorded' AFTER entry;
ALTER TABLE events ADD COLUMN IF NOT EXISTS earliness UInt64
    MATERIALIZED if(toUnixTimestamp64Milli(arrived) = 0, 0, 18446744073709551615 - toUnixTimestamp64Milli(arrived))
    CODEC(Delta, ZSTD(1)) COMMENT 'of rows of one key the highest stays' AFTER arrived;
CREATE TABLE IF NOT EXISTS events_by_arrival AS events;
INSERT INTO events SELECT * FROM events_by_arrival FINAL;
DROP TABLE IF EXISTS events_by_arrival;
CREATE TABLE IF NOT EXISTS events_by_arrival AS events
ENGINE = ReplacingMergeTree(earliness)
PARTITION BY toYYYYMM(ts)
ORDER BY (machine, ts, kind, source, epoch, sequence, entry)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What the machines said besides numbers, as they said it';
INSERT INTO events_by_arrival SELECT * FROM events FINAL;
EXCHANGE TABLES events AND events_by_arrival;
INSERT INTO events SELECT * FROM events_by_arrival FINAL;
DROP TABLE IF EXISTS events_by_arrival;
ALTER TABLE counts ADD COLUMN IF NOT EXISTS arrived DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
    COMMENT 'when the log had it first; 1970: not recorded' AFTER entry;
ALTER TABLE counts ADD COLUMN IF NOT EXISTS earliness UInt64
    MATERIALIZED if(toUnixTimestamp64Milli(arrived) = 0, 0, 18446744073709551615 - toUnixTimestamp64Milli(arrived))
    CODEC(Delta, ZSTD(1)) COMMENT 'of rows of one key the highest stays' AFTER arrived;
CREATE TABLE IF NOT EXISTS counts_by_arrival AS counts;
INSERT INTO counts SELECT * FROM counts_by_arrival FINAL;
DROP TABLE IF EXISTS counts_by_arrival;
CREATE TABLE IF NOT EXISTS counts_by_arrival AS counts
ENGINE = ReplacingMergeTree(earliness)
PARTITION BY toYYYYMM(ts)
ORDER BY (machine, ts, source, epoch, sequence, entry)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Counters as the machines reported them';
INSERT INTO counts_by_arrival SELECT * FROM counts FINAL;
EXCHANGE TABLES counts AND counts_by_arrival;
INSERT INTO counts SELECT * FROM counts_by_arrival FINAL;
DROP TABLE IF EXISTS counts_by_arrival;
