"""The transcoder, judged by the server: what it converts is what the server stores for the text, byte for byte.

Values of each type, random and nasty ones, go through build/differential-transcode. Those that it converts are loaded by a CSV COPY
into one table and by a binary COPY into another. What only the server judges (JSON, labels, lengths, constraints) may be refused by
it, then for the same reason in both.

HYPERFILL_TEST_VALUES  random values of each type, and as many nasty ones (default 10000)
"""

import collections
import io
import os
import struct
import subprocess

import psycopg2
import pytest


COUNT = int(os.environ.get("HYPERFILL_TEST_VALUES", "10000"))
TOOL = os.path.join(os.path.dirname(os.environ.get("HYPERFILL_BINARY", "build/hyperfill")), "differential-transcode")
HEADER, TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
BLANKS = [" ", "  ", "\t", "\n", "\v", "\f", "\r", "\u00a0", "\0"[:0]]

Dialect = collections.namedtuple("Dialect", "delimiter quote escape null", defaults=(",", '"', '"', ""))


def convert(columns, text, dialect=Dialect(), zone="none"):
    """Pairs of a record and its row, which is empty where it was refused."""
    if not os.path.exists(TOOL):
        pytest.skip(f"{TOOL} is not built")
    numbers = [str(ord(c)) for c in dialect[:3]]
    done = subprocess.run([TOOL, *numbers, "x" + dialect.null.encode().hex(), str(zone), *columns], input=text, capture_output=True)
    assert done.returncode in (0, 1), done.stderr
    pairs, at, place, said = [], 0, 0, done.stdout
    while at < len(said):
        size, row = struct.unpack_from("=II", said, at)
        pairs.append((text[place : place + size], said[at + 8 : at + 8 + row]))
        at += 8 + row
        place += size
    return pairs


# ---- Values


def decimal_text(chance):
    digits = "".join(chance.choice("0123456789") for _ in range(chance.randrange(1, chance.choice([3, 8, 17, 21, 40]))))
    point = chance.randrange(len(digits) + 1)
    text = chance.choice(["", "", "-", "+"]) + chance.choice([digits, digits[:point] + "." + digits[point:]])
    return text + (chance.choice("eE") + chance.choice(["", "-", "+"]) + str(chance.randrange(chance.choice([3, 30, 400]))) if chance.random() < 0.3 else "")


def float_text(chance):
    """Also what lies on or near the middle between two floats."""
    kind = chance.randrange(6)
    if kind < 2:
        return decimal_text(chance)
    if kind == 2:
        return repr(struct.unpack("=d", struct.pack("=Q", chance.getrandbits(64)))[0])
    if kind == 3:
        return repr(chance.uniform(-1000, 1000))
    if kind == 4:
        bits = chance.choice([24, 53])
        whole = (chance.getrandbits(bits) | 1 << (bits - 1)) * 2 + 1
        shift = chance.randrange(-24, 11)
        exact = whole * 2**shift if shift >= 0 else whole * 5**-shift
        text = str(exact) if shift >= 0 else f"{exact}e{shift}"
        return text if chance.random() < 0.5 else str(int(text.split("e")[0]) + chance.choice([-1, 1])) + ("e" + text.split("e")[1] if "e" in text else "")
    return f"{chance.randrange(10**chance.randrange(1, 20))}e{chance.randrange(-25, 25)}"


def time_text(chance):
    year = chance.choice([f"{chance.randrange(1970, 2040)}"] * 4 + [f"{chance.randrange(1, 10000):04}", f"{chance.randrange(10000, 300000)}"])
    clock = f"{chance.randrange(25):02}:{chance.randrange(60):02}" + chance.choice(["", f":{chance.randrange(61):02}"])
    if clock.count(":") == 2 and chance.random() < 0.6:
        clock += "." + "".join(chance.choice("0123456789") for _ in range(chance.choice([1, 3, 6, 6, 7, 9, 12])))
    text = f"{year}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}" + chance.choice(" T") + clock
    return text + chance.choice(["", "Z", "+00", "+05:30", "-0330", " +02", "-12:34:56", "+15:59"]) + chance.choice([""] * 9 + [" BC"])


def json_text(chance, depth=0):
    kind = chance.randrange(9 if depth < 3 else 6)
    if kind >= 7:
        return "[" + ", ".join(json_text(chance, depth + 1) for _ in range(chance.randrange(4))) + "]"
    if kind >= 6:
        return "{" + ",".join(f'"k{i % 3}": ' + json_text(chance, depth + 1) for i in range(chance.randrange(4))) + "}"
    return chance.choice(["null", "true", "false", "0", "-1.50e3", "12345678901234567890.5", '""', '"é\\u00e9\\n"', '"\\ud83d\\ude00 😀"', ' "x" '])


def some_text(chance):
    return "".join(chance.choice('abcXYZ 012,;"\'\\\n\té€😀\u00a0') for _ in range(chance.randrange(chance.choice([2, 6, 12, 40]))))


def uuid_text(chance):
    digits = f"{chance.getrandbits(128):032x}"
    return "-".join([digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]]) if chance.random() < 0.8 else digits.upper()


def integer_text(bits):
    def make(chance):
        size = chance.randrange(1, bits)
        return str(chance.getrandbits(size) * chance.choice([-1, 1]))

    return make


def one_of(*texts):
    return lambda chance: chance.choice(texts)


# `judged`: the server itself refuses some of what is converted. `least`: the share of nasty values that must be converted.
Kind = collections.namedtuple("Kind", "type base random seeds alphabet judged least zone", defaults=(False, 0.1, "none"))
NUMBER = "0123456789+-.eE_xX naifNAIF"
TIMES = ["infinity", "-infinity", "+infinity", "Infinity", "-INFINITY", "epoch", "now", "today", "294276-12-31 23:59:59.999999Z", "0001-01-01 BC",
         "4714-11-24 00:00:00 BC", "4713-01-01 BC", "2024-02-30", "2023-02-29", "2024-12-31 24:00:00Z", "2024-12-31 23:59:60Z", "1999-12-31 23:59:59.9999995+00",
         "2000-01-01 00:00:00.0005Z", "1999-12-31 23:59:59.9995Z", "20240229T123456Z", "2024/2/9 1:02:03", "2024-01-01 CET", "Jan 5 2024", "01/02/2024", "5874897-12-31",
         "2024-01-01T00:00:00.123456789Z", "2024-01-01 00:00:00 UTC", "24:00", "2024-060", "J2451187", "allballs"]  # fmt: skip
FLOATS = ["0", "-0", "-0.0", "1e400", "1e-400", "4.9e-324", "2.4e-324", "1.7976931348623157e308", "1.7976931348623159e308", "2.2250738585072011e-308", "NaN", "nan", "-NaN", "Infinity",
          "-infinity", "+inf", "inf", "-Inf", "0x10", "1e", ".", "5.", ".5", "-.5e-3", "1e+5", "9007199254740993", "9007199254740992.5", "16777217", "16777219", "3.4028235e38",
          "3.4028236e38", "1e-45", "7e-46", "1_000", "1,5", "1e00000000000000000005", "nan(1)", "0e999999", "1" + "0" * 300, "0." + "0" * 300 + "1", "18446744073709551615", "99999999999999999999"]  # fmt: skip
NUMBERS = FLOATS + ["99999.99949", "99999.9995", "9999999.9995", "-0.0004", "0.0005", "1e1000", "1e-1000", "1e1001", "0.00", "000123.4500", "12345678.125", "1" * 200 + "." + "7" * 200, "0x1F", "0b1", "1e-20000"]
INTEGERS = ["0", "-0", "+0", "007", "32767", "32768", "-32768", "-32769", "2147483647", "2147483648", "-2147483648", "-2147483649", "9223372036854775807",
            "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "1.0", "1e3", "0x10", "0b1", "1_000", "--1", "+-1", "+", "-", "18446744073709551616", "0000000000000000000000005"]  # fmt: skip
TEXTS = ["", " ", "NULL", "\\N", "\\.", "abcde", "abcde   ", "abcdef", "ab  ", "ééééé", "éééééé", "  abc", "abcdef ", "'", '"', '""', "a\r\nb", "x" * 5000]
JSONS = ['{"a":1,"a":2}', '{"a":1', "[1,]", "01", "1.", "-", '"\\u0000"', '"\\ud800"', '"\n"', "'a'", "NaN", "1e400", "[[[[[[[[[[]]]]]]]]]]", "tru", '{"a" 1}', ' { "b" : [ ] } ', '"\\x"', "1 2", '{1:2}', '"' + "y" * 3000 + '"']  # fmt: skip
KINDS = [
    Kind("bool", "bool", one_of("t", "f", "true", "false", "1", "0", "on", "off", "yes", "no", "TRUE", "False"), ["tr", "tru", "o", "of", "oN", "2", "01", "truee", "y ", " n", "10"], "truefalsyno10 ", least=0.3),
    Kind("int2", "int2", integer_text(16), INTEGERS, NUMBER),
    Kind("int4", "int4", integer_text(32), INTEGERS, NUMBER),
    Kind("int8", "int8", integer_text(64), INTEGERS, NUMBER),
    Kind("float4", "float4", float_text, FLOATS, NUMBER),
    Kind("float8", "float8", float_text, FLOATS, NUMBER),
    Kind("numeric", "numeric", decimal_text, NUMBERS, NUMBER),
    Kind("numeric(8,3)", "numeric", decimal_text, NUMBERS, NUMBER, True),
    Kind("numeric(40,0)", "numeric", decimal_text, NUMBERS, NUMBER, True),
    Kind("text", "text", some_text, TEXTS, "ab ,\"\\\né", least=0.9),
    Kind("varchar(5)", "varchar", some_text, TEXTS, "ab ,\"\\\né", True, 0.9),
    Kind("char(5)", "bpchar", some_text, TEXTS, "ab ,\"\\\né", True, 0.9),
    Kind("uuid", "uuid", uuid_text, ["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0eebc999c0b4ef8bb6d6bb9bd380a11", "A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11"], "0123456789abcdefABCDEFg-{} "),
    Kind("json", "json", json_text, JSONS, "{}[]\",:01eE.\\n ", True, 0.9),
    Kind("jsonb", "jsonb", json_text, JSONS, "{}[]\",:01eE.\\n ", True, 0.9),
    Kind("pg_temp.mood", "enum", one_of("happy", "so so", "größer", "a,b"), ["Happy", "happy ", "", " happy", "so  so"], "hapysoö ,", True, 0.9),
    Kind("pg_temp.positive", "int4", integer_text(16), INTEGERS, NUMBER, True),
    Kind("pg_temp.price", "numeric", decimal_text, NUMBERS, NUMBER, True),
    Kind("timestamptz", "timestamptz", time_text, TIMES, "0123456789:-+.TZ BC"),
    Kind("timestamptz(3)", "timestamptz", time_text, TIMES, "0123456789:-+.TZ BC", zone=19800),
    Kind("timestamp", "timestamp", time_text, TIMES, "0123456789:-+.TZ BC"),
    Kind("timestamp(0)", "timestamp", time_text, TIMES, "0123456789:-+.TZ BC"),
    Kind("date", "date", time_text, TIMES, "0123456789:-+.TZ BC"),
]  # fmt: skip


def nasty(kind, chance):
    """Something that is nearly a value, or one in a rare spelling."""
    text = chance.choice(kind.seeds) if chance.random() < 0.5 else kind.random(chance)
    for _ in range(chance.choice([0, 0, 1, 1, 2, 4])):
        at = chance.randrange(len(text) + 1)
        dice = chance.randrange(6)
        if dice == 0:
            text = chance.choice(BLANKS) + text + chance.choice(BLANKS)
        elif dice == 1:
            text = text[:at] + chance.choice(kind.alphabet) + text[at:]
        elif dice == 2:
            text = text[:at] + text[at + 1 :]
        elif dice == 3:
            text = text[:at] + chance.choice(kind.alphabet) + text[at + 1 :]
        elif dice == 4:
            text = chance.choice([text.upper(), text.lower(), text.swapcase()])
        else:
            text = chance.choice([text.strip(), text])
    return text


def field(chance, text):
    """As CSV. Quotes where they must be, and where they need not."""
    if text == "" or any(c in text for c in ',"\r\n') or text == "\\." or chance.random() < 0.2:
        return '"' + text.replace('"', '""') + '"'
    return text


# ---- Both ways into the server


@pytest.fixture
def types(server):
    database = server.create_database()
    database.execute("SET datestyle = 'ISO'; SET timezone = 'UTC'; CREATE TYPE pg_temp.mood AS ENUM ('happy', 'so so', 'größer', 'a,b')")
    database.execute("CREATE DOMAIN pg_temp.positive AS int4 CHECK (VALUE >= 0); CREATE DOMAIN pg_temp.price AS numeric(12,2) CHECK (VALUE <> 1)")
    return database


def copy(database, table, data, options):
    database.copy_in(f"COPY {table} FROM STDIN WITH ({options})", io.BytesIO(data))


def refusal(database, table, data, options):
    """The SQLSTATE, None if it is loaded."""
    try:
        copy(database, table, data, options)
    except psycopg2.Error as error:
        return error.pgcode
    return None


def load_what_is_valid(database, records):
    """By CSV: those that the server takes. Returns how many it was tried with."""
    if database.value("SELECT current_setting('server_version_num')::int") >= 170000:
        copy(database, "by_text", b"".join(records), "FORMAT csv, ON_ERROR ignore")
        return
    try:
        copy(database, "by_text", b"".join(records), "FORMAT csv")
    except (psycopg2.DataError, psycopg2.IntegrityError):
        half = len(records) // 2
        if half > 0:
            load_what_is_valid(database, records[:half])
            load_what_is_valid(database, records[half:])


def differences(database):
    """Also in how it is stored, as far as that shows."""
    return database.rows(
        "SELECT id, a.v::text, b.v::text FROM by_text a FULL JOIN by_row b USING (id) WHERE a.id IS NULL OR b.id IS NULL"
        " OR pg_temp.sent(a.v) IS DISTINCT FROM pg_temp.sent(b.v) OR pg_column_size(a.v) <> pg_column_size(b.v) LIMIT 20"
    )


def make_tables(database, kind):
    send = {"bool": "boolsend", "enum": "enum_send", "timestamptz": "timestamptz_send", "timestamp": "timestamp_send", "date": "date_send",
            "numeric": "numeric_send", "json": "json_send", "jsonb": "jsonb_send", "uuid": "uuid_send"}.get(kind.base, kind.base + "send")  # fmt: skip
    database.execute("DROP FUNCTION IF EXISTS pg_temp.sent; DROP TABLE IF EXISTS by_text, by_row")
    base = {"enum": "anyenum"}.get(kind.base, kind.base)
    database.execute(f"CREATE FUNCTION pg_temp.sent({base}) RETURNS bytea LANGUAGE sql AS 'SELECT {send}($1)'")
    database.execute(f"CREATE TEMP TABLE by_text (id int, v {kind.type}); CREATE TEMP TABLE by_row (id int, v {kind.type})")
    zone = {"none": "UTC", 19800: "<+05:30>-05:30"}[kind.zone]
    database.execute("SET timezone = %s", [zone])


def compare(database, kind, fields):
    """Returns the share that was converted."""
    records = "".join(f"{i},{text}\n" for i, text in enumerate(fields)).encode()
    pairs = convert(["int4", kind.base], records, zone=kind.zone)
    assert len(pairs) == len(fields)
    known = [i for i, (_, row) in enumerate(pairs) if row]
    make_tables(database, kind)
    if kind.judged:
        load_what_is_valid(database, [pairs[i][0] for i in known])
    else:
        copy(database, "by_text", b"".join(pairs[i][0] for i in known), "FORMAT csv")
    valid = {i for (i,) in database.rows("SELECT id FROM by_text")}
    copy(database, "by_row", HEADER + b"".join(pairs[i][1] for i in known if i in valid) + TRAILER, "FORMAT binary")
    assert differences(database) == []
    invalid = [i for i in known if i not in valid]
    assert kind.judged or not invalid
    for i in invalid[:100]:
        by_text = refusal(database, "by_text", pairs[i][0], "FORMAT csv")
        assert by_text is not None
        assert refusal(database, "by_row", HEADER + pairs[i][1] + TRAILER, "FORMAT binary") == by_text, pairs[i][0]
    return len(known) / len(fields), len(invalid) / len(fields)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.type for kind in KINDS])
@pytest.mark.timeout(3600)
def test_values(types, kind, chance):
    plain, refused = compare(types, kind, [field(chance, kind.random(chance)) for _ in range(COUNT)])
    rare, rare_refused = compare(types, kind, [field(chance, nasty(kind, chance)) for _ in range(COUNT)])
    print(f"{types.server.kind} {kind.type}: converted {plain:.1%} of random values ({refused:.1%} refused by the server),"
          f" {rare:.1%} of nasty ones ({rare_refused:.1%})")  # fmt: skip
    # Some are out of range, or a timestamptz without a zone.
    assert plain > {"timestamptz": 0.4, "float4": 0.7}.get(kind.base, 0.9)
    assert kind.least < rare and (rare < 1 or kind.least >= 0.9)


@pytest.mark.parametrize("base", ["text", "jsonb", "mood"])
def test_bytes_that_are_no_characters(types, base):
    """Refused by the server in both formats."""
    make_tables(types, Kind("pg_temp.mood" if base == "mood" else base, "enum" if base == "mood" else base, None, None, None))
    for bad in (b"\xff", b"a\x00b", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b'"\xff"'):
        ((record, row),) = convert(["int4", "enum" if base == "mood" else base], b"1," + bad + b"\n")
        if row:
            states = {refusal(types, "by_text", record, "FORMAT csv"), refusal(types, "by_row", HEADER + row + TRAILER, "FORMAT binary")}
            assert states == {"22021"}, bad


# ---- Records


def random_dialect(chance):
    delimiter = chance.choice(",,,;\t| ")
    quote = chance.choice('""""\'~')
    escape = chance.choice([quote, quote, "\\", "'", "^", "a"])
    return Dialect(delimiter, quote, escape, chance.choice(["", "", "\\N", "NULL", "0", "x y" if delimiter != " " else "xy"]))


def wild_record(chance, dialect, count):
    pieces = [dialect.quote, dialect.quote * 2, dialect.escape, dialect.null, "a", "7", "é", " ", "\\", "12345678901", "bcdefgh"]
    fields = []
    for _ in range(count + chance.choice([0] * 20 + [-1, 1])):
        text = "".join(chance.choice(pieces) for _ in range(chance.randrange(5)))
        if chance.random() < 0.3:
            inner = "".join(chance.choice([*pieces, dialect.delimiter, "\n"]) for _ in range(chance.randrange(6)))
            if dialect.escape != dialect.quote:
                inner = inner.replace(dialect.escape, dialect.escape * 2)
            text = dialect.quote + inner.replace(dialect.quote, dialect.escape + dialect.quote) + dialect.quote
        elif chance.random() < 0.4:
            text = dialect.null
        fields.append(text)
    return dialect.delimiter.join(fields)


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def csv_options(dialect, forced):
    lists = "".join(f", {name} ({', '.join(columns)})" for name, columns in forced.items() if columns)
    return f"FORMAT csv, DELIMITER {literal(dialect.delimiter)}, QUOTE {literal(dialect.quote)}, ESCAPE {literal(dialect.escape)}, NULL {literal(dialect.null)}{lists}"


def test_fields(server, chance):
    """Quotes, escapes, NULL and their exceptions, the count of fields: as the server reads them."""
    database = server.create_database()
    converted = tried = 0
    for _ in range(max(20, COUNT // 100)):
        dialect, count, newline = random_dialect(chance), chance.randrange(1, 5), chance.choice(["\n", "\n", "\r\n"])
        names = [f"c{i}" for i in range(count)]
        forced = {name: [column for column in names if chance.random() < 0.3] for name in ("FORCE_NULL", "FORCE_NOT_NULL")}
        flags = ["+" + "n" * (name in forced["FORCE_NULL"]) + "N" * (name in forced["FORCE_NOT_NULL"]) for name in names]
        text = "".join(wild_record(chance, dialect, count) + newline for _ in range(50)).encode()
        pairs = [pair for pair in convert(["text" + flag for flag in flags], text, dialect) if pair[1]]
        tried, converted = tried + 50, converted + len(pairs)
        database.execute(f"DROP TABLE IF EXISTS by_text, by_row; CREATE TABLE by_text (n serial, {', '.join(f'{name} text' for name in names)})")
        database.execute("CREATE TABLE by_row (LIKE by_text); CREATE SEQUENCE n OWNED BY by_row.n; ALTER TABLE by_row ALTER n SET DEFAULT nextval('n')")
        if not pairs:
            continue
        columns = ", ".join(names)
        copy(database, f"by_text ({columns})", b"".join(record for record, _ in pairs), csv_options(dialect, forced))
        copy(database, f"by_row ({columns})", HEADER + b"".join(row for _, row in pairs) + TRAILER, "FORMAT binary")
        wrong = database.rows("(TABLE by_text EXCEPT ALL TABLE by_row) UNION ALL (TABLE by_row EXCEPT ALL TABLE by_text)")
        assert wrong == [] and database.value("SELECT count(*) FROM by_row") == len(pairs), (dialect, wrong[:5])
    assert converted > tried / 3, (converted, tried)
