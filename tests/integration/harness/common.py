"""What all parts of the harness need."""

import os
import pathlib
import random
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
SERVER_SCRIPT = ROOT / "tests" / "server.sh"
KINDS = tuple(os.environ.get("HYPERFILL_TEST_KINDS", "pg15 ts17 ts18").split())
COMMUNITY = os.environ.get("HYPERFILL_TEST_COMMUNITY")
SEED = int(os.environ.get("HYPERFILL_TEST_SEED") or random.SystemRandom().randrange(1 << 32))

# Seconds after which what is awaited is taken for lost. It costs nothing where all is well, so it is long: a sanitized build on
# a machine that does ten other things is fifty times slower. Where being quick is the promise, the test says its own.
PATIENCE = 240

# How the program ends, as its help says.
USAGE, DATA, SERVER, TRANSIENT, SYSTEM, STOPPED, REJECTS = range(2, 9)

# tests/server.sh says so when a kind of server cannot be had on this machine.
STATUS_SKIPPED = 77


class Unobtainable(Exception):
    """A server that cannot be had here; the text is the reason to skip with."""


def temporary_folder(prefix):
    """A folder that the server's unprivileged user can walk into, short enough for the path of a unix socket."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    folder.chmod(0o755)
    return folder


def wait_until(condition, timeout=PATIENCE, what="the awaited"):
    """Returns the first true value of condition(), which is asked until it has one."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {timeout} s")
        time.sleep(0.02)
