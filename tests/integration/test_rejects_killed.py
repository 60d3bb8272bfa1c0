"""Bad rows in large files, with runs that are killed and connections that are cut: table, ledger and files are exact."""

import signal
import time

import pytest

from harness import REJECTS
from harness.rejects import BAD, HEADER, Table, good, write_many


@pytest.fixture
def hypertable(servers, hyperfill):
    return Table(servers["ts17"].create_database(), hyperfill, "hypertable")


def test_connections_cut(table, proxy, chance):
    """Connections that are lost at random, and answers to commits: careful pieces too are tried again, and stay exact."""
    rows = 60_000
    bad = write_many(table, chance, rows)
    line = proxy(table.database.server)
    arguments = table.arguments("f.csv", "--on-bad-row", "reject", "--max-rejects", "5%", "--memory", "16MB", "--jobs", "2")
    arguments[arguments.index("--target") + 1] = line.conninfo(table.database)
    line.cut_after(2_000_000, times=12, bytes_min=200_000)
    line.lose_commit_answer(5)
    table.hyperfill.start("run", *arguments).wait(check=REJECTS)
    print(f"{line.cut_count} cuts, {line.lost_answer_count} lost answers")
    assert line.cut_count > 0 and line.lost_answer_count == 1
    assert table.count() == rows
    table.check_rejects(bad)


def loaded(table):
    if table.database.value("SELECT to_regclass('hyperfill.piece')") is None:
        return 0
    return table.database.value("SELECT coalesce(sum(rows), 0) FROM hyperfill.piece")


def test_killed_at_random_moments(hypertable, chance):
    """kill -9 with bad rows of many kinds: table, ledger and files are exact in the end."""
    rows, hits, seen = 200_000, 0, set()
    bad = write_many(hypertable, chance, rows)
    more = ["--max-rejects", "5%", "--memory", "16MB", "--jobs", "2"]
    arguments = hypertable.arguments("f.csv", "--on-bad-row", "reject", *more)
    while hits < 8:
        process = hypertable.hyperfill.start("run", *arguments)
        # Half of the kills hit the start of a run, half come once it has committed something.
        if hits % 2 == 0:
            time.sleep(chance.uniform(0, 0.3))
        else:
            # The ledger is quick to ask: else it goes on for long while we look.
            before = loaded(hypertable)
            while process.running and loaded(hypertable) == before:
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.05))
        process.kill()
        if process.popen.returncode != -signal.SIGKILL:
            break
        hits += 1
        seen.add(hypertable.count())
    hypertable.run(*more)
    print(f"{hits} kills, rows after them {sorted(seen)}")
    assert hits >= 4 and len(seen) > 1
    assert hypertable.count() == rows
    hypertable.check_rejects(bad)


def test_a_hundredth_of_a_million(servers, hyperfill, chance, server):
    """1 % bad rows of every kind in 1 M rows: all good ones in, all bad ones aside byte for byte, and in once mended."""
    table = Table(server.create_database(), hyperfill, "hypertable" if server.has_timescaledb else "plain")
    kinds = [record for record, _, _ in BAD.values()]
    bad, rows = [], 1_000_000
    with open(hyperfill.folder / "f.csv", "wb") as file:
        file.write(HEADER)
        for number in range(rows):
            if chance.random() < 0.01:
                bad.append(chance.choice(kinds))
                file.write(bad[-1])
            else:
                file.write(good(number % 86400, day=1 + number // 86400))
    begun = time.monotonic()
    table.run("--max-rejects", "2%")
    print(f"{rows} rows with {len(bad)} bad ones in {time.monotonic() - begun:.1f} s on {server.kind}")
    assert table.count() == rows - len(bad)
    table.check_rejects(bad)
    mended = [good(number % 86400, day=20 + number // 86400) for number in range(len(bad))]
    table.rejects.write_bytes(b"".join(mended))
    table.replay()
    assert table.count() == rows
    table.run(check=0)
