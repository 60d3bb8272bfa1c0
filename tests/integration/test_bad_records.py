"""A bad record is named by file, line and byte, nothing is half done, and a rerun mends it."""

import datetime

import pytest

from harness import DATA, SERVER, USAGE
from harness.target import DAYS, GOOD, HEADER, ROWS_OF_GOOD, assert_no_stranger, assert_place, spoilt, stored

BAD_RECORDS = {
    "too-many-fields": ("2024-03-02 12:00:00+00,9,x,y\n", "extra data"),
    "too-few-fields": ("2024-03-02 12:00:00+00,9\n", "missing data"),
    "text-in-a-number": ("2024-03-02 12:00:00+00,nine,x\n", "nine"),
    "no-time": ("soon,9,x\n", "soon"),
    "null-time": (",9,x\n", "NULL"),
    "infinity": ("infinity,9,x\n", "infinit"),
    "minus-infinity": ("-infinity,9,x\n", "infinit"),
    "end-mark": ("\\.\n", "\\."),
    "blank-line": ("\n", ""),
    "not-utf8": (b"2024-03-02 12:00:00+00,9,\xff\xfe\n", "UTF8"),
    "nul-byte": (b"2024-03-02 12:00:00+00,9,a\x00b\n", ""),
    "other-line-end": ("2024-03-02 12:00:00+00,9,x\r\n", "carriage return"),
    "date-that-is-not": ("2024-02-30 12:00:00+00,9,x\n", "2024-02-30"),
}


@pytest.mark.parametrize("at", [0, 4, 5], ids=["first", "middle", "last"])
@pytest.mark.parametrize("bad", BAD_RECORDS)
def test_bad_record_is_named_by_file_line_and_offset(target, hyperfill, bad, at):
    target.create()
    record, words = BAD_RECORDS[bad]
    record = record.decode("latin-1") if isinstance(record, bytes) else record
    content, line, offset = spoilt(record, at)
    file = target.file(content.encode("latin-1"))
    if bad == "other-line-end" and at == 0:
        # The first line end of all is the header's, so that this one is the stranger wherever it stands.
        assert content.index("\n") < content.index("\r")
    result = hyperfill.run("run", *target.options(file), check=DATA)
    assert_place(result, file, line, offset)
    assert words in result.stderr, result
    assert_no_stranger(target, ROWS_OF_GOOD)
    # The same again, with nothing mended, does no harm.
    hyperfill.run("run", *target.options(file), check=DATA)
    assert_no_stranger(target, ROWS_OF_GOOD)
    # A mended file is another input: refused until the first job is forgotten, and then exact.
    target.file(HEADER + "".join(GOOD))
    hyperfill.run("run", *target.options(file), check=USAGE)
    assert_no_stranger(target, ROWS_OF_GOOD)
    hyperfill.run("clean", "--target", target.database.conninfo, "--table", "m", "--yes")
    hyperfill.run("run", *target.options(file, "--checkpoint", "mended", "--overlap", "replace"))
    assert stored(target) == ROWS_OF_GOOD


@pytest.mark.parametrize("end", ["\n", "\r\n", ""], ids=["lf", "crlf", "no-end"])
def test_unterminated_quote_at_the_end(target, hyperfill, end):
    target.create()
    before = HEADER + "".join(GOOD)
    file = target.file(before + f'2024-03-03 12:00:00+00,9,"never{"" if end == chr(13) + chr(10) else end}closed{end if end == chr(10) else ""}')
    result = hyperfill.run("run", *target.options(file), check=DATA)
    assert_place(result, file, before.count("\n") + 1, len(before.encode()))
    assert "quote" in result.stderr
    assert_no_stranger(target, ROWS_OF_GOOD)


def test_unterminated_quote_early_in_a_larger_file(target, hyperfill):
    target.create()
    before = HEADER + "".join(GOOD)
    rest = "".join(f"2024-03-03 12:00:00+00,{number},x\n" for number in range(20000))
    file = target.file(before + '2024-03-03 12:00:00+00,9,"never closed\n' + rest)
    result = hyperfill.run("run", *target.options(file), check=DATA)
    assert_place(result, file, before.count("\n") + 1, len(before.encode()))
    assert_no_stranger(target, ROWS_OF_GOOD)


@pytest.mark.parametrize("shuffle", [False, True], ids=["ordered", "shuffled"])
def test_bad_record_deep_in_a_file_is_found_and_mended_by_a_rerun(target, hyperfill, chance, shuffle):
    target.create()
    target.database.execute("ALTER TABLE m ADD CONSTRAINT small CHECK (value < 1000000)")
    start = datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)
    count = 30000
    records = []
    for number in range(count):
        moment = start + datetime.timedelta(seconds=number * DAYS * 86400 // count)
        note = '"two\nlines"' if chance.random() < 0.1 else "x" * chance.randrange(60)
        records.append(f"{moment},{number},{note}\n")
    if shuffle:
        chance.shuffle(records)
    at = chance.randrange(count)
    moment, _, note = records[at].split(",", 2)
    records[at] = f"{moment},1000000,{note}"
    before = HEADER + "".join(records[:at])
    file = target.file(HEADER + "".join(records))
    result = hyperfill.run("run", *target.options(file), check=DATA)
    assert_place(result, file, before.count("\n") + 1, len(before))
    assert "23514" in result.stderr and "small" in result.stderr, result
    assert target.database.value("SELECT count(*) - count(DISTINCT value) FROM m") == 0
    # The other days are not held up by the bad one.
    bad_day = moment[:10]
    per_day = dict(target.database.rows("SELECT (time AT TIME ZONE 'UTC')::date::text, count(*) FROM m GROUP BY 1"))
    assert {day: rows for day, rows in per_day.items() if day != bad_day} == {
        f"2024-03-0{day}": count // DAYS for day in range(1, DAYS + 1) if f"2024-03-0{day}" != bad_day
    }
    target.database.execute("ALTER TABLE m DROP CONSTRAINT small")
    hyperfill.run("run", *target.options(file))
    assert target.database.fingerprint("m") == target.copied(file)


def test_not_null_column_is_mended_by_a_rerun(target, hyperfill):
    target.create()
    target.database.execute("ALTER TABLE m ALTER COLUMN note SET NOT NULL")
    file = target.file(HEADER + "".join(GOOD))
    result = hyperfill.run("run", *target.options(file), check=DATA)
    assert_place(result, file, 6, len((HEADER + "".join(GOOD[:2])).encode()))
    assert "23502" in result.stderr
    target.database.execute("ALTER TABLE m ALTER COLUMN note DROP NOT NULL")
    hyperfill.run("run", *target.options(file))
    assert stored(target) == ROWS_OF_GOOD


HINT = "with --on-bad-row reject"


@pytest.mark.parametrize("records, hinted", [
    ("yesterday,1,x\n", True), ("2024-03-01 00:00:00+00,x,x\n", True), ("2024-03-01 00:00:00+00,1\n", True), ("\\.\n", True),
    ('2024-03-01 00:00:00+00,1,"x\n', False),
], ids=["time", "value", "fields", "end", "quote"])  # fmt: skip
def test_rejecting_is_proposed_for_errors_about_a_row(make_target, hyperfill, records, hinted):
    target = make_target("ts17-hypertable").create()
    result = hyperfill.run("run", *target.options(target.file(HEADER + records)), check=DATA)
    assert (HINT in result.stderr) == hinted, result


def test_rejecting_is_not_proposed_for_other_errors(make_target, hyperfill):
    """Rows of others, a file that is being written, an empty one."""
    target = make_target("ts17-hypertable").create()
    path = target.file(HEADER + "2024-03-01 00:00:00+00,1,x\n")
    target.database.execute("INSERT INTO m VALUES ('2024-03-01 00:00:00+00')")
    assert HINT not in hyperfill.run("run", *target.options(path), check=DATA).stderr
    target.database.execute("TRUNCATE m")
    with open(path, "a"):
        assert HINT not in hyperfill.run("run", *target.options(path), check=DATA).stderr
    path.write_text("")
    assert HINT not in hyperfill.run("run", *target.options(path), check=DATA).stderr


def test_record_larger_than_memory(target, hyperfill):
    target.create()
    before = HEADER + "".join(GOOD)
    file = target.file(before + "2024-03-03 12:00:00+00,6," + "x" * (9 << 20) + "\n2024-03-03 13:00:00+00,7,z\n")
    result = hyperfill.run("run", *target.options(file, "--memory", "16MB"), check=DATA)
    assert_place(result, file, before.count("\n") + 1, len(before.encode()))
    assert "--memory" in result.stderr and len(result.stderr) < 20000
    # Memory is no part of the job: the same one goes on with more of it.
    hyperfill.run("run", *target.options(file, "--memory", "256MB"))
    assert target.database.fingerprint("m") == target.copied(file)


def test_row_outside_of_all_partitions(make_target, hyperfill):
    target = make_target("pg15-partitioned").create()
    before = HEADER + "".join(GOOD)
    file = target.file(before + "2025-03-03 12:00:00+00,6,late\n")
    result = hyperfill.run("run", *target.options(file), check=None)
    assert result.status in (DATA, SERVER), result
    assert "partition" in result.stderr and "2025" in result.stderr, result
    assert_no_stranger(target, ROWS_OF_GOOD)
    target.database.execute("CREATE TABLE late PARTITION OF m FOR VALUES FROM ('2025-01-01+00') TO ('2026-01-01+00')")
    hyperfill.run("run", *target.options(file))
    assert stored(target) == [*ROWS_OF_GOOD, (6.0, "late")]
