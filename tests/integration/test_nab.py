"""Real data: the files of the Numenta Anomaly Benchmark load to the same rows as the server's own COPY of them.

HYPERFILL_TEST_NAB  the folder that holds them (default: shared/data/nab beside the checkout)
"""

import os
import pathlib

import pytest

import harness

FOLDER = pathlib.Path(os.environ.get("HYPERFILL_TEST_NAB") or harness.ROOT.parent / "shared" / "data" / "nab")
FILES = sorted(FOLDER.rglob("*.csv"))
# One test that is seen to be skipped, where there is nothing to make tests of.
PARAMETERS = FILES or [pytest.param(None, marks=pytest.mark.skip(reason=f"no CSV files in {FOLDER}; HYPERFILL_TEST_NAB names another folder"))]


def name_of(file):
    return "none" if file is None else str(file.relative_to(FOLDER))


@pytest.fixture(scope="module")
def database(_servers):
    """One database for all the files: a fresh one for each would take longer than its file."""
    try:
        server = _servers["ts17"]
    except harness.Unobtainable as reason:
        pytest.skip(str(reason))
    # It is made behind the server's back, so that the end of the first test does not drop it.
    name = f"nab_{os.getpid()}"
    administration = harness.Database(server, "postgres")
    administration.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    made = harness.Database(server, name)
    made.execute("SET client_min_messages = error; CREATE EXTENSION timescaledb; RESET client_min_messages")
    yield made
    made.close()
    administration.execute(f"DROP DATABASE {name} WITH (FORCE)")
    administration.close()


def load_and_compare(database, hyperfill, file, *options, chunk):
    # A hypertable is not dropped together with anything else.
    for rest in ("TABLE IF EXISTS nab", "TABLE IF EXISTS by_copy", "SCHEMA IF EXISTS hyperfill CASCADE"):
        database.execute(f"SET client_min_messages = error; DROP {rest}")
    database.execute("CREATE TABLE by_copy (timestamp timestamp, value double precision)")
    database.execute("CREATE TABLE nab (timestamp timestamp NOT NULL, value double precision)")
    database.rows("SELECT create_hypertable('nab', 'timestamp', chunk_time_interval => %s::interval)", [chunk])
    copied = database.copy_in("COPY by_copy FROM STDIN (FORMAT csv, HEADER)", file)
    hyperfill.run("run", "--source", file, "--target", database.conninfo, "--table", "nab", "--progress", "none", *options)
    assert copied > 0
    assert database.fingerprint("nab") == database.fingerprint("by_copy")
    assert database.value("SELECT count(*) FROM nab") == copied


@pytest.mark.parametrize("file", PARAMETERS, ids=name_of)
def test_file_loads_as_copy_loads_it(database, hyperfill, file):
    load_and_compare(database, hyperfill, file, chunk="7 days")


@pytest.mark.parametrize("file", PARAMETERS[:1], ids=name_of)
def test_file_loads_the_same_oldest_first_by_one_writer_into_small_chunks(database, hyperfill, file):
    load_and_compare(database, hyperfill, file, "--order", "oldest", "--jobs", "1", "--memory", "16MB", chunk="6 hours")


def test_all_files_are_there():
    if not FILES:
        pytest.skip(f"no CSV files in {FOLDER}; HYPERFILL_TEST_NAB names another folder")
    print(f"{len(FILES)} files")
    # With fewer of them the tests above would pass without having tested much.
    assert len(FILES) >= 41
