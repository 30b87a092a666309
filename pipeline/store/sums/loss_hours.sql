-- The hours of one batch's `touched_hours`, their losses summed again from the current intervals, as in oee_hours.sql.
-- An interval that is still going on fills every final hour from its start on; none is longer than a local day or a shift.
INSERT INTO loss_hours
WITH versions AS
(
    SELECT machine, hour, max(version) AS version FROM loss_hours
    WHERE (machine, hour) IN (SELECT machine, hour FROM touched_hours WHERE batch = {batch:String})
    GROUP BY machine, hour
)
SELECT
    n.machine AS machine, n.hour AS hour, toUInt16(n.part_number - 1) AS part, n.site, n.area, n.line, n.element, n.state,
    n.reason, n.micro, n.external, n.shift, n.shift_date, n.product, n.order, n.lost_ms, n.times, n.longest_ms,
    ifNull(o.version, 0) + 2 AS version, 0 AS removed
FROM
(
    SELECT
        machine, hour, site, area, line, element, state, reason, micro, external, shift, shift_date, product, order,
        sum(least(ends, next_hour) - greatest(begins, this_hour)) AS lost_ms,
        sum(toInt64(fresh AND begins >= this_hour)) AS times,
        max(if(begins >= this_hour, if(going_on, least(ends, next_hour), ends) - begins, 0)) AS longest_ms,
        row_number() OVER (PARTITION BY machine, hour ORDER BY min(begins), element, state, reason, product, order)
            AS part_number
    FROM
    (
        SELECT
            machine, site, area, line, element, state, reason, micro, external, shift, shift_date, product, order,
            fresh, toUnixTimestamp64Milli(start) AS begins, end IS NULL AS going_on,
            toUnixTimestamp64Milli(coalesce(end, start + INTERVAL 26 HOUR)) AS ends,
            arrayJoin(range(intDiv(begins, 3600000), intDiv(ends - 1, 3600000) + 1)) * 3600000 AS this_hour,
            this_hour + 3600000 AS next_hour, fromUnixTimestamp64Milli(this_hour, 'UTC') AS hour
        FROM
        (
            -- a cause that goes on over a border of shift, day or product does not begin again
            SELECT
                *,
                lagInFrame((coalesce(end, start), state, reason, coalesce(stop, toDateTime64(0, 3, 'UTC')))) OVER
                    (PARTITION BY machine ORDER BY start ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
                    != (start, state, reason, coalesce(stop, toDateTime64(0, 3, 'UTC'))) AS fresh
            FROM intervals FINAL
            WHERE element NOT IN ('apt', 'nonwork') AND (end IS NULL OR end > start)
              AND (machine, toStartOfHour(start)) IN
              (
                  SELECT machine, arrayJoin(arrayMap(back -> toDateTime(hour - toIntervalHour(back), 'UTC'), range(27)))
                  FROM touched_hours WHERE batch = {batch:String}
              )
        )
    )
    WHERE (machine, hour) IN (SELECT machine, hour FROM touched_hours WHERE batch = {batch:String})
    GROUP BY machine, hour, site, area, line, element, state, reason, micro, external, shift, shift_date, product, order
) AS n
LEFT JOIN versions AS o ON o.machine = n.machine AND o.hour = n.hour

UNION ALL

SELECT r.* EXCEPT (version, removed), v.version + 1 AS version, 1 AS removed
FROM (SELECT * FROM loss_hours FINAL WHERE (machine, hour) IN (SELECT machine, hour FROM touched_hours WHERE batch = {batch:String})) AS r
INNER JOIN versions AS v ON v.machine = r.machine AND v.hour = r.hour
