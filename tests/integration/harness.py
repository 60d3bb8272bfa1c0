"""What integration tests stand on: real servers, fresh databases, the program under test, a proxy that loses things.

Servers are started by tests/server.sh, which also runs by hand. Nothing here imitates PostgreSQL.
"""

import datetime
import itertools
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import psycopg2
import psycopg2.extensions
from psycopg2 import sql as sql_parts

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVER_SCRIPT = ROOT / "tests" / "server.sh"
KINDS = tuple(os.environ.get("HYPERFILL_TEST_KINDS", "pg15 ts17 ts18").split())
COMMUNITY = os.environ.get("HYPERFILL_TEST_COMMUNITY")
SEED = int(os.environ.get("HYPERFILL_TEST_SEED") or random.SystemRandom().randrange(1 << 32))

# tests/server.sh says so when a kind of server cannot be had on this machine.
STATUS_SKIPPED = 77


class Unobtainable(Exception):
    """A server that cannot be had here; the text is the reason to skip with."""


def temporary_folder(prefix):
    """A folder that the server's unprivileged user can walk into, short enough for the path of a unix socket."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    folder.chmod(0o755)
    return folder


def wait_until(condition, timeout=30, what="the awaited"):
    """Returns the first true value of condition(), which is asked until it has one."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {timeout} s")
        time.sleep(0.02)


# ---- Servers and databases


class RemoteServer:
    """A server that is there already, known by the conninfo of a superuser."""

    def __init__(self, kind, conninfo):
        self.kind = kind
        self.parameters = psycopg2.extensions.parse_dsn(conninfo)
        self.databases = []
        self.templates = []

    @property
    def has_timescaledb(self):
        return self.kind != "pg15"

    def conninfo(self, dbname="hyperfill"):
        return psycopg2.extensions.make_dsn(**{**self.parameters, "dbname": dbname})

    def create_database(self):
        """A fresh database, with TimescaleDB where the server has it. It is dropped when the test ends."""
        # Several runs may share a community server.
        database = Database(self, f"test_{os.getpid()}_{next(_database_numbers)}")
        self._administrate(f"CREATE DATABASE {{}} TEMPLATE {self._template()}", database.name)
        self.databases.append(database)
        return database

    def _template(self):
        """A database with the extension, made once: to copy it takes a third of the time of making it."""
        name = f"template_{os.getpid()}"
        if name in self.templates:
            return name
        self._administrate("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", name)
        if self.has_timescaledb:
            template = Database(self, name)
            template.execute("SET client_min_messages = error; CREATE EXTENSION timescaledb; RESET client_min_messages")
            template.close()
        # The extension's own workers would stay in it, and a database that is in use cannot be copied.
        self._administrate("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", name)
        postgres = Database(self, "postgres")
        postgres.rows("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name])
        postgres.close()
        self.templates.append(name)
        return name

    def drop_templates(self):
        while self.templates:
            self._administrate("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.templates.pop())

    def drop_databases(self):
        while self.databases:
            database = self.databases.pop()
            database.close()
            self._administrate("DROP DATABASE IF EXISTS {} WITH (FORCE)", database.name)

    def _administrate(self, statement, name):
        connection = psycopg2.connect(self.conninfo("postgres"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql_parts.SQL(statement).format(sql_parts.Identifier(name)))
        finally:
            connection.close()


_database_numbers = itertools.count(1)


class Server(RemoteServer):
    """A server of our own in a folder, which may be killed and started again. Settings are those of postgresql.conf."""

    def __init__(self, kind, folder, **settings):
        self.folder = pathlib.Path(folder)
        super().__init__(kind, _server_script("start", kind, self.folder, *_name_values(settings)))
        self.standbys = []

    def start(self, **settings):
        """Starts it again after kill9() or stop(); with settings, also while it runs."""
        conninfo = _server_script("start", self.kind, self.folder, *_name_values(settings))
        self.parameters = psycopg2.extensions.parse_dsn(conninfo)

    def stop(self):
        _server_script("stop", self.folder)

    def kill9(self):
        """Kills the postmaster and every process of the server, as a machine that goes away would."""
        pids = self.pids()
        assert pids, f"the server in {self.folder} does not run"
        while pids:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            pids = self.pids()

    def pids(self):
        """The pids of all processes of the server, the postmaster's first."""
        postmaster = None
        pid_file = self.folder / "data" / "postmaster.pid"
        if pid_file.exists():
            postmaster = int(pid_file.read_text().split("\n", 1)[0] or 0)
        found = [int(entry.name) for entry in pathlib.Path("/proc").iterdir() if self._is_process(entry)]
        return sorted(found, key=lambda pid: (pid != postmaster, pid))

    def _is_process(self, entry):
        # Every process of a server stands in its data folder. A process that has ended meanwhile, or is a stranger's, is none.
        try:
            return (
                entry.name.isdigit()
                and os.readlink(entry / "cwd") == str(self.folder.resolve() / "data")
                and os.path.basename(os.readlink(entry / "exe")).startswith("postgres")
            )
        except OSError:
            return False

    @property
    def running(self):
        return bool(self.pids())

    def standby(self, **settings):
        """A hot standby that streams from this server. It goes away with this server's end."""
        folder = self.folder.with_name(f"{self.folder.name}-standby{len(self.standbys) + 1}")
        _server_script("standby", self.folder, folder, *_name_values(settings))
        standby = Server(self.kind, folder)
        self.standbys.append(standby)
        return standby

    def catch_up(self, primary):
        """For a standby: returns when it shows all that the primary has written so far."""
        written = Database(primary, "postgres").value("SELECT pg_current_wal_insert_lsn()")
        mine = Database(self, "postgres")
        wait_until(lambda: mine.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [written]), what=f"WAL up to {written}")
        mine.close()

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def remove(self):
        for standby in self.standbys:
            standby.remove()
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _name_values(settings):
    # timescaledb.max_… cannot be written as a keyword: two underscores stand for the dot.
    return [f"{name.replace('__', '.')}={value}" for name, value in settings.items()]


def _server_script(*arguments):
    # The server inherits no pipe of ours (pg_ctl sees to that), so reading to the end does not wait for it.
    done = subprocess.run([SERVER_SCRIPT, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode == STATUS_SKIPPED:
        raise Unobtainable(done.stderr.strip().rsplit("\n", 1)[-1])
    if done.returncode != 0:
        raise RuntimeError(f"tests/server.sh {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout.strip().rsplit("\n", 1)[-1]


class Servers:
    """Starts each kind once, when it is first asked for, and ends all of them."""

    def __init__(self, folder):
        self.folder = folder
        self.shared = {}
        self.private = []
        self.refused = {}

    def __getitem__(self, kind):
        """The server of a kind that all tests share. Tests that kill it must start it again."""
        if kind not in KINDS:
            raise Unobtainable(f"{kind} is not in HYPERFILL_TEST_KINDS")
        if kind in self.refused:
            raise self.refused[kind]
        if kind not in self.shared:
            try:
                self.shared[kind] = Server(kind, self.folder / kind)
            except Unobtainable as reason:
                # A download that failed once is not tried again for each test.
                self.refused[kind] = reason
                raise
        return self.shared[kind]

    def another(self, kind, **settings):
        """A server for one test alone."""
        if kind not in KINDS:
            raise Unobtainable(f"{kind} is not in HYPERFILL_TEST_KINDS")
        number = sum(1 for _ in self.folder.iterdir()) + 1
        server = Server(kind, self.folder / f"{kind}-{number}", **settings)
        self.private.append(server)
        return server

    def end_test(self):
        for server in self.shared.values():
            if server.databases and not server.running:
                server.start()
            server.drop_databases()
            while server.standbys:
                server.standbys.pop().remove()
        while self.private:
            self.private.pop().remove()

    def end(self):
        for server in self.shared.values():
            server.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


class Database:
    """One database, spoken to in autocommit. A connection lost before a statement is made anew; a statement is never repeated."""

    def __init__(self, server, name):
        self.server = server
        self.name = name
        self._connection = None

    @property
    def conninfo(self):
        return self.server.conninfo(self.name)

    def connect(self):
        """A connection of its own, for tests that hold transactions open."""
        return psycopg2.connect(self.conninfo)

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _cursor(self):
        if self._connection is not None:
            try:
                with self._connection.cursor() as cursor:
                    cursor.execute("SELECT")
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                self.close()
        if self._connection is None:
            self._connection = self.connect()
            self._connection.autocommit = True
        return self._connection.cursor()

    def execute(self, statement, arguments=None):
        """Returns the count of rows that the statement reports."""
        with self._cursor() as cursor:
            cursor.execute(statement, arguments)
            return cursor.rowcount

    def rows(self, query, arguments=None):
        with self._cursor() as cursor:
            cursor.execute(query, arguments)
            return cursor.fetchall()

    def rows_of_one_moment(self, query):
        """For queries over several tables while others commit.

        In a snapshot that is older than the plan: a statement alone is planned before its snapshot is taken, and then
        knows nothing of chunks that were made between.
        """
        with self._cursor() as cursor:
            try:
                cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
                cursor.execute(query)
                rows = cursor.fetchall()
                cursor.execute("COMMIT")
                return rows
            except psycopg2.Error:
                self.close()
                raise

    def value(self, query, arguments=None):
        ((value,),) = self.rows(query, arguments)
        return value

    def copy_in(self, statement, file):
        """COPY … FROM STDIN of a file object or a path; returns the count of rows."""
        return self._copy(statement, file, "rb")

    def copy_out(self, statement, file):
        """COPY … TO STDOUT into a file object or a path; returns the count of rows."""
        return self._copy(statement, file, "wb")

    def _copy(self, statement, file, mode):
        if isinstance(file, (str, os.PathLike)):
            with open(file, mode) as opened:
                return self._copy(statement, opened, mode)
        with self._cursor() as cursor:
            cursor.copy_expert(statement, file)
            return cursor.rowcount

    def columns(self, table):
        """The names of the columns, quoted where they need it."""
        return [
            name
            for (name,) in self.rows(
                "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
                " AND NOT attisdropped ORDER BY attnum",
                [table],
            )
        ]

    def fingerprint(self, table, columns=None, where=None):
        """(count, sum of the hashes of all rows): equal for equal bags of rows, in whatever order they are stored."""
        row = ", ".join(columns or self.columns(table))
        condition = f" WHERE {where}" if where else ""
        ((count, total),) = self.rows(
            f"SELECT count(*), coalesce(sum(hash_record_extended(ROW({row}), 0)), 0)::text FROM {table}{condition}"
        )
        return count, total


# ---- The program under test


class Result:
    def __init__(self, arguments, status, stdout, stderr):
        self.arguments = arguments
        self.status = status
        self.stdout = stdout
        self.stderr = stderr

    def __repr__(self):
        return f"{' '.join(self.arguments)}\nended with {self.status}\n-- stdout\n{self.stdout}\n-- stderr\n{self.stderr}"


class Process:
    """A run under way. What it writes goes to files, so that it never waits for us to read."""

    _numbers = itertools.count(1)

    def __init__(self, arguments, folder, environment, stdin):
        number = next(self._numbers)
        self.arguments = [str(argument) for argument in arguments]
        self._files = [folder / f".run-{number}.{stream}" for stream in ("stdout", "stderr")]
        fed = isinstance(stdin, (str, bytes))
        with open(self._files[0], "wb") as stdout, open(self._files[1], "wb") as stderr:
            # A session of its own: what it starts can be ended with it, and the terminal's Ctrl-C is not sent to it.
            self.popen = subprocess.Popen(
                self.arguments,
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE if fed else stdin if stdin is not None else subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self._feeder = None
        if fed:
            self._feeder = threading.Thread(target=self._feed, args=[stdin], daemon=True)
            self._feeder.start()

    def _feed(self, stdin):
        # A program that ends without reading its input is the test's business, not ours.
        try:
            self.popen.stdin.write(stdin.encode() if isinstance(stdin, str) else stdin)
            self.popen.stdin.close()
        except OSError:
            pass

    @property
    def pid(self):
        return self.popen.pid

    @property
    def running(self):
        return self.popen.poll() is None

    @property
    def stdout(self):
        return self._files[0].read_text(errors="surrogateescape")

    @property
    def stderr(self):
        return self._files[1].read_text(errors="surrogateescape")

    def signal(self, number):
        self.popen.send_signal(number)

    def kill(self):
        """kill -9, and waits for the end."""
        self.popen.kill()
        self.popen.wait()

    def peak_kilobytes(self):
        """The most memory that it had at a time; waits for its end."""
        peak = 0
        while self.running:
            try:
                status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
            except OSError:
                break
            peak = max([peak] + [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")])
            time.sleep(0.002)
        return peak

    def wait(self, timeout=120, check=None):
        try:
            status = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {timeout} s: {self.result()!r}") from None
        result = self.result()
        assert check is None or status == check, f"expected status {check}: {result!r}"
        return result

    def result(self):
        return Result(self.arguments, self.popen.poll(), self.stdout, self.stderr)

    def end(self):
        """Kills it with all that it started."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()
        if self.popen.stdin is not None:
            self._feeder.join()


class Hyperfill:
    """Runs the program in a folder of its own. HYPERFILL_BINARY names another build than build/hyperfill."""

    def __init__(self, folder):
        self.binary = pathlib.Path(os.environ.get("HYPERFILL_BINARY") or ROOT / "build" / "hyperfill").resolve()
        self.folder = pathlib.Path(folder)
        self.processes = []

    def start(self, *arguments, env=None, stdin=None):
        """env adds to the environment; stdin is text, bytes, or an open file."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        environment["LC_ALL"] = "C.UTF-8"
        environment.update(env or {})
        process = Process([self.binary, *arguments], self.folder, environment, stdin)
        self.processes.append(process)
        return process

    def run(self, *arguments, check=0, timeout=120, env=None, stdin=None):
        """Runs to the end and expects the status `check`; None expects nothing."""
        return self.start(*arguments, env=env, stdin=stdin).wait(timeout, check)

    def end(self):
        while self.processes:
            self.processes.pop().end()


# ---- The proxy


SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104


class ServerStream:
    """Follows the messages from server to client and tells when a COMMIT is answered.

    A message is a type byte and a length that counts itself. What answers a request for encryption is a single byte instead.
    Bytes are passed on as they come, but an answer to a command is held until it is whole.
    """

    def __init__(self, is_lost):
        self.is_lost = is_lost
        self.single_bytes = 0
        self.opaque = False
        self._held = b""
        self._skip = 0

    def feed(self, data):
        """Returns the bytes to pass on, and whether the answer that follows them is to be lost."""
        if self.opaque:
            return data, False
        data = self._held + data
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
            elif self.single_bytes:
                self.single_bytes -= 1
                # Yes: what follows is encrypted.
                self.opaque = data[at : at + 1] in (b"S", b"G")
                at += 1
            else:
                size = 1 + int.from_bytes(data[at + 1 : at + 5], "big")
                whole = len(data) - at >= 5 and (data[at : at + 1] != b"C" or len(data) - at >= size)
                if not whole:
                    break
                if data[at : at + size] == b"C\x00\x00\x00\x0bCOMMIT\x00" and self.is_lost():
                    return data[:at], True
                self._skip = size
            if self.opaque:
                at = len(data)
        self._held = data[at:]
        return data[:at], False


class ClientStart:
    """Follows what a client says first, to know when the server answers by a single byte."""

    def __init__(self, server_stream):
        self._server_stream = server_stream
        self._buffer = b""
        self._done = False

    def feed(self, data):
        if self._done:
            return
        self._buffer += data
        while len(self._buffer) >= 8 and not self._done:
            size = int.from_bytes(self._buffer[:4], "big")
            code = int.from_bytes(self._buffer[4:8], "big")
            if code in (SSL_REQUEST, GSSENC_REQUEST):
                self._server_stream.single_bytes += 1
                self._buffer = self._buffer[size:]
            else:
                self._done = True
                self._buffer = b""


class ProxiedConnection:
    """Two sockets and a thread for each direction. It is open until it is cut or both directions have ended."""

    def __init__(self, proxy, client, server, bytes_left):
        self._proxy = proxy
        self._client = client
        self._server = server
        self._bytes_left = bytes_left
        self._lock = threading.Lock()
        self._is_open = True
        self._pumps_left = 2
        self._server_stream = ServerStream(proxy._is_answer_lost)
        self._client_start = ClientStart(self._server_stream)
        directions = ((client, server, self._from_client), (server, client, self._from_server))
        self._threads = [threading.Thread(target=self._run, args=direction, daemon=True) for direction in directions]

    def start(self):
        for thread in self._threads:
            thread.start()

    def join(self):
        for thread in self._threads:
            thread.join()

    def _from_client(self, data):
        self._client_start.feed(data)
        return data, False

    def _from_server(self, data):
        return self._server_stream.feed(data)

    def _run(self, source, sink, look):
        try:
            self._pump(source, sink, look)
        except OSError:
            # One side has gone, which is for the other to learn.
            self.close()
        with self._lock:
            self._pumps_left -= 1
            is_last = self._pumps_left == 0
        if is_last:
            self.close()
            self._client.close()
            self._server.close()
            self._proxy._forget(self)

    def _pump(self, source, sink, look):
        while data := source.recv(65536):
            self._proxy._flowing.wait()
            data, is_lost = look(data)
            data, is_used_up = self._take(data)
            sink.sendall(data)
            if is_lost or is_used_up:
                self.cut()
                return
        sink.shutdown(socket.SHUT_WR)

    def _take(self, data):
        with self._lock:
            if self._bytes_left is None:
                return data, False
            data = data[: self._bytes_left]
            self._bytes_left -= len(data)
            return data, self._bytes_left == 0

    def cut(self):
        # Counted first: whoever notices the cut finds it in the count.
        if self._was_open():
            self._proxy._count_cut()
            self._shut_down()

    def close(self):
        if self._was_open():
            self._shut_down()

    def _was_open(self):
        with self._lock:
            was_open, self._is_open = self._is_open, False
        return was_open

    def _shut_down(self):
        for end in (self._client, self._server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Proxy:
    """Stands between a client and a server, both on unix sockets, and fails as networks do, when told to.

        with Proxy(server) as proxy:
            proxy.cut_after(100_000, times=5)
            hyperfill.run("run", "--target", proxy.conninfo(database), …)

    Clients that send much belong into another process: psycopg2 holds the interpreter while its COPY waits for room in the
    socket, and the threads here, which would make that room, wait for the interpreter.
    """

    PORT = 5432

    def __init__(self, server, seed=None):
        self.server = server
        self.seed = SEED if seed is None else seed
        print(f"proxy with seed {self.seed}")
        self.connection_count = 0
        self.cut_count = 0
        self.lost_answer_count = 0
        self._random = random.Random(self.seed)
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._connections = []
        self._cut_bytes = None
        self._cuts_left = 0
        self._commits_until_loss = 0
        self._folder = temporary_folder("hf-proxy-")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / f".s.PGSQL.{self.PORT}"))
        self._listener.listen(64)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        # A thread in accept() is woken by the shutdown, not by the close.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.resume()
        for connection in self._open_connections():
            connection.close()
            connection.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def conninfo(self, database):
        """How to reach a database, or one by name, through the proxy."""
        name = database.name if isinstance(database, Database) else database
        parameters = psycopg2.extensions.parse_dsn(self.server.conninfo(name))
        return psycopg2.extensions.make_dsn(**{**parameters, "host": str(self._folder), "port": self.PORT})

    def cut_all(self):
        """Cuts what is connected now; returns how many that were."""
        before = self.cut_count
        for connection in self._open_connections():
            connection.cut()
        return self.cut_count - before

    def cut_after(self, bytes_max, times=None, bytes_min=1):
        """Cuts each later connection after a random number of bytes, of both directions together, up to `times` in all.

        Without `times` no connection ever gets through more than bytes_max. None for bytes_max ends it.
        """
        with self._lock:
            self._cut_bytes = None if bytes_max is None else (bytes_min, bytes_max)
            self._cuts_left = times

    def lose_commit_answer(self, n=1):
        """Loses the answer to the n-th COMMIT from now on, and that connection with it: the server has committed."""
        with self._lock:
            self._commits_until_loss = n

    def pause(self):
        """Nothing passes either way until resume(), as if the line were dead but nobody knew."""
        self._flowing.clear()

    def resume(self):
        self._flowing.set()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = self._connect()
            if server is None:
                client.close()
                continue
            with self._lock:
                self.connection_count += 1
                connection = ProxiedConnection(self, client, server, self._draw_bytes())
                self._connections.append(connection)
            connection.start()

    def _connect(self):
        parameters = psycopg2.extensions.parse_dsn(self.server.conninfo())
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(f"{parameters['host']}/.s.PGSQL.{parameters.get('port', 5432)}")
        except OSError:
            server.close()
            return None
        return server

    def _draw_bytes(self):
        if self._cut_bytes is None or self._cuts_left == 0:
            return None
        if self._cuts_left is not None:
            self._cuts_left -= 1
        return self._random.randint(*self._cut_bytes)

    def _is_answer_lost(self):
        with self._lock:
            self._commits_until_loss -= 1
            if self._commits_until_loss != 0:
                return False
            self.lost_answer_count += 1
            return True

    def _open_connections(self):
        with self._lock:
            return list(self._connections)

    def _forget(self, connection):
        with self._lock:
            self._connections.remove(connection)

    def _count_cut(self):
        with self._lock:
            self.cut_count += 1


# ---- Data


START = datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)
MEASURES = (
    "usage_user",
    "usage_system",
    "usage_idle",
    "usage_nice",
    "usage_iowait",
    "usage_irq",
    "usage_softirq",
    "usage_steal",
    "usage_guest",
    "usage_guest_nice",
)
CPU_COLUMNS = ("time", "tags_id", "hostname", *MEASURES)


def cpu_rows(hosts=10, steps=100, start=START, step_seconds=10, seed=None):
    """Rows of the table cpu in the order of time: each host's measures walk at random within 0 and 100."""
    seed = SEED if seed is None else seed
    print(f"cpu rows with seed {seed}")
    chance = random.Random(seed)
    levels = [[chance.uniform(0, 100) for _ in MEASURES] for _ in range(hosts)]
    for step in range(steps):
        time_of_step = start + datetime.timedelta(seconds=step * step_seconds)
        for host, level in enumerate(levels):
            level[:] = [min(100.0, max(0.0, value + chance.gauss(0, 1))) for value in level]
            yield (time_of_step, host, f"host_{host}", *level)


def create_cpu(database, hypertable=True, chunk="6 hours", name="cpu", start=START, until=START + datetime.timedelta(days=2)):
    """Makes the table: a hypertable, a plain table (False), or 'partitioned' with partitions from start to until."""
    partitioned = hypertable == "partitioned"
    measures = ", ".join(f"{measure} double precision" for measure in MEASURES)
    database.execute(
        f"CREATE TABLE {name} (time timestamptz NOT NULL, tags_id int, hostname text, {measures})"
        + (" PARTITION BY RANGE (time)" if partitioned else "")
    )
    if partitioned:
        _create_partitions(database, name, chunk, start, until)
    elif hypertable:
        database.rows(
            "SELECT create_hypertable(%s, 'time', chunk_time_interval => %s::interval, create_default_indexes => false)",
            [name, chunk],
        )
    database.execute(f"CREATE INDEX ON {name} (time DESC); CREATE INDEX ON {name} (tags_id, time DESC)")


def _create_partitions(database, name, chunk, start, until):
    edges = [
        edge
        for (edge,) in database.rows(
            "SELECT generate_series(%s::timestamptz, %s::timestamptz + %s::interval, %s::interval)", [start, until, chunk, chunk]
        )
        if edge < until
    ]
    for number, (low, high) in enumerate(zip(edges, [*edges[1:], until])):
        database.execute(f"CREATE TABLE {name}_{number} PARTITION OF {name} FOR VALUES FROM (%s) TO (%s)", [low, high])


def fill_cpu(database, rows, hosts=10, start=START, step_seconds=10, name="cpu", seed=0):
    """Fills the table by the server itself, which is quick: `rows` rows in the order of time, the same ones for the same seed."""
    # Half of the measures have two digits after the point, the other half all the digits that a double has.
    measures = [f"(hashint8extended(n, {seed * 100 + k}) & 9999)::float8 / 100" for k in range(0, 5)]
    measures += [f"(hashint8extended(n, {seed * 100 + k}) & 9007199254740991) / 90071992547409.93" for k in range(5, 10)]
    database.execute(
        f"INSERT INTO {name} SELECT %(start)s::timestamptz + n / %(hosts)s * %(step)s * interval '1 second', n %% %(hosts)s,"
        f" 'host_' || n %% %(hosts)s, {', '.join(measures)} FROM generate_series(0, %(rows)s - 1) AS n",
        {"start": start, "hosts": hosts, "step": step_seconds, "rows": rows},
    )


def csv_field(value, delimiter=","):
    """As COPY writes it: NULL is empty and bare, the empty string is quoted."""
    if value is None:
        return ""
    if isinstance(value, datetime.datetime):
        return str(value)
    text = str(value)
    if text == "" or text == "\\." or any(special in text for special in (delimiter, '"', "\n", "\r")):
        return '"' + text.replace('"', '""') + '"'
    return text


def write_csv(path, rows, columns=CPU_COLUMNS, shuffle=False, header=True, delimiter=",", newline="\n", seed=None):
    """Writes a CSV file and returns its path. shuffle puts the records into a random order."""
    if shuffle:
        rows = list(rows)
        seed = SEED if seed is None else seed
        print(f"shuffled with seed {seed}")
        random.Random(seed).shuffle(rows)
    records = itertools.chain([columns] if header else [], rows)
    with open(path, "w", encoding="utf-8", newline="") as file:
        for record in records:
            file.write(delimiter.join(csv_field(value, delimiter) for value in record) + newline)
    return pathlib.Path(path)
