"""The contestants. Each says how it loads the files or the source table of a case, or why it cannot."""

import re
import shlex
import shutil
import subprocess

from . import shapes


class Unable(Exception):
    """The text is the reason, for the table."""


class Case:
    """What is loaded: files of one shape, and where they go. `source` is a server, or None for CSV."""

    def __init__(self, shape, rows, chunk, until, folder, target, source, hyperfill, jobs):
        self.shape, self.rows, self.chunk, self.until = shape, rows, chunk, until
        self.folder, self.target, self.source = folder, target, source
        self.hyperfill, self.jobs = hyperfill, jobs
        self.file = folder / f"{shape}.csv"
        self.halves = [folder / f"{shape}.{half}.csv" for half in range(2)]
        self.middle = None  # the time between the halves
        self.pieces = []  # for the limit: (relation's number, binary file)


def psql(server, *statements):
    return shlex.join(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", server.conninfo,
                       *(part for statement in statements for part in ("-c", statement))])


def bash(script):
    return ["bash", "-c", "set -e -o pipefail\n" + script]


def in_parallel(scripts):
    """All of them at a time; it fails if one does."""
    lines = [f"({script}) & pids+=($!)" for script in scripts]
    return bash("\n".join(["pids=()", *lines, 'for pid in "${pids[@]}"; do wait "$pid"; done']))


def copy_in(case, file, header):
    return psql(case.target, f"\\copy t from '{file}' with (format csv{', header' if header else ''})")


def pipe(case, where=""):
    return (psql(case.source, f"\\copy (select * from t{where}) to pstdout") + " | " + psql(case.target, "\\copy t from pstdin"))


# ---- By psql


def copy(case):
    return bash(pipe(case) if case.source else copy_in(case, case.file, True))


def parallel_copy(case):
    if case.source:
        return in_parallel([pipe(case, f" where time {sign} '{case.middle}'") for sign in ("<", ">=")])
    return in_parallel([copy_in(case, half, False) for half in case.halves])


def compressed_copy(case):
    """What `compress` is held to: the same chunks as compress_chunk leaves them."""
    if not case.target.columnstore:
        raise Unable("needs --columnstore")
    return bash(copy(case)[2] + "\n" + psql(case.target, "SELECT compress_chunk(c) FROM show_chunks('t') c"))


def limit(case):
    """Into chunks without indexes, two streams, each builds the indexes of a chunk once it is full."""
    if case.source:
        raise Unable("begins with files that are prepared beforehand")
    streams = [[], []]
    for number, (relation, file) in enumerate(zip(case.target.pieces(), case.pieces)):
        streams[number % 2] += [f"\\copy {relation} from '{file}' with (format binary)",
                                *(f"CREATE INDEX ON {relation} {index}" for index in shapes.INDEXES)]
    return in_parallel([psql(case.target, *stream) for stream in streams if stream])


# ---- By hyperfill


def hyperfill_with(*more):
    def command(case):
        source = ["--source", case.source.conninfo, "--until", case.until] if case.source else ["--source", str(case.file)]
        return [str(case.hyperfill), "run", *source, "--target", case.target.conninfo, "--table", "t", "--jobs", str(case.jobs),
                "--checkpoint", str(case.folder / "checkpoint"), "--progress", "none", "--yes", *more]

    return command


def has_option(hyperfill, option):
    """Whether `run` has it, as its help says."""
    text = subprocess.run([hyperfill, "help", "run"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return re.search(rf"^  --{option}\b", text, re.M) is not None


def hyperfill_loaders(hyperfill, extra):
    strategies = ["append", "build", "compress"] if has_option(hyperfill, "strategy") else [None]
    wires = ["csv", "binary"] if has_option(hyperfill, "wire") else [None]
    loaders = {}
    for strategy in strategies:
        for wire in wires:
            options = [*(["--strategy", strategy] if strategy else []), *(["--wire", wire] if wire else []), *extra]
            loaders[" ".join(["hyperfill", *filter(None, [strategy, wire])])] = hyperfill_with(*options)
    if strategies != [None] or wires != [None]:
        loaders["hyperfill"] = hyperfill_with(*extra)
    return loaders


# ---- By others


def need(program, package):
    if shutil.which(program) is None:
        raise Unable(f"{program} is not installed{f' ({package})' if package else ''}")


def pgloader(case):
    need("pgloader", "Debian: pgloader")
    script = case.folder / "pgloader.load"
    if case.source:
        script.write_text(f"""LOAD DATABASE FROM {case.source.uri} INTO {case.target.uri}
            WITH data only, include no drop INCLUDING ONLY TABLE NAMES MATCHING 't' IN SCHEMA 'public';""")
    else:
        fields = ", ".join(f"{name} [null if blanks]" for name in shapes.columns(case.shape))
        script.write_text(f"""LOAD CSV FROM '{case.file}' HAVING FIELDS ({fields}) INTO {case.target.uri} TARGET TABLE public.t
            WITH skip header = 1, fields optionally enclosed by '"', fields escaped by double-quote, fields terminated by ',';""")
    return ["pgloader", "--on-error-stop", "--root-dir", str(case.folder / "pgloader"), str(script)]


def pgcopydb(case):
    need("pgcopydb", "Debian: pgcopydb")
    if not case.source:
        raise Unable("copies from a database only")
    return ["pgcopydb", "copy", "table-data", "--source", case.source.conninfo, "--target", case.target.conninfo, "--dir",
            str(case.folder / "pgcopydb"), "--table-jobs", str(case.jobs), "--index-jobs", "1", "--not-consistent", "--restart"]


def parallel_copy_tool(case, *more):
    """At its defaults, which are one worker."""
    need("timescaledb-parallel-copy", None)
    if case.source:
        raise Unable("loads CSV only")
    return ["timescaledb-parallel-copy", "--connection", case.target.conninfo, "--table", "t", "--file", str(case.file),
            "--skip-header", *more]


def parallel_copy_workers(case):
    return parallel_copy_tool(case, "--workers", str(case.jobs))


def all_loaders(hyperfill, extra):
    """By name, in the order of the table. The first is what others are held to."""
    return {
        "copy": copy,
        "parallel copy": parallel_copy,
        **hyperfill_loaders(hyperfill, extra),
        "pgloader": pgloader,
        "pgcopydb": pgcopydb,
        "timescaledb-parallel-copy": parallel_copy_tool,
        "timescaledb-parallel-copy --workers": parallel_copy_workers,
        "copy and compress_chunk": compressed_copy,
        "limit": limit,
    }
