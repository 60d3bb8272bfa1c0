"""A table of PostgreSQL as the source: no row of it is left out in silence."""

import pytest

from harness import DATA, USAGE
from harness.target import assert_no_stranger, stored


def test_postgresql_source_needs_until(one_of_each, hyperfill):
    target = one_of_each.create()
    source = target.server.create_database()
    source.execute("CREATE TABLE m (time timestamptz, value float8, note text)")
    result = hyperfill.run("run", *target.options(source.conninfo), check=USAGE)
    assert "--until" in result.stderr, result


@pytest.mark.parametrize("which", ["infinity", "-infinity"])
def test_infinite_times_in_a_postgresql_source(target, hyperfill, which):
    target.create()
    source = target.server.create_database()
    source.execute("CREATE TABLE m (time timestamptz, value float8, note text)")
    source.execute("INSERT INTO m VALUES ('2024-03-01 00:00+00', 1, 'a'), ('2024-03-02 00:00+00', 2, 'b')")
    source.execute("INSERT INTO m VALUES (%s, 3, 'c')", [which])
    result = hyperfill.run("run", *target.options(source.conninfo, "--until", "2024-03-05 00:00:00Z"), check=None)
    if which == "infinity":
        # It is not before T, so it is none of this job's rows.
        assert result.status == 0, result
        assert stored(target) == [(1.0, "a"), (2.0, "b")]
    else:
        # It is before T: loaded, or refused in words. Never left out in silence.
        assert result.status in (0, DATA), result
        if result.status == 0:
            assert stored(target) == [(3.0, "c"), (1.0, "a"), (2.0, "b")], result
        else:
            assert "infinit" in result.stderr, result
            source.execute("DELETE FROM m WHERE NOT isfinite(time)")
            hyperfill.run("run", *target.options(source.conninfo, "--until", "2024-03-05 00:00:00Z"))
            assert stored(target) == [(1.0, "a"), (2.0, "b")]


def test_null_times_in_a_postgresql_source_are_told(target, hyperfill):
    target.create()
    source = target.server.create_database()
    source.execute("CREATE TABLE m (time timestamptz, value float8, note text)")
    source.execute("INSERT INTO m VALUES ('2024-03-01 00:00+00', 1, 'a'), (NULL, 2, 'b')")
    result = hyperfill.run("run", *target.options(source.conninfo, "--until", "2024-03-05 00:00:00Z"), check=None)
    # NULL is on neither side of T. Whoever counts rows afterwards must have been told.
    assert "NULL" in result.stderr + result.stdout, result
    assert result.status in (0, DATA), result
    assert_no_stranger(target, [(1.0, "a")])


def test_empty_postgresql_source(target, hyperfill):
    target.create()
    source = target.server.create_database()
    source.execute("CREATE TABLE m (time timestamptz, value float8, note text)")
    hyperfill.run("run", *target.options(source.conninfo, "--until", "2024-03-05 00:00:00Z"))
    assert stored(target) == []


def test_value_of_the_source_that_the_target_cannot_take(target, hyperfill):
    target.create()
    target.database.execute("ALTER TABLE m ADD CONSTRAINT small CHECK (value < 50)")
    source = target.server.create_database()
    source.execute("CREATE TABLE m (time timestamptz, value float8, note text)")
    source.execute("INSERT INTO m SELECT '2024-03-01+00'::timestamptz + n * '1 hour'::interval, n, 'x' FROM generate_series(0, 90) n")
    options = target.options(source.conninfo, "--until", "2024-03-05 00:00:00Z")
    result = hyperfill.run("run", *options, check=DATA)
    assert "23514" in result.stderr and "small" in result.stderr, result
    # Days from the third on hold values of 50 and more.
    assert target.database.rows("SELECT min(value), max(value), count(*) FROM m") == [(0.0, 47.0, 48)]
    target.database.execute("ALTER TABLE m DROP CONSTRAINT small")
    hyperfill.run("run", *options)
    assert target.database.fingerprint("m") == source.fingerprint("m")
