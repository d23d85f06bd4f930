"""The wire client on real brokers, compared with what a Python client of other people's code sees.

A small C program (drivers/wire_probe.c) is the client: metadata, every Fetch and Produce version that we speak,
offsets, epochs, producers, groups.
"""

import json
import subprocess
import time

import pytest
from confluent_kafka import Consumer

from rig.driver import DRIVERS
from rig.procs import wait_for
from rig.produce import Load, produce_all_kinds
from rig.wire import RawClient


@pytest.fixture
def probe():
    def run(cluster, *words, timeout=120):
        argv = [DRIVERS / "wire_probe", cluster.bootstrap, *map(str, words)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def walk(probe, cluster, topic, partition, level, version=0):
    """All batches of a partition, and the aborted lists of all answers."""
    at, out, aborted = 0, [], []
    while True:
        head, *batches = probe(cluster, "fetch", topic, partition, at, level, version)
        assert head["error"] == 0
        aborted += head["aborted"]
        out += [b for b in batches if b["next_offset"] > at]
        if not batches:
            return head, out, aborted
        at = batches[-1]["next_offset"]


def test_versions(probe, source):
    versions = {row["api"]: row["version"] for row in probe(source, "versions")}
    assert versions == {
        "Produce": 13,
        "Fetch": 16,
        "ListOffsets": 7,
        "Metadata": 12,
        "OffsetCommit": 9,
        "OffsetFetch": 9,
        "FindCoordinator": 4,
        "LeaveGroup": 5,
        "DescribeGroups": 5,
        "ListGroups": 5,
        "ApiVersions": 3,
        "OffsetForLeaderEpoch": 4,
        "DescribeProducers": 0,
        "InitProducerId": 2,
        "DescribeLogDirs": 4,
        "SaslHandshake": 1,
        "SaslAuthenticate": 2,
    }


def test_metadata(probe, source, name):
    source.create_topic(name, partitions=3)
    head, *rows = probe(source, "metadata")
    assert head == {"cluster_id": source.cluster_id, "brokers": 1}
    mine = [row for row in rows if row["topic"] == name]
    assert [row["partition"] for row in mine] == [0, 1, 2]
    assert {row["id"] for row in mine} == {source.topic_id(name)}
    assert all(row["leader"] == 1 and row["epoch"] == 0 for row in mine)
    assert {row["topic"] for row in rows} == set(source.topics())


@pytest.mark.parametrize("version", range(12, 17))
def test_fetch(probe, source, name, version):
    """Batches of every codec and kind, field by field; committed and not; each version."""
    source.create_topic(name)
    produce_all_kinds(source.bootstrap, name, 200, partitions=1)
    head, batches, aborted = walk(probe, source, name, 0, "committed", version)
    with RawClient(source.bootstrap) as raw:
        expected = list(raw.walk(name, 0))
        seen = raw.fetch(name, 0, 0, committed=True)
    assert len(batches) == len(expected)
    for ours, theirs in zip(batches, expected, strict=True):
        assert ours["base_offset"] == theirs.base_offset
        assert ours["next_offset"] == theirs.next_offset
        assert ours["count"] == theirs.count
        assert ours["attributes"] == theirs.attributes
        assert ours["producer_id"] == theirs.producer_id
        assert ours["producer_epoch"] == theirs.producer_epoch
        assert ours["base_sequence"] == theirs.base_sequence
        assert ours["base_timestamp"] == theirs.base_timestamp
        assert ours["max_timestamp"] == theirs.max_timestamp
        assert ours["bytes"] == theirs.size
        assert ours["crc_ok"]
        assert ours["records_crc"] == theirs.region_crc
    assert head["high_watermark"] == seen.high_watermark
    assert head["last_stable"] == seen.last_stable_offset
    assert {tuple(a) for a in aborted} == {tuple(a) for a in seen.aborted}
    assert aborted, "the transactional load aborts"
    _, again, none = walk(probe, source, name, 0, "uncommitted", version)
    assert again == batches
    assert none == []


def test_fetch_errors(probe, source, name):
    source.create_topic(name)
    Load(source.bootstrap, name, count=50).run()
    (head,) = probe(source, "fetch", name, 0, 10_000, "committed")
    assert head["error"] == 1  # OFFSET_OUT_OF_RANGE
    (head,) = probe(source, "fetch", name, 0, 0, "committed", 16, 5, -1)
    assert head["error"] == 75  # UNKNOWN_LEADER_EPOCH: ours is newer than the leader's


def test_diverging_epoch(probe, new_cluster, name):
    """A leader whose log ends earlier in the epoch that we read in says where the two part (KIP-320)."""
    cluster = new_cluster("alone")
    cluster.create_topic(name)
    for _ in range(4):  # a batch each
        Load(cluster.bootstrap, name, count=50).run()
    end = cluster.offsets(name)[0]
    broker = cluster.broker(1)
    broker.stop()
    cut = broker.truncate(name, 0, end // 2)
    assert 0 < cut < end
    broker.start()
    cluster.wait_offsets(name, {0: cut})
    Load(cluster.bootstrap, name, count=50).run()
    with RawClient(cluster.bootstrap) as raw:
        epochs = [batch.leader_epoch for batch in raw.walk(name, 0)]
    assert epochs[0] < epochs[-1]
    assert probe(cluster, "epoch", name, 0, epochs[0]) == [{"error": 0, "epoch": epochs[0], "end": cut}]
    head, *_ = probe(cluster, "fetch", name, 0, end, "committed", 16, epochs[-1], epochs[0])
    assert head["diverging"]
    assert (head["diverging_epoch"], head["diverging_end"]) == (epochs[0], cut)


def test_offsets_and_epochs(probe, source, name):
    source.create_topic(name)
    Load(source.bootstrap, name, count=400, kind="transactional").run()
    for which, spec, committed in (
        ("earliest", "begin", False),
        ("latest", "end", False),
        ("committed", "end", True),
    ):
        (row,) = probe(source, "offset", name, 0, which)
        assert row["error"] == 0
        assert row["offset"] == source.offsets(name, spec=spec, committed=committed)[0]
    with RawClient(source.bootstrap) as raw:
        expected = raw.epoch_end(name, 0, 0)
    (row,) = probe(source, "epoch", name, 0, 0)
    assert (row["error"], row["epoch"], row["end"]) == (0, *expected)
    (row,) = probe(source, "epoch", name, 0, 77)
    assert (row["error"], row["epoch"], row["end"]) == (0, -1, -1)


@pytest.mark.parametrize("version", range(9, 14))
def test_copy(probe, source, target, name, version):
    """Committed batches, patched, under a producer id of our choice: the same records, once, in order."""
    producer_id = 0x4665_0000_0000_0000 + int(time.time_ns()) % 2**40
    source.create_topic(name)
    target.create_topic(name, config={"message.timestamp.after.max.ms": 2**63 - 1})
    produce_all_kinds(source.bootstrap, name, 300, partitions=1)
    with RawClient(source.bootstrap) as raw:
        expected = list(raw.committed_records(name, 0))
    (done,) = probe(source, "copy", name, 0, target.bootstrap, name, 0, producer_id, version)
    assert done["records"] == len(expected)
    with RawClient(target.bootstrap) as raw:
        copied = list(raw.committed_records(name, 0))
        batches = list(raw.walk(name, 0))
        states = raw.producers(name, 0)
    assert [r.offset for r in copied] == list(range(len(expected)))
    assert all(a.same(b) for a, b in zip(expected, copied, strict=True))
    assert {b.producer_id for b in batches} == {producer_id}
    assert all(b.crc_ok and b.producer_epoch == 0 and not b.transactional for b in batches)
    assert [b.base_sequence for b in batches] == [b.base_offset for b in batches]
    assert [(s.producer_id, s.epoch, s.last_sequence) for s in states] == [(producer_id, 0, len(expected) - 1)]
    (ours,) = probe(target, "producers", name, 0)
    assert (ours["producer_id"], ours["epoch"], ours["last_sequence"]) == (producer_id, 0, len(expected) - 1)
    assert ours["last_timestamp"] == states[0].last_timestamp


def test_groups(probe, source, name):
    source.create_topic(name)
    group = f"group-{name}"
    rows = probe(source, "coordinator", group)
    assert [row["version"] for row in rows] == [3, 4]
    assert all(row["error"] == 0 and row["broker"] == 1 for row in rows)
    assert {f"{row['host']}:{row['port']}" for row in rows} == {source.bootstrap}
    settings = {"bootstrap.servers": source.bootstrap, "group.id": group, "group.instance.id": "worker-1"}
    consumer = Consumer(settings | {"session.timeout.ms": 30000, "auto.offset.reset": "earliest"})
    consumer.subscribe([name])

    def assigned():
        consumer.poll(0.1)
        return consumer.assignment()

    wait_for("an assignment", assigned)
    assert members(source, group) == ["worker-1"]
    *_, left = probe(source, "leave", group, "worker-1")
    assert left == {"left": "NONE"}
    assert members(source, group) == []
    *_, left = probe(source, "leave", group, "worker-1")
    assert left == {"left": "UNKNOWN_MEMBER_ID"}
    consumer.close()


def members(cluster, group):
    described = cluster.admin.describe_consumer_groups([group])[group].result(20)
    return [member.group_instance_id for member in described.members]
