"""Servers to measure on: started by tests/server.sh, asked through psql. All have the same settings."""

import os
import pathlib
import subprocess

from . import shapes

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVER_SCRIPT = ROOT / "tests" / "server.sh"
# As in bench/lib.sh: what a production server on a small machine would have.
SETTINGS = ["fsync=on", "shared_buffers=1GB", "min_wal_size=4GB", "max_wal_size=8GB", "checkpoint_timeout=30min"]
TICKS = os.sysconf("SC_CLK_TCK")

# Of a table with its partitions.
SIZE = """WITH RECURSIVE all_of (relation) AS (SELECT 't'::regclass::oid UNION
    SELECT i.inhrelid FROM pg_inherits i JOIN all_of a ON i.inhparent = a.relation)
    SELECT sum(pg_total_relation_size(relation)) FROM all_of"""

COLUMNSTORE = "ALTER TABLE t SET (timescaledb.compress, timescaledb.compress_segmentby = 'tags_id', timescaledb.compress_orderby = 'time')"


def stop(folder):
    """The server that is kept there, if there is one."""
    subprocess.run([SERVER_SCRIPT, "stop", folder], check=False)


class Server:
    """conninfo is in libpq's form, uri for tools that want one. Kind "community" is a server that is there already, named by
    HYPERFILL_TEST_COMMUNITY; if it runs elsewhere, its processor time is not seen."""

    def __init__(self, kind, folder, columnstore=False):
        self.kind = kind
        self.folder = folder
        self.columnstore = columnstore
        if kind == "community":
            self._create_database(os.environ["HYPERFILL_TEST_COMMUNITY"])
            return
        started = subprocess.run([SERVER_SCRIPT, "start", kind, folder, *SETTINGS], stdout=subprocess.PIPE, text=True, check=True)
        self._use(started.stdout.splitlines()[-1])

    def _use(self, conninfo):
        self.conninfo = conninfo
        parts = {"port": "5432"} | dict(part.split("=", 1) for part in conninfo.split())
        host = f"unix:{parts['host']}" if parts["host"].startswith("/") else parts["host"]
        self.uri = f"postgresql://{parts['user']}@{host}:{parts['port']}/{parts['dbname']}"
        self.postmaster = int(self.sql("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"))

    def _create_database(self, conninfo):
        """One of our own on a server that is others', too."""
        self.given = conninfo
        self.database = f"hyperfill_compare_{os.getpid()}"
        self.conninfo = conninfo
        self.sql(f"CREATE DATABASE {self.database} TEMPLATE template0")
        self._use(" ".join([*(part for part in conninfo.split() if not part.startswith("dbname=")), f"dbname={self.database}"]))
        self.sql("SET client_min_messages = error", "CREATE EXTENSION IF NOT EXISTS timescaledb")

    def settings(self):
        """Those of SETTINGS as they are: a server that was there already has its own."""
        names = ", ".join(f"'{setting.split('=')[0]}'" for setting in SETTINGS)
        return self.sql(f"SELECT string_agg(name || '=' || pg_catalog.current_setting(name), ' ' ORDER BY name) FROM pg_catalog.pg_settings WHERE name IN ({names})")

    def end(self):
        """Of what lies outside of the folder."""
        if self.kind == "community":
            self.conninfo = self.given
            self.sql(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")

    def sql(self, *statements):
        """Runs them one after the other, and returns what the last one prints."""
        arguments = [part for statement in statements for part in ("-c", statement)]
        return subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo, *arguments],
                              stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    @property
    def is_timescale(self):
        return self.kind != "pg15"

    def version(self):
        text = f"PostgreSQL {self.sql('SHOW server_version').split()[0]}"
        if self.is_timescale:
            text += f", TimescaleDB {self.sql('''SELECT extversion FROM pg_extension WHERE extname = 'timescaledb' ''')}"
            text += f" ({self.sql('SHOW timescaledb.license')})"
        return text

    def processor_seconds(self):
        """Of the postmaster with all children that it has reaped, and of those that are alive."""
        ticks = 0
        for entry in [folder / "stat" for folder in pathlib.Path("/proc").iterdir() if folder.name.isdigit()]:
            try:
                text = entry.read_text()
            except OSError:  # it has ended meanwhile
                continue
            fields = text.rpartition(") ")[2].split()
            if int(entry.parent.name) == self.postmaster:
                ticks += sum(int(field) for field in fields[11:15])
            elif int(fields[1]) == self.postmaster:
                ticks += sum(int(field) for field in fields[11:13])
        return ticks / TICKS

    def wal_position(self):
        return int(self.sql("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"))

    def idle(self):
        """Once backends of a load have ended and their processor time is counted."""
        self.sql("SELECT pg_sleep(0.3)")

    # ---- The table

    def fresh_table(self, shape, chunk, span, indexed=True):
        """Empty: a hypertable, or on plain PostgreSQL one that is partitioned. And no ledger that calls it loaded."""
        clear = ["SET client_min_messages = error", "DROP TABLE IF EXISTS t CASCADE", "DROP SCHEMA IF EXISTS hyperfill CASCADE"]
        if self.is_timescale:
            self.sql(*clear, shapes.create_table(shape),
                     f"SELECT create_hypertable('t', 'time', chunk_time_interval => interval '{chunk}', create_default_indexes => false)")
        else:
            self.sql(*clear, shapes.create_table(shape, " PARTITION BY RANGE (time)"), self._partitions(chunk, span))
        if indexed:
            self.create_indexes()
        if self.columnstore:
            self.sql(COLUMNSTORE)

    def create_indexes(self):
        self.sql(*(f"CREATE INDEX ON t {index}" for index in shapes.INDEXES))

    @staticmethod
    def _partitions(chunk, span):
        return f"""DO $$ BEGIN FOR n IN 0 .. ceil(extract(epoch FROM interval '{span} seconds') / extract(epoch FROM interval '{chunk}'))
            LOOP EXECUTE format('CREATE TABLE t_%s PARTITION OF t FOR VALUES FROM (%L) TO (%L)', n,
                timestamptz '2024-01-01 00:00:00+00' + n * interval '{chunk}',
                timestamptz '2024-01-01 00:00:00+00' + (n + 1) * interval '{chunk}'); END LOOP; END $$"""

    def pieces(self):
        """Chunks or partitions, by time."""
        return self.sql("SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 't'::regclass ORDER BY inhrelid").split()

    def fingerprint(self):
        """It does not depend on the order of the rows, and all columns of all rows are in it."""
        return self.sql("SELECT count(*), sum(hash_record_extended(t, 0)) FROM t")

    def size(self):
        """On disk, with indexes and what is compressed."""
        return int(self.sql("SELECT hypertable_size('t')" if self.is_timescale else SIZE))
