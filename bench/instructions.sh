#!/bin/bash
# Counts the instructions that each part of hyperfill-bench-parts takes, and compares them with bench/instructions.txt.
#
#   bench/instructions.sh [--record] [--times N] [--only PART] [PROGRAM]
#
#   --record       write the figures of this build into bench/instructions.txt; those of other builds stay
#   --only PART    count only this part
#   --times N      do the work N times over, but record and compare as if it had been once: to see a comparison fail
#   PROGRAM        the program, by default build/hyperfill-bench-parts
#
# Counts are valgrind's (callgrind) and the same on every run, but not with another compiler or another library: so each
# build has its own figures. Where there are none, or where this build is not the released kind (RelWithDebInfo without
# sanitizers, LTO or CFLAGS), it is said and the status is 77. A part that takes over a tenth more than its figure, or
# that has none while its build has others, makes the status 1.
set -euo pipefail
export LC_ALL=C.UTF-8

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly figures=${HYPERFILL_BENCH_INSTRUCTIONS:-$here/instructions.txt}
readonly tolerance=1.10

program=$here/../build/hyperfill-bench-parts
record=
only=
times=1

usage() {
    sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}

skip() {
    echo "skipped: $*"
    exit 77
}

parse_options() {
    while (($# > 0)); do
        case $1 in
            --record) record=yes ;;
            --only | --times)
                [[ -n ${2:-} ]] || usage
                if [[ $1 == --only ]]; then only=$2; else times=$2; fi
                shift
                ;;
            -*) usage ;;
            *) program=$1 ;;
        esac
        shift
    done
}

# Instructions for each unit of a part, as "112.84 row". Symbols are bound before, so that the first call costs no more.
count() {
    local units unit instructions
    LD_BIND_NOW=1 valgrind --tool=callgrind --callgrind-out-file="$work/counts" --collect-atstart=no \
        --toggle-collect=parts_measure "$program" run "$1" "$times" >"$work/out" 2>"$work/errors" || {
        cat "$work/errors" >&2
        return 1
    }
    read -r units unit <"$work/out"
    instructions=$(sed -n 's/^totals: //p' "$work/counts")
    awk -v n="$instructions" -v units="$units" -v unit="$unit" 'BEGIN {
        if (n == 0 || units == 0) exit 1
        printf "%.4g %s\n", n / units, unit }'
}

figure_of() { awk -v build="$build" -v part="$1" '$1 == build && $2 == part {print $3}' "$figures"; }

# Says what became of a part; fails if it takes too much.
compare() {
    local part=$1 now=$2 unit=$3 before
    before=$(figure_of "$part")
    if [[ -z $before ]]; then
        printf '%-20s %9s a %s: NO FIGURE\n' "$part" "$now" "$unit"
        return 1
    fi
    awk -v part="$part" -v now="$now" -v unit="$unit" -v before="$before" -v tolerance="$tolerance" 'BEGIN {
        grown = now > before * tolerance
        printf "%-20s %9s a %s, recorded %s (%+.1f %%)%s\n", part, now, unit, before, (now / before - 1) * 100,
               grown ? ": TOO MANY" : now < before / tolerance ? ": fewer; record it, to hold that" : ""
        exit grown }'
}

write_figures() {
    {
        grep '^#' "$figures"
        # Of this build, what was not counted now stays as it is.
        awk -v build="$build" 'NR == FNR {counted[$2] = 1; next}
            !/^#/ && ($1 != build || !($2 in counted))' "$work/new" "$figures" | cat - "$work/new" | sort
    } >"$work/figures"
    cat "$work/figures" >"$figures"
}

parse_options "$@"
program=$(realpath -- "$program")
command -v valgrind >/dev/null || skip "there is no valgrind (tests/install.sh test)"
build=$("$program" build)
[[ -n $build ]] || skip "only a build of type RelWithDebInfo without sanitizers, LTO and CFLAGS has figures"
if [[ -z $record ]] && ! grep -q "^$build " "$figures"; then
    skip "no figures for $build (bench/instructions.sh --record makes them)"
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/hyperfill-instructions-XXXXXX")
trap 'rm -rf "$work"' EXIT

echo "instructions, $build"
failed=0
: >"$work/new"
while read -r part; do
    [[ -z $only || $only == "$part" ]] || continue
    counted=$(count "$part") || { echo "$part: cannot be counted"; exit 1; }
    read -r now unit <<<"$counted"
    echo "$build $part $now $unit" >>"$work/new"
    if [[ -n $record ]]; then
        printf '%-20s %9s a %s\n' "$part" "$now" "$unit"
    else
        compare "$part" "$now" "$unit" || failed=$((failed + 1))
    fi
done < <("$program" list)
[[ -s $work/new ]] || { echo "there is no part $only"; exit 2; }
if [[ -n $record ]]; then
    write_figures
elif ((failed > 0)); then
    echo "$failed parts take more than a tenth more than recorded. Where that is meant: bench/instructions.sh --record $program"
    exit 1
fi
