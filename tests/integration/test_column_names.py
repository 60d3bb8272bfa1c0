"""Which columns there are: names that need quotes, generated columns, and those that are missing or there twice."""

from harness import DATA, SERVER, USAGE
from harness.target import GOOD, HEADER, ROWS_OF_GOOD, stored


# ---- Names that need quotes

ODD = '"time ""of"" it" timestamptz NOT NULL, "UPPER" double precision, "with space" text, "select" int, "a,b" text'


def test_names_that_need_quotes(target, hyperfill):
    target.create(columns=ODD, time_column='"time ""of"" it"', name='"We ird""T"')
    header = '"time ""of"" it",UPPER,with space,select,"a,b"\n'
    file = target.file(header + "2024-03-01 00:00:00+00,1,x,3,c\n2024-03-02 00:00:00+00,2,,,\n")
    options = target.options(file, "--checkpoint", "odd.checkpoint", table='"We ird""T"', time_column='time "of" it')
    hyperfill.run("run", *options)
    assert target.database.fingerprint('"We ird""T"') == target.copied(file, table='"We ird""T"')
    assert target.database.value('SELECT count(*) FROM "We ird""T"') == 2


def test_names_that_need_quotes_from_postgresql(target, hyperfill):
    target.create(columns=ODD, time_column='"time ""of"" it"', name='"We ird""T"')
    source = target.server.create_database()
    source.execute(
        f"""CREATE TABLE "We ird""T" ({ODD});
        INSERT INTO "We ird""T" SELECT '2024-03-01+00'::timestamptz + n * interval '1 hour', n, 'x', n, NULL FROM generate_series(0, 90) AS n"""
    )
    hyperfill.run(
        "run",
        *target.options(
            source.conninfo,
            "--until",
            "2024-03-05 00:00:00Z",
            "--checkpoint",
            "odd.checkpoint",
            table='"We ird""T"',
            time_column='time "of" it',
        ),
    )
    assert target.database.fingerprint('"We ird""T"') == source.fingerprint('"We ird""T"')


# ---- Generated columns


def test_generated_column_is_left_out(target, hyperfill):
    columns = "time timestamptz NOT NULL, value float8, twice float8 GENERATED ALWAYS AS (value * 2) STORED, note text"
    target.create(columns=columns)
    file = target.file("".join(GOOD))
    hyperfill.run("run", *target.options(file, "--no-header"))
    assert target.database.rows("SELECT value, twice, note FROM m ORDER BY time") == [(v, v * 2, n) for v, n in ROWS_OF_GOOD]


def test_generated_column_of_a_postgresql_source_is_left_out(target, hyperfill):
    columns = "time timestamptz NOT NULL, value float8, twice float8 GENERATED ALWAYS AS (value * 2) STORED, note text"
    target.create(columns=columns)
    source = target.server.create_database()
    source.execute(f"CREATE TABLE m ({columns}); INSERT INTO m SELECT '2024-03-01+00'::timestamptz + n * '1 hour'::interval, n FROM generate_series(0, 90) n")
    hyperfill.run("run", *target.options(source.conninfo, "--until", "2024-03-05 00:00:00Z"))
    assert target.database.fingerprint("m") == source.fingerprint("m")


def test_generated_column_in_the_header_is_refused(target, hyperfill):
    target.create(columns="time timestamptz NOT NULL, value float8, twice float8 GENERATED ALWAYS AS (value * 2) STORED")
    file = target.file("time,value,twice\n2024-03-01 00:00:00+00,1,2\n")
    result = hyperfill.run("run", *target.options(file), check=None)
    assert result.status in (USAGE, SERVER) and "twice" in result.stderr, result
    assert target.database.value("SELECT count(*) FROM m") == 0


# ---- Columns that are missing, or there twice


def test_missing_column(target, hyperfill):
    target.create()
    file = target.file("time,valeu,note\n2024-03-01 00:00:00+00,1,a\n")
    result = hyperfill.run("run", *target.options(file), check=USAGE)
    assert '"valeu"' in result.stderr and "value" in result.stderr and file.name in result.stderr, result
    result = hyperfill.run("run", *target.options(target.file(HEADER, "g.csv"), "--columns", "time,valeu"), check=USAGE)
    assert '"valeu"' in result.stderr, result
    assert target.database.value("SELECT to_regclass('hyperfill.piece')") is None


def test_missing_column_in_the_source(one_of_each, hyperfill):
    target = one_of_each.create()
    source = target.server.create_database()
    source.execute("CREATE TABLE m (time timestamptz, note text); INSERT INTO m VALUES ('2024-03-01+00', 'a')")
    options = target.options(source.conninfo, "--until", "2024-03-05 00:00:00Z")
    result = hyperfill.run("run", *options, check=None)
    assert result.status in (USAGE, SERVER) and "value" in result.stderr, result
    assert stored(target) == []
    hyperfill.run("run", *options, "--columns", "time,note")
    assert stored(target) == [(None, "a")]


def test_missing_time_column_in_the_header(target, hyperfill):
    target.create()
    result = hyperfill.run("run", *target.options(target.file("value,note\n1,a\n")), check=None)
    assert result.status in (USAGE, DATA) and '"time"' in result.stderr, result
    assert stored(target) == []


def test_duplicate_column_in_the_header(one_of_each, hyperfill):
    target = one_of_each.create()
    result = hyperfill.run("run", *target.options(target.file("time,value,value\n2024-03-01 00:00:00+00,1,2\n")), check=None)
    assert result.status in (USAGE, DATA) and "value" in result.stderr, result
    assert stored(target) == []
