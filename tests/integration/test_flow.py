"""Far lines, a partition that is stuck beside healthy ones, rate limits."""

import itertools
import os
import threading
import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from rig import netns
from rig.kafka import KafkaCluster, start_together
from rig.line import Line
from rig.procs import wait_for
from rig.produce import Load
from rig.verify import compare

MB = 1_000_000


def preload(cluster, topic, megabytes, partitions, batch_bytes=16384):
    """Records of 1,000 bytes that nothing compresses, in batches of the default size, all partitions alike."""
    producer = Producer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "batch.size": batch_bytes,
            "linger.ms": 50,
            "queue.buffering.max.kbytes": 262144,
            "acks": "all",
        }
    )
    values = [os.urandom(1000) for _ in range(200)]
    for n in range(megabytes * 1000):
        while True:
            try:
                producer.produce(topic, value=values[n % 200], partition=n % partitions)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush(120)
    return megabytes * 1000


# -- far lines -------------------------------------------------------------------------------------------------------


def far_brokers(name, folder, own, place):
    """Three brokers as whoever sets up a line between regions has them: the kernel sizes the sockets' buffers."""
    props = {"socket.send.buffer.bytes": -1, "socket.receive.buffer.bytes": -1}
    return own(KafkaCluster(name, brokers=3, workdir=folder, place=place, props=props, heap="384m", measured=True))


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.root
@pytest.mark.parametrize("near", ["target", "source"])
def test_a_far_line_is_filled(own, folder, near):
    """80 ms there and back, three brokers a side, RF 3, 8 partitions, batches of 16 KiB; ferryd at either end. The
    brokers of both ends have worked before: what a JVM still compiles would be counted as the line's."""
    wide, megabytes = float(os.environ.get("FAR_MB_S", 20)) * MB, int(os.environ.get("FAR_MB", 300))
    far = own(netns.FarLine(40, wide)).__enter__()
    source, target = start_together(
        far_brokers("source", folder, own, far.a), far_brokers("target", folder, own, far.b)
    )
    for cluster in (source, target):
        cluster.warm_coordinators()
    topic = source.create_topic("far", partitions=8)
    records = preload(source, topic, megabytes, 8)
    target.create_topic("warm", partitions=8)
    preload(target, "warm", megabytes // 2, 8)
    line = Line(own, folder, source, target, None, "far", [topic])
    worker = line.worker("w1", place=far.b if near == "target" else far.a)
    worker.wait_ready()
    rows, limits = [], set()
    while not rows or rows[-1][1] < records:
        time.sleep(0.2)
        metrics = worker.metrics()
        rows.append((time.monotonic(), metrics.sum("ferry_link_records_total"), metrics.sum("ferry_link_bytes_total")))
        limits |= {labels["by"] for labels, n in metrics.all("ferry_link_limited_partitions") if n > 0}
        worker.process.check()
    # All eight flow: towards the end the first are done, and each alone has `partition_fetch` a round trip.
    first, last = (next(row for row in rows if row[1] >= records * share) for share in (0.2, 0.7))
    rate = (last[2] - first[2]) / (last[0] - first[0])
    tenths = [next(row for row in rows if row[1] >= records * share / 10) for share in range(11)]
    course = [(b[2] - a[2]) / max(b[0] - a[0], 0.1) / MB for a, b in itertools.pairwise(tenths)]
    cpu = worker.process.cpu_seconds() / (rows[-1][2] / 1e9)
    print(
        f"\nfar line, ferryd near the {near}: {rate / MB:.1f} MB/s of {wide / MB:.0f} "
        f"({rate / wide:.0%}), {cpu:.2f} CPU-s/GB, limited by {sorted(limits)}; "
        f"MB/s by tenths: {' '.join(f'{r:.1f}' for r in course)}"
    )
    assert rate >= min(60 * MB, 0.9 * wide), f"{rate / MB:.1f} MB/s of {wide / MB:.0f}"
    assert compare(source.bootstrap, target.bootstrap, [topic]).ok


# -- a stuck partition -----------------------------------------------------------------------------------------------


class Latencies:
    """Reads partitions of the target as they grow: seconds from the producer's clock to a consumer there."""

    def __init__(self, cluster, topic, partitions):
        self.consumer = Consumer(
            {"bootstrap.servers": cluster.bootstrap, "group.id": "latencies", "fetch.wait.max.ms": 20}
        )
        self.consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
        self.rows = []
        self.over = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over:
            for message in self.consumer.consume(500, 0.02):
                if message.error() is None:
                    self.rows.append(time.time() - message.timestamp()[1] / 1000)

    def take(self):
        rows, self.rows = sorted(self.rows), []
        assert len(rows) > 500, "too few records to say anything"
        return {"p50": rows[len(rows) // 2], "p99": rows[len(rows) * 99 // 100], "max": rows[-1]}

    def stop(self):
        self.over = True
        self.thread.join()
        self.consumer.close()


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_stuck_partition_stops_no_neighbour(own, folder, source, redis_server, name):
    """One partition's follower hangs, so that nothing of it is acknowledged; seven others share its leader and its
    connection. They go on; the stuck one waits apart, and comes back beside them when it flows again."""
    late = 120_000
    props = {"offsets.topic.replication.factor": 2, "transaction.state.log.replication.factor": 2}
    props |= {"replica.lag.time.max.ms": late, "broker.session.timeout.ms": late}
    target = own(KafkaCluster("stuck", brokers=3, controllers=1, workdir=folder, props=props))
    for n in (1, 2):  # what ferry's own writes need stands on these two
        target.broker(n).start()
    target.warm_coordinators()
    target.create_topic(f"ferry.control.{name}", assignment=[[1, 2]], config={"cleanup.policy": "compact"})
    target.broker(3).start()
    topic = f"{name}.t"
    source.create_topic(topic, partitions=8)
    wait_for("the third broker", lambda: len(target.metadata().brokers) == 3, 30)
    target.create_topic(topic, partitions=8, assignment=[[1, 3]] + [[1, 2]] * 7, config={"min.insync.replicas": 2})
    line = Line(own, folder, source, target, redis_server, name, [topic])
    worker = line.worker("w1")
    load = Load(source.bootstrap, topic, "plain", count=None, partitions=8, rate=400, linger_ms=20).start()
    line.wait_copied(topic, 1, 200)
    seen = Latencies(target, topic, range(1, 8))
    time.sleep(5)
    seen.take()
    time.sleep(15)
    calm = seen.take()
    target.broker(3).sigstop()
    time.sleep(10)
    hit = seen.take()
    time.sleep(30)
    stuck = seen.take()
    before = target.offsets(topic, 1)[0]
    print(f"\nseconds from producer to consumer, calm {calm}, when it sticks {hit}, beside it {stuck}")
    assert target.offsets(topic, 1)[0] == before, "nothing was stuck"
    target.broker(3).sigcont()
    worker.wait_metric("on the slow connection", lambda m: m.sum("ferry_link_slow_partitions") == 1, 30)
    wait_for("the stuck one to flow", lambda: target.offsets(topic, 1)[0] > before + 100, 30)
    worker.wait_metric("back beside the others", lambda m: m.sum("ferry_link_slow_partitions") == 0, 30)
    load.stop()
    seen.stop()
    line.wait_caught_up()
    line.prove()
    assert stuck["p99"] <= calm["p99"] * 2 + 0.05
    assert hit["max"] < 8, "neighbours waited for longer than it takes to see what blocks them, and to resume"


# -- rate limits -----------------------------------------------------------------------------------------------------


@pytest.fixture
def line(own, folder, source, target, redis_server, name):
    def make(partitions=4, **more):
        topic = source.create_topic(f"{name}.t", partitions=partitions)
        return Line(own, folder, source, target, redis_server, name, [topic], **more)

    return make


def copied_bytes(workers):
    return sum(worker.metrics().sum("ferry_link_bytes_total") for worker in workers)


def rate_over(workers, seconds):
    began, before = time.monotonic(), copied_bytes(workers)
    time.sleep(seconds)
    return (copied_bytes(workers) - before) / (time.monotonic() - began)


def test_the_first_copy_keeps_its_limit_and_what_follows_has_its_own(line, source, target):
    one = line(limits={"initial": "2MiB", "steady": 0})
    limit, topic = 2 << 20, one.topics[0]
    preload(source, topic, 16, 4)
    worker = one.worker("w1", wait=True)
    worker.wait_metric("the copy to begin", lambda m: m.sum("ferry_link_bytes_total") > limit)
    rate = rate_over([worker], 4)
    offsets = list(target.offsets(topic).values())
    status = one.command.status(one.service)
    assert 0.85 * limit < rate < 1.1 * limit, f"{rate / MB:.2f} MB/s"
    assert min(offsets) > 0.6 * max(offsets), f"one partition has more of the limit than another: {offsets}"
    assert {part["limited_by"] for part in status["services"][0]["links"][0]["partitions"]} == {"configuration"}
    assert "limited by configuration" in one.command.ok("status", one.service)
    one.wait_caught_up()
    preload(source, topic, 16, 4)
    began = time.monotonic()
    one.wait_caught_up()
    assert time.monotonic() - began < 4, "what comes after the first copy has another limit"
    one.prove(translations=1000)


@pytest.mark.alone
@pytest.mark.long
def test_workers_share_a_limit(line, source):
    one = line(partitions=6, limits={"initial": "3MiB"})
    limit = 3 << 20
    workers = [one.worker("w1"), one.worker("w2")]
    one.wait_shared(6)
    preload(source, one.topics[0], 2, 6)
    one.wait_caught_up()
    one.conf.service(one.service, topics=one.topics, limits={"steady": "3MiB"})
    for worker in workers:
        worker.stop()
        worker.start()
    one.wait_shared(6)
    one.wait_caught_up()
    preload(source, one.topics[0], 24, 6)
    rate = rate_over(workers, 4)
    assert 0.75 * limit < rate < 1.15 * limit, f"{rate / MB:.2f} MB/s of {limit / MB:.2f}"
    one.wait_caught_up()
