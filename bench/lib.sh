# What the scripts of this folder share: programs, servers, tables, measuring. To be sourced; `set -euo pipefail` is theirs.
# shellcheck shell=bash
#
# HYPERFILL_BINARY and HYPERFILL_GENERATE name other programs than build/hyperfill and build/hyperfill-generate.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly hyperfill=${HYPERFILL_BINARY:-$root/build/hyperfill}
readonly generate=${HYPERFILL_GENERATE:-$root/build/hyperfill-generate}
readonly server=$root/tests/server.sh
readonly time_program=/usr/bin/time

# What a production server on this machine would have. The server script's own default is fsync=off. min_wal_size keeps
# the WAL files of one load for the next, which would else make them anew or not, as it happens.
readonly settings=(fsync=on shared_buffers=1GB min_wal_size=4GB max_wal_size=8GB checkpoint_timeout=30min)

work=

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() { say "$@"; exit 1; }

# The comment at the head of the script is its manual.
usage() {
    sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0" >&2
    exit 2
}

# whole_number OPTION TEXT
whole_number() { [[ ${2:-} =~ ^[1-9][0-9]{0,9}$ ]] || { say "$1 takes a whole number from 1"; exit 2; }; }

check_programs() {
    [[ -x $time_program ]] || die "$time_program is missing: apt-get install time"
    command -v psql >/dev/null || die "psql is missing: apt-get install postgresql-client"
    [[ -x $hyperfill ]] || die "$hyperfill is missing: build it first, or set HYPERFILL_BINARY"
    [[ -x $generate ]] || die "$generate is missing: build it first, or set HYPERFILL_GENERATE"
}

# make_work NAME: the folder that holds files and servers, both gone at the end.
make_work() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/hyperfill-$1.XXXXXX")
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

clean_up() {
    local folder
    for folder in "$work"/target "$work"/source; do
        "$server" stop "$folder" || true
    done
    rm -rf "$work"
}

# ---- Servers and tables

sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$1" -c "$2"; }

# start_server KIND NAME: prints its conninfo.
start_server() { "$server" start "$1" "$work/$2" "${settings[@]}" | tail -n 1; }

create_cpu() {
    sql "$1" "SET client_min_messages = warning;
        DROP TABLE IF EXISTS cpu;
        CREATE TABLE cpu (
            time timestamptz NOT NULL,
            tags_id integer,
            hostname text,
            usage_user double precision,
            usage_system double precision,
            usage_idle double precision,
            usage_nice double precision,
            usage_iowait double precision,
            usage_irq double precision,
            usage_softirq double precision,
            usage_steal double precision,
            usage_guest double precision,
            usage_guest_nice double precision)"
}

create_fat() {
    sql "$1" "SET client_min_messages = warning;
        DROP TABLE IF EXISTS fat;
        CREATE TABLE fat (time timestamptz NOT NULL, tags_id integer, payload text)"
}

create_indexes() {
    sql "$1" "CREATE INDEX ON $2 (time DESC)"
    sql "$1" "CREATE INDEX ON $2 (tags_id, time DESC)"
}

# fresh_hypertable CONNINFO TABLE CHUNK: an empty one, and no ledger that would call its rows loaded.
fresh_hypertable() {
    "create_$2" "$1"
    sql "$1" "SET client_min_messages = warning;
        DROP SCHEMA IF EXISTS hyperfill CASCADE" >/dev/null
    sql "$1" "SELECT create_hypertable('$2', 'time',
        chunk_time_interval => interval '$3', create_default_indexes => false)" >/dev/null
    create_indexes "$1" "$2"
}

# fingerprint CONNINFO TABLE: does not depend on the order of the rows, and all columns of all rows are in it.
fingerprint() { sql "$1" "SELECT count(*), sum(hash_record_extended($2, 0)) FROM $2"; }

# ---- Measuring

# Processor seconds of a server so far: its postmaster with the children it has reaped, and those that are alive.
server_seconds() {
    local postmaster
    postmaster=$(sql "$1" "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")
    # A process may end between being listed and being read.
    { cat /proc/[0-9]*/stat 2>/dev/null || true; } | awk -v postmaster="$postmaster" -v hertz="$(getconf CLK_TCK)" '
        { pid = $1; sub(/.*\) /, "") }
        pid == postmaster { ticks += $12 + $13 + $14 + $15 }
        $2 == postmaster { ticks += $12 + $13 }
        END { printf "%.2f\n", ticks / hertz }'
}

# timed LOADER COMMAND…: leaves wall, user, system seconds and peak kB in $work/time, what it says in $work/output.
timed() {
    local loader=$1
    shift
    "$time_program" -q -f '%e %U %S %M' -o "$work/time" "$@" >"$work/output" 2>&1 || {
        cat "$work/output" >&2
        die "$loader failed"
    }
    # The servers' processes of this load need a moment to end and be reaped.
    sleep 0.5
}

median() {
    sort -n | awk '{ value[NR] = $1 }
        END { print NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2 }'
}
