#!/bin/bash
# Runs fuzz programs for FUZZ_SECONDS each, as many at once as there are cores. An input that breaks one is kept.
#
# usage: FUZZ_SECONDS=10 tools/run_fuzzers.sh PROGRAM...
#
# What was learned stays under build/ and is where the next run begins; seeds are in tests/fuzz/corpus/NAME.
set -u
one() {
    local program=$1 name=${1##*/} folder
    local seeds=tests/fuzz/corpus/${name#fuzz_}
    folder=build/fuzz-corpus/$name
    mkdir -p "$folder/found" "$folder/broken"
    [ -d "$seeds" ] || seeds=
    # shellcheck disable=SC2086 # no seeds, no word
    if "$program" -max_total_time="${FUZZ_SECONDS:-10}" -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$folder/broken/" "$folder/found" $seeds >"$folder/log" 2>&1; then
        printf '%-24s %s runs, no finding\n' "$name" \
            "$(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/log")"
    else
        tail -n 60 "$folder/log"
        printf '%s: broken; inputs in %s\n' "$name" "$folder/broken"
        return 1
    fi
}
export -f one
[ $# -gt 0 ] || exit 0
printf '%s\0' "$@" | xargs -0 -n1 -P"$(nproc)" bash -c 'one "$1"' one
