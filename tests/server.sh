#!/bin/bash
# Starts and stops real PostgreSQL servers for tests, demo and benchmarks, without touching the system.
#
#   tests/server.sh start KIND DIR [name=value ...]   start, or start again, the cluster kept in DIR; the last line
#                                                     printed is the conninfo of a superuser, for psql -d
#   tests/server.sh stop DIR                          stop it (fast); nothing to stop is not an error
#   tests/server.sh standby DIR STANDBY [name=value]  copy the running server of DIR to a streaming hot standby in STANDBY
#   tests/server.sh install KIND                      only get the binaries
#   tests/server.sh bin KIND                          print the folder of postgres, psql, pg_ctl, ...
#
# KIND is one of
#   pg15   PostgreSQL 15 of Debian 12
#   ts17   PostgreSQL 17 with TimescaleDB, Apache edition, of Debian 13
#   ts18   PostgreSQL 18 with TimescaleDB, Apache edition, of Debian's rolling suite; where it cannot be had the
#          status is 77, which test runners take as "skipped"
#
# name=value are settings of postgresql.conf; they stay for later starts of the same DIR. Servers listen on a unix
# socket only. PostgreSQL refuses to run as root, so as root the server runs as postgres or nobody.
#
# DIR/data    the cluster         DIR/socket  its socket, unless that path is too long for one
# DIR/log     what it says        DIR/kind    its KIND
#
# Binaries that the system lacks come from Debian's packages, unpacked into ${HYPERFILL_CACHE:-/var/tmp/hyperfill-cache}.
set -euo pipefail

cache=$(realpath -m -- "${HYPERFILL_CACHE:-/var/tmp/hyperfill-cache}")
readonly cache
readonly mirror=${HYPERFILL_MIRROR:-http://deb.debian.org/debian}
readonly database=hyperfill
readonly port=5432
readonly skipped=77
# sun_path holds 107 characters; what is left over is for the names of the socket and its lock.
readonly socket_folder_max=80
readonly start_timeout_s=300

say() { printf 'server.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

usage() {
    # Everything from line 2 to the first line that is no comment is the manual.
    sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}

# Settings of the caller's environment would redirect our own psql and pg_basebackup.
forget_libpq_environment() {
    local name
    for name in $(compgen -e PG || true); do
        unset "$name"
    done
}

# ---- Binaries

suite_of() {
    case $1 in
        pg15) echo bookworm ;;
        ts17) echo trixie ;;
        ts18) echo forky ;;
        *) usage ;;
    esac
}

package_of() {
    case $1 in
        pg15) echo postgresql-15 ;;
        ts17) echo postgresql-17-timescaledb ;;
        ts18) echo postgresql-18-timescaledb ;;
    esac
}

bin_of() {
    local kind=$1 major=${1:2}
    if [[ $kind == pg15 && -x /usr/lib/postgresql/15/bin/postgres ]]; then
        echo /usr/lib/postgresql/15/bin
    else
        echo "$cache/$kind/usr/lib/postgresql/$major/bin"
    fi
}

# The interpreter inside each binary is an absolute path: a cache that was moved does not run and is made again.
binaries_run() { "$(bin_of "$1")/postgres" --version >/dev/null 2>&1; }

# apt verifies what it downloads by Debian's keys. Ubuntu has them in a package, which needs no root to be unpacked.
find_keyring() {
    local work=$1 keyring
    for keyring in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
        if [[ -r $keyring ]]; then
            echo "$keyring"
            return
        fi
    done
    mkdir -p "$work/keyring"
    (cd "$work/keyring" && apt-get -qq download debian-archive-keyring && dpkg -x ./*.deb .) >&2 || return 1
    for keyring in "$work"/keyring/usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
        if [[ -r $keyring ]]; then
            echo "$keyring"
            return
        fi
    done
    say "debian-archive-keyring is missing, packages could not be verified"
    return 1
}

# Downloads the packages with all they depend on into work/archives. apt is given a state of its own with one suite and no
# package installed, so it neither reads nor changes what the system has; the system's proxy settings still apply.
download_packages() {
    local suite=$1 work=$2 keyring
    shift 2
    keyring=$(find_keyring "$work") || return 1
    mkdir -p "$work"/{lists,archives}/partial "$work/etc"
    : >"$work/status"
    echo "deb [signed-by=$keyring] $mirror $suite main" >"$work/etc/sources.list"
    local options=(
        -qq
        -o Dir::Etc::SourceList="$work/etc/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
        -o Dir::State="$work" -o Dir::State::Lists="$work/lists" -o Dir::State::Status="$work/status"
        -o Dir::Cache="$work" -o Dir::Cache::Archives="$work/archives"
        -o APT::Sandbox::User="$(id -un)" -o APT::Install-Recommends=false
        -o APT::Update::Post-Invoke::=true -o Acquire::Retries=2 -o Acquire::Languages=none
    )
    apt-get "${options[@]}" -o APT::Update::Error-Mode=any update >&2 || return 1
    DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" --yes --download-only install "$@" >&2
}

# Makes the programs run on the C library they were unpacked with. They are told the final place, not the present one.
patch_binaries() {
    local root=$1 final=$2 bin=$3 loader libraries program library
    loader=$(find "$root" -name 'ld-linux*.so.*' -type f | head -n 1)
    [[ -n $loader ]] || return 1
    libraries=$(find "$root" -name '*.so.*' -path '*/lib/*-linux-gnu/*' -printf '%h\n' | sort -u |
        grep -E 'linux-gnu$' | paste -sd:)
    local patchelf=("$loader" --library-path "$libraries" "$root/usr/bin/patchelf")
    local set_path=(--force-rpath --set-rpath "${libraries//$root/$final}")
    for program in "$root/$bin"/*; do
        if [[ $(head -c 4 "$program" | tail -c 3) == ELF ]]; then
            "${patchelf[@]}" --set-interpreter "${loader/#$root/$final}" "${set_path[@]}" "$program" || return 1
        fi
    done
    # The loader takes a program's path for its libraries too, save for those that bring a path of their own, as LLVM does.
    # The converters of the C library do as well, and need theirs.
    while IFS= read -r library; do
        if [[ -n $("${patchelf[@]}" --print-rpath "$library" 2>/dev/null) ]]; then
            "${patchelf[@]}" "${set_path[@]}" "$library" || return 1
        fi
    done < <(find "$root" -name '*.so*' -type f ! -path '*/gconv/*')
}

unpack_kind() {
    local kind=$1 work=$2 package root=$2/root
    download_packages "$(suite_of "$kind")" "$work" "$(package_of "$kind")" patchelf || return 1
    mkdir "$root"
    for package in "$work"/archives/*.deb; do
        dpkg -x "$package" "$root" || return 1
    done
    rm -rf "$root"/usr/share/{doc,man,perl,locale}
    patch_binaries "$root" "$cache/$kind" "usr/lib/postgresql/${kind:2}/bin" || return 1
    chmod -R a+rX "$root"
    rm -rf "${cache:?}/$kind"
    mv "$root" "$cache/$kind"
}

# Runs in a subshell: the lock and the temporary folder end with it, however it ends.
install_locked() (
    local kind=$1
    umask 022
    mkdir -p "$cache" && exec 9>"$cache/.lock-$kind" && flock 9 || exit 1
    if binaries_run "$kind"; then
        exit 0
    fi
    say "getting $(package_of "$kind") of Debian $(suite_of "$kind") into $cache/$kind"
    work=$(mktemp -d "$cache/.getting-$kind.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    # The closing descriptor keeps children that outlive us from holding the lock.
    unpack_kind "$kind" "$work" 9>&- && binaries_run "$kind"
)

install_kind() {
    local kind=$1
    suite_of "$kind" >/dev/null
    # The default cache is in a folder that everybody may write to: programs of a stranger are not run. Root may use a
    # user's, since it runs them as an unprivileged user.
    if [[ -e $cache && ! -O $cache && $EUID != 0 && $(stat -c %u "$cache") != 0 ]]; then
        die "$cache belongs to $(stat -c %U "$cache"); set HYPERFILL_CACHE to a folder of your own"
    fi
    if binaries_run "$kind" || install_locked "$kind"; then
        return 0
    fi
    if [[ $kind == ts18 ]]; then
        say "skipped: $(package_of "$kind") of Debian's rolling suite could not be had"
        exit $skipped
    fi
    die "could not get $(package_of "$kind") of Debian $(suite_of "$kind"); apt said why above"
}

# ---- The user that servers run as

choose_user() {
    as_server=()
    if [[ $EUID == 0 ]]; then
        local name=nobody
        if getent passwd postgres >/dev/null; then
            name=postgres
        fi
        server_user=$name
        as_server=(setpriv --reuid "$name" --regid "$(id -g "$name")" --clear-groups env HOME=/)
    fi
}

own() {
    if [[ $EUID == 0 ]]; then
        chown "$server_user" "$@"
    fi
}

# The server's user must be able to walk to a folder. A folder made by mktemp -d lets only its owner do so: such temporary
# folders are opened for walking through, not for listing; others are the caller's to decide on.
make_reachable() {
    local path=$1 ancestor=
    if "${as_server[@]}" test -x "$path"; then
        return
    fi
    while IFS= read -r ancestor; do
        if "${as_server[@]}" test -x "$ancestor"; then
            continue
        fi
        case $ancestor in
            /tmp/* | /var/tmp/* | "${TMPDIR:-/tmp}"/*) chmod o+x "$ancestor" ;;
            *) die "user $server_user, who runs the server, may not enter $ancestor; use a folder elsewhere" ;;
        esac
    done < <(ancestors_of "$path")
}

ancestors_of() {
    local path=$1
    if [[ $path != / ]]; then
        ancestors_of "$(dirname "$path")"
        printf '%s\n' "$path"
    fi
}

# ---- Processes of a cluster

# Every process of a server stands in the data folder, also a backend that lost its postmaster.
is_process_of() {
    local dir=$1 pid=$2
    [[ $(readlink "/proc/$pid/cwd" 2>/dev/null) == "$dir/data" && $(readlink "/proc/$pid/exe" 2>/dev/null) == */postgres* ]]
}

processes_of() {
    local dir=$1 process
    for process in /proc/[0-9]*; do
        if is_process_of "$dir" "${process#/proc/}"; then
            echo "${process#/proc/}"
        fi
    done
}

# The pid in the file may have been taken by another process since.
is_running() {
    local dir=$1
    [[ -s $dir/data/postmaster.pid ]] && is_process_of "$dir" "$(head -n 1 "$dir/data/postmaster.pid")"
}

# Ends what is left of a server whose postmaster is gone. Its files would stop the next postmaster when their pid was taken by
# another process meanwhile; with no process left in the data folder they are stale for sure.
clear_remains() {
    local dir=$1 pids
    while pids=$(processes_of "$dir") && [[ -n $pids ]]; do
        # A process may end by itself before its turn comes.
        # shellcheck disable=SC2086
        kill -KILL $pids 2>/dev/null || true
        sleep 0.05
    done
    rm -f "$dir/data/postmaster.pid"
    if [[ -s $dir/socket_folder ]]; then
        local folder
        folder=$(<"$dir/socket_folder")
        rm -f "$folder"/.s.PGSQL.*
        if [[ $folder == /tmp/hyperfill-* ]]; then
            rmdir "$folder" 2>/dev/null || true
        fi
    fi
}

# ---- Clusters

quoted() { printf "'%s'" "${1//\'/\'\'}"; }

conninfo_of() {
    local dir=$1 folder
    folder=$(<"$dir/socket_folder")
    if [[ $folder == *[\ \'\\]* ]]; then
        folder=${folder//\\/\\\\}
        folder="'${folder//\'/\\\'}'"
    fi
    printf 'host=%s port=%s user=postgres dbname=%s\n' "$folder" "$port" "$2"
}

query() {
    local kind=$1 dir=$2 in=$3 sql=$4
    "${as_server[@]}" "$(bin_of "$kind")/psql" -X -q -A -t -v ON_ERROR_STOP=1 -d "$(conninfo_of "$dir" "$in")" -c "$sql"
}

# A socket folder outside of DIR keeps its name, so that a conninfo given out earlier still holds after a restart.
make_socket_folder() {
    local dir=$1 folder=$1/socket
    if ((${#folder} <= socket_folder_max)); then
        mkdir -p "$folder"
    else
        folder=
        if [[ -s $dir/socket_folder ]]; then
            folder=$(<"$dir/socket_folder")
        fi
        # mkdir refuses a name that somebody else took while the server was down.
        if [[ $folder != /tmp/hyperfill-* ]] || ! mkdir "$folder" 2>/dev/null; then
            folder=$(mktemp -d /tmp/hyperfill-XXXXXX)
        fi
        chmod 755 "$folder"
    fi
    own "$folder"
    echo "$folder" >"$dir/socket_folder"
}

# What depends on DIR and KIND is written anew on each start, because a standby's folder is a copy of its primary's.
write_settings() {
    local kind=$1 dir=$2
    {
        echo "listen_addresses = ''"
        echo "port = $port"
        echo "unix_socket_directories = $(quoted "$(<"$dir/socket_folder")")"
        echo "max_connections = 100"
        # Every database with TimescaleDB takes one for its scheduler.
        echo "max_worker_processes = 40"
        echo "wal_level = replica"
        echo "max_wal_senders = 10"
        # No test takes the machine down, only processes: the kernel keeps what they wrote.
        echo "fsync = off"
        # A standby is attached without a slot.
        echo "wal_keep_size = 256MB"
        echo "timezone = 'UTC'"
        echo "log_line_prefix = '%m [%p] %q%a@%d '"
        if [[ $kind == ts* ]]; then
            echo "shared_preload_libraries = 'timescaledb'"
            echo "timescaledb.telemetry_level = off"
        fi
    } >"$dir/data/server.conf"
    own "$dir/data/server.conf"
}

add_settings() {
    local dir=$1 setting
    shift
    for setting in "$@"; do
        [[ $setting == [a-z]*=* ]] || die "a setting is name=value, not '$setting'"
        printf '%s = %s\n' "${setting%%=*}" "$(quoted "${setting#*=}")" >>"$dir/data/postgresql.conf"
    done
}

# The rename makes a cluster whole or absent, however the script ends.
make_cluster() {
    local kind=$1 dir=$2 fresh=$2/data.new
    rm -rf "$fresh"
    "${as_server[@]}" "$(bin_of "$kind")/initdb" --no-sync --username=postgres --auth=trust \
        --encoding=UTF8 --no-locale --pgdata="$fresh" >"$dir/initdb.log" 2>&1 ||
        die "initdb failed: $(tail -n 3 "$dir/initdb.log")"
    echo "include 'server.conf'" >>"$fresh/postgresql.conf"
    mv "$fresh" "$dir/data"
}

prepare_folder() {
    local kind=$1 dir=$2
    if [[ -f $dir/kind && $(<"$dir/kind") != "$kind" ]]; then
        die "$dir holds a server of kind $(<"$dir/kind"), not $kind"
    fi
    mkdir -p "$dir"
    # The server makes its log and its socket there.
    own "$dir"
    make_reachable "$dir"
    make_reachable "$(bin_of "$kind")"
    echo "$kind" >"$dir/kind"
    if [[ ! -e /usr/share/zoneinfo/Europe/Berlin ]]; then
        say "no time zones on this machine, the server knows only UTC; install tzdata"
    fi
}

start_postmaster() {
    local kind=$1 dir=$2
    make_socket_folder "$dir"
    write_settings "$kind" "$dir"
    if ! "${as_server[@]}" "$(bin_of "$kind")/pg_ctl" --pgdata="$dir/data" --log="$dir/log" --silent --wait \
        --timeout=$start_timeout_s start >&2; then
        tail -n 20 "$dir/log" >&2 || true
        die "the server in $dir did not start; $dir/log has more"
    fi
}

make_database() {
    local kind=$1 dir=$2
    if [[ $(query "$kind" "$dir" postgres "SELECT pg_is_in_recovery()") == t ]]; then
        return
    fi
    if [[ -z $(query "$kind" "$dir" postgres "SELECT 1 FROM pg_database WHERE datname = '$database'") ]]; then
        query "$kind" "$dir" postgres "CREATE DATABASE $database"
    fi
    if [[ $kind == ts* ]]; then
        query "$kind" "$dir" "$database" "SET client_min_messages = error; CREATE EXTENSION IF NOT EXISTS timescaledb"
    fi
}

# ---- Commands

start() {
    local kind=$1 dir=$2
    shift 2
    install_kind "$kind"
    prepare_folder "$kind" "$dir"
    if [[ ! -d $dir/data ]]; then
        make_cluster "$kind" "$dir"
    fi
    add_settings "$dir" "$@"
    if is_running "$dir" && (($# > 0)); then
        stop "$dir"
    fi
    if ! is_running "$dir"; then
        clear_remains "$dir"
        start_postmaster "$kind" "$dir"
    fi
    make_database "$kind" "$dir"
    conninfo_of "$dir" "$database"
}

stop() {
    local dir=$1 kind
    if [[ ! -f $dir/kind ]]; then
        return
    fi
    kind=$(<"$dir/kind")
    if is_running "$dir"; then
        "${as_server[@]}" "$(bin_of "$kind")/pg_ctl" --pgdata="$dir/data" --silent --wait --mode=fast stop >&2 ||
            say "the server in $dir did not stop by itself, killing it"
    fi
    clear_remains "$dir"
}

standby() {
    local dir=$1 standby=$2 kind
    shift 2
    is_running "$dir" || die "no server runs in $dir"
    kind=$(<"$dir/kind")
    [[ ! -e $standby/data ]] || die "$standby holds a server already"
    prepare_folder "$kind" "$standby"
    "${as_server[@]}" "$(bin_of "$kind")/pg_basebackup" --dbname="$(conninfo_of "$dir" postgres)" --pgdata="$standby/data" \
        --write-recovery-conf --checkpoint=fast --no-sync --wal-method=stream >&2 || die "pg_basebackup failed"
    start "$kind" "$standby" "$@"
}

main() {
    forget_libpq_environment
    choose_user
    local command=${1:-}
    shift || usage
    case $command:$# in
        start:0 | start:1 | stop:0 | standby:0 | standby:1 | install:0 | bin:0) usage ;;
    esac
    # DIR may be relative to the caller's folder, in which the server's user may have no business.
    case $command in
        start) set -- "$1" "$(realpath -m -- "$2")" "${@:3}" ;;
        stop) set -- "$(realpath -m -- "$1")" ;;
        standby) set -- "$(realpath -m -- "$1")" "$(realpath -m -- "$2")" "${@:3}" ;;
    esac
    case $command in
        start | stop | standby)
            cd /
            "$command" "$@"
            ;;
        install) install_kind "$1" ;;
        bin)
            suite_of "$1" >/dev/null
            bin_of "$1"
            ;;
        *) usage ;;
    esac
}

main "$@"
