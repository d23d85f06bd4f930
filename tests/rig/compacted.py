"""Compacted topics: few keys written in every way, the cleaner waited for, what it left, the table that it stands for.

create_topic("t", config=COMPACTED); produce_keys(source.bootstrap, "t", 2); compact(source, "t", 2)
assert fold(source, "t") == fold(target, "t")
"""

import random
import time

from confluent_kafka import Producer, TopicPartition

from rig.procs import wait_for
from rig.produce import CODECS, Load
from rig.reader import consumer
from rig.wire import RawClient

COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": "200",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "3600000",
    "min.compaction.lag.ms": "0",
}


def walk(cluster, topic, partitions):
    with RawClient(cluster.bootstrap) as raw:
        return [batch for p in range(partitions) for batch in raw.walk(topic, p)]


def data_batches(cluster, topic, partitions):
    return [b for b in walk(cluster, topic, partitions) if not b.control and b.count > 0]


def fold(cluster, topic):
    """Last value of each key, as a consumer that builds a table of the topic has it; a null value deletes."""
    client = consumer(cluster.bootstrap)
    table = {}
    try:
        ends = cluster.offsets(topic, committed=True)
        starts = cluster.offsets(topic, spec="start")
        for partition, end in ends.items():
            client.assign([TopicPartition(topic, partition, starts[partition])])
            while client.position([TopicPartition(topic, partition)])[0].offset < end:
                got = client.poll(5)
                if got is None or (got.error() and got.error().code() == -191):
                    break
                assert not got.error(), got.error()
                if got.value() is None:
                    table.pop((partition, got.key()), None)
                else:
                    table[partition, got.key()] = got.value()
    finally:
        client.close()
    return table


def produce_keys(bootstrap, topic, partitions, keys=300, rounds=12, tombstones=True):
    """Every codec, headers, null values and transactions over few keys: most of it can be compacted away."""
    for n in range(rounds):
        codec = ("none", *CODECS)[n % 5]
        conf = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": codec, "linger.ms": 20}
        transactional = n % 3 == 2
        if transactional:
            conf["transactional.id"] = f"{topic}-{n}"
        producer = Producer(conf)
        if transactional:
            producer.init_transactions(30)
        for part in range(4):
            if transactional:
                producer.begin_transaction()
            for k in range(part, keys, 4):
                if random.random() < 0.4:
                    continue
                value = None if tombstones and random.random() < 0.1 else b"round %d of key %d " % (n, k) + b"v" * 40
                headers = [("round", b"%d" % n), ("none", None)] if k % 3 == 0 else None
                producer.produce(topic, value, b"key-%d" % k, partition=k % partitions, headers=headers)
            producer.flush(30)
            if transactional and part == 1:
                producer.abort_transaction(30)
            elif transactional:
                producer.commit_transaction(30)
        producer.flush(30)


def holes(cluster, topic, partitions):
    return [b for b in data_batches(cluster, topic, partitions) if b.count != b.last_offset_delta + 1]


def compact(source, topic, partitions, least=8):
    """Roll the segment under the records, wait for the cleaner, then freeze what it left."""
    for _ in range(3):
        time.sleep(0.3)
        for partition in range(partitions):
            Load(source.bootstrap, topic, "plain", count=3, partition=partition, serial=10_000).run()
    wait_for("the cleaner", lambda: len(holes(source, topic, partitions)) >= least, 60, every=0.3)

    def quiet():
        before = [(b.base_offset, b.count) for b in walk(source, topic, partitions)]
        time.sleep(1.5)
        return before == [(b.base_offset, b.count) for b in walk(source, topic, partitions)]

    wait_for("the cleaner to rest", quiet, 60, every=0.1)
    source.alter_topic_config(topic, {"cleanup.policy": "delete", "retention.ms": "-1"})
