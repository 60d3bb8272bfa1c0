"""Mended rows are loaded once each: with records that are still bad, dropped, too many, or outside of the window, and after kills."""

import time

from harness import DATA, USAGE
from harness.rejects import BAD, HEADER, good


def test_replay_with_a_record_that_is_still_bad(table):
    bad = [b"2024-03-01 10:%02d:00+00,1,abc,x\n" % n for n in range(6)]
    table.write(good(1), *bad)
    table.run()
    mended = [record.replace(b"abc", b"5") for record in bad]
    table.rejects.write_bytes(b"".join([*mended[:3], bad[3], *mended[4:]]))
    result = table.replay(check=DATA)
    assert "record 4 of" in result.stderr and "abc" in result.stderr
    assert table.count() == 4
    table.rejects.write_bytes(b"".join([*mended[:3], b"nothing,1,2,3\n", *mended[4:]]))
    result = table.replay(check=DATA)
    assert "record 4 of" in result.stderr and "nothing" in result.stderr
    table.rejects.write_bytes(b"".join(mended))
    table.replay()
    assert table.count() == 7


def test_replay_of_the_unchanged_file(table):
    table.write(good(1), BAD["CHECK"][0])
    table.run()
    table.replay(check=DATA)
    assert table.count() == 1


def test_replay_with_blank_lines(table):
    bad = [b"2024-03-01 10:%02d:00+00,1,abc,x\r\n" % n for n in range(4)]
    records = [good(n).replace(b"\n", b"\r\n") for n in range(4)]
    table.write(*records, *bad, header=HEADER.replace(b"\n", b"\r\n"))
    table.run()
    table.check_rejects(bad)
    table.rejects.write_bytes(b"".join([b"\n", bad[1].replace(b"abc", b"5"), b"\r\n", bad[3].replace(b"abc", b"6")]))
    result = table.replay()
    assert "2 loaded, 2 dropped" in result.stderr
    assert table.count() == 6
    table.run(check=0)


def test_replay_with_a_wrong_count(table):
    bad = [b"2024-03-01 10:%02d:00+00,1,abc,x\n" % n for n in range(4)]
    table.write(good(1), *bad)
    table.run()
    for count in (3, 5):
        table.rejects.write_bytes(b"".join(good(n + 10) for n in range(count)))
        result = table.replay(check=USAGE)
        assert f"has {count} records" in result.stderr and "names 4" in result.stderr
    assert table.count() == 1


def test_replay_outside_of_the_window(table):
    table.write(good(1), BAD["text in a number"][0])
    table.run("--until", "2024-03-02 00:00:00+00")
    table.rejects.write_bytes(good(1, day=3))
    result = table.replay("--until", "2024-03-02 00:00:00+00", check=DATA)
    assert "--until" in result.stderr
    assert table.count() == 1


def test_replay_of_another_job(table):
    table.write(good(1), BAD["text in a number"][0])
    table.run()
    result = table.replay("--until", "2024-03-02 00:00:00+00", check=USAGE)
    assert "knows no job" in result.stderr


def test_replay_killed(table, chance):
    count = 3000
    bad = [b"2024-03-01 %02d:%02d:%02d+00,1,abc,x\n" % (n // 3600, n // 60 % 60, n % 60) for n in range(count)]
    table.write(good(1), *bad)
    table.run("--max-rejects", "100%")
    assert table.count() == 1
    table.rejects.write_bytes(b"".join(record.replace(b"abc", b"5") for record in bad))
    for _ in range(6):
        process = table.hyperfill.start("replay", *table.arguments())
        time.sleep(chance.uniform(0.01, 0.12))
        process.kill()
        ((rows, replayed),) = table.database.rows(
            "SELECT (SELECT count(*) FROM m), (SELECT count(replayed) FROM hyperfill.reject)"
        )
        assert rows == 1 + replayed
    table.replay()
    assert table.count() == count + 1
    assert table.database.value("SELECT count(DISTINCT time) FROM m WHERE value = 5") == count


def test_replay_with_a_commit_in_doubt(table, proxy, servers):
    bad = [b"2024-03-01 10:%02d:00+00,1,abc,x\n" % n for n in range(4)]
    table.write(good(1), *bad)
    table.run()
    table.rejects.write_bytes(b"".join(record.replace(b"abc", b"5") for record in bad))
    between = proxy(table.database.server)
    between.lose_commit_answer()
    arguments = table.arguments()
    arguments[arguments.index("--target") + 1] = between.conninfo(table.database)
    table.hyperfill.start("replay", *arguments).wait(check=0)
    assert between.lost_answer_count == 1
    assert table.count() == 5
