#!/bin/bash
# The image's health: /healthz of the worker in this container answers 200, so its loop turns. Being far behind or away from
# a cluster is no reason to be restarted; that is what /readyz and the metrics are for.
#
# Asks where FERRY_HTTP says that the worker listens. A worker that was told otherwise (--http, or FERRY_HTTP=off) has no
# health to ask for: run it with --no-healthcheck.
set -euo pipefail
host=${FERRY_HTTP%:*}
port=${FERRY_HTTP##*:}
case $host in
0.0.0.0 | '[::]') host=127.0.0.1 ;;
esac
host=${host#[}
exec 3<>"/dev/tcp/${host%]}/$port"
printf 'GET /healthz HTTP/1.0\r\n\r\n' >&3
read -r -t 4 status <&3
[[ $status == 'HTTP/1.'?' 200 '* ]] || {
    printf 'healthz answers: %s\n' "${status%$'\r'}"
    exit 1
}
