-- Current rows. FINAL makes of each key the one current row; rows that a later revision removed are left out.
-- What is asked for by people is asked of views: a restatement can never be counted twice there.
-- Views are replaced as a whole by `openoee migrate` whenever their text has changed; tables change by migrations.

CREATE OR REPLACE VIEW facts AS
SELECT * FROM oee_facts FINAL
WHERE segment_end > segment_start;

CREATE OR REPLACE VIEW facts_as_known AS
SELECT * FROM
(
    SELECT * FROM oee_revisions
    WHERE known_at <= {at:DateTime64(3, 'UTC')}
    ORDER BY known_at DESC
    LIMIT 1 BY machine, window_start, segment_start
)
WHERE segment_end > segment_start;

CREATE OR REPLACE VIEW factory AS
SELECT * FROM machines FINAL;

CREATE OR REPLACE VIEW anomaly_flags AS
SELECT *, dateDiff('millisecond', first, last) AS duration_ms FROM anomalies FINAL;

CREATE OR REPLACE VIEW signals AS
SELECT machine, signal, ts, value FROM telemetry FINAL;

CREATE OR REPLACE VIEW machine_events AS
SELECT * FROM events FINAL;

CREATE OR REPLACE VIEW part_counts AS
SELECT * FROM counts FINAL;

CREATE OR REPLACE VIEW parked AS
SELECT * FROM dead_letters FINAL;

-- The newest factory file of a site names its reasons.
CREATE OR REPLACE VIEW reason_tree AS
SELECT site, code, name, path, loss
FROM (SELECT * FROM reasons FINAL)
WHERE (site, applied) IN (SELECT site, max(applied) FROM factory_files GROUP BY site);

-- What people said, with their note.
CREATE OR REPLACE VIEW corrections_in_force AS
SELECT * FROM (SELECT * FROM corrections FINAL ORDER BY revision DESC LIMIT 1 BY machine, id)
WHERE NOT withdrawn;

-- Hours that are read from the facts themselves, because they are not final or nothing has come after them. An hour that
-- has its sums is not among them, even where `since` has yet to follow: it is never read twice.
CREATE OR REPLACE VIEW open_hour_list AS
WITH since_then AS
(
    SELECT machine, fromUnixTimestamp64Milli(hour_ms, 'UTC') AS hour
    FROM
    (
        SELECT machine,
            arrayJoin(range(toUnixTimestamp64Milli(since), toUnixTimestamp64Milli(newest) + 1, 3600000)) AS hour_ms
        FROM open_hours FINAL
    )
)
SELECT machine, hour FROM since_then
WHERE (machine, hour) NOT IN
(
    SELECT machine, hour FROM oee_hours
    WHERE hour >= (SELECT min(since) FROM open_hours FINAL) AND (machine, hour) IN (SELECT * FROM since_then)
);

-- An interval that is still going on is shown up to the newest fact of its machine.
CREATE OR REPLACE VIEW timeline AS
SELECT
    i.machine AS machine, i.site AS site, i.area AS area, i.line AS line, i.start AS start,
    coalesce(i.end, greatest(i.start, o.until)) AS until,
    dateDiff('millisecond', start, until) AS duration_ms,
    i.end IS NULL AS going_on,
    i.state AS state, i.element AS element, i.stop AS stop, i.micro AS micro, i.external AS external,
    i.overtime AS overtime, i.reason AS reason, i.shift AS shift, i.shift_date AS shift_date,
    i.product AS product, i.order AS order, i.known_at AS known_at
FROM (SELECT * FROM intervals FINAL WHERE end IS NULL OR end > start) AS i
LEFT JOIN (SELECT machine, until FROM open_hours FINAL) AS o ON o.machine = i.machine;
