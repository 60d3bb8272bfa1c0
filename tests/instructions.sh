#!/bin/bash
# Checks bench/instructions.sh itself: a part that does its work twice is found, and what has no figures is skipped aloud.
#
#   tests/instructions.sh PROGRAM      hyperfill-bench-parts
#
# The status is 77 where nothing can be counted, as bench/instructions.sh says.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly program=$1

fail() {
    printf '%s\n%s\n' "FAILED: $1" "$said"
    exit 1
}

# expect STATUS WORDS ARGUMENT…: what bench/instructions.sh must end with, and say.
expect() {
    local wanted=$1 words=$2 status=0
    shift 2
    said=$("$root/bench/instructions.sh" "$@" "$program" 2>&1) || status=$?
    ((status == wanted)) || fail "$*: status $status, not $wanted"
    [[ $said == *"$words"* ]] || fail "$*: does not say \"$words\""
}

build=$("$program" build)
said=$build
# Figures of Debian 12 are always there: what it builds with its own compiler is compared, not skipped.
if grep -qx 'VERSION_ID="12"' /etc/os-release && grep -qx 'ID=debian' /etc/os-release &&
    [[ $build == gnu-12.*x86_64+avx2 ]] && ! grep -q "^$build " "$root/bench/instructions.txt"; then
    fail "Debian 12's own build has no figures"
fi
if [[ -z $build ]] || ! command -v valgrind >/dev/null; then
    exec "$root/bench/instructions.sh" "$program"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/hyperfill-instructions-test-XXXXXX")
trap 'rm -rf "$work"' EXIT
export HYPERFILL_BENCH_INSTRUCTIONS=$work/figures.txt
printf '%s\n' "# a comment" "another-build cut 1 byte" >"$work/figures.txt"

expect 77 "skipped: no figures for $build"
expect 0 "a value" --record --only time-epoch
expect 0 "(+0.0 %)" --only time-epoch
expect 1 "TOO MANY" --only time-epoch --times 2
expect 1 "NO FIGURE" --only time-iso
expect 0 "a value" --record --only time-epoch --times 2
expect 0 "fewer; record it" --only time-epoch
expect 0 "a value" --record --only time-iso
said=$(<"$work/figures.txt")
[[ $(wc -l <<<"$said") == 4 && $said == "# a comment"*"another-build cut 1 byte"* ]] || fail "figures of others were changed"
echo "passed"
