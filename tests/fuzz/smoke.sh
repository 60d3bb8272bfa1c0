#!/bin/bash
# Builds the libFuzzer targets with clang and runs each for a few seconds from its seeds.
#
#   tests/fuzz/smoke.sh CLANG FOLDER [SECONDS]      FOLDER is for the build; status 77: this clang has no libFuzzer
set -euo pipefail

readonly compiler=${1:?} folder=${2:?} seconds=${3:-5}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly root skipped=77

mkdir -p "$folder"
printf '#include <stddef.h>\n#include <stdint.h>\nint LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);\nint LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return data == NULL && size > 0; }\n' \
    >"$folder/probe.c"
if ! "$compiler" -fsanitize=fuzzer,address,undefined -o "$folder/probe" "$folder/probe.c" 2>/dev/null; then
    echo "smoke.sh: $compiler has no libFuzzer"
    exit "$skipped"
fi
cmake -S "$root" -B "$folder/build" -DCMAKE_C_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DFUZZ=ON -DBUILD_TESTING=OFF >/dev/null
cmake --build "$folder/build" --parallel 2 >/dev/null
for name in cutter time checkpoint transcode; do
    corpus=$folder/corpus/$name
    mkdir -p "$corpus"
    echo "fuzz_$name: $seconds s"
    # Its dictionary of proposals is of no use here. Its own exit status for a crash would be taken for "skipped".
    "$folder/build/fuzz_$name" -error_exitcode=1 -max_total_time="$seconds" -max_len=2048 -verbosity=0 \
        -artifact_prefix="$folder/$name-" "$corpus" "$root/tests/fuzz/seeds/$name" 2>&1 | sed '/Recommended dictionary/,/End of recommended/d; /^INFO/d'
done
