"""Ways out of faults: an operator gives up records that cannot be mirrored, and the partition goes on behind them."""

import json

import pytest
from confluent_kafka import Producer

from rig.ferry import EXIT_REFUSED, EXIT_UNCONFIRMED
from rig.line import Line
from rig.procs import wait_for
from rig.produce import Load
from rig.verify import compare


@pytest.fixture
def line(own, folder, source, target, redis_server, name):
    def make(**more):
        topic = source.create_topic(f"{name}.t", partitions=1)
        return Line(own, folder, source, target, redis_server, name, [topic], **more)

    return make


def produce(cluster, topic, rows):
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 0})
    for key, value in rows:
        producer.produce(topic, key=key, value=value, partition=0)
        producer.flush(10)  # a batch each


def accept(line, *more):
    return line.command.run("fault", "accept", line.service, f"{line.topics[0]}:0", *more)


def translated(line, *offsets):
    return [line.command.translate(line.service, line.topics[0], 0, offset)["target_offset"] for offset in offsets]


def assert_recorded(line, reason, source_from, source_to):
    (accepted,) = line.events("fault.accepted")
    detail = json.loads(accepted["detail"])
    assert detail["reason"] == reason and "@" in detail["by"]
    (left_out,) = line.events("source.left_out")
    detail = json.loads(left_out["detail"])
    assert (detail["source_from"], detail["source_to"]) == (source_from, source_to)


def test_what_retention_took_is_left_out_on_an_operators_word(line, source, target):
    """S11, I12: the gap stops the partition; accepted, it goes on behind it, and the map knows the range."""
    one = line()
    topic = one.topics[0]
    Load(source.bootstrap, topic, "plain", count=500, partitions=1).run()
    worker = one.worker("w1")
    one.wait_caught_up()
    worker.stop()
    for seed in (2, 3):  # a batch ends where the deletion does
        Load(source.bootstrap, topic, "plain", count=200, partitions=1, seed=seed, serial=seed * 1000).run()
    source.delete_records(topic, 0, 700)
    worker.start()
    fault = one.wait_fault("gap")
    assert (fault["source_from"], fault["source_to"]) == (500, 700)
    worker.wait_metric("what alerts look at", lambda m: m.get("ferry_link_faulted_partitions", kind="gap") == 1, 10)
    assert one.command.run("status", one.service, "--check").returncode == 2
    assert target.offsets(topic)[0] == 500
    assert accept(one).returncode == EXIT_UNCONFIRMED
    assert one.fault() is not None
    done = accept(one, "--yes", "--reason", "paused over the weekend")
    assert done.returncode == 0, done.stdout + done.stderr
    one.wait_caught_up()
    assert one.fault() is None
    assert target.offsets(topic)[0] == 700, "500 before the gap, 200 behind it"
    assert_recorded(one, "paused over the weekend", 500, 700)
    assert translated(one, 0, 499) == [0, 499]
    assert translated(one, 500, 600, 699, 700, 701) == [500, 500, 500, 500, 501]
    assert translated(one, 899) == [699]
    worker.kill9()
    worker.start()
    Load(source.bootstrap, topic, "plain", count=100, partitions=1, seed=4, serial=9000).run()
    one.wait_caught_up()
    assert one.fault() is None, "the decision was forgotten by a restart"
    assert target.offsets(topic)[0] == 800
    assert accept(one, "--yes").returncode == EXIT_REFUSED, "nothing is faulted any more"


def test_a_batch_that_the_target_refuses_is_left_out_on_an_operators_word(line, source, target):
    one = line(enable=False)
    topic = one.topics[0]
    target.create_topic(topic, config={"cleanup.policy": "compact"})
    one.command.enable(one.service)
    produce(source, topic, [(b"a", b"1"), (b"b", b"2"), (None, b"no key: not for a compacted topic"), (b"c", b"3")])
    worker = one.worker("w1")
    fault = one.wait_fault("batch-refused")
    assert (fault["source_from"], fault["source_to"]) == (2, 3)
    done = accept(one, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    one.wait_caught_up()
    assert target.offsets(topic)[0] == 3
    assert_recorded(one, "", 2, 3)
    worker.kill9()
    worker.start()
    produce(source, topic, [(b"d", b"4")])
    one.wait_caught_up()
    result = compare(source.bootstrap, target.bootstrap, [topic])
    assert [f.text() for f in result.findings] == [f"lost: {topic}-0 source offset 2"]
    assert translated(one, *range(5)) == [0, 1, 2, 2, 3]


def test_a_recreated_source_topic_is_mirrored_anew_on_an_operators_word(line, source, target):
    """S12: deleted and back, shorter: nothing of the new topic is mirrored over the old one, until an operator says
    so."""
    one = line()
    topic = one.topics[0]
    Load(source.bootstrap, topic, "plain", count=300, partitions=1).run()
    worker = one.worker("w1")
    one.wait_caught_up()
    source.delete_topic(topic)
    source.create_topic(topic, partitions=1)
    Load(source.bootstrap, topic, "plain", count=200, partitions=1, seed=2, serial=5000).run()
    one.wait_fault("source-recreated", timeout=60)
    worker.kill9()
    worker.start()
    one.wait_fault("source-recreated")
    assert target.offsets(topic)[0] == 300, "the new topic's records went over the old one's"
    assert translated(one, 0, 299) == [0, 299]
    done = one.command.run("fault", "resync", one.service, f"{topic}:0", "--yes", "--reason", "new topic")
    assert done.returncode == 0, done.stdout + done.stderr
    wait_for("the new topic's copy", lambda: one.checkpoint().target_next == 500)
    assert target.offsets(topic)[0] == 500
    assert translated(one, 0, 1, 199) == [300, 301, 499]
    (order,) = one.events("fault.resync")
    assert json.loads(order["detail"])["reason"] == "new topic"
    assert one.events("partition.resynced")
    worker.kill9()
    worker.start()
    Load(source.bootstrap, topic, "plain", count=100, partitions=1, seed=3, serial=9000).run()
    one.wait_caught_up()
    assert one.fault() is None and target.offsets(topic)[0] == 600
