-- Current rows. FINAL makes of each key the one current row; rows that a later revision removed are left out.
-- What is asked for by people is asked of views: a restatement can never be counted twice there.

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

-- An interval that is still going on is shown up to the last window that its machine has facts of.
CREATE OR REPLACE VIEW timeline AS
WITH open AS
(
    SELECT machine, max(window_end) AS until FROM oee_facts
    WHERE machine IN (SELECT machine FROM intervals FINAL WHERE end IS NULL)
    GROUP BY machine
)
SELECT
    i.machine AS machine, i.site AS site, i.line AS line, i.start AS start,
    coalesce(i.end, greatest(i.start, o.until)) AS until,
    dateDiff('millisecond', start, until) AS duration_ms,
    i.end IS NULL AS going_on,
    i.state AS state, i.element AS element, i.stop AS stop, i.micro AS micro, i.external AS external,
    i.overtime AS overtime, i.reason AS reason, i.shift AS shift, i.shift_date AS shift_date,
    i.product AS product, i.order AS order, i.known_at AS known_at
FROM (SELECT * FROM intervals FINAL WHERE end IS NULL OR end > start) AS i
LEFT JOIN open AS o ON o.machine = i.machine;

-- Facts with what they are summed by. Profiles and the treatment of unknown time differ in two times only: `run_ms`, over
-- which P is taken, and `busy_ms`, the denominator of A and OEE. Both are additive.
--   grain    window, hour, shift, day, week, month, product, order, total (hours are UTC, dates are the machine's)
--   profile  iso22400, vorne, smrp; empty: that of each row
CREATE OR REPLACE VIEW facts_by AS
SELECT
    *,
    if({grain:String} = 'window', toDateTime(window_start, 'UTC'),
    if({grain:String} = 'hour', toStartOfHour(toDateTime(window_start, 'UTC')),
    if({grain:String} = 'shift', toDateTime(shift_date, 'UTC'),
    if({grain:String} = 'day', toDateTime(local_date, 'UTC'),
    if({grain:String} = 'week', toDateTime(toMonday(local_date), 'UTC'),
    if({grain:String} = 'month', toDateTime(toStartOfMonth(local_date), 'UTC'),
                                 toDateTime(0, 'UTC'))))))) AS by_period,
    if({grain:String} = 'shift', CAST(shift, 'String'), '') AS by_shift,
    if({grain:String} IN ('product', 'order'), CAST(product, 'String'), '') AS by_product,
    if({grain:String} = 'order', CAST(order, 'String'), '') AS by_order,
    if({profile:String} = '', CAST(profile, 'String'), {profile:String}) AS rules,
    apt_ms + if(rules = 'vorne', micro_stop_ms, 0) AS run_ms,
    pbt_ms + if(rules = 'smrp', pdot_ms, 0) - if(unknown_as = 'exclude', unknown_ms, 0) AS busy_ms
FROM facts;

-- The one definition of every ratio: facts are summed first and divided once, so that the figure of a period is that of
-- any partition of it.
--   level    machine, line, area, site, enterprise; the sum of a line's machines is not the OEE of the line: line_oee_by
--   start, end  windows that start in [start, end)
-- Which NULL or value wins, in this order: no planned busy time; no data; parts without an ideal cycle time.
CREATE OR REPLACE VIEW oee_by AS
SELECT
    site, area, line, machine, period, shift, product, order,
    if(no_plan OR no_data, NULL, run_ms / nullIf(busy_ms, 0)) AS a,
    if(no_plan OR no_data OR no_rate, NULL, ideal_total_us / nullIf(1000 * run_ms, 0)) AS p,
    if(no_plan OR no_rate, NULL, ideal_good_us / nullIf(ideal_total_us, 0)) AS q,
    if(no_plan OR no_data OR no_rate OR unlisted > 0, NULL, ideal_good_us / nullIf(1000 * busy_ms, 0)) AS oee,
    1 - unknown_ms / nullIf(pbt_ms, 0) AS coverage,
    multiIf(unlisted > 0, 'not_in_factory', no_plan, 'not_planned', no_data, 'no_data', no_rate, 'no_ideal_rate',
            '') AS oee_null,
    multiIf(a IS NOT NULL, '', no_plan, 'not_planned', 'no_data') AS a_null,
    multiIf(p IS NOT NULL, '', no_plan, 'not_planned', no_data, 'no_data', no_rate, 'no_ideal_rate',
            'no_run_time') AS p_null,
    multiIf(q IS NOT NULL, '', no_plan, 'not_planned', no_rate, 'no_ideal_rate', 'no_parts') AS q_null,
    least(p, 1) AS p_capped,
    ifNull(p > 1, false) AS ideal_rate_suspect,
    good / nullIf(total, 0) AS q_count,
    oee * (apt_ms + aust_ms) / nullIf(apt_ms, 0) AS nee,
    if(no_rate OR unlisted > 0, NULL, ideal_good_us / nullIf(1000 * t_ms, 0)) AS teep,
    if(no_rate OR unlisted > 0, NULL, ideal_good_us / nullIf(1000 * (pbt_ms + pdot_ms), 0)) AS ooe,
    pbt_ms / nullIf(t_ms, 0) AS utilization,
    apt_ms / nullIf(apt_ms + adet_ms, 0) AS technical_efficiency,
    aust_ms / nullIf(apt_ms + aust_ms, 0) AS setup_rate,
    reject / nullIf(total, 0) AS scrap_ratio,
    rework / nullIf(total, 0) AS rework_ratio,
    apt_ms / nullIf(failures, 0) AS mtbf_ms,
    repair_ms / nullIf(failures, 0) AS mttr_ms,
    t_ms, nonwork_ms, pdot_ms, pbt_ms, apt_ms, aust_ms, adet_ms, adot_ms, unknown_ms,
    micro_stop_ms, external_ms, overtime_ms, failures, repair_ms, stops, micro_stops,
    total, good, reject, rework, ideal_total_us, ideal_good_us, no_ideal_total, run_ms, busy_ms,
    first, last, machines, provisional, restated, flags
FROM
(
    SELECT
        if({level:String} IN ('machine', 'line', 'area', 'site'), CAST(f.site, 'String'), '') AS site,
        if({level:String} IN ('machine', 'line', 'area'), CAST(f.area, 'String'), '') AS area,
        if({level:String} IN ('machine', 'line'), CAST(f.line, 'String'), '') AS line,
        if({level:String} = 'machine', CAST(f.machine, 'String'), '') AS machine,
        f.by_period AS period, f.by_shift AS shift, f.by_product AS product, f.by_order AS order,
        sum(f.t_ms) AS t_ms, sum(f.nonwork_ms) AS nonwork_ms, sum(f.pdot_ms) AS pdot_ms, sum(f.pbt_ms) AS pbt_ms,
        sum(f.apt_ms) AS apt_ms, sum(f.aust_ms) AS aust_ms, sum(f.adet_ms) AS adet_ms, sum(f.adot_ms) AS adot_ms,
        sum(f.unknown_ms) AS unknown_ms, sum(f.micro_stop_ms) AS micro_stop_ms, sum(f.external_ms) AS external_ms,
        sum(f.overtime_ms) AS overtime_ms, sum(f.failures) AS failures, sum(f.repair_ms) AS repair_ms,
        sum(f.stops) AS stops, sum(f.micro_stops) AS micro_stops,
        sum(f.total) AS total, sum(f.good) AS good, sum(f.reject) AS reject, sum(f.rework) AS rework,
        sum(f.ideal_total_us) AS ideal_total_us, sum(f.ideal_good_us) AS ideal_good_us,
        sum(f.no_ideal_total) AS no_ideal_total, sum(f.run_ms) AS run_ms, sum(f.busy_ms) AS busy_ms,
        min(f.segment_start) AS first, max(f.segment_end) AS last, uniqExact(f.machine) AS machines,
        countIf(f.status = 'provisional') AS provisional, countIf(f.revision > 1) AS restated,
        groupUniqArrayArray(f.flags) AS flags, countIf(has(f.flags, 'not_in_factory')) AS unlisted,
        pbt_ms = 0 AS no_plan, unknown_ms = pbt_ms AS no_data, no_ideal_total > 0 AS no_rate
    FROM facts_by(grain = {grain:String}, profile = {profile:String}) AS f
    WHERE f.window_start >= {start:DateTime64(3, 'UTC')} AND f.window_start < {end:DateTime64(3, 'UTC')}
    GROUP BY site, area, line, machine, period, shift, product, order
);

-- Machine by machine, all history; a condition on machine and time reads only what it needs.
CREATE OR REPLACE VIEW oee_by_window AS
SELECT period AS window, * EXCEPT (period, shift, product, order)
FROM oee_by(level = 'machine', grain = 'window', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW oee_by_hour AS
SELECT period AS hour, * EXCEPT (period, shift, product, order)
FROM oee_by(level = 'machine', grain = 'hour', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW oee_by_shift AS
SELECT toDate(period) AS date, * EXCEPT (period, product, order)
FROM oee_by(level = 'machine', grain = 'shift', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW oee_by_day AS
SELECT toDate(period) AS day, * EXCEPT (period, shift, product, order)
FROM oee_by(level = 'machine', grain = 'day', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW oee_by_week AS
SELECT toDate(period) AS week, * EXCEPT (period, shift, product, order)
FROM oee_by(level = 'machine', grain = 'week', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW oee_by_month AS
SELECT toDate(period) AS month, * EXCEPT (period, shift, product, order)
FROM oee_by(level = 'machine', grain = 'month', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW oee_by_product AS
SELECT * EXCEPT (period, shift, order)
FROM oee_by(level = 'machine', grain = 'product', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW oee_by_order AS
SELECT * EXCEPT (period, shift)
FROM oee_by(level = 'machine', grain = 'order', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

-- Sites: the facts of all their machines, summed.
CREATE OR REPLACE VIEW site_oee_by_hour AS
SELECT period AS hour, * EXCEPT (period, shift, product, order, area, line, machine)
FROM oee_by(level = 'site', grain = 'hour', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW site_oee_by_shift AS
SELECT toDate(period) AS date, * EXCEPT (period, product, order, area, line, machine)
FROM oee_by(level = 'site', grain = 'shift', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW site_oee_by_day AS
SELECT toDate(period) AS day, * EXCEPT (period, shift, product, order, area, line, machine)
FROM oee_by(level = 'site', grain = 'day', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

-- Which machine stood where on which line. `since` are the instants at which anything about a line changed.
CREATE OR REPLACE VIEW stations AS
WITH
    members AS (SELECT DISTINCT site, line, machine FROM factory WHERE line != '' AND position > 0),
    changes AS
    (
        SELECT DISTINCT m.site AS site, m.line AS line, c.effective AS since
        FROM members AS m INNER JOIN factory AS c ON c.machine = m.machine
    )
SELECT
    site, line, since, machine, place.3 AS position, place.4 AS ideal_cycle_us,
    position = max(position) OVER (PARTITION BY site, line, since) AS is_exit
FROM
(
    SELECT
        m.site AS site, m.line AS line, t.since AS since, m.machine AS machine,
        argMax((c.site, c.line, c.position, c.ideal_cycle_us), c.effective) AS place
    FROM changes AS t
    INNER JOIN members AS m ON m.site = t.site AND m.line = t.line
    INNER JOIN factory AS c ON c.machine = m.machine
    WHERE c.effective <= t.since
    GROUP BY site, line, since, machine
)
WHERE place.1 = site AND place.2 = line AND place.3 > 0;

-- The ideal cycle time of a line, by product: that of its slowest position; machines in parallel add their rates.
-- A machine without an ideal cycle time for a product adds nothing; a position without any leaves the line's unknown (0).
CREATE OR REPLACE VIEW line_rates AS
SELECT
    site, line, since,
    groupArray((position, ideal_cycle_us)) AS members,
    arraySort(groupUniqArray(position)) AS positions,
    arraySort(arrayDistinct(arrayConcat(['*'], arrayFlatten(groupArray(mapKeys(ideal_cycle_us)))))) AS products,
    arrayMap(product -> arrayMap(place -> arraySum(arrayMap(member -> if(member.1 != place, 0,
        ifNull(1 / nullIf(member.2[if(mapContains(member.2, product), product, '*')], 0), 0)), members)), positions),
        products) AS parts_per_us,
    arrayMap(rates -> ifNull(1 / nullIf(arrayMin(rates), 0), 0), parts_per_us) AS us,
    mapFromArrays(products, us) AS ideal_us,
    mapFromArrays(products, arrayMap(rates -> positions[indexOf(rates, arrayMin(rates))], parts_per_us))
        AS slowest_position,
    groupArrayIf(machine, is_exit) AS exits
FROM stations
GROUP BY site, line, since;

-- Serial lines: what left the line, at the ideal rate of its slowest station, over the planned busy time of its exit.
-- Stations in parallel at the exit share one calendar: their planned time counts once. A, P and Q of a line are not
-- defined; beside its OEE stand those of the constraint station, and the time that its stations starved or were blocked.
CREATE OR REPLACE VIEW line_oee_by AS
WITH
    exits AS
    (
        SELECT site, line, since, ideal_us, slowest_position, arrayJoin(exits) AS machine FROM line_rates
    ),
    exit_facts AS
    (
        SELECT
            f.site AS site, f.line AS line, f.by_period AS period, f.by_shift AS shift, f.by_product AS product,
            f.by_order AS order, f.machine AS machine, f.window_start AS window_start, f.segment_start AS segment_start,
            f.segment_end AS segment_end, f.pbt_ms AS pbt_ms, f.busy_ms AS busy_ms, f.unknown_ms AS unknown_ms,
            f.total AS total, f.good AS good, f.status AS status,
            if(mapContains(e.ideal_us, CAST(f.product, 'String')), CAST(f.product, 'String'), '*') AS rate_of,
            e.ideal_us[rate_of] AS ideal_us, e.slowest_position[rate_of] AS slowest
        FROM
        (
            SELECT * FROM facts_by(grain = {grain:String}, profile = {profile:String})
            WHERE machine IN (SELECT machine FROM machines WHERE position > 0)
              AND window_start >= {start:DateTime64(3, 'UTC')} AND window_start < {end:DateTime64(3, 'UTC')}
        ) AS f
        ASOF INNER JOIN exits AS e
            ON e.machine = f.machine AND e.site = f.site AND e.line = f.line AND e.since <= f.window_start
    ),
    lines AS
    (
        SELECT
            site, line, period, shift, product, order,
            sum(window_pbt_ms) AS pbt_ms, sum(window_busy_ms) AS busy_ms, sum(window_unknown_ms) AS unknown_ms,
            sum(window_total) AS total, sum(window_good) AS good, sum(window_ideal_us) AS ideal_good_us,
            sum(window_no_rate) AS no_ideal_total, sum(window_provisional) AS provisional,
            min(window_first) AS first, max(window_last) AS last,
            topKWeighted(1)(slowest, toUInt64(window_ideal_us) + 1)[1] AS constraint_position
        FROM
        (
            SELECT
                site, line, period, shift, product, order, window_start,
                max(machine_pbt_ms) AS window_pbt_ms, max(machine_busy_ms) AS window_busy_ms,
                min(machine_unknown_ms) AS window_unknown_ms, sum(machine_total) AS window_total,
                sum(machine_good) AS window_good, sum(machine_ideal_us) AS window_ideal_us,
                sum(machine_no_rate) AS window_no_rate, sum(machine_provisional) AS window_provisional,
                min(machine_first) AS window_first, max(machine_last) AS window_last, any(machine_slowest) AS slowest
            FROM
            (
                SELECT
                    site, line, period, shift, product, order, window_start, machine,
                    sum(pbt_ms) AS machine_pbt_ms, sum(busy_ms) AS machine_busy_ms,
                    sum(unknown_ms) AS machine_unknown_ms, sum(total) AS machine_total, sum(good) AS machine_good,
                    sum(good * ideal_us) AS machine_ideal_us, sumIf(total, ideal_us = 0) AS machine_no_rate,
                    countIf(status = 'provisional') AS machine_provisional, min(segment_start) AS machine_first,
                    max(segment_end) AS machine_last, argMax(slowest, good * ideal_us) AS machine_slowest
                FROM exit_facts
                GROUP BY site, line, period, shift, product, order, window_start, machine
            )
            GROUP BY site, line, period, shift, product, order, window_start
        )
        GROUP BY site, line, period, shift, product, order
    ),
    places AS
    (
        SELECT c.site AS site, c.line AS line, c.machine AS machine, argMax(c.position, c.effective) AS position
        FROM factory AS c
        WHERE c.position > 0
        GROUP BY site, line, machine
    ),
    beside AS
    (
        SELECT
            k.site AS site, k.line AS line, k.period AS period, k.shift AS shift, k.product AS product, k.order AS order,
            sum(k.external_ms) AS external_ms, uniqExact(k.machine) AS machines,
            arrayReverseSort(groupArray((k.total, k.machine, k.a, k.p, k.q, k.oee, p.position))) AS stations
        FROM oee_by(level = 'machine', grain = {grain:String}, profile = {profile:String},
                    start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')}) AS k
        INNER JOIN places AS p ON p.site = k.site AND p.line = k.line AND p.machine = k.machine
        GROUP BY site, line, period, shift, product, order
    )
SELECT * EXCEPT (held_by) FROM
(
    SELECT
        l.site AS site, l.line AS line, l.period AS period, l.shift AS shift, l.product AS product, l.order AS order,
        if(no_plan OR no_data OR no_rate, NULL, l.ideal_good_us / nullIf(1000 * l.busy_ms, 0)) AS oee,
        1 - l.unknown_ms / nullIf(l.pbt_ms, 0) AS coverage,
        multiIf(no_plan, 'not_planned', no_data, 'no_data', no_rate, 'no_ideal_rate', '') AS oee_null,
        arrayFirst(station -> station.7 = l.constraint_position, b.stations) AS held_by,
        held_by.2 AS constraint_machine, held_by.3 AS constraint_a, held_by.4 AS constraint_p, held_by.5 AS constraint_q,
        held_by.6 AS constraint_oee,
        l.pbt_ms AS pbt_ms, l.busy_ms AS busy_ms, l.unknown_ms AS unknown_ms, b.external_ms AS external_ms,
        l.total AS total, l.good AS good, l.ideal_good_us AS ideal_good_us, l.no_ideal_total AS no_ideal_total,
        l.first AS first, l.last AS last, b.machines AS machines, l.provisional AS provisional
    FROM (SELECT *, pbt_ms = 0 AS no_plan, unknown_ms = pbt_ms AS no_data, no_ideal_total > 0 AS no_rate FROM lines) AS l
    LEFT JOIN beside AS b ON b.site = l.site AND b.line = l.line AND b.period = l.period AND b.shift = l.shift
        AND b.product = l.product AND b.order = l.order
);

CREATE OR REPLACE VIEW line_oee_by_hour AS
SELECT period AS hour, * EXCEPT (period, shift, product, order)
FROM line_oee_by(grain = 'hour', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW line_oee_by_shift AS
SELECT toDate(period) AS date, * EXCEPT (period, product, order)
FROM line_oee_by(grain = 'shift', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW line_oee_by_day AS
SELECT toDate(period) AS day, * EXCEPT (period, shift, product, order)
FROM line_oee_by(grain = 'day', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

-- Time lost in [start, end) by cause, clipped to it: element adet is down time, aust setup, adot idle or off.
-- A stop over the border of the range counts once, with the part of it that lies inside.
CREATE OR REPLACE VIEW losses AS
SELECT
    site, line, machine, element, state, reason, micro, external,
    sum(lost) AS lost_ms, uniqExact(coalesce(stop, start)) AS times, max(lost) AS longest_ms
FROM
(
    SELECT
        *,
        greatest(0, dateDiff('millisecond', greatest(start, {start:DateTime64(3, 'UTC')}),
                             least(until, {end:DateTime64(3, 'UTC')}))) AS lost
    FROM timeline
    WHERE element IN ('adet', 'aust', 'adot', 'unknown')
      AND start < {end:DateTime64(3, 'UTC')} AND until > {start:DateTime64(3, 'UTC')}
)
GROUP BY site, line, machine, element, state, reason, micro, external;

CREATE OR REPLACE VIEW downtime AS
SELECT * FROM losses(start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')}) WHERE element = 'adet';
