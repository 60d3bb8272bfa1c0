#!/bin/bash
# Checks what a compiler does not: layers, headers, format, banned calls, README's copy of the help, leftovers.
#
#   tests/tidy.sh [HYPERFILL]      the program whose help README must hold; without it build/hyperfill
#
# Prints a line for each finding; the status is 1 if there are any, else 0. A check that cannot be made says so.
set -euo pipefail
export LC_ALL=C.UTF-8

program=$(realpath -m -- "${1:-$(dirname "${BASH_SOURCE[0]}")/../build/hyperfill}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly program
readonly banned='strcpy|strcat|sprintf|atoi|sleep|usleep|strerror'

findings=0

# Each line of the input is a finding of the named check.
report() {
    local check=$1 line
    while IFS= read -r line; do
        if [[ -n $line ]]; then
            printf '%s: %s\n' "$check" "$line"
            findings=$((findings + 1))
        fi
    done
}

skip() { printf 'skipped: %s\n' "$*"; }

c_files() { find engine readers writers bench tests -name '*.[ch]' | sort; }

# ---- 1. Folders are layers

# What the files of a folder may include, as a pattern on the path.
allowed_of() {
    case $1 in
        engine/cli/*) echo '^(engine|readers|writers)/' ;;
        engine/pg/*) echo '^engine/(pg/)?[^/]+$' ;;
        engine/method/*) echo '^(engine/(pg/|method/)?[^/]+|readers/.*|writers/.*)$' ;;
        engine/*/*) echo '^$' ;; # a folder that nobody has decided on
        engine/*) echo '^engine/[^/]+$' ;;
        # A PostgreSQL reader plans by the chunks of the target.
        readers/*) echo '^(engine/(pg/)?[^/]+|readers/.*|writers/target\.h)$' ;;
        # An overlong piece is located by the rule that cut it.
        writers/*) echo '^(engine/(pg/)?[^/]+|writers/.*|readers/cutter\.h)$' ;;
    esac
}

check_layers() {
    local file allowed line included
    while IFS= read -r file; do
        allowed=$(allowed_of "$file")
        while IFS=: read -r line included; do
            included=${included#*\"}
            included=${included%%\"*}
            if [[ ! $included =~ $allowed ]]; then
                echo "$file:$line: may not include $included"
            elif [[ ! -f $included ]]; then
                echo "$file:$line: $included is not a path from the root"
            fi
        done < <(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$file" || true)
    done < <(find engine readers writers -name '*.[ch]' | sort)
}

# ---- 2. Headers compile alone

check_headers() {
    local header flags said
    flags=$(pkg-config --cflags libpq libzstd libxxhash)
    while IFS= read -r header; do
        # Through an #include, since a header given as the main file is warned of for its #pragma once.
        # shellcheck disable=SC2086
        if ! said=$(echo "#include \"$header\"" | ${CC:-gcc} -std=c17 -D_GNU_SOURCE -DHYPERFILL_VERSION='""' -Wall -Wextra \
            -Werror -I. $flags -fsyntax-only -x c - 2>&1); then
            echo "$header does not compile alone: $(grep -m 1 -E 'error' <<<"$said" || head -n 1 <<<"$said")"
        fi
    done < <(find engine readers writers -name '*.h' | sort)
}

# ---- 3. Format

find_formatter() {
    local name
    for name in clang-format-14 clang-format; do
        # Other versions format a little differently.
        if "$name" --version 2>/dev/null | grep -q 'version 14\.'; then
            echo "$name"
            return
        fi
    done
}

check_format() {
    local formatter=$1 file count
    while IFS= read -r file; do
        count=$("$formatter" --dry-run "$file" 2>&1 | grep -c 'warning:' || true)
        if ((count > 0)); then
            echo "$file: $count places; $formatter -i sets them right"
        fi
    done < <(c_files)
}

# ---- 4. Banned calls, whole words, not in comments or strings

# Blanks out comments and literals, and keeps line numbers.
code_of() {
    perl -0777 -pe 's{(/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\x27(?:\\.|[^\x27\\\n])*\x27)}
        {my $text = $1; $text =~ tr/\n//cd; " $text"}gsex' "$1"
}

check_banned() {
    local file
    while IFS= read -r file; do
        code_of "$file" | grep -nwE "($banned)[[:space:]]*\(" | sed "s|^|$file:|" || true
    done < <(find engine readers writers -name '*.[ch]' | sort)
}

# ---- 5. README's copy of the help

check_help() {
    diff --label README.md --label 'hyperfill help run' -U 0 \
        <(sed -n '/<!-- help run -->/,/<!-- \/help run -->/p' README.md | sed '/^<!-- /d; /^```/d') \
        <("$program" help run) || true
}

# ---- 6. Leftovers

# The words are put together, so that this file does not find itself.
check_leftovers() {
    local files=()
    while IFS= read -r -d '' file; do
        files+=("$file")
    done < <(find . -path ./build -prune -o -path ./.git -prune -o -name __pycache__ -prune -o -name .pytest_cache -prune \
        -o -type f -print0)
    grep -nIwE "TO""DO|FIX""ME|XX""X" "${files[@]}" | cut -c 1-160 || true
    # Folders that are everybody's, such as /usr/bin and /var/tmp, are not one machine's.
    grep -nIE "(^|[[:space:]\"'=(:])/(wo""rk|ho""me|ro""ot|op""t|Us""ers|me""dia|mn""t)/[A-Za-z0-9_.]" "${files[@]}" | cut -c 1-160 || true
}

report layers < <(check_layers)
report headers < <(check_headers)
formatter=$(find_formatter)
if [[ -n $formatter ]]; then
    report format < <(check_format "$formatter")
else
    skip "format: there is no clang-format 14 (tests/install.sh tidy)"
fi
if command -v perl >/dev/null; then
    report banned < <(check_banned)
else
    skip "banned calls: there is no perl"
fi
if [[ -x $program ]]; then
    report help < <(check_help)
else
    skip "help: there is no program $program"
fi
report leftovers < <(check_leftovers)
if ((findings > 0)); then
    printf 'tidy: %d findings\n' "$findings"
    exit 1
fi
echo "tidy: nothing found"
