#!/bin/bash
# A site's broker: formats its log folder once, then is Kafka. `kafka CLASS ARGUMENTS..` runs one of Kafka's tools instead.
#
# ADVERTISED: the name that clients are told, HOST:PORT.
set -euo pipefail
java=(java -cp '/opt/kafka/*' -XX:+UseSerialGC)
if [ $# -gt 0 ]; then
    exec "${java[@]}" -Xmx128m "$@"
fi
cat >/data/server.properties <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:9093
listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093
advertised.listeners=PLAINTEXT://$ADVERTISED
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=/data/log
auto.create.topics.enable=false
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
CONF
if [ ! -e /data/log/meta.properties ]; then
    id=$(tr -dc 'A-Za-z0-9' </dev/urandom | head -c 22 || true)
    "${java[@]}" -Xmx128m kafka.tools.StorageTool format -t "$id" -c /data/server.properties
fi
exec "${java[@]}" -Xms384m -Xmx512m kafka.Kafka /data/server.properties
