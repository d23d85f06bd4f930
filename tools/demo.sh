#!/bin/bash
# make demo: says what it will do, asks once, sets up, builds, and hands over to tools/demo.py.
#
# YES=1, or no terminal: does not ask. DEMO_BREAK=lose|double|swap|flip damages one record at the target; skip
# moves a group's offset forward behind the failover.
# DEMO_RECORDS=N: records a topic that are there before the mirror starts.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${DEMO_BREAK:-} in
'' | lose | double | swap | flip | skip) ;;
*)
    printf 'demo: DEMO_BREAK=%s: it must be lose, double, swap, flip or skip\n' "$DEMO_BREAK" >&2
    exit 2
    ;;
esac

cat <<PLAN
Ferry's demo: two Kafka sites on this machine, a mirror between them, a worker killed in the middle, and the proof
that every record arrived once and in order. Then the primary is killed under three consumer groups, one command moves
them to the other site, and a ledger of both sites proves that none of them skipped a record.

$(tools/setup.sh --plan)
  build:  ferryd and ferry into build/bin (about 30 s the first time)
  run:    2 Kafka brokers (1 GB of memory), Redis, BIND with a zone of its own, 2 ferryd, 4 producers, 3 consumers: a
          minute and a half; 300 MB in build/demo; ports of 127.0.0.1 and 127.0.0.2 that nobody uses, from 20000 to
          32000; the machine's resolver is not touched
  disk:   $(df -h --output=avail . | tail -1 | tr -d ' ') free here
${DEMO_BREAK:+  break:  DEMO_BREAK=$DEMO_BREAK: one record, or one offset of a group, is damaged at the target; the proof must turn red and name it
}
No service is installed and nothing is left running; Ctrl-C stops everything at any moment.
PLAN

if [ "${YES:-}" != 1 ] && [ -t 0 ] && [ -t 1 ]; then
    read -r -p 'Go on? [Y/n] ' answer
    case ${answer:-y} in
    y | Y | yes | Yes) ;;
    *)
        printf 'Nothing was done.\n'
        exit 8
        ;;
    esac
fi
printf '\n'

unset MAKEFLAGS MFLAGS MAKELEVEL # what was asked of the outer make is not meant for this one
tools/setup.sh
began=$(date +%s%N)
mkdir -p build
if ! make --no-print-directory -j"$(nproc)" all build/drivers/cname_consumer >build/demo-build.log 2>&1; then
    tail -n 30 build/demo-build.log >&2
    printf 'demo: the build failed; everything it said is in build/demo-build.log\n' >&2
    exit 3
fi
PYTHONPATH=tests exec build/venv/bin/python tools/demo.py --built-ms $((($(date +%s%N) - began) / 1000000))
