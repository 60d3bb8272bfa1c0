#!/bin/bash
# Shows hyperfill at work on servers of its own: PostgreSQL 15 as source, TimescaleDB on PostgreSQL 17 as target.
#
#   ./demo.sh              a whole migration of two million rows, with an application that keeps writing to both sides through
#                          an outage, a kill -9 on the way, and a row changed by hand: found, shown and repaired
#   ./demo.sh FILE.csv     the same for a CSV file of yours: it is loaded and compared with what \copy makes of it
#
# It installs what it needs from Debian's packages (through sudo when not root), builds in build/, and removes the
# servers and all they held at the end, also after Ctrl-C. The status is 0 only if both sides agree.
set -euo pipefail
export LC_ALL=C.UTF-8

# Seven days of 200 hosts, one measurement a minute: 2,016,000 rows.
readonly hosts=200
readonly days=7
readonly writers=2
readonly jobs=2
readonly settings=(shared_buffers=256MB max_wal_size=4GB synchronous_commit=off)

file=
work=
hyperfill_pid=
writer_pids=()
new_bin=

say() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }
die() { printf 'demo.sh: %s\n' "$*" >&2; exit 1; }

usage() {
    sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' demo.sh
    exit "$1"
}

# Prints a command as one would type it, then runs it. hyperfill tells its progress on standard error; here all that the
# commands say goes one way, so that it stays in order.
shown() {
    show "$@"
    "$@" 2>&3
}

show() {
    local word
    printf '   $' >&3
    for word in "$@"; do
        if [[ $word =~ ^[A-Za-z0-9_./=:,+-]+$ || $word == '&' ]]; then
            printf ' %s' "$word" >&3
        else
            printf " '%s'" "${word//\'/\'\\\'\'}" >&3
        fi
    done
    printf '\n' >&3
}

# schema takes pg_dump from PATH, and the one of the newer server reads both.
hyperfill() { PATH=$new_bin:$PATH "$root/build/hyperfill" "$@"; }
sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 -d "service=$1" -c "$2"; }
seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }'; }

# ---- Coming and going

# Processes in the background do not hear Ctrl-C, so they are ended here.
clean_up() {
    local status=$? folder
    trap '' INT TERM HUP
    trap - EXIT
    if [[ -n $hyperfill_pid ]]; then
        kill -KILL "$hyperfill_pid" 2>/dev/null || true
        wait "$hyperfill_pid" 2>/dev/null || true
    fi
    if [[ -n $work ]]; then
        rm -f "$work"/application.*
        wait 2>/dev/null || true
        cd /
        for folder in "$work"/old "$work"/new; do
            if [[ -d $folder ]]; then
                "$root/tests/server.sh" stop "$folder" >/dev/null 2>&1 || true
            fi
        done
        rm -rf "$work"
    fi
    exit "$status"
}

prepare() {
    say "Install what is missing, build"
    tests/install.sh build test </dev/null
    cmake --log-level=NOTICE -S . -B build >/dev/null
    cmake --build build --parallel "$(nproc)" --target hyperfill >"$work/build.log" 2>&1 || {
        cat "$work/build.log" >&2
        die "the build failed"
    }
    note "$(hyperfill --version)"
}

# A libpq service for each server, so that the commands below are as short as yours will be.
start_server() {
    local service=$1 kind=$2 conninfo host
    conninfo=$(tests/server.sh start "$kind" "$work/$service" "${settings[@]}" </dev/null | tail -n 1)
    host=$(<"$work/$service/socket_folder")
    {
        echo "[$service]"
        echo "host=$host"
        tr ' ' '\n' <<<"${conninfo#* port=}" | sed '1s/^/port=/'
    } >>"$work/services"
    note "service=$service: $(sql "$service" "SELECT 'PostgreSQL ' || split_part(current_setting('server_version'), ' ', 1)
        || coalesce((SELECT ', TimescaleDB ' || extversion FROM pg_extension WHERE extname = 'timescaledb'), '')")"
}

# Counts, and adds up a hash of every row: the order of the rows does not matter, every column of each does.
fingerprint() { sql "$1" "SELECT count(*) || ' ' || sum(hash_record_extended(t, 0)) FROM $2 t"; }

compare() {
    local left=$1 right=$2 left_print=$3 right_print=$4
    note "$(printf '%-24s %14s   %s' '' rows 'sum of the hashes of all rows')"
    note "$(printf '%-24s %14s   %s' "$left" $left_print)"
    note "$(printf '%-24s %14s   %s' "$right" $right_print)"
    [[ $left_print == "$right_print" ]] || die "THE TWO SIDES DIFFER"
    note "They agree: every row once, none changed."
}

# ---- From PostgreSQL

fill_source() {
    sql old "CREATE TABLE cpu (
            time timestamptz NOT NULL, tags_id integer, hostname text,
            usage_user float8, usage_system float8, usage_idle float8, usage_nice float8, usage_iowait float8,
            usage_irq float8, usage_softirq float8, usage_steal float8, usage_guest float8, usage_guest_nice float8)"
    sql old "INSERT INTO cpu
        SELECT t, h, 'host_' || h,
            floor(random() * 10000) / 100, floor(random() * 10000) / 100, floor(random() * 10000) / 100,
            floor(random() * 10000) / 100, floor(random() * 10000) / 100, floor(random() * 10000) / 100,
            floor(random() * 10000) / 100, floor(random() * 10000) / 100, floor(random() * 10000) / 100,
            floor(random() * 10000) / 100
        FROM generate_series(date_trunc('minute', now()) - interval '$days days',
                 date_trunc('minute', now()) - interval '1 minute', interval '1 minute') t,
             generate_series(1, $hosts) h"
    sql old "CREATE INDEX cpu_time ON cpu (time DESC)"
    sql old "CREATE INDEX cpu_tags_time ON cpu (tags_id, time DESC)"
    sql old "CREATE TABLE hosts (id integer PRIMARY KEY, name text NOT NULL UNIQUE, rack integer);
        INSERT INTO hosts SELECT h, 'host_' || h, h % 7 FROM generate_series(1, $hosts) h"
    sql old "VACUUM ANALYZE cpu"
    note "$(sql old "SELECT to_char(count(*), 'FM999,999,999') || ' rows of 13 columns, '
        || pg_size_pretty(pg_total_relation_size('cpu')) || ' with indexes' FROM cpu")"
}

# Stands for your application: writers that each measure half of the hosts again and again. Every tenth measurement
# arrives late, 2 s after its time. A writer knows nothing of the new database until it is restarted with its dual-write
# release; what the new database does not take then is lost there, as it is with most applications.
writer() {
    local number=$1 release=$2 round time insert
    round=$(<"$work/rounds.$number")
    while [[ -e $work/application.$number ]]; do
        round=$((round + 1))
        time=$(date -u -d "$((round % 10 == 0 ? 2 : 0)) seconds ago" +%FT%T.%6NZ)
        insert="INSERT INTO cpu SELECT '$time', h, 'host_' || h, h % 100, $round % 100, 100 - h % 100, 0, h / 100.0,
            0, 0, 0, $round / 10.0, $number FROM generate_series($number, $hosts, $writers) h"
        sql old "$insert"
        if [[ $release == dual-write ]]; then
            sql new "$insert" 2>/dev/null || echo "$time" >>"$work/lost"
        fi
        echo "$round" >"$work/rounds.$number.new"
        mv "$work/rounds.$number.new" "$work/rounds.$number"
        sleep 0.2
    done
}

# Waits until each writer has finished this many more rounds.
wait_rounds() {
    local number until
    for ((number = 1; number <= writers; number++)); do
        until=$(($(<"$work/rounds.$number") + $1))
        while (($(<"$work/rounds.$number") < until)); do
            kill -0 "${writer_pids[number]}" 2>/dev/null || die "a writer has ended: $(<"$work/writer.$number.log")"
            sleep 0.1
        done
    done
}

start_writer() {
    local number=$1 release=$2
    : >"$work/application.$number"
    writer "$number" "$release" >>"$work/writer.$number.log" 2>&1 </dev/null &
    writer_pids[number]=$!
}

# Ends when its round is done.
stop_writer() {
    local number=$1
    rm "$work/application.$number"
    wait "${writer_pids[number]}" || die "a writer failed: $(<"$work/writer.$number.log")"
}

start_application() {
    local number
    for ((number = 1; number <= writers; number++)); do
        echo 0 >"$work/rounds.$number"
        start_writer "$number" single-write
    done
    wait_rounds 2
}

# Not all at once: so it is in real life.
restart_writers() {
    local number
    for ((number = 1; number <= writers; number++)); do
        stop_writer "$number"
        start_writer "$number" dual-write
        wait_rounds 3
    done
}

# What is written meanwhile is missing in the new database.
outage() {
    tests_server stop "$work/new"
    wait_rounds 4
    tests_server start ts17 "$work/new"
    wait_rounds 2
    note "The new database was away for a while: $(wc -l <"$work/lost") rounds of a writer did not get there."
}

tests_server() { "$root/tests/server.sh" "$@" >/dev/null 2>&1 </dev/null; }

stop_application() {
    local number total=0
    for ((number = 1; number <= writers; number++)); do
        stop_writer "$number"
        total=$((total + $(<"$work/rounds.$number")))
    done
    writer_pids=()
    note "Its writers made $total rounds while all this went on."
}

job_file() {
    cat >"$work/app.ini" <<'INI'
[migration]
source = service=old
target = service=new
jobs = 2
memory = 64MB
late = 30s
window = 2 min
bucket = 1s

[table cpu]
time_column = time
hypertable = time,6 hours
INI
    show cat app.ini
    sed 's/^/   /' "$work/app.ini"
}

status_number() { hyperfill status --checkpoint "$1" --json 2>/dev/null | sed -n "s/.*\"$2\": *\([0-9]\+\).*/\1/p"; }

# Asks the checkpoint file, not the clock, when half is done.
wait_half() {
    local rows total
    while kill -0 "$hyperfill_pid" 2>/dev/null; do
        rows=$(status_number "$work/hyperfill-cpu.checkpoint" rows) || true
        total=$(status_number "$work/hyperfill-cpu.checkpoint" rows_total) || true
        if [[ -n $rows && -n $total ]] && ((total > 0 && rows * 2 >= total)); then
            return
        fi
        sleep 0.05
    done
}

# exec in a subshell, so that the process to kill is hyperfill itself.
migrate_until_half() {
    show hyperfill migrate --file app.ini --continue '&'
    (PATH=$new_bin:$PATH && exec "$root/build/hyperfill" migrate --file app.ini --continue --progress plain </dev/null >&3 2>&3) &
    hyperfill_pid=$!
    wait_half
    printf '   $ kill -9 %s\n' "$hyperfill_pid"
    kill -KILL "$hyperfill_pid" 2>/dev/null || note "(it was too fast and had ended by itself)"
    wait "$hyperfill_pid" 2>/dev/null || true
    hyperfill_pid=
}

# A command that is to end with another status than 0.
shown_status() {
    local wanted=$1 status=0
    shift
    shown "$@" || status=$?
    ((status == wanted)) || die "that ended with status $status, not $wanted"
    note "exit status $status"
}

demo_postgres() {
    say "Start an old PostgreSQL and a new TimescaleDB, private to this demo"
    start_server old pg15
    start_server new ts17
    new_bin=$(tests/server.sh bin ts17 </dev/null | tail -n 1)
    say "The old database has a week of measurements of $hosts hosts, and a table of these hosts"
    fill_source
    start_application
    cd "$work"
    say "What is to be moved, and how"
    job_file
    say "Check both sides, clone the schema, and stop where a person has to act"
    shown hyperfill migrate --file app.ini --yes </dev/null
    say "Deploy the dual-write release of the application: its writers are restarted, one after the other"
    restart_writers
    note "All of them write to both databases now. They did not begin at the same moment."
    say "An outage: the new database is restarted"
    outage
    wait_rounds 50
    say "Go on: find the completion point, load the history. Kill it without mercy when half is in"
    migrate_until_half
    say "How far is it?"
    shown hyperfill migrate status --file app.ini
    say "Meanwhile the application gets another release: its writers are restarted once more"
    restart_writers
    say "The same command again: it goes on from what the target has committed, catches up, verifies"
    shown hyperfill migrate --file app.ini --continue </dev/null
    say "Somebody changes a row of the past by hand: verify finds it"
    until=$(hyperfill migrate status --file app.ini --json | sed -n 's/.*"until": *{"cpu": *"\([^"]*\)".*/\1/p')
    [[ -n $until ]] || die "migrate status does not tell the completion point"
    shown psql -q service=new -c "UPDATE cpu SET usage_user = -1 WHERE (time, tags_id) = (SELECT time, tags_id FROM cpu
        WHERE time < '$until' ORDER BY time DESC, tags_id LIMIT 1)"
    verify=(--source service=old --target service=new --table cpu --until "$until")
    shown_status 3 hyperfill verify "${verify[@]}"
    say "And repairs it"
    shown hyperfill verify "${verify[@]}" --repair
    say "Stop the application and compare the whole tables"
    stop_application
    compare "old (PostgreSQL)" "new (hypertable)" "$(fingerprint old cpu)" "$(fingerprint new cpu)"
    compare "old, hosts" "new, hosts" "$(fingerprint old hosts)" "$(fingerprint new hosts)"
    say "The application uses the new database alone: that was the last step of a person"
    shown hyperfill migrate --file app.ini --continue </dev/null
    shown hyperfill migrate status --file app.ini
}

# ---- From a CSV file

# Prints the CREATE TABLE's columns, the time column and a chunk interval, from the header and the first rows.
guess_columns() {
    /usr/bin/python3 - "$file" <<'PYTHON'
import csv, datetime, os, re, sys

ROWS_READ, CHUNKS_WANTED = 100_000, 20
INTERVALS = {3600: "1 hour", 21600: "6 hours", 86400: "1 day", 604800: "7 days", 2592000: "30 days", 31536000: "365 days"}
TIME = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?( ?(Z|[+-]\d\d(:?\d\d)?))?$")
NUMBER = re.compile(r"\s*([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?|nan)\s*$", re.I)

def fail(text):
    sys.exit(f"demo.sh: {sys.argv[1]}: {text}")

def quoted(name):
    return '"' + name.replace('"', '""') + '"'

csv.field_size_limit(1 << 30)
size = os.path.getsize(sys.argv[1])
with open(sys.argv[1], newline="", encoding="utf-8", errors="surrogateescape") as file:
    reader = csv.reader(file)
    header = next(reader, [])
    if not header or "" in header or len(set(header)) < len(header):
        fail("the first line must name the columns, each once")
    names = [name.lower() for name in header]
    time = next((names.index(name) for name in ("time", "timestamp") if name in names), 0)
    numeric, times, rows, read = [True] * len(header), [], 0, 0
    for row in reader:
        if len(row) != len(header):
            continue  # hyperfill will say what is wrong with it
        rows += 1
        read += sum(map(len, row)) + len(row)
        times.append(row[time])
        for index, value in enumerate(row):
            if numeric[index] and value and not NUMBER.match(value):
                numeric[index] = False
        if rows == ROWS_READ:
            break
if not rows:
    fail("there are no rows after the header")
if all(re.match(r"-?\d{1,18}$", value) for value in times):
    kind, lo, hi = "bigint", min(map(int, times)), max(map(int, times))
    span = hi - lo
elif all(TIME.match(value) for value in times):
    zone = any(re.search(r":.*(Z|[+-]\d\d(:?\d\d)?)$", value) for value in times)
    kind = "timestamptz" if zone else "timestamp"
    days = [datetime.date.fromisoformat(value[:10]) for value in (min(times), max(times))]
    span = ((days[1] - days[0]).days + 1) * 86400
else:
    bad = next(value for value in times if not TIME.match(value))
    fail(f"the time column {header[time]!r} holds {bad!r}, which this demo does not know; hyperfill itself may")
wanted = int(span * max(1, size / max(read, 1)) / CHUNKS_WANTED)
print(header[time])
if kind == "bigint":
    print(max(1, wanted))
else:
    nearest = next((seconds for seconds in INTERVALS if seconds * 2 > wanted), max(INTERVALS))
    print(f"interval '{INTERVALS[nearest]}'")
print(", ".join(f"{quoted(name)} " + (kind + " NOT NULL" if index == time else "double precision" if numeric[index]
      else "text") for index, name in enumerate(header)))
PYTHON
}

demo_csv() {
    local begun guess time interval columns loaded
    say "Look at the header and the first rows of $file"
    guess=$(guess_columns) || exit 1
    { read -r time && read -r interval && read -r columns; } <<<"$guess"
    note "$columns"
    say "Start a TimescaleDB, private to this demo"
    start_server new ts17
    say "Make a hypertable for hyperfill, and a plain table for \\copy to compare with"
    shown psql -q service=new -c "CREATE TABLE loaded ($columns)"
    PGOPTIONS='-c client_min_messages=error' \
        shown psql -q service=new -c "SELECT create_hypertable('loaded', by_range('${time//\'/\'\'}', $interval))" >/dev/null
    shown psql -q service=new -c "CREATE TABLE copied (LIKE loaded)"
    cd "$work"
    say "Load the file by hyperfill"
    begun=$EPOCHREALTIME
    shown hyperfill run --source "$file" --target service=new --table loaded --jobs "$jobs" </dev/null
    loaded=$(seconds_since "$begun")
    say "Load it by psql's \\copy, the judge of what the file says"
    begun=$EPOCHREALTIME
    shown psql -q service=new -c "\\copy copied FROM '${file//\'/\'\'}' WITH (FORMAT csv, HEADER)"
    note "hyperfill took $loaded, into a hypertable with an index; \\copy $(seconds_since "$begun"), into a plain table"
    say "Compare"
    compare "hyperfill" "\\copy" "$(fingerprint new loaded)" "$(fingerprint new copied)"
}

# ---- The way through

if (($# > 1)) || [[ ${1:-} == -?* ]]; then
    [[ ${1:-} == --help ]] && usage 0
    usage 2 >&2
fi
if (($# == 1)); then
    [[ -f $1 && -r $1 ]] || die "there is no file $1 that can be read"
    file=$(realpath -- "$1")
fi
cd "$(dirname "${BASH_SOURCE[0]}")"
root=$PWD
readonly root file
# The caller's settings would lead our psql elsewhere.
for name in $(compgen -e PG || true); do
    unset "$name"
done
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
exec 3>&1 # what is shown goes there, also when the command's own output does not
work=$(mktemp -d)
readonly work
export PSQLRC=/dev/null PGSERVICEFILE=$work/services PGCONNECT_TIMEOUT=10
begun=$EPOCHREALTIME
prepare
if [[ -n $file ]]; then
    demo_csv
else
    demo_postgres
fi
say "Done in $(seconds_since "$begun"); the servers and all they held are removed now"
