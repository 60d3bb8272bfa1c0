"""Commands and their end: nothing of them stays behind, whoever is stopped or killed, and every row is there once."""

import os
import re
import signal
import time
import uuid

import pytest

import test_kill
from harness import START, STOPPED, create_cpu, wait_until
from harness.commands import DAYS_COMMAND, WINDOW, day_files, processes_with


# ---- Nothing stays behind

HANGS = {
    "at the header": "sleep 1000",
    "between rows": "head -n 1000 {file}; sleep 1000",
    "deaf": "trap '' TERM INT HUP; head -n 1000 {file}; while :; do sleep 1000; done",
    "in the background": "(trap '' TERM; sleep 1000; sleep 1000) & head -n 1000 {file}; wait",
}


@pytest.mark.parametrize("edges", [False, True], ids=["stream", "ranges"])
@pytest.mark.parametrize("how", HANGS)
def test_interrupt_of_a_command_that_hangs(make_commanded, edges, how):
    backfill = make_commanded()
    backfill.csv()
    day_files(backfill)
    header = '[ "$1" = "$2" ] && exec cat none.csv\n' if edges else ""
    backfill.script(header + HANGS[how].format(file="day-$1.csv" if edges else "expected.csv"))
    process = backfill.start(DAYS_COMMAND if edges else "./source.sh", *WINDOW)
    wait_until(lambda: any(b"sleep" in cmdline for _, cmdline in backfill.left_behind()), what="the sleep")
    time.sleep(0.2)
    process.signal(signal.SIGINT)
    begin = time.monotonic()
    process.wait(check=STOPPED)
    seconds = time.monotonic() - begin
    backfill.check_nothing_left()
    # The command has a second to go by itself; without our help it would take a thousand.
    assert seconds < 60, f"{seconds} s"


@pytest.mark.parametrize("how", HANGS)
def test_kill_of_hyperfill_leaves_no_command(make_commanded, how):
    backfill = make_commanded()
    backfill.csv()
    backfill.script(HANGS[how].format(file="expected.csv"))
    process = backfill.start("./source.sh")
    wait_until(lambda: any(b"sleep" in cmdline for _, cmdline in backfill.left_behind()), what="the sleep")
    process.kill()
    wait_until(lambda: not backfill.left_behind(), what="the end of the command")


def test_no_descriptor_of_ours_and_no_signal_mask_is_inherited(make_commanded):
    backfill = make_commanded()
    backfill.csv()
    day_files(backfill)
    backfill.script("""
        ls -l /proc/self/fd >>fds
        grep -E '^Sig(Blk|Ign)' /proc/self/status >>masks
        [ "$1" = "$2" ] && exec cat none.csv
        exec cat day-$1.csv
    """)
    backfill.run(DAYS_COMMAND, *WINDOW)
    backfill.check()
    kept = set(re.findall(r" (\d+ -> [a-z/]+)", (backfill.folder / "fds").read_text()))
    # What is listed as 1 is the file of the list, and 3 the folder that ls reads.
    assert {line for line in kept if line[0] != "1"} == {"0 -> /dev/null", "2 -> pipe", "3 -> /proc/"}, kept
    # glibc leaves 32 and 33, which are its own, ignored.
    masks = re.findall(r"\w+:\s*(\w+)", (backfill.folder / "masks").read_text())
    assert {int(mask, 16) & 0x7FFFFFFF for mask in masks} == {0}, masks


# ---- Stopped and killed


def nothing_left(mark):
    """Whoever was killed just now has its guard to end its commands."""
    wait_until(lambda: not processes_with(mark), what="the end of all commands")
    return ()


@pytest.mark.parametrize("form, kills", [("ranges", 20), ("stream", 8)])
def test_kills(hyperfill, servers, chance, form, kills):
    source = servers["pg15"].create_database()
    create_cpu(source, hypertable=False)
    test_kill.fill_cpu(source, test_kill.TOTAL_ROWS, hosts=test_kill.HOSTS, seed=test_kill.SEED % 1000)
    source.execute("UPDATE cpu SET hostname = E'host \"three\",\\nof\\r\\nmany' WHERE tags_id = 3")
    target = servers["ts17"].create_database()
    create_cpu(target, hypertable=True, chunk="2 hours")
    where = "WHERE time >= '{from}' AND time < '{until}'" if form == "ranges" else "ORDER BY time, tags_id"
    copy = f"COPY (SELECT * FROM cpu {where}) TO STDOUT (FORMAT csv, HEADER)"
    command = f"exec:psql -X -q -v ON_ERROR_STOP=1 '{source.conninfo}' -c \"{copy}\""
    arguments = ["--source", command, *(["--from", START, "--range-interval", "40m"] if form == "ranges" else [])]
    backfill = test_kill.Backfill(hyperfill, source, arguments, target)
    mark = f"HYPERFILL_TEST_MARK={uuid.uuid4()}"
    os.environ.update([mark.split("=")])
    try:
        backfill.kill_at_random(chance, kills, before_round=lambda number: nothing_left(mark))
    finally:
        del os.environ[mark.split("=")[0]]
    nothing_left(mark)


@pytest.mark.parametrize("edges", [True, False], ids=["ranges", "stream"])
def test_interrupts(make_commanded, chance, edges):
    backfill = make_commanded(count=60_000)
    command, more = backfill.psql(edges), ["--memory", "16MB", *WINDOW, "--range-interval", "1h" if edges else "6h"]
    reached, advances, stops = 0, 0, 0
    for number in range(12):
        process = backfill.start(command, *more)
        test_kill.wait_for_signals(process)
        if number == 0 or chance.random() < 0.6:
            wait_until(lambda: not process.running or backfill.database.value("SELECT count(*) FROM m") > reached, what="progress")
        time.sleep(chance.uniform(0, 0.1))
        process.signal(signal.SIGINT)
        if chance.random() < 0.5:
            time.sleep(chance.uniform(0, 0.05))
            process.signal(signal.SIGINT)
        status = process.wait().status
        assert status in (0, STOPPED), process.result()
        backfill.check_nothing_left()
        now = backfill.check_subset()
        advances += now > reached
        stops += status == STOPPED
        assert now >= reached
        reached = now
        if status == 0:
            backfill.check()
            backfill.database.execute("TRUNCATE m; DROP SCHEMA hyperfill CASCADE")
            (backfill.folder / "hyperfill-m.checkpoint").unlink()
            reached = 0
    print(f"{stops} stops, {advances} with progress")
    assert stops >= 2 and advances >= 1
    backfill.run(command, *more)
    backfill.check()
