"""How many bad rows a job may have, and what status tells of them."""

import json
import time

import pytest

from harness import DATA, USAGE
from harness.rejects import BAD, good


def test_max_rejects(table):
    bad = [b"2024-03-01 10:%02d:00+00,1,abc,x\n" % n for n in range(10)]
    table.write(good(1), *bad[:5], good(2), *bad[5:], good(3, day=2))
    for limit in ("0", "9"):
        result = table.run("--max-rejects", limit, check=DATA)
        assert f"--max-rejects {limit} allows" in result.stderr and 'invalid input syntax' in result.stderr
        assert len(table.ledger()) <= int(limit)
    table.run("--max-rejects", "10")
    assert table.count() == 3
    table.check_rejects(bad)


def test_max_rejects_as_a_share(table):
    """Of few rows it is judged at the end only; what is loaded stays, and a higher share goes on."""
    records = [good(n) for n in range(90)] + [b"2024-03-01 10:%02d:00+00,1,abc,x\n" % n for n in range(10)]
    table.write(*records)
    result = table.run("--max-rejects", "9.9%", check=DATA)
    assert "10 of 100 rows were rejected" in result.stderr
    assert table.count() == 90
    table.check_rejects(records[90:])
    table.run("--max-rejects", "10%")
    assert table.count() == 90


def test_a_share_of_many_ends_the_run_early(table):
    bad = [b"2024-03-01 %02d:%02d:00+00,1,abc,x\n" % (10 + n // 60, n % 60) for n in range(800)]
    table.write(*bad, *[BAD["bad time"][0]] * 400, *[good(n) for n in range(3000)])
    result = table.run("--max-rejects", "20%", check=DATA)
    assert "--max-rejects 20% allows" in result.stderr
    assert table.count() == 0
    table.run("--max-rejects", "100%")
    assert table.count() == 3000 and len(table.ledger()) == 1200


@pytest.mark.parametrize("value", ["x", "-1", "101%", "1%%", "%", "99999999999999999999"])
def test_max_rejects_that_cannot_be_read(hyperfill, value):
    result = hyperfill.start("run", "--source", "a", "--target", "b", "--table", "c", f"--max-rejects={value}").wait(check=USAGE)
    assert "--max-rejects" in result.stderr


def test_the_limit_is_of_the_whole_job(table):
    """Those of earlier runs count; what is committed stays, and a higher limit goes on from there."""
    bad = [b"2024-03-%02d 10:%02d:00+00,1,abc,x\n" % (1 + n // 5, n % 5) for n in range(20)]
    table.write(*[part for n, record in enumerate(bad) for part in (good(n, day=1 + n // 5), record)])
    told = 0
    for limit in (5, 7, 12):
        table.run("--max-rejects", str(limit), "--jobs", "1", check=DATA)
        assert told <= len(table.ledger()) <= limit
        told = len(table.ledger())
        assert table.count() == told
        if told > 0:
            table.check_rejects(table.ledger())
    assert told > 0
    table.run("--max-rejects", "20")
    assert table.count() == 20
    table.check_rejects(bad)


# ---- What is told of them


def test_json_and_summary(table):
    table.write(good(1), BAD["CHECK"][0], BAD["bad time"][0])
    events = [json.loads(line) for line in table.run("--progress", "json").stdout.splitlines()]
    (summary,) = [event for event in events if event["event"] == "summary"]
    assert (summary["result"], summary["rows"], summary["rejects"]) == ("rejects", 1, 2)


def status_of(table):
    said = json.loads(table.hyperfill.run("status", "--table", "m", "--json").stdout)
    shown = table.hyperfill.run("status", "--table", "m").stdout
    counts = said["rejects"], said["rejects_open"], said["rejects_replayed"]
    if counts[0] > 0:
        assert "rejected    {:,}: {:,} open, {:,} replayed or dropped".format(*counts) in shown
    else:
        assert "rejected" not in shown
    assert ("hyperfill replay" in shown) == (counts[1] > 0 and said["state"] == "complete")
    return counts


def test_status_tells_of_rejects(table):
    bad = [BAD["CHECK"][0], BAD["bad time"][0], BAD["text in a number"][0], b"2024-03-02 10:00:00+00,1,abc,x\n"]
    table.write(good(1), *bad, good(2, day=2))
    table.run()
    assert status_of(table) == (4, 4, 0)
    # One is corrected, one is dropped, the third is still bad.
    records = table.rejects.read_bytes().splitlines(keepends=True)
    mended = {bad[0]: good(5), bad[1]: b"\n"}
    table.rejects.write_bytes(b"".join(mended.get(record, record) for record in sorted(records, key=bad.index)))
    reasons = table.told()
    table.replay(check=DATA)
    open_now = table.database.value("SELECT count(*) FROM hyperfill.reject WHERE replayed IS NULL")
    assert 2 <= open_now < 4 and len(reasons) == 4
    assert status_of(table) == (4, open_now, 4 - open_now)
    # Lost, cut off and damaged: the next run has it from the ledger.
    checkpoint = table.hyperfill.folder / "hyperfill-m.checkpoint"
    text = checkpoint.read_bytes()
    for content in (None, text.replace(b"open=", b"open=1"), text[: text.index(b"rejects all=") + 15]):
        if content is None:
            checkpoint.unlink()
        else:
            checkpoint.write_bytes(content)
        table.run()
        assert status_of(table) == (4, open_now, 4 - open_now)


def test_status_while_rows_are_rejected(table):
    """Killed at the first reject that the file knows of: what it says is no more than the ledger has, and the end is right."""
    table.write(*(good(n) if n % 3 else b"2024-03-01 10:00:00+00,%d,abc,x\n" % n for n in range(30_000)))
    process = table.hyperfill.start("run", *table.arguments("f.csv", "--on-bad-row", "reject", "--max-rejects", "100%", "--memory", "16MB"))
    checkpoint = table.hyperfill.folder / "hyperfill-m.checkpoint"
    while process.running and (not checkpoint.exists() or b"\nrejects " not in checkpoint.read_bytes()):
        time.sleep(0.01)
    process.kill()
    said = status_of(table)
    assert 0 < said[0] == said[1] <= table.database.value("SELECT count(*) FROM hyperfill.reject")
    table.run("--max-rejects", "100%")
    assert status_of(table) == (10_000, 10_000, 0)
