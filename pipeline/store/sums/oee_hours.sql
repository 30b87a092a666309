-- The hours of one batch's `touched_hours`, summed again from their current facts. What is there already is marked as
-- removed, and what should be there written over it, in one insert: an hour is never read twice, nor half.
INSERT INTO oee_hours
WITH versions AS
(
    SELECT machine, hour, max(version) AS version FROM oee_hours
    WHERE (machine, hour) IN (SELECT machine, hour FROM touched_hours WHERE batch = {batch:String})
    GROUP BY machine, hour
)
SELECT
    n.* EXCEPT part_number, toUInt16(n.part_number - 1) AS part, ifNull(o.version, 0) + 2 AS version, 0 AS removed
FROM
(
    SELECT
        f.machine AS machine, f.site AS site, f.area AS area, f.line AS line,
        toDateTime64(toStartOfHour(f.window_start), 3, 'UTC') AS hour, f.shift AS shift, f.shift_date AS shift_date,
        f.local_date AS local_date, f.product AS product, f.order AS order,
        sum(f.t_ms) AS t_ms, sum(f.nonwork_ms) AS nonwork_ms, sum(f.pdot_ms) AS pdot_ms, sum(f.pbt_ms) AS pbt_ms,
        sum(f.apt_ms) AS apt_ms, sum(f.aust_ms) AS aust_ms, sum(f.adet_ms) AS adet_ms, sum(f.adot_ms) AS adot_ms,
        sum(f.unknown_ms) AS unknown_ms, sum(f.micro_stop_ms) AS micro_stop_ms, sum(f.external_ms) AS external_ms,
        sum(f.overtime_ms) AS overtime_ms, sum(f.failures) AS failures, sum(f.repair_ms) AS repair_ms,
        sum(f.stops) AS stops, sum(f.micro_stops) AS micro_stops, sum(f.total) AS total, sum(f.good) AS good,
        sum(f.reject) AS reject, sum(f.rework) AS rework, sum(f.ideal_total_us) AS ideal_total_us,
        sum(f.ideal_good_us) AS ideal_good_us, sum(f.no_ideal_total) AS no_ideal_total,
        sum(f.line_pbt_ms) AS line_pbt_ms,
        groupUniqArrayArray(f.flags) AS flags, f.profile AS profile, f.unknown_as AS unknown_as,
        toUInt32(countIf(f.status = 'provisional')) AS provisional, toUInt32(countIf(f.revision > 1)) AS restated,
        min(f.segment_start) AS first, max(f.segment_end) AS last,
        toUInt32(countIf(has(f.flags, 'not_in_factory'))) AS unlisted,
        row_number() OVER (PARTITION BY machine, hour ORDER BY min(f.segment_start), shift, product, order)
            AS part_number
    FROM
    (
        SELECT * FROM oee_facts FINAL
        WHERE segment_end > segment_start AND (machine, toStartOfHour(window_start)) IN
              (SELECT machine, toDateTime(hour, 'UTC') FROM touched_hours WHERE batch = {batch:String})
    ) AS f
    ASOF LEFT JOIN (SELECT DISTINCT site, line, since FROM stations) AS s  -- ideal times of lines change within hours, too
        ON s.site = f.site AND s.line = f.line AND s.since <= f.segment_start
    GROUP BY machine, site, area, line, hour, shift, shift_date, local_date, product, order, profile, unknown_as, s.since
) AS n
LEFT JOIN versions AS o ON o.machine = n.machine AND o.hour = n.hour

UNION ALL

SELECT r.* EXCEPT (version, removed), v.version + 1 AS version, 1 AS removed
FROM
(
    SELECT * FROM oee_hours FINAL
    WHERE (machine, hour) IN (SELECT machine, hour FROM touched_hours WHERE batch = {batch:String})
) AS r
INNER JOIN versions AS v ON v.machine = r.machine AND v.hour = r.hour
