"""Kafka before 2.8, in ZooKeeper mode, over path `records`: docs/records.md, docs/adr/0019."""

import random
import time

import pytest
from confluent_kafka import KafkaException, Producer

from rig.groups import Member, commit, committed, record_at
from rig.line import Line
from rig.oldkafka import OLDEST, OldCluster
from rig.procs import wait_for
from rig.produce import KINDS, Load, produce_all_kinds
from rig.verify import compare


@pytest.fixture
def old_line(own, folder, source, target, redis_server, name):
    """A line of one topic between clusters: a version in ZooKeeper mode, or None for the session's."""
    today = {"source": source, "target": target}

    def site(label, version):
        return own(OldCluster(label, version, workdir=folder).start()) if version else today[label]

    def make(source_version, target_version, partitions=4, **more):
        sites = [site("source", source_version), site("target", target_version)]
        topic = sites[0].create_topic(f"{name}.t", partitions=partitions)
        one = Line(own, folder, *sites, redis_server, name, [topic], **{"path": "records"} | more)
        one.topic = topic
        return one

    return make


def status(one):
    (link,) = one.command.status(one.service)["services"][0]["links"]
    return link


def no_loss(one):
    """Every record is there, in order but for repeats; how many stand there again."""
    result = compare(one.source.bootstrap, one.target.bootstrap, one.topics)
    bad = [finding for finding in result.findings if finding.kind != "doubled"]
    assert not bad, result.text()
    return result.target_records - result.records


def group_at(one, group, where, timeout=30):
    """Commits of a group at the source come to the target, and mean the same record there."""
    wait_for(f"{group} at the target", lambda: where in committed(one.target, group), timeout, every=0.2)
    at_source, at_target = committed(one.source, group)[where], committed(one.target, group)[where]
    assert at_target == one.map().translate(*where, at_source)
    assert record_at(one.target, *where, at_target) == record_at(one.source, *where, at_source)


def same_record(one, topic, partition, offset):
    """What Ferry says of a source offset, by content: the first record that a reader meets from there on."""
    said = one.command.translate(one.service, topic, partition, offset)
    assert said["verdict"] in ("exact", "rounded"), said
    assert record_at(one.target, topic, partition, said["target_offset"]) == record_at(
        one.source, topic, partition, offset
    )


def storm(one, rounds=5):
    loads = [
        Load(one.source.bootstrap, one.topic, kind, count=count, partitions=4, rate=rate, seed=seed).start()
        for seed, (kind, count, rate) in enumerate([("transactional", 6_000, 1500), ("lz4", 30_000, 6000)], 1)
    ]
    worker = one.worker("w1")
    for _ in range(rounds):
        time.sleep(random.uniform(0.3, 1.2))
        worker.kill9()
        worker.start()
    for load in loads:
        load.wait()
    one.wait_caught_up()
    repeats = no_loss(one)
    assert status(one)["repeated_records"] == repeats
    return worker


def test_a_source_of_kafka_2_3(old_line):
    """ApiVersions 0, no ids, one group a request: every kind of record, once, in order; the map and the groups."""
    one = old_line(OLDEST, None)
    produce_all_kinds(one.source.bootstrap, one.topic, 300, 4, kinds=[k for k in KINDS if k != "stamps"])
    commit(one.source, f"{one.service}.billing", {(one.topic, 1): 200})
    worker = one.worker("w1")
    one.wait_caught_up()
    worker.kill9()
    worker.start()
    Load(one.source.bootstrap, one.topic, "lz4", count=500, partitions=4, seed=9, serial=50_000).run()
    one.wait_caught_up()
    one.prove()
    group_at(one, f"{one.service}.billing", (one.topic, 1))
    assert status(one)["repeated_records"] == 0


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("old_source", "old_target"), [("2.6.3", None), (None, "2.6.3"), ("2.3.1", "2.3.1"), ("2.2.2", None)]
)
def test_a_storm_of_kills(old_line, old_source, old_target):
    """Nothing is lost, and what was repeated is what status says, with an old cluster on either side."""
    one = old_line(old_source, old_target)
    storm(one)
    commit(one.source, f"{one.service}.billing", {(one.topic, 2): 1000})
    group_at(one, f"{one.service}.billing", (one.topic, 2))
    with Member(one.target, f"{one.service}.audit", [one.topic]) as member:
        member.wait_assigned()
        commit(one.source, f"{one.service}.audit", {(one.topic, 0): 500})
        time.sleep(3)
        assert (one.topic, 0) not in committed(one.target, f"{one.service}.audit"), (
            "its members at the target have their own say"
        )
    group_at(one, f"{one.service}.audit", (one.topic, 0))
    translated = one.command.translate(one.service, one.topic, 2, 1000)
    assert translated["target_offset"] == one.map().translate(one.topic, 2, 1000)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", ["batches", "records"])
def test_both_sides_of_kafka_3(old_line, path):
    """The last that runs in ZooKeeper mode."""
    one = old_line("3.9.1", "3.9.1", path=path)
    worker = storm(one)
    one.prove()
    assert "assert" not in worker.process.log_text().lower()


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("old_source", "old_target"), [("2.6.3", None), (None, "2.6.3")])
def test_batches_are_refused_by_name(old_line, old_source, old_target):
    one = old_line(old_source, old_target, path="batches", partitions=1)
    Load(one.source.bootstrap, one.topic, "plain", count=100, seed=1).run()
    worker = one.worker("w1")
    worker.wait_event("partition.stalled")
    said = worker.process.log_text()
    assert "is older than Kafka 2.8: path batches does not serve it" in said
    done = one.command.run("check", one.service)
    assert done.returncode == 3
    assert "older than Kafka 2.8" in done.stdout and '"path": "records"' in done.stdout


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["switchover", "failover"])
def test_a_service_moves_between_old_clusters(old_line, kind):
    """Fence, proof, role, offsets: nothing of a move needs more than Kafka 2.3 has."""
    one = old_line("2.6.3", "2.3.1")
    worker = one.worker("w1")
    Load(one.source.bootstrap, one.topic, "lz4", count=2000, partitions=4, seed=1).run()
    one.wait_caught_up()
    group = f"{one.service}.billing"
    commit(one.source, group, {(one.topic, 1): 100, (one.topic, 2): 200})
    group_at(one, group, (one.topic, 2))
    how = ["--force", "source"]  # nobody writes there any more
    if kind == "failover":
        one.source.broker(1).kill9()
        how = ["--allow-loss", "unknown"]
    done = one.command.run(kind, one.service, "--yes", *how, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "groups have members" not in done.stdout + done.stderr
    assert {where: at for where, at in committed(one.target, group).items()} == {
        (one.topic, p): one.map().translate(one.topic, p, at) for p, at in ((1, 100), (2, 200))
    }
    wait_for("the workers to stand still", lambda: one.mirroring(worker) == 0, 20)
    ends = one.target.offsets(one.topic)
    producer = Producer({"bootstrap.servers": one.target.bootstrap})
    producer.produce(one.topic, b"the first of its own", partition=0)
    assert producer.flush(20) == 0
    assert one.target.offsets(one.topic) == ends | {0: ends[0] + 1}


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("old_source", "old_target", "why"),
    [
        ("2.2.2", None, "the source speaks Fetch 10 and Metadata 7, batches needs 12 and 10 (Kafka 2.8)"),
        (None, "2.6.3", "does not offer DescribeProducers"),
    ],
)
def test_auto_takes_records_and_says_why(old_line, old_source, old_target, why):
    one = old_line(old_source, old_target, path="auto", enable=False)
    (link,) = one.command.json("enable", one.service, "--yes")["links"]
    assert link["path"] == "records" and why in link["path_why"], link
    Load(one.source.bootstrap, one.topic, "lz4", count=400, partitions=4, seed=1).run()
    worker = one.worker("w1")
    one.wait_caught_up()
    one.prove()
    (event,) = worker.wait_event("link.path")
    assert " path=records configured=auto " in event and why in event
    said = status(one)
    assert (said["path"], said["path_auto"]) == ("records", True) and why in said["path_why"]
    checked = " ".join(one.command.run("check", one.service).stdout.split())
    assert why in checked and checked.count("older than Kafka 2.8") == 1, checked


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_target_without_static_members_is_refused_by_name(old_line):
    one = old_line(None, "2.2.2", partitions=1)
    Load(one.source.bootstrap, one.topic, "plain", count=100, seed=1).run()
    worker = one.worker("w1")
    worker.wait_event("partition.stalled")
    assert "is older than Kafka 2.3: its groups know no static members" in worker.process.log_text()
    done = one.command.run("check", one.service)
    assert done.returncode == 3 and "older than Kafka 2.3" in done.stdout
    assert sum(one.target.offsets(one.topic).values()) == 0


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_topic_that_gets_its_id_is_the_same(old_line):
    """A real upgrade, 2.7 to 3.9, same disks and ZooKeeper: an id stands where the name had to do. No fault, no repeat;
    what was mapped before still is. From then on a topic that is created again is known by its id."""
    one = old_line("2.7.2", None)
    Load(one.source.bootstrap, one.topic, "transactional", count=2000, partitions=4, transaction=7, seed=1).run()
    worker = one.worker("w1")
    one.wait_caught_up()
    before = one.checkpoint(one.topic, 1)
    commit(one.source, f"{one.service}.billing", {(one.topic, 1): 150})
    group_at(one, f"{one.service}.billing", (one.topic, 1))
    one.source.upgrade("3.9.1", **{"inter.broker.protocol.version": "2.7"})
    Load(one.source.bootstrap, one.topic, "lz4", count=2000, partitions=4, seed=2, serial=10_000).run()
    one.wait_caught_up()
    assert one.source.topic_id(one.topic) == "0" * 32, "new brokers, no ids yet"
    one.source.upgrade("3.9.1", **{"inter.broker.protocol.version": "3.9"})
    wait_for(
        "the topic to have an id",
        lambda: one.source.topic_id(one.topic) != "0" * 32,
        30,
        every=0.2,
        not_yet=(KafkaException,),
    )
    Load(one.source.bootstrap, one.topic, "lz4", count=2000, partitions=4, seed=3, serial=20_000).run()
    one.wait_caught_up()
    wait_for(
        "checkpoints with it",
        lambda: one.checkpoint(one.topic, 1).source_topic_id == one.source.topic_id(one.topic),
        30,
    )
    assert no_loss(one) == 0
    assert one.checkpoint(one.topic, 1).generation == before.generation
    assert one.fault(one.topic, 1) is None and status(one)["repeated_records"] == 0
    for offset in (150, before.source_next - 20, before.source_next + 20, before.source_next + 600):
        same_record(one, one.topic, 1, offset)
    commit(one.source, f"{one.service}.billing", {(one.topic, 1): 160})
    place = one.command.translate(one.service, one.topic, 1, 160)["target_offset"]
    wait_for("it to follow", lambda: committed(one.target, f"{one.service}.billing")[one.topic, 1] == place, 20)
    worker.stop()
    one.workers = []
    make_again(one, partitions=4)
    one.worker("w2")
    one.wait_fault("source-recreated", one.topic, 1)


def make_again(one, partitions):
    one.source.delete_topic(one.topic)
    wait_for(
        "its name to be free",
        lambda: one.source.create_topic(one.topic, partitions=partitions),
        30,
        every=0.2,
        not_yet=(KafkaException,),
    )


def fill(one, count, text):
    producer = Producer({"bootstrap.servers": one.source.bootstrap})
    for n in range(count):
        producer.produce(one.topic, f"{text} {n}".encode(), partition=0)
    assert producer.flush(20) == 0


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", [1500, 300])
def test_a_topic_made_again_without_ids_is_noticed_by_its_log(old_line, count):
    """While nobody mirrors: longer than before, with other records, or shorter."""
    one = old_line("2.6.3", None, partitions=1)
    fill(one, 1000, "first")
    worker = one.worker("w1")
    one.wait_caught_up()
    assert worker.stop() == 0
    one.workers = []
    make_again(one, partitions=1)
    fill(one, count, "second")
    one.worker("w2")
    one.wait_fault("source-recreated", one.topic, 0, timeout=60)
    assert one.target.offsets(one.topic)[0] == 1000
