-- What facts are summed by, and the two times in which the profiles differ.
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
    apt_ms + if({profile:String} = 'vorne' OR ({profile:String} = '' AND profile = 'vorne'), micro_stop_ms, 0) AS run_ms,
    if(unknown_as = 'exclude', unknown_ms, 0) AS counted_out_ms,
    pbt_ms - counted_out_ms + if({profile:String} = 'smrp' OR ({profile:String} = '' AND profile = 'smrp'), pdot_ms, 0)
        AS busy_ms
