-- Hours in which an interval may have begun that reaches into an open hour: none is longer than a local day or a shift.
CREATE OR REPLACE VIEW open_interval_hours AS
SELECT machine, fromUnixTimestamp64Milli(hour_ms, 'UTC') AS hour
FROM
(
    SELECT machine,
        arrayJoin(range(greatest(toUnixTimestamp64Milli(since) - 26 * 3600000, 0), toUnixTimestamp64Milli(newest) + 1,
                        3600000)) AS hour_ms
    FROM open_hours FINAL
);

-- What is lost in [start, end), in pieces that are to be summed: element adet is down time, aust setup, adot idle or off,
-- pdot planned stops. Whole final hours come from loss_hours, the rest from the intervals themselves, clipped to the range.
-- A stop counts where it begins, its minutes where they are, so that parts of a range add up to it; `longest_ms` is the
-- whole length of a stop that begins in the range.
CREATE OR REPLACE VIEW loss_pieces AS
WITH
    fromUnixTimestamp64Milli(intDiv(toUnixTimestamp64Milli({start:DateTime64(3, 'UTC')}) + 3599999, 3600000) * 3600000,
                             'UTC') AS first_hour,
    fromUnixTimestamp64Milli(intDiv(toUnixTimestamp64Milli({end:DateTime64(3, 'UTC')}), 3600000) * 3600000, 'UTC')
        AS last_hour,
    least(first_hour, {end:DateTime64(3, 'UTC')}) AS head,
    greatest(last_hour, head) AS tail
SELECT site, area, line, machine, element, state, reason, micro, external, lost_ms, times, longest_ms
FROM loss_hours FINAL
WHERE hour >= first_hour AND hour < last_hour

UNION ALL

SELECT
    site, area, line, machine, element, state, reason, micro, external,
    dateDiff('millisecond', low, high) AS lost_ms,
    toInt64(fresh AND begins = low) AS times, if(begins = low, dateDiff('millisecond', begins, ends), 0) AS longest_ms
FROM
(
    SELECT
        i.site AS site, i.area AS area, i.line AS line, i.machine AS machine, i.element AS element,
        i.state AS state, i.reason AS reason, i.micro AS micro, i.external AS external, i.fresh AS fresh,
        i.start AS begins,
        coalesce(i.end, greatest(i.start, o.until)) AS ends,
        greatest(begins, stretch.1) AS low, least(ends, stretch.2) AS high
    FROM
    (
        SELECT
            *,
            lagInFrame((coalesce(end, start), state, reason, coalesce(stop, toDateTime64(0, 3, 'UTC')))) OVER
                (PARTITION BY machine ORDER BY start ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
                != (start, state, reason, coalesce(stop, toDateTime64(0, 3, 'UTC'))) AS fresh
        FROM intervals FINAL
        WHERE element NOT IN ('apt', 'nonwork') AND (end IS NULL OR end > start)
          AND ((head > {start:DateTime64(3, 'UTC')}
                AND start >= {start:DateTime64(3, 'UTC')} - INTERVAL 26 HOUR AND start < head)
               OR (tail < {end:DateTime64(3, 'UTC')}
                   AND start >= tail - INTERVAL 26 HOUR AND start < {end:DateTime64(3, 'UTC')})
               OR (head < tail AND start < tail
                   AND start >= greatest(head, (SELECT min(since) FROM open_hours FINAL)) - INTERVAL 26 HOUR
                   AND (machine, toStartOfHour(start)) IN
                       (SELECT machine, toDateTime(hour, 'UTC') FROM open_interval_hours)))
    ) AS i
    LEFT JOIN (SELECT machine, since, until FROM open_hours FINAL) AS o ON o.machine = i.machine
    ARRAY JOIN
        [
            ({start:DateTime64(3, 'UTC')}, head),
            (tail, {end:DateTime64(3, 'UTC')}),
            (least(greatest(o.since, head), tail), tail)
        ] AS stretch
    WHERE low < high
);

-- The pieces summed by cause.
CREATE OR REPLACE VIEW losses AS
SELECT
    site, area, line, machine, element, state, reason, micro, external,
    sum(k.lost_ms) AS lost_ms, sum(k.times) AS times, max(k.longest_ms) AS longest_ms
FROM loss_pieces(start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')}) AS k
GROUP BY site, area, line, machine, element, state, reason, micro, external;

CREATE OR REPLACE VIEW downtime AS
SELECT * FROM losses(start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')}) WHERE element = 'adet';

-- Downtime ranked by minutes and by count, with the cause's place in the tree of reasons and among the six big losses.
--   level  machine, line, area, site, enterprise
CREATE OR REPLACE VIEW downtime_pareto AS
SELECT
    *,
    lost_ms / sum(lost_ms) OVER (PARTITION BY site, area, line, machine) AS share,
    sum(lost_ms) OVER (PARTITION BY site, area, line, machine ORDER BY by_time) / sum(lost_ms) OVER (PARTITION BY site, area, line, machine)
        AS cumulative_share
FROM
(
    SELECT
        *,
        row_number() OVER (PARTITION BY site, area, line, machine ORDER BY lost_ms DESC, state, reason, micro) AS by_time,
        row_number() OVER (PARTITION BY site, area, line, machine ORDER BY times DESC, state, reason, micro) AS by_count
    FROM
    (
        SELECT
            k.site AS site, k.area AS area, k.line AS line, k.machine AS machine, k.state AS state, k.reason AS reason,
            k.micro AS micro,
            any(if(t.name = '', k.reason, t.name)) AS reason_name, any(t.path) AS path,
            any(multiIf(t.loss != '', CAST(t.loss, 'String'), k.micro OR k.external, 'idling', 'breakdown')) AS loss,
            sum(k.lost_ms) AS lost_ms, sum(k.times) AS times, max(k.longest_ms) AS longest_ms,
            argMax(k.longest_machine, k.longest_ms) AS longest_machine
        FROM
        (
            SELECT
                d.site AS of_site,
                if({level:String} IN ('machine', 'line', 'area', 'site'), CAST(d.site, 'String'), '') AS site,
                if({level:String} IN ('machine', 'line', 'area'), CAST(d.area, 'String'), '') AS area,
                if({level:String} IN ('machine', 'line'), CAST(d.line, 'String'), '') AS line,
                if({level:String} = 'machine', CAST(d.machine, 'String'), '') AS machine,
                d.state AS state, CAST(d.reason, 'String') AS reason, d.micro AS micro,
                max(d.external) AS external, sum(d.lost_ms) AS lost_ms, sum(d.times) AS times,
                max(d.longest_ms) AS longest_ms, argMax(d.machine, d.longest_ms) AS longest_machine
            FROM loss_pieces(start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')}) AS d
            WHERE d.element = 'adet'
            GROUP BY of_site, site, area, line, machine, state, reason, micro
        ) AS k
        LEFT JOIN reason_tree AS t ON t.site = k.of_site AND t.code = k.reason
        GROUP BY site, area, line, machine, state, reason, micro
    )
);

-- Where the time went, from all of it to fully productive time, step by step; each step is what is lost at it (negative),
-- the totals are what is left. `loss` names the step's place among the six big losses.
--   level, grain, profile, start, end  as in oee_by; steps are the same in every profile
CREATE OR REPLACE VIEW waterfall AS
SELECT
    site, area, line, machine, period, shift, product, order,
    at.1 AS number, at.2 AS step, at.3 AS loss, at.4 AS is_total, at.5 AS us,
    us / 60000000 AS minutes, us / nullIf(1000 * t_ms, 0) AS share_of_time, us / nullIf(1000 * pbt_ms, 0) AS share_of_planned,
    coverage, no_ideal_total
FROM oee_by(level = {level:String}, grain = {grain:String}, profile = {profile:String},
            start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
ARRAY JOIN [
    (toUInt8(1), 'all time', '', true, 1000 * t_ms), (2, 'not scheduled', '', false, -1000 * nonwork_ms),
    (3, 'planned stops', 'planned', false, -1000 * pdot_ms), (4, 'planned busy time', '', true, 1000 * pbt_ms),
    (5, 'no data', '', false, -1000 * unknown_ms), (6, 'idle or off', 'idling', false, -1000 * adot_ms),
    (7, 'setup', 'setup', false, -1000 * aust_ms), (8, 'starved or blocked', 'idling', false, -1000 * external_ms),
    (9, 'other stops', 'breakdown', false, 1000 * (external_ms + micro_stop_ms - adet_ms)),
    (10, 'micro-stops', 'idling', false, -1000 * micro_stop_ms), (11, 'running', '', true, 1000 * apt_ms),
    (12, 'slow running', 'speed', false, ideal_total_us - 1000 * apt_ms),
    (13, 'scrap', 'scrap', false, ideal_good_us - ideal_total_us), (14, 'fully productive', '', true, ideal_good_us)
] AS at;

-- Why OEE differs between two periods: what each loss contributes to the difference. OEE = 1 - sum of losses over the busy
-- time, so the contributions add up to the difference; as fractions of whole numbers (numerator / denominator, the same
-- denominator in all rows) they do so exactly.
--   level, profile  as in oee_by; start_1, end_1 the period before, start_2, end_2 the one after
CREATE OR REPLACE VIEW oee_change AS
SELECT
    site, area, line, machine, at.1 AS number, at.2 AS step, at.3 AS loss, at.4 AS lost_us_1, at.5 AS lost_us_2,
    lost_us_1 / (1000 * busy_1) AS share_1, lost_us_2 / (1000 * busy_2) AS share_2,
    toInt256(lost_us_1) * busy_2 - toInt256(lost_us_2) * busy_1 AS numerator,
    toInt256(1000) * busy_1 * busy_2 AS denominator,
    toFloat64(numerator) / toFloat64(denominator) AS contribution,
    oee_1, oee_2,
    toInt256(good_us_2) * busy_1 - toInt256(good_us_1) * busy_2 AS difference_numerator, coverage_1, coverage_2
FROM
(
    SELECT
        o.site AS site, o.area AS area, o.line AS line, o.machine AS machine,
        o.oee AS oee_1, n.oee AS oee_2, o.busy_ms AS busy_1, n.busy_ms AS busy_2,
        o.ideal_good_us AS good_us_1, n.ideal_good_us AS good_us_2, o.coverage AS coverage_1, n.coverage AS coverage_2,
        arrayZip(
            range(toUInt8(1), toUInt8(10)),
            ['planned stops', 'no data', 'idle or off', 'setup', 'starved or blocked', 'other stops', 'micro-stops',
             'slow running', 'scrap'],
            ['planned', '', 'idling', 'setup', 'idling', 'breakdown', 'idling', 'speed', 'scrap'],
            [1000 * (o.busy_ms - o.apt_ms - o.aust_ms - o.adet_ms - o.adot_ms - o.counted_unknown_ms),
             1000 * o.counted_unknown_ms, 1000 * o.adot_ms, 1000 * o.aust_ms, 1000 * o.external_ms,
             1000 * (o.adet_ms - o.external_ms - o.micro_stop_ms), 1000 * o.micro_stop_ms,
             1000 * o.apt_ms - o.ideal_total_us, o.ideal_total_us - o.ideal_good_us],
            [1000 * (n.busy_ms - n.apt_ms - n.aust_ms - n.adet_ms - n.adot_ms - n.counted_unknown_ms),
             1000 * n.counted_unknown_ms, 1000 * n.adot_ms, 1000 * n.aust_ms, 1000 * n.external_ms,
             1000 * (n.adet_ms - n.external_ms - n.micro_stop_ms), 1000 * n.micro_stop_ms,
             1000 * n.apt_ms - n.ideal_total_us, n.ideal_total_us - n.ideal_good_us]
        ) AS steps
    FROM
    (
        SELECT *, unknown_ms - counted_out_ms AS counted_unknown_ms
        FROM oee_by(level = {level:String}, grain = 'total', profile = {profile:String},
                    start = {start_1:DateTime64(3, 'UTC')}, end = {end_1:DateTime64(3, 'UTC')})
    ) AS o
    INNER JOIN
    (
        SELECT *, unknown_ms - counted_out_ms AS counted_unknown_ms
        FROM oee_by(level = {level:String}, grain = 'total', profile = {profile:String},
                    start = {start_2:DateTime64(3, 'UTC')}, end = {end_2:DateTime64(3, 'UTC')})
    ) AS n ON n.site = o.site AND n.area = o.area AND n.line = o.line AND n.machine = o.machine
    WHERE o.oee IS NOT NULL AND n.oee IS NOT NULL
)
ARRAY JOIN steps AS at;
