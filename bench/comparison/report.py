"""Medians, ratios, and the files that show them."""

import csv
import shutil
import statistics
import subprocess

from .measure import FIELDS

HEADS = ["wall s", "× `\\copy`", "client's processor s", "servers' processor s", "client's peak MB", "WAL MB", "disk MB"]


def median(runs, field):
    return statistics.median(run[field] for run in runs)


def ratios(runs, reference):
    """Against the reference of the same run: what else the machine did then weighs on both."""
    return [run["wall_s"] / other["wall_s"] for run, other in zip(runs, reference)]


def table(results, unable):
    """results: by loader, a list of runs. The first loader is the reference."""
    reference = next(iter(results.values()))
    lines = [f"| load | {' | '.join(HEADS)} |", "|---" * (len(HEADS) + 1) + "|"]
    for loader, runs in results.items():
        if not runs:
            lines.append(f"| {loader} | {unable[loader]} |" + " |" * (len(HEADS) - 1))
            continue
        spread = ratios(runs, reference)
        shown = [f"{median(runs, 'wall_s'):.2f}", f"**{statistics.median(spread):.2f}** ({min(spread):.2f}–{max(spread):.2f})",
                 f"{median(runs, 'client_processor_s'):.2f}", f"{median(runs, 'server_processor_s'):.2f}",
                 *(f"{median(runs, field):.0f}" for field in FIELDS[3:])]
        lines.append(f"| {loader} | {' | '.join(shown)} |")
    return "\n".join(lines)


def scale_table(rows):
    """rows: (what, rows, chunks, runs); the first is what others are compared with."""
    lines = ["| load by hyperfill | rows | chunks | wall s | time a row, × the first | client's peak MB |", "|---|---|---|---|---|---|"]
    first = median(rows[0][3], "wall_s") / rows[0][1]
    for what, count, chunks, runs in rows:
        wall = median(runs, "wall_s")
        lines.append(f"| {what} | {count:,} | {chunks} | {wall:.2f} | {wall / count / first:.2f} | {median(runs, 'client_peak_mb'):.0f} |")
    return "\n".join(lines)


def write_csv(path, cases):
    """Each run of each load, for whoever wants other figures."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "loader", "run", *FIELDS])
        for case, results in cases.items():
            for loader, runs in results.items():
                for number, run in enumerate(runs, 1):
                    writer.writerow([case, loader, number, *(f"{run[field]:.3f}" for field in FIELDS)])


def plot(path, cases):
    """Bars of the ratios. False if there is no gnuplot to draw it."""
    if shutil.which("gnuplot") is None:
        return False
    loaders = list(dict.fromkeys(loader for results in cases.values() for loader, runs in results.items() if runs))
    lines = ["$ratios << END", "\t".join(["case", *(f'"{loader}"' for loader in loaders)])]
    for case, results in cases.items():
        reference = next(iter(results.values()))
        values = [statistics.median(ratios(results[loader], reference)) if results.get(loader) else None for loader in loaders]
        lines.append("\t".join([f'"{case}"', *("?" if value is None else f"{value:.3f}" for value in values)]))
    lines += ["END", "set terminal svg size 1100,550 background '#ffffff' noenhanced", "set title 'Time of a load, \\copy is 1; cut off at 2'",
              "set style data histogram", "set style histogram clustered gap 1", "set style fill solid 0.8 border -1",
              "set datafile missing '?'", "set yrange [0:2]", "set ylabel 'wall time'", "set grid y",
              "set key outside right top vertical", "set xtics nomirror noenhanced rotate by -20",
              f"plot for [column=2:{len(loaders) + 1}] $ratios using column:xtic(1) title columnheader(column)"]
    with open(path, "wb") as file:
        subprocess.run(["gnuplot"], input="\n".join(lines).encode(), stdout=file, check=True)
    return True
