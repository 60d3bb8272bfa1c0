#!/bin/bash
# Installs what is needed, builds, and runs all tests: unit tests by ctest, integration tests by pytest on real servers.
#
#   ./test.sh [options] [-- arguments of pytest]
#
#   (no option)        the sanitized builds first (a test against one of its targets), then the ordinary one (against all of
#                      them), so that its ctest and pytest close the output
#   --quick            only the unit tests of the ordinary build
#   --sanitize LIST    only a build with -DSANITIZE=LIST (address,undefined or thread), all tests
#
# Example: ./test.sh -- -k proxy -x
#
# Every stage is run, also after one that failed; the status is 0 only if all passed. Which servers are tested, and with which
# seed, is told at the head of tests/integration/conftest.py. Tests wait for servers more than they compute, so
# HYPERFILL_TEST_WORKERS of them run at once, by default one more than there are processors, each with servers of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

passed=()
failed=()
failed_tests=() # of each stage in `failed`, a line each
pytest_arguments=()

# Where a stage leaves the names of the tests that failed in it, a line each.
names=$(mktemp)
readonly names
trap 'rm -f "$names"' EXIT

usage() {
    sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' test.sh >&2
    exit 2
}

heading() { printf '\n==== %s\n' "$*"; }

# Runs the rest of its arguments under a heading and remembers how that ended.
stage() {
    local name=$1
    shift
    heading "$name"
    SECONDS=0
    : >"$names"
    if "$@"; then
        passed+=("$name ($SECONDS s)")
    else
        failed+=("$name ($SECONDS s)")
        # A test that fails and cannot be cleaned up after is named twice.
        failed_tests+=("$(awk '!seen[$0]++' "$names")")
    fi
}

# Stages, and what failed in each, in so few lines that the last 40 of a log hold them all.
summarize() {
    local index most=$((24 / (${#failed[@]} + 1)))
    ((${#passed[@]} == 0)) || printf 'passed: %s\n' "${passed[@]}"
    for index in "${!failed[@]}"; do
        echo "FAILED: ${failed[index]}"
        awk -v most="$most" 'NF && ++n <= most { print "    " $0 } END { if (n > most) print "    and " n - most " more" }' \
            <<<"${failed_tests[index]}"
    done
}

# Which servers a test run needs is known before the first test; a download then does not count against a test's time.
install_servers() {
    local kind status
    for kind in ${HYPERFILL_TEST_KINDS:-pg15 ts17 ts18}; do
        status=0
        tests/server.sh install "$kind" || status=$?
        # 77: it cannot be had here, and its tests will be reported as skipped.
        ((status == 0 || status == 77)) || return "$status"
    done
}

folder_of() { echo "build${1:+/sanitize-${1//,/-}}"; }

build() {
    local sanitize=$1 folder
    folder=$(folder_of "$sanitize")
    cmake --log-level=NOTICE -S . -B "$folder" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DSANITIZE="$sanitize" &&
        cmake --build "$folder" --parallel "$(nproc)"
}

unit_tests() {
    local sanitize=$1 folder log status=0
    folder=$(folder_of "$sanitize")
    log=$folder/Testing/Temporary/LastTestsFailed.log
    rm -f "$log"
    sanitized "$sanitize" ctest --test-dir "$folder" --output-on-failure --no-tests=error || status=$?
    # Of lines such as 12:test_queue.
    [[ ! -f $log ]] || cut -d : -f 2- "$log" >>"$names"
    return "$status"
}

integration_tests() {
    local sanitize=$1 status=0 workers=()
    shift
    if /usr/bin/python3 -c 'import xdist' 2>/dev/null; then
        workers=(-n "${HYPERFILL_TEST_WORKERS:-$(($(nproc) + 1))}")
    fi
    HYPERFILL_BINARY=$(folder_of "$sanitize")/hyperfill sanitized "$sanitize" env PYTHONDONTWRITEBYTECODE=1 \
        HYPERFILL_TEST_FAILED="$names" /usr/bin/python3 -m pytest -p no:cacheprovider -rfE "${workers[@]}" tests/integration "$@" \
        "${pytest_arguments[@]}" || status=$?
    # 5: no test was selected, which the arguments for pytest may well mean for one of several runs.
    ((status == 0 || status == 5 && ${#pytest_arguments[@]} > 0))
}

# Runs a command so that what a sanitizer finds ends the program with a status that no test expects of it.
sanitized() {
    local sanitize=$1 prefix=()
    shift
    # The thread sanitizer of older compilers cannot live with the address randomisation of newer kernels.
    if [[ $sanitize == thread ]] && setarch --addr-no-randomize true 2>/dev/null; then
        prefix=(setarch --addr-no-randomize)
    fi
    ASAN_OPTIONS=exitcode=99:${ASAN_OPTIONS:-} LSAN_OPTIONS=exitcode=99:${LSAN_OPTIONS:-} \
        UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:exitcode=99:${UBSAN_OPTIONS:-} \
        TSAN_OPTIONS=halt_on_error=1:exitcode=99:${TSAN_OPTIONS:-} "${prefix[@]}" "$@"
}

# A build that failed leaves nothing to test.
sanitized_build() {
    local sanitize=$1
    shift
    stage "build, $sanitize" build "$sanitize"
    if [[ ${failed[*]} == *"build, $sanitize ("* ]]; then
        return
    fi
    stage "unit tests, $sanitize" unit_tests "$sanitize"
    stage "integration tests, $sanitize" integration_tests "$sanitize" "$@"
}

build_or_exit() {
    heading "build"
    build "" || exit 1
}

run_all() {
    build_or_exit
    # The harness tests itself in the last stage; it has nothing to do with how the program was built.
    # Nor do memory errors of ours depend on the server much: one target for each test, another one in each run.
    # A quarter of the random files shows what memory does with them; all of them are compared with the server below.
    HYPERFILL_TEST_COUNT=${HYPERFILL_TEST_COUNT:-2500} \
        sanitized_build address,undefined --ignore tests/integration/test_harness.py --one-target
    sanitized_build thread --ignore tests/integration/test_harness.py -m pipeline
    heading "so far"
    summarize
    stage "unit tests" unit_tests ""
    stage "integration tests" integration_tests ""
}

mode=all
sanitize=
while (($# > 0)); do
    case $1 in
        --quick) mode=quick ;;
        --sanitize)
            mode=sanitize
            sanitize=${2:-}
            [[ -n $sanitize ]] || usage
            shift
            ;;
        --)
            shift
            pytest_arguments=("$@")
            break
            ;;
        *) usage ;;
    esac
    shift
done

tests/install.sh build test
if [[ $mode != quick ]]; then
    install_servers
fi
case $mode in
    quick)
        build_or_exit
        stage "unit tests" unit_tests ""
        ;;
    sanitize) sanitized_build "$sanitize" ;;
    all) run_all ;;
esac

# When all went well the output ends with the lines of ctest and pytest themselves.
if ((${#failed[@]} > 0)); then
    heading "result"
    summarize
    exit 1
fi
