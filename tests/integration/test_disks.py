"""Disks are full: of a target's broker, of the source's, of Redis. What lies on them waits and says why, what does not
goes on, and when there is room again nothing is lost or doubled."""

import contextlib
import time

import pytest
from confluent_kafka import KafkaException, Producer

from rig.disk import Disk
from rig.kafka import KafkaCluster, start_together
from rig.line import Line
from rig.procs import wait_for
from rig.produce import Load

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.root,
]

PARTITIONS = 2
MIB = 24


@pytest.fixture
def disk(own, folder):
    return own(Disk(folder / "disk", MIB)).__enter__()


def on_the_disk(cluster, broker, disk, topic, **how):
    """A topic whose replica of that broker lies on the disk; what was there before, internal topics too, does not."""
    one = cluster.broker(broker)
    one.stop()
    one.add_disk(disk)
    one.start()
    wait_for("the broker to be back", lambda: len(cluster.metadata().brokers) == len(cluster.brokers), 30)
    cluster.create_topic(topic, **how)
    wait_for("its log", lambda: (disk.seen / f"{topic}-0").exists(), 10)


def status_text(line):
    """What `ferry status` says, without its line ends."""
    return " ".join(line.command.run("status", line.service).stdout.split())


def wait_told(line):
    """Status says of each partition of the topic on the disk why it does not go on."""
    why = "log directories failed"
    wait_for("status to say why", lambda: status_text(line).count(why) == PARTITIONS, 30, every=0.5)


def longest_stall(cluster, topic, seconds):
    """How long a topic did not grow, at most, while we watched so many seconds."""
    began = last = time.monotonic()
    before, longest = sum(cluster.offsets(topic).values()), 0.0
    while time.monotonic() - began < seconds:
        time.sleep(0.05)
        with contextlib.suppress(KafkaException):  # nobody leads it
            now = sum(cluster.offsets(topic).values())
            if now > before:
                before, last = now, time.monotonic()
        longest = max(longest, time.monotonic() - last)
    return longest


def rows_of(worker, topic):
    """Of the log, those that name the topic: a try every 5 s at least would leave one for each of its partitions."""
    return [row for row in worker.events() if f"topic={topic} " in row]


def lag(worker, topic):
    """{partition: records, None = unknown} of a topic, by the worker's metrics."""
    rows = worker.metrics().all("ferry_partition_lag_records", topic=topic)
    return {int(labels["partition"]): None if value != value else value for labels, value in rows}


def test_a_full_disk_at_the_target(own, folder, disk, new_redis, name):
    """S26: one of two log folders of the only broker fails (KAFKA_STORAGE_ERROR, then no leader): its partitions wait
    and say why, once, their lag grows or is unknown; the others do not notice; with room and the broker restarted they
    go on."""
    source = own(KafkaCluster("source", workdir=folder))
    target = own(KafkaCluster("target", workdir=folder, place=disk))
    start_together(source, target)
    for cluster in (source, target):
        cluster.warm_coordinators()
    well, struck = f"{name}.well", f"{name}.struck"
    for topic in (well, struck):
        source.create_topic(topic, partitions=PARTITIONS)
    line = Line(own, folder, source, target, new_redis(), name, [well, struck])
    target.create_topic(well, partitions=PARTITIONS)
    on_the_disk(target, 1, disk, struck, partitions=PARTITIONS)
    loads = [
        Load(source.bootstrap, topic, kind, count=None, partitions=PARTITIONS, rate=300).start()
        for topic, kind in ((well, "lz4"), (struck, "transactional"))
    ]
    worker = line.worker("w1")
    for topic in (well, struck):
        line.wait_copied(topic, 0, 200)

    disk.fill()
    wait_for("the broker to say it", lambda: "KAFKA_STORAGE_ERROR" in worker.process.log_text(), 30)
    wait_told(line)
    assert longest_stall(target, well, 5) < 2
    assert line.command.run("status", name, "--check").returncode != 0
    assert all(value is None or value > 0 for value in lag(worker, struck).values())
    assert all(value is not None and value < 1000 for value in lag(worker, well).values())
    told = rows_of(worker, struck)
    assert longest_stall(target, well, 15) < 2
    assert rows_of(worker, struck) == told, "what stays as it is is told once"

    disk.empty()
    target.broker(1).restart()
    for load in loads:
        load.stop()
    line.wait_caught_up(timeout=60)
    line.prove()
    wait_for("status to be well", lambda: line.command.run("status", name, "--check").returncode == 0, 20)


def test_a_full_disk_under_a_replicated_target(own, folder, disk, new_redis, name):
    """S26: the leader's log folder fails and another replica takes over: the partition goes on by itself."""
    source = own(KafkaCluster("source", workdir=folder))
    target = own(KafkaCluster("target", workdir=folder, place=disk, brokers=2))
    start_together(source, target)
    for cluster in (source, target):
        cluster.warm_coordinators()
    topic = source.create_topic(f"{name}.t", partitions=PARTITIONS)
    line = Line(own, folder, source, target, new_redis(), name, [topic])
    on_the_disk(target, 2, disk, topic, partitions=PARTITIONS, assignment=[[2, 1]] * PARTITIONS)
    load = Load(source.bootstrap, topic, "lz4", count=None, partitions=PARTITIONS, rate=300).start()
    line.worker("w1")
    line.wait_copied(topic, 0, 200)

    disk.fill()
    longest = longest_stall(target, topic, 12)
    print(f"\nstood still for {longest:.1f} s")
    assert longest < 8
    assert target.metadata(topic).topics[topic].partitions[0].leader == 1
    disk.empty()
    target.broker(2).restart()
    load.stop()
    line.wait_caught_up(timeout=60)
    line.prove()


def test_a_full_disk_at_the_source(own, folder, disk, new_redis, name):
    """S23, S26: one of two log folders of the source's only broker fails: what was written there cannot be read, which
    status says, its lag is unknown; the others do not notice; afterwards it goes on where it was."""
    source = own(KafkaCluster("source", workdir=folder, place=disk))
    target = own(KafkaCluster("target", workdir=folder))
    start_together(source, target)
    for cluster in (source, target):
        cluster.warm_coordinators()
    well, struck = f"{name}.well", f"{name}.struck"
    source.create_topic(well, partitions=PARTITIONS)
    on_the_disk(source, 1, disk, struck, partitions=PARTITIONS)
    line = Line(own, folder, source, target, new_redis(), name, [well, struck])
    Load(source.bootstrap, struck, "lz4", count=1000, partitions=PARTITIONS).run()
    load = Load(source.bootstrap, well, "plain", count=None, partitions=PARTITIONS, rate=300).start()
    worker = line.worker("w1")
    line.wait_copied(well, 0, 200)
    line.wait_copied(struck, PARTITIONS - 1, 500)

    disk.fill()
    producer = Producer({"bootstrap.servers": source.bootstrap, "message.timeout.ms": 5000, "log_level": 2})
    producer.produce(struck, b"does not fit", partition=0)
    producer.flush(10)
    wait_told(line)
    assert longest_stall(target, well, 5) < 2
    assert line.command.run("status", name, "--check").returncode != 0
    assert all(value is None for value in lag(worker, struck).values())
    told = rows_of(worker, struck)
    assert longest_stall(target, well, 10) < 2
    assert rows_of(worker, struck) == told, "what stays as it is is told once"

    disk.empty()
    load.stop()
    source.broker(1).restart()
    wait_for("the partitions to be led", lambda: source.offsets(struck)[0] >= 500, 30, not_yet=(KafkaException,))
    Load(source.bootstrap, struck, "lz4", count=1000, partitions=PARTITIONS, seed=2, serial=5000).run()
    line.wait_caught_up(timeout=60)
    line.prove()
    wait_for("status to be well", lambda: line.command.run("status", name, "--check").returncode == 0, 20)


def test_a_full_disk_under_redis(own, folder, disk, source, target, new_redis, name):
    """S33: Redis refuses every write (MISCONF) while its disk is full: mirroring goes on, log, status, top, readiness
    and metrics say what Redis says, and the map is whole when there is room again."""
    redis = new_redis(persistent=True, disk=disk)
    topic = source.create_topic(f"{name}.t", partitions=PARTITIONS)
    line = Line(own, folder, source, target, redis, name, [topic])
    load = Load(source.bootstrap, topic, "transactional", count=None, partitions=PARTITIONS, rate=500).start()
    worker = line.worker("w1")
    line.wait_copied(topic, 0, 300)
    disk.fill()
    worker.wait_said("MISCONF", "INFO persistence", event="map.away")
    wait_for("status to say what Redis says", lambda: "MISCONF" in status_text(line), 20, every=0.5)
    assert longest_stall(target, topic, 5) < 2
    assert line.command.run("status", name, "--check").returncode != 0
    assert worker.metrics().get("ferry_map_ready") == 0
    status, ready = worker.get("/readyz")
    assert status == 503 and "MISCONF" in ready
    top = line.command.run("top", name, "-n", "1").stdout
    assert "MISCONF" in top and "start ferryd" not in top
    assert len(worker.events("map.away")) == 1, "what stays as it is is told once"
    disk.empty()
    load.stop()
    line.wait_caught_up()
    line.prove()
    wait_for("status to be well", lambda: line.command.run("status", name, "--check").returncode == 0, 20)
