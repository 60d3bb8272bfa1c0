"""How times are read, with the server as the judge: what is read here has the value that the server gives it."""

import datetime
import os
import subprocess

import pytest

READER = os.path.join(os.path.dirname(os.environ.get("HYPERFILL_BINARY", "build/hyperfill")), "hyperfill-read-times")
UTC = datetime.timezone.utc

DATES = ["2024-02-29", "20240229", "2024/02/29", "2024-2-9", "2024/2/9", "20240230", "2024-13-01", "2023-02-29", "0001-01-01", "1969-12-31",
         "2024.02.29", "202402", "2024-060", "2024060", "24-02-29", "29-02-2024", "02/29/2024", "12024-02-29", "20240229 BC", "20240229T"]  # fmt: skip
CLOCKS = ["", "12:34", "12:34:56", "1:02:03", "1:2:3", "12:34:56.5", "12:34:56.123456", "12:34:56.1234565", "12:34:56.123456500",
          "12:34:56.999999999", "12:34:56.", "123456", "1234", "12", "123456.789", "24:00:00", "25:00:00", "23:59:60", "12:34:56,5"]  # fmt: skip
SEPARATORS = ["", " ", "T", "t", "  ", "-", "  T"]
ZONES = ["", "Z", "z", " Z", "+00", "+01:30", "-0530", "-05:30", "-05:30:15", " +02", " UTC", "UTC", " utc", " GMT", "GMT", "+24:00", " +1", " CET", " UTC+1"]


def read(lines):
    """What our reader makes of lines (type, form, zone, text): texts of values, empty where it reads none."""
    if not os.path.exists(READER):
        pytest.skip(f"{READER} is not built")
    said = subprocess.run([READER], input="".join("\t".join(line) + "\n" for line in lines), capture_output=True, text=True, check=True)
    return said.stdout.split("\n")[:-1]


def judged(database, type_name, texts):
    """The same from the server, in a session whose zone is UTC."""
    return [
        value
        for (value,) in database.rows(f"SELECT pg_temp.as_{type_name}(t) FROM unnest(%s::text[]) WITH ORDINALITY x(t, i) ORDER BY i", [texts])
    ]


@pytest.fixture
def database(server):
    database = server.create_database()
    database.execute("SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'")
    for type_name in ("timestamptz", "timestamp", "date"):
        database.execute(
            f"CREATE FUNCTION pg_temp.as_{type_name}(t text) RETURNS text LANGUAGE plpgsql AS $$"
            f" BEGIN RETURN t::{type_name}::text; EXCEPTION WHEN data_exception THEN RETURN ''; END $$"
        )
    return database


@pytest.mark.parametrize("type_name", ["timestamptz", "timestamp", "date"])
def test_iso_spellings(database, type_name):
    """Of every combination: we read it as the server does, or not at all. Usual ones are read."""
    texts = [date + separator + clock + zone for date in DATES for separator in SEPARATORS for clock in CLOCKS for zone in ZONES]
    ours = read([(type_name, "iso", "0", text) for text in texts])
    server = judged(database, type_name, texts)
    wrong = [(text, mine, theirs) for text, mine, theirs in zip(texts, ours, server) if mine and mine != theirs]
    assert not wrong, "\n".join(map(str, wrong[:: max(1, len(wrong) // 40)]))
    known = dict(zip(texts, ours))
    for text in ("20240229T123456Z", "20240229T1234Z", "2024/02/29 12:34:56", "2024-2-9 1:02:03", "2024-02-29 12:34:56 UTC",
                 "2024-02-29T12:34:56.999999999Z", "20240229", "20240229T123456.789+01:30", "2024-02-29 12:34:56.1234565"):  # fmt: skip
        assert known[text], text


@pytest.mark.parametrize("type_name", ["timestamptz", "timestamp", "date"])
@pytest.mark.parametrize("zone", [0, 7200, -19800])
def test_epochs(database, type_name, zone, chance):
    """Epochs are moments: in columns without a zone they show the clock of --timezone, else of UTC."""
    numbers = [0, 1, -1, 1700000000, -1700000000, 253402300800, 86399, -86400] + [chance.randrange(-(10**10), 10**11) for _ in range(300)]
    lines, expected = [], []
    for number in numbers:
        micros = chance.randrange(1000000)
        for form, text in (
            ("epoch", f"{number}.{micros:06}" if number >= 0 else str(number)),
            ("epoch", f"{number}"),
            ("epoch-ms", f"{number * 1000 + (micros // 1000 if number >= 0 else 0)}"),
            ("epoch-us", f"{number * 1000000 + micros}"),
            ("epoch-ns", f"{(number * 1000000 + micros) * 1000 + 999}"),
        ):
            lines.append((type_name, form, str(zone) if zone else "", text))
            if "." in text or form in ("epoch-us", "epoch-ns"):
                exact = number * 1000000 + micros
            else:
                exact = int(text) * (1000000 if form == "epoch" else 1000)
            expected.append(exact)
    sign = "+" if zone >= 0 else "-"
    named = f"{sign}{abs(zone) // 3600:02}:{abs(zone) // 60 % 60:02}"
    converted = {
        "timestamptz": "m",
        "timestamp": "m AT TIME ZONE interval '{0}'",
        "date": "(m AT TIME ZONE interval '{0}')::date",
    }[type_name].format(named)
    server = [
        value
        for (value,) in database.rows(
            f"SELECT ({converted})::text FROM (SELECT i, timestamptz '1970-01-01Z' + make_interval(days => (e / 86400000000)::int,"
            " secs => 0) + (e %% 86400000000) * interval '1 microsecond' AS m"
            " FROM unnest(%s::bigint[]) WITH ORDINALITY x(e, i)) y ORDER BY i",
            [expected],
        )
    ]
    # Nanoseconds are 64 bits wherever they come from: to 2262.
    wide = [form == "epoch-ns" and abs(int(text)) >= 2**63 for _, form, _, text in lines]
    assert [x for x, is_wide in zip(zip(lines, read(lines), server), wide) if x[1] != ("" if is_wide else x[2])] == []


def test_epochs_that_are_none():
    texts = ["", "x", "1e9", "1.", ".5", "1 2", "0x10", "--1", "+", "99999999999999999999", "1,5", "١"]
    assert read([("timestamptz", form, "", text) for form in ("epoch", "epoch-ms", "epoch-us", "epoch-ns") for text in texts]) == [""] * 48
    assert read([("timestamptz", form, "", "1.5") for form in ("epoch-us", "epoch-ns")]) == ["", ""]


PATTERNS = ["%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S.%f", "%m/%d/%y %I:%M:%S %p", "%d %b %Y %H:%M", "%A, %d %B %Y %T%z", "%Y%m%d%H%M%S",
            "%a %b %d %H:%M:%S %Y", "%d/%b/%Y:%H:%M:%S %z", "%FT%T.%fZ", "[%F]"]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns(pattern, chance):
    """Python's strftime writes, we read."""
    lines, expected = [], []
    plain = pattern.replace("%F", "%Y-%m-%d").replace("%T", "%H:%M:%S")
    for _ in range(500):
        zone = UTC if "%z" not in pattern else datetime.timezone(datetime.timedelta(minutes=chance.randrange(-15 * 60 + 1, 15 * 60)))
        moment = datetime.datetime(chance.randrange(1970, 2068), 1, 1, tzinfo=zone) + datetime.timedelta(
            seconds=chance.randrange(365 * 86400), microseconds=chance.randrange(1000000)
        )
        text = moment.strftime(plain)
        back = datetime.datetime.strptime(text, plain)
        back = (back if back.tzinfo else back.replace(tzinfo=UTC)).astimezone(UTC)
        lines.append(("timestamptz", pattern, "0", text))
        fraction = f".{back.microsecond:06}".rstrip("0") if back.microsecond else ""
        expected.append(f"{back:%Y-%m-%d %H:%M:%S}{fraction}+00")
    assert [x for x in zip(lines, read(lines), expected) if x[1] != x[2]] == []


def test_patterns_that_do_not_match():
    for pattern, text in (
        ("%Y-%m-%d", "2024-02-30"), ("%Y-%m-%d", "2024-02-03 "" x"), ("%Y-%m-%d", "2024-02-03T"), ("%Y-%m-%d", "24-02-03"),
        ("%d %b %Y", "3 Foo 2024"), ("%F %T", "2024-01-01"), ("%F %T", "2024-01-0112:00:00"), ("%F %I:%M %p", "2024-01-01 13:00 PM"),
        ("%F %T.%f", "2024-01-01 00:00:00."), ("%F %H:%M", "2024-01-01 25:00"),
    ):  # fmt: skip
        assert read([("timestamptz", pattern, "0", text)]) == [""], (pattern, text)
    assert read([("timestamptz", "%F", "", "2024-01-01")]) == [""]  # no zone
