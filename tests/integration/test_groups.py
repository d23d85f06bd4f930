"""Group sync: what groups have committed at the source stands at the target, translated exactly; never past it, never
over anybody else's commit, and not where the group has members (I6, I7)."""

import os
import time
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from rig import jvm
from rig.groups import Member, commit, committed, kept, metadata_at, record_at
from rig.line import Line
from rig.procs import Process, wait_for
from rig.produce import Load
from rig.wire import RawClient

PARTITIONS = 2


@pytest.fixture
def line(own, folder, source, target, redis_server, name):
    """A link whose target has other offsets than the source: transactions at the source leave markers and holes."""

    def make(groups=None, redis=None, **more):
        topic = source.create_topic(f"{name}.t", partitions=PARTITIONS)
        groups = {"include": groups or [f"{name}.*"], **more.pop("group_keys", {})}
        one = Line(own, folder, source, target, redis or redis_server, name, [topic], enable=False, **more)
        one.conf.data["services"][name]["groups"] = groups
        one.conf.write()
        one.command.enable(name)
        one.topic = topic
        return one

    return make


def load(line, count=600, seed=1, kind="transactional"):
    Load(line.source.bootstrap, line.topic, kind, count=count, partitions=PARTITIONS, transaction=7, seed=seed).run()


def started(line, **more):
    load(line)
    worker = line.worker("w1", wait=True, **more)
    line.wait_caught_up()
    return worker


def wait_synced(line, group, places, timeout=20):
    """Until the target has a commit of the group in each of these places; returns {place: offset}."""

    def there():
        line.check_workers()
        found = committed(line.target, group)
        return found if all(where in found for where in places) else None

    return wait_for(f"{group} to be at the target", there, timeout, every=0.2)


def wait_target(line, group, where, offset, timeout=20):
    def there():
        line.check_workers()
        return committed(line.target, group).get(where) == offset

    wait_for(f"{group} to stand at {offset} at the target", there, timeout, every=0.2)


def wait_kept(line, group, where, check, timeout=20):
    def there():
        line.check_workers()
        found = kept(line).get((group, *where))
        return found if found is not None and check(found) else None

    return wait_for(f"what is kept of {group}", there, timeout, every=0.2)


def assert_same_record(line, group, where):
    """The record that the group sees first at the target is the one that it would have seen at the source."""
    topic, partition = where
    at_source, at_target = committed(line.source, group)[where], committed(line.target, group)[where]
    assert record_at(line.target, topic, partition, at_target) == record_at(line.source, topic, partition, at_source)
    assert at_target == line.map().translate(topic, partition, at_source)


def test_commits_are_carried_exactly(line):
    """Each offset of a log full of markers and aborted transactions, by content; metadata comes along."""
    one = line()
    started(one)
    end = one.source.offsets(one.topic, PARTITIONS)
    asked = {f"{one.service}.g{n}": {(one.topic, p): end[p] * n // 12 for p in range(PARTITIONS)} for n in range(13)}
    for group, offsets in asked.items():
        commit(one.source, group, offsets, metadata=f"of {group}")
    for group, offsets in asked.items():
        found = wait_synced(one, group, offsets)
        for where in offsets:
            assert_same_record(one, group, where)
            assert metadata_at(one.target, group, where) == f"of {group}"
            assert found[where] <= offsets[where]
    verdicts = {entry.verdict for entry in kept(one).values()}
    assert verdicts <= {"exact", "rounded"} and "rounded" in verdicts
    for (_, topic, partition), entry in kept(one).items():
        assert entry.target == one.map().translate(topic, partition, entry.source)
        assert (entry.hold, entry.committed) == ("free", entry.target)


def test_a_group_follows_forward_and_back(line):
    """Forward with its commits; back when the source's group was rewound."""
    one = line()
    started(one)
    group, where = f"{one.service}.g", (one.topic, 0)
    for offset in (50, 200, 120, 0):
        commit(one.source, group, {where: offset})
        wait_target(one, group, where, one.map().translate(*where, offset))
        assert_same_record(one, group, where)


@pytest.mark.long
def test_a_group_ahead_of_the_mirror_waits_for_it(line):
    """What is not mirrored is not skipped: the commit stands at the mirror's end, and follows it."""
    one = line()
    worker = started(one)
    worker.stop()
    Load(one.source.bootstrap, one.topic, "plain", count=4000, partitions=PARTITIONS, size=1000, seed=2).run()
    group, where = f"{one.service}.g", (one.topic, 0)
    end = one.source.offsets(one.topic, PARTITIONS)[0]
    one.conf.data["services"][one.service]["limits"] = {"initial": "20KiB", "steady": "20KiB"}
    one.conf.update(mirror={"fetch": "16KiB", "partition_fetch": "16KiB"})
    commit(one.source, group, {where: end})
    slow = one.worker("w1", wait=True)
    entry = wait_kept(one, group, where, lambda entry: entry.verdict == "ahead")
    assert entry.count > 0 and entry.committed <= one.target.offsets(one.topic, PARTITIONS)[0]
    slow.stop()
    del one.conf.data["services"][one.service]["limits"]
    one.conf.update(mirror={})
    one.worker("w1", wait=True)
    one.wait_caught_up()
    wait_target(one, group, where, one.map().translate(*where, end))
    assert wait_kept(one, group, where, lambda entry: entry.verdict == "exact").count == 0


def test_members_at_the_target_are_left_alone_and_named(line):
    one = line()
    worker = started(one)
    group, where = f"{one.service}.g", (one.topic, 0)
    with Member(one.target, group, [one.topic]):
        commit(one.source, group, {(one.topic, p): 100 for p in range(PARTITIONS)})
        wait_kept(one, group, where, lambda entry: entry.hold == "members")
        assert committed(one.target, group) == {}
        metrics = worker.wait_metric("members", lambda m: m.get("ferry_groups_with_members") == 1, 10)
        assert metrics["ferry_group_held_partitions", {"reason": "members"}] == PARTITIONS

        def named():
            (link,) = one.command.status(one.service)["services"][0]["links"]
            return link["workers"]["w1"]["groups"]["notes"]["held"]

        assert wait_for("status to name it", named, 10, every=0.3) == [{"group": group, "why": "members", "detail": ""}]
    wait_synced(one, group, [where])  # they left without a commit: it is free
    assert_same_record(one, group, where)


@pytest.mark.long
def test_a_commit_of_the_targets_own_is_respected(line):
    """Behind ours or past it: it stays, and is named; deleted, the group is carried again."""
    one = line()
    started(one)
    group, where = f"{one.service}.g", (one.topic, 0)
    commit(one.source, group, {where: 100})
    ours = wait_synced(one, group, [where])[where]
    for theirs in (ours - 20, ours + 20):
        commit(one.target, group, {where: theirs})
        commit(one.source, group, {where: 150 + theirs})
        wait_kept(one, group, where, lambda entry: entry.hold == "foreign")
        commit(one.source, group, {where: 300 + theirs})
        wait_kept(one, group, where, lambda entry, at=300 + theirs: entry.source == at)
        time.sleep(2.5)
        assert committed(one.target, group)[where] == theirs
    one.target.admin.delete_consumer_groups([group])[group].result(20)
    wait_synced(one, group, [where], 90)
    assert_same_record(one, group, where)


@pytest.mark.long
def test_a_commit_that_was_there_before_is_not_pulled_back(line):
    """The first time, as after a flush of Redis, nothing of ours is known: forward alone."""
    one = line()
    started(one)
    group, where = f"{one.service}.g", (one.topic, 0)
    commit(one.target, group, {where: 200, (one.topic, 1): 3})
    commit(one.source, group, {where: 10, (one.topic, 1): 100})
    wait_target(one, group, (one.topic, 1), one.map().translate(one.topic, 1, 100))
    wait_kept(one, group, where, lambda entry: entry.hold == "past")
    assert committed(one.target, group)[where] == 200
    end = one.source.offsets(one.topic, PARTITIONS)[0]
    commit(one.source, group, {where: end})
    wait_target(one, group, where, one.map().translate(*where, end))


@pytest.mark.long
def test_a_flushed_redis_is_filled_again(line, new_redis):
    one = line(redis=new_redis("own"))
    worker = started(one)
    group, where = f"{one.service}.g", (one.topic, 0)
    commit(one.source, group, {where: 100})
    before = wait_synced(one, group, [where])[where]
    entry = wait_kept(one, group, where, lambda entry: entry.committed == before)
    one.redis.flush()
    again = wait_kept(one, group, where, lambda found: found.committed == before, 40)
    assert (again.source, again.target) == (entry.source, entry.target) or again.verdict == "unmapped"
    assert committed(one.target, group)[where] == before
    one.redis.flush()
    worker.kill9()  # and the one who remembers goes, too
    one.worker("w2", wait=True)
    commit(one.source, group, {where: 260})
    one.wait_caught_up()
    wait_target(one, group, where, expected_of(one, where, 260), 60)
    assert_same_record(one, group, where)


def expected_of(line, where, offset):
    """By the map once it is rebuilt."""

    def there():
        line.check_workers()
        return line.map().translate(*where, offset)

    return wait_for("the map to be rebuilt", there, 60, every=0.3, not_yet=(KeyError,))


@pytest.mark.long
def test_another_keeper_goes_on_over_our_own(line):
    """What the worker before committed is known for ours: a rewound group is followed by the next one, too."""
    one = line()
    worker = started(one)
    group, where = f"{one.service}.g", (one.topic, 0)
    commit(one.source, group, {where: 200})
    wait_synced(one, group, [where])
    worker.kill9()
    commit(one.source, group, {where: 60})
    one.worker("w2", wait=True)
    wait_target(one, group, where, one.map().translate(*where, 60), 40)
    assert_same_record(one, group, where)


@pytest.mark.parametrize("protocol", [pytest.param("classic", marks=pytest.mark.long), "consumer"])
def test_a_group_of_each_protocol_goes_on_at_the_target(line, protocol):
    """A group that consumes and commits at the source; then its consumers start at the target, and go on there."""
    one = line()
    started(one)
    group = f"{one.service}.g"
    with Member(one.source, group, [one.topic], protocol=protocol, commits=True) as member:
        wait_for("the group to read", lambda: len(member.read) == PARTITIONS, 30, every=0.1)
        time.sleep(1)
    places = committed(one.source, group)
    wait_synced(one, group, places)
    for where in places:
        wait_target(one, group, where, one.map().translate(*where, places[where]))
    load(one, seed=3)
    one.wait_caught_up()
    stand = committed(one.target, group)
    with Member(one.target, group, [one.topic], protocol=protocol) as member:
        wait_for("the group to go on", lambda: len(member.read) == PARTITIONS, 30, every=0.1)
    assert member.read == {where: stand[where] for where in member.read}


@pytest.mark.long
def test_turned_off_and_other_groups(line):
    one = line(groups=[f"{'x'}*", "named"], group_keys={"exclude": ["xno*"], "commit": False})
    started(one)
    where = (one.topic, 0)
    wanted, other = f"x-{one.service}", f"xno-{one.service}"
    for group in (wanted, other):
        commit(one.source, group, {where: 100})
    entry = wait_kept(one, wanted, where, lambda entry: entry.target >= 0)
    assert (entry.hold, entry.committed) == ("off", -1)
    assert entry.target == one.map().translate(*where, 100)
    assert not [group for group, _, _ in kept(one) if group == other]
    assert committed(one.target, wanted) == {}


@pytest.mark.long
def test_kinds_that_are_not_carried_are_named(line, own, folder):
    """A share group, and workers of Kafka Connect: nothing is committed for them, and whoever asks is told."""
    one = line()
    started(one)
    share, connect, plain = (f"{one.service}.{kind}" for kind in ("share", "connect", "plain"))
    words = ("--bootstrap-server", one.source.bootstrap, "--topic", one.topic, "--group-id", share)
    tool = jvm.command("org.apache.kafka.tools.VerifiableShareConsumer", *words)
    own(Process("a share consumer", tool, folder / "share.log").start())
    with RawClient(one.source.bootstrap) as raw:
        raw.join(connect, "connect")
        commit(one.source, plain, {(one.topic, 0): 10})
        wait_synced(one, plain, [(one.topic, 0)])

        def said():
            text = " ".join(one.command.run("status", one.service).stdout.split())
            line = f"groups that are not carried: {connect} (connect), {share} (share)"
            return text if line in text else None

        text = wait_for("both to be named", said, 30, every=0.5)
    assert plain not in text
    assert one.workers[0].metrics()["ferry_groups_not_carried", {"kind": "share"}] == 1
    assert not [group for group, _, _ in kept(one) if group != plain]


@pytest.mark.long
def test_only_what_changed_is_written(line):
    one = line()
    worker = started(one)
    for n in range(20):
        commit(one.source, f"{one.service}.g{n}", {(one.topic, p): 100 + n for p in range(PARTITIONS)})
    worker.wait_metric("all to be carried", lambda m: m.sum("ferry_group_partitions") == 40, 20)
    wait_synced(one, f"{one.service}.g19", [(one.topic, 0)])
    time.sleep(2)
    before = worker.metrics()
    time.sleep(3)
    after = worker.metrics()
    for what in ("ferry_group_stored_total", "ferry_group_commits_total"):
        assert after[what] == before[what] >= 40
    assert after["ferry_group_sync_age_seconds"] < 3
    commit(one.source, f"{one.service}.g3", {(one.topic, 0): 300})
    worker.wait_metric(
        "one commit", lambda m: m["ferry_group_commits_total"] == before["ferry_group_commits_total"] + 1, 10
    )


@pytest.mark.long
def test_two_thousand_groups_of_fifty_partitions_within_the_second(own, folder, new_cluster, new_redis, name, capsys):
    """S61: read, compared; what changed of it translated, kept and committed: 100,000 places each second, on one
    core."""
    groups, partitions = 2000, 50
    props = {"offsets.topic.num.partitions": 10}
    source, target = new_cluster("source", props=props), new_cluster("target", props=props)
    for cluster in (source, target):
        cluster.warm_coordinators()
    topic = source.create_topic(f"{name}.t", partitions=partitions)
    Load(source.bootstrap, topic, "transactional", count=5000, partitions=partitions, transaction=100).run()
    one = Line(own, folder, source, target, new_redis("own"), name, [topic], groups=[f"{name}.*"])
    place_all(source, name, topic, range(groups), partitions, 10)
    worker = one.worker("w1", wait=True)
    began = time.monotonic()
    one.wait_caught_up()
    worker.wait_metric(
        "all to be committed", lambda m: m.get("ferry_group_commits_total", 0) >= groups * partitions, 120
    )
    first = time.monotonic() - began
    steady = rounds(worker, 8)
    place_all(source, name, topic, range(0, groups, 10), partitions, 60)
    moved = 1.1 * groups * partitions
    worker.wait_metric("a tenth to follow", lambda m: m["ferry_group_commits_total"] >= moved, 60)
    place_all(source, name, topic, range(groups), partitions, 80)
    worker.wait_metric("all to follow", lambda m: m["ferry_group_commits_total"] >= moved + groups * partitions, 120)
    busy = rounds(worker, 3)
    took, cpu = ([f"{row[n]:.3f}" for row in steady] for n in (0, 1))
    with capsys.disabled():
        print(f"\n{groups} groups x {partitions} partitions, first copy within {first:.1f} s; when nothing changes:")
        print(f"seconds {' '.join(took)}; of CPU {' '.join(cpu)}; after all moved: {busy}")
    for n in (0, 999, 1999):
        found = committed(target, f"{name}.g{n}")
        assert found == {(topic, p): one.map().translate(topic, p, 80) for p in range(partitions)}
    assert worker.metrics()["ferry_group_partitions", {"verdict": "unmapped"}] == 0
    # The brokers and whoever else is there share the machine: the best of the rounds says what it takes.
    assert min(seconds for seconds, _ in steady) < 1
    assert sorted(spent for _, spent in steady)[len(steady) // 2] < 0.5


def place_all(cluster, name, topic, numbers, partitions, offset):
    wanted = [
        ConsumerGroupTopicPartitions(f"{name}.g{n}", [TopicPartition(topic, p, offset) for p in range(partitions)])
        for n in numbers
    ]
    futures = [future for one in wanted for future in cluster.admin.alter_consumer_group_offsets([one]).values()]
    for future in futures:
        future.result(60)


def thread_cpu(worker):
    """Seconds of CPU of the worker's threads but the first, which carries the data."""
    ticks = 0
    for task in Path(f"/proc/{worker.pid}/task").iterdir():
        if int(task.name) != worker.pid:
            fields = (task / "stat").read_text().rsplit(") ", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def rounds(worker, seconds):
    """[(how long the last round took, CPU of the second)]."""
    out = []
    for _ in range(seconds):
        before = thread_cpu(worker)
        time.sleep(1)
        out.append((worker.metrics()["ferry_group_sync_duration_seconds"], thread_cpu(worker) - before))
    return out
