-- By name, all history: machine by machine, and rolled up over areas, sites and the enterprise (facts summed, then
-- divided); serial lines by their own definition. A condition on machine and time reads only what it needs.

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

CREATE OR REPLACE VIEW area_oee_by_hour AS
SELECT period AS hour, * EXCEPT (period, shift, product, order, line, machine)
FROM oee_by(level = 'area', grain = 'hour', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW area_oee_by_shift AS
SELECT toDate(period) AS date, * EXCEPT (period, product, order, line, machine)
FROM oee_by(level = 'area', grain = 'shift', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW area_oee_by_day AS
SELECT toDate(period) AS day, * EXCEPT (period, shift, product, order, line, machine)
FROM oee_by(level = 'area', grain = 'day', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW area_oee_by_week AS
SELECT toDate(period) AS week, * EXCEPT (period, shift, product, order, line, machine)
FROM oee_by(level = 'area', grain = 'week', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW area_oee_by_month AS
SELECT toDate(period) AS month, * EXCEPT (period, shift, product, order, line, machine)
FROM oee_by(level = 'area', grain = 'month', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW area_oee_by_product AS
SELECT * EXCEPT (period, shift, order, line, machine)
FROM oee_by(level = 'area', grain = 'product', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW area_oee_by_order AS
SELECT * EXCEPT (period, shift, line, machine)
FROM oee_by(level = 'area', grain = 'order', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW site_oee_by_hour AS
SELECT period AS hour, * EXCEPT (period, shift, product, order, area, line, machine)
FROM oee_by(level = 'site', grain = 'hour', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW site_oee_by_shift AS
SELECT toDate(period) AS date, * EXCEPT (period, product, order, area, line, machine)
FROM oee_by(level = 'site', grain = 'shift', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW site_oee_by_day AS
SELECT toDate(period) AS day, * EXCEPT (period, shift, product, order, area, line, machine)
FROM oee_by(level = 'site', grain = 'day', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW site_oee_by_week AS
SELECT toDate(period) AS week, * EXCEPT (period, shift, product, order, area, line, machine)
FROM oee_by(level = 'site', grain = 'week', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW site_oee_by_month AS
SELECT toDate(period) AS month, * EXCEPT (period, shift, product, order, area, line, machine)
FROM oee_by(level = 'site', grain = 'month', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW site_oee_by_product AS
SELECT * EXCEPT (period, shift, order, area, line, machine)
FROM oee_by(level = 'site', grain = 'product', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW site_oee_by_order AS
SELECT * EXCEPT (period, shift, area, line, machine)
FROM oee_by(level = 'site', grain = 'order', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW enterprise_oee_by_hour AS
SELECT period AS hour, * EXCEPT (period, shift, product, order, site, area, line, machine)
FROM oee_by(level = 'enterprise', grain = 'hour', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW enterprise_oee_by_shift AS
SELECT toDate(period) AS date, * EXCEPT (period, product, order, site, area, line, machine)
FROM oee_by(level = 'enterprise', grain = 'shift', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW enterprise_oee_by_day AS
SELECT toDate(period) AS day, * EXCEPT (period, shift, product, order, site, area, line, machine)
FROM oee_by(level = 'enterprise', grain = 'day', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW enterprise_oee_by_week AS
SELECT toDate(period) AS week, * EXCEPT (period, shift, product, order, site, area, line, machine)
FROM oee_by(level = 'enterprise', grain = 'week', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW enterprise_oee_by_month AS
SELECT toDate(period) AS month, * EXCEPT (period, shift, product, order, site, area, line, machine)
FROM oee_by(level = 'enterprise', grain = 'month', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW enterprise_oee_by_product AS
SELECT * EXCEPT (period, shift, order, site, area, line, machine)
FROM oee_by(level = 'enterprise', grain = 'product', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW enterprise_oee_by_order AS
SELECT * EXCEPT (period, shift, site, area, line, machine)
FROM oee_by(level = 'enterprise', grain = 'order', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW line_oee_by_hour AS
SELECT period AS hour, * EXCEPT (period, shift, product, order)
FROM line_oee_by(grain = 'hour', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW line_oee_by_shift AS
SELECT toDate(period) AS date, * EXCEPT (period, product, order)
FROM line_oee_by(grain = 'shift', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW line_oee_by_day AS
SELECT toDate(period) AS day, * EXCEPT (period, shift, product, order)
FROM line_oee_by(grain = 'day', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW line_oee_by_week AS
SELECT toDate(period) AS week, * EXCEPT (period, shift, product, order)
FROM line_oee_by(grain = 'week', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW line_oee_by_month AS
SELECT toDate(period) AS month, * EXCEPT (period, shift, product, order)
FROM line_oee_by(grain = 'month', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW line_oee_by_product AS
SELECT * EXCEPT (period, shift, order)
FROM line_oee_by(grain = 'product', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

CREATE OR REPLACE VIEW line_oee_by_order AS
SELECT * EXCEPT (period, shift)
FROM line_oee_by(grain = 'order', profile = '', start = '1970-01-01 00:00:00', end = '2299-01-01 00:00:00');

-- Orders: what was asked for, what was made, what is left, and how well it ran.
CREATE OR REPLACE VIEW order_progress AS
SELECT
    k.order AS order, k.product AS product, p.planned AS planned, k.good AS good, k.reject AS reject, k.total AS total,
    greatest(p.planned - k.good, 0) AS missing, k.good / nullIf(p.planned, 0) AS progress,
    k.oee AS oee, k.oee_null AS oee_null, k.coverage AS coverage, k.site AS site, k.first AS first, k.last AS last
FROM site_oee_by_order AS k
LEFT JOIN
(
    SELECT order, argMax(o.planned, o.ts) AS planned FROM orders AS o WHERE o.planned IS NOT NULL GROUP BY order
) AS p ON p.order = k.order
WHERE k.order != '';
