"""All kinds of topics at once, on clusters as people have them: compacted, transactional, LogAppendTime, over SASL_SSL,
three replicas, while brokers of both sides and workers are killed."""

import random
import time

import pytest
from confluent_kafka import Producer

from rig.compacted import COMPACTED, compact, data_batches, fold, holes, produce_keys
from rig.kafka import KafkaCluster, start_together
from rig.line import Line
from rig.procs import wait_for
from rig.produce import Load
from rig.records import LOG_APPEND_TIME
from rig.secure import Authority, Listener
from rig.verify import compare

DURABLE = {"min.insync.replicas": 2}
APPEND = {"message.timestamp.type": "LogAppendTime"}
CLEANER = {"log.cleaner.backoff.ms": 200, "log.cleaner.delete.retention.ms": 3600000}
USER, PASSWORD = "ferry", "a-canary-of-the-zoo"


def site(own, folder, authority, name):
    listener = Listener("SASL_SSL", authority, authority.certificate(name), {USER: PASSWORD})
    props = {"offsets.topic.num.partitions": 3, "transaction.state.log.min.isr": 2, **CLEANER}
    return own(KafkaCluster(name, brokers=3, workdir=folder, heap="320m", props=props, listeners={"sasl": listener}))


def whole(cluster, topics):
    """Every partition has a leader and all its replicas in sync."""
    found = cluster.metadata().topics
    partitions = [p for topic in topics for p in found[topic].partitions.values()]
    return all(p.leader >= 0 and len(p.isrs) == len(p.replicas) for p in partitions)


def kill_in_turn(line, workers, topics, turns):
    """kill -9 of a broker, now of one side, now of the other, and of a worker; each comes back."""
    chosen = random.Random()
    for turn in range(turns):
        cluster = (line.source, line.target)[turn % 2]
        broker = cluster.broker(chosen.randrange(1, 4))
        broker.kill9()
        worker = chosen.choice(workers)
        worker.kill9()
        time.sleep(chosen.uniform(1, 8))
        worker.start()
        broker.start()
        wait_for(f"{cluster.name} to be whole", lambda c=cluster: whole(c, topics), 120, every=0.2)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_zoo_of_topics_is_mirrored_record_by_record_through_broker_kills(own, folder, new_redis, name):
    """S10, S15, S16, S24: a compacted topic with LogAppendTime whose cleaner has been there, one that goes on being
    compacted on both sides, one of transactions with aborts and LogAppendTime, one of every codec in turn. Record by
    record where nothing is cleaned any more; as a table where both cleaners go on."""
    authority = Authority(folder / "authority")
    source, target = start_together(*(site(own, folder, authority, end) for end in ("left", "right")))
    for cluster in (source, target):
        cluster.warm_coordinators()
    cleaned, table, ledger, plain = topics = [f"{name}.{kind}" for kind in ("cleaned", "table", "ledger", "plain")]
    source.create_topic(cleaned, partitions=2, config=DURABLE | APPEND | COMPACTED)
    source.create_topic(table, partitions=2, config=DURABLE | COMPACTED)
    source.create_topic(ledger, partitions=3, config=DURABLE | APPEND)
    source.create_topic(plain, partitions=3, config=DURABLE)
    produce_keys(source.bootstrap, cleaned, 2)
    compact(source, cleaned, 2)
    assert len(holes(source, cleaned, 2)) >= 8, "the cleaner left nothing that has to be re-encoded"

    secured = {side: c.secured("sasl").settings(folder / side) for side, c in (("a", source), ("b", target))}
    line = Line(own, folder, source, target, new_redis(), name, [f"{name}.*"], secured=secured)
    line.topics = topics
    loads = [
        Load(source.bootstrap, topic, kind, count=None, partitions=3, rate=rate, seed=seed).start()
        for seed, (topic, kind, rate) in enumerate(
            [(ledger, "transactional", 200), (ledger, "lz4", 300), (plain, "zstd", 300), (plain, "gzip", 200)], 1
        )
    ]
    workers = [line.worker("w1"), line.worker("w2")]
    line.wait_copied(plain, 0, 100)
    for _ in range(4):
        produce_keys(source.bootstrap, table, 2, keys=100, rounds=3)
        kill_in_turn(line, workers, topics, turns=2)
    counted = [load.stop() for load in loads]
    line.wait_caught_up(timeout=180)

    exact = [cleaned, ledger, plain]
    result = line.prove(topics=exact)
    print(f"\n{result.records} records: {result.text()}")
    assert result.records > sum(one.committed for one in counted)  # and what the cleaner left
    for topic in (cleaned, ledger):
        assert all(b.attributes & LOG_APPEND_TIME for b in data_batches(source, topic, 2))
        assert not any(b.attributes & LOG_APPEND_TIME for b in data_batches(target, topic, 2))
    for topic in (cleaned, table):
        assert fold(source, topic)
        assert fold(source, topic) == fold(target, topic)
    assert target.topic_config(table)["cleanup.policy"] == "compact"
    # What is proven is that nobody else's record is there: one more is found.
    producer = Producer({"bootstrap.servers": target.bootstrap})
    producer.produce(plain, b"not of the source", partition=0)
    producer.flush(30)
    assert compare(source.bootstrap, target.bootstrap, [plain]).count("foreign") == 1
