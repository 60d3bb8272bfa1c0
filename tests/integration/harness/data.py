"""Rows, as tables and as files."""

import datetime
import itertools
import pathlib
import random

from .common import SEED

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
