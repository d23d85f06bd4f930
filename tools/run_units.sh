#!/bin/bash
# Runs unit test programs, twice as many at once as there are cores (some mostly wait): their closing lines always,
# everything when one fails or V=1.
#
# usage: tools/run_units.sh PROGRAM...
set -u
one() {
    local program=$1 log=$1.log rc
    "$program" >"$log" 2>&1
    rc=$?
    # A program that ended before cmocka's last line has failed, whatever it returned.
    if [ $rc -eq 0 ] && grep -q '^\[  PASSED  \]' "$log"; then
        [ "${V:-}" = 1 ] || set -- "$(grep -E '^\[(==========|  (PASSED|SKIPPED) ) ?\] ' "$log" | grep -v Running)"
        [ "${V:-}" = 1 ] && set -- "$(cat "$log")"
        printf '%s\n%s\n' "$(basename "$program")" "$1" # one write: lines of two programs do not mix
        return 0
    fi
    printf '%s\n%s\n%s: exit %d\n' "$(basename "$program")" "$(cat "$log")" "$program" $rc
    return 1
}
export -f one
[ $# -gt 0 ] || exit 0
if ! printf '%s\0' "$@" | xargs -0 -n1 -P$((2 * $(nproc))) bash -c 'one "$1"' one; then
    printf 'unit test programs failed\n'
    exit 1
fi
printf '%d unit test programs, all passed\n' $#
