"""kafka/control against a real broker: written and read, fenced writers, what a killed keeper leaves, garbage, a topic
made anew."""

import json
import time

import pytest
from confluent_kafka import KafkaException

from rig.driver import Driver
from rig.procs import wait_for

ID = "0123456789abcdef0123456789abcdef"


def topic_of(service):
    return f"ferry.control.{service}"


@pytest.fixture
def control(target, own, name):
    """control("watch"), control("write", "op"): drivers of this test's service."""

    def make(*args):
        return own(Driver("control_driver", target.bootstrap, name, *args))

    return make


def put(writer, key, value):
    writer.send("put", key, json.dumps(value, separators=(",", ":")))


def write(writer, **records):
    for key, value in records.items():
        put(writer, key, value)
    writer.send("write")
    return writer.expect("written")


def answer_of(writer):
    return wait_for(
        "an answer of the writer",
        lambda: next((x for x in writer.drain(0.2) if x["event"] in ("write", "written")), None),
        15,
    )


def produce(target, topic, key, value):
    """As somebody would who is not Ferry."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": target.bootstrap})
    producer.produce(topic, key=key, value=value)
    producer.flush()


def test_written_is_read(control, target, name):
    watch = control("watch")
    line = watch.expect("state", role=0, code=0)  # the watcher made the topic
    assert line["at"] - watch.started_at < 3
    assert line["id"] == target.topic_id(topic_of(name))
    config = target.topic_config(topic_of(name))
    assert config["cleanup.policy"] == "compact" and target.topics()[topic_of(name)] == 1
    writer = control("write", "op")
    assert int(writer.expect("ready")["ms"]) < 3000
    began = time.monotonic()
    write(
        writer,
        role={"epoch": 3, "primary": "hz", "secondaries": ["sh"]},
        streams={"epoch": 1, "hash": "00000000000000ff", "previous": []},
        topics={
            "epoch": 2,
            "topics": [{"name": "t", "source_id": ID, "target_id": ID, "partitions": 5, "forced": {}}],
        },
        keeper={"worker": "w1", "since": "now"},
        order={"state": "pause"},
        **{"op/1": {"open": True}, "op/1/check": {"anything": 1}},
    )
    line = watch.expect("state", role=3)
    assert line["at"] - began < 1.5
    assert (line["primary"], line["hash"], line["topics"], line["epoch"]) == ("hz", "00000000000000ff", "1", "2")
    assert (line["keeper"], line["paused"], line["open"]) == ("w1", "1", "1")
    writer.send("del", "keeper")
    write(writer, **{"op/1": {"open": False}, "order": {"state": "run"}})
    line = watch.expect("state", keeper="-")
    assert (line["paused"], line["open"], line["role"]) == ("0", "0", "3")
    late = control("watch").expect("state", role=3)  # who comes later sees the same
    assert late["keeper"] == "-" and late["hash"] == line["hash"]
    read = control("read")
    assert read.expect("read")["role"] == "3" and int(read.expect("took")["ms"]) < 2000


def test_confirmed_each_second_and_poked(control):
    watch = control("watch")
    watch.expect("state")
    lines = [x for x in watch.drain(5) if x["event"] == "state"]
    assert 4 <= len(lines) <= 6
    assert all(int(x["age_ms"]) < 500 for x in lines)
    gaps = []
    for _ in range(5):
        began = time.monotonic()
        watch.send("poke")
        gaps.append(watch.expect("state")["at"] - began)
    assert min(gaps) < 0.2 and sum(gaps) < 2
    assert watch.quit() == 0
    assert int(watch.expect("freed")["ms"]) < 1000


def test_missing_topic_is_not_made_by_reading(control, target, name):
    read = control("read")
    assert read.expect("read")["code"] == "3"
    assert int(read.expect("took")["ms"]) < 1500
    writer = control("write", "op")
    line = writer.expect("failed")
    assert (line["kind"], line["code"]) == ("refused", "3")
    assert topic_of(name) not in target.topics()
    create = control("create")
    create.expect("created")
    create.quit()
    control("create").expect("created")  # "exists" is success


def test_writer_of_the_same_role_is_fenced(control):
    control("create").expect("created")
    elder = control("write", "keeper")
    elder.expect("ready")
    write(elder, keeper={"worker": "elder"})
    newcomer = control("write", "keeper")
    newcomer.expect("ready")
    put(elder, "keeper", {"worker": "zombie"})
    elder.send("write")
    line = elder.expect("write")
    assert line["kind"] == "fatal", line
    put(elder, "keeper", {"worker": "zombie"})
    elder.send("write")
    assert elder.expect("write")["kind"] == "fatal", "for good"
    write(newcomer, keeper={"worker": "newcomer"})
    assert control("read").expect("read")["keeper"] == "newcomer"
    operation = control("write", "op")  # ends the keeper too
    operation.expect("ready")
    put(newcomer, "keeper", {"worker": "zombie"})
    newcomer.send("write")
    assert newcomer.expect("write")["kind"] == "fatal"


def test_killed_keeper_hides_nothing_from_an_operation(control):
    control("create").expect("created")
    hung = control("hang", "keeper")
    hung.expect("hanging")
    hung.kill9()
    watch = control("watch")
    watch.expect("state", code=0)
    began = time.monotonic()
    operation = control("write", "op")
    operation.expect("ready")
    write(operation, role={"epoch": 1, "primary": "hz"})
    line = watch.expect("state", role=1)
    assert line["at"] - began < 3, "the open transaction has a minute left"
    assert line["keeper"] == "-", "what was not committed is not read"


def test_garbage_changes_nothing_and_is_named(control, target, name):
    watch = control("watch")
    watch.expect("state")
    writer = control("write", "op")
    writer.expect("ready")
    write(writer, role={"epoch": 1, "primary": "hz"})
    watch.expect("state", role=1, code=0)
    topic = topic_of(name)
    for garbage in (b"\xff\x00{", b"[1]", b'{"epoch":0,"primary":"x"}', b'{"epoch":2}', b"{" * 100, b""):
        produce(target, topic, b"role", garbage)
    produce(target, topic, b"something-new", b"of a later version")
    line = watch.expect("state", role=1, end=9)
    assert "'role'" in line["why"] and line["primary"] == "hz"
    late = control("watch").expect("state")  # nothing was compacted yet: the good one is found
    assert late["role"] == "1" and "'role'" in late["why"]
    write(writer, role={"epoch": 2, "primary": "sh"})
    assert watch.expect("state", role=2)["why"] == "-"
    produce(target, topic, b"op/9", b"not json")
    line = watch.expect("state", open=1)
    assert "op/9" in line["why"], "an operation that cannot be read counts as open"
    produce(target, topic, b"op/9", None)
    assert watch.expect("state", open=0)["why"] == "-"


def test_topic_made_anew_is_another(control, target, name):
    watch = control("watch")
    watch.expect("state")
    writer = control("write", "op")
    writer.expect("ready")
    write(writer, role={"epoch": 7, "primary": "hz"})
    first = watch.expect("state", role=7)
    target.delete_topic(topic_of(name))
    gone = watch.expect("state", code=3)
    assert "deleted" in gone["why"] and gone["role"] == "7"
    assert int(watch.expect("state", code=3)["age_ms"]) > int(gone["age_ms"]) > 0, "it is not confirmed any more"
    time.sleep(2)
    assert topic_of(name) not in target.topics(), "never made anew by a reader that has seen it"
    target.create_topic(topic_of(name), config={"cleanup.policy": "compact"})
    again = watch.expect("state", code=0)
    assert again["id"] == target.topic_id(topic_of(name)) != first["id"]
    assert (again["role"], again["primary"]) == ("0", "-"), "nothing of the old one is remembered"
    fresh = control("write", "op")
    fresh.expect("ready")
    write(fresh, role={"epoch": 1, "primary": "sh"})
    assert watch.expect("state", role=1)["primary"] == "sh"


def test_topic_emptied_under_the_reader(control, target, name):
    """A topic that became shorter without a new id is read again from its beginning."""
    watch = control("watch")
    watch.expect("state")
    writer = control("write", "op")
    writer.expect("ready")
    write(writer, role={"epoch": 1, "primary": "hz"}, order={"state": "pause"})
    watch.expect("state", role=1)
    end = target.offsets(topic_of(name))[0]
    target.alter_topic_config(topic_of(name), {"cleanup.policy": "delete"})
    wait_for(
        "the broker to follow the topic's new policy",
        lambda: target.delete_records(topic_of(name), 0, end) == end,
        not_yet=(KafkaException,),
    )
    write(writer, order={"state": "run"})
    line = watch.expect("state", paused=0)
    assert line["code"] == "0"


@pytest.mark.long
def test_dead_cluster_is_told_and_ends(own):
    watch = own(Driver("control_driver", "127.0.0.1:1", "dead", "watch"))
    line = watch.expect("state", timeout=10)
    assert "refused" in line["why"], line
    assert watch.quit() == 0
    assert int(watch.expect("freed")["ms"]) < 1700
    writer = own(Driver("control_driver", "127.0.0.1:1", "dead", "write", "op"))
    assert writer.expect("failed", timeout=14)["kind"] == "retry"
    assert int(writer.expect("took")["ms"]) < 12000


@pytest.mark.long
def test_silent_broker_is_told_and_ends(new_cluster, own):
    cluster = new_cluster("silent")
    cluster.warm_coordinators()
    watch = own(Driver("control_driver", cluster.bootstrap, "s", "watch"))
    watch.expect("state", code=0)
    writer = own(Driver("control_driver", cluster.bootstrap, "s", "write", "keeper"))
    writer.expect("ready")
    write(writer, keeper={"worker": "w"})
    watch.expect("state", keeper="w")
    cluster.broker(1).sigstop()
    try:
        put(writer, "keeper", {"worker": "x"})
        began = time.monotonic()
        writer.send("write")
        line = writer.expect("write", timeout=14)
        assert line["kind"] == "retry" and time.monotonic() - began < 12, line
        late = wait_for("an unconfirmed state", lambda: next((x for x in watch.drain(1) if x.get("why") != "-"), None))
        assert late["keeper"] == "w"
        put(writer, "keeper", {"worker": "x"})
        writer.send("write")  # what is open cannot be ended: librdkafka may wait for that for ever
        assert writer.expect("write", timeout=14)["kind"] == "retry"
    finally:
        cluster.broker(1).sigcont()
    watch.expect("state", code=0, why="-", timeout=20)
    put(writer, "keeper", {"worker": "y"})
    for _ in range(5):  # the first ones end what was open
        writer.send("write")
        line = answer_of(writer)
        if line["event"] == "written":
            break
        put(writer, "keeper", {"worker": "y"})
    assert line["event"] == "written", line
    assert any(line["event"] == "renewed" for line in writer.seen), "by a writer made anew"
    watch.expect("state", keeper="y")
    assert writer.quit() == 0 and watch.quit() == 0
