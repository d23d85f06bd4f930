"""Many of everything: workers, partitions, topics and groups at once; and churn for a while, in which nothing may
grow."""

import os
import random
import signal
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import NewTopic

from rig.groups import commit, committed
from rig.kafka import KafkaCluster, start_together
from rig.line import Line
from rig.procs import wait_for
from rig.produce import Load

MIB = 1 << 20
KINDS = 4  # of turns in the soak
KEPT = 32 * MIB  # of buffers that nobody needs now: mirror/link.c
SOAK_MINUTES = float(os.environ.get("FERRY_SOAK_MINUTES", 3))


def pair(own, folder, **more):
    """Two clusters of this test alone."""
    clusters = start_together(*(own(KafkaCluster(n, workdir=folder, **more)) for n in ("source", "target")))
    for cluster in clusters:
        cluster.warm_coordinators()
    return clusters


@pytest.mark.long
@pytest.mark.timeout(600)
def test_ten_workers_and_five_hundred_partitions(own, folder, new_redis, name):
    """S5: ten workers start at once, are killed and stopped while records come: each partition has one owner at a time,
    and after the last change everybody has his share within bounded time."""
    source, target = pair(own, folder, heap="768m")
    topics = [f"{name}.t{n}" for n in range(5)]
    for cluster in (source, target):  # 500 of them take a busy broker a minute to make
        for topic in topics:
            cluster.create_topic(topic, partitions=100)
    for topic in topics:
        target.wait_offsets(topic, dict.fromkeys(range(100), 0), timeout=120)
    one = Line(own, folder, source, target, new_redis(), name, topics)
    kinds = ("plain", "lz4", "transactional", "nulls", "zstd")
    loads = [
        Load(source.bootstrap, topic, kind, count=None, partitions=100, rate=400, seed=seed).start()
        for seed, (topic, kind) in enumerate(zip(topics, kinds, strict=True), 1)
    ]
    workers = [one.worker(f"w{n}") for n in range(10)]
    began = time.monotonic()
    one.wait_shared(500, timeout=90)
    print(f"\n500 partitions shared by ten within {time.monotonic() - began:.1f} s")
    for worker in random.sample(workers, 3):
        worker.kill9()
    stopped = random.choice([w for w in workers if w.alive])
    assert stopped.stop() == 0
    one.workers = [w for w in workers if w.alive]
    began = time.monotonic()
    wait_for("six to have all", lambda: sum(one.mirroring(w) for w in one.workers) == 500, 60, every=0.2)
    print(f"by six within {time.monotonic() - began:.1f} s")
    for worker in workers:
        if not worker.alive:
            worker.start()
    one.workers = workers
    began = time.monotonic()
    wait_for("ten to have all", lambda: sum(one.mirroring(w) for w in workers) == 500, 60, every=0.2)
    print(f"by ten again within {time.monotonic() - began:.1f} s")
    for load in loads:
        load.stop()
    one.wait_caught_up(timeout=90)
    one.prove(translations=50_000)


def fds(worker):
    return len(os.listdir(f"/proc/{worker.pid}/fd"))


def assert_flat(rows):
    """[(RSS, descriptors)] after turns of KINDS kinds, one after the other. A busy moment leaves a step behind (buffers
    that are kept, KEPT bytes at most); what leaks grows from each turn to the next of its kind."""
    half = len(rows) // 2
    rss, descriptors = zip(*rows[half:], strict=True)
    early = [n for _, n in rows[:half]]
    assert min(descriptors) <= min(early), "descriptors leak"
    assert max(descriptors) <= max(early) + 2, "descriptors leak now and then"
    grown = statistics.median(after - before for before, after in zip(rss, rss[KINDS:], strict=False))
    assert grown * (half / KINDS) < 2 * MIB, f"{grown} bytes more each {KINDS} turns: memory leaks"
    assert max(rss) - min(rss) < KEPT, "more is kept than buffers"


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.timeout(720 + SOAK_MINUTES * 60)
def test_churn_leaves_nothing_behind(own, folder, new_redis, name):
    """S60, shortened: topics come and go, groups commit and vanish, files are read again, brokers, Redis and a second
    worker come and go, /metrics is asked: after each round of the same the worker has the memory and the descriptors
    that it had. FERRY_SOAK_MINUTES, 3 without it."""
    seconds = SOAK_MINUTES * 60
    source, target = pair(own, folder)
    redis = new_redis(persistent=True)
    steady = source.create_topic(f"{name}.steady", partitions=4)
    one = Line(own, folder, source, target, redis, name, [f"{name}.*"], enable=False)
    one.topics = [steady]
    one.conf.data["services"][name]["groups"] = {"include": [f"{name}.*"]}
    one.conf.write()
    one.command.enable(name)
    worker = one.worker("w1", wait=True)
    loading = Load(source.bootstrap, steady, "lz4", count=None, partitions=4, rate=500).start()

    def turn(number):
        topic = source.create_topic(f"{name}.t{number}", partitions=3)
        Load(source.bootstrap, topic, "transactional", count=300, partitions=3, transaction=9).run()
        groups = [f"{name}.g{number}-{n}" for n in range(20)]
        for group in groups:
            commit(source, group, {(topic, 0): 50})
        worker.process.signal(signal.SIGHUP)
        what = number % KINDS
        if what == 0:
            target.broker(1).restart(hard=True)
        elif what == 1:
            source.broker(1).restart(hard=True)
        elif what == 2:
            redis.stop()
            time.sleep(1)
            redis.start()
        else:
            second = one.worker("w2", wait=True)
            time.sleep(1)
            second.stop()
            one.workers.remove(second)
        one.wait_current()
        wait_for("a group to come along", lambda: committed(target, groups[-1]), 40, every=0.5)
        for cluster in (source, target):
            for future in cluster.admin.delete_consumer_groups(groups).values():
                future.exception(30)
            cluster.delete_topic(topic)
        return worker.process.rss_bytes(), fds(worker)

    rows = []
    began = time.monotonic()
    while time.monotonic() - began < seconds or len(rows) < 8:
        rows.append(turn(len(rows)))
        print(f"after {time.monotonic() - began:.0f} s {rows[-1][0] / MIB:.1f} MiB, {rows[-1][1]} fds", flush=True)
    ledger = loading.stop()
    one.wait_caught_up()
    assert one.prove().records == ledger.committed
    print("\nMiB " + " ".join(f"{rss / MIB:.1f}" for rss, _ in rows) + "; fds " + " ".join(str(n) for _, n in rows))
    assert_flat(rows)


def place_groups(cluster, wanted):
    futures = [f for one in wanted for f in cluster.admin.alter_consumer_group_offsets([one]).values()]
    for future in futures:
        future.result(120)


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_thousand_topics_appear_at_once(own, folder, new_redis, name):
    """S61: 1,000 topics with 10,000 partitions appear within moments, beside 2,000 groups: the target follows, the
    source is not asked more than it has to be, a stream that was there before goes on, and status answers within 2 s.
    A second worker then has its half, on the session that README.md asks for."""
    topics, partitions, groups = int(os.environ.get("MANY_TOPICS", 1000)), 10, 2000
    props = {"num.network.threads": 4, "log.cleaner.enable": "true"}
    source, target = pair(own, folder, heap="2g", props=props)
    first = source.create_topic(f"{name}.first", partitions=2)
    one = Line(own, folder, source, target, new_redis(), name, [f"{name}.*"], enable=False)
    one.topics = [first]
    one.conf.data["services"][name]["groups"] = {"include": [f"{name}.*"]}
    one.conf.update(mirror={"session_timeout": "60s"})  # `ferry check` asks for 31 s and more
    one.command.enable(name)
    worker = one.worker("w1", wait=True)
    loading = Load(source.bootstrap, first, "plain", count=None, partitions=2, rate=200).start()
    one.wait_copied(first, 0, 100)
    names = [f"{name}.many{n}" for n in range(topics)]
    began = time.monotonic()
    for at in range(0, topics, 100):
        new = [NewTopic(topic, num_partitions=partitions, replication_factor=1) for topic in names[at : at + 100]]
        for future in source.admin.create_topics(new, operation_timeout=60, request_timeout=90).values():
            future.result(120)
    print(f"\n{topics} topics made at the source in {time.monotonic() - began:.1f} s")
    place = [
        ConsumerGroupTopicPartitions(f"{name}.g{n}", [TopicPartition(names[n % topics], 0, 1)]) for n in range(groups)
    ]
    for topic in (names[0], names[-1]):
        Load(source.bootstrap, topic, "plain", count=100, partitions=partitions).run()
    total = 2 + topics * partitions
    began, slowest = time.monotonic(), 0.0
    with ThreadPoolExecutor(1) as pool:
        placing = pool.submit(place_groups, source, place)

        def mirrored():
            nonlocal slowest
            asked = time.monotonic()
            one.command.run("status", name, timeout=60)
            slowest = max(slowest, time.monotonic() - asked)
            return one.mirroring(worker) >= total

        wait_for("all partitions to be mirrored", mirrored, 600, every=1)
        placing.result(300)
    print(f"mirrored {total} partitions after {time.monotonic() - began:.1f} s; status took at most {slowest:.2f} s")
    one.topics = [first, names[0], names[-1]]
    times = []
    for _ in range(5):
        asked = time.monotonic()
        done = one.command.run("status", name)
        times.append(time.monotonic() - asked)
        assert done.returncode == 0, done.stdout + done.stderr
    print(f"then status takes {sorted(times)[2]:.2f} s; {worker.process.rss_bytes() / MIB:.0f} MiB")
    before = worker.process.cpu_seconds()
    time.sleep(10)
    used = (worker.process.cpu_seconds() - before) / 10
    print(f"at rest {used:.2f} cores")
    began, before = time.monotonic(), worker.process.cpu_seconds()
    second = one.worker("w2")
    try:  # /metrics of 10,000 partitions is some work, too
        one.wait_shared(total, timeout=300, every=2)
    finally:
        took, used_by = time.monotonic() - began, worker.process.cpu_seconds() - before
        log = worker.process.log_text() + second.process.log_text()
        lost, anew = log.count(" membership.lost "), log.count(" membership.anew ")
        print(f"a second worker after {took:.1f} s: the first used {used_by:.1f} s of CPU; lost {lost}, anew {anew}")
    loading.stop()
    one.wait_caught_up(timeout=60)
    one.prove()
    assert sorted(times)[2] < 2
    assert used < 0.5
    assert worker.process.rss_bytes() < 1024 * MIB
