"""Commands that are refused before anything is run, and what is never shown of them."""

import pytest

from harness import DATA, USAGE
from harness.commands import DAYS_COMMAND, WINDOW, day_files


# ---- Refused before anything is run


@pytest.mark.parametrize(
    "edges, more, said",
    [
        ("{from:%Y-%m-%d} {until}", ["--range-interval", "6h"], "--range-interval"),
        ("{from} {until:%F}", ["--range-interval", "6h"], "--range-interval"),
        ("{from:%F} {from:%H} {until}", ["--range-interval", "90m"], "exactly"),
        ("{from:epoch} {until}", ["--range-interval", "100ms"], "exactly"),
        ("{from:epoch-ms} {until}", ["--range-interval", "100us", "--until", "2024-03-01 00:00:00.01+00"], "exactly"),
        ("{from:%H:%M} {until}", [], "exactly"),
        ("{from}", [], "--range-interval"),
        ("{from} {until} {}", [], "doubled"),
        ("{from} {to}", [], "doubled"),
        ("{from:%Q} {until}", [], "conversion"),
        ("{from:%F;rm} {until}", [], "safe"),
        ("{from:} {until}", [], "{from:"),
        ("{from} {until}", ["--until"], "--until"),
        ("{from} {until}", ["--from"], "--from"),
        ("{from} {until}", ["--source-table", "x"], "--source-table"),
    ],
)
def test_refused_by_plan(make_commanded, edges, more, said):
    backfill = make_commanded(count=100)
    window = dict(zip(WINDOW[::2], WINDOW[1::2]))
    if more and more[-1].startswith("--"):
        del window[more[0]]
        more = []
    window.update(zip(more[::2], more[1::2]))
    options = [word for option in window.items() for word in option]
    result = backfill.run(f"echo run >>was-run; echo time,id,value,note; : {edges}", *options, verb="plan", check=USAGE)
    assert said in result.stderr, result
    # Ranges may stand in the ledger, so their edges are judged once the columns are known: by a run for no range.
    runs = (backfill.folder / "was-run").read_text().split() if (backfill.folder / "was-run").exists() else []
    assert runs in ([], ["run"]), runs
    assert not runs or said in ("exactly", "--range-interval")


def test_forms_that_say_an_edge_together(make_commanded):
    backfill = make_commanded()
    command = backfill.psql().replace("{from}", "{from:%F} {from:%H}:00Z")
    backfill.run(command, *WINDOW, "--range-interval", "6h")
    backfill.check()


def test_one_place_and_the_length_of_a_range(make_commanded):
    backfill = make_commanded()
    day_files(backfill)
    backfill.run("gzip -c day-{from:%F}.csv | gzip -dc", *WINDOW, "--range-interval", "1d")
    backfill.check()


def test_braces_of_a_stream_are_its_own(make_commanded):
    backfill = make_commanded()
    backfill.csv()
    backfill.run("awk '{ print } END { x = \"{{}}\"; if (length(x) != 4) { exit 9 }}' \"${NONE:-expected.csv}\"")
    backfill.check()


def test_braces_of_ranges_are_doubled(make_commanded):
    backfill = make_commanded()
    day_files(backfill)
    command = "awk '{{ print }} END {{ x = \"{{{{}}}}\"; if (length(x) != 4) {{ exit 9 }}}}' day-{from:%F}.csv"
    backfill.run(command, *WINDOW, "--range-interval", "1d")
    backfill.check()


def test_record_larger_than_the_limit(make_commanded):
    backfill = make_commanded()
    day_files(backfill)
    backfill.script("""
        [ "$1" = "$2" ] && exec cat none.csv
        cat day-$1.csv
        [ $1 != 2024-03-02 ] || { printf '2024-03-02 10:00:00+00,1,1,"'; head -c 9000000 /dev/zero | tr '\\0' x; echo '"'; }
    """)
    result = backfill.run(DAYS_COMMAND, *WINDOW, "--memory", "16MB", check=DATA)
    assert "does not fit: raise --memory" in result.stderr and "2024-03-02" in result.stderr, result
    assert backfill.check_subset() == backfill.database.value("SELECT count(*) FROM expected WHERE time::date <> '2024-03-02'")


# ---- Secrets


@pytest.mark.parametrize("edges", [False, True], ids=["stream", "ranges"])
def test_secret_is_nowhere(make_commanded, chance, edges):
    backfill = make_commanded(count=2_000)
    secret = f"Secret{chance.randrange(10**9)}"
    backfill.csv()
    day_files(backfill)
    backfill.script("""
        [ -z "$1" ] && { cat expected.csv; [ -e mended ]; exit; }
        [ "$1" = "$2" ] && exec cat none.csv
        cat day-$1.csv
        [ -e mended ]
    """)
    command = f"PGPASSWORD={secret} OTHER='{secret} x' ./source.sh" + (" {from:%F} {until:%F}" if edges else "") + f" # {secret}"
    texts = []
    for verb in ("plan", "run", "mended", "run", "again"):
        if verb == "mended":
            (backfill.folder / "mended").touch()
            continue
        arguments = backfill.arguments(command, *WINDOW, "--verbose", "--progress", "json")
        arguments.remove("--progress")
        arguments.remove("none")
        result = backfill.hyperfill.run("plan" if verb == "plan" else "run", *arguments, check=None)
        texts += [result.stdout, result.stderr]
    broken = backfill.hyperfill.run("plan", *backfill.arguments(command + " {from} {bad"), check=USAGE)
    texts += [broken.stdout, broken.stderr]
    backfill.check()
    checkpoint = (backfill.folder / "hyperfill-m.checkpoint").read_text()
    for table, in backfill.database.rows("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'hyperfill'"):
        texts.append(str(backfill.database.rows(f"SELECT t::text FROM {table} t")))
    assert "exec:command" in checkpoint
    for text in [*texts, checkpoint]:
        assert secret not in text, text


def test_other_command_is_another_job(make_commanded):
    backfill = make_commanded()
    backfill.run(backfill.psql(), *WINDOW)
    checkpoint = ["--checkpoint", "hyperfill-m.checkpoint"]
    result = backfill.run(backfill.psql() + " #", *WINDOW, *checkpoint, check=USAGE)
    assert "belongs to another job" in result.stderr, result
