"""What is tested alone elsewhere, all in one job: files of all kinds, shaped, dirty, in conflict, spilled, killed again and again."""

import gzip
import signal
import subprocess
import time

import pytest

from harness import START

FILES = 9
ROWS = 6_000
START_MS = int(START.timestamp() * 1000)


def make_files(folder, chance):
    """Writes the files; returns the rows that must be loaded, and the records that must be rejected."""
    folder.mkdir()
    rows, rejects, keys = {}, [], set()
    for i in range(FILES):
        lines = ["# made by a test\n", "Value;ts;note;unused\n"]
        for line in range(ROWS):
            moment = START_MS + chance.randrange(3 * 86_400_000)
            value = chance.randrange(1_000_000)
            note = chance.choice(['""', "", f'"a ""b""; {line}"', f'"two\nlines {line}"'])
            bad = chance.random() < 0.01
            record = f"{'x' if bad and line % 2 else value};{'?' if bad and not line % 2 else moment};{note};-\n"
            lines.append(record)
            if line % 1000 == 7:
                lines.append("# a comment; with \" no end\n")
            if bad:
                rejects.append(record.encode())
            elif (f"part{i}", moment) not in keys:
                keys.add((f"part{i}", moment))
                text = None if note == "" else note[1:-1].replace('""', '"')
                rows[f"part{i}", moment] = (value, text)
        write(folder / f"part{i}.csv", "".join(lines).encode(), i % 3)
    return rows, rejects


def write(path, text, kind):
    if kind == 0:
        path.write_bytes(text)
    elif kind == 1:
        path.with_suffix(".csv.gz").write_bytes(gzip.compress(text[: len(text) // 2]) + gzip.compress(text[len(text) // 2 :]))
    else:
        third = len(text) // 3
        parts = [text[:third], text[third : 2 * third], text[2 * third :]]
        frames = [subprocess.run(["zstd", "-qc"], input=part, stdout=subprocess.PIPE, check=True).stdout for part in parts]
        path.with_suffix(".csv.zst").write_bytes(b"".join(frames))


@pytest.mark.pipeline
@pytest.mark.parametrize("kind", ["ts17", "pg15"])
def test_all_at_once(hyperfill, servers, chance, kind):
    rows, rejects = make_files(hyperfill.folder / "data", chance)
    target = servers[kind].create_database()
    target.execute("CREATE TABLE m (time timestamptz NOT NULL, device text, value int, note text, PRIMARY KEY (device, time))")
    if kind == "ts17":
        target.rows("SELECT create_hypertable('m', 'time', chunk_time_interval => interval '6 hours')")
    # Some rows are there already, by dual writes.
    there = dict(list(rows.items())[:: len(rows) // 50])
    for (device, moment), (value, note) in there.items():
        target.execute("INSERT INTO m VALUES (to_timestamp(%s / 1000.0), %s, %s, %s)", [moment, device, value, note])
    (hyperfill.folder / "spill").mkdir()
    arguments = ["--source", "data", "--target", target.conninfo, "--table", "m", "--progress", "none", "--delimiter", ";", "--comment", "#"]
    arguments += ["--map", "ts=time", "--map", "Value=value", "--ignore-columns", "unused", "--set", "device={stem}", "--time-format", "epoch-ms"]
    arguments += ["--timezone", "UTC", "--on-bad-row", "reject", "--max-rejects", "5%", "--on-conflict", "skip", "--spill-dir", "spill"]
    arguments += ["--time-column", "time", "--range-interval", "2h"]
    kills = 0
    for number in range(12):
        speed = ["--jobs", chance.choice([1, 2, 4]), "--readers", chance.choice([1, 2, 3]), "--memory", chance.choice(["16MB", "64MB"])]
        process = hyperfill.start("run", *arguments, *speed)
        time.sleep(chance.uniform(0.02, 0.1 if number < 3 else 0.5))
        process.kill()
        assert process.popen.returncode in (0, 8, -signal.SIGKILL), process.result()
        kills += process.popen.returncode == -signal.SIGKILL
        if process.popen.returncode == 8:
            break
    print(f"{kills} kills")
    assert kills >= 2
    hyperfill.run("run", *arguments, check=8)
    stored = target.rows("SELECT device, (extract(epoch FROM time) * 1000)::bigint, value, note FROM m")
    # Of two records with one key either may have come first.
    assert {(device, moment) for device, moment, _, _ in stored} == set(rows) and len(stored) == len(rows)
    wrong = [row for row in stored if rows[row[0], row[1]] != (row[2], row[3])]
    assert len(wrong) <= FILES * ROWS - len(rows) - len(rejects), wrong[:5]
    assert sorted(bytes(record) for (record,) in target.rows("SELECT record FROM hyperfill.reject")) == sorted(rejects)
    assert sorted(split(hyperfill.folder / "hyperfill-m.rejects")) == sorted(rejects)
    loaded, left_out = target.rows("SELECT sum(rows), sum(conflicts) FROM hyperfill.piece")[0]
    assert loaded == len(rows) - len(there)
    assert loaded + left_out + len(rejects) == FILES * ROWS
    mend(hyperfill.folder / "hyperfill-m.rejects", chance)
    hyperfill.run("replay", *[argument for argument in arguments if argument not in ("--progress", "none")], check=0)
    assert target.value("SELECT count(*) FROM m") == len(rows) + len(rejects)


def split(path):
    """The records, of which some go over two lines."""
    records, record = [], b""
    for line in path.read_bytes().splitlines(keepends=True):
        record += line
        if record.count(b'"') % 2 == 0:
            records.append(record)
            record = b""
    assert record == b""
    return records


def mend(path, chance):
    """Each gets a moment that no other row has, in the years behind."""
    mended = []
    for number, record in enumerate(split(path)):
        value, moment, rest = record.split(b";", 2)
        mended.append(b";".join([b"1", str(START_MS + 10**10 + number).encode(), rest]))
    path.write_bytes(b"".join(mended))
