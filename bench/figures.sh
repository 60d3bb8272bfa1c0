#!/bin/bash
# Measures hyperfill against one psql \copy and prints a table of figures and limits (markdown, on standard output).
#
#   bench/figures.sh [--rows N] [--runs N] [--only csv|postgres|memory]
#
#   --rows N   rows of the table (default 5000000)
#   --runs N   repetitions of each comparison (default 3); a figure is the median of its runs
#   --only X   only one group of figures
#
# Within a run both contestants take turns, and a ratio compares the two of the same run: what else the machine does
# then weighs on both. Both begin with an empty table after a CHECKPOINT. After each load the count and the hash of all
# rows must equal those of an untimed first \copy, else the script fails; a missed limit is only printed.
set -euo pipefail

# shellcheck source=bench/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly jobs=2

rows=5000000
runs=3
only=
declare -A expected=() # count and hash of \copy's rows, by table
target=
source=
until=

parse_options() {
    while (($# > 0)); do
        case $1 in
            --rows | --runs)
                whole_number "$@"
                if [[ $1 == --rows ]]; then rows=$2; else runs=$2; fi
                ;;
            --only)
                [[ ${2:-} =~ ^(csv|postgres|memory)$ ]] || { say "--only takes csv, postgres or memory"; exit 2; }
                only=$2
                ;;
            *) usage ;;
        esac
        shift 2
    done
}

wanted() { [[ -z $only || $only == "$1" ]]; }

# ---- Servers and tables

fresh_target() { fresh_hypertable "$target" "$1" '6 hours'; }

fill_source() {
    say "filling the source"
    source=$(start_server pg15 source)
    create_cpu "$source"
    copy_file "$source" cpu "$work/ordered.csv"
    create_indexes "$source" cpu
    # Without it the first reader alone would pay for setting hint bits.
    sql "$source" "VACUUM (FREEZE, ANALYZE) cpu"
    until=$(sql "$source" "SELECT to_char(max(time) AT TIME ZONE 'UTC' + interval '1 second',
        'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM cpu")
}

copy_file() { psql -X -q -v ON_ERROR_STOP=1 -d "$1" -c "\\copy $2 from '$3' with (format csv, header)"; }

verify() {
    local table=$1 loader=$2 found
    found=$(fingerprint "$target" "$table")
    [[ $found == "${expected[$table]}" ]] || die "$loader loaded count and hash $found, \\copy ${expected[$table]}"
}

# The untimed first load of a table is \copy's. It says what all others are held to, and makes the WAL files and warms
# the caches, for which whoever is measured first would pay.
load_reference() {
    local table=$1 file=$2
    say "loading $table once, untimed"
    fresh_target "$table"
    copy_file "$target" "$table" "$file"
    expected[$table]=$(fingerprint "$target" "$table")
}

# ---- Measuring

servers_seconds() {
    local each total=0
    for each in "$target" ${source:+"$source"}; do
        total=$(awk -v a="$total" -v b="$(server_seconds "$each")" 'BEGIN { print a + b }')
    done
    echo "$total"
}

# measure GROUP LOADER COMMAND...: runs a command on a server at rest and notes, in the file of GROUP and LOADER, its
# wall seconds, processor seconds with those of its children, peak kB, and processor seconds of the servers.
measure() {
    local group=$1 loader=$2 each before wall user system peak
    shift 2
    for each in "$target" ${source:+"$source"}; do
        sql "$each" CHECKPOINT
    done
    before=$(servers_seconds)
    timed "$loader" "$@"
    read -r wall user system peak <"$work/time"
    awk -v wall="$wall" -v user="$user" -v system_="$system" -v peak="$peak" -v before="$before" \
        -v after="$(servers_seconds)" \
        'BEGIN { print wall, user + system_, peak, after - before }' >>"$work/$group.$loader"
    say "$group, $loader: $wall s, processor $user + $system s, peak $peak kB"
}

run_hyperfill() {
    local group=$1 table=$2
    shift 2
    rm -f "$work"/checkpoint*
    measure "$group" hyperfill "$hyperfill" run --target "$target" --table "$table" --jobs $jobs \
        --checkpoint "$work/checkpoint" --progress none --yes "$@"
    verify "$table" hyperfill
}

load_csv() {
    fresh_target cpu
    if [[ $1 == copy ]]; then
        measure csv copy psql -X -q -v ON_ERROR_STOP=1 -d "$target" \
            -c "\\copy cpu from '$work/ordered.csv' with (format csv, header)"
        verify cpu copy
    else
        run_hyperfill csv cpu --source "$work/ordered.csv"
    fi
}

load_postgres() {
    fresh_target cpu
    if [[ $1 == copy ]]; then
        # shellcheck disable=SC2016
        measure postgres copy bash -c 'set -o pipefail
            psql -X -q -v ON_ERROR_STOP=1 -d "$1" -c "\\copy (select * from cpu) to pstdout" |
                psql -X -q -v ON_ERROR_STOP=1 -d "$2" -c "\\copy cpu from pstdin"' pipe "$source" "$target"
        verify cpu copy
    else
        run_hyperfill postgres cpu --source "$source" --until "$until"
    fi
}

# \copy comes first in odd runs and second in even ones, so that neither always finds the machine warm.
compare() {
    local group=$1 run
    for ((run = 1; run <= runs; run++)); do
        say "$group, run $run of $runs"
        if ((run % 2 == 1)); then
            "load_$group" copy
            "load_$group" hyperfill
        else
            "load_$group" hyperfill
            "load_$group" copy
        fi
    done
}

# The peak of memory hardly varies: one run each.
measure_memory() {
    local kind
    say "generating shuffled rows"
    "$generate" --rows "$rows" --order shuffled >"$work/shuffled.csv"
    for kind in ordered shuffled; do
        fresh_target cpu
        run_hyperfill "memory-$kind" cpu --source "$work/$kind.csv" --memory 64MB
    done
    rm "$work/shuffled.csv"

    # Four chunks, in which rows of 1 MB come in no order.
    say "generating rows of 1 MB"
    "$generate" --rows 500 --hosts 4 --step-seconds 600 --shape fat --order shuffled >"$work/fat.csv"
    load_reference fat "$work/fat.csv"
    fresh_target fat
    run_hyperfill memory-fat fat --source "$work/fat.csv" --memory 64MB
}

# ---- Reporting

# column GROUP LOADER N: field N of each run.
column() { awk -v field="$3" '{ print $field }' "$work/$1.$2"; }

# figure NAME LIMIT UNIT: a line of the table for the measurements on standard input, one a line.
figure() {
    local name=$1 limit=$2 unit=$3 values middle
    values=$(cat)
    middle=$(median <<<"$values")
    awk -v name="$name" -v limit="$limit" -v unit="$unit" -v middle="$middle" -v values="${values//$'\n'/ }" 'BEGIN {
        count = split(values, value, " ")
        for (run = 1; run <= count; run++)
            list = list (run > 1 ? ", " : "") sprintf("%.2f", value[run])
        # Peaks must be under their limit, the others may reach it.
        met = unit == " MB" ? middle < limit : middle <= limit
        printf "| %s | %s %.2f%s | %.2f%s | %s | %s |\n", name, unit == " MB" ? "<" : "≤", limit, unit,
            middle, unit, list, met ? "pass" : "**miss**"
    }'
}

ratios() { paste -d ' ' <(column "$1" hyperfill 1) <(column "$1" copy 1) | awk '{ print $1 / $2 }'; }
seconds_per_million() { column "$1" hyperfill 2 | awk -v rows="$rows" '{ print $1 / rows * 1e6 }'; }
# MB as PostgreSQL's settings and --memory have it: 1024 kB.
peaks() { column "$1" hyperfill 3 | awk '{ print $1 / 1024 }'; }

print_facts() {
    local ordered_bytes
    ordered_bytes=$(stat -c %s "$work/ordered.csv")
    echo "- Machine: $(nproc) × $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)," \
        "$(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo), Linux $(uname -r)," \
        "load at start $(cut -d ' ' -f 1 /proc/loadavg)"
    echo "- Target: PostgreSQL $(sql "$target" 'SHOW server_version')," \
        "TimescaleDB $(sql "$target" "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")" \
        "($(sql "$target" 'SHOW timescaledb.license'))"
    if wanted postgres; then
        echo "- Source: $("$("$server" bin pg15)/postgres" --version)"
    fi
    echo "- Servers: ${settings[*]}"
    echo "- hyperfill: $(git -C "$root" describe --always --dirty 2>/dev/null || echo 'not from a commit')," \
        "--jobs $jobs, against $(psql --version)"
    echo "- Data: $rows rows, $(awk -v bytes="$ordered_bytes" -v rows="$rows" \
        'BEGIN { printf "%.0f MB of CSV, %.0f bytes a row", bytes / 1e6, bytes / rows }'), seed 1"
    echo
}

print_figures() {
    local kind
    echo "| figure | limit | measured (median) | runs | |"
    echo "|---|---|---|---|---|"
    if wanted csv; then
        ratios csv | figure "CSV: wall time, of one \`\\copy\`'s" 0.60 ""
        seconds_per_million csv | figure "CSV: own processor time a million rows" 0.6 " s"
    fi
    if wanted postgres; then
        ratios postgres | figure "PostgreSQL: wall time, of \`\\copy … \\| \\copy …\`'s" 0.66 ""
        seconds_per_million postgres | figure "PostgreSQL: own processor time a million rows" 0.4 " s"
    fi
    if wanted memory; then
        for kind in ordered shuffled fat; do
            peaks "memory-$kind" | figure "Peak RSS at \`--memory 64MB\`: $kind" 96 " MB"
        done
    fi
}

print_medians() {
    local results group loader
    echo
    echo "| load (medians) | by | wall s | client's processor s | servers' processor s | client's peak MB |"
    echo "|---|---|---|---|---|---|"
    for results in "$work"/{csv,postgres,memory-ordered,memory-shuffled,memory-fat}.{copy,hyperfill}; do
        [[ -f $results ]] || continue
        loader=${results##*.}
        group=$(basename "$results" ".$loader")
        printf '| %s | %s | %.2f | %.2f | %.2f | %.1f |\n' "$group" "$loader" \
            "$(column "$group" "$loader" 1 | median)" "$(column "$group" "$loader" 2 | median)" \
            "$(column "$group" "$loader" 4 | median)" \
            "$(column "$group" "$loader" 3 | awk '{ print $1 / 1024 }' | median)"
    done
}

main() {
    export LC_ALL=C.UTF-8
    parse_options "$@"
    check_programs
    make_work figures

    say "generating $rows rows"
    "$generate" --rows "$rows" >"$work/ordered.csv"
    sync "$work/ordered.csv"
    target=$(start_server ts17 target)
    "$server" install pg15
    print_facts
    load_reference cpu "$work/ordered.csv"
    if wanted csv; then
        compare csv
    fi
    if wanted memory; then
        measure_memory
    fi
    if wanted postgres; then
        fill_source
        compare postgres
    fi
    print_figures
    print_medians
}

main "$@"
