#!/bin/bash
# Runs unit test programs one by one: their closing lines always, everything when one fails or V=1.
#
# usage: tools/run_units.sh PROGRAM...
set -u
failed=()
for program in "$@"; do
    log=$program.log
    printf '%s\n' "$(basename "$program")"
    "$program" >"$log" 2>&1
    rc=$?
    # A program that ended before cmocka's last line has failed, whatever it returned.
    if [ $rc -eq 0 ] && grep -q '^\[  PASSED  \]' "$log"; then
        if [ "${V:-}" = 1 ]; then cat "$log"; else grep -E '^\[(==========|  (PASSED|SKIPPED) ) ?\] ' "$log" | grep -v Running; fi
    else
        cat "$log"
        printf '%s: exit %d\n' "$program" $rc
        failed+=("$(basename "$program")")
    fi
done
if [ ${#failed[@]} -gt 0 ]; then
    printf '%d of %d unit test programs failed: %s\n' ${#failed[@]} $# "${failed[*]}"
    exit 1
fi
printf '%d unit test programs, all passed\n' $#
