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
    groupArray((position, ideal_cycle_us, machine)) AS members,
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
-- The facts are summed by machine and product before they meet the rates: `era` counts the changes of lines within the
-- range that came before a fact, so that what is summed together has the same rates.
CREATE OR REPLACE VIEW line_oee_by AS
WITH
    (
        SELECT arraySort(groupUniqArray(effective)) FROM machines
        WHERE effective > {start:DateTime64(3, 'UTC')} AND effective < {end:DateTime64(3, 'UTC')}
    ) AS changes,
    sums AS
    (
        SELECT
            CAST(f.site, 'String') AS site, CAST(f.line, 'String') AS line, CAST(f.machine, 'String') AS machine,
            f.by_period AS period, f.by_shift AS shift, f.by_product AS product, f.by_order AS order,
            CAST(f.product, 'String') AS made, if(empty(changes), 0, arrayCount(at -> at <= f.first, changes)) AS era,
            min(f.first) AS first, max(f.last) AS last, sum(f.line_pbt_ms) AS line_pbt_ms, sum(f.pbt_ms) AS pbt_ms,
            sum(f.run_ms) AS run_ms, sum(f.busy_ms) AS busy_ms, sum(f.unknown_ms) AS unknown_ms,
            sum(f.external_ms) AS external_ms, sum(f.total) AS total, sum(f.good) AS good,
            sum(f.ideal_total_us) AS ideal_total_us, sum(f.ideal_good_us) AS ideal_good_us,
            sum(f.no_ideal_total) AS no_ideal_total, sum(f.unlisted) AS unlisted, sum(f.provisional) AS provisional
        FROM facts_by(grain = {grain:String}, profile = {profile:String}, start = {start:DateTime64(3, 'UTC')},
                      end = {end:DateTime64(3, 'UTC')}) AS f
        WHERE f.line != ''
        GROUP BY site, line, machine, period, shift, product, order, made, era
    ),
    stations_with_rates AS
    (
        SELECT
            s.*, arrayFirst(member -> member.3 = s.machine, r.members).1 AS position,
            has(r.exits, s.machine) AS leaves, arrayMin(r.exits) = s.machine AS keeps_time,
            if(mapContains(r.ideal_us, s.made), s.made, '*') AS rate_of,
            r.ideal_us[rate_of] AS line_ideal_us, s.good * line_ideal_us AS good_us,
            r.slowest_position[rate_of] AS slowest
        FROM sums AS s
        ASOF INNER JOIN line_rates AS r ON r.site = s.site AND r.line = s.line AND r.since <= s.first
        WHERE position > 0
    ),
    stops AS
    (
        SELECT
            k.site AS site, k.line AS line, k.machine AS machine, k.period AS period, k.shift AS shift,
            k.product AS product, k.order AS order, argMax(k.position, k.first) AS position,
            sumIf(k.line_pbt_ms, k.keeps_time) AS planned_ms,
            sumIf(k.busy_ms - k.pbt_ms + k.line_pbt_ms, k.keeps_time) AS planned_busy_ms,
            sumIf(k.unknown_ms, k.keeps_time) AS planned_unknown_ms,
            countIf(k.leaves) AS exits, sumIf(k.total, k.leaves) AS left, sumIf(k.good, k.leaves) AS left_good,
            sumIf(k.good_us, k.leaves) AS left_good_us, sumIf(k.total, k.leaves AND k.line_ideal_us = 0) AS left_without_ideal,
            sumMapIf([k.slowest], [greatest(k.good_us, 0) + 1], k.leaves) AS slowest,
            sumIf(k.provisional, k.leaves) AS provisional, minIf(k.first, k.leaves) AS first, maxIf(k.last, k.leaves) AS last,
            sum(k.run_ms) AS run_ms, sum(k.busy_ms) AS busy_ms, sum(k.pbt_ms) AS pbt_ms, sum(k.unknown_ms) AS unknown_ms,
            sum(k.external_ms) AS external_ms, sum(k.total) AS total, sum(k.ideal_total_us) AS ideal_total_us,
            sum(k.ideal_good_us) AS ideal_good_us,
            pbt_ms = 0 AS no_plan, unknown_ms = pbt_ms AS no_data, sum(k.no_ideal_total) > 0 AS no_rate,
            sum(k.unlisted) AS unlisted,
{{kpi}}
        FROM stations_with_rates AS k
        GROUP BY site, line, machine, period, shift, product, order
    ),
    lines AS
    (
        SELECT
            t.site AS site, t.line AS line, t.period AS period, t.shift AS shift, t.product AS product, t.order AS order,
            sum(t.planned_ms) AS pbt_ms, sum(t.planned_busy_ms) AS busy_ms, sum(t.planned_unknown_ms) AS unknown_ms,
            sum(t.external_ms) AS external_ms, sum(t.left) AS total, sum(t.left_good) AS good,
            sum(t.left_good_us) AS ideal_good_us, sum(t.left_without_ideal) AS no_ideal_total,
            minIf(t.first, t.exits > 0) AS first, maxIf(t.last, t.exits > 0) AS last, uniqExact(t.machine) AS machines,
            sum(t.provisional) AS provisional,
            sumMap(t.slowest.1, t.slowest.2) AS slowest,
            arrayFirst(weighed -> weighed.2 = arrayMax(slowest.2), arrayZip(slowest.1, slowest.2)).1 AS constraint_position,
            arrayFirst(station -> station.7 = constraint_position,
                arrayReverseSort(groupArray((t.total, t.machine, t.a, t.p, t.q, t.oee, t.position)))) AS held_by,
            pbt_ms = 0 AS no_plan, unknown_ms >= pbt_ms AS no_data, no_ideal_total > 0 AS no_rate
        FROM stops AS t
        GROUP BY site, line, period, shift, product, order
        HAVING sum(t.exits) > 0
    )
SELECT
    site, line, period, shift, product, order,
    if(no_plan OR no_data OR no_rate, NULL, ideal_good_us / nullIf(1000 * busy_ms, 0)) AS oee,
    1 - unknown_ms / nullIf(pbt_ms, 0) AS coverage,
    multiIf(no_plan, 'not_planned', no_data, 'no_data', no_rate, 'no_ideal_rate', '') AS oee_null,
    held_by.2 AS constraint_machine, held_by.3 AS constraint_a, held_by.4 AS constraint_p, held_by.5 AS constraint_q,
    held_by.6 AS constraint_oee,
    pbt_ms, busy_ms, unknown_ms, external_ms, total, good, ideal_good_us, no_ideal_total, first, last, machines, provisional
FROM lines;
