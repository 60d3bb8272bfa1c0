"""--spill-dir: a shuffled file larger than memory is loaded by whole ranges, exactly, whatever becomes of the run or the disk."""

import json
import os
import pathlib
import re
import subprocess
import psycopg2.extensions
import pytest

from harness import START, create_cpu, wait_until
from test_kill import STEP, TOTAL_ROWS, UNTIL, make_backfill

USAGE, DATA, SYSTEM, STOPPED = 2, 3, 6, 7
ROWS = 250_000
# Of two hours each.
RANGES = 35


class Spilling:
    """A backfill of a shuffled file, several times larger than the memory, with a folder to spill to."""

    def __init__(self, hyperfill, servers, kind="ts17", rows=ROWS):
        self.hyperfill = hyperfill
        self.folder = pathlib.Path(hyperfill.folder / "spill")
        self.folder.mkdir()
        self.backfill = make_backfill(hyperfill, servers, "shuffled", kind, kind.startswith("ts"), rows=rows)
        self.target = self.backfill.target

    def start(self, *more, **how):
        return self.backfill.start("--spill-dir", self.folder, "--progress", "json", *more, **how)

    def complete(self, *more, **how):
        """Runs it to its end, and returns its summary and its result."""
        result = self.start(*more, **how).wait(check=0)
        self.check()
        return summary_of(result), result

    def check(self):
        self.backfill.check()
        assert list(self.folder.iterdir()) == []

    def wrap(self, script):
        """The program is started by a shell script from now on, which ends in `exec "$@"`."""
        wrapper = self.hyperfill.folder / "wrapper.sh"
        wrapper.write_text(f'#!/bin/bash\nset -e\nset -- {self.hyperfill.binary} "$@"\n{script}\n')
        wrapper.chmod(0o755)
        self.hyperfill.binary = wrapper


def summary_of(result):
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture
def spilling(hyperfill, servers):
    return Spilling(hyperfill, servers)


@pytest.mark.pipeline
@pytest.mark.parametrize("kind", ["ts17", "pg15"])
def test_ranges_are_whole(hyperfill, servers, kind):
    spilling = Spilling(hyperfill, servers, kind)
    summary, _ = spilling.complete()
    print(summary)
    assert summary["spilled_bytes"] >= summary["spill_peak_bytes"] / 2 > 1 << 20
    # Order shows itself only after a while.
    assert RANGES <= summary["ranges"] <= summary["pieces"] < 1.3 * summary["ranges"]
    # Without it the same trickles.
    spilling.target.execute("TRUNCATE cpu; DROP SCHEMA hyperfill CASCADE")
    spilling.backfill.checkpoint.unlink()
    result = spilling.backfill.start("--progress", "json").wait(check=0)
    spilling.check()
    without = summary_of(result)
    assert without["spilled_bytes"] == without["spill_peak_bytes"] == 0
    assert without["pieces"] > 2 * summary["pieces"]


def test_summary_and_standard_input(spilling):
    _, path = spilling.backfill.arguments
    spilling.backfill.arguments = ["--source", "-"]
    with open(path, "rb") as file:
        process = spilling.hyperfill.start(
            "run", "--source", "-", "--target", spilling.target.conninfo, "--table", "cpu", "--until", UNTIL, "--memory", "16MB",
            "--spill-dir", spilling.folder, stdin=file,
        )
        result = process.wait(check=0)
    spilling.check()
    assert re.search(r"^ *spilled +\S+ ?[kMG]B to disk, at most \S+ ?[kMG]B at a time$", result.stderr, re.M), result


def test_kills(hyperfill, servers, chance):
    spilling = Spilling(hyperfill, servers, rows=TOTAL_ROWS)
    spilling.backfill.arguments += ["--spill-dir", spilling.folder]
    spilling.backfill.kill_at_random(chance, 20)
    spilling.check()


def test_kills_with_other_memory_and_spill(hyperfill, servers, chance):
    spilling = Spilling(hyperfill, servers, rows=TOTAL_ROWS)

    # With and without, with little and much of it: each run goes on from what any other has committed.
    def other(number):
        options = ["--jobs", chance.choice(["1", "2", "3"]), "--memory", chance.choice(["16MB", "24MB", "32MB"])]
        if chance.random() < 0.7:
            options += ["--spill-dir", spilling.folder]
            options += ["--spill-max", chance.choice(["1MB", "4MB", "1GB"])]
        return options

    spilling.backfill.kill_at_random(chance, 10, other)
    spilling.check()


def test_interrupts(spilling, chance):
    stops = 0
    for number in range(6):
        process = spilling.start()
        more = 0 if number < 2 else chance.uniform(0, 0.1) * spilling.backfill.rows_expected
        spilling.backfill.wait_for(process, spilling.backfill.rows_seen + more)
        for _ in range(1 + number % 2):
            process.signal(2)
        status = process.wait().status
        stops += status == STOPPED
        spilling.backfill.progress()
        if status == 0:
            # The rows of whole ranges come fast, once all is read.
            spilling.check()
            spilling.backfill.begin_anew()
    assert stops >= 2
    spilling.complete()


def test_limit(spilling):
    summary, _ = spilling.complete("--spill-max", "2MB")
    # It is used to its end. Whether more was wanted, which is told, is a matter of how busy the writers were.
    assert 1 << 20 < summary["spill_peak_bytes"] <= 2 << 20
    assert summary["pieces"] > RANGES


def test_limit_of_file_size(spilling):
    # As on a full disk, writing fails. (The checkpoint file is small.)
    spilling.wrap('ulimit -S -f 3000\nexec "$@"')
    summary, result = spilling.complete()
    assert 0 < summary["spilled_bytes"]
    assert summary["pieces"] > RANGES
    assert "takes no more" in result.stdout + result.stderr, result


@pytest.mark.parametrize("size", ["8m", "20m"])
def test_small_disk(spilling, size):
    # A disk of its own for the folder, which only this process sees. Some room is left on it in any case.
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        pytest.skip("no right to mount a file system")
    spilling.wrap(f'exec unshare -m bash -c \'mount -t tmpfs -o size={size} none "$0" && exec "$@"\' {spilling.folder} "$@"')
    summary, result = spilling.complete("--spill-max", "1GB")
    assert (summary["spilled_bytes"] > 0) == (size == "20m")
    assert summary["spill_peak_bytes"] <= 4 << 20
    assert "takes no more" in result.stdout + result.stderr, result


def test_transaction_is_repeated(spilling, proxy):
    # Lines are cut while COPY runs and while its end is awaited: the same piece is read from the disk again.
    line = proxy(spilling.target.server)
    target = line.conninfo(spilling.target)
    # Not before rows flow: who cannot reach a server in the beginning has to say so.
    line.cut_after(3_000_000, times=10, bytes_min=200_000)
    process = spilling.start(target=target)
    wait_until(lambda: spilling.backfill.progress() > 0 or not process.running, what="the first rows")
    line.cut_all()
    result = process.wait(check=0)
    spilling.check()
    summary = summary_of(result)
    print(line.cut_count, summary)
    assert summary["retries"] > 0 and summary["spilled_bytes"] > 0


def test_bad_row_is_found_in_what_was_spilled(spilling, chance):
    _, path = spilling.backfill.arguments
    lines = path.read_bytes().split(b"\n")
    whole = [number for number, text in enumerate(lines) if text.startswith(b"2024-03-01") and text.count(b",") == 12 and b'"' not in text]
    # Of the first day, so that it is loaded with the rest; from the first tenth of the file, so that it is spilled.
    number = chance.choice(whole[: len(whole) // 10])
    lines[number] = lines[number].rsplit(b",", 1)[0] + b",wrong"
    path.write_bytes(b"\n".join(lines))
    offset = sum(len(text) + 1 for text in lines[:number])
    result = spilling.start().wait(check=DATA)
    messages = result.stdout + result.stderr
    assert f"line {number + 1}" in messages and str(offset) in messages and "wrong" in messages, messages
    assert "22P02" in messages
    (bad,) = spilling.target.rows("SELECT count(*) FROM cpu")
    assert 0 < bad[0] < spilling.backfill.rows_expected
    assert list(spilling.folder.iterdir()) == []


def test_damaged_file(spilling, proxy):
    # While nothing passes to the target the file without a name is cut off: what is missing must not be loaded.
    line = proxy(spilling.target.server)
    process = spilling.start(target=line.conninfo(spilling.target))
    spilled = wait_until(lambda: spilled_file(process, spilling.folder), what="the file of what is spilled")
    line.pause()
    # What memory has no room for is several times as much.
    wait_until(lambda: spilled.stat().st_size > 4 << 20, what="spilled rows")
    os.truncate(spilled, 10_000)
    line.resume()
    result = process.wait(check=SYSTEM)
    assert "has not kept what was written" in result.stdout + result.stderr, result
    assert spilling.backfill.progress() < spilling.backfill.rows_expected
    spilling.complete()


def spilled_file(process, folder):
    for link in pathlib.Path(f"/proc/{process.pid}/fd").glob("*"):
        try:
            if os.readlink(link).startswith(str(folder)):
                return link
        except FileNotFoundError:
            pass
    return None


def test_ordered_input_does_not_spill(hyperfill, servers, tmp_path):
    backfill = make_backfill(hyperfill, servers, "ordered", "ts17", rows=200_000)
    result = backfill.start("--spill-dir", tmp_path, "--progress", "json").wait(check=0)
    backfill.check()
    assert summary_of(result)["spilled_bytes"] == 0


@pytest.mark.parametrize("command", ["plan", "run"])
def test_folder_that_is_of_no_use(hyperfill, servers, tmp_path, command):
    target = servers["ts17"].create_database()
    create_cpu(target)
    (tmp_path / "a-file").write_text("")
    (tmp_path / "cpu.csv").write_text(f"time,tags_id\n{START + STEP},1\n")
    common = [command, "--source", tmp_path / "cpu.csv", "--target", target.conninfo, "--table", "cpu"]
    for folder, words in (("missing", "No such file"), ("a-file", "no folder"), ("/proc", "cannot make a file")):
        result = hyperfill.run(*common, "--spill-dir", folder, check=USAGE)
        assert "--spill-dir" in result.stderr and words in result.stderr and folder in result.stderr, result
    assert "--spill-dir" in hyperfill.run(*common, "--spill-max", "1GB", check=USAGE).stderr
    common[2] = psycopg2.extensions.make_dsn(host="/nowhere", dbname="x")
    assert "front to back" in hyperfill.run(*common, "--spill-dir", tmp_path, "--until", UNTIL, check=USAGE).stderr
    assert target.value("SELECT to_regclass('hyperfill.piece')") is None


def test_memory_stays_under_its_bound(hyperfill, servers, tmp_path):
    """Rows of about a megabyte, and small ones: peak RSS at --memory 64MB is under 96 MB, and nothing is lost."""
    if "sanitize" in str(hyperfill.binary):
        pytest.skip("a sanitizer's own memory is not the program's")
    generator = hyperfill.binary.parent / "hyperfill-generate"
    target = servers["ts17"].create_database()
    target.execute("CREATE TABLE fat (time timestamptz NOT NULL, tags_id int, payload text)")
    target.execute("SELECT create_hypertable('fat', 'time', chunk_time_interval => interval '1 hour')")
    create_cpu(target, chunk="1 hour")
    for shape, table, rows in (("fat", "fat", 300), ("cpu", "cpu", 1_000_000)):
        path = tmp_path / f"{shape}.csv"
        with open(path, "wb") as file:
            command = [generator, "--shape", shape, "--rows", str(rows), "--hosts", "4" if shape == "fat" else "400", "--order", "shuffled"]
            subprocess.run(command + ["--step-seconds", "200" if shape == "fat" else "10"], stdout=file, check=True)
        process = hyperfill.start("run", "--source", path, "--target", target.conninfo, "--table", table, "--memory", "64MB",
                                  "--spill-dir", tmp_path, "--progress", "json")
        peak = process.peak_kilobytes()
        summary = summary_of(process.wait(check=0))
        print(shape, peak, summary["spilled_bytes"])
        assert target.value(f"SELECT count(*) FROM {table}") == rows
        assert 0 < peak < 96 * 1024
        assert summary["spilled_bytes"] > 0
        path.unlink()
