-- Time first, then the machine: what is asked of a whole plant reads its stretch of time and no other, and the current rows
-- (FINAL) are sought among the parts of that time only. The time itself stands in the key by its hour or day alone: were it
-- there, too, a condition on it would not be applied to the hour or day that leads the key.
-- What a sink inserts while the tables change places is copied, too. Where the migration stopped half-way before, the rows
-- of either table are brought together first, and the copy begins anew.
CREATE TABLE IF NOT EXISTS oee_facts_by_time AS oee_facts;
INSERT INTO oee_facts SELECT * FROM oee_facts_by_time FINAL;
DROP TABLE IF EXISTS oee_facts_by_time;
CREATE TABLE IF NOT EXISTS oee_facts_by_time AS oee_facts
ENGINE = ReplacingMergeTree(known_at)
PARTITION BY toYYYYMM(window_start)
ORDER BY (toStartOfHour(window_start), machine, segment_start)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 1024
COMMENT 'Facts per machine, window and segment; the highest known_at of a key is the current row: read the view facts';
INSERT INTO oee_facts_by_time SELECT * FROM oee_facts FINAL;
EXCHANGE TABLES oee_facts AND oee_facts_by_time;
INSERT INTO oee_facts SELECT * FROM oee_facts_by_time FINAL;
DROP TABLE IF EXISTS oee_facts_by_time;

CREATE TABLE IF NOT EXISTS intervals_by_time AS intervals;
INSERT INTO intervals SELECT * FROM intervals_by_time FINAL;
DROP TABLE IF EXISTS intervals_by_time;
CREATE TABLE IF NOT EXISTS intervals_by_time AS intervals
ENGINE = ReplacingMergeTree(known_at)
PARTITION BY toYYYYMM(start)
ORDER BY (toDate(start), machine, toUnixTimestamp64Milli(start))
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 512
COMMENT 'Stretches of one state and one element of time; the highest known_at of a key is the current row';
INSERT INTO intervals_by_time SELECT * FROM intervals FINAL;
EXCHANGE TABLES intervals AND intervals_by_time;
INSERT INTO intervals SELECT * FROM intervals_by_time FINAL;
DROP TABLE IF EXISTS intervals_by_time;

CREATE TABLE IF NOT EXISTS oee_hours_by_time AS oee_hours;
INSERT INTO oee_hours SELECT * FROM oee_hours_by_time FINAL;
DROP TABLE IF EXISTS oee_hours_by_time;
CREATE TABLE IF NOT EXISTS oee_hours_by_time AS oee_hours
ENGINE = ReplacingMergeTree(version, removed)
PARTITION BY toYYYYMM(hour)
ORDER BY (toDate(hour), machine, toHour(hour), part)
SETTINGS index_granularity = 256
COMMENT 'Facts per machine and final hour; read the views';
ALTER TABLE oee_hours_by_time DROP INDEX IF EXISTS by_site;
ALTER TABLE oee_hours_by_time DROP INDEX IF EXISTS by_line;
ALTER TABLE oee_hours_by_time ADD INDEX IF NOT EXISTS lines line TYPE set(32) GRANULARITY 8;
INSERT INTO oee_hours_by_time SELECT * FROM oee_hours FINAL;
EXCHANGE TABLES oee_hours AND oee_hours_by_time;
INSERT INTO oee_hours SELECT * FROM oee_hours_by_time FINAL;
DROP TABLE IF EXISTS oee_hours_by_time;

CREATE TABLE IF NOT EXISTS loss_hours_by_time AS loss_hours;
INSERT INTO loss_hours SELECT * FROM loss_hours_by_time FINAL;
DROP TABLE IF EXISTS loss_hours_by_time;
CREATE TABLE IF NOT EXISTS loss_hours_by_time AS loss_hours
ENGINE = ReplacingMergeTree(version, removed)
PARTITION BY toYYYYMM(hour)
ORDER BY (toDate(hour), machine, toHour(hour), part)
SETTINGS index_granularity = 256
COMMENT 'Lost time per machine, final hour and cause; read the views';
ALTER TABLE loss_hours_by_time DROP INDEX IF EXISTS by_site;
ALTER TABLE loss_hours_by_time DROP INDEX IF EXISTS by_line;
ALTER TABLE loss_hours_by_time ADD INDEX IF NOT EXISTS lines line TYPE set(32) GRANULARITY 8;
INSERT INTO loss_hours_by_time SELECT * FROM loss_hours FINAL;
EXCHANGE TABLES loss_hours AND loss_hours_by_time;
INSERT INTO loss_hours SELECT * FROM loss_hours_by_time FINAL;
DROP TABLE IF EXISTS loss_hours_by_time;
