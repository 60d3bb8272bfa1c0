"""CSV files load as the server's own COPY loads them: line ends, quotes, dialects, with and without a header."""

import datetime

import pytest

from harness import DATA
from harness.target import DAYS, GOOD, HEADER, ROWS_OF_GOOD, stored


def newline_file(end, final):
    records = ["time,value,note", "2024-03-01 00:00:00+00,1,a", "2024-03-02 00:00:00+00,2,b", '2024-03-02 00:00:00+00,,""']
    return end.join(records) + (end if final else "")


@pytest.mark.parametrize("final", [True, False], ids=["final", "no-final"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_line_ends(target, hyperfill, end, final):
    target.create()
    file = target.file(newline_file(end, final))
    hyperfill.run("run", *target.options(file))
    assert target.database.fingerprint("m") == target.copied(file)
    assert target.database.value("SELECT count(*) FROM m") == 3


# What COPY reads in ways of its own: quotes inside of a field, blanks, the empty string and NULL, the end mark in quotes.
PECULIAR = [
    '"2024-03-01 00:00:00+00","1","a"',
    '2024-03-01 00:00:01+00,1,""',
    "2024-03-01 00:00:02+00,,",
    '2024-03-01 00:00:03+00,1e300,"say ""hello"", twice"',
    '2024-03-01 00:00:04+00,NaN,ab"c,d"e',
    '2024-03-01 00:00:05+00,-Infinity, " x" ',
    '2024-03-01 00:00:06+00,1,"\\."',
    "2024-03-01 00:00:07+00,1,\\N",
    "2024-03-01 00:00:08+00,1,\\.x",
    '2024-03-01 00:00:09+00,1,""""',
    '2024-03-01 00:00:10+00,1,""""""',
    "2024-03-01 00:00:11+00,1,gr\u00fc\u00dfe \U0001f600",
    '2024-03-01 00:00:12+00,1,"{N}first{N}{N}\\third{N}"',
    '20"24-03-01 00:00:1"3+00,"1"0,"a"b"c"',
    "2024-03-02T00:00:00Z,1,iso",
    "2024-03-02 00:00:00.123456+05:30,1,offset",
    "2024-03-02 23:59:59.999999-0330,1,offset",
    "2024-03-02 12:00:00+02,1,a\ttab",
]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_peculiar_fields(target, hyperfill, end):
    target.create()
    records = [record.replace("{N}", end) for record in PECULIAR]
    file = target.file(end.join([HEADER.strip(), *records]) + end)
    hyperfill.run("run", *target.options(file))
    assert target.database.fingerprint("m") == target.copied(file)
    assert target.database.value("SELECT count(*) FROM m") == len(PECULIAR)


def test_random_text_in_quotes(target, hyperfill, chance):
    target.create()
    start = datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)
    records = []
    for _ in range(3000):
        moment = start + datetime.timedelta(seconds=chance.randrange(DAYS * 86400))
        text = "".join(chance.choice('ab,"\n\\.; \u00e4') for _ in range(chance.randrange(12)))
        note = '"' + text.replace('"', '""') + '"' if chance.random() < 0.9 or set(text) & set(',"\n\\') else text
        records.append(f"{moment},{chance.choice(['', '1', chr(34) + '2' + chr(34)])},{note}\n")
    file = target.file(HEADER + "".join(records))
    hyperfill.run("run", *target.options(file))
    assert target.database.fingerprint("m") == target.copied(file)


DIALECTS = {
    "semicolon": (["--delimiter", ";"], "DELIMITER ';'", 'time;value;note\n2024-03-01 00:00:00+00;1;"a;b,c"\n2024-03-02 00:00:00+00;2;x,y\n'),
    "tab": (["--delimiter", r"\t"], "DELIMITER E'\\t'", "time\tvalue\tnote\n2024-03-01 00:00:00+00\t1\ta,b\n2024-03-02 00:00:00+00\t\tx\n"),
    "quote": (["--quote", "'"], "QUOTE ''''", "time,value,note\n2024-03-01 00:00:00+00,1,'it''s,\nso \"'\n2024-03-02 00:00:00+00,2,\"\n"),
    "escape": (["--escape", "\\"], "ESCAPE '\\'", 'time,value,note\n2024-03-01 00:00:00+00,1,"a\\"b\\\\c\\d"\n2024-03-02 00:00:00+00,2,a\\b\n'),
    "escape-end": (["--escape", "\\"], "ESCAPE '\\'", 'time,value,note\n2024-03-01 00:00:00+00,1,"a\\\\"\n2024-03-02 00:00:00+00,2,"\\",\n"\n'),
    "null": (["--null", "NULL"], "NULL 'NULL'", 'time,value,note\n2024-03-01 00:00:00+00,NULL,"NULL"\n2024-03-02 00:00:00+00,2,NULL\n2024-03-02 00:00:01+00,2,\n'),
    "all": (
        ["--delimiter", "|", "--quote", "'", "--escape", "^", "--null", r"\N"],
        "DELIMITER '|', QUOTE '''', ESCAPE '^', NULL '\\N'",
        "time|value|note\n2024-03-01 00:00:00+00|\\N|'a^'|^^\n\\.\nb'\n2024-03-02 00:00:00+00|2|\\N\n2024-03-02 00:00:01+00|2|'\\N'\n",
    ),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects(target, hyperfill, dialect):
    target.create()
    options, copy_options, content = DIALECTS[dialect]
    file = target.file(content)
    hyperfill.run("run", *target.options(file, *options))
    assert target.database.fingerprint("m") == target.copied(file, f"FORMAT csv, HEADER, {copy_options}")
    assert target.database.value("SELECT count(*) FROM m") >= 2


def test_no_header(target, hyperfill):
    target.create()
    file = target.file("".join(GOOD))
    hyperfill.run("run", *target.options(file, "--no-header"))
    assert target.database.fingerprint("m") == target.copied(file, "FORMAT csv")
    assert stored(target) == ROWS_OF_GOOD


def test_no_header_with_columns_in_another_order(target, hyperfill):
    target.create()
    file = target.file("x,2024-03-01 00:00:00+00\ny,2024-03-02 00:00:00+00\n")
    hyperfill.run("run", *target.options(file, "--no-header", "--columns", "note,time"))
    assert target.database.fingerprint("m") == target.copied(file, "FORMAT csv", columns="note, time")
    assert stored(target) == [(None, "x"), (None, "y")]


def test_header_in_another_order(target, hyperfill):
    target.create()
    file = target.file("note,value,time\nx,1,2024-03-01 00:00:00+00\ny,2,2024-03-02 00:00:00+00\n")
    hyperfill.run("run", *target.options(file))
    assert target.database.fingerprint("m") == target.copied(file, columns="note, value, time")
    assert stored(target) == [(1.0, "x"), (2.0, "y")]


def test_header_only_loads_nothing(target, hyperfill):
    target.create()
    for number, content in enumerate(("time,value,note\n", "time,value,note", "time,value,note\r\n")):
        hyperfill.run("run", *target.options(target.file(content, f"h{number}.csv"), "--checkpoint", f"h{number}"))
    assert stored(target) == []


def test_empty_file_is_refused_for_its_missing_header(target, hyperfill):
    target.create()
    result = hyperfill.run("run", *target.options(target.file("")), check=DATA)
    assert "f.csv" in result.stderr and "empty" in result.stderr, result
    # Mended, the file loads: the refusal left nothing that stands in the way.
    target.file(HEADER + "".join(GOOD))
    hyperfill.run("run", *target.options(target.tmp_path / "f.csv"))
    assert stored(target) == ROWS_OF_GOOD


def test_empty_file_without_header_loads_nothing(target, hyperfill):
    target.create()
    hyperfill.run("run", *target.options(target.file(""), "--no-header"))
    assert stored(target) == []


def test_standard_input(target, hyperfill):
    target.create()
    hyperfill.run("run", *target.options("-"), stdin=HEADER + "".join(GOOD))
    assert stored(target) == ROWS_OF_GOOD
