"""Fixtures of the integration tests. The things they hand out are described in harness.

HYPERFILL_TEST_KINDS      kinds of servers to test with (default "pg15 ts17 ts18")
HYPERFILL_TEST_COMMUNITY  conninfo of a superuser on a server with TimescaleDB's community edition
HYPERFILL_TEST_SEED       repeats a run's random choices; each run prints its own
HYPERFILL_TEST_TIMEOUT    seconds that one test may take (default 1200: it is there for what hangs)
HYPERFILL_TEST_FAILED     file to which the name of each test that fails is added at once
HYPERFILL_BINARY          the program under test (default build/hyperfill)

pytest --one-target runs each test against one of its servers and shapes of tables only, drawn by the seed: for a sanitized
build, in which it is our memory that is looked at, after or before all of them were run with an ordinary one.
"""

import collections
import os
import random
import re
import shutil

import pytest

# What fails in an assert of the harness is shown as in one of a test.
pytest.register_assert_rewrite("harness")

import harness
from harness.commands import CommandBackfill, rows_of
from harness.rejects import Table
from harness.target import TARGETS, Target


FAILED = pytest.StashKey[bool]()


def pytest_configure(config):
    # Workers of pytest-xdist are started after this, and are to draw the same numbers.
    os.environ["HYPERFILL_TEST_SEED"] = str(harness.SEED)
    config.addinivalue_line("markers", "pipeline: exercises readers, queue and writers together; also run under ThreadSanitizer")


def pytest_report_header():
    return f"HYPERFILL_TEST_SEED={harness.SEED} HYPERFILL_TEST_KINDS={' '.join(harness.KINDS)!r}"


def pytest_addoption(parser):
    parser.addoption("--one-target", action="store_true", help="each test with one server and shape of table only")


# What parameters say of the target, as in pg15, "ts17-hypertable" or "pg15-plain-csv"; what follows is another matter.
TARGET = re.compile(r"(?:pg|ts)[0-9]+(?:[- ](?:plain|partitioned|hypertable)\b)?")


def drop_other_targets(config, items):
    """Of tests that differ in the target alone, keeps one. Each worker of xdist must keep the same."""
    groups = {}
    for item in items:
        function, _, parameters = item.nodeid.partition("[")
        groups.setdefault(function + "[" + TARGET.sub("*", parameters), []).append(item)
    kept = {random.Random(f"{harness.SEED} {key}").choice([item.nodeid for item in group]) for key, group in groups.items()}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in kept])
    items[:] = [item for item in items if item.nodeid in kept]


def pytest_collection_modifyitems(config, items):
    if config.getoption("--one-target"):
        drop_other_targets(config, items)
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(int(os.environ.get("HYPERFILL_TEST_TIMEOUT", "1200"))))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        item.stash[FAILED] = True
        report.sections.append(("seed", f"repeat with HYPERFILL_TEST_SEED={harness.SEED}"))
    # What a test leaves is of use when it failed; that of all of them would be gigabytes.
    if report.when == "teardown" and not item.stash.get(FAILED, False) and "tmp_path" in item.funcargs:
        shutil.rmtree(item.funcargs["tmp_path"], ignore_errors=True)


def _tell_of_failure(report):
    # Workers of pytest-xdist tell the process that started them, which tells of all.
    file_name = os.environ.get("HYPERFILL_TEST_FAILED")
    if report.failed and file_name and "PYTEST_XDIST_WORKER" not in os.environ:
        with open(file_name, "a", encoding="utf-8") as file:
            file.write(report.nodeid + "\n")


# The first is of running a test, the second of reading a file of tests.
pytest_runtest_logreport = pytest_collectreport = _tell_of_failure


def pytest_terminal_summary(terminalreporter):
    """A line for each reason to skip; -rs would have one for each place."""
    skipped = collections.Counter(report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", ()))
    if skipped:
        terminalreporter.section("skipped, by reason")
    for reason, count in skipped.most_common():
        terminalreporter.write_line(f"{count:5} {reason}")


def _or_skip(make, *arguments, **settings):
    try:
        return make(*arguments, **settings)
    except harness.Unobtainable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def _servers():
    servers = harness.Servers(harness.temporary_folder("hyperfill-test-"))
    yield servers
    servers.end()


class SkippingServers:
    """servers[kind] is the shared server of a kind; servers.another(kind, name=value) one for this test alone."""

    def __init__(self, servers):
        self._servers = servers

    def __getitem__(self, kind):
        return _or_skip(self._servers.__getitem__, kind)

    def another(self, kind, **settings):
        return _or_skip(self._servers.another, kind, **settings)


@pytest.fixture(scope="session")
def servers(_servers):
    return SkippingServers(_servers)


@pytest.fixture(autouse=True)
def _end_of_test(request):
    yield
    # A test that needs no server must not have one made for its end.
    if "_servers" in request.fixturenames:
        request.getfixturevalue("_servers").end_test()


@pytest.fixture(params=harness.KINDS)
def server(request, servers):
    """The shared server, once of every kind."""
    return servers[request.param]


@pytest.fixture(params=[kind for kind in harness.KINDS if kind.startswith("ts")])
def timescale_server(request, servers):
    """The shared server, once of every kind that has TimescaleDB."""
    return servers[request.param]


@pytest.fixture
def database(server):
    """A fresh database, once on every kind of server."""
    return server.create_database()


@pytest.fixture
def timescale_database(timescale_server):
    return timescale_server.create_database()


@pytest.fixture
def community():
    """A fresh database on the community-edition server that the environment names."""
    if not harness.COMMUNITY:
        pytest.skip("no community-edition server named by HYPERFILL_TEST_COMMUNITY")
    server = harness.RemoteServer("community", harness.COMMUNITY)
    yield server.create_database()
    server.drop_databases()
    server.drop_templates()


@pytest.fixture
def hyperfill(tmp_path):
    """Runs the program in the test's own folder; what still runs at the end of the test is killed."""
    runner = harness.Hyperfill(tmp_path)
    if not runner.binary.exists():
        pytest.fail(f"{runner.binary} is not built")
    yield runner
    runner.end()


@pytest.fixture
def make_target(servers, tmp_path):
    """make_target("pg15-plain"): a table to load files into, of that shape on that kind of server."""

    def make(which):
        kind, shape = which.split("-")
        return Target(servers[kind], shape, tmp_path)

    return make


@pytest.fixture(params=TARGETS)
def target(request, make_target):
    """A table to load files into, once of each shape."""
    return make_target(request.param)


@pytest.fixture(params=["pg15-plain", "ts17-hypertable"])
def one_of_each(request, make_target):
    """As target, where partitions do not matter."""
    return make_target(request.param)


@pytest.fixture(params=["pg15-plain", "ts17-hypertable"])
def table(request, servers, hyperfill):
    """A table whose constraints bad rows break, once of each shape."""
    kind, shape = request.param.split("-")
    return Table(servers[kind].create_database(), hyperfill, shape)


@pytest.fixture
def make_commanded(hyperfill, servers, chance):
    """make_commanded(kind): a table to be filled from what commands print."""

    def make(kind="ts17", count=8_000, chunk="1 day"):
        return CommandBackfill(hyperfill, servers[kind], rows_of(chance, count), chunk)

    return make


@pytest.fixture
def proxy():
    """proxy(server) stands between clients and that server until the test ends."""
    proxies = []

    def make(server, seed=None):
        proxies.append(harness.Proxy(server, seed))
        return proxies[-1]

    yield make
    for made in proxies:
        made.close()


@pytest.fixture
def chance(request):
    """A random.Random that is the same for the same seed and test."""
    print(f"HYPERFILL_TEST_SEED={harness.SEED}")
    return random.Random(f"{harness.SEED} {request.node.nodeid}")
