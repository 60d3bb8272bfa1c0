#!/bin/bash
# Measures the reading of inputs, and prints tables (markdown, on standard output): how fast the cutter and the router are,
# and what decompressing costs against zstd and gzip.
#
#   bench/inputs.sh [--rows N] [--runs N]
#
#   --rows N   rows of the file (default 2000000)
#   --runs N   repetitions (default 5); a figure is the median of its runs
#
# "after" and "before" are the values of --verify-input; 64 MiB of text in a file have room to be kept, more have not.
# Within a run both contestants take turns. A ratio is that of their processor times (user and system, all threads), of
# the same run; wall times are shown beside it. Both must have decompressed the same number of bytes. A missed limit is
# only shown.
#
# HYPERFILL_BENCH_BYTES, HYPERFILL_BENCH_PARTS and HYPERFILL_GENERATE name other programs than those in build/.
set -euo pipefail

# shellcheck source=bench/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly bytes=${HYPERFILL_BENCH_BYTES:-$root/build/hyperfill-bench-bytes}
readonly parts=${HYPERFILL_BENCH_PARTS:-$root/build/hyperfill-bench-parts}
# A frame of 16 MiB holds about what a program that writes several would give each.
readonly frame_bytes=$((16 << 20))
# A day of rows, which is verified and kept.
readonly small_bytes=$((24 << 20))

rows=2000000
runs=5

parse_options() {
    while (($# > 0)); do
        case $1 in
            --rows | --runs) whole_number "$@" ;;
            *) usage ;;
        esac
        if [[ $1 == --rows ]]; then rows=$2; else runs=$2; fi
        shift 2
    done
}

check_programs() {
    local program
    for program in zstd gzip split; do
        command -v "$program" >/dev/null || die "$program is missing"
    done
    for program in "$bytes" "$parts" "$generate"; do
        [[ -x $program ]] || die "$program is missing: build it first"
    done
}

make_files() {
    "$generate" --rows "$rows" >"$work/f.csv"
    text_size=$(stat -c %s "$work/f.csv")
    zstd -q -3 "$work/f.csv" -o "$work/one.zst"
    zstd -q -3 --no-check "$work/f.csv" -o "$work/unchecked.zst"
    zstd -q -3 --long=27 "$work/f.csv" -o "$work/long.zst"
    (cd "$work" && split -b "$frame_bytes" f.csv part. && zstd -q -3 -c part.* >frames.zst && rm part.*)
    gzip -k -c "$work/f.csv" >"$work/one.gz"
    head -c "$small_bytes" "$work/f.csv" >"$work/small.csv"
    zstd -q -3 "$work/small.csv" -o "$work/small.zst"
    gzip -k -c "$work/small.csv" >"$work/small.gz"
    sed 's/,/","/g; s/^/"/; s/$/"/' "$work/f.csv" >"$work/quoted.csv"
}

# measure COMMAND…: sets processor and wall, in milliseconds.
measure() {
    local times
    TIMEFORMAT='%U %S %R'
    times=$({ time "$@" >"$work/out" 2>"$work/errors"; } 2>&1) || die "$* failed: $(<"$work/errors")"
    read -r processor wall < <(awk '{printf "%d %d\n", ($1 + $2) * 1000, $3 * 1000}' <<<"$times")
}

# compare NAME FILE MEMORY VERIFY LIMIT TOOL…: one line of the table. The memory is in MB, as one reader has it.
compare() {
    local name="$1, $4" file=$2 memory=$3 verify=$4 limit=$5 run ours ours_wall ratio size=$text_size
    shift 5
    [[ $file != */small.* ]] || size=$small_bytes
    [[ $verify == before ]] || verify=
    : >"$work/ratios"; : >"$work/walls"; : >"$work/ours"; : >"$work/theirs"
    for ((run = 0; run < runs; run++)); do
        measure "$bytes" "$file" "$memory" ${verify:+before}
        [[ $(<"$work/out") == "$size" ]] || die "$name: $(<"$work/out") bytes, not $size"
        ours=$processor ours_wall=$wall
        measure sh -c '"$@" >/dev/null' sh "$@" "$file"
        awk -v a="$ours" -v b="$processor" 'BEGIN {printf "%.3f\n", a / b}' >>"$work/ratios"
        awk -v a="$ours_wall" -v b="$wall" 'BEGIN {printf "%.3f\n", a / b}' >>"$work/walls"
        echo "$ours" >>"$work/ours"
        echo "$processor" >>"$work/theirs"
    done
    ratio=$(median <"$work/ratios")
    printf '| %s | %s | %s | %s | %s | %s | %s |\n' "$name" "$(median <"$work/ours")" "$(median <"$work/theirs")" "$ratio" "$limit" \
        "$(awk -v r="$ratio" -v l="$limit" 'BEGIN {print (r <= l) ? "yes" : "NO"}')" "$(median <"$work/walls")"
}

# speed NAME PART FILE LIMIT: one line of the table.
speed() {
    local name=$1 run found
    : >"$work/speeds"
    for ((run = 0; run < runs; run++)); do
        "$parts" "$2" "$3" >>"$work/speeds" || die "$name failed"
    done
    found=$(median <"$work/speeds" | cut -d . -f 1)
    printf '| %s | %s | %s | %s |\n' "$name" "$found" "$4" "$( ((found >= $4)) && echo yes || echo NO)"
}

parse_options "$@"
check_programs
work=$(mktemp -d "${TMPDIR:-/tmp}/hyperfill-inputs-XXXXXX")
trap 'rm -rf "$work"' EXIT
make_files
printf '%s bytes of CSV, median of %s runs\n\n' "$text_size" "$runs"
printf '| part | MB for a second of processor time | at least | within |\n|---|---|---|---|\n'
speed "cutter, unquoted" cut "$work/f.csv" 1000
speed "cutter, all quoted" cut "$work/quoted.csv" 500
speed "cutter, time, router" route "$work/f.csv" 300
printf '\nTimes in ms\n\n'
printf '| input | processor | tool | ratio | limit | within | wall ratio |\n|---|---|---|---|---|---|---|\n'
for verify in after before; do
    compare "zst, one frame" "$work/one.zst" 256 $verify 1.25 zstd -dc
    compare "zst, one frame without a checksum" "$work/unchecked.zst" 256 $verify 1.25 zstd -dc
    compare "zst, one frame of 24 MiB" "$work/small.zst" 256 $verify 1.25 zstd -dc
    compare "zst, frames of 16 MiB" "$work/frames.zst" 256 $verify 1.25 zstd -dc
    compare "zst, --long=27" "$work/long.zst" 1024 $verify 1.25 zstd --long=27 -dc
    compare "gz" "$work/one.gz" 256 $verify 0.7 gzip -dc
    compare "gz of 24 MiB" "$work/small.gz" 256 $verify 0.7 gzip -dc
done
