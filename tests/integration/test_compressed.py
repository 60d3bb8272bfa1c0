"""Compressed inputs: whatever decompresses to a file loads as that file does; what is cut off, corrupt or still being written is refused."""

import gzip
import json
import os
import random
import re
import struct
import subprocess

import pytest

from harness import SEED, wait_until
from harness.target import HEADER, Target
from test_kill import make_backfill

DATA, STOPPED = 3, 7
ROWS = 30_000


# ---- Files


def text_of(rows=ROWS):
    """Rows of four days in order, some with lines of their own."""
    chance = random.Random(SEED)
    lines = []
    for row in range(rows):
        second = row * 4 * 86400 // rows
        note = f'"two\nlines, ""{row}"""' if row % 11 == 0 else f"note {chance.random():.6f}"
        lines.append(f"2024-03-{1 + second // 86400:02} {second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}+00,{row},{note}\n")
    return (HEADER + "".join(lines)).encode()


def zstd(text, *options):
    return subprocess.run(["zstd", "-q", "-c", *options], input=text, stdout=subprocess.PIPE, check=True).stdout


def quick_gzip(text):
    return gzip.compress(text, 1)


def parts(text, size):
    """Pieces that end wherever they end: in the middle of a record, too."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def sized_frames(text, size):
    """Frames that say how large they are. A file's size is known to zstd, a pipe's is not."""
    return b"".join(zstd(part, f"--stream-size={len(part)}") for part in parts(text, size))


def skippable(size=4):
    return struct.pack("<II", 0x184D2A50, size) + b"x" * size


def pzstd_like(text):
    """A skippable frame with the size of the next before each frame, as pzstd writes them."""
    return b"".join(skippable() + zstd(part) for part in parts(text, 100_000)) + skippable(0)


def long_window(text):
    return zstd(text, "--long=27", "--no-check")


FILES = {
    "gz": gzip.compress,
    "gz-members": lambda text: b"".join(gzip.compress(part) for part in parts(text, 77_777)),
    "gz-padded": lambda text: gzip.compress(text) + b"\0" * 5000,
    "zst": zstd,
    "zst-frames": lambda text: b"".join(zstd(part) for part in parts(text, 99_999)),
    "zst-sized": lambda text: sized_frames(text, 99_999),
    "zst-no-checksum": lambda text: zstd(text, "--no-check"),
    "zst-best": lambda text: zstd(text, "-19"),
    "zst-pzstd": pzstd_like,
    "zst-long": long_window,
}


@pytest.fixture
def target(make_target):
    return make_target("ts17-hypertable").create()


@pytest.fixture(scope="module")
def text():
    return text_of()


# ---- What loads


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("piped", [False, True], ids=["file", "stdin"])
def test_loads_as_its_text(target, hyperfill, text, kind, piped):
    # The name says nothing: what it is, is told by its content.
    packed = target.file(FILES[kind](text), name="packed.csv")
    memory = ["--memory", "1GB"] if kind == "zst-long" else ["--memory", "48MB"]
    if piped:
        with open(packed, "rb") as file:
            feeder = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
            hyperfill.run("run", *target.options("-", *memory), stdin=feeder.stdout)
            feeder.stdout.close()
            assert feeder.wait() == 0
    else:
        hyperfill.run("run", *target.options(packed, *memory))
    assert target.database.fingerprint("m") == target.copied(target.file(text, name="plain.csv"))


def test_plain_file_with_a_compressed_name(target, hyperfill, text):
    hyperfill.run("run", *target.options(target.file(text, name="f.csv.gz")))
    assert target.database.value("SELECT count(*) FROM m") == ROWS


def test_redirected_file(target, hyperfill, text):
    with open(target.file(zstd(text)), "rb") as file:
        hyperfill.run("run", *target.options("-"), stdin=file)
    assert target.database.value("SELECT count(*) FROM m") == ROWS


def test_other_program_is_named(target, hyperfill):
    result = hyperfill.run("run", *target.options(target.file(b"\xfd7zXZ\0" + b"x" * 100)), check=2)
    assert "xz" in result.stderr


def test_stop_is_heard_at_a_silent_pipe(target, hyperfill, text):
    """The stop is heard while the pipe is silent."""
    reader, writer = os.pipe()
    process = hyperfill.start("run", *target.options("-"), stdin=reader)
    os.close(reader)
    os.write(writer, zstd(text[:5000]))
    job = "SELECT count(*) FROM hyperfill.job"
    wait_until(lambda: target.database.value("SELECT to_regclass('hyperfill.job')") and target.database.value(job), what="the job")
    process.signal(2)
    result = process.wait(check=STOPPED)
    os.close(writer)
    assert "resume" in result.stderr or "same command" in result.stderr, result


@pytest.mark.parametrize("kind", ["zst-frames", "zst", "gz"])
def test_memory_stays_under_its_bound(hyperfill, servers, tmp_path, kind):
    """Rows of about a megabyte, in disorder: decompressing them takes its part of --memory, not more beside it."""
    if "san" in str(hyperfill.binary):
        pytest.skip("a sanitizer's own memory is not the program's")
    generator = hyperfill.binary.parent / "hyperfill-generate"
    fat = subprocess.run([generator, "--shape", "fat", "--rows", "100", "--order", "shuffled"], stdout=subprocess.PIPE, check=True).stdout
    path = tmp_path / "fat.packed"
    if kind == "zst-frames":
        path.write_bytes(b"".join(zstd(part, "-1") for part in parts(fat, 20_000_000)))
    else:
        path.write_bytes(zstd(fat, "-1") if kind == "zst" else gzip.compress(fat, 1))
    database = servers["ts17"].create_database()
    names = fat[: fat.index(b"\n")].decode().split(",")
    columns = ", ".join(f"{name} text" for name in names if name != "time")
    database.execute(f"CREATE TABLE fat (time timestamptz NOT NULL, {columns})")
    database.rows("SELECT create_hypertable('fat', 'time', chunk_time_interval => interval '6 hours')")
    arguments = ["--source", path, "--target", database.conninfo, "--table", "fat", "--memory", "64MB", "--progress", "none"]
    process = hyperfill.start("run", *arguments)
    peak = process.peak_kilobytes()
    process.wait(check=0)
    assert database.value("SELECT count(*) FROM fat") == 100
    assert 0 < peak < 96 * 1024


def test_progress_is_a_share_of_the_rows(target, hyperfill):
    """Compressed bytes are few: compared with the bytes of rows, the end would seem near from the beginning."""
    rows = 500_000
    path = target.file(zstd(text_of(rows)))
    # Progress is told each second: it must not be over before.
    options = ["json" if option == "plain" else option for option in target.options(path, "--memory", "16MB", "--max-rate", "6MB")]
    events = [json.loads(line) for line in hyperfill.run("run", *options).stdout.splitlines()]
    seen = [(event["fraction"], event["rows"]) for event in events if event["event"] == "progress"]
    assert seen
    for fraction, done in seen:
        assert abs(fraction - done / rows) < 0.15, seen


# ---- Resuming


def summary_of(result):
    return json.loads(result.stdout.strip().rsplit("\n", 1)[-1])


def test_resume_begins_at_a_frame(servers, hyperfill):
    """What is read again begins with the frame that holds the lowest place that is still needed."""
    rows = ROWS * 5
    text = text_of(rows)
    target = Target(servers["ts17"], "hypertable", hyperfill.folder).create()
    step = 200_000
    frames = [sized_frames(part, step) for part in parts(text, step)]
    packed = target.file(b"".join(frames))
    options = target.options(packed, "--memory", "16MB", "--range-interval", "1h", "--order", "oldest")
    # Rows of the last half day are refused by the target, those before are committed.
    target.database.execute("ALTER TABLE m ADD CONSTRAINT early CHECK (time < '2024-03-04 12:00+00')")
    hyperfill.run("run", *options, check=DATA)
    before = target.database.value("SELECT count(*) FROM m")
    assert 0 < before < rows
    begin = target.database.value("SELECT max(frontier) FROM hyperfill.piece") // step
    assert begin > 2
    target.database.execute("ALTER TABLE m DROP CONSTRAINT early")
    summary = summary_of(hyperfill.run("run", *("json" if option == "plain" else option for option in options)))
    assert summary["rows"] == rows - before
    # Of the frames before, the headers alone are read.
    needed = sum(len(frame) for frame in frames[begin:])
    assert needed <= summary["bytes_read"] <= needed + 100 * len(frames) < packed.stat().st_size
    assert target.database.fingerprint("m") == target.copied(target.file(text, name="plain.csv"))


@pytest.mark.parametrize("lost", [False, True], ids=["", "file lost"])
def test_resume_begins_at_a_frame_that_does_not_tell_its_size(servers, hyperfill, lost):
    """Where it begins was written into the checkpoint file; without that file all is decompressed, and exact as well."""
    rows = 6_000
    chance = random.Random(SEED)
    noise = "".join(chance.choices("abcdefgh", k=10_000))
    text = (HEADER + "".join(f"2024-03-{1 + row * 4 // rows:02} {row * 96 // rows % 24:02}:00:00+00,{row},{row}{noise}\n" for row in range(rows))).encode()
    target = Target(servers["ts17"], "hypertable", hyperfill.folder).create()
    packed = target.file(b"".join(zstd(part, "-1") for part in parts(text, 1_000_000)))
    options = target.options(packed, "--memory", "32MB", "--range-interval", "1h", "--order", "oldest", "--jobs", "1")
    options = ["json" if option == "plain" else option for option in options]
    checkpoint = hyperfill.folder / "hyperfill-m.checkpoint"
    expected = target.copied(target.file(text, name="plain.csv"))
    known = []
    for until in ("2024-03-03 12:00+00", "2024-03-04 12:00+00"):
        # Rows behind that are refused by the target, those before are committed.
        target.database.execute(f"ALTER TABLE m ADD CONSTRAINT early CHECK (time < '{until}')")
        hyperfill.run("run", *options, check=DATA)
        target.database.execute("ALTER TABLE m DROP CONSTRAINT early")
        frontier = target.database.value("SELECT max(frontier) FROM hyperfill.piece")
        frames = [line.split() for line in checkpoint.read_text().splitlines() if line.startswith("frame ")]
        places = {int(words[3].split("=")[1]): int(words[2].split("=")[1]) for words in frames}
        known.append(max(at for at in places if at <= frontier))
    # The second run has begun where the first one knew a frame, and has told of others.
    assert 8 << 20 < known[0] < known[1]
    before = target.database.value("SELECT count(*) FROM m")
    if lost:
        checkpoint.unlink()
    summary = summary_of(hyperfill.run("run", *options))
    assert summary["rows"] == rows - before > 0
    needed = packed.stat().st_size - (0 if lost else places[known[1]])
    assert needed <= summary["bytes_read"] <= needed + 10_000
    assert target.database.fingerprint("m") == expected


@pytest.mark.parametrize("kinds", [("zst-sized", "zst"), ("gz", "gz-members"), ("zst", "gz")], ids="-then-".join)
def test_resume_of_standard_input(target, hyperfill, text, kinds):
    """The text must be the same; how it is compressed is nothing to the job."""
    options = target.options("-", "--memory", "16MB", "--range-interval", "1h", "--order", "oldest")
    target.database.execute("ALTER TABLE m ADD CONSTRAINT early CHECK (time < '2024-03-04 12:00+00')")
    hyperfill.run("run", *options, stdin=FILES[kinds[0]](text), check=DATA)
    assert 0 < target.database.value("SELECT count(*) FROM m") < ROWS
    target.database.execute("ALTER TABLE m DROP CONSTRAINT early")
    other = text.replace(b"note 0", b"note 1", 1)
    assert "not the input" in hyperfill.run("run", *options, stdin=FILES[kinds[1]](other), check=DATA).stderr
    hyperfill.run("run", *options, stdin=FILES[kinds[1]](text))
    assert target.database.fingerprint("m") == target.copied(target.file(text, name="plain.csv"))


def frames_backfill(hyperfill, servers, pack):
    backfill = make_backfill(hyperfill, servers, "ordered", "ts17")
    plain = backfill.arguments[1]
    packed = plain.with_suffix(".packed")
    packed.write_bytes(pack(plain.read_bytes()))
    plain.unlink()
    backfill.arguments[1] = packed
    return backfill


@pytest.mark.parametrize("kind", ["frames", "gz"])
def test_twenty_kills(hyperfill, servers, chance, kind):
    pack = gzip.compress if kind == "gz" else lambda text: sized_frames(text, 1_000_000)
    frames_backfill(hyperfill, servers, pack).kill_at_random(chance, 20)


# ---- What is refused


def check_refused(target, hyperfill, packed, *problems, verified_first=False):
    result = hyperfill.run("run", *target.options(packed, "--memory", "16MB"), check=DATA)
    assert packed.name in result.stderr and re.search(r"at byte \d+ of the compressed input", result.stderr), result
    for problem in problems:
        assert problem in result.stderr, result
    # Only frames that are right, if any, may be in, once; and the same command fails again: nothing hides the failure.
    loaded = target.database.value("SELECT count(*) FROM m")
    assert loaded < ROWS
    assert loaded == 0 or verified_first
    assert target.database.value("SELECT count(DISTINCT value) FROM m") == loaded
    again = hyperfill.run("run", *target.options(packed, "--memory", "16MB"), check=DATA)
    assert problems[0] in again.stderr, again
    return loaded


@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("kind", ["gz", "gz-members", "zst", "zst-frames", "zst-sized", "zst-pzstd"])
def test_cut_off(target, hyperfill, text, chance, kind, share):
    packed = FILES[kind](text)
    cut = target.file(packed[: int(len(packed) * share) + chance.randrange(100)])
    check_refused(target, hyperfill, cut, "cut off", verified_first=kind in ("zst-sized", "zst-pzstd"))


@pytest.mark.parametrize("kind", ["gz", "gz-members", "zst", "zst-frames", "zst-sized"])
def test_wrong_checksum(target, hyperfill, text, kind):
    packed = bytearray(FILES[kind](text))
    packed[-6 if kind.startswith("gz") else -2] ^= 1
    check_refused(target, hyperfill, target.file(bytes(packed)), "checksum", verified_first=kind == "zst-sized")


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_corrupt(target, hyperfill, text, kind):
    """What such a file decompresses to may be no CSV long before its checksum tells: but it never loads as if it were right."""
    packed = bytearray(FILES[kind](text))
    packed[len(packed) // 2 : len(packed) // 2 + 50] = bytes(50)
    path = target.file(bytes(packed))
    for _ in range(2):
        hyperfill.run("run", *target.options(path, "--memory", "16MB"), check=DATA)
    assert target.database.value("SELECT count(*) FROM m") == 0


def test_small_frames_are_verified_first(target, hyperfill, text):
    """Of a frame with a wrong checksum no row is committed, where it says its size and that is not large."""
    frames = [zstd(part, f"--stream-size={len(part)}") for part in parts(text, 200_000)]
    middle = len(frames) // 2
    frames[middle] = frames[middle][:-1] + bytes([frames[middle][-1] ^ 1])
    check_refused(target, hyperfill, target.file(b"".join(frames)), "checksum", verified_first=True)
    first = text[: 200_000 * middle].count(b"+00,")
    assert target.database.value("SELECT coalesce(max(value), -1) FROM m") < first


@pytest.mark.parametrize("kind", ["gz", "zst", "zst-sized"])
@pytest.mark.parametrize("rows", [1000, 300_000], ids=["kept", "twice"])
def test_verified_before(target, hyperfill, kind, rows):
    """By default no row of a corrupt file is used, whether or not its text has room in memory; one that is right loads."""
    text = text_of(rows)
    pack = {"gz": quick_gzip, "zst": zstd, "zst-sized": lambda text: zstd(text, f"--stream-size={len(text)}")}[kind]
    packed = bytearray(pack(text))
    good = target.file(bytes(packed), name="good")
    packed[-6 if kind == "gz" else -2] ^= 1
    # A quarter of it is for text and for what decompressing takes: with less, whether the small text has room beside zstd's
    # window depends on whether that is given back by then. The large one never has.
    memory = ["--memory", "32MB"]
    assert rows == 1000 or len(text) > 8 << 20
    result = hyperfill.run("run", *target.options(target.file(bytes(packed)), *memory), check=DATA)
    assert "checksum" in result.stderr and "suspect" not in result.stderr, result
    assert target.database.value("SELECT count(*) FROM m") == 0
    result = hyperfill.run("run", *target.options(good, *memory, "--checkpoint", hyperfill.folder / "good.checkpoint"))
    assert target.database.rows("SELECT count(*), count(DISTINCT value) FROM m") == [(rows, rows)]
    # It is told only where it takes its time.
    assert ("verifying" in result.stderr) == (rows > 1000), result


def blocks_of(frame):
    """Where the blocks of a frame begin, as RFC 8878 has them."""
    descriptor = frame[4]
    single = descriptor & 0x20 != 0
    at = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3] + ((1 if single else 0), 2, 4, 8)[descriptor >> 6]
    found, last = [], False
    while not last:
        header = int.from_bytes(frame[at : at + 3], "little")
        found.append(at)
        last = header & 1 != 0
        at += 3 + (1 if header >> 1 & 3 == 1 else header >> 3)
    return found


@pytest.mark.parametrize("sized", [False, True], ids=["", "sized"])
def test_without_a_checksum(target, hyperfill, sized):
    """Where no checksum stands at the end there is nothing to look for there: it is decompressed once, and fails where it is wrong."""
    rows = 300_000
    text = text_of(rows)
    packed = zstd(text, "--no-check", *([f"--stream-size={len(text)}"] if sized else []))
    blocks = blocks_of(packed)
    middle = blocks[len(blocks) // 2]
    options = ["--memory", "32MB", "--range-interval", "1h", "--order", "oldest"]

    def load(path, *more, check=DATA):
        return hyperfill.run("run", *target.options(path, *options, "--checkpoint", path.with_suffix(".checkpoint"), *more), check=check)

    # Its structure is looked at before: nothing of one that is cut off, or has no blocks from some place on, is used.
    cut = load(target.file(packed[:-100], name="cut"))
    assert "cut off" in cut.stderr, cut
    foreign = load(target.file(packed[:middle] + bytes([packed[middle] | 6]) + packed[middle + 1 :], name="foreign"))
    assert "corrupt" in foreign.stderr, foreign
    assert target.database.value("SELECT count(*) FROM m") == 0
    # A block that cannot be decompressed: those before may have been used, and the job is never complete.
    damaged = target.file(packed[: middle + 3] + b"\xff\xff\xff" + packed[middle + 6 :], name="damaged")
    for _ in range(2):
        wrong = load(damaged)
        assert "corrupt" in wrong.stderr and "suspect" in wrong.stderr, wrong
        assert "verifying" not in wrong.stderr
        assert target.database.value("SELECT count(*) FROM hyperfill.job WHERE finished IS NOT NULL") == 0
    loaded, different = target.database.rows("SELECT count(*), count(DISTINCT value) FROM m")[0]
    assert loaded == different < rows
    hyperfill.run("clean", *target.options("-")[2:6], "--yes")
    right = load(target.file(packed, name="right"), "--overlap", "replace", "--yes", check=0)
    assert "verifying" not in right.stderr, right
    assert target.database.fingerprint("m") == target.copied(target.file(text, name="plain.csv"))


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_verified_by_the_look_for_overlaps(target, hyperfill, kind):
    """Where the target has rows, a file is read to its end to know its ranges: what was right then is not decompressed a third time."""
    rows = 300_000
    packed = bytearray({"gz": quick_gzip, "zst": zstd}[kind](text_of(rows)))
    good = target.file(bytes(packed), name="good")
    packed[-6 if kind == "gz" else -2] ^= 1
    bad = target.file(bytes(packed), name="bad")
    target.database.execute("INSERT INTO m (time, value) VALUES ('2023-01-01 00:00+00', -1)")
    result = hyperfill.run("run", *target.options(bad, "--memory", "32MB", "--checkpoint", hyperfill.folder / "bad.checkpoint"), check=DATA)
    assert "checksum" in result.stderr and "suspect" not in result.stderr, result
    assert target.database.value("SELECT count(*) FROM m") == 1
    result = hyperfill.run("run", *target.options(good, "--memory", "32MB"))
    assert "verifying" not in result.stderr, result
    assert target.database.rows("SELECT count(*), count(DISTINCT value) FROM m") == [(rows + 1, rows + 1)]


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_verified_after(target, hyperfill, kind):
    """A corrupt file whose rows came before its checksum: the job fails each time, is never complete, and says what to do, which works."""
    rows = 300_000
    text = text_of(rows)
    pack = {"gz": quick_gzip, "zst": zstd}[kind]
    packed = bytearray(pack(text))
    wrong = text.replace(b",299000,", b",299001,")
    path = target.file(pack(wrong)[: -8 if kind == "gz" else -4] + bytes(packed[-8 if kind == "gz" else -4 :]), name="m")
    options = target.options(path, "--memory", "16MB", "--range-interval", "1h", "--order", "oldest", "--verify-input", "after")
    for _ in range(2):
        result = hyperfill.run("run", *options, check=DATA)
        assert "checksum" in result.stderr and "suspect" in result.stderr and "--overlap replace" in result.stderr, result
        assert "verifying" not in result.stderr
        assert target.database.value("SELECT count(*) FROM hyperfill.job WHERE finished IS NULL") == 1
    # What is loaded is there once, and some of it is: else this would not be the case that it is meant to be.
    ((loaded, different),) = target.database.rows("SELECT count(*), count(DISTINCT value) FROM m")
    assert 0 < loaded < rows and different == loaded
    path.write_bytes(packed)
    hyperfill.run("clean", *options[2:6], "--yes")
    (hyperfill.folder / "hyperfill-m.checkpoint").unlink(missing_ok=True)
    hyperfill.run("run", *options, "--overlap", "replace")
    assert target.database.fingerprint("m") == target.copied(target.file(text, name="plain.csv"))


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_what_follows(target, hyperfill, text, kind):
    packed = target.file(FILES[kind](text) + b"2024-03-01 00:00:00+00,1,a\n")
    check_refused(target, hyperfill, packed, "is something else" if kind == "zst" else "is no gzip")


def test_window_too_large(target, hyperfill, text):
    packed = target.file(long_window(text))
    result = hyperfill.run("run", *target.options(packed, "--memory", "64MB"), check=DATA)
    more = re.search(r"--memory (\d+MB)", result.stderr)[1]
    hyperfill.run("run", *target.options(packed, "--memory", more))
    assert target.database.value("SELECT count(*) FROM m") == ROWS


# ---- A file that is written or replaced


@pytest.mark.parametrize("pack", [bytes, zstd], ids=["plain", "zst"])
def test_open_for_writing(target, hyperfill, text, pack):
    path = target.file(pack(text))
    with open(path, "ab"):
        result = hyperfill.run("run", *target.options(path), check=DATA)
    assert path.name in result.stderr and "being written" in result.stderr, result
    hyperfill.run("run", *target.options(path))


class Held:
    """A run that cannot go on: its table is locked, and the memory is small."""

    def __init__(self, target, hyperfill, path):
        self.connection = target.database.connect()
        with self.connection.cursor() as cursor:
            cursor.execute("LOCK TABLE m IN SHARE MODE")
        self.process = hyperfill.start("run", *target.options(path, "--memory", "16MB"))
        wait_until(target.database.waits_for_locks, what="a writer that waits")

    def release(self):
        self.connection.rollback()
        self.connection.close()
        return self.process.wait(check=DATA)


@pytest.mark.parametrize("pack", [bytes, lambda text: sized_frames(text, 1_000_000), lambda text: gzip.compress(text, 1)], ids=["plain", "zst", "gz"])
@pytest.mark.parametrize("change", ["grows", "is replaced", "shrinks", "is touched"])
def test_changed_while_read(target, hyperfill, pack, change):
    text = text_of(400_000)
    path = target.file(pack(text))
    held = Held(target, hyperfill, path)
    if change == "grows":
        with open(path, "ab") as file:
            file.write(pack(b"2024-03-01 00:00:00+00,1,a\n"))
    elif change == "shrinks":
        os.truncate(path, path.stat().st_size - 10)
    elif change == "is touched":
        os.utime(path)
    else:
        other = target.file(pack(text), name="other")
        os.replace(other, path)
    result = held.release()
    assert path.name in result.stderr, result
    assert ("replaced" if change == "is replaced" else "changed") in result.stderr, result
    assert target.database.value("SELECT count(*) FROM m") < 400_000
