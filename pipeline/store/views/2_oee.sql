-- Facts with what they are summed by, from the cheapest table that gives them exactly: whole hours from oee_hours, the
-- rest of the range and hours that are still open from the facts themselves.
-- Profiles and the treatment of unknown time differ in two times only: `run_ms`, over which P is taken, and `busy_ms`,
-- the denominator of A and OEE. Both are additive.
--   grain       window, hour, shift, day, week, month, product, order, total (hours are UTC, dates are the machine's)
--   profile     iso22400, vorne, smrp; empty: that of each row
--   start, end  windows that start in [start, end)
CREATE OR REPLACE VIEW facts_by AS
WITH
    {grain:String} != 'window' AS by_hours,
    fromUnixTimestamp64Milli(intDiv(toUnixTimestamp64Milli({start:DateTime64(3, 'UTC')}) + 3599999, 3600000) * 3600000,
                             'UTC') AS first_hour,
    fromUnixTimestamp64Milli(intDiv(toUnixTimestamp64Milli({end:DateTime64(3, 'UTC')}), 3600000) * 3600000, 'UTC')
        AS last_hour,
    if(by_hours, least(first_hour, {end:DateTime64(3, 'UTC')}), {end:DateTime64(3, 'UTC')}) AS head,
    if(by_hours, greatest(last_hour, head), {end:DateTime64(3, 'UTC')}) AS tail
SELECT
    *,
{{periods}}
FROM
(
    SELECT * EXCEPT (hour, provisional, restated, first, last, unlisted, part, version, removed), hour AS window_start,
        first, last, toUInt64(provisional) AS provisional, toUInt64(restated) AS restated, toUInt64(unlisted) AS unlisted
    FROM oee_hours FINAL
    WHERE by_hours AND hour >= first_hour AND hour < last_hour

    UNION ALL

    SELECT * EXCEPT (window_start, window_end, segment_start, segment_end, status, revision, reason, known_at),
        window_start, segment_start AS first, segment_end AS last,
        toUInt64(status = 'provisional') AS provisional, toUInt64(revision > 1) AS restated,
        toUInt64(has(flags, 'not_in_factory')) AS unlisted
    FROM oee_facts FINAL
    WHERE segment_end > segment_start
      AND ((window_start >= {start:DateTime64(3, 'UTC')} AND window_start < head)
           OR (window_start >= tail AND window_start < {end:DateTime64(3, 'UTC')})
           OR (window_start >= head AND window_start < tail AND (machine, toStartOfHour(window_start)) IN
               (SELECT machine, toDateTime(hour, 'UTC') FROM open_hour_list)))
);

-- The same as known at an instant, from the revisions.
CREATE OR REPLACE VIEW facts_known_by AS
SELECT
    * EXCEPT (window_end, segment_start, segment_end, status, revision, reason, known_at),
    segment_start AS first, segment_end AS last,
    toUInt64(status = 'provisional') AS provisional, toUInt64(revision > 1) AS restated,
    toUInt64(has(flags, 'not_in_factory')) AS unlisted,
{{periods}}
FROM
(
    SELECT * FROM oee_revisions
    WHERE known_at <= {at:DateTime64(3, 'UTC')}
      AND window_start >= {start:DateTime64(3, 'UTC')} AND window_start < {end:DateTime64(3, 'UTC')}
    ORDER BY known_at DESC
    LIMIT 1 BY machine, window_start, segment_start
)
WHERE segment_end > segment_start;

-- OEE and every other ratio.
--   level                       machine, line, area, site, enterprise; the sum of a line's machines is not the OEE of the
--                               line: line_oee_by
--   grain, profile, start, end  as in facts_by
CREATE OR REPLACE VIEW oee_by AS
{{ratios}}
    FROM facts_by(grain = {grain:String}, profile = {profile:String}, start = {start:DateTime64(3, 'UTC')},
                  end = {end:DateTime64(3, 'UTC')}) AS f
    GROUP BY site, area, line, machine, period, shift, product, order
);

-- The same as known at an instant.
CREATE OR REPLACE VIEW oee_known AS
{{ratios}}
    FROM facts_known_by(grain = {grain:String}, profile = {profile:String}, start = {start:DateTime64(3, 'UTC')},
                        end = {end:DateTime64(3, 'UTC')}, at = {at:DateTime64(3, 'UTC')}) AS f
    GROUP BY site, area, line, machine, period, shift, product, order
);
