-- Tables, fed by the sink from the topics. Every table is keyed by what a row says, so that the same row written twice
-- is one row (ReplacingMergeTree), and knows the tokens of its last inserts, so that a repeated insert is no insert at
-- all. Partitions are months: a backfill of years makes dozens of parts, not thousands. Times are UTC.

CREATE TABLE IF NOT EXISTS telemetry
(
    machine LowCardinality(String),
    signal  LowCardinality(String),
    ts      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    value   Float64 CODEC(ZSTD(3)) COMMENT 'in the unit of the signal'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (machine, signal, ts)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Samples of every signal, one value per row';

CREATE TABLE IF NOT EXISTS events
(
    machine  LowCardinality(String),
    ts       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    kind     LowCardinality(String) COMMENT 'alarm, condition, message, state, context, correction, end_of_source',
    severity LowCardinality(String) COMMENT 'normal, info, warning, fault, unavailable; empty where it has no meaning',
    code     String COMMENT 'native code; the state; product, order or program',
    text     String COMMENT 'what the machine says; the reason of a state',
    opening  Bool   COMMENT 'a value that the source held when it connected, however old',
    source   LowCardinality(String),
    epoch    Int64,
    sequence Int64 CODEC(Delta, ZSTD(1)),
    entry    UInt32 COMMENT 'place in its record'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (machine, ts, kind, source, epoch, sequence, entry)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What the machines said besides numbers, as they said it';

CREATE TABLE IF NOT EXISTS counts
(
    machine    LowCardinality(String),
    ts         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    cumulative Bool COMMENT 'readings of counters; else parts made since the last report',
    total      Nullable(Int64),
    good       Nullable(Int64),
    reject     Nullable(Int64),
    rework     Nullable(Int64),
    opening    Bool,
    source     LowCardinality(String),
    epoch      Int64,
    sequence   Int64 CODEC(Delta, ZSTD(1)),
    entry      UInt32
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (machine, ts, source, epoch, sequence, entry)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Counters as the machines reported them';

CREATE TABLE IF NOT EXISTS machines
(
    machine          LowCardinality(String),
    effective        DateTime64(3, 'UTC') COMMENT 'from when on; 1970-01-01: always',
    site             LowCardinality(String),
    area             LowCardinality(String),
    line             LowCardinality(String),
    position         Int32 COMMENT 'serial position on the line, from 1; 0: not on a line',
    timezone         LowCardinality(String),
    ideal_cycle_us   Map(String, Int64) COMMENT 'microseconds per part, by product; *: any other product',
    micro_stop_ms    Int64,
    stale_after_ms   Nullable(Int64),
    counter_modulus  Nullable(Int64),
    profile          LowCardinality(String),
    unknown_as       LowCardinality(String),
    oee_target       Nullable(Float64),
    units            Map(String, String) COMMENT 'unit of each signal',
    shifts           Array(String),
    issued           DateTime64(3, 'UTC'),
    issued_by        String,
    id               String
)
ENGINE = ReplacingMergeTree(issued)
ORDER BY (machine, effective)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What the factory file says of each machine, from when on';

CREATE TABLE IF NOT EXISTS intervals
(
    machine    LowCardinality(String),
    site       LowCardinality(String),
    line       LowCardinality(String),
    start      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    end        Nullable(DateTime64(3, 'UTC')) COMMENT 'NULL: still going on; equal to start: removed',
    state      LowCardinality(String),
    element    LowCardinality(String) COMMENT 'apt, aust, adet, adot, pdot, nonwork, unknown',
    stop       Nullable(DateTime64(3, 'UTC')) COMMENT 'start of the logical stop that it belongs to',
    micro      Bool,
    external   Bool COMMENT 'starved or blocked',
    overtime   Bool,
    reason     LowCardinality(String),
    shift      LowCardinality(String),
    shift_date Date,
    product    LowCardinality(String),
    order      LowCardinality(String),
    known_at   DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(known_at)
PARTITION BY toYYYYMM(start)
ORDER BY (machine, start)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Stretches of one state and one element of time; the highest known_at of a key is the current row';

CREATE TABLE IF NOT EXISTS oee_revisions
(
    machine        LowCardinality(String),
    site           LowCardinality(String),
    area           LowCardinality(String),
    line           LowCardinality(String),
    window_start   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    window_end     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    segment_start  DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    segment_end    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'equal to segment_start: removed',
    shift          LowCardinality(String) COMMENT 'empty outside every shift',
    shift_date     Date COMMENT 'local date on which the shift started',
    local_date     Date,
    product        LowCardinality(String),
    order          LowCardinality(String),
    t_ms           Int64 COMMENT 'length of the segment',
    nonwork_ms     Int64 COMMENT 'no shift, or plant closed',
    pdot_ms        Int64 COMMENT 'planned down time',
    pbt_ms         Int64 COMMENT 'planned busy time: the denominator of OEE',
    apt_ms         Int64 COMMENT 'actual production time: running',
    aust_ms        Int64 COMMENT 'setup',
    adet_ms        Int64 COMMENT 'delay: stops, faults, starved, blocked',
    adot_ms        Int64 COMMENT 'down: available in a shift but idle or off',
    unknown_ms     Int64 COMMENT 'no trustworthy data',
    micro_stop_ms  Int64 COMMENT 'micro-stops, inside adet',
    external_ms    Int64 COMMENT 'starved and blocked, inside adet',
    overtime_ms    Int64 COMMENT 'run time outside planned time, inside apt',
    failures       Int64 COMMENT 'faults that are no micro-stop, where they start',
    repair_ms      Int64 COMMENT 'time in such faults, inside adet',
    stops          Int64 COMMENT 'stops, where they start',
    micro_stops    Int64 COMMENT 'micro-stops, where they start',
    total          Int64 COMMENT 'parts',
    good           Int64 COMMENT 'good parts',
    reject         Int64 COMMENT 'scrapped parts',
    rework         Int64 COMMENT 'parts to be reworked',
    ideal_total_us Int64 COMMENT 'ideal time of all parts with a known ideal cycle time',
    ideal_good_us  Int64 COMMENT 'ideal time of good parts with a known ideal cycle time',
    no_ideal_total Int64 COMMENT 'parts without a known ideal cycle time',
    flags          Array(LowCardinality(String)),
    profile        LowCardinality(String),
    unknown_as     LowCardinality(String),
    status         LowCardinality(String) COMMENT 'provisional, final, restated',
    revision       Int32 COMMENT '0: provisional; 1: final; higher: restated',
    reason         LowCardinality(String) COMMENT 'why it was restated',
    known_at       DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(window_start)
ORDER BY (machine, window_start, segment_start, known_at)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Every revision of every fact, for what was known when';

CREATE TABLE IF NOT EXISTS oee_facts AS oee_revisions
ENGINE = ReplacingMergeTree(known_at)
PARTITION BY toYYYYMM(window_start)
ORDER BY (machine, window_start, segment_start)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Facts per machine, window and segment; the highest known_at of a key is the current row: read the view facts';

CREATE TABLE IF NOT EXISTS anomalies
(
    machine          LowCardinality(String),
    site             LowCardinality(String),
    line             LowCardinality(String),
    signal           LowCardinality(String) COMMENT 'empty: the machine as a whole',
    kind             LowCardinality(String) COMMENT 'spike, shift, drift, limit, flatline, gap',
    detector         LowCardinality(String),
    detector_version Int32,
    first            DateTime64(3, 'UTC'),
    last             DateTime64(3, 'UTC'),
    score            Float64 COMMENT 'how unusual, 0 to 1',
    value            Nullable(Float64),
    expected         Nullable(Float64),
    expected_low     Nullable(Float64),
    expected_high    Nullable(Float64),
    severity         LowCardinality(String) COMMENT 'info, warning, critical',
    state            LowCardinality(String),
    product          LowCardinality(String),
    message          String,
    known_at         DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(known_at)
PARTITION BY toYYYYMM(first)
ORDER BY (machine, signal, kind, first)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Flags; the highest known_at of a key is the current row: read the view anomaly_flags';

CREATE TABLE IF NOT EXISTS dead_letters
(
    topic     LowCardinality(String),
    partition Int32,
    offset    Int64,
    arrived   DateTime64(3, 'UTC'),
    machine   String COMMENT 'empty when it could not be read',
    reason    LowCardinality(String),
    detail    String,
    entries   Int32 COMMENT 'how many entries of the record are concerned; 0: the whole record',
    key       Nullable(String),
    value     Nullable(String)
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset, reason)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Records that could not be used, with their address, the reason and their bytes';
