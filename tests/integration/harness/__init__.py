"""What integration tests stand on: real servers, fresh databases, the program under test, a proxy that loses things.

Servers are started by tests/server.sh, which also runs by hand. Nothing here imitates PostgreSQL.

What only the tests of one subject share stands in a module of its own, which they name: harness.target for files that are
loaded, harness.commands, harness.rejects, harness.schema, harness.verify.
"""

from .common import COMMUNITY, KINDS, PATIENCE, ROOT, SEED, SERVER_SCRIPT, STATUS_SKIPPED, Unobtainable, temporary_folder, wait_until
from .common import DATA, REJECTS, SERVER, STOPPED, SYSTEM, TRANSIENT, USAGE
from .data import CPU_COLUMNS, MEASURES, START, cpu_rows, create_cpu, csv_field, fill_cpu, write_csv
from .disturb import Disturbed
from .live import LiveWriter
from .program import Hyperfill, Process, Result
from .proxy import ClientStart, GSSENC_REQUEST, ProxiedConnection, Proxy, SSL_REQUEST, ServerStream
from .servers import Database, RemoteServer, Server, Servers
