"""Dialects: what is loaded equals what the server's own COPY makes of the same file, or of one that says the same in its dialect."""

import pytest

from harness import DATA, USAGE
from harness.target import Target, assert_place

COLUMNS = "time timestamptz NOT NULL, value double precision, note text, more text"


@pytest.fixture
def make_target(servers, tmp_path):
    return lambda which: Target(servers[which.split("-")[0]], which.split("-")[1], tmp_path).create(COLUMNS)


@pytest.fixture(params=["pg15-plain", "ts17-hypertable"])
def target(request, make_target):
    return make_target(request.param)


@pytest.fixture
def plain(make_target):
    return make_target("pg15-plain")


def rows(target, columns="value, note, more"):
    return target.database.rows(f"SELECT {columns} FROM m ORDER BY time, value")


def refuse(target, hyperfill, file, *options, says, status=USAGE):
    result = hyperfill.run("run", *target.options(file, *options), check=status)
    for text in (says,) if isinstance(says, str) else says:
        assert text in result.stderr, result
    assert target.database.value("SELECT count(*) FROM m") == 0
    return result


# ---- NULL against empty

FIELDS = ["", '""', "nil", '"nil"', "NIL", '" "', " ", '"a""b"', "x", '"ni""l"', 'n"i"l', '"a,b"', '"two\nlines"', "\\N", '"\\N"']


def null_file(chance, count=400):
    lines = ["time,value,note,more"]
    for i in range(count):
        lines.append(f"2024-03-0{1 + i % 4} 00:00:{i % 60:02}+00,{i},{chance.choice(FIELDS)},{chance.choice(FIELDS)}")
    return "\n".join(lines) + "\n"


NULLS = [
    ((), ""),
    (("--null", "nil"), ", NULL 'nil'"),
    (("--force-null", "note"), ", FORCE_NULL (note)"),
    (("--force-null", "*"), ", FORCE_NULL (time, value, note, more)"),
    (("--null", "nil", "--force-null", "note,MORE"), ", NULL 'nil', FORCE_NULL (note, more)"),
    (("--null", "nil", "--force-not-null", "note"), ", NULL 'nil', FORCE_NOT_NULL (note)"),
    (("--null", "\\N", "--force-null", "more", "--force-not-null", "note"), ", NULL '\\N', FORCE_NULL (more), FORCE_NOT_NULL (note)"),
]


@pytest.mark.parametrize("options, copy_options", NULLS)
@pytest.mark.parametrize("shaped", [False, True], ids=["as-it-is", "shaped"])
def test_null_and_empty(target, hyperfill, chance, options, copy_options, shaped):
    """To the letter what COPY reads, also where records are shaped on the way."""
    text = null_file(chance)
    expected = target.copied(target.file(text, "by_copy.csv"), "FORMAT csv, HEADER" + copy_options)
    if shaped:
        lines = text.split("\n2024")
        text = "\n2024".join([lines[0] + ",skip"] + [line.rstrip("\n") + ',"x\n"' for line in lines[1:]]) + "\n"
        options += ("--ignore-columns", "skip")
    hyperfill.run("run", *target.options(target.file(text), *options))
    assert target.database.fingerprint("m") == expected


def test_force_null_of_a_column_that_no_field_goes_to(plain, hyperfill):
    file = plain.file("time,value\n2024-03-01 00:00:00+00,1\n")
    refuse(plain, hyperfill, file, "--force-null", "note", says='--force-null names column "note", which no field')
    refuse(plain, hyperfill, file, "--force-null", "nothing", says='no column "nothing" that --force-null names')
    refuse(plain, hyperfill, file, "--force-null", "note", "--set", "note=x", says="which no field")


# ---- Delimiters, quotes, escapes


@pytest.mark.parametrize(
    "delimiter, quote, escape",
    [("\t", '"', '"'), ("|", "'", "'"), (";", '"', "\\"), ("\x01", "\x02", "\x02"), ("\x1f", "~", "!"), (" ", '"', '"'), (":", "/", "/")],
)
@pytest.mark.parametrize("shaped", [False, True], ids=["as-it-is", "shaped"])
def test_bytes(target, hyperfill, chance, delimiter, quote, escape, shaped):
    """Any ASCII byte, written as itself or as \\xHH; a time with colons and blanks is rewritten safely."""

    def field(text):
        return quote + text.replace(escape, escape + escape).replace(quote, escape + quote) + quote

    pieces = [delimiter, quote, escape, "a", "\n", ",", '"', "'", "\\", ""]
    lines = [delimiter.join(["time", "value", "note", "more"] + ["skip"] * shaped)]
    judge = list(lines) if not shaped else [delimiter.join(["time", "value", "note", "more"])]
    for i in range(300):
        stamp = f"2024-03-0{1 + i % 4} 00:00:{i % 60:02}+00"
        texts = [field("".join(chance.choices(pieces, k=chance.randrange(5)))) if chance.random() < 0.8 else "" for _ in range(2)]
        judge.append(delimiter.join([field(stamp), str(i), *texts]))
        seconds = 1709251200 + i % 4 * 86400 + i % 60
        lines.append(delimiter.join([str(seconds), str(i), *texts, "s"]) if shaped else judge[-1])

    def sql(byte):
        return "E'\\x%02x'" % ord(byte)

    expected = target.copied(
        target.file("\n".join(judge) + "\n", "by_copy.csv"),
        f"FORMAT csv, HEADER, DELIMITER {sql(delimiter)}, QUOTE {sql(quote)}, ESCAPE {sql(escape)}",
    )
    options = ["--delimiter", f"\\x{ord(delimiter):02x}", "--quote", quote, "--escape", escape]
    if shaped:
        options += ["--ignore-columns", "skip", "--time-format", "epoch"]
    hyperfill.run("run", *target.options(target.file("\n".join(lines) + "\n"), *options))
    assert target.database.fingerprint("m") == expected


@pytest.mark.parametrize("null", ["", "nil", ",;"])
def test_bytes_beyond_ascii(target, hyperfill, chance, null):
    """COPY takes no such delimiter or quote: the fields are quoted anew (as in exports of discovery systems)."""
    pieces = ["\xfe", "a", ",", '"', "\n", ";", "'", "nil", " "]
    lines, judge = [], []
    for i in range(300):
        stamp = f"2024-03-0{1 + i % 4} 00:00:{i % 60:02}+00"
        texts = ["".join(chance.choices(pieces, k=chance.randrange(4))) for _ in range(2)]
        quoted = [chance.random() < 0.7 or any(c in "\xfe\n" for c in text) for text in texts]
        foreign = ["\xfe" + t.replace("\xfe", "\xfe\xfe") + "\xfe" if q else t for t, q in zip(texts, quoted)]
        own = [t if not q and t == null else '"' + t.replace('"', '""') + '"' for t, q in zip(texts, quoted)]
        lines.append("\x14".join([stamp, str(i), *foreign]))
        judge.append("\x14".join([stamp, str(i), *own]))
    expected = target.copied(
        target.file("\n".join(judge).encode("latin1"), "by_copy.csv"), f"FORMAT csv, DELIMITER E'\\x14', NULL '{null}', ENCODING 'latin1'"
    )
    options = ["--no-header", "--delimiter", "\\x14", "--quote", "\\xfe", "--null", null, "--encoding", "latin1"]
    hyperfill.run("run", *target.options(target.file("\n".join(lines).encode("latin1")), *options))
    assert target.database.fingerprint("m") == expected


# ---- Blanks


def test_trim(target, hyperfill):
    text = (
        'time , value,\t note ,more\n'
        ' 2024-03-01 00:00:00+00 , 1 , a , "b, c" \n'
        '"2024-03-02 00:00:00+00"\t,2,\t" d "\t, \n'
        '  "2024-03-03 00:00:00+00" ,3, "" ,"e ""f"" "\n'
        "2024-03-04 00:00:00+00,4,g h , NULL \n"
    )
    hyperfill.run("run", *target.options(target.file(text), "--trim"))
    assert rows(target) == [(1.0, "a", "b, c"), (2.0, " d ", None), (3.0, "", 'e "f" '), (4.0, "g h", "NULL")]


def test_trim_with_null_text_and_tabs(target, hyperfill):
    """A tab that is the delimiter is none of the blanks."""
    text = "2024-03-01 00:00:00+00\t1\t NULL \t\"NULL\" \n2024-03-02 00:00:00+00\t2\t\t x\n"
    hyperfill.run("run", *target.options(target.file(text), "--trim", "--no-header", "--delimiter", "\\t", "--null", "NULL"))
    assert rows(target) == [(1.0, None, "NULL"), (2.0, "", "x")]


# ---- What is left out


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["", "bom"])
def test_comments_and_skipped_lines(target, hyperfill, end, bom):
    """A comment ends with its line, whatever quotes are in it; a # inside of a record is none."""
    lines = ['Export of "now', "", "# first", "time,value,note,more", '# 19" rack', "2024-03-01 00:00:00+00,1,#a,b",
             f'2024-03-02 00:00:00+00,2,"x{end}#y{end}",', "#", "# it's\", the \"end", '2024-03-03 00:00:00+00,3,"#",#', '#"']  # fmt: skip
    file = target.file(bom + end.join(lines).encode())
    hyperfill.run("run", *target.options(file, "--skip-lines", "2", "--comment", "#"))
    assert rows(target) == [(1.0, "#a", "b"), (2.0, f"x{end}#y{end}", None), (3.0, "#", "#")]


def test_comments_everywhere_in_a_larger_file(target, hyperfill, chance):
    """With comments between rows of many ranges, from a file and from a pipe, the rows are those of the file without."""
    lines = [f'2024-03-0{chance.randrange(1, 5)} 00:00:{i % 60:02}+00,{i},"a\n#{i}",' for i in range(20_000)]
    clean = target.file("time,value,note,more\n" + "\n".join(lines) + "\n", "clean.csv")
    expected = target.copied(clean)
    dirty = []
    for line in lines:
        dirty += ["#" + '"' * chance.randrange(3) + "x" * chance.randrange(200)] * chance.randrange(2) + [line]
    content = "# a\n# b\ntime,value,note,more\n" + "\n".join(dirty) + "\n# end"
    hyperfill.run("run", *target.options(target.file(content), "--comment", "#"))
    assert target.database.fingerprint("m") == expected
    target.database.execute("TRUNCATE m")
    hyperfill.run("clean", "--target", target.database.conninfo, "--table", "m", "--yes")
    piped = target.options("-", "--comment", "#", "--checkpoint", target.tmp_path / "piped")
    hyperfill.run("run", *piped, stdin=content.encode())
    assert target.database.fingerprint("m") == expected


def test_place_of_a_bad_record_among_comments(target, hyperfill):
    text = "skipped\n# c\ntime,value\n# \"c\n2024-03-01 00:00:00+00,1\n#\n2024-03-01 00:00:00+00,zwei\n# d\n"
    file = target.file(text)
    result = refuse(target, hyperfill, file, "--skip-lines", "1", "--comment", "#", says="zwei", status=DATA)
    assert_place(result, file, 7, text.index("2024-03-01 00:00:00+00,zwei"))


def test_header_behind_the_end(plain, hyperfill):
    file = plain.file("a\nb\n")
    refuse(plain, hyperfill, file, "--skip-lines", "2", says="the input is empty", status=DATA)
    hyperfill.run("run", *plain.options(file, "--skip-lines", "2", "--no-header"))


# ---- Encodings


@pytest.mark.parametrize("encoding", ["latin1", "WIN1252", "utf-8"])
@pytest.mark.parametrize("shaped", [False, True], ids=["as-it-is", "shaped"])
def test_encoding(target, hyperfill, encoding, shaped):
    """Fields, names of the header and constants."""
    python = "cp1252" if encoding == "WIN1252" else encoding
    target.database.execute('ALTER TABLE m RENAME COLUMN more TO "größe"')
    file = target.file("time,note,größe\n2024-03-01 00:00:00+00,Köln,é\n".encode(python), name="b.csv")
    options = ["--encoding", encoding] + (["--set", "note=Gruß ÿ", "--ignore-columns", "note"] if shaped else [])
    hyperfill.run("run", *target.options(file, *options))
    assert rows(target, 'note, "größe"') == [("Gruß ÿ" if shaped else "Köln", "é")]


def test_encodings_that_are_refused(plain, hyperfill):
    file = plain.file("time,note\n2024-03-01 00:00:00+00,x\n")
    refuse(plain, hyperfill, file, "--encoding", "klingon", says="the server knows no such encoding")
    refuse(plain, hyperfill, file, "--encoding", "SJIS", says="iconv -f SJIS")
    refuse(plain, hyperfill, file, "--encoding", "latin1", "--set", "more=\u0416", says="no equivalent in encoding", status=DATA)
    bad = plain.file(b"time,note\n2024-03-01 00:00:00+00,\xff\n", name="bad.csv")
    refuse(plain, hyperfill, bad, "--encoding", "utf8", says=("invalid byte sequence", "line 2"), status=DATA)


# ---- Times that the server does not read itself


@pytest.mark.parametrize("type_name", ["timestamptz", "timestamp", "timestamptz(3)", "date"])
@pytest.mark.parametrize("zone", [None, "+02:00"])
def test_epoch_forms(make_target, hyperfill, servers, tmp_path, type_name, zone):
    target = Target(servers["pg15"], "plain", tmp_path).create(f"time {type_name} NOT NULL, value int")
    micros = [0, 1709251200000000, 1709337599999999, 1709300000123456, -1500000]
    for form, per_micro in (("epoch", None), ("epoch-ms", 1 / 1000), ("epoch-us", 1), ("epoch-ns", 1000)):
        target.database.execute("TRUNCATE m")
        exact = [m // 1000 * 1000 for m in micros] if form == "epoch-ms" else micros
        texts = [str(int(m * per_micro)) for m in exact] if per_micro else ["0", "1709251200", "1709337599.999999", "1709300000.1234567", "-1.5"]
        file = target.file("time,value\n" + "".join(f'"{t}",{i}\n' for i, t in enumerate(texts)), name=f"{form}.csv")
        options = ["--time-format", form, "--checkpoint", tmp_path / form] + (["--timezone", zone] if zone else [])
        hyperfill.run("run", *target.options(file, *options))
        # The session has the zone: a cast to a type without one gives the wall clock there.
        target.database.execute(f"SET timezone = '{'<+02>-02' if zone else 'UTC'}'")
        expected = target.database.rows(
            f"SELECT ((timestamptz 'epoch' + e / 1000000 * interval '1 s' + e %% 1000000 * interval '1 us')::{type_name})::text"
            " FROM unnest(%s::bigint[]) WITH ORDINALITY x(e, i) ORDER BY i",
            [exact],
        )
        assert target.database.rows("SELECT time::text FROM m ORDER BY value") == expected, form
        target.database.execute("RESET timezone")


def test_patterns(target, hyperfill):
    text = "time,value\n31.12.2023 23:59:59.5 +0100,1\n01.03.2024 00:00:00.000001 -0530,2\n"
    hyperfill.run("run", *target.options(target.file(text), "--time-format", "%d.%m.%Y %H:%M:%S.%f %z"))
    assert target.database.rows("SELECT (time AT TIME ZONE 'UTC')::text FROM m ORDER BY value") == [
        ("2023-12-31 22:59:59.5",), ("2024-03-01 05:30:00.000001",)]  # fmt: skip


def test_times_that_do_not_match_are_bad_rows(plain, hyperfill):
    for number, (form, bad) in enumerate((("epoch", "1e9"), ("epoch", "2024-03-01"), ("%d.%m.%Y", "2024-03-01"), ("%d.%m.%Y", "30.02.2024"))):
        file = plain.file(f"time,value\n\"{bad}\",1\n", name=f"{number}.csv")
        refuse(plain, hyperfill, file, "--time-format", form, "--timezone", "UTC", "--checkpoint", plain.tmp_path / f"{number}.checkpoint", says=(bad, "line 2"), status=DATA)


def test_time_formats_that_are_refused(plain, hyperfill, servers, tmp_path):
    file = plain.file("time,value\n1,1\n")
    refuse(plain, hyperfill, file, "--time-format", "%d.%m.%Y", says="--timezone UTC")
    refuse(plain, hyperfill, file, "--time-format", "%H:%M", says="write iso, epoch")
    target = Target(servers["pg15"], "plain", tmp_path).create("time bigint NOT NULL, value int")
    refuse(target, hyperfill, file, "--time-format", "epoch", says="loaded as they are", status=USAGE)


def test_integer_time_stays(servers, hyperfill, tmp_path):
    target = Target(servers["pg15"], "plain", tmp_path).create("time bigint NOT NULL, value int")
    target.interval = "1000"
    file = target.file("value,time,x\n1,5,a\n2,-7000,b\n")
    hyperfill.run("run", *target.options(file, "--ignore-columns", "x"))
    assert rows(target, "time, value") == [(-7000, 2), (5, 1)]


# ---- A look at the head


def test_sniff(target, hyperfill):
    """What nobody said is found, and told by run and plan; a resume finds the same."""
    text = "time;value;note;more\n" + "".join(f"{1709251200 + i};{i}.5;'a;b';NULL\n" for i in range(50)) + "1709251300;NULL;x;\n"
    file = target.file(text)
    options = target.options(file, "--dialect", "sniff")
    found = "delimiter ;, quote ', header yes, NULL is NULL, times epoch (\"time\")"
    assert "found: " + found in hyperfill.run("plan", *[o for o in options if o not in ("--progress", "plain")]).stdout
    assert found in hyperfill.run("run", *options).stderr
    assert target.database.value("SELECT count(*) FROM m WHERE note = 'a;b' AND more IS NULL AND value > 0") == 49 + 1
    assert target.database.rows("SELECT value, note, more FROM m WHERE time = '2024-03-01 00:01:40+00'") == [(None, "x", "")]
    assert "nothing to do" in hyperfill.run("run", *options).stderr
    # The same, said in words.
    said = ("--delimiter", ";", "--quote", "'", "--null", "NULL", "--time-format", "epoch")
    assert "nothing to do" in hyperfill.run("run", *target.options(file, *said)).stderr


def test_sniff_from_a_pipe(target, hyperfill):
    text = "\ufefftime|note\n" + "".join(f"2024-03-01 00:00:{i:02}+00|Köln {i}\n" for i in range(60))
    hyperfill.run("run", *target.options("-", "--dialect", "sniff"), stdin=text.encode())
    assert target.database.value("SELECT count(*) FROM m WHERE note LIKE 'Köln %%'") == 60


def day_of(day, delimiter=",", header="time,value,note", note="x", value="1.5"):
    lines = [header] if header else []
    lines += [f"2024-03-{day:02} 00:00:{i:02}+00,{value if i % 2 else 1.5},{note}" for i in range(30)]
    return "".join(line.replace(",", delimiter) + "\n" for line in lines)


def write_days(target, days, **changes):
    """A file a day; {day: content} of some is another."""
    folder = target.tmp_path / "days"
    folder.mkdir()
    for day in range(1, days + 1):
        (folder / f"{day:02}.csv").write_text(changes.get(f"day{day}", day_of(day)))
    return folder


# The first and the last of 9 files are looked at, and 3, 5 and 7.
@pytest.mark.parametrize("changed, says", [
    ({"day9": day_of(9, delimiter=";")}, ("01.csv: delimiter ,", "09.csv: delimiter ;")),
    ({"day5": day_of(5, header=None)}, ("header yes", "05.csv: delimiter ,", "header no")),
    ({"day1": day_of(1, value="NULL"), "day3": day_of(3, value="NA")}, ("NULL is NULL", "NULL is NA")),
    ({"day1": day_of(1, value="NULL"), "day3": day_of(3, value="")}, ("NULL is NULL", "03.csv")),
    ({"day3": day_of(3, value=""), "day7": day_of(7, value="NULL")}, ("07.csv", "NULL is NULL")),
    ({"day7": day_of(7).replace("2024-03-07 00:00:", "17097696")}, ("times iso", "times epoch")),
], ids=["delimiter", "header", "null", "empty", "empty before", "times"])  # fmt: skip
def test_sniff_says_where_inputs_differ(plain, hyperfill, changed, says):
    changed = {day: text.replace("+00,", ",") if "17097696" in text else text for day, text in changed.items()}
    folder = write_days(plain, 9, **changed)
    result = hyperfill.run("run", *plain.options(folder, "--dialect", "sniff"), check=USAGE)
    for text in ("the inputs differ", *says):
        assert text in result.stderr, result
    assert plain.database.value("SELECT count(*) FROM m") == 0


def test_sniff_takes_what_the_first_input_does_not_tell(target, hyperfill):
    """NULL, quotes and encoding that only a later file has; and one with a header and nothing else, which tells nothing."""
    texts = {"day3": day_of(3, value="NULL"), "day5": "time,value,note\n", "day7": day_of(7, note="'Köln; a'"), "day9": day_of(9, note="")}
    folder = write_days(target, 9, **{day: text.replace(",", ";") for day, text in ((f"day{n}", texts.get(f"day{n}", day_of(n))) for n in range(1, 10))})
    options = target.options(folder, "--dialect", "sniff")
    result = hyperfill.run("run", *options)
    assert "NULL is NULL in " in result.stderr and "encoding UTF8 in " in result.stderr, result
    assert target.database.rows("SELECT count(*), count(value), count(DISTINCT note) FROM m") == [(240, 225, 3)]
    assert target.database.value("SELECT count(*) FROM m WHERE note = 'Köln; a'") == 30
    assert "nothing to do" in hyperfill.run("run", *options).stderr


def test_sniff_names_the_input_whose_encoding_cannot_be_known(plain, hyperfill):
    folder = write_days(plain, 9)
    (folder / "09.csv").write_bytes(day_of(9, note="K\xf6ln").encode("latin1"))
    result = hyperfill.run("run", *plain.options(folder, "--dialect", "sniff"), check=USAGE)
    assert "09.csv" in result.stderr and "--encoding" in result.stderr, result


def test_sniff_never_guesses(plain, hyperfill):
    rows_of = "".join(f"{i + 1:02}/0{i + 1}/2024,{i}\n" for i in range(9))
    for content, says in (
        ("time,value\n" + rows_of, ("--time-format '%d/%m/%Y'", "--time-format '%m/%d/%Y'")),
        ("a,b\nc,d\n", ("--header or --no-header",)),
        ("time,note\n2024-03-01,K\xf6ln\n".encode("latin1"), ("--encoding",)),
        ("2024-03-01,x;2024-03-01\n2024-03-02,y;2024-03-02\n", ("--delimiter ','", "--delimiter ';'")),
        ("time,value\n2024-03-01,NULL\n2024-03-02,NA\n2024-03-03,1\n", ("--null",)),
        ("time,value\n2024-03-01\n", ("--delimiter",)),
    ):
        file = plain.file(content)
        refuse(plain, hyperfill, file, "--dialect", "sniff", says=says)
    refuse(plain, hyperfill, plain.file("time,value\n".encode("utf-16")), "--dialect", "sniff", says="iconv -f UTF-16", status=DATA)


def test_sniff_leaves_integers_alone(servers, hyperfill, tmp_path):
    target = Target(servers["pg15"], "plain", tmp_path).create("time bigint NOT NULL, value int")
    target.interval = "1000"
    hyperfill.run("run", *target.options(target.file("time,value\n1709251200,1\n1709251201,2\n"), "--dialect", "sniff"))
    assert rows(target, "time, value") == [(1709251200, 1), (1709251201, 2)]


# ---- Of a database


def test_csv_options_are_for_csv(plain, hyperfill):
    for option in (("--map", "a=b"), ("--trim",), ("--comment", "#"), ("--encoding", "latin1"), ("--time-format", "epoch"), ("--set", "a=b")):
        result = hyperfill.run("run", *plain.options(plain.database.conninfo, "--until", "2024-01-01Z", *option), check=USAGE)
        assert "CSV options are for a CSV source" in result.stderr, result
