-- Incidents as they are known now.
CREATE OR REPLACE VIEW incident_list AS
SELECT
    *, if(closed IS NULL, 'open', 'closed') AS status, dateDiff('millisecond', first, last) AS duration_ms
FROM incidents FINAL;

CREATE OR REPLACE VIEW mutes_in_force AS
SELECT * EXCEPT (lifted) FROM mutes FINAL WHERE NOT lifted;

-- What was lost inside the incidents that began in [start, end), each in [first, last): minutes of down time from the
-- intervals (an interval or window that an incident covers in part counts in part), parts from the facts: the ideal parts of
-- the planned busy time less the good ones. Where two incidents of one machine overlap, the loss is in both: never sum them
-- into a loss of the machine. `lost_parts` NULL: no ideal cycle is known of what was made.
--   lost_ms  down time [ms]; lost_us  planned busy time less the ideal time of the good parts [us]
CREATE OR REPLACE VIEW incident_costs AS
WITH
    asked AS
    (
        SELECT * FROM incident_list
        WHERE opened >= {start:DateTime64(3, 'UTC')} AND opened < {end:DateTime64(3, 'UTC')}
    ),
    (SELECT (min(first), max(last), count()) FROM asked) AS reach,
    stops AS
    (
        SELECT machine, start, until, state, reason FROM timeline
        WHERE reach.3 > 0 AND element = 'adet' AND start >= reach.1 - INTERVAL 26 HOUR AND start < reach.2
          AND machine IN (SELECT machine FROM asked)
    ),
    windows AS
    (
        SELECT
            f.machine AS machine, f.segment_start AS low, f.segment_end AS high,
            1000 * f.pbt_ms - f.ideal_good_us AS lost_us,
            if(c.ideal_cycle_us[f.product] > 0, c.ideal_cycle_us[f.product], c.ideal_cycle_us['*']) AS cycle_us
        FROM
        (
            SELECT machine, segment_start, segment_end, pbt_ms, ideal_good_us, CAST(product, 'String') AS product FROM facts
            WHERE reach.3 > 0 AND window_start >= reach.1 - INTERVAL 15 MINUTE AND window_start < reach.2
              AND machine IN (SELECT machine FROM asked)
        ) AS f
        LEFT JOIN
        (
            SELECT machine, argMax(ideal_cycle_us, effective) AS ideal_cycle_us FROM machines FINAL GROUP BY machine
        ) AS c ON c.machine = f.machine
    ),
    down AS
    (
        SELECT i.id AS id, sum(dateDiff('millisecond', greatest(s.start, i.first), least(s.until, i.last))) AS down_ms
        FROM asked AS i INNER JOIN stops AS s ON s.machine = i.machine
        WHERE s.start < i.last AND s.until > i.first
        GROUP BY id
    ),
    parts AS
    (
        SELECT
            i.id AS id,
            sum(w.lost_us * dateDiff('millisecond', greatest(w.low, i.first), least(w.high, i.last))
                / dateDiff('millisecond', w.low, w.high)) AS loss_us,
            sumIf(w.lost_us / w.cycle_us * dateDiff('millisecond', greatest(w.low, i.first), least(w.high, i.last))
                / dateDiff('millisecond', w.low, w.high), w.cycle_us > 0) AS loss_parts,
            countIf(w.cycle_us > 0) AS priced
        FROM asked AS i INNER JOIN windows AS w ON w.machine = i.machine
        WHERE w.low < i.last AND w.high > i.first
        GROUP BY id
    )
SELECT
    * EXCEPT (down_ms, loss_us, loss_parts, priced),
    down_ms AS lost_ms, round(down_ms / 60000, 1) AS lost_minutes, round(greatest(loss_us, 0)) AS lost_us,
    if(last > first AND priced = 0, NULL, round(greatest(loss_parts, 0), 1)) AS lost_parts
FROM asked LEFT JOIN down USING (id) LEFT JOIN parts USING (id);

-- What usually follows: of the incidents that began in [start, end), by signal and kind, the share after which a stop of
-- this state and reason began within the hour, beside the share of all hours of these machines in which one began.
--   times  incidents that it followed, of `incidents`; ratio  how much more often than usual
CREATE OR REPLACE VIEW after_incidents AS
WITH
    asked AS
    (
        SELECT machine, id, signal, kind, first FROM incident_list
        WHERE opened >= {start:DateTime64(3, 'UTC')} AND opened < {end:DateTime64(3, 'UTC')}
    ),
    stops AS
    (
        SELECT machine, start, state, CAST(reason, 'String') AS reason FROM timeline
        WHERE start >= {start:DateTime64(3, 'UTC')} - INTERVAL 1 HOUR AND start < {end:DateTime64(3, 'UTC')} + INTERVAL 1 HOUR
          AND element = 'adet' AND NOT micro AND machine IN (SELECT machine FROM asked)
    ),
    usual AS
    (
        SELECT machine, state, reason, uniqExact(toStartOfHour(start)) AS hours FROM stops GROUP BY machine, state, reason
    ),
    known AS
    (
        SELECT machine, uniqExact(toStartOfHour(window_start)) AS hours FROM facts
        WHERE window_start >= {start:DateTime64(3, 'UTC')} - INTERVAL 1 HOUR
          AND window_start < {end:DateTime64(3, 'UTC')} + INTERVAL 1 HOUR AND machine IN (SELECT machine FROM asked)
        GROUP BY machine
    ),
    followed AS
    (
        SELECT i.machine AS machine, i.signal AS signal, i.kind AS kind, s.state AS state, s.reason AS reason,
            uniqExact(i.id) AS times
        FROM asked AS i INNER JOIN stops AS s ON s.machine = i.machine
        WHERE s.start > i.first AND s.start <= i.first + INTERVAL 1 HOUR
        GROUP BY machine, signal, kind, state, reason
    ),
    each AS
    (
        SELECT a.machine AS machine, a.signal AS signal, a.kind AS kind, u.state AS state, u.reason AS reason,
            a.incidents AS incidents, u.hours / k.hours AS usual
        FROM (SELECT machine, signal, kind, count() AS incidents FROM asked GROUP BY machine, signal, kind) AS a
        INNER JOIN usual AS u ON u.machine = a.machine
        INNER JOIN known AS k ON k.machine = a.machine
    )
SELECT
    e.signal AS signal, e.kind AS kind, e.state AS state, e.reason AS reason,
    n.incidents AS incidents, sum(f.times) AS times, times / incidents AS share,
    sum(e.incidents * e.usual) / incidents AS usual_share, share / nullIf(usual_share, 0) AS ratio
FROM each AS e
INNER JOIN (SELECT signal, kind, count() AS incidents FROM asked GROUP BY signal, kind) AS n
    ON n.signal = e.signal AND n.kind = e.kind
LEFT JOIN followed AS f
    ON f.machine = e.machine AND f.signal = e.signal AND f.kind = e.kind AND f.state = e.state AND f.reason = e.reason
GROUP BY signal, kind, state, reason, incidents
HAVING times > 0;
