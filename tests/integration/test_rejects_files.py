"""The files of bad rows and the ledger behind them, over several runs: nothing is lost, and nobody's edits are written over."""

import pytest

from harness import DATA, REJECTS, USAGE
from harness.rejects import BAD, Table, good


@pytest.fixture
def plain(servers, hyperfill):
    return Table(servers["pg15"].create_database(), hyperfill, "plain")


@pytest.mark.parametrize("mode", ["stop", "reject"])
def test_read_again_from_the_start(table, mode):
    """What was rejected stays so, also for a run that would stop there: as after a crash, all is read a second time."""
    bad = [record for record, _, _ in BAD.values()]
    table.write(good(1), *bad, good(2), good(3, day=2))
    table.run()
    table.database.execute(
        "UPDATE hyperfill.job SET finished = NULL; UPDATE hyperfill.piece SET frontier = 0, frontier_line = 0"
    )
    result = table.replay(check=USAGE)
    assert "not complete" in result.stderr
    table.hyperfill.start("run", *table.arguments("f.csv", "--on-bad-row", mode)).wait(check=REJECTS)
    assert table.count() == 3
    table.check_rejects(bad)


def test_files_deleted_or_changed(table):
    bad = BAD["text in a number"][0]
    table.write(good(1), bad)
    table.run()
    table.rejects.unlink()
    table.run()
    table.check_rejects([bad])
    # What somebody is correcting is left alone.
    table.rejects.write_bytes(good(9))
    table.run()
    assert table.rejects.read_bytes() == good(9)
    table.rejects.unlink()
    table.reasons.unlink()
    table.run()
    table.check_rejects([bad])


def test_files_of_an_interrupted_rendering(table):
    """The reasons have their name already, the rejects not yet: not replayed, and written anew by the next run."""
    bad = BAD["text in a number"][0]
    table.write(good(1), bad)
    table.run()
    new = table.rejects.with_name(table.rejects.name + ".new")
    table.rejects.write_bytes(b"older\n")
    new.write_bytes(bad)
    result = table.replay(check=USAGE)
    assert "not written to its end" in result.stderr
    table.run()
    table.check_rejects([bad])
    assert not new.exists()


def test_more_rejects_after_an_edit(table):
    """What somebody was correcting when the job got other rejects is kept, and can be replayed under its new name."""
    bad = [b"2024-03-%02d 10:00:00+00,1,abc,x\n" % day for day in (1, 2, 3)]
    table.write(*bad, good(1))
    table.run("--max-rejects", "2", "--jobs", "1", check=DATA)
    told = table.ledger()
    if not told:
        pytest.skip("all were in one piece")
    table.rejects.write_bytes(b"".join(record.replace(b"abc", b"5") for record in told))
    table.run()
    table.check_rejects(bad)
    edited = table.rejects.with_name(table.rejects.name + ".edited")
    table.replay("--reject-file", edited.name, check=REJECTS)
    assert table.count() == 1 + len(told)


def test_files_of_others_are_not_written_over(table):
    table.write(good(1), BAD["text in a number"][0])
    table.rejects.write_bytes(b"mine\n")
    result = table.run(check=USAGE)
    assert "not written over" in result.stderr and "--reject-file" in result.stderr
    assert table.rejects.read_bytes() == b"mine\n"
    assert table.database.value("SELECT to_regclass('hyperfill.reject')") is None
    table.run("--reject-file", "other")
    assert (table.hyperfill.folder / "other").read_bytes() == BAD["text in a number"][0]


def test_a_ledger_of_an_earlier_version(table):
    table.write(good(1))
    table.run(check=0)
    table.database.execute("DROP TABLE hyperfill.reject")
    table.run(check=0)
    table.hyperfill.start("clean", "--target", table.database.conninfo, "--table", "m").wait(check=0)
    table.database.execute("TRUNCATE m")
    (table.hyperfill.folder / "hyperfill-m.checkpoint").unlink()
    table.write(good(1), BAD["text in a number"][0])
    table.run()
    clean = ["clean", "--target", table.database.conninfo, "--table", "m"]
    result = table.hyperfill.start(*clean).wait(check=USAGE)
    assert "1 rejected row" in result.stderr
    result = table.hyperfill.start(*clean, "--yes").wait(check=0)
    assert "1 rejected row" in result.stdout
    assert table.database.value("SELECT to_regclass('hyperfill.job')") is None


def test_a_role_that_may_not_make_the_table_of_rejects(plain):
    """A ledger of an earlier version, made by somebody else: told with what to grant; without rejects it is of use as it is."""
    plain.write(good(1))
    plain.run(check=0)
    plain.database.execute(
        """DROP TABLE hyperfill.reject; DELETE FROM hyperfill.job; DELETE FROM hyperfill.piece; TRUNCATE m;
        DROP ROLE IF EXISTS loader; CREATE ROLE loader LOGIN;
        GRANT USAGE ON SCHEMA hyperfill TO loader; GRANT ALL ON hyperfill.job, hyperfill.piece, m TO loader"""
    )
    arguments = plain.arguments()
    arguments[arguments.index("--target") + 1] += " user=loader"
    try:
        result = plain.hyperfill.start("run", *arguments, "--on-bad-row", "reject").wait(check=4)
        assert "reject" in result.stderr and "GRANT" in result.stderr
        plain.hyperfill.start("run", *arguments).wait(check=0)
        assert plain.count() == 1
    finally:
        plain.database.execute("DROP OWNED BY loader; DROP ROLE loader")
