"""A schema with columnstores, policies and continuous aggregates, to the community edition and to the Apache one."""

import re
import time

from harness import SERVER
from harness.schema import dump, entries, pg_bin

COMMUNITY = """
CREATE TABLE m (time timestamptz NOT NULL, dev int, v float8, PRIMARY KEY (dev, time));
SELECT create_hypertable('m', 'time', chunk_time_interval => interval '1 day');
ALTER TABLE m SET (timescaledb.compress, timescaledb.compress_segmentby = 'dev', timescaledb.compress_orderby = 'time DESC');
SELECT add_compression_policy('m', interval '7 days');
SELECT alter_job(add_retention_policy('m', interval '90 days', schedule_interval => interval '2 hours'), scheduled => false, max_retries => 3);
SELECT add_reorder_policy('m', 'm_time_idx');
CREATE MATERIALIZED VIEW hourly WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
    SELECT time_bucket('1 hour', time) AS b, dev, avg(v) AS a, count(*) AS n FROM m GROUP BY 1, 2 WITH NO DATA;
CREATE MATERIALIZED VIEW "Daily" WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS
    SELECT time_bucket('1 day', b) AS b, dev, sum(n) AS n FROM hourly GROUP BY 1, 2 WITH NO DATA;
CREATE INDEX ON hourly (a);
SELECT add_continuous_aggregate_policy('hourly', interval '3 days', interval '1 hour', interval '1 hour');
SELECT add_continuous_aggregate_policy('"Daily"', NULL, interval '1 day', interval '1 day');
ALTER MATERIALIZED VIEW hourly SET (timescaledb.compress = true);
SELECT add_compression_policy('hourly', interval '30 days');
CREATE VIEW over_daily AS SELECT * FROM "Daily" WHERE n > 1;
CREATE VIEW over_over AS SELECT b FROM over_daily;
COMMENT ON VIEW hourly IS 'by hour'; GRANT SELECT ON hourly TO PUBLIC;
CREATE PROCEDURE job(job_id int, config jsonb) LANGUAGE plpgsql AS $$BEGIN END$$;
SELECT add_job('job', '1 day', config => '{"a": 1}');
CREATE TABLE relational (x int PRIMARY KEY); INSERT INTO relational VALUES (1);
INSERT INTO m SELECT '2024-03-01+00'::timestamptz + n * interval '1 minute', n % 5, n FROM generate_series(1, 3000) n;
SELECT compress_chunk(c) FROM show_chunks('m') c LIMIT 1;
"""
FACTS = (
    "SELECT view_schema, view_name, materialized_only, compression_enabled, view_definition FROM timescaledb_information.continuous_aggregates ORDER BY 2",
    "SELECT proc_name, schedule_interval, max_retries, scheduled, config - 'hypertable_id' - 'mat_hypertable_id' AS c FROM"
    " timescaledb_information.jobs WHERE job_id >= 1000 ORDER BY 1, 5",
    "SELECT hypertable_name, attname, segmentby_column_index, orderby_column_index, orderby_asc, orderby_nullsfirst"
    " FROM timescaledb_information.compression_settings WHERE hypertable_schema = 'public' ORDER BY 1, 2",
    "SELECT substr(indexdef, strpos(indexdef, ' USING ')) FROM pg_indexes WHERE tablename LIKE '\\_materialized%%' ORDER BY 1",
    "SELECT time_interval FROM timescaledb_information.dimensions ORDER BY 1",
)


def test_community(community, hyperfill):
    source, target = community, community.server.create_database()
    source.execute(COMMUNITY)
    folder = pg_bin(source)
    arguments = ("--source", source.conninfo, "--target", target.conninfo)
    clone = ("schema", *arguments, "--pg-bin", folder)
    result = hyperfill.run(*clone)
    assert "left out" not in result.stderr, result
    for query in FACTS:
        assert source.rows(query) == target.rows(query), query
    assert len(source.rows(FACTS[1])) == 7
    ours, theirs = entries(dump(folder, source)), entries(dump(folder, target))
    assert ours.keys() == theirs.keys()
    for head, body in ours.items():
        # An aggregate's view selects from a table with a number in its name.
        assert body == theirs[head] or re.match("Name: (hourly|Daily); Type: VIEW", head), head
    assert target.rows("SELECT x FROM relational") == [(1,)]
    assert target.value("SELECT obj_description('hourly'::regclass)") == "by hour"
    assert target.value("SELECT count(*) FROM m") == 0
    assert hyperfill.run(*clone).stdout.startswith("nothing to do")
    hyperfill.run("run", *arguments, "--table", "m", "--until", "2025-01-01 00:00:00+00")
    assert source.fingerprint("m") == target.fingerprint("m")
    target.execute("SELECT remove_retention_policy('m'); SELECT add_retention_policy('m', interval '80 days')")
    assert "policy_retention of public.m" in hyperfill.run(*clone, check=SERVER).stderr


def test_community_killed_then_again(community, hyperfill, chance):
    source, target = community, community.server.create_database()
    source.execute(COMMUNITY)
    clone = ("schema", "--source", source.conninfo, "--target", target.conninfo, "--pg-bin", pg_bin(source))
    for _ in range(4):
        process = hyperfill.start(*clone)
        time.sleep(chance.uniform(0, 3))
        process.kill()
    hyperfill.run(*clone)
    for query in FACTS:
        assert source.rows(query) == target.rows(query), query
    assert hyperfill.run(*clone).stdout.startswith("nothing to do")


def test_apache_target(community, servers, hyperfill):
    """What an Apache target cannot have is listed, the rest is there."""
    source, target = community, servers["ts17"].create_database()
    source.execute(COMMUNITY)
    clone = ("schema", "--source", source.conninfo, "--target", target.conninfo, "--pg-bin", pg_bin(source, target))
    result = hyperfill.run(*clone)
    for wanted in (
        "the columnstore (compression) of public.m", "continuous aggregate public.hourly", 'continuous aggregate public."Daily"',
        "policy_retention of public.m", "policy_compression of public.m", "policy_refresh_continuous_aggregate of public.hourly",
        "policy_reorder of public.m", "VIEW public.over_daily", "VIEW public.over_over",
    ):  # fmt: skip
        assert f"left out: {wanted}" in result.stderr, wanted
    assert target.value("SELECT count(*) FROM timescaledb_information.hypertables") == 1
    assert target.rows("SELECT x FROM relational") == [(1,)]
    assert hyperfill.run(*clone).stdout.startswith("nothing to do")
