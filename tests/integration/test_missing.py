"""Tables, files and options that are missing: the error says which and what there is instead, and nothing is half done."""

import re

from harness import SERVER, SYSTEM, USAGE
from harness.target import GOOD, HEADER, ROWS_OF_GOOD, stored


def test_missing_target_table_names_those_near(target, hyperfill):
    target.create(name="measurements")
    file = target.file(HEADER + "".join(GOOD))
    result = hyperfill.run("run", *target.options(file, table="measurement"), check=None)
    assert result.status in (USAGE, SERVER) and "measurements" in result.stderr, result
    result = hyperfill.run("run", *target.options(file, table="nothing_like_it"), check=None)
    assert result.status in (USAGE, SERVER) and "nothing_like_it" in result.stderr, result
    # What never began leaves nothing behind.
    assert not list(hyperfill.folder.glob("*.checkpoint"))
    assert target.database.value("SELECT to_regclass('hyperfill.piece')") is None


def test_missing_table_has_the_status_that_help_says(one_of_each, hyperfill):
    said = {number for number, words in re.findall(r"^  (\d)  (.*)$", hyperfill.run("--help").stdout, re.M) if "missing table" in words}
    result = hyperfill.run("run", *one_of_each.options(one_of_each.file(HEADER + "".join(GOOD))), check=None)
    assert not said or str(result.status) in said, (said, result)


def test_missing_source_table_names_those_near(one_of_each, hyperfill):
    target = one_of_each.create(name="measurements")
    source = target.server.create_database()
    source.execute("CREATE TABLE measurments (time timestamptz, value float8, note text)")
    options = target.options(source.conninfo, "--until", "2024-03-05 00:00:00Z", table="measurements")
    result = hyperfill.run("run", *options, check=None)
    assert result.status in (USAGE, SERVER) and "measurments" in result.stderr, result
    # The target has a table of that name: which of the two is asked for must be said.
    assert "source" in result.stderr, result
    hyperfill.run("run", *options, "--source-table", "measurments")


def test_time_column_must_be_given_for_a_plain_table(make_target, hyperfill):
    target = make_target("pg15-plain").create()
    file = target.file(HEADER + "".join(GOOD))
    result = hyperfill.run("run", "--source", file, "--target", target.database.conninfo, "--table", "m", check=USAGE)
    assert "--time-column" in result.stderr, result


def test_missing_file(target, hyperfill):
    target.create()
    result = hyperfill.run("run", *target.options("no-such.csv"), check=None)
    assert result.status in (USAGE, SYSTEM) and "no-such.csv" in result.stderr, result
    result = hyperfill.run("run", *target.options(target.tmp_path), check=None)
    assert result.status in (USAGE, SYSTEM) and str(target.tmp_path) in result.stderr, result
    assert target.database.value("SELECT to_regclass('hyperfill.piece')") is None
    # The cause mended, the same command loads.
    target.file(HEADER + "".join(GOOD), "no-such.csv")
    hyperfill.run("run", *target.options("no-such.csv"))
    assert stored(target) == ROWS_OF_GOOD
