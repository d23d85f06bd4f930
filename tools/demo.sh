#!/bin/bash
# make demo: says what it will do, asks once, sets up, builds, and hands over to tools/demo.py.
#
# YES=1, or no terminal: does not ask. DEMO_BREAK=lose|double|swap|flip damages one record at the target.
# DEMO_RECORDS=N: records a topic that are there before the mirror starts (250000).
set -euo pipefail
cd "$(dirname "$0")/.."
case ${DEMO_BREAK:-} in
'' | lose | double | swap | flip) ;;
*)
    printf 'demo: DEMO_BREAK=%s: lose, double, swap or flip\n' "$DEMO_BREAK" >&2
    exit 2
    ;;
esac

cat <<PLAN
Ferry's demo: two Kafka sites on this machine, a mirror between them, a worker killed in the middle, and a proof.

$(tools/setup.sh --plan)
build: ferryd and ferry into build/bin (about 20 s the first time)
run:   2 Kafka brokers (together about 1.2 GB of memory), Redis, 2 ferryd, 4 producers; about 700 MB on disk while it
       runs, under build/demo; free ports between 20000 and 32000 of 127.0.0.1; about 45 s. Nothing is left running.
PLAN
printf 'disk:  %s free here\n\n' "$(df -h --output=avail . | tail -1 | tr -d ' ')"

if [ "${YES:-}" != 1 ] && [ -t 0 ] && [ -t 1 ]; then
    read -r -p 'Go on? [Y/n] ' answer
    case ${answer:-y} in
    y | Y | yes | Yes) ;;
    *) exit 8 ;;
    esac
fi

tools/setup.sh
began=$(date +%s)
make --no-print-directory all
printf 'build: %10d s\n' $(($(date +%s) - began))
PYTHONPATH=tests exec build/venv/bin/python tools/demo.py
