"""Topics and partitions of the target follow the source, with the settings that the path needs."""

import json
import time

from confluent_kafka import KafkaException

from rig.ferry import Command, Configuration, Worker
from rig.procs import wait_for
from rig.records import Record, build
from rig.wire import RawClient

LONGEST = "9223372036854775807"
FORCED = {
    "compression.type": "producer",
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": LONGEST,
    "message.timestamp.before.max.ms": LONGEST,
}


def start(own, folder, source, target, redis_server, name, topics, worker="w1"):
    conf = Configuration(folder, {"a": (source, None), "b": (target, redis_server)})
    conf.service(name, topics=topics)
    Command(conf).enable(name)
    return conf, own(Worker(conf, worker).start())


def control(target, name):
    """{key: latest value} of the service's control topic."""
    found = {}
    with RawClient(target.bootstrap) as raw:
        for record in raw.committed_records(f"ferry.control.{name}", 0):
            found[record.key.decode()] = json.loads(record.value) if record.value else None
    return found


def recorded(target, name, topic):
    """What the control topic says of a mirrored topic, or None."""
    record = control(target, name).get("topics") or {"topics": []}
    return next((entry for entry in record["topics"] if entry["name"] == topic), None)


def partitions_at(cluster, topic):
    return cluster.topics().get(topic, 0)


def end_of(cluster, topic, partition):
    """Where a partition ends; -1 when it is not there, or a moment old: then brokers disagree."""
    try:
        return cluster.offsets(topic).get(partition, -1) if partitions_at(cluster, topic) > partition else -1
    except KafkaException:
        return -1


def write(cluster, topic, partition, count=5):
    some = [Record(n, int(time.time() * 1000), b"k%d" % n, b"v", ()) for n in range(count)]
    with RawClient(cluster.bootstrap) as raw:
        # A broker says NOT_LEADER of a partition that is a moment old.
        wait_for("the source to take it", lambda: raw.produce(topic, partition, build(some))[0] == 0, 5)


def test_new_topics_appear_within_five_seconds(own, folder, source, target, redis_server, name):
    _, worker = start(own, folder, source, target, redis_server, name, [f"{name}.*"])
    worker.wait_ready()
    settings = {"cleanup.policy": "compact", "compression.type": "gzip", "min.insync.replicas": "1"}
    source.create_topic(f"{name}.a", partitions=3, config=settings)
    began = time.monotonic()
    write(source, f"{name}.a", 2)
    wait_for("the topic at the target", lambda: partitions_at(target, f"{name}.a") == 3, 10)
    assert time.monotonic() - began < 5
    wait_for("its records", lambda: end_of(target, f"{name}.a", 2) == 5, 10)
    assert time.monotonic() - began < 8  # and its partitions were assigned
    got = target.topic_config(f"{name}.a")
    got.pop("max.message.bytes", None)  # the source's, when the target's default is not known to be as large
    assert got == FORCED | {"cleanup.policy": "compact"}
    entry = recorded(target, name, f"{name}.a")
    assert entry["partitions"] == 3
    assert entry["source_id"] == source.topic_id(f"{name}.a")
    assert entry["target_id"] == target.topic_id(f"{name}.a")
    assert entry["forced"]["compression.type"] == ["gzip", "producer"]
    assert entry["forced"]["message.timestamp.after.max.ms"] == [None, LONGEST]


def test_partitions_grow_with_the_source(own, folder, source, target, redis_server, name):
    source.create_topic(f"{name}.a", partitions=1)
    _, worker = start(own, folder, source, target, redis_server, name, [f"{name}.*"])
    worker.wait_ready()
    wait_for("the topic", lambda: partitions_at(target, f"{name}.a") == 1, 10)
    source.add_partitions(f"{name}.a", 4)
    began = time.monotonic()
    write(source, f"{name}.a", 3)
    wait_for("four partitions", lambda: partitions_at(target, f"{name}.a") == 4, 10)
    assert time.monotonic() - began < 5
    wait_for("the new one's records", lambda: end_of(target, f"{name}.a", 3) == 5, 15)
    wait_for("the record", lambda: recorded(target, name, f"{name}.a")["partitions"] == 4, 5)


def test_reserved_names_are_never_mirrored(own, folder, source, target, redis_server, name):
    reserved = [f"ferry.{name}", f"ferry-{name}", f"__{name}"]
    for topic in [*reserved, f"x{name}"]:
        source.create_topic(topic)
    start(own, folder, source, target, redis_server, name, [f"*{name}"])
    wait_for("the other topic", lambda: partitions_at(target, f"x{name}") == 1, 15)
    time.sleep(3)  # another sync
    assert not set(reserved) & set(target.topics())


def test_what_stood_at_the_target_is_forced_and_recorded(own, folder, source, target, redis_server, name):
    source.create_topic(f"{name}.a", config={"max.message.bytes": "3000000"})
    mine = {"compression.type": "zstd", "max.message.bytes": "1000", "retention.ms": "12345678"}
    target.create_topic(f"{name}.a", config=mine)
    start(own, folder, source, target, redis_server, name, [f"{name}.*"])
    wait_for("the record", lambda: recorded(target, name, f"{name}.a"), 15)
    forced = recorded(target, name, f"{name}.a")["forced"]
    assert forced["compression.type"] == ["zstd", "producer"]
    assert forced["max.message.bytes"] == ["1000", "3000000"]
    assert forced["message.timestamp.after.max.ms"] == [None, LONGEST]
    assert "message.timestamp.type" not in forced  # the default was right
    got = target.topic_config(f"{name}.a")
    assert got["compression.type"] == "producer"
    assert got["retention.ms"] == "12345678"


def test_one_impossible_topic_does_not_stop_the_others(own, folder, source, target, redis_server, name):
    source.create_topic(f"{name}.few", partitions=1)
    source.create_topic(f"{name}.fine", partitions=1)
    target.create_topic(f"{name}.few", partitions=2)
    _, worker = start(own, folder, source, target, redis_server, name, [f"{name}.*"])
    write(source, f"{name}.fine", 0)
    wait_for("the fine one", lambda: end_of(target, f"{name}.fine", 0) == 5, 15)
    assert f"topic={name}.few" in worker.wait_event("topic.not_mirrored")[0]
    assert recorded(target, name, f"{name}.few") is None


def test_a_deleted_topic_leaves_the_list_and_stays_at_the_target(own, folder, source, target, redis_server, name):
    source.create_topic(f"{name}.a")
    source.create_topic(f"{name}.b")
    start(own, folder, source, target, redis_server, name, [f"{name}.*"])
    wait_for("both", lambda: recorded(target, name, f"{name}.a") and recorded(target, name, f"{name}.b"), 15)
    source.delete_topic(f"{name}.a")
    wait_for("the shorter list", lambda: recorded(target, name, f"{name}.a") is None, 10)
    assert recorded(target, name, f"{name}.b")
    assert f"{name}.a" in target.topics()


def test_another_keeper_takes_over(own, folder, source, target, redis_server, name):
    """kill -9 of the keeper: the other worker creates what is new, under the same rules."""
    conf, first = start(own, folder, source, target, redis_server, name, [f"{name}.*"])
    wait_for("a keeper", lambda: (control(target, name).get("keeper") or {}).get("worker") == "w1", 15)
    second_conf = conf.copy(folder / "second")
    own(Worker(second_conf, "w2").start())
    time.sleep(4)  # joined; whoever owns the control topic's partition is the keeper
    keeper = control(target, name)["keeper"]["worker"]
    if keeper != "w1":
        return  # the group gave it to the newcomer by itself: it has been taken over already
    first.kill9()
    source.create_topic(f"{name}.late")
    wait_for("the topic", lambda: partitions_at(target, f"{name}.late") == 1, 25)
    wait_for("the new keeper", lambda: control(target, name)["keeper"]["worker"] == "w2", 5)
