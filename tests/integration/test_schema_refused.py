"""What cannot be copied for want of a pg_dump, or cannot become a hypertable: the error says what to do."""

import pytest

from harness import SERVER, USAGE
from harness.schema import PAIRS, Pair, pg_bin


def test_no_pg_dump(servers, hyperfill, tmp_path):
    source, target = servers["ts17"].create_database(), servers["ts17"].create_database()
    addresses = ("schema", "--source", source.conninfo, "--target", target.conninfo)
    result = hyperfill.run(*addresses, "--pg-bin", tmp_path, check=USAGE)
    assert "postgresql-client-17" in result.stderr and "--pg-bin" in result.stderr, result
    (tmp_path / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 14.2'\n")
    (tmp_path / "pg_dump").chmod(0o755)
    result = hyperfill.run(*addresses, "--pg-bin", tmp_path, check=USAGE)
    assert "(14)" in result.stderr and "version 17" in result.stderr, result


def test_pg_dump_of_the_source_only(servers, hyperfill):
    """It cannot read the target: then the ledger knows what was made, and the server what else is there."""
    pair = Pair(servers, PAIRS[0], hyperfill)
    pair.folder, newer = pg_bin("pg15"), pair.folder
    assert "cannot read the target" in pair.clone().stderr
    assert pair.clone().stdout.startswith("nothing to do")
    pair.target.execute("DELETE FROM hyperfill.schema_step WHERE name = 'TABLE public.device'")
    assert "public.device" in pair.clone(check=SERVER).stderr
    pair.folder = newer
    pair.clone()
    pair.assert_cloned()


@pytest.mark.parametrize(
    "hypertable, wanted",
    (
        ("a", "write TABLE=TIME_COLUMN"),
        ("a=", "write TABLE=TIME_COLUMN"),
        ("a=t,", "write TABLE=TIME_COLUMN"),
        ("nowhere=t", "no table nowhere"),
        ("a=u", 'no column "u"'),
        ("av=t", "av is no table"),
        ("a=txt", "is a text"),
        ("a=n", "behind a comma"),
        ("a=n,x", "behind a comma"),
        ("a=t,blue moon", "blue moon"),
        ("b=t", "b_pkey"),
        ("p1=t", "is a partition"),
    ),
)
def test_hypertables_refused(servers, hyperfill, hypertable, wanted):
    source, target = servers["pg15"].create_database(), servers["ts17"].create_database()
    source.execute(
        "CREATE TABLE a (t timestamptz, n int, txt text); CREATE VIEW av AS SELECT t FROM a; CREATE TABLE b (id int PRIMARY KEY, t timestamptz);"
        " CREATE TABLE p (t timestamptz) PARTITION BY RANGE (t); CREATE TABLE p1 PARTITION OF p DEFAULT"
    )
    result = hyperfill.run(
        "schema", "--source", source.conninfo, "--target", target.conninfo, "--pg-bin", pg_bin("pg15", "ts17"), "--hypertable", hypertable, check=USAGE
    )
    assert wanted in result.stderr, result
    assert target.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'hyperfill'") == 0
