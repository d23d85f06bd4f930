"""The mirror copies real topics between two real clusters, batch by batch, exactly once, with an exact map."""

import json
import random
import signal
import time

import pytest
from confluent_kafka import Producer

from rig.ferry import EXIT_CONFIGURATION, EXIT_REFUSED, Command, Worker
from rig.kafka import KafkaCluster, start_together
from rig.line import Line
from rig.procs import wait_for
from rig.produce import KINDS, Load, produce_all_kinds
from rig.wire import RawClient


@pytest.fixture
def line(own, folder, source, target, redis_server, name):
    def make(topics=None, partitions=4, **more):
        topics = topics or [f"{name}.t"]
        for topic in topics:
            if "*" not in topic:
                source.create_topic(topic, partitions=partitions)
        return Line(own, folder, source, target, redis_server, name, topics, **more)

    return make


def test_every_kind_of_record_is_mirrored_once_in_order(line, source):
    """S17, S19: every codec, header and null; the record bytes of each batch are those of the source."""
    one = line(merge=False)  # with it small neighbours become one, see test_recode.py
    produce_all_kinds(source.bootstrap, one.topics[0], 1500, 4, kinds=[k for k in KINDS if k != "stamps"])
    one.worker("w1")
    one.wait_caught_up()
    result = one.prove()
    assert result.records > 10_000
    with RawClient(source.bootstrap) as left, RawClient(one.target.bootstrap) as right:
        ours = [b for b in right.walk(one.topics[0], 0)]
        theirs = {b.region_crc for b in left.walk(one.topics[0], 0)}
        assert all(b.region_crc in theirs for b in ours), "record bytes were touched on the way"
        assert not any(b.transactional or b.control for b in ours)


def test_two_workers_share_the_partitions(line, source):
    one = line(partitions=6)
    load = Load(source.bootstrap, one.topics[0], "lz4", count=60_000, partitions=6, rate=15_000).start()
    one.worker("w1")
    one.worker("w2")
    one.wait_shared(6)
    load.wait()
    one.wait_caught_up()
    one.prove()


def test_kill9_storm_with_transactions(line, source):
    """S1, S2: a worker is killed again and again under load and started anew; nothing lost, nothing doubled."""
    one = line()
    loads = [
        Load(source.bootstrap, one.topics[0], kind, count=count, partitions=4, rate=rate, seed=seed).start()
        for seed, (kind, count, rate) in enumerate([("transactional", 12_000, 1500), ("lz4", 60_000, 8000)], 1)
    ]
    worker = one.worker("w1")
    for _ in range(8):
        time.sleep(random.uniform(0.3, 1.2))
        worker.kill9()
        worker.start()
    for load in loads:
        load.wait()
    one.wait_caught_up()
    one.prove(translations=50_000)
    assert "assert" not in worker.process.log_text().lower()


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_kill9_storm_on_two_workers(line, source):
    """S1 in full: 20 x kill -9 of either of two workers under load; 2,000,000 records of every kind, 100,000
    translations: 0 lost, 0 doubled, 0 wrong."""
    one = line(partitions=8)
    counts = {"plain": 400_000, "gzip": 150_000, "snappy": 250_000, "lz4": 700_000, "zstd": 250_000}
    counts |= {"transactional": 150_000, "headers": 50_000, "nulls": 30_000, "stamps": 20_000}
    assert sum(counts.values()) == 2_000_000
    seconds = 75
    loads = [
        Load(
            source.bootstrap, one.topics[0], kind, count=count, partitions=8, rate=count / seconds, seed=seed,
            serial=seed * 10_000_000, transaction=100,
        ).start()
        for seed, (kind, count) in enumerate(counts.items(), 1)
    ]  # fmt: skip
    workers = [one.worker("w1"), one.worker("w2")]
    for _ in range(20):
        time.sleep(random.uniform(0.5, 6))
        worker = random.choice(workers)
        worker.kill9()
        worker.start()
    ledgers = [load.wait() for load in loads]
    assert sum(ledger.committed + ledger.aborted for ledger in ledgers) == 2_000_000
    one.wait_caught_up(timeout=120)
    result = one.prove(translations=100_000)
    assert result.records == sum(ledger.committed for ledger in ledgers)
    for worker in workers:
        assert "assert" not in worker.process.log_text().lower()


def test_restart_after_kill9_copies_within_a_second(line, source):
    """A static member gets its partitions back at once, and resume is one round trip more."""
    one = line()
    load = Load(source.bootstrap, one.topics[0], "lz4", count=None, partitions=4, rate=2000).start()
    worker = one.worker("w1")
    one.wait_copied(one.topics[0], 0, 100)
    seconds = []
    for _ in range(3):
        time.sleep(1)
        worker.kill9()
        before = one.target.offsets(one.topics[0])
        began = time.monotonic()
        worker.start()
        wait_for(
            "the copy to go on",
            lambda before=before: any(e > before[p] for p, e in one.target.offsets(one.topics[0]).items()),
            20,
        )
        seconds.append(time.monotonic() - began)
    load.stop()
    assert sorted(seconds)[1] < 1.0, seconds
    one.wait_caught_up()
    one.prove()


def test_a_killed_workers_partitions_flow_elsewhere_within_12_seconds(line, source):
    one = line()
    load = Load(source.bootstrap, one.topics[0], "plain", count=None, partitions=4, rate=1000).start()
    workers = [one.worker("w1"), one.worker("w2")]
    one.wait_shared(4)
    workers[0].kill9()
    began = time.monotonic()
    before = one.target.offsets(one.topics[0])
    wait_for(
        "all four to flow", lambda: all(e > before[p] + 50 for p, e in one.target.offsets(one.topics[0]).items()), 20
    )
    took = time.monotonic() - began
    load.stop()
    assert took < 12, took
    one.wait_caught_up()
    one.prove()


@pytest.mark.long
def test_sigstop_beyond_the_session_adds_nothing(line, source):
    """S3: a stopped worker that comes back finds its deadline past; whoever took over goes on alone."""
    one = line(partitions=3)
    load = Load(source.bootstrap, one.topics[0], "lz4", count=None, partitions=3, rate=4000).start()
    first = one.worker("w1")
    one.wait_copied(one.topics[0], 0, 100)
    second = one.worker("w2")
    one.wait_shared(3)
    first.sigstop()
    second.wait_metric("all partitions", lambda m: m.get("ferry_link_partitions", state="mirroring") == 3, 30)
    time.sleep(1)
    first.sigcont()
    time.sleep(3)
    load.stop()
    one.wait_caught_up()
    one.prove()


def test_two_workers_with_one_name_the_newcomer_wins(line, source, own, folder):
    """S5: the elder is fenced by the group and exits 7, so that its unit does not start it again."""
    one = line()
    Load(source.bootstrap, one.topics[0], count=1000, partitions=4).run()
    elder = one.worker("w1", wait=True)
    other = one.conf.copy(folder / "other")
    newcomer = own(Worker(other, "w1")).start()
    wait_for("the elder to end", lambda: not elder.alive, 30)
    assert elder.returncode == EXIT_CONFIGURATION
    one.workers = [newcomer]
    one.wait_caught_up()
    one.prove()


def test_sigterm_drains_and_hands_over_at_once(line, source):
    """S6: exit 0 within the grace, everything checkpointed, the partitions elsewhere at once."""
    one = line(partitions=3)
    load = Load(source.bootstrap, one.topics[0], "plain", count=None, partitions=3, rate=2000).start()
    first = one.worker("w1")
    one.wait_copied(one.topics[0], 0, 200)
    second = one.worker("w2")
    one.wait_shared(3)
    first.process.signal(signal.SIGTERM)
    began = time.monotonic()
    assert first.process.wait(20) == 0
    assert time.monotonic() - began < 8
    second.wait_metric("all", lambda m: m.get("ferry_link_partitions", state="mirroring") == 3, 5)
    load.stop()
    one.wait_caught_up()
    one.prove()


def test_what_comes_while_a_worker_drains_is_not_begun(line, source):
    """Two workers stop; the second one gets the partitions of the first in the very moment in which it drains."""
    one = line(partitions=6)
    load = Load(source.bootstrap, one.topics[0], "lz4", count=None, partitions=6, rate=3000).start()
    workers = [one.worker("w1"), one.worker("w2")]
    for _ in range(3):
        one.wait_shared(6)
        first, second = workers
        second.sigstop()  # it learns of the change when it goes on
        assert first.stop() == 0
        began = time.monotonic()
        assert second.stop() == 0
        assert time.monotonic() - began < 8, "it waited for partitions that it had begun while stopping"
        for worker in workers:
            worker.start()
    load.stop()
    assert not second.events("link.stop_late")
    one.wait_caught_up()
    one.prove()


@pytest.mark.long
def test_sigterm_twice_ends_at_once(line, source):
    """S6: the second signal does not wait for the drain."""
    one = line()
    worker = one.worker("w1", wait=True)
    worker.sigstop()
    worker.process.signal(signal.SIGTERM)
    worker.process.signal(signal.SIGTERM)
    worker.sigcont()
    began = time.monotonic()
    worker.process.wait(10)
    assert time.monotonic() - began < 6


def test_no_role_without_enable(line, source):
    """A worker copies nothing before `ferry enable` wrote the first role epoch, and status names the command."""
    one = line(enable=False)
    Load(source.bootstrap, one.topics[0], count=500, partitions=4).run()
    worker = one.worker("w1").wait_healthy()
    worker.wait_metric("a state", lambda m: m.get("ferry_link_state") == 0, 15)
    time.sleep(3)
    assert one.topics[0] not in one.target.topics()
    worker.wait_ready()  # a rollout before `enable` goes on
    assert f"stands by: no role yet: ferry enable {one.service}" in worker.get("/readyz")[1]
    done = one.command.run("status", one.service, "--check")
    assert done.returncode == 3, done.stdout + done.stderr
    assert f"ferry enable {one.service}" in done.stdout + done.stderr
    one.command.enable(one.service)
    one.wait_caught_up()
    one.prove()


def role_record(one, epoch):
    """Somebody else's `ferry enable` on a control topic that holds nothing."""
    role = {
        "epoch": epoch,
        "primary": "a",
        "secondaries": ["b"],
        "by": "x",
        "reason": "",
        "time": "2026-01-01T00:00:00Z",
    }
    producer = Producer({"bootstrap.servers": one.target.bootstrap})
    producer.produce(f"ferry.control.{one.service}", key="role", value=json.dumps(role))
    assert producer.flush(10) == 0


def test_a_control_topic_made_anew_while_nobody_ran_is_no_beginning(line, source):
    """The old role epoch is remembered in Redis: neither a worker nor `ferry enable` takes the new topic's word."""
    one = line()
    Load(source.bootstrap, one.topics[0], count=400, partitions=4).run()
    worker = one.worker("w1")
    one.wait_caught_up()
    roles = f"{{{one.service}}}:roles"
    wait_for("the role to be remembered", lambda: one.redis.client.hget(roles, "b"), 10)
    worker.stop()
    control = f"ferry.control.{one.service}"
    one.target.delete_topic(control)
    refused = one.command.run("enable", one.service, "--yes")
    assert refused.returncode == 3 and "deleted or emptied" in refused.stderr, refused.stdout + refused.stderr
    if control not in one.target.topics():
        one.target.create_topic(control, config={"cleanup.policy": "compact"})
    role_record(one, 1)
    Load(source.bootstrap, one.topics[0], count=400, partitions=4, serial=5000).run()
    before = one.target.offsets(one.topics[0])
    worker.start()
    (said,) = worker.wait_event("control.distrusted")
    assert "another topic than the one that Redis remembers" in said
    time.sleep(3)
    assert one.target.offsets(one.topics[0]) == before
    assert len(worker.events("control.distrusted")) == 1, "said once, not each second"
    one.redis.client.hdel(roles, "b")
    worker.kill9()
    worker.start()
    one.wait_caught_up()
    one.prove()


def test_a_topic_created_while_a_static_member_was_down(line, source, name):
    """A restarted static member keeps its old assignment whatever it subscribes: the new topic must not wait for it."""
    one = line([f"{name}.*"])
    source.create_topic(f"{name}.first", partitions=2)
    one.topics = [f"{name}.first"]
    first = one.worker("w1")
    second = one.worker("w2")
    Load(source.bootstrap, f"{name}.first", count=500, partitions=2).run()
    one.wait_caught_up()
    first.kill9()
    source.create_topic(f"{name}.second", partitions=4)
    Load(source.bootstrap, f"{name}.second", count=500, partitions=4).run()
    first.start()
    one.topics = [f"{name}.first", f"{name}.second"]
    one.wait_caught_up(timeout=25)
    assert second.alive
    one.prove()


def test_ferrys_own_topics_are_never_mirrored(line, source, name, folder):
    one = line(["*"], enable=False)
    source.create_topic(f"{name}.t", partitions=1)
    source.create_topic(f"ferry.{name}", partitions=1)
    one.conf.data["services"][one.service]["topics"]["include"] = [f"{name}.*", f"*{name}"]
    one.conf.write()
    one.command.enable(one.service)
    one.topics = [f"{name}.t"]
    Load(source.bootstrap, f"{name}.t", count=100).run()
    Load(source.bootstrap, f"ferry.{name}", count=100).run()
    one.worker("w1")
    one.wait_caught_up()
    time.sleep(3)
    assert f"ferry.{name}" not in one.target.topics()
    one.conf.data["services"][one.service]["topics"]["include"] = ["ferry.*"]
    one.conf.write()
    done = one.command.run("config", "check")
    assert done.returncode == EXIT_CONFIGURATION and "reserved" in done.stderr + done.stdout


def test_config_drift_writes_nothing_and_says_so(line, source, folder):
    """S9: two workers, one with an older filter: only the newest configuration writes (KAFKA-15372)."""
    one = line()
    Load(source.bootstrap, one.topics[0], count=1000, partitions=4).run()
    first = one.worker("w1")
    one.wait_caught_up()
    other = one.conf.copy(folder / "other")
    other.data["services"][one.service]["topics"]["include"] = [one.topics[0], "something-else"]
    other.write()
    second = one.worker("w2", conf=other)
    second.wait_event("link.streams_differ", timeout=20)
    Load(source.bootstrap, one.topics[0], count=1000, partitions=4, serial=5000).run()
    time.sleep(3)
    # The group may give the keeper's partition to either; the one that told the others last is the newest.
    older = first if second.events("keeper.streams") else second
    older.wait_event("link.streams_differ")
    older.stop()
    one.workers.remove(older)
    one.wait_caught_up()
    one.prove()


def test_copying_within_five_seconds_of_a_first_start_on_default_group_settings(own, folder):
    """Brokers as people have them: group.initial.rebalance.delay.ms 3000; internal topics exist."""
    source, target = start_together(
        own(KafkaCluster("first-a", workdir=folder)),
        own(KafkaCluster("first-b", workdir=folder, default_group_settings=True)),
    )
    target.warm_coordinators()
    source.create_topic("t", partitions=4)
    Load(source.bootstrap, "t", count=1000, partitions=4).run()
    one = Line(own, folder, source, target, None, "first", ["t"])
    began = time.monotonic()
    one.worker("w1")
    one.wait_copied("t", 0, 1, timeout=20)
    took = time.monotonic() - began
    assert took < 5, took


def test_killed_between_the_answer_and_the_checkpoint(own, folder, source, target, new_redis, name):
    """S2: what was acknowledged and stands in no checkpoint is found behind it, not sent again."""
    topic, redis = source.create_topic(f"{name}.t"), new_redis()
    one = Line(own, folder, source, target, redis, name, [topic])
    worker = one.worker("w1")
    Load(source.bootstrap, topic, "transactional", count=500).run()
    one.wait_caught_up()
    before = one.checkpoint()
    redis.pause()
    Load(source.bootstrap, topic, "lz4", count=2000, seed=2, serial=10_000).run()
    one.wait_copied(topic, 0, before.target_next + 2000)
    worker.kill9()
    redis.resume()
    # the dead worker's last call may have waited in Redis's socket
    assert one.checkpoint().target_next < before.target_next + 2000, "it was checkpointed all the same"
    worker.start()
    Load(source.bootstrap, topic, "plain", count=500, seed=3, serial=20_000).run()
    one.wait_caught_up()
    assert target.offsets(topic)[0] == before.target_next + 2500
    one.prove()


def test_a_source_that_is_the_target_is_refused(line, source, target, folder):
    """S22: a slip in the file of a service that runs: the worker names both sites and writes nothing; so does the
    check."""
    one = line()
    Load(source.bootstrap, one.topics[0], count=200, partitions=4).run()
    worker = one.worker("w1")
    one.wait_caught_up()
    assert worker.stop() == 0
    one.workers = []
    slip = one.conf.copy(folder / "slip")
    slip.data["sites"]["a"]["kafka"]["bootstrap.servers"] = target.bootstrap
    slip.write()
    before = target.offsets(one.topics[0])
    again = one.worker("w1", conf=slip)
    wait_for("it to say so", lambda: "are one cluster" in again.process.log_text(), 20)
    time.sleep(2)
    assert target.offsets(one.topics[0]) == before
    assert again.returncode in (None, EXIT_CONFIGURATION)
    one.workers = []
    done = Command(slip).run("check", one.service)
    assert done.returncode == EXIT_REFUSED and "one cluster" in done.stdout + done.stderr
