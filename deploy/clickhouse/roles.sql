-- Roles of a line on a ClickHouse server, for an administrator to run once (the database is `openoee` here):
--
--   clickhouse-client --queries-file deploy/clickhouse/roles.sql
--   CREATE USER sink IDENTIFIED WITH sha256_password BY '...' DEFAULT ROLE openoee_sink;
--   CREATE USER reader IDENTIFIED WITH sha256_password BY '...' DEFAULT ROLE openoee_reader;
--
-- Tables and views are made by the user of `openoee migrate` (deploy/clickhouse/users.d/openoee.xml), not by these.
CREATE ROLE IF NOT EXISTS openoee_sink;
GRANT SELECT, INSERT ON openoee.* TO openoee_sink;
CREATE ROLE IF NOT EXISTS openoee_reader SETTINGS readonly = 2;
GRANT SELECT ON openoee.* TO openoee_reader;
