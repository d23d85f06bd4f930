"""Topics and partitions of the target follow the source, with the settings that the path needs."""

import json
import signal
import time

import pytest
from confluent_kafka import KafkaException

from rig.ferry import Command, Configuration, Worker
from rig.procs import wait_for
from rig.records import Record, build
from rig.verify import compare
from rig.wire import RawClient

LONGEST = "9223372036854775807"
FORCED = {
    "compression.type": "producer",
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": LONGEST,
    "message.timestamp.before.max.ms": LONGEST,
}


def start(own, folder, source, target, redis_server, name, topics, worker="w1", **more):
    conf = Configuration(folder, {"a": (source, None), "b": (target, redis_server)})
    conf.service(name, topics=topics, **more)
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


def topics_report(conf, name):
    """What the keeper says of the topics in status; None when nobody says anything."""
    (link,) = Command(conf).status(name)["services"][0]["links"]
    return link["topics"]


def source_deleted(conf, name):
    report = topics_report(conf, name)
    return [row["topic"] for row in report["source_deleted"]] if report else None


def drifts(conf, name):
    """{(topic, setting): row} of what differs at the target."""
    report = topics_report(conf, name) or {"drift": []}
    return {(row["topic"], row["setting"]): row for row in report["drift"]}


def faults(conf, name):
    (link,) = Command(conf).status(name)["services"][0]["links"]
    return link["faults"] or {}


def wait_config(cluster, topic, want, timeout=20):
    """Until these are set on the topic itself; None = not set."""

    def there():
        own = cluster.topic_config(topic)
        return all(own.get(key) == value for key, value in want.items())

    wait_for(f"{want} at {topic} on {cluster.name}", there, timeout, not_yet=(KafkaException,))


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
    """S13: the target is grown first; what was written to a new partition before we knew it is mirrored from its
    offset 0."""
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
    result = compare(source.bootstrap, target.bootstrap, [f"{name}.a"])
    assert result.ok and result.records == 5, result.text()
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
    """S12: deleted at the source: that topic ends by name, its copy stays, the others go on; back, it is a fault."""
    source.create_topic(f"{name}.a")
    source.create_topic(f"{name}.b")
    conf, worker = start(own, folder, source, target, redis_server, name, [f"{name}.*"])
    write(source, f"{name}.a", 0)
    wait_for("its records", lambda: end_of(target, f"{name}.a", 0) == 5, 15)
    wait_for("both", lambda: recorded(target, name, f"{name}.a") and recorded(target, name, f"{name}.b"), 15)
    source.delete_topic(f"{name}.a")
    wait_for("the shorter list", lambda: recorded(target, name, f"{name}.a") is None, 10)
    assert recorded(target, name, f"{name}.b")
    assert f"{name}.a" in target.topics()
    assert f"topic={name}.a" in worker.wait_event("topic.source_deleted")[0]
    report = wait_for("status", lambda: source_deleted(conf, name), 5)
    assert report == [f"{name}.a"]
    text = Command(conf).run("status", name).stdout.replace("\n    ", " ")
    assert f"topic {name}.a was deleted at the source (seen 20" in text
    worker.wait_metric("the deleted one", lambda m: m.get("ferry_link_source_deleted_topics") == 1, 5)
    # Nothing else stops, and the next keeper knows it too.
    write(source, f"{name}.b", 0)
    wait_for("the other's records", lambda: end_of(target, f"{name}.b", 0) == 5, 10)
    worker.stop()
    own(Worker(conf, "w2").start())
    wait_for("the next keeper's word", lambda: source_deleted(conf, name) == [f"{name}.a"], 25)
    # The same name again is another topic: its partition stops by name, the others go on.
    source.create_topic(f"{name}.a")
    fault = wait_for("the fault", lambda: faults(conf, name).get(f"{name}.a:0"), 20)
    assert fault["kind"] == "source-recreated"
    wait_for("no word of it", lambda: source_deleted(conf, name) == [], 5)


@pytest.mark.long
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


def test_settings_follow_the_source(own, folder, source, target, redis_server, name):
    """Set, changed, taken back; what is excluded or refused is told, the rest goes on; what is the user's own stays."""
    source.create_topic(f"{name}.a", config={"compression.type": "gzip", "segment.ms": "3600000"})
    mine = {"segment.bytes": "2000000", "retention.ms": "7200000", "compression.type": "zstd"}
    mine["max.compaction.lag.ms"] = "1000"  # excludes a longer min.compaction.lag.ms
    target.create_topic(f"{name}.a", config=mine)
    settings = {"exclude": ["flush.*"]}
    conf, worker = start(own, folder, source, target, redis_server, name, [f"{name}.*"], topic_config=settings)
    topic = f"{name}.a"
    forced = {"compression.type": "producer", "message.timestamp.after.max.ms": LONGEST}
    wait_config(target, topic, forced | {"segment.ms": "3600000", "segment.bytes": "2000000"})
    source.alter_topic_config(topic, {"retention.ms": "3600000", "segment.ms": "1800000", "flush.ms": "1000"})
    source.alter_topic_config(topic, {"compression.type": "lz4", "min.compaction.lag.ms": "60000"})
    wait_config(target, topic, forced | {"segment.ms": "1800000", "retention.ms": "3600000", "flush.ms": None})
    followed = {"retention.ms": ["7200000", "3600000"], "segment.ms": [None, "1800000"]}
    followed["compression.type"] = ["zstd", "lz4"]  # forced: what it is given back to follows
    wait_for("the record", lambda: recorded(target, name, topic)["synced"] == followed, 10)
    assert recorded(target, name, topic)["forced"]["compression.type"] == ["lz4", "producer"]
    row = wait_for("the drift", lambda: drifts(conf, name).get((topic, "flush.ms")), 5)
    assert row["source"] == "1000" and "topic_config.exclude" in row["why"]
    row = wait_for("the refusal", lambda: drifts(conf, name).get((topic, "min.compaction.lag.ms")), 5)
    assert "the target refuses it" in row["why"] and "max.compaction.lag.ms" in row["why"]
    assert set(drifts(conf, name)) == {(topic, "flush.ms"), (topic, "min.compaction.lag.ms")}
    shown = Command(conf).run("status", name).stdout.replace("\n    ", " ")
    assert f"topic {topic}: flush.ms is 1000 at the source, 9223372036854775807 at the target" in shown
    metrics = worker.wait_metric("the drift", lambda m: m.get("ferry_link_drifted_topics") == 1, 5)
    assert metrics["ferry_link_topic_changes_total"] == 3
    assert [line for line in worker.events("topic.setting") if "setting=retention.ms" in line]
    events = redis_server.client.xrange(f"{{{name}}}:events")
    assert [
        fields for _, fields in events if fields[b"kind"] == b"topic.setting" and b"retention.ms" in fields[b"detail"]
    ]
    # Another list, taken over by a reload: looked at at once.
    conf.service(name, topics=[f"{name}.*"])
    worker.process.signal(signal.SIGHUP)
    wait_config(target, topic, {"flush.ms": "1000"})
    # Taken back there: what stood here before comes back, and the topic follows its brokers again.
    source.remove_topic_config(topic, ["retention.ms", "segment.ms", "flush.ms", "min.compaction.lag.ms"])
    source.remove_topic_config(topic, ["compression.type"])
    back = {"retention.ms": "7200000", "segment.ms": None, "segment.bytes": "2000000", "flush.ms": None}
    wait_config(target, topic, forced | back)
    assert target.topic_config(topic)["max.compaction.lag.ms"] == "1000"
    wait_for("the record", lambda: "synced" not in recorded(target, name, topic), 5)
    assert recorded(target, name, topic)["forced"]["compression.type"] == ["zstd", "producer"]
    wait_for("no drift", lambda: drifts(conf, name) == {}, 5)


@pytest.mark.long
def test_a_topic_that_is_refused_with_a_setting_is_created_without(
    own, folder, source, new_cluster, redis_server, name
):
    """The target's brokers compact within a second, which excludes a topic's longer min.compaction.lag.ms."""
    target = new_cluster("strict", props={"log.cleaner.max.compaction.lag.ms": 1000})
    refused = {"cleanup.policy": "compact", "min.compaction.lag.ms": "60000", "segment.ms": "3600000"}
    source.create_topic(f"{name}.a", config=refused)
    source.create_topic(f"{name}.b")
    conf, worker = start(own, folder, source, target, redis_server, name, [f"{name}.*"])
    topic = f"{name}.a"
    wait_config(target, topic, {"cleanup.policy": "compact", "segment.ms": "3600000", "min.compaction.lag.ms": None})
    wait_for("the topic in the list", lambda: recorded(target, name, topic), 10)
    row = wait_for("the drift", lambda: drifts(conf, name).get((topic, "min.compaction.lag.ms")), 10)
    assert row["source"] == "60000" and row["target"] == "0"
    assert "the target refuses it" in row["why"] and "max.compaction.lag.ms" in row["why"]
    assert f"topic={topic} setting=min.compaction.lag.ms" in worker.wait_event("topic.setting_differs")[0]
    source.alter_topic_config(topic, {"delete.retention.ms": "1000"})
    wait_config(target, topic, {"delete.retention.ms": "1000", "min.compaction.lag.ms": None})
    for each in (f"{name}.a", f"{name}.b"):
        write(source, each, 0)
        wait_for("its records", lambda each=each: end_of(target, each, 0) == 5, 10)
