"""Path `records`: producer ids are the target's, and its tail is known by its content: docs/records.md."""

import json
import random
import time

import pytest
from confluent_kafka import Producer

from rig.line import Line
from rig.procs import wait_for
from rig.produce import KINDS, Load, produce_all_kinds
from rig.verify import compare
from rig.wire import RawClient


@pytest.fixture
def line(own, folder, source, target, redis_server, name):
    def make(partitions=4, **more):
        source.create_topic(f"{name}.t", partitions=partitions)
        return Line(own, folder, source, target, redis_server, name, [f"{name}.t"], path="records", **more)

    return make


def test_every_kind_of_record_is_carried_once_in_order(line, source):
    """Keys, values, headers, nulls, timestamps; aborted transactions are not there; the map finds each record by its
    content."""
    one = line()
    produce_all_kinds(source.bootstrap, one.topics[0], 1500, 4, kinds=KINDS)
    one.worker("w1")
    one.wait_caught_up()
    result = one.prove()
    assert result.records > 10_000
    with RawClient(one.target.bootstrap) as raw:
        batches = list(raw.walk(one.topics[0], 0))
    assert not any(b.transactional or b.control for b in batches)
    assert all(0 <= b.producer_id < 1 << 47 for b in batches), "given out by the target"


def no_loss(one):
    """Every record is there, in order but for repeats; how many stand there again."""
    result = compare(one.source.bootstrap, one.target.bootstrap, one.topics)
    bad = [finding for finding in result.findings if finding.kind != "doubled"]
    assert not bad, result.text()
    return result.target_records - result.records


def status(one):
    (link,) = one.command.status(one.service)["services"][0]["links"]
    return link


def test_kill9_storm_loses_nothing_and_counts_what_it_repeats(line, source):
    one = line()
    loads = [
        Load(source.bootstrap, one.topics[0], kind, count=count, partitions=4, rate=rate, seed=seed).start()
        for seed, (kind, count, rate) in enumerate([("transactional", 9_000, 1500), ("lz4", 40_000, 8000)], 1)
    ]
    worker = one.worker("w1")
    for _ in range(6):
        time.sleep(random.uniform(0.3, 1.0))
        worker.kill9()
        worker.start()
    for load in loads:
        load.wait()
    one.wait_caught_up()
    repeats = no_loss(one)
    assert status(one)["repeated_records"] == repeats
    assert repeats == 0, "ordinarily the target's tail says what is there"
    one.prove(translations=20_000)
    assert "assert" not in worker.process.log_text().lower()


def test_records_that_a_dead_worker_had_on_its_way_are_counted(line, source):
    """Its batch arrives behind what its successor wrote: the records stand there a second time, the map keeps the first
    place of each, nothing is lost, and status says how many."""
    one = line(partitions=1)
    topic = one.topics[0]
    Load(source.bootstrap, topic, "plain", count=500, partition=0, seed=1).run()
    one.worker("w1")
    one.wait_caught_up()
    with RawClient(one.target.bootstrap) as raw:
        late = list(raw.committed_records(topic, 0))[440:480]
    producer = Producer({"bootstrap.servers": one.target.bootstrap, "enable.idempotence": True})
    for record in late:
        producer.produce(topic, record.value, record.key, 0, timestamp=record.timestamp, headers=list(record.headers))
    assert producer.flush(10) == 0
    Load(source.bootstrap, topic, "plain", count=500, partition=0, seed=2, serial=1000).run()
    one.wait_caught_up()
    assert no_loss(one) == 40
    said = status(one)
    assert (said["path"], said["repeated_records"]) == ("records", 40)
    assert "path records: at-least-once, 40 records were repeated since 20" in one.command.ok("status", one.service)
    found = one.map()
    for offset, wanted in ((0, 0), (450, 450), (499, 499), (500, 540), (999, 1039)):
        assert found.translate(topic, 0, offset) == wanted


def test_others_records_are_told_from_repeats(line, source):
    """Somebody else wrote into the target: by policy a new run, as over the path batches, and no repeat."""
    one = line(partitions=1)
    topic = one.topics[0]
    Load(source.bootstrap, topic, "plain", count=300, partition=0, seed=1).run()
    one.worker("w1")
    one.wait_caught_up()
    producer = Producer({"bootstrap.servers": one.target.bootstrap})
    for n in range(7):
        producer.produce(topic, b"foreign %d" % n, partition=0)
    assert producer.flush(10) == 0
    Load(source.bootstrap, topic, "plain", count=300, partition=0, seed=2, serial=1000).run()
    one.wait_caught_up()
    (event,) = one.events("target.foreign_write")
    assert json.loads(event["detail"])["offsets"] == 7
    assert status(one)["repeated_records"] == 0
    assert one.map().translate(topic, 0, 300) == 307


def test_a_filter_leaves_the_same_records_out(line, source):
    one = line(partitions=1, filter={"key": {"exclude": ["k*7"]}, "headers": {"trace": {"exclude": ["*3"]}}})
    topic = one.topics[0]
    for seed, kind in enumerate(["headers", "lz4", "transactional", "nulls"]):
        Load(source.bootstrap, topic, kind, count=1500, partition=0, seed=seed + 1).run()
    worker = one.worker("w1")
    for _ in range(3):
        time.sleep(random.uniform(0.2, 0.6))
        worker.kill9()
        worker.start()
    one.wait_caught_up()

    def belongs(record):
        key = record.key or b""
        if key.startswith(b"k") and key.endswith(b"7"):
            return False
        return not any(name == "trace" and (value or b"").endswith(b"3") for name, value in record.headers)

    with RawClient(source.bootstrap) as left, RawClient(one.target.bootstrap) as right:
        kept = [r for r in left.committed_records(topic, 0) if belongs(r)]
        there = list(right.committed_records(topic, 0))
    assert [r[1:] for r in there] == [r[1:] for r in kept]
    found = one.map()
    for record, copy in random.sample(list(zip(kept, there, strict=True)), 500):
        assert found.translate(topic, 0, record.offset) == copy.offset


def test_without_any_checkpoint_the_tail_is_found(line, source, redis_server):
    one = line(partitions=1)
    topic = one.topics[0]
    Load(source.bootstrap, topic, "lz4", count=3000, partition=0, seed=1).run()
    worker = one.worker("w1")
    one.wait_caught_up()
    assert worker.stop() == 0
    one.workers = []
    for key in redis_server.client.scan_iter(match=f"*{{{one.service}}}*"):
        redis_server.client.delete(key)
    one.target.admin.delete_consumer_groups([one.group])[one.group].result(30)
    Load(source.bootstrap, topic, "lz4", count=3000, partition=0, seed=2, serial=5000).run()
    one.worker("w2")
    one.wait_copied(topic, 0, 6000)
    one.wait_caught_up()
    assert no_loss(one) == 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_target_that_is_away_and_comes_back(own_sites, own, folder, name):
    source, target, redis = own_sites()
    source.create_topic("t", partitions=4)
    one = Line(own, folder, source, target, redis, name, ["t"], path="records")
    load = Load(source.bootstrap, "t", "lz4", count=60_000, partitions=4, rate=2_000).start()
    worker = one.worker("w1")
    one.wait_copied("t", 0, 500)
    for away_s in (1, 5.5, 10.5):
        target.broker(1).kill9()
        time.sleep(away_s)
        target.broker(1).start()
        wait_for("it to mirror again", lambda: one.mirroring(worker) == 4, 30)
        time.sleep(1)
    load.wait()
    one.wait_caught_up()
    assert status(one)["repeated_records"] == no_loss(one)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_worker_that_was_taken_for_dead(line, source):
    """SIGSTOP beyond the session: another one takes over, and the first wakes with records in its queues."""
    one = line()
    load = Load(source.bootstrap, one.topics[0], "lz4", count=120_000, partitions=4, rate=4_000).start()
    first = one.worker("w1")
    one.wait_copied(one.topics[0], 0, 500)
    second = one.worker("w2")
    one.wait_shared(4)
    first.sigstop()
    second.wait_metric("all partitions", lambda m: m.sum("ferry_link_partitions") == 4, 40)
    first.sigcont()
    load.wait()
    one.wait_caught_up()
    assert status(one)["repeated_records"] == no_loss(one)
