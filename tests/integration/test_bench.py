"""hyperfill bench: measures into a scratch copy, and leaves nothing behind, however it ends."""

import csv
import os
import re
import shutil
import signal
import subprocess
import xml.etree.ElementTree

import pytest

from harness import cpu_rows, create_cpu, fill_cpu, wait_until, write_csv

UNTIL = "2024-04-01T00:00:00Z"
QUICK = ("--limit-time", "1", "--limit-rows", "10000", "--bench-jobs", "1,2", "--memory", "16MB")
SCHEMAS = "select count(*) from pg_namespace where nspname like 'hyperfill%'"
# What the database has: relations with their sizes and statistics of writes, sequences' values, functions, chunks.
EVERYTHING = """
    select c.oid::regclass::text, c.relkind, pg_relation_size(c.oid), c.relfilenode, c.xmin::text from pg_class c
    join pg_namespace n on n.oid = c.relnamespace where nspname = 'public' or relname ~ '^_hyper_' order by 1
"""


@pytest.fixture(params=["pg15 plain", "pg15 partitioned", "ts17 hypertable", "ts18 hypertable"])
def target(request, servers):
    kind, layout = request.param.split()
    database = servers[kind].create_database()
    create_cpu(database, hypertable={"plain": False, "partitioned": "partitioned", "hypertable": True}[layout])
    fill_cpu(database, 1000, hosts=20)
    return database


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cpu.csv"
    write_csv(path, cpu_rows(hosts=20, steps=1500))
    return path


def bench(hyperfill, source, target, *more, **how):
    return hyperfill.run("bench", "--source", str(source), "--target", target.conninfo, "--table", "cpu", "--time-column", "time",
                         *QUICK, *more, **how)


def start_bench(hyperfill, source, target, *more):
    return hyperfill.start("bench", "--source", str(source), "--target", target.conninfo, "--table", "cpu", "--time-column", "time",
                           "--bench-jobs", "1", "--limit-time", "60", *more)


def settings(result):
    """What it recommends, as arguments."""
    return re.search(r"^settings  (--jobs \d+ --readers \d+ --memory \d+MB)$", result.stdout, re.M).group(1).split()


def test_csv(hyperfill, target, file):
    before = target.rows(EVERYTHING)
    result = bench(hyperfill, file, target, "--output-dir", "measured")
    assert target.rows(EVERYTHING) == before
    assert target.value(SCHEMAS) == 0
    assert re.search(r"^limit     (the source|the target|this machine's processors)", result.stdout, re.M)
    lines = list(csv.DictReader((hyperfill.folder / "measured" / "bench.csv").open()))
    assert [(line["jobs"], line["measured"]) for line in lines] == [(jobs, kind) for jobs in "12" for kind in ("read", "write", "both")]
    for line in lines:
        assert float(line["rows_per_second"]) > 0 and float(line["bytes_per_second"]) > 0 and float(line["seconds"]) > 0
    if shutil.which("gnuplot"):
        svg = xml.etree.ElementTree.parse(hyperfill.folder / "measured" / "bench.svg").getroot()
        assert svg.tag.endswith("svg")
    # What it says can be pasted.
    hyperfill.run("run", "--source", str(file), "--target", target.conninfo, "--table", "cpu", "--time-column", "time", "--overlap",
                  "keep", *settings(result))


def test_postgres(hyperfill, target, servers):
    source = servers["pg15"].create_database()
    create_cpu(source, hypertable=False)
    fill_cpu(source, 30000, hosts=20)
    source.execute("create index on cpu (time)")
    fingerprint, before = target.fingerprint("cpu"), target.rows(EVERYTHING)
    result = bench(hyperfill, source.conninfo, target, "--until", UNTIL)
    assert settings(result)
    assert target.rows(EVERYTHING) == before
    assert target.fingerprint("cpu") == fingerprint
    assert target.value(SCHEMAS) == 0


def test_command(hyperfill, target, file):
    """A command, read front to back or asked for each range, is run for each measurement."""
    bench(hyperfill, f"exec:cat {file}", target)
    bench(hyperfill, f"exec:cat {file} # {{from}} {{until}}", target, "--from", "2024-03-01T00:00Z", "--until", "2024-03-01T06:00Z",
          "--range-interval", "6h", "--overlap", "keep")
    assert target.value(SCHEMAS) == 0


def rates(result):
    """Rows a second: read alone, write alone, both; by writers."""
    found = re.findall(r"^ +(\d+) +\d+ +([\d,]+) +([\d,]+) +([\d,]+) ", result.stdout, re.M)
    return {int(jobs): [int(number.replace(",", "")) for number in numbers] for jobs, *numbers in found}


def test_slow_source(hyperfill, servers, file, tmp_path):
    """Where the first rows come later than a measurement may take, they are waited for; and the source is the limit."""
    database = servers["pg15"].create_database()
    create_cpu(database, hypertable=False)
    slow = tmp_path / "slow.py"
    slow.write_text(f"""import itertools, sys, time
        lines = open({str(file)!r}).readlines()
        sys.stdout.write(lines[0])
        sys.stdout.flush()
        for at in itertools.count(1, 3000):
            time.sleep(1.2)
            sys.stdout.writelines(lines[at : at + 3000])
            sys.stdout.flush()
            if at + 3000 > len(lines): break
        """.replace("\n        ", "\n"))
    result = bench(hyperfill, f"exec:python3 {slow}", database, "--range-interval", "1h")
    assert all(number > 0 for numbers in rates(result).values() for number in numbers), result
    assert "limit     the source" in result.stdout or "processors" in result.stdout


def test_compressed(hyperfill, target, file):
    """Of a compressed file no checksum is looked at before: its rows are dropped in any case."""
    subprocess.run(["zstd", "-q", file], check=True)
    result = bench(hyperfill, f"{file}.zst", target)
    assert "verifying" not in result.stderr
    assert all(number > 0 for numbers in rates(result).values() for number in numbers), result


def test_memory(hyperfill, servers, tmp_path):
    """The rows that are kept for writing alone count, too."""
    if "sanitize" in str(hyperfill.binary):
        pytest.skip("a sanitizer's own memory is not the program's")
    database = servers["pg15"].create_database()
    create_cpu(database, hypertable=False)
    path = tmp_path / "cpu.csv"
    with open(path, "wb") as file:
        subprocess.run([hyperfill.binary.parent / "hyperfill-generate", "--rows", "800000"], stdout=file, check=True)
    assert path.stat().st_size > 100 << 20
    process = hyperfill.start("bench", "--source", str(path), "--target", database.conninfo, "--table", "cpu", "--time-column", "time",
                              "--limit-time", "1", "--bench-jobs", "2", "--memory", "48MB")
    assert process.peak_kilobytes() < (48 + 24) << 10
    process.wait(check=0)


def test_several_files(hyperfill, target, tmp_path):
    """Files that share ranges, with columns in another order and one that is left out."""
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(3):
        write_csv(folder / f"{number}.csv", cpu_rows(hosts=20, steps=300, seed=number))
    head, *rest = (folder / "1.csv").read_text().splitlines()
    names = head.split(",")
    (folder / "1.csv").write_text("\n".join(",".join([f[1], f[0], *f[2:]]) for f in [names, *(line.split(",") for line in rest)]) + "\n")
    bench(hyperfill, folder, target)
    assert target.value(SCHEMAS) == 0


def test_scratch_is_like_the_table(hyperfill, server, tmp_path):
    """Columns, keys, checks, indexes, dimensions; but a sequence of its own, and no trigger or foreign key at work."""
    database = server.create_database()
    database.execute("""
        create type mood as enum ('sad', 'ok');
        create table device (id int primary key);
        insert into device select generate_series(0, 9);
        create table m (time timestamptz not null, device int not null references device, v float8 check (v >= 0), m mood default 'ok',
            n bigserial, d int generated always as (device * 2) stored, i int generated by default as identity);
        create unique index on m (time, device) include (v);
        create index on m (v) where v > 10;
        create table seen (n bigint);
        create function see() returns trigger language plpgsql as $$ begin insert into seen values (new.n); return new; end $$""")
    if server.has_timescaledb:
        database.rows("select create_hypertable('m', 'time', 'device', 4, chunk_time_interval => interval '1 hour')")
    database.execute("create trigger t after insert on m for each row execute function see()")
    path = tmp_path / "m.csv"
    path.write_text("time,device,v\n" + "".join(f"2024-01-01T{h:02}:{m:02}:00Z,{d},{m}\n" for h in range(20) for m in range(60)
                                                 for d in range(10)))
    process = hyperfill.start("bench", "--source", str(path), "--target", database.conninfo, "--table", "m", "--time-column", "time",
                              "--bench-jobs", "1", "--limit-time", "60", "--memory", "16MB")
    scratch = wait_until(lambda: database.value("select max(c.oid::regclass::text) from pg_class c join pg_namespace n on n.oid = "
                                                "c.relnamespace where n.nspname ~ '^hyperfill_bench' and relname = 'copy'"))
    wait_until(lambda: not process.running or database.value(f"select exists (select from {scratch})"))
    indexes = """select replace(regexp_replace(pg_get_indexdef(indexrelid), 'INDEX .* ON [^ ]+', 'INDEX ON'), '"', '') from pg_index
        where indrelid = %s::regclass order by 1"""
    assert database.rows(indexes, [scratch]) == database.rows(indexes, ["m"])
    columns = """select attname, format_type(atttypid, atttypmod), attnotnull, attgenerated, attidentity from pg_attribute where
        attrelid = %s::regclass and attnum > 0 order by attnum"""
    assert database.rows(columns, [scratch]) == database.rows(columns, ["m"])
    checks = "select pg_get_constraintdef(oid) from pg_constraint where conrelid = %s::regclass and contype in ('c', 'p', 'u') order by 1"
    assert database.rows(checks, [scratch]) == database.rows(checks, ["m"])
    if server.has_timescaledb:
        dimensions = """select column_name, interval_length, num_slices, partitioning_func from _timescaledb_catalog.dimension d join
            _timescaledb_catalog.hypertable h on h.id = d.hypertable_id where format('%%I.%%I', schema_name, table_name)::regclass =
            %s::regclass order by d.id"""
        assert database.rows(dimensions, [scratch]) == database.rows(dimensions, ["m"])
    process.signal(signal.SIGINT)
    assert process.wait().status == 7
    assert database.value(SCHEMAS) == 0
    assert database.value("select count(*) from seen") == 0
    assert database.value("select count(*) from m") == 0
    assert database.value("select is_called from m_n_seq") is False
    assert database.value("select max(xmax::text::bigint) from device") == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal(hyperfill, target, file, number):
    process = start_bench(hyperfill, file, target)
    wait_until(lambda: target.value(SCHEMAS) == 1)
    wait_until(lambda: "write alone" in process.stderr or target.value("select count(*) from pg_stat_activity where query like 'COPY%'"))
    process.signal(number)
    result = process.wait()
    assert result.status == 7
    assert "removed" in result.stderr
    assert target.value(SCHEMAS) == 0


@pytest.mark.parametrize("remover", ["bench", "clean"])
def test_killed(hyperfill, target, file, remover, chance):
    """What a killed bench leaves, the next bench or clean removes; not what one that runs still needs."""
    before = target.rows(EVERYTHING)
    process = start_bench(hyperfill, file, target)
    wait_until(lambda: target.value(SCHEMAS) == 1)
    schema = target.value("select nspname from pg_namespace where nspname like 'hyperfill%'")
    clean = lambda: hyperfill.run("clean", "--target", target.conninfo, "--table", "cpu")  # noqa: E731
    clean()
    assert target.value("select count(*) from pg_namespace where nspname = %s", [schema]) == 1
    wait_until(lambda: chance.random() < 0.1, what="the moment")
    process.kill()
    wait_until(lambda: target.value("select count(*) from pg_stat_activity where datname = current_database() and application_name "
                                    "not like 'Timescale%' and backend_type = 'client backend' and pid <> pg_backend_pid()") == 0)
    assert target.value(SCHEMAS) == 1
    if remover == "clean":
        assert "removed 1 scratch copy" in clean().stdout
    else:
        bench(hyperfill, file, target)
    assert target.value(SCHEMAS) == 0
    assert target.rows(EVERYTHING) == before


def test_failure(hyperfill, target, tmp_path):
    """Rows that the table cannot take end it, and the scratch is gone then, too."""
    path = tmp_path / "bad.csv"
    write_csv(path, cpu_rows(hosts=2, steps=200))
    with path.open("a") as file:
        file.write("2024-01-01T00:00:00Z,not a number" + "," * 11 + "\n")
    assert "not a number" in bench(hyperfill, path, target, check=3).stderr
    assert target.value(SCHEMAS) == 0


def test_privileges(hyperfill, servers, file):
    """It needs to make a schema, and says so."""
    database = servers["ts17"].create_database()
    create_cpu(database)
    role = f"nobody_{os.getpid()}"
    database.execute(f"create role {role} login; grant select, insert on cpu to {role}")
    try:
        result = hyperfill.run("bench", "--source", str(file), "--target", f"{database.conninfo} user={role}", "--table", "cpu", *QUICK,
                               check=4)
        assert "GRANT CREATE ON DATABASE" in result.stderr
        database.execute(f"grant create on database {database.name} to {role}")
        hyperfill.run("bench", "--source", str(file), "--target", f"{database.conninfo} user={role}", "--table", "cpu", *QUICK)
        assert database.value(SCHEMAS) == 0
    finally:
        database.execute(f"drop owned by {role}; drop role {role}")


def test_published_database(hyperfill, servers, file):
    """A subscriber of all tables would fail at the first row of the scratch copy."""
    database = servers["pg15"].create_database()
    create_cpu(database, hypertable=False)
    database.execute("create publication everything for all tables")
    assert "everything" in bench(hyperfill, file, database, check=2).stderr
    assert database.value(SCHEMAS) == 0


def test_without_gnuplot(hyperfill, servers, file, tmp_path):
    database = servers["pg15"].create_database()
    create_cpu(database, hypertable=False)
    (tmp_path / "empty").mkdir()
    result = bench(hyperfill, file, database, "--output-dir", "measured", env={"PATH": str(tmp_path / "empty")})
    assert "gnuplot is not installed" in result.stderr
    assert sorted(os.listdir(hyperfill.folder / "measured")) == ["bench.csv"]


def test_refused(hyperfill, servers, file, tmp_path):
    database = servers["pg15"].create_database()
    create_cpu(database, hypertable=False)
    assert "several times" in bench(hyperfill, "-", database, check=2, stdin=file.read_text()).stderr
    (tmp_path / "occupied").write_text("")
    bench(hyperfill, file, database, "--output-dir", "occupied", check=6)
    bench(hyperfill, tmp_path / "missing.csv", database, check=None)
    empty = tmp_path / "empty.csv"
    empty.write_text(file.read_text().splitlines()[0] + "\n")
    assert "no rows" in bench(hyperfill, empty, database, check=2).stderr
    assert database.value(SCHEMAS) == 0
