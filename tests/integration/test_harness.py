"""The harness itself: what other tests rely on without looking."""

import pathlib
import gc
import hashlib
import os
import select
import signal
import subprocess
import sys

import psycopg2
import psycopg2.extras
import pytest

import harness
from harness import CPU_COLUMNS, GSSENC_REQUEST, SSL_REQUEST
from harness import cpu_rows, create_cpu, fill_cpu, wait_until, write_csv


def psql(conninfo, *commands):
    line = ["psql", "-XAt", "-v", "ON_ERROR_STOP=1", "-d", conninfo]
    for command in commands:
        line += ["-c", command]
    return subprocess.run(line, check=True, capture_output=True, text=True)


COPY_CPU = "COPY cpu FROM STDIN (FORMAT csv, HEADER)"


# ---- Servers and databases


def test_server_has_what_its_kind_says(server, database):
    major = database.value("SELECT current_setting('server_version_num')::int / 10000")
    assert server.kind.endswith(str(major))
    extension = database.rows("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
    assert bool(extension) == server.has_timescaledb
    assert database.value("SELECT extract(hour FROM timestamptz '2024-07-01 12:00+00' AT TIME ZONE 'Europe/Berlin')") == 14
    assert database.value("SHOW listen_addresses") == ""


def test_compiling_of_queries_finds_its_libraries(database):
    # LLVM is loaded by the first query that is dear enough, which in a test would look like anything but a missing library.
    database.execute("SET jit_above_cost = 0; SET jit_inline_above_cost = 0; SET jit_optimize_above_cost = 0")
    assert database.value("SELECT sum(n::float8 * 2) FROM generate_series(1, 1000) AS n") == 1001000


def test_databases_are_apart_and_dropped(server):
    first, second = server.create_database(), server.create_database()
    first.execute("CREATE TABLE here ()")
    assert second.value("SELECT to_regclass('here')") is None
    holder = first.connect()
    server.drop_databases()
    with pytest.raises(psycopg2.OperationalError):
        first.value("SELECT 1")
    holder.close()


@pytest.mark.parametrize("kind", harness.KINDS)
def test_kill9_and_start_keep_what_was_committed(servers, kind):
    server = servers.another(kind, work_mem="7MB")
    database = server.create_database()
    database.execute("CREATE TABLE kept (n int); INSERT INTO kept SELECT generate_series(1, 1000)")
    uncommitted = database.connect()
    uncommitted.cursor().execute("INSERT INTO kept VALUES (0)")
    pids = server.pids()
    server.kill9()
    assert not server.running
    server.start()
    assert not set(pids) & set(server.pids())
    assert database.rows("SELECT count(*), sum(n) FROM kept") == [(1000, 500500)]
    assert database.value("SHOW work_mem") == "7MB"
    uncommitted.close()


def test_start_ends_backends_that_lost_their_postmaster(servers):
    server = servers.another("pg15")
    database = server.create_database()
    busy = psycopg2.connect(database.conninfo, async_=True)
    psycopg2.extras.wait_select(busy)
    # A backend that computes does not notice that its postmaster has died.
    busy.cursor().execute("DO $$ BEGIN LOOP NULL; END LOOP; END $$")
    backend = busy.info.backend_pid
    is_active = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
    wait_until(lambda: database.rows(is_active, [backend]))
    postmaster = server.pids()[0]
    os.kill(postmaster, signal.SIGKILL)
    wait_until(lambda: postmaster not in server.pids())
    assert backend in server.pids()
    server.start()
    assert backend not in server.pids()
    assert database.value("SELECT 1") == 1
    busy.close()


@pytest.mark.parametrize("kind", harness.KINDS)
def test_standby_follows_and_refuses_writes(servers, kind):
    server = servers.another(kind)
    database = server.create_database()
    standby = server.standby()
    database.execute("CREATE TABLE streamed (n int); INSERT INTO streamed VALUES (1), (2)")
    standby.catch_up(server)
    copy = harness.Database(standby, database.name)
    assert copy.fingerprint("streamed") == database.fingerprint("streamed")
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        copy.execute("INSERT INTO streamed VALUES (3)")
    copy.close()


def test_server_script_is_idempotent(servers, tmp_path):
    server = servers.another("pg15")
    pids = server.pids()
    conninfo = server.conninfo()
    server.start()
    assert server.pids()[0] == pids[0]
    server.stop()
    server.stop()
    assert not server.running
    server.start()
    assert server.conninfo() == conninfo
    subprocess.run([harness.SERVER_SCRIPT, "stop", tmp_path / "nothing here"], check=True)


def test_psql_takes_the_conninfo_of_a_folder_with_odd_characters(servers, tmp_path):
    if "pg15" not in harness.KINDS:
        pytest.skip("pg15 is not in HYPERFILL_TEST_KINDS")
    with_long_path = harness.temporary_folder("hyperfill-test-") / ("it's a \\ folder " + "x" * 80)
    server = harness.Server("pg15", with_long_path)
    try:
        assert psql(server.conninfo(), "SELECT 7").stdout == "7\n"
    finally:
        server.remove()
        with_long_path.parent.rmdir()


# ---- Data


def test_fingerprint_tells_bags_of_rows_apart(database):
    database.execute("CREATE TABLE a (n int, t text); INSERT INTO a VALUES (1, 'x'), (1, 'x'), (2, NULL)")
    database.execute("CREATE TABLE b (n int, t text); INSERT INTO b VALUES (2, NULL), (1, 'x'), (1, 'x')")
    assert database.fingerprint("a") == database.fingerprint("b")
    database.execute("DELETE FROM b WHERE n = 2; INSERT INTO b VALUES (2, '')")
    assert database.fingerprint("a") != database.fingerprint("b")
    assert database.fingerprint("a", columns=["n"]) == database.fingerprint("b", columns=["n"])
    assert database.fingerprint("a", where="n = 1") == database.fingerprint("b", where="n = 1")
    # A sum of hashes must see a row that is there twice instead of another.
    database.execute("DELETE FROM b; INSERT INTO b VALUES (1, 'x'), (2, NULL), (2, NULL)")
    assert database.fingerprint("a") != database.fingerprint("b")
    database.execute("DELETE FROM b")
    assert database.fingerprint("b") == (0, "0")


def test_filled_table_is_the_same_everywhere(server):
    tables = [server.create_database() for _ in range(3)]
    create_cpu(tables[0], hypertable=server.has_timescaledb)
    create_cpu(tables[1], hypertable="partitioned")
    create_cpu(tables[2], hypertable=False)
    for table in tables:
        fill_cpu(table, rows=20_000)
    first = tables[0].fingerprint("cpu")
    assert first[0] == 20_000
    assert [table.fingerprint("cpu") for table in tables] == [first] * 3
    if server.has_timescaledb:
        assert tables[0].value("SELECT count(*) FROM timescaledb_information.chunks") == 1
    assert tables[1].value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'cpu'::regclass") == 8


def test_csv_is_what_the_server_reads(database, tmp_path):
    create_cpu(database, hypertable=False)
    rows = list(cpu_rows(hosts=5, steps=20, seed=1))
    assert rows == list(cpu_rows(hosts=5, steps=20, seed=1))
    odd = [(rows[0][0], None, text, *rows[0][3:]) for text in (None, "", "\\.", 'say "x",\nor\r\nnot', "ü")]
    ordered = write_csv(tmp_path / "ordered.csv", rows + odd)
    shuffled = write_csv(tmp_path / "shuffled.csv", rows + odd, shuffle=True)
    assert ordered.read_bytes() != shuffled.read_bytes()
    assert database.copy_in(COPY_CPU, ordered) == len(rows + odd)
    stored = database.rows(f"SELECT {', '.join(CPU_COLUMNS)} FROM cpu")
    assert sorted(map(repr, stored)) == sorted(map(repr, rows + odd))
    expected = database.fingerprint("cpu")
    database.execute("TRUNCATE cpu")
    database.copy_in(COPY_CPU, shuffled)
    assert database.fingerprint("cpu") == expected


# ---- The proxy


def test_proxy_passes_everything_both_ways(server, database, proxy, tmp_path):
    create_cpu(database, hypertable=False)
    path = write_csv(tmp_path / "cpu.csv", cpu_rows(hosts=10, steps=1000))
    database.copy_in(COPY_CPU, path)
    expected = database.fingerprint("cpu")
    database.copy_out("COPY cpu TO STDOUT (FORMAT csv)", tmp_path / "direct.csv")
    database.execute("TRUNCATE cpu")
    line = proxy(server)
    done = psql(
        line.conninfo(database),
        f"\\copy cpu FROM '{path}' (FORMAT csv, HEADER)",
        # Far more than what passes at once, in messages of all sizes.
        "SELECT md5(string_agg(x, '')) FROM (SELECT repeat('x', n) FROM generate_series(1, 3000) AS n) AS r (x)",
        "SELECT repeat('x', n) FROM generate_series(1, 3000) AS n",
        f"\\copy cpu TO '{tmp_path / 'proxied.csv'}' (FORMAT csv)",
    )
    md5 = hashlib.md5(b"x" * (3000 * 3001 // 2)).hexdigest()
    assert done.stdout == "\n".join(["COPY 10000", md5, *("x" * n for n in range(1, 3001)), "COPY 10000"]) + "\n"
    assert database.fingerprint("cpu") == expected
    assert (tmp_path / "proxied.csv").read_bytes() == (tmp_path / "direct.csv").read_bytes()
    assert (line.connection_count, line.cut_count) == (1, 0)


def test_proxy_loses_the_answer_to_a_commit_that_happened(server, database, proxy):
    line = proxy(server)
    database.execute("CREATE TABLE t (n int)")
    line.lose_commit_answer(2)
    behind = psycopg2.connect(line.conninfo(database))
    behind.cursor().execute("INSERT INTO t VALUES (1)")
    behind.commit()
    behind.cursor().execute("INSERT INTO t VALUES (2)")
    with pytest.raises(psycopg2.OperationalError):
        behind.commit()
    assert database.rows("SELECT n FROM t ORDER BY n") == [(1,), (2,)]
    assert (line.lost_answer_count, line.cut_count) == (1, 1)
    # Only that one is lost.
    again = psycopg2.connect(line.conninfo(database))
    again.cursor().execute("INSERT INTO t VALUES (3)")
    again.commit()
    again.close()
    assert database.value("SELECT count(*) FROM t") == 3


def test_proxy_cuts_what_is_connected(server, database, proxy):
    line = proxy(server)
    connections = [psycopg2.connect(line.conninfo(database)) for _ in range(3)]
    assert line.cut_all() == 3
    for connection in connections:
        with pytest.raises(psycopg2.OperationalError):
            connection.cursor().execute("SELECT 1")
    assert line.cut_all() == 0
    psycopg2.connect(line.conninfo(database)).close()
    assert (line.connection_count, line.cut_count) == (4, 3)


def test_proxy_keeps_nothing_of_ended_connections(database, proxy, server):
    line = proxy(server)
    psycopg2.connect(line.conninfo(database)).close()
    wait_until(lambda: not line._open_connections())
    # What others left to be collected goes now, not between the counts.
    gc.collect()
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        psycopg2.connect(line.conninfo(database)).close()
    wait_until(lambda: not line._open_connections())
    assert len(os.listdir("/proc/self/fd")) <= descriptors


def test_proxy_cuts_after_random_bytes_and_then_no_more(server, database, proxy):
    line = proxy(server)
    line.cut_after(20_000, times=3, bytes_min=2_000)
    failures = 0
    for _ in range(5):
        try:
            behind = psycopg2.connect(line.conninfo(database))
            behind.cursor().execute("SELECT repeat('x', 1000) FROM generate_series(1, 100)")
            behind.close()
        except psycopg2.OperationalError:
            failures += 1
    assert failures == line.cut_count == 3


def test_proxy_pauses_and_resumes(server, database, proxy):
    line = proxy(server)
    behind = psycopg2.connect(line.conninfo(database), async_=True)
    psycopg2.extras.wait_select(behind)
    line.pause()
    cursor = behind.cursor()
    cursor.execute("SELECT 5")
    assert behind.poll() == psycopg2.extensions.POLL_READ
    assert select.select([behind], [], [], 0.2)[0] == []
    line.resume()
    psycopg2.extras.wait_select(behind)
    assert cursor.fetchone() == (5,)
    behind.close()


def test_proxy_survives_its_server(servers, proxy):
    server = servers.another("pg15")
    line = proxy(server)
    database = server.create_database()
    behind = psycopg2.connect(line.conninfo(database))
    server.kill9()
    with pytest.raises(psycopg2.OperationalError):
        behind.cursor().execute("SELECT 1")
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(line.conninfo(database))
    server.start()
    psycopg2.connect(line.conninfo(database)).close()


COMMIT_ANSWER = b"C\x00\x00\x00\x0bCOMMIT\x00"
READY = b"Z\x00\x00\x00\x05I"


@pytest.mark.parametrize("piece", range(1, 40))
def test_server_stream_in_pieces_of_every_size(piece):
    # A row that holds the very bytes of the answer is not the answer.
    row = b"D" + (4 + len(COMMIT_ANSWER)).to_bytes(4, "big") + COMMIT_ANSWER
    other = b"C\x00\x00\x00\x0dROLLBACK\x00"
    kept = row + other + COMMIT_ANSWER + READY + row
    answers = iter([False, True])
    stream = harness.ServerStream(lambda: next(answers))
    everything = kept + COMMIT_ANSWER + READY
    passed, is_lost = b"", False
    for at in range(0, len(everything), piece):
        some, is_lost = stream.feed(everything[at : at + piece])
        passed += some
        if is_lost:
            break
    assert is_lost
    assert passed == kept


@pytest.mark.parametrize("piece", range(1, 20))
def test_client_start_finds_requests_for_encryption(piece):
    def packet(code, rest=b""):
        return (8 + len(rest)).to_bytes(4, "big") + code.to_bytes(4, "big") + rest

    stream = harness.ServerStream(lambda: True)
    start = harness.ClientStart(stream)
    said = packet(GSSENC_REQUEST) + packet(SSL_REQUEST) + packet(196608, b"user\0x\0\0") + packet(SSL_REQUEST)
    for at in range(0, len(said), piece):
        start.feed(said[at : at + piece])
    assert stream.single_bytes == 2
    assert stream.feed(b"NN" + READY + COMMIT_ANSWER) == (b"NN" + READY, True)


# ---- The runner


@pytest.fixture
def python(monkeypatch, tmp_path):
    """A runner whose program is Python, so that this needs no build of ours."""
    monkeypatch.setenv("HYPERFILL_BINARY", sys.executable)
    monkeypatch.setenv("PGHOST", "elsewhere")
    runner = harness.Hyperfill(tmp_path)
    yield runner
    runner.end()


def test_runner_reports_status_and_output(python, tmp_path):
    script = (
        "import os, sys; print(os.getcwd(), os.environ.get('PGHOST'), sys.stdin.read());"
        " print('no', file=sys.stderr); sys.exit(3)"
    )
    result = python.run("-c", script, check=3, stdin="fed")
    assert (result.status, result.stdout, result.stderr) == (3, f"{tmp_path} None fed\n", "no\n")
    with pytest.raises(AssertionError, match="expected status 0"):
        python.run("-c", script)
    assert python.run("-c", "import os; print(os.environ['PGHOST'])", env={"PGHOST": "here"}).stdout == "here\n"


def test_runner_kills_and_signals(python):
    script = "import signal, sys; signal.signal(2, lambda *_: sys.exit(7)); print('up', flush=True); signal.pause()"
    process = python.start("-c", script)
    wait_until(lambda: process.stdout == "up\n")
    process.signal(signal.SIGINT)
    assert process.wait(check=7).status == 7
    process = python.start("-c", script)
    process.kill()
    assert process.wait().status == -signal.SIGKILL
    with pytest.raises(AssertionError, match="still running"):
        python.run("-c", script, timeout=0.1)


def test_runner_ends_what_is_left_behind_and_no_stranger(python):
    """A number is soon another process's; PostgreSQL's backends lead groups, and one killed takes its server along."""
    script = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid)"
    process = python.start("-c", script)
    child = int(process.wait(check=0).stdout)
    stranger = python.start("-c", "import signal; signal.pause()")
    process.end()
    wait_until(lambda: not os.path.exists(f"/proc/{child}") or "Z (zombie)" in pathlib.Path(f"/proc/{child}/status").read_text())
    process.popen.pid = stranger.pid
    process.end()
    with pytest.raises(subprocess.TimeoutExpired):
        stranger.popen.wait(0.2)
    stranger.end()
    assert not stranger.running


# ---- What a run tells in the end

TOLD = """
import pytest

@pytest.fixture
def unclean():
    yield
    assert 0

def test_good(): pass
def test_bad(): assert 0
def test_unclean(unclean): assert 0
@pytest.mark.parametrize("n", range(3))
def test_here(n): pytest.skip("no server")
def test_there(): pytest.skip("no server")
def test_elsewhere(): pytest.skip("no time")
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "workers"])
def test_failures_are_named_and_skips_counted(tmp_path, workers):
    if workers:
        pytest.importorskip("xdist")
    (tmp_path / "test_told.py").write_text(TOLD)
    (tmp_path / "test_broken.py").write_text("import nothing_like_it")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment.update(HYPERFILL_TEST_FAILED=str(tmp_path / "failed"), PYTHONPATH=str(harness.ROOT / "tests" / "integration"))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "conftest", "-rfE", "--continue-on-collection-errors", *workers]
    done = subprocess.run([*command, tmp_path], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 1, done.stdout
    failed = (tmp_path / "failed").read_text().splitlines()
    assert set(failed) == {"test_broken.py", "test_told.py::test_bad", "test_told.py::test_unclean"}, done.stdout
    assert "    4 no server\n    1 no time\n" in done.stdout
    assert "SKIPPED" not in done.stdout and "FAILED test_told.py::test_bad" in done.stdout
