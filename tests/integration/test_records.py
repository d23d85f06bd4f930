"""The path `records`: librdkafka carries each record, and the target's tail is known by its content (docs/records.md)."""

import random
import time

import pytest

from rig.line import Line
from rig.procs import wait_for
from rig.produce import KINDS, Load, produce_all_kinds
from rig.verify import compare
from rig.wire import RawClient


@pytest.fixture
def own_sites(new_cluster, new_redis):
    def make(source_brokers=1, target_brokers=1, source_props=None, target_props=None):
        source = new_cluster("src", brokers=source_brokers, props=source_props)
        target = new_cluster("dst", brokers=target_brokers, props=target_props)
        target.warm_coordinators()
        return source, target, new_redis()

    return make


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
    produce_all_kinds(source.bootstrap, one.topics[0], 1500, 4, kinds=[k for k in KINDS if k != "stamps"])
    one.worker("w1")
    one.wait_caught_up()
    result = one.prove()
    assert result.records > 10_000
    with RawClient(one.target.bootstrap) as raw:
        batches = list(raw.walk(one.topics[0], 0))
    assert not any(b.transactional or b.control for b in batches)
    assert all(0 <= b.producer_id < 1 << 47 for b in batches), "librdkafka's own producer, idempotent"
