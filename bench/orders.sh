#!/bin/bash
# Measures what it costs that the same rows do not come as one file in order of time, and prints a table (markdown, on
# standard output): 41 files that follow each other (parts), 41 files of some hosts each that share all of the time (hosts),
# one shuffled file, and that with --spill-dir (spilled).
#
#   bench/orders.sh [--rows N] [--runs N] [--memory SIZE] [--chunk INTERVAL]
#
#   --rows N           rows of the table (default 5000000)
#   --runs N           repetitions (default 3); figures are medians
#   --memory SIZE      of hyperfill (default 64MB)
#   --chunk INTERVAL   of the hypertable (default '1 hour': with 5000000 rows 35 chunks)
#
# In each run the loads take turns, each into an empty table after a CHECKPOINT, and ratios compare loads of one run.
# All loads must give the same count and hash of rows, else the script fails; a missed limit is only printed.
set -euo pipefail

# shellcheck source=bench/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly kinds=(ordered parts hosts shuffled spilled)
readonly files=41

rows=5000000
runs=3
memory=64MB
chunk='1 hour'
target=
expected=

parse_options() {
    while (($# > 1)); do
        case $1 in
            --rows) rows=$2 ;;
            --runs) runs=$2 ;;
            --memory) memory=$2 ;;
            --chunk) chunk=$2 ;;
            *) usage ;;
        esac
        shift 2
    done
    (($# == 0)) || usage
}

# A number of the summary event; 0 where it has none of that name.
summary() {
    local number
    number=$(sed -n '/"event":"summary"/{s/.*"'"$1"'":\([0-9.]*\).*/\1/p}' "$work/output")
    echo "${number:-0}"
}

# Notes in the file of the kind: wall seconds, our processor seconds, the server's, pieces, peak kB, bytes spilled at
# one time.
load() {
    local kind=$1 file=$work/$1.csv before wall user system peak found more=()
    case $kind in
        parts | hosts) file=$work/$kind ;;
        spilled)
            file=$work/shuffled.csv
            more=(--spill-dir "$work")
            ;;
    esac
    fresh_hypertable "$target" cpu "$chunk"
    sql "$target" CHECKPOINT
    before=$(server_seconds "$target")
    timed "$kind" "$hyperfill" run --source "$file" --target "$target" --table cpu --jobs 2 --memory "$memory" \
        --checkpoint "$work/checkpoint" --progress json --yes "${more[@]}"
    rm -f "$work"/checkpoint*
    read -r wall user system peak <"$work/time"
    echo "$wall $user $system $peak $before $(server_seconds "$target") $(summary pieces) $(summary spill_peak_bytes)" |
        awk '{ print $1, $2 + $3, $6 - $5, $7, $4, $8 }' >>"$work/figures.$kind"
    say "$kind: $(tail -n 1 "$work/figures.$kind")"
    found=$(fingerprint "$target" cpu)
    [[ ${expected:=$found} == "$found" ]] || die "$kind loaded count and hash $found, expected $expected"
}

column() { awk -v field="$2" '{ print $field }' "$work/figures.$1"; }

# Field N of a kind against that of the ordered load of the same run.
ratio() { paste -d ' ' <(column "$1" "$2") <(column ordered "$2") | awk '{ print $1 / $2 }' | median; }

print_table() {
    local kind
    echo "| load | wall s | ratio | client's processor s | server's processor s | ratio | pieces | peak MB | spilled MB |"
    echo "|---|---|---|---|---|---|---|---|---|"
    for kind in "${kinds[@]}"; do
        printf '| %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.0f | %.1f | %.0f |\n' "$kind" \
            "$(column "$kind" 1 | median)" "$(ratio "$kind" 1)" "$(column "$kind" 2 | median)" \
            "$(column "$kind" 3 | median)" "$(ratio "$kind" 3)" "$(column "$kind" 4 | median)" \
            "$(column "$kind" 5 | awk '{ print $1 / 1024 }' | median)" \
            "$(column "$kind" 6 | awk '{ print $1 / 1048576 }' | median)"
    done
    echo
    awk -v ratio="$(ratio spilled 1)" -v peak="$(column spilled 5 | median)" 'BEGIN {
        printf "Shuffled with spill: %.2f of the time in order (limit 1.50, %s)", ratio, ratio <= 1.5 ? "pass" : "**miss**"
        printf ", peak %.1f MB (limit 96 at --memory 64MB)\n", peak / 1024
    }'
    for kind in parts hosts; do
        awk -v ratio="$(ratio $kind 1)" -v kind=$kind -v files=$files 'BEGIN {
            verdict = ratio >= 0.9 && ratio <= 1.1 ? "pass" : ratio < 0.9 ? "faster" : "**miss**"
            printf "%d files, %s: %.2f of the time of one (limit 1.10, %s)\n", files, kind, ratio, verdict
        }'
    done
}

# The rows of ordered.csv once more, in files of their own.
make_files() {
    mkdir "$work/parts" "$work/hosts"
    awk -F, -v files=$files -v rows="$rows" -v folder="$work" '
        NR == 1 {
            for (i = 0; i < files; i++) {
                print > sprintf("%s/parts/%02d.csv", folder, i)
                print > sprintf("%s/hosts/%02d.csv", folder, i)
            }
            next
        }
        {
            print > sprintf("%s/parts/%02d.csv", folder, int((NR - 2) * files / rows))
            print > sprintf("%s/hosts/%02d.csv", folder, $2 % files)
        }' "$work/ordered.csv"
}

main() {
    local run kind
    export LC_ALL=C.UTF-8
    parse_options "$@"
    check_programs
    make_work orders
    say "generating $rows rows, twice"
    "$generate" --rows "$rows" --hosts 400 >"$work/ordered.csv"
    "$generate" --rows "$rows" --hosts 400 --order shuffled >"$work/shuffled.csv"
    make_files
    sync
    target=$(start_server ts17 target)
    say "loading once, untimed"
    load ordered
    rm "$work/figures.ordered"
    for ((run = 1; run <= runs; run++)); do
        for kind in "${kinds[@]}"; do
            load "$kind"
        done
    done
    echo "$rows rows, chunks of $chunk, --memory $memory, $(nproc) processors, medians of $runs"
    echo
    print_table
}

main "$@"
