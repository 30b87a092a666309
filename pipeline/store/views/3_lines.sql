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

-- Serial lines: what left the line, at the ideal rate of its slowest station, over the planned busy time of the line: that
-- of its own calendar, without one that of its exit station. Stations in parallel at the exit share one calendar: that of
-- the first by name counts. A, P and Q of a line are not defined; beside its OEE stand those of the constraint station,
-- and the time that its stations starved or were blocked.
CREATE OR REPLACE VIEW line_oee_by AS
WITH
    exits AS
    (
        SELECT
            site, line, since, ideal_us, slowest_position, arrayMin(exits) AS timekeeper, arrayJoin(exits) AS machine
        FROM line_rates
    ),
    exit_facts AS
    (
        SELECT
            CAST(f.site, 'String') AS site, CAST(f.line, 'String') AS line, f.by_period AS period, f.by_shift AS shift,
            f.by_product AS product,
            f.by_order AS order, f.total AS total, f.good AS good, f.provisional AS provisional,
            f.first AS first, f.last AS last,
            if(f.machine = e.timekeeper, f.line_pbt_ms, 0) AS planned_ms,
            if(f.machine = e.timekeeper, f.busy_ms - f.pbt_ms + f.line_pbt_ms, 0) AS busy_ms,
            if(f.machine = e.timekeeper, f.unknown_ms, 0) AS unknown_ms,
            if(mapContains(e.ideal_us, CAST(f.product, 'String')), CAST(f.product, 'String'), '*') AS rate_of,
            e.ideal_us[rate_of] AS ideal_us, e.slowest_position[rate_of] AS slowest
        FROM
        (
            SELECT * FROM facts_by(grain = {grain:String}, profile = {profile:String},
                start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
            WHERE machine IN (SELECT machine FROM exits)
        ) AS f
        ASOF INNER JOIN exits AS e
            ON e.machine = f.machine AND e.site = f.site AND e.line = f.line AND e.since <= f.first
    ),
    lines AS
    (
        SELECT
            site, line, period, shift, product, order,
            sum(planned_ms) AS pbt_ms, sum(exit_facts.busy_ms) AS busy_ms, sum(exit_facts.unknown_ms) AS unknown_ms,
            sum(exit_facts.total) AS total, sum(exit_facts.good) AS good, sum(exit_facts.good * ideal_us) AS ideal_good_us,
            sumIf(exit_facts.total, ideal_us = 0) AS no_ideal_total, sum(exit_facts.provisional) AS provisional,
            min(exit_facts.first) AS first, max(exit_facts.last) AS last,
            topKWeighted(1)(slowest, toUInt64(greatest(exit_facts.good * ideal_us, 0)) + 1)[1] AS constraint_position
        FROM exit_facts
        GROUP BY site, line, period, shift, product, order
    ),
    places AS
    (
        SELECT CAST(c.site, 'String') AS site, CAST(c.line, 'String') AS line, CAST(c.machine, 'String') AS machine,
            argMax(c.position, c.effective) AS position
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
    FROM (SELECT *, pbt_ms = 0 AS no_plan, unknown_ms >= pbt_ms AS no_data, no_ideal_total > 0 AS no_rate FROM lines) AS l
    LEFT JOIN beside AS b ON b.site = l.site AND b.line = l.line AND b.period = l.period AND b.shift = l.shift
        AND b.product = l.product AND b.order = l.order
);
