#!/bin/bash
# Installs what is missing of Debian's (or Ubuntu's) packages, through sudo when not root.
#
#   tests/install.sh [build] [test] [tidy] [bench]      without a group: build and test
#
# No package of these brings a PostgreSQL server, so none starts; tests/server.sh gets servers its own way.
set -euo pipefail

readonly build=(gcc libc6-dev make cmake pkg-config libpq-dev libzstd-dev libcsv-dev libxxhash-dev libisal-dev libinih-dev libcmocka-dev)
# valgrind counts instructions for bench/instructions.sh. Time zones and keys are for tests/server.sh: its servers use the machine's
# time zones, its downloads are verified by Debian's keys.
readonly test=(valgrind python3-pytest python3-psycopg2 python3-pytest-timeout python3-pytest-xdist postgresql-client zstd sqlite3 tzdata debian-archive-keyring gnuplot-nox)
readonly tidy=(clang-format)
readonly bench=(gnuplot-nox pgloader pgcopydb postgresql-client time)

choose_packages() {
    local group
    wanted=()
    for group in "$@"; do
        case $group in
            build) wanted+=("${build[@]}") ;;
            test) wanted+=("${test[@]}") ;;
            tidy) wanted+=("${tidy[@]}") ;;
            bench) wanted+=("${bench[@]}") ;;
            *)
                sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
                exit 2
                ;;
        esac
    done
}

find_missing() {
    local package installed
    # It fails when one of the packages was never heard of, which is an answer here.
    installed=$(dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null || true)
    missing=()
    for package in "${wanted[@]}"; do
        if [[ $'\n'$installed$'\n' != *$'\n'"installed $package"$'\n'* ]]; then
            missing+=("$package")
        fi
    done
}

as_root() {
    if [[ $EUID == 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "install.sh: neither root nor sudo; install yourself: ${missing[*]}" >&2
        exit 1
    fi
}

install_missing() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq --yes --no-install-recommends -o Dpkg::Use-Pty=0 \
        -o DPkg::Lock::Timeout=300 install "${missing[@]}"
}

if (($# == 0)); then
    set -- build test
fi
choose_packages "$@"
find_missing
if ((${#missing[@]} == 0)); then
    exit 0
fi
echo "install.sh: installing ${missing[*]}" >&2
# The package lists may be absent or too old, which shows when the package cannot be found or fetched.
if ! install_missing >/dev/null 2>&1; then
    as_root apt-get -qq update
    install_missing >&2
fi
