"""Commands that fail, or print what was not asked for: what they print is loaded exactly once or not at all."""

import datetime
import time

import pytest

from harness import DATA, REJECTS, SERVER, START, TRANSIENT, USAGE
from harness.commands import DAYS_COMMAND, WINDOW, day_files


def dying_stream(backfill, chance, end="exit 3"):
    """Prints a part of the file, whatever stands at its end, says why and dies, until the file `mended` is there."""
    size = backfill.csv().stat().st_size
    cut = chance.randrange(size // 4, size - 10)
    print(f"{cut} of {size} bytes")
    return backfill.script(f"""
        [ -e mended ] && exec cat expected.csv
        head -c {cut} expected.csv
        echo 'the first word' >&2
        printf 'the last\\033[31m word' >&2
        {end}
    """)


@pytest.mark.parametrize(
    "end, before, said",
    [
        ("exit 3", "", "exited with status 3"),
        ("kill -9 $$", "", "exited with status 137, which a shell says of a command killed by signal 9 (KILL)"),
        ("kill -9 $$", "exec ", "was killed by signal 9 (KILL)"),
    ],
    ids=["exit", "kill-below", "kill"],
)
@pytest.mark.parametrize("memory", ["16MB", "256MB"])
def test_stream_that_dies_half_way(make_commanded, chance, end, before, said, memory):
    backfill = make_commanded(count=60_000 if memory == "16MB" else 8_000)
    script = dying_stream(backfill, chance, end)
    for _ in range(2):
        result = backfill.run(f"{before}./{script.name}", "--memory", memory, check=TRANSIENT)
        assert f"exec:source.sh {said}" in result.stderr and "the last\\x1b[31m word" in result.stderr, result
        assert "\x1b" not in result.stderr
        assert backfill.check_subset() < len(backfill.rows)
    assert backfill.database.value("SELECT count(*) FROM hyperfill.job WHERE finished IS NOT NULL") == 0
    (backfill.folder / "mended").touch()
    backfill.run(f"{before}./{script.name}", "--memory", memory)
    backfill.check()


def test_whole_output_of_a_failed_command_is_not_complete(make_commanded):
    backfill = make_commanded()
    backfill.csv()
    script = backfill.script("cat expected.csv; [ -e mended ]")
    result = backfill.run(f"./{script.name}", check=TRANSIENT)
    assert "exited with status 1" in result.stderr, result
    (backfill.folder / "mended").touch()
    backfill.run(f"./{script.name}")
    backfill.check()


def test_stream_that_changes_is_refused(make_commanded, chance):
    backfill = make_commanded(count=60_000)
    script = dying_stream(backfill, chance)
    backfill.run(f"./{script.name}", "--memory", "16MB", check=TRANSIENT)
    before = backfill.check_subset()
    assert before > 0
    text = (backfill.folder / "expected.csv").read_bytes()
    head = text.index(b"\n") + 1
    (backfill.folder / "expected.csv").write_bytes(text[:head] + text[head:].replace(b"2024-03-01", b"2024-03-02", 1))
    (backfill.folder / "mended").touch()
    result = backfill.run(f"./{script.name}", "--memory", "16MB", check=DATA)
    assert "not the input that the job began with" in result.stderr, result
    assert backfill.check_subset() == before


def test_stream_that_has_changed_since_it_was_complete(make_commanded):
    """It is run once more to see: what a command prints is not known by its text."""
    backfill = make_commanded(count=1000)
    backfill.csv()
    backfill.run("cat expected.csv")
    assert "nothing to do" in backfill.run("cat expected.csv").stderr
    text = (backfill.folder / "expected.csv").read_bytes()
    (backfill.folder / "expected.csv").write_bytes(text[: text.rindex(b"\n", 0, -1) + 1])
    result = backfill.run("cat expected.csv", check=DATA)
    assert "not the input that the job" in result.stderr and "hyperfill clean" in result.stderr, result
    backfill.check()


def failing_days(backfill, chance, failures):
    """Each day fails so many times before it is printed whole: in the middle of a record, at its end, by a signal."""
    day_files(backfill)
    ends = ["exit 3", "kill -9 $$", "kill -TERM $$", "exit 255"]
    cases = []
    for day, count in enumerate(failures):
        at = (START + datetime.timedelta(days=day)).date()
        size = (backfill.folder / f"day-{at}.csv").stat().st_size
        cases += [f"{at}-{n}) head -c {chance.choice([0, 10, size - 1, size, chance.randrange(size)])} day-$1.csv; {chance.choice(ends)};;" for n in range(count)]
    lines = "\n            ".join(cases)
    backfill.script(f"""
        [ "$1" = "$2" ] && exec cat none.csv
        n=$(cat count-$1 2>/dev/null || echo 0)
        echo $((n + 1)) >count-$1
        case $1-$n in
            {lines}
            *) exec cat day-$1.csv;;
        esac
    """)


def test_ranges_that_fail_sometimes(make_commanded, chance):
    backfill = make_commanded()
    failing_days(backfill, chance, [1, 2, 3, 0])
    result = backfill.run(DAYS_COMMAND, *WINDOW)
    assert "trying again" in result.stderr, result
    backfill.check()


def test_range_that_fails_for_good(make_commanded, chance):
    backfill = make_commanded()
    failing_days(backfill, chance, [0, 4, 0, 0])
    begin = time.monotonic()
    result = backfill.run(DAYS_COMMAND, *WINDOW, check=SERVER)
    # Well before the time that lost connections are given.
    assert time.monotonic() - begin < 120
    assert "after 4 attempts" in result.stderr and "from 2024-03-02 00:00:00+00 until before 2024-03-03" in result.stderr, result
    assert backfill.check_subset() == backfill.database.value("SELECT count(*) FROM expected WHERE time::date <> '2024-03-02'")
    backfill.run(DAYS_COMMAND, *WINDOW)
    backfill.check()


def test_ranges_of_the_first_run_stay(make_commanded, chance):
    backfill = make_commanded()
    failing_days(backfill, chance, [0, 4, 0, 0])
    backfill.run(DAYS_COMMAND, *WINDOW, check=SERVER)
    # A new job would now have ranges that the command cannot be asked for.
    backfill.database.rows("SELECT set_chunk_time_interval('m', interval '7 hours')")
    other = backfill.run(DAYS_COMMAND + " other", *WINDOW, verb="plan", check=USAGE)
    assert "exactly" in other.stderr, other
    backfill.run(DAYS_COMMAND, *WINDOW)
    backfill.check()


@pytest.mark.parametrize("edges", ["", " {from} {until}"], ids=["stream", "ranges"])
@pytest.mark.parametrize("command, said", [("./no-such-program", "127"), ("./expected.csv", "126")])
def test_command_that_cannot_be_run(make_commanded, edges, command, said):
    backfill = make_commanded()
    backfill.csv()
    begin = time.monotonic()
    result = backfill.run(command + edges, *WINDOW, check=USAGE)
    # Well before the time that lost connections are given.
    assert time.monotonic() - begin < 120
    assert said in result.stderr and "trying again" not in result.stderr, result


def test_command_that_is_not_found_later(make_commanded):
    backfill = make_commanded()
    day_files(backfill)
    backfill.script('[ "$1" = "$2" ] && exec cat none.csv; exec ./no-such-program')
    result = backfill.run(DAYS_COMMAND, *WINDOW, check=USAGE)
    assert "127" in result.stderr and "no-such-program" in result.stderr, result
    assert backfill.check_subset() == 0


@pytest.mark.parametrize("edges", [False, True], ids=["stream", "ranges"])
def test_much_on_standard_error(make_commanded, edges):
    backfill = make_commanded()
    backfill.csv()
    day_files(backfill)
    noise = "yes 'a word of many' | head -c 3000000 >&2; printf '\\033[2J' >&2"
    printed = '[ "$1" = "$2" ] && cat none.csv || cat day-$1.csv' if edges else "cat expected.csv"
    backfill.script(f"{noise}; {printed}; {noise}")
    result = backfill.run(DAYS_COMMAND if edges else "./source.sh", *WINDOW)
    backfill.check()
    assert "exec:source.sh says: a word of many" in result.stderr
    assert len(result.stderr) < 20_000 and "\x1b" not in result.stderr


@pytest.mark.parametrize("row, at", [("2024-03-02 00:00:00+00", "the end"), ("2024-02-29 23:59:59.999999+00", "before")])
def test_rows_outside_of_the_range(make_commanded, row, at):
    backfill = make_commanded()
    day_files(backfill)
    backfill.script(f"""
        [ "$1" = "$2" ] && exec cat none.csv
        cat day-$1.csv
        [ $1 != 2024-03-01 ] || [ -e mended ] || echo '{row},1,1,'
    """)
    result = backfill.run(DAYS_COMMAND, *WINDOW, check=DATA)
    assert "outside of the range" in result.stderr and "{from}" in result.stderr and row[:19] in result.stderr, result
    assert backfill.check_subset() == backfill.database.value("SELECT count(*) FROM expected WHERE time >= '2024-03-02 00:00Z'")
    (backfill.folder / "mended").touch()
    backfill.run(DAYS_COMMAND, *WINDOW)
    backfill.check()


def test_times_that_cannot_be_read_are_rejected(make_commanded):
    """As of a stream: also those that the server would read, in its own way, and what it would take for the end of the data."""
    backfill = make_commanded()
    day_files(backfill)
    bad = ["yesterday,900001,1,", ",900002,1,", '2024-13-01,900003,1,"two\nlines"', "\\.", "2024-03-02 12:00:00+00,x,1,"]
    (backfill.folder / "bad.csv").write_text("".join(record + "\n" for record in bad))
    backfill.script("""
        [ "$1" = "$2" ] && exec cat none.csv
        cat day-$1.csv
        [ $1 != 2024-03-02 ] || cat bad.csv
    """)
    result = backfill.run(DAYS_COMMAND, *WINDOW, check=DATA)
    assert "yesterday" in result.stderr and "--on-bad-row reject" in result.stderr, result
    assert backfill.check_subset() > 0
    result = backfill.run(DAYS_COMMAND, *WINDOW, "--on-bad-row", "reject", check=REJECTS)
    backfill.check()
    rejects = backfill.folder / "hyperfill-m.rejects"
    assert rejects.read_text() == (backfill.folder / "bad.csv").read_text()
    states = backfill.database.rows('SELECT sqlstate, column_name FROM hyperfill.reject ORDER BY "offset"')
    assert states == [("22007", "time")] * 3 + [("22P04", ""), ("22P02", "id")]
    # Corrected or dropped, each once.
    rejects.write_text("\n\n\n\n2024-03-02 12:00:00+00,900005,1,\n")
    for _ in range(2):
        backfill.run(DAYS_COMMAND, *WINDOW, verb="replay")
    assert backfill.database.value("SELECT count(*) FROM m WHERE id > 900000") == 1


def test_inclusive_edges_are_found(make_commanded):
    # The classic mistake: BETWEEN. Each day has a row at its first moment.
    backfill = make_commanded()
    command = backfill.psql().replace("time >= '{from}' AND time < '{until}'", "time BETWEEN '{from}' AND '{until}'")
    result = backfill.run(command, *WINDOW, check=DATA)
    assert "outside of the range" in result.stderr, result
    backfill.check_subset()


@pytest.mark.parametrize("edges", [False, True], ids=["stream", "ranges"])
@pytest.mark.parametrize("status", [0, 5])
def test_output_that_ends_before_the_command(make_commanded, edges, status):
    backfill = make_commanded()
    backfill.csv()
    day_files(backfill)
    printed = '[ "$1" = "$2" ] && exec cat none.csv; cat day-$1.csv' if edges else "cat expected.csv"
    backfill.script(f"{printed}; exec >&-; sleep 0.3; exit {status}")
    expected = 0 if status == 0 else SERVER if edges else TRANSIENT
    result = backfill.run(DAYS_COMMAND if edges else "./source.sh", *WINDOW, check=expected)
    if status == 0:
        backfill.check()
    else:
        assert "exited with status 5" in result.stderr, result
        assert not edges or backfill.check_subset() == 0
