-- Hours for wide ranges, corrections, reasons, orders, the factory files themselves; new columns of what there was.

ALTER TABLE oee_revisions ADD COLUMN IF NOT EXISTS line_pbt_ms Int64 DEFAULT if(line != '', pbt_ms, 0)
    COMMENT 'planned busy time of the machine''s line; 0 on no line' AFTER no_ideal_total;
ALTER TABLE oee_facts ADD COLUMN IF NOT EXISTS line_pbt_ms Int64 DEFAULT if(line != '', pbt_ms, 0)
    COMMENT 'planned busy time of the machine''s line; 0 on no line' AFTER no_ideal_total;
ALTER TABLE intervals ADD COLUMN IF NOT EXISTS area LowCardinality(String) AFTER site;
ALTER TABLE machines ADD COLUMN IF NOT EXISTS enterprise LowCardinality(String) AFTER id;
ALTER TABLE machines ADD COLUMN IF NOT EXISTS units_per_cycle Map(String, Int64)
    COMMENT 'parts per count, by product; *: any other product; empty: 1' AFTER enterprise;
ALTER TABLE machines ADD COLUMN IF NOT EXISTS count_split LowCardinality(String)
    COMMENT 'proportional: counts are spread over the running time since the one before' AFTER units_per_cycle;

-- One hour of every machine is a common question: smaller granules, so that few rows of other hours are read with it.
-- What a sink inserts while the tables change places is copied, too.
CREATE TABLE IF NOT EXISTS oee_facts_fine AS oee_facts
ENGINE = ReplacingMergeTree(known_at)
PARTITION BY toYYYYMM(window_start)
ORDER BY (machine, window_start, segment_start)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 1024
COMMENT 'Facts per machine, window and segment; the highest known_at of a key is the current row: read the view facts';
INSERT INTO oee_facts_fine SELECT * FROM oee_facts FINAL;
EXCHANGE TABLES oee_facts AND oee_facts_fine;
INSERT INTO oee_facts SELECT * FROM oee_facts_fine FINAL;
DROP TABLE IF EXISTS oee_facts_fine;

CREATE TABLE IF NOT EXISTS intervals_fine AS intervals
ENGINE = ReplacingMergeTree(known_at)
PARTITION BY toYYYYMM(start)
ORDER BY (machine, start)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 512
COMMENT 'Stretches of one state and one element of time; the highest known_at of a key is the current row';
INSERT INTO intervals_fine SELECT * FROM intervals FINAL;
EXCHANGE TABLES intervals AND intervals_fine;
INSERT INTO intervals SELECT * FROM intervals_fine FINAL;
DROP TABLE IF EXISTS intervals_fine;

-- The facts of an hour that is final, summed by what they are asked by: shift, local day, product, order. Recomputed from
-- the current facts whenever one of them changes; what wide ranges read. A part that is gone is marked as removed.
CREATE TABLE IF NOT EXISTS oee_hours
(
    machine        LowCardinality(String),
    site           LowCardinality(String),
    area           LowCardinality(String),
    line           LowCardinality(String),
    hour           DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    shift          LowCardinality(String),
    shift_date     Date,
    local_date     Date,
    product        LowCardinality(String),
    order          LowCardinality(String),
    t_ms           Int64,
    nonwork_ms     Int64,
    pdot_ms        Int64,
    pbt_ms         Int64,
    apt_ms         Int64,
    aust_ms        Int64,
    adet_ms        Int64,
    adot_ms        Int64,
    unknown_ms     Int64,
    micro_stop_ms  Int64,
    external_ms    Int64,
    overtime_ms    Int64,
    failures       Int64,
    repair_ms      Int64,
    stops          Int64,
    micro_stops    Int64,
    total          Int64,
    good           Int64,
    reject         Int64,
    rework         Int64,
    ideal_total_us Int64,
    ideal_good_us  Int64,
    no_ideal_total Int64,
    line_pbt_ms    Int64,
    flags          Array(LowCardinality(String)),
    profile        LowCardinality(String),
    unknown_as     LowCardinality(String),
    provisional    UInt32 COMMENT 'how many of its rows were not final',
    restated       UInt32 COMMENT 'how many of its rows were changed after they were final',
    first          DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'start of its first segment',
    last           DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'end of its last segment',
    unlisted       UInt32 COMMENT 'how many of its rows are of a machine that no factory file names',
    part           UInt16 COMMENT 'parts of an hour differ in place, shift, date, product, order or rules',
    version        Int64 COMMENT 'rises with each time that the hour is summed again',
    removed        UInt8,
    INDEX by_site site TYPE set(4) GRANULARITY 1,
    INDEX by_line line TYPE set(8) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version, removed)
PARTITION BY toYYYYMM(hour)
ORDER BY (machine, hour, part)
SETTINGS index_granularity = 512
COMMENT 'Facts per machine and final hour; read the views';

-- The time of an hour that is final, by cause. Same rules as oee_hours.
CREATE TABLE IF NOT EXISTS loss_hours
(
    machine    LowCardinality(String),
    hour       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    part       UInt16,
    site       LowCardinality(String),
    area       LowCardinality(String),
    line       LowCardinality(String),
    element    LowCardinality(String),
    state      LowCardinality(String),
    reason     LowCardinality(String),
    micro      Bool,
    external   Bool,
    shift      LowCardinality(String),
    shift_date Date,
    product    LowCardinality(String),
    order      LowCardinality(String),
    lost_ms    Int64 COMMENT 'within the hour',
    times      Int64 COMMENT 'occurrences that begin in the hour',
    longest_ms Int64 COMMENT 'whole length of the longest of those that begin in the hour',
    version    Int64,
    removed    UInt8,
    INDEX by_site site TYPE set(4) GRANULARITY 1,
    INDEX by_line line TYPE set(8) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version, removed)
PARTITION BY toYYYYMM(hour)
ORDER BY (machine, hour, part)
SETTINGS index_granularity = 512
COMMENT 'Lost time per machine, final hour and cause; read the views';

-- How far the hours of each machine have come.
CREATE TABLE IF NOT EXISTS open_hours
(
    machine LowCardinality(String),
    since   DateTime64(3, 'UTC') COMMENT 'hours before it are final and stand in oee_hours and loss_hours',
    newest  DateTime64(3, 'UTC') COMMENT 'the newest hour that has facts',
    until   DateTime64(3, 'UTC') COMMENT 'end of the newest fact',
    version Int64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY machine
COMMENT 'From when on the hours of a machine are read from its facts and intervals';

-- Hours that a batch of the sink changed, until their sums are made again.
CREATE TABLE IF NOT EXISTS touched_hours
(
    batch   String,
    machine LowCardinality(String),
    hour    DateTime64(3, 'UTC'),
    at      DateTime('UTC') DEFAULT now('UTC')
)
ENGINE = MergeTree
ORDER BY (batch, machine, hour)
TTL at + INTERVAL 1 HOUR
COMMENT 'A note of the sink to itself';

CREATE TABLE IF NOT EXISTS corrections
(
    machine        LowCardinality(String),
    id             String,
    revision       Int32,
    start          DateTime64(3, 'UTC'),
    end            DateTime64(3, 'UTC'),
    state          LowCardinality(Nullable(String)),
    calendar       LowCardinality(Nullable(String)),
    reason         LowCardinality(Nullable(String)),
    product        LowCardinality(Nullable(String)),
    order          LowCardinality(Nullable(String)),
    good           Nullable(Int64) COMMENT 'parts added at start',
    reject         Nullable(Int64),
    rework         Nullable(Int64),
    ideal_cycle_us Nullable(Int64),
    withdrawn      Bool,
    issued         DateTime64(3, 'UTC'),
    issued_by      String
)
ENGINE = ReplacingMergeTree(issued)
PARTITION BY toYYYYMM(start)
ORDER BY (machine, id, revision)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What people and systems corrected, every revision: read the view corrections_in_force';

CREATE TABLE IF NOT EXISTS orders
(
    machine LowCardinality(String),
    order   String,
    ts      DateTime64(3, 'UTC'),
    product LowCardinality(String),
    planned Nullable(Int64) COMMENT 'parts that the order asks for'
)
ENGINE = ReplacingMergeTree
ORDER BY (order, machine, ts)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Orders as they were said to the machines: read the view order_progress';

CREATE TABLE IF NOT EXISTS factory_files
(
    site       LowCardinality(String),
    applied    DateTime64(3, 'UTC'),
    effective  DateTime64(3, 'UTC') COMMENT '1970-01-01: always',
    applied_by String,
    text       String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
ORDER BY (site, applied)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Every factory file that was applied';

CREATE TABLE IF NOT EXISTS reasons
(
    site    LowCardinality(String),
    applied DateTime64(3, 'UTC'),
    code    LowCardinality(String),
    name    String,
    path    Array(String) COMMENT 'codes from the root of the tree to this one',
    loss    LowCardinality(String) COMMENT 'breakdown, setup, idling, speed, scrap, startup or planned; empty: not said'
)
ENGINE = ReplacingMergeTree
ORDER BY (site, applied, code)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Reason trees of the factory files: read the view reason_tree';
