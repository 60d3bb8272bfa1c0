"""Random files, judged by the server: cut, routed and loaded piece by piece they are what one COPY makes of them.

The real cutter and router run in build/differential-pieces, many files in one process, with reads of random sizes and little
memory. A file that the server refuses must be refused, and the record that is named must be the one it dislikes.

HYPERFILL_TEST_COUNT  files to try (default 10000)
"""

import collections
import io
import os
import random
import subprocess

import psycopg2
import pytest

import harness

COUNT = int(os.environ.get("HYPERFILL_TEST_COUNT", "10000"))

INTEGER, ZONED = 5, 0  # enum time_type
INTERVAL = {INTEGER: 1000, ZONED: 86_400_000_000}
TABLES = {INTEGER: "bigint", ZONED: "timestamptz"}
BLOCKS_TO_KEEP = 1024
RECORD_MAX = 12_000
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# ---- Random files

Dialect = collections.namedtuple("Dialect", "delimiter quote escape null newline style")


def random_dialect(chance):
    delimiter = chance.choice(",,,,,,;\t| ")
    quote = chance.choice('""""""\'~')
    escape = chance.choice([quote, quote, quote, "\\", "\\", "'", "^", "a"])
    null = chance.choice(["", "", "", "", "\\N", "NULL", "\\.", "0"])
    return Dialect(delimiter, quote, escape, null, chance.choice(["\n", "\n", "\r\n", "\r"]), chance.choice(["wild", "bare", "bare", *["mixed"] * 7]))


def random_text(chance, dialect, size):
    special = [dialect.quote, dialect.escape, dialect.delimiter, "\n", "\r", "\r\n", "\\", "\\.", "\n\\.\n", " ", '"', "'", ","]
    special += [dialect.null, "é", "€", "😀", "\ufeff", "\t", "\x7f", "\x01"]
    plain = "abcdefghijklmnopqrstuvwxyz0123456789 "
    weight = chance.choice([0.05, 0.3, 0.9])
    return "".join(chance.choice(special) if chance.random() < weight else chance.choice(plain) for _ in range(size))


def quoted(text, dialect):
    """As the server writes it: exact for every text."""
    if dialect.escape != dialect.quote:
        text = text.replace(dialect.escape, dialect.escape * 2)
    return dialect.quote + text.replace(dialect.quote, dialect.escape + dialect.quote) + dialect.quote


def bare(text, dialect):
    """Without quotes, and without what needs them."""
    for special in (dialect.quote, dialect.delimiter, "\n", "\r"):
        text = text.replace(special, "")
    return text


def wild_field(chance, dialect):
    """Whatever the toggle may make of it."""
    alphabet = [dialect.quote, dialect.quote, dialect.escape, dialect.delimiter, "\n", "\r", "a", "\\"]
    return "".join(chance.choice(alphabet) for _ in range(chance.randrange(6)))


def random_field(chance, dialect):
    dice = chance.random()
    if dialect.style == "wild" and dice < 0.3:
        return wild_field(chance, dialect)
    if dice < 0.1:
        return dialect.null
    if dice < 0.15 and dialect.style != "bare":
        return dialect.quote * 2
    size = chance.randrange(chance.choice([3, 8, 20, 60]))
    if chance.random() < 0.002:
        size = chance.randrange(RECORD_MAX // 8)
    text = random_text(chance, dialect, size)
    if dice < 0.5 or dialect.style == "bare":
        return bare(text, dialect)
    if dice < 0.9:
        return quoted(text, dialect)
    # Quotes within a field toggle.
    return bare(text[: size // 2], dialect) + quoted(text[size // 2 :], dialect) + bare(text[:3], dialect)


def random_time(chance, dialect, type_number):
    if type_number == INTEGER:
        text = str(chance.choice([chance.randrange(-2500, 2500), chance.randrange(-(10**6), 10**6), 9_000_000_000_000_000_000]))
        text = chance.choice([text, text, text, text, " " + text, text + "  ", "+" + text.lstrip("-")])
    else:
        day, hour = f"2024-03-{chance.randrange(1, 9):02}", f"{chance.randrange(24):02}:{chance.randrange(60):02}"
        zone = chance.choice(["Z", "+00", "-07", "+05:30", "+0130", " +02", "z", "-12:34:56"])
        second = chance.choice([":00", ":59", ":59.9999995", ":07.123456", ":60", "", ":01.5"])
        text = day + chance.choice(" T") + hour + second + zone
    dice = chance.random()
    if dice < 0.1:
        return quoted(text, dialect)
    if dice < 0.12:
        return text[:2] + quoted(text[2:], dialect)
    if dice < 0.1225:
        return chance.choice(["", dialect.null, dialect.quote * 2, "x", "1.5", "99999999999999999999", "2024-13-01", "2024-02-30 00:00Z"])
    # The dialect may give a character of it a meaning.
    return text if bare(text, dialect) == text != dialect.null else quoted(text, dialect)


def random_record(chance, dialect, type_number, index):
    number = chance.choice([dialect.null, str(chance.randrange(-9, 1000)), "7" if dialect.style == "bare" else quoted("7", dialect)])
    fields = [random_field(chance, dialect), random_field(chance, dialect), number if chance.random() < 0.995 else "x"]
    fields.insert(index, random_time(chance, dialect, type_number))
    dice = chance.random()
    if dice < 0.003:
        fields.pop(chance.randrange(4))
    elif dice < 0.006:
        fields.insert(chance.randrange(5), random_field(chance, dialect))
    elif dice < 0.008:
        return chance.choice(["", "\\.", " ", dialect.quote * 2, "\\.x"])
    return dialect.delimiter.join(fields)[:RECORD_MAX]


def mutated(chance, data, dialect):
    data = bytearray(data)
    special = [dialect.quote.encode(), dialect.escape.encode(), dialect.delimiter.encode(), b"\n", b"\r", b"\r\n", b"\\.", b"\n\\.\n"]
    special += [b"\0", b"\xff", b"\xc3", b"\x80", BYTE_ORDER_MARK, b""]
    for _ in range(chance.choice([1, 1, 2, 5])):
        at = chance.randrange(len(data) + 1)
        data[at : at + chance.randrange(3)] = chance.choice(special)
    return bytes(data)


def random_file(chance, dialect, type_number, index):
    count = chance.randrange(1, chance.choice([3, 12, 12, 25, 300 if chance.random() < 0.1 else 5]))
    records = [random_record(chance, dialect, type_number, index) for _ in range(count)]
    ends = [dialect.newline] * (count - 1) + [dialect.newline if chance.random() < 0.7 else ""]
    if chance.random() < (0.5 if dialect.style == "bare" else 0.05):
        ends[chance.randrange(count)] = chance.choice(["\n", "\r\n", "\r"])
    data = "".join(record + end for record, end in zip(records, ends)).encode()
    if chance.random() < 0.25:
        data = mutated(chance, data, dialect)
    # The reader takes a byte order mark away, the server does not.
    while data.startswith(BYTE_ORDER_MARK):
        data = data[len(BYTE_ORDER_MARK) :]
    return data


# ---- What we make of them

Piece = collections.namedtuple("Piece", "low high rows data records")
Outcome = collections.namedtuple("Outcome", "pieces status offset line text")


class Reader:
    """The reader's own process."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0

    def _ask(self, request):
        self.process.stdin.write(request)
        self.process.stdin.flush()

    def _line(self):
        line = self.process.stdout.readline().decode().split()
        assert line, f"the reader has ended with {self.process.wait()}"
        return line

    def read(self, data, dialect, type_number, index, stream, blocks, memory, seed):
        numbers = [ord(dialect.delimiter), ord(dialect.quote), ord(dialect.escape), f"x{dialect.null.encode().hex()}.", type_number]
        numbers += [index, int(stream), blocks, memory, seed, len(data)]
        self._ask(b"file " + " ".join(map(str, numbers)).encode() + b"\n" + data)
        pieces = []
        while (answer := self._line())[0] == "piece":
            low, high, rows, size = map(int, answer[1:])
            text = self.process.stdout.read(size)
            places = list(map(int, self._line()))
            pieces.append(Piece(low, high, rows, text, list(zip(places[::2], places[1::2]))))
        status, offset, line, size = map(int, answer[1:])
        return Outcome(pieces, status, offset, line, self.process.stdout.read(size).decode(errors="replace"))

    def locate(self, piece, line):
        self._ask(f"locate {piece} {line}\n".encode())
        return int(self._line()[1])


# ---- What the server makes of them


class Judge:
    """Loads into two tables that are empty again after each transaction."""

    def __init__(self, database):
        self.connection = database.connect()
        self.cursor = self.connection.cursor()
        self.cursor.execute("SET timezone = 'UTC'")
        for number, type_name in TABLES.items():
            self.cursor.execute(
                f"CREATE TEMP TABLE t{number} (t {type_name} NOT NULL, a text, b text, n int) ON COMMIT DELETE ROWS"
            )
        self.connection.commit()

    def load(self, texts, dialect, type_number, index):
        """(fingerprint, times) of the texts loaded one after the other; or (which one failed, at which line)."""
        columns = ["a", "b", "n"]
        columns.insert(index, "t")
        literals = [self.cursor.mogrify("%s", [value]).decode() for value in dialect[:4]]
        options = "FORMAT csv, DELIMITER {}, QUOTE {}, ESCAPE {}, NULL {}".format(*literals)
        rows = []
        try:
            for number, text in enumerate(texts):
                self.cursor.copy_expert(f"COPY t{type_number} ({', '.join(columns)}) FROM STDIN ({options})", io.BytesIO(text))
                rows.append(self.cursor.rowcount)
            time = "t" if type_number == INTEGER else "(extract(epoch FROM t) * 1000000)::bigint"
            self.cursor.execute(f"SELECT {time}, hash_record_extended(ROW(t, a, b, n), 0) FROM t{type_number}")
            stored = self.cursor.fetchall()
            self.connection.commit()
            return True, rows, collections.Counter(stored)
        except psycopg2.Error as error:
            self.connection.rollback()
            return False, number, error


def context_line(error):
    """The line that COPY names."""
    words = (error.diag.context or "").split()
    return int(words[words.index("line") + 1].rstrip(",:")) if "line" in words else 0


# ---- The comparison


class Trial:
    def __init__(self, judge, reader, seed):
        self.judge, self.reader, self.seed = judge, reader, seed
        chance = random.Random(seed)
        self.dialect = random_dialect(chance)
        self.type = chance.choice([INTEGER, INTEGER, ZONED])
        self.index = chance.choice([0, 0, 1, 3])
        self.data = random_file(chance, self.dialect, self.type, self.index)
        self.small = len(self.data) < 4000
        self.stream = len(self.data) < 60_000 and chance.random() < 0.3
        self.blocks = BLOCKS_TO_KEEP if self.small and chance.random() < 0.7 else chance.choice([8, 9, 16, 100])
        self.memory = chance.choice([64 << 10, 16 << 20])

    def load(self, texts):
        return self.judge.load(texts, self.dialect, self.type, self.index)

    def assert_that(self, fine, what):
        if not fine:
            pytest.fail(f"seed {self.seed}: {what}\n{self.dialect} type {self.type} time {self.index}\n{self.data!r}\n{self.ours}")

    def run(self):
        """'same' if both load it, 'refused' if neither does, or why we may refuse what the server takes."""
        self.ours = self.reader.read(
            self.data, self.dialect, self.type, self.index, self.stream, self.blocks, self.memory, self.seed % (1 << 31)
        )
        loads, rows, stored = self.load([self.data])
        if self.ours.status != 0:
            return self.check_named_by_reader(loads)
        piecewise, piece_rows, piece_stored = self.load([piece.data for piece in self.ours.pieces])
        if not piecewise:
            self.assert_that(not loads, f"the server refuses a piece: {piece_stored}")
            return self.check_named_by_server(piece_rows, piece_stored)
        self.assert_that(loads, f"we load what the server refuses: {stored}")
        self.assert_that(piece_stored == stored, "rows differ")
        self.assert_that(piece_rows == [piece.rows for piece in self.ours.pieces], f"rows are counted wrongly: {piece_rows}")
        self.assert_that(sum(piece_rows) == sum(rows), "counts of rows differ")
        self.check_ranges(stored)
        return "same"

    def check_ranges(self, stored):
        interval = INTERVAL[self.type]
        expected = collections.Counter()
        for (time, _), count in stored.items():
            expected[time // interval * interval] += count
        found = collections.Counter()
        for piece in self.ours.pieces:
            found[piece.low] += piece.rows
        self.assert_that(expected == found, "rows in ranges of others")

    def check_named_by_reader(self, loads):
        offset = self.ours.offset
        if "raise --memory" in self.ours.text:
            return "too large"
        self.assert_that(0 <= offset <= len(self.data), "no place is named")
        if "a line that is only" in self.ours.text:
            self.assert_that(self.data[offset : offset + 2] == b"\\.", "no such line")
            return "end of data"
        if loads and self.type == ZONED and ("that can be read" in self.ours.text or "no time zone" in self.ours.text):
            return "odd time"
        self.assert_that(not loads, "the server loads it")
        # What lies before the named record is fine, or the server dislikes something earlier, as it will in its piece.
        before, _, error = self.load([self.data[:offset]])
        if before:
            pieces, _, error = self.load([piece.data for piece in self.ours.pieces])
            self.assert_that(pieces, f"the server refuses a piece of what it takes: {error}")
        if b"\r" not in self.data and b"\n" in self.data[:offset] and self.dialect.newline == "\n":
            line = 1 + self.data[:offset].count(b"\n")
            self.assert_that(self.ours.line == line, f"it is line {line}")
        return "refused"

    def check_named_by_server(self, number, error):
        """The record that is found from COPY's line is the first one that the server dislikes."""
        piece = self.ours.pieces[number]
        if self.blocks != BLOCKS_TO_KEEP:
            return "refused"
        offset = self.reader.locate(number, context_line(error))
        offsets = [place for place, _ in piece.records]
        self.assert_that(offset in offsets, f"byte {offset} is no record: {error}")
        at = offsets.index(offset)
        # Behind a CR the server looks at the next byte: if that begins no character, it names the record before.
        if self.dialect.newline == "\r" and error.pgcode == "22021" and self.load([piece.data[: sum(size for _, size in piece.records[: at + 1])]])[0]:
            at += 1
        before, size = (sum(size for _, size in piece.records[:end]) for end in (at, at + 1))
        self.assert_that(self.load([piece.data[:before]])[0], f"what is before byte {offset} is refused as well: {error}")
        self.assert_that(not self.load([piece.data[:size]])[0], f"the record at byte {offset} is fine: {error}")
        return "named"


def test_random_files(servers, hyperfill):
    program = hyperfill.binary.parent / "differential-pieces"
    if not program.exists():
        pytest.skip(f"{program} is not built")
    seen = collections.Counter()
    judge, reader = Judge(servers["pg15"].create_database()), Reader(program)
    print(f"HYPERFILL_TEST_SEED={harness.SEED}")
    for number in range(COUNT):
        seen[Trial(judge, reader, harness.SEED + number).run()] += 1
    reader.close()
    judge.connection.close()
    print(dict(seen))
    # Files of which nothing comes to the server prove little.
    assert seen["same"] > COUNT // 3 and seen["named"] > COUNT // 100 and seen["refused"] > COUNT // 100, seen
