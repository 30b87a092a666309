-- What a person hears of once, and what nobody wants to hear of.
CREATE TABLE IF NOT EXISTS incidents
(
    machine         LowCardinality(String),
    site            LowCardinality(String),
    line            LowCardinality(String),
    id              String COMMENT 'machine, /, opened in ms: the name for openoee incidents',
    opened          DateTime64(3, 'UTC') COMMENT 'first instant of the flag that opened it',
    first           DateTime64(3, 'UTC') COMMENT 'first instant of its flags',
    last            DateTime64(3, 'UTC') COMMENT 'last instant of its flags known so far',
    closed          Nullable(DateTime64(3, 'UTC')) COMMENT 'from when on it counts as over; NULL: it goes on',
    severity        LowCardinality(String) COMMENT 'info, warning, critical',
    page            Bool COMMENT 'its flags that are not muted are worth a message',
    muted           Bool COMMENT 'all of its flags are muted',
    flags           Int64 COMMENT 'flags in it',
    signals         Array(LowCardinality(String)) COMMENT 'an empty name: the machine as a whole',
    kinds           Array(LowCardinality(String)),
    signal          LowCardinality(String) COMMENT 'of the leading (worst) flag',
    kind            LowCardinality(String) COMMENT 'of the leading flag',
    score           Float64 COMMENT 'of the leading flag, 0 to 1',
    state           LowCardinality(String) COMMENT 'of the machine at the leading flag',
    product         LowCardinality(String) COMMENT 'at the leading flag',
    message         String COMMENT 'the sentence of the leading flag',
    acknowledged    Nullable(DateTime64(3, 'UTC')) COMMENT 'when somebody had seen it',
    acknowledged_by String,
    note            String COMMENT 'what was said with it',
    known_at        DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(known_at)
PARTITION BY toYYYYMM(opened)
ORDER BY (toDate(opened), machine, toUnixTimestamp64Milli(opened))
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Flags that touch each other; the highest known_at of a key is the current row: read the view incident_list';

CREATE TABLE IF NOT EXISTS mutes
(
    machine   LowCardinality(String),
    id        String,
    until     DateTime64(3, 'UTC') COMMENT 'first instant at which it does not hold any more',
    signal    LowCardinality(String) COMMENT 'empty: any',
    kind      LowCardinality(String) COMMENT 'empty: any',
    why       String,
    lifted    Bool,
    issued    DateTime64(3, 'UTC'),
    issued_by String
)
ENGINE = ReplacingMergeTree(issued)
ORDER BY (machine, id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Flags of which nobody wants a message; the last word on a name holds: read the view mutes_in_force';
