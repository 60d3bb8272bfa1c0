"""Servers and databases."""

import itertools
import os
import pathlib
import shutil
import signal
import subprocess

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from psycopg2 import sql as sql_parts

from .common import KINDS, SERVER_SCRIPT, STATUS_SKIPPED, Unobtainable, wait_until


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
            wait_until(lambda: self._is_done(connection, sql_parts.SQL(statement).format(sql_parts.Identifier(name))), what=statement)
        finally:
            connection.close()

    @staticmethod
    def _is_done(connection, statement):
        # Also with FORCE the server waits only five seconds for backends to go: those of a killed client may take longer.
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
            return True
        except psycopg2.errors.ObjectInUse:
            return False


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

    def timescaledb(self):
        """The version of the extension, as (2, 28, 3): what it can do depends on it."""
        version = self.value("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
        return tuple(int(part) for part in version.split("-")[0].split("."))

    def wait_until_alone(self):
        """Until the backends of killed clients are gone: what they were at may be committed before."""
        others = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
            " AND pid <> pg_backend_pid()"
        )
        wait_until(lambda: self.value(others) == 0, what=f"the end of the others in {self.name}")

    def waits_for_locks(self):
        """How many sessions of this database wait for a lock that another one has, and not only to make a file longer."""
        return self.value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND wait_event <> 'extend'"
        )

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
