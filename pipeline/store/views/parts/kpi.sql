    -- The one definition of A, P, Q and OEE. Which NULL or value wins, in this order: no planned busy time; no data; parts
    -- without an ideal cycle time.
    if(no_plan OR no_data, NULL, run_ms / nullIf(busy_ms, 0)) AS a,
    if(no_plan OR no_data OR no_rate, NULL, ideal_total_us / nullIf(1000 * run_ms, 0)) AS p,
    if(no_plan OR no_rate, NULL, ideal_good_us / nullIf(ideal_total_us, 0)) AS q,
    if(no_plan OR no_data OR no_rate OR unlisted > 0, NULL, ideal_good_us / nullIf(1000 * busy_ms, 0)) AS oee
