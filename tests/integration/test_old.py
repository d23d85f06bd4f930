"""Kafka before 2.8, in ZooKeeper mode, over path `records`: docs/records.md."""


import pytest

from rig.kafka import KafkaCluster
from rig.line import Line
from rig.oldkafka import OldCluster
from rig.produce import KINDS, Load, produce_all_kinds


@pytest.fixture
def old_line(own, folder, redis_server, name):
    """A line of a test's own clusters, each (version or None for today's), with what mirrors `t`."""

    def make(source, target, partitions=4, **more):
        sites = [
            KafkaCluster(site, workdir=folder / "kafka") if isinstance(version, type(None)) else version
            for site, version in (("source", source), ("target", target))
        ]
        sites = [
            OldCluster(site, one, workdir=folder / "kafka") if isinstance(one, str) else one
            for site, one in zip(("source", "target"), sites, strict=True)
        ]
        for site in sites:
            if not site.broker(1).alive:
                own(site.start())
        sites[0].create_topic("t", partitions=partitions)
        return Line(own, folder, *sites, redis_server, name, ["t"], **{"path": "records"} | more)

    return make


def status(one):
    (link,) = one.command.status(one.service)["services"][0]["links"]
    return link


def test_a_source_of_kafka_2_3(old_line, target):
    """The oldest that has static members: every kind of record, once, in order, and found by the map."""
    one = old_line("2.3.1", target)
    produce_all_kinds(one.source.bootstrap, "t", 300, 4, kinds=[k for k in KINDS if k != "stamps"])
    worker = one.worker("w1")
    one.wait_caught_up()
    worker.kill9()
    worker.start()
    Load(one.source.bootstrap, "t", "lz4", count=500, partitions=4, seed=9, serial=50_000).run()
    one.wait_caught_up()
    one.prove()
    assert status(one)["repeated_records"] == 0
