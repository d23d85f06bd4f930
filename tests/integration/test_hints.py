"""Hints: which records a group may have processed already where it goes on at the target, told before the first client
arrives, and never less than the truth."""

import json
import subprocess
import sys
import threading
import time

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition

from rig.ferry import Command
from rig.groups import Member, commit, committed, kept, metadata_at
from rig.hints import hint_at, of_redis
from rig.jvm import QUICK, class_path
from rig.line import Line
from rig.paths import BUILD, ROOT
from rig.procs import Process, wait_for
from rig.produce import Load
from rig.wire import RawClient

EXAMPLES = ROOT / "docs" / "examples"

PARTITIONS = 2


@pytest.fixture
def line(own, folder, source, target, redis_server, name):
    """A link whose target has other offsets than the source: transactions at the source leave markers and holes."""

    def make(redis=None, **more):
        topic = source.create_topic(f"{name}.t", partitions=PARTITIONS)
        one = Line(own, folder, source, target, redis or redis_server, name, [topic], enable=False, **more)
        one.conf.data["services"][name]["groups"] = {"include": [f"{name}.*"]}
        one.conf.write()
        one.command.enable(name)
        one.topic = topic
        return one

    return make


def load(line, count=400, seed=1, kind="transactional"):
    Load(line.source.bootstrap, line.topic, kind, count=count, partitions=PARTITIONS, transaction=7, seed=seed).run()


def move(line, *more, code=0):
    """`ferry failover` of a service whose primary is still there: what clusters shared by tests allow."""
    args = ("failover", line.service, "--yes", "--allow-loss", "unknown", "--force", "primary-alive", *more)
    done = line.command.run(*args, "-o", "json", timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def wait_kept(line, group, where, check, timeout=20):
    def there():
        line.check_workers()
        found = kept(line).get((group, *where))
        return found if found is not None and check(found) else None

    return wait_for(f"what is kept of {group}", there, timeout, every=0.2)


def read_and_leave(line, group, count):
    """A member that reads so many records, commits them and leaves. @return {(topic, partition): committed}"""
    client = Consumer(
        {
            "bootstrap.servers": line.source.bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 6000,
            "queued.max.messages.kbytes": 64,
        }
    )
    client.subscribe([line.topic])
    got = 0
    while got < count:
        message = client.poll(0.5)
        if message is not None and message.error() is None:
            got += 1
    client.commit(asynchronous=False)
    client.close()
    return committed(line.source, group)


def test_every_group_finds_its_hint_four_ways(line):
    """In the metadata of its commit, in Redis, in the topic, in the report: the same ranges, exact source offsets."""
    one = line()
    load(one)
    one.worker("w1", wait=True)
    one.wait_caught_up()
    stopped, standing, own = (f"{one.service}.{name}" for name in ("stopped", "standing", "own"))
    where = (one.topic, 0)
    read_and_leave(one, stopped, 150)
    ends = one.source.offsets(one.topic, PARTITIONS)
    wait_kept(one, stopped, where, lambda entry: entry.limit >= 0)
    load(one, seed=2)  # nobody reads this for the group that stopped
    commit(one.source, standing, {where: 100})
    commit(one.source, own, {where: 100}, metadata="its own")
    one.wait_caught_up()
    for group in (stopped, standing, own):
        wait_kept(one, group, where, lambda entry: entry.hold == "free" and entry.committed >= 0)
    (lately,) = one.redis.client.keys(f"{{{one.service}}}:*:groups-lately")
    assert 0 < one.redis.client.pttl(lately) <= 5000  # so long what was seen of members is proof
    report = move(one)
    to_target = one.map().translate
    end = one.target.offsets(one.topic, PARTITIONS)[0]

    hint = hint_at(one.target, stopped, where)
    assert hint.operation == report["operation"] and hint.cluster == one.source.cluster_id
    assert (
        hint.start == committed(one.target, stopped)[where] == to_target(*where, committed(one.source, stopped)[where])
    )
    limit = to_target(*where, ends[0])
    assert hint.likely_until <= hint.until == limit < end
    for target in range(hint.start, hint.mapped_until):
        assert to_target(*where, hint.source(target)) == target

    hint = hint_at(one.target, standing, where)
    assert (hint.start, hint.until) == (
        to_target(*where, 100),
        end,
    )  # it never had members: who knows what reads for it
    assert metadata_at(one.target, own, where) == "its own"
    assert committed(one.target, own)[where] == to_target(*where, 100)

    published = json.loads(one.redis.client.get(f"{{{one.service}}}:hints:{stopped}"))
    shown = one.command.json("hints", one.service, stopped)
    in_topic = one.command.json("hints", one.service)
    assert shown["origin"] == "redis" and in_topic["origin"] == "topic"
    hint = hint_at(one.target, stopped, where)
    for places in (published["places"], shown["groups"][0]["places"], group_of(in_topic, stopped)["places"]):
        place = next(p for p in places if p["partition"] == 0)
        assert (place["from"], place["likely_until"], place["until"]) == (hint.start, hint.likely_until, hint.until)
    assert {g["group"] for g in in_topic["groups"]} == {stopped, standing, own}
    in_report = {g["group"]: g for g in report["groups"]["groups"]}
    assert in_report[stopped]["verdict"] == "committed" and in_report[stopped]["reread_most"] >= hint.until - hint.start

    for target, seen in ((hint.start - 1, "committed"), (hint.start, "likely"), (hint.until, "no")):
        answer = one.command.json("hints", "seen", one.service, one.topic, 0, target)
        assert next(g["seen"] for g in answer["groups"] if g["group"] == stopped) == seen
        assert to_target(*where, answer["source_offset"]) == target


def group_of(answer, group):
    return next(g for g in answer["groups"] if g["group"] == group)


def reset(line, *args, code=0):
    done = line.command.run("offsets", "reset", line.service, *args, "-o", "json", timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)["places"] if code in (0, 4) and done.stdout else done.stderr


@pytest.mark.long
def test_a_reset_shows_first_and_moves_when_told(line):
    """Before, after and what is read again; refused for members by name; a hint and a journal record stay behind."""
    one = line()
    load(one)
    one.worker("w1", wait=True)
    one.wait_caught_up()
    group, other, where = f"{one.service}.g", f"{one.service}.other", (one.topic, 0)
    for name in (group, other):
        commit(one.source, name, {where: 100})
        wait_kept(one, name, where, lambda entry: entry.hold == "free" and entry.committed >= 0)
        stood = wait_for("its commit", lambda name=name: committed(one.target, name).get(where), 20)
    asked = ("--group", group, "--to", "earliest")
    (place,) = reset(one, *asked, "--dry-run")
    assert (place["before"], place["after"], place["outcome"]) == (stood, 0, "due")
    assert stood <= place["reread_likely"] <= place["reread_most"] <= one.target.offsets(one.topic, PARTITIONS)[0]
    assert "not confirmed" in reset(one, *asked, code=8)
    assert committed(one.target, group)[where] == stood

    with Member(one.target, group, [one.topic]):
        refused = reset(one, *asked, "--yes", code=3)
        assert group in refused and "members" in refused
        everybody = ("--all", "--to", "earliest")
        asks = one.command.run("offsets", "reset", one.service, *everybody, timeout=60)  # each with both positions
        words = (asks.stdout + asks.stderr).split()
        shown = {name: words[words.index(name) :][:7] for name in (group, other)}  # a line, or two for a long name
        assert asks.returncode == 8 and shown[group][2:4] == shown[other][2:4] == [str(stood), "0"], shown
        assert (shown[group][-1], shown[other][-1]) == ("members", "due"), shown
        rows = reset(one, *everybody, "--yes", code=4)
        assert {row["group"]: row["outcome"] for row in rows} == {group: "members", other: "moved"}
        (place,) = reset(one, *asked, "--yes", "--stop-members", group)  # it polls on, and joins again
        assert place["outcome"] == "moved"
    assert committed(one.target, group)[where] == 0
    hint = hint_at(one.target, group, where)
    assert hint.start == 0 and hint.likely_until == place["reread_likely"] and "-reset-" in hint.operation

    (place,) = reset(one, "--group", group, "--to", "source-offset=50", "--topic", f"{one.topic}:0", "--yes")
    assert committed(one.target, group)[where] == place["after"] == one.map().translate(*where, 50)
    (place, _) = reset(one, "--all", "--to", "translated", "--yes")
    assert committed(one.target, group)[where] == committed(one.target, other)[where] == stood
    assert place["skipped"] == stood - one.map().translate(*where, 50)
    history = one.command.json("history", one.service)["operations"]
    assert [(row["kind"], row["state"]) for row in history] == [("reset", "done")] * 4
    (place,) = reset(one, "--group", group, "--to", "latest", "--dry-run")
    assert place["after"] == one.target.offsets(one.topic, PARTITIONS)[0]
    (place,) = reset(one, "--group", group, "--to", "time=2020-01-01T00:00:00Z", "--dry-run")
    assert place["after"] == 0
    assert "no group" in reset(one, "--group", f"{one.service}.nobody", "--to", "latest", code=3)


# -- the examples ---------------------------------------------------------------------------------------------------


def produce(line, count, seed):
    """Transactions of seven records: markers leave holes in the source's offsets. @return the values"""
    producer = Producer({"bootstrap.servers": line.source.bootstrap, "transactional.id": f"{line.service}.{seed}"})
    producer.init_transactions(20)
    values = [f"{seed}-{i}" for i in range(count)]
    for at in range(0, count, 7):
        producer.begin_transaction()
        for i, value in enumerate(values[at : at + 7]):
            producer.produce(line.topic, value, partition=i % PARTITIONS)
        producer.commit_transaction(20)
    return values


def example(language, cluster, *args):
    """The command line of docs/examples in a language."""
    argv = [cluster.bootstrap, *map(str, args)]
    if language == "java":
        flags = ["java", *QUICK, "-cp", class_path(), str(EXAMPLES / "HintsConsumer.java")]
        return [*flags, *argv]
    if language == "python":
        return [sys.executable, str(EXAMPLES / "hints_consumer.py"), *argv]
    return [str(BUILD / "examples" / "hints_consumer"), *argv]


def done_by(path):
    """[(name, value)] that an example has done, in order."""
    return [tuple(line.split("\t")) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize(
    "language", ["c", *[pytest.param(name, marks=pytest.mark.long) for name in ("python", "java")]]
)
def test_an_example_does_nothing_twice(line, own, folder, language):
    """Killed with work done that is not committed; after the failover it skips exactly that, by the records' names."""
    one = line()
    first = produce(one, 330, "a")
    one.worker("w1", wait=True)
    one.wait_caught_up()
    group, done = f"{one.service}.g", folder / "done"
    app = own(Process("app", example(language, one.source, group, one.topic, done, 50, 60), folder / "app.log")).start()
    wait_for("work", lambda: app.check() or len(done_by(done)) == len(first), 60, every=0.05)
    app.kill9()
    commits = committed(one.source, group)
    one.wait_caught_up()
    for where, offset in commits.items():
        wait_kept(one, group, where, lambda entry, at=offset: entry.source == at and entry.committed >= 0, 30)
    move(one)
    hints = {where: hint_at(one.target, group, where) for where in commits}
    second = [f"b-{i}" for i in range(100)]
    fresh = Producer({"bootstrap.servers": one.target.bootstrap})
    for i, value in enumerate(second):
        fresh.produce(one.topic, value, partition=i % PARTITIONS)
    fresh.flush(20)
    args = example(language, one.target, group, one.topic, done, 50, 5)
    out = subprocess.run(args, capture_output=True, text=True, timeout=120, check=True).stdout
    rows = done_by(done)
    assert sorted(value for _, value in rows) == sorted(first + second)  # all of it, and nothing twice
    again = sum(one.target.offsets(one.topic, PARTITIONS).values()) - sum(hint.start for hint in hints.values())
    assert int(out.split()[-1]) == again - len(second) > 0  # skipped: what it had done, and no more
    copied = {name for name, value in rows if value.startswith("a-")}
    assert all(name.startswith(f"{one.source.cluster_id}/{one.topic}/") for name in copied)


# -- what may go wrong ----------------------------------------------------------------------------------------------


def ready(line, places=2, groups=3):
    """A caught-up line whose groups stand at different places of both partitions."""
    load(line)
    line.worker("w1", wait=True)
    line.wait_caught_up()
    names = [f"{line.service}.g{n}" for n in range(groups)]
    for n, group in enumerate(names):
        commit(line.source, group, {(line.topic, p): 50 * (n + 1) for p in range(places)})
    for group in names:
        for p in range(places):
            wait_kept(line, group, (line.topic, p), lambda entry: entry.committed == entry.target >= 0)
    return names


def commits_of(line, operation):
    """Commits with the operation's hint, by the coordinators' own log."""
    count = 0
    with RawClient(line.target.bootstrap) as raw:
        for partition in line.target.offsets("__consumer_offsets"):
            for batch in raw.walk("__consumer_offsets", partition):
                count += batch.encode().count(f"ferry1 op={operation} ".encode())
    return count


@pytest.mark.long
@pytest.mark.parametrize("at", ["freeze:act", "offsets:before", "offsets:act", "hints:before", "hints:act"])
def test_killed_anywhere_each_place_is_committed_once(line, folder, at):
    """kill -9, then the same command from another folder: the same hints, one commit a place."""
    one = line()
    groups = ready(one)
    args = ("failover", one.service, "--yes", "--allow-loss", "unknown", "--force", "primary-alive")
    one.command.env = {"FERRY_FAILPOINT": at}
    assert one.command.run(*args, timeout=120).returncode == -9
    elsewhere = Command(one.conf.copy(folder / "elsewhere"))
    done = elsewhere.run(*args, "-o", "json", timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    operation = json.loads(done.stdout)["operation"]
    for n, group in enumerate(groups):
        for p in range(PARTITIONS):
            hint = hint_at(one.target, group, (one.topic, p))
            assert hint.operation == operation
            assert hint.start == one.map().translate(one.topic, p, 50 * (n + 1))
    assert commits_of(one, operation) == len(groups) * PARTITIONS


@pytest.mark.long
def test_without_redis_groups_go_on_where_they_stand(line, new_redis):
    """What the keeper committed each second is there; the range is honest, and how old it is is said."""
    one = line(redis=new_redis("own"))
    groups = ready(one)
    stands = {group: committed(one.target, group) for group in groups}
    one.redis.stop()
    args = ("failover", one.service, "--yes", "--allow-loss", "unknown", "--force", "primary-alive,redis")
    done = one.command.run(*args, "-o", "json", timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as they were committed at the target" in done.stderr and "s ago) or older" in done.stderr
    end = one.target.offsets(one.topic, PARTITIONS)
    for group in groups:
        assert committed(one.target, group) == stands[group]
        hint = hint_at(one.target, group, (one.topic, 0))
        assert (hint.start, hint.likely_until, hint.until) == (stands[group][one.topic, 0], end[0], end[0])
        assert (hint.cluster, hint.runs) == ("unknown", ())


@pytest.mark.long
def test_members_at_the_target_are_named_and_left_alone(line):
    """Exit 4 while any is unresolved, with its own position and the translated one."""
    one = line()
    groups = ready(one)
    commit(one.target, groups[0], {(one.topic, 0): 1})
    with Member(one.target, groups[0], [one.topic]):
        report = move(one, code=4)
    rows = {row["group"]: row for row in report["groups"]["groups"]}
    assert {group: rows[group]["verdict"] for group in groups} == {
        groups[0]: "members",
        groups[1]: "committed",
        groups[2]: "committed",
    }
    place = next(row for row in rows[groups[0]]["open"] if row["partition"] == 0)
    assert (place["stands_at"], place["translated"]) == (1, one.map().translate(one.topic, 0, 50))
    assert committed(one.target, groups[0])[one.topic, 0] == 1
    assert report["evidence"]["offsets"]["unresolved"] == 1
    # The operation has ended all the same: who ends the members may move the group.
    (closed,) = (row for row in one.command.json("history", one.service)["operations"] if row["kind"] == "failover")
    assert (closed["state"], closed["exit"]) == ("partly", 4)
    reset(one, "--group", groups[0], "--to", "translated", "--yes")
    assert committed(one.target, groups[0])[one.topic, 0] == place["translated"]


@pytest.mark.long
def test_a_live_group_gets_two_seconds_of_its_rate(line, own, folder):
    """It commits each second; every repeat is inside the hint, the likely range at most two seconds of its rate."""
    one = line()
    load(one, count=20)
    one.worker("w1", wait=True)
    one.wait_caught_up()
    group, rate = f"{one.service}.g", 200
    reader = SteadyReader(one.source, group, one.topic, one.source.bootstrap, rate)
    try:
        wait_kept(one, group, (one.topic, 0), lambda entry: entry.pace_ms > 0, 30)
        time.sleep(12)
        one.workers[0].kill9()  # with the primary: nothing of what is read from here on is at the target
    finally:
        reader.stop()
    move(one)
    likely = repeats = 0
    for partition in range(PARTITIONS):
        hint = hint_at(one.target, group, (one.topic, partition))
        end = one.target.offsets(one.topic, PARTITIONS)[partition]
        target = one.map().translate
        again = [t for t in range(hint.start, end) if (hint.source(t) or 0) < reader.read[partition]]
        assert all(t < hint.until for t in again)
        assert target(one.topic, partition, hint.source(hint.start)) == hint.start
        likely += hint.likely_until - hint.start
        repeats += len(again)
    print(f"likely {likely}, really read again {repeats}, rate {rate} a second")
    assert 0 < likely <= 2.1 * rate
    assert repeats <= likely + rate // 2  # and it is about right


@pytest.mark.long
@pytest.mark.timeout(240)
def test_what_a_lost_follower_did_not_acknowledge_is_bounded_too(own, folder, new_cluster, new_redis, name):
    """A broker of the target is lost with the primary and all workers, with batches on their way: the leader has them,
    nobody may read them until the lost follower is given up, and then they are records like all others."""
    quorum = {"broker.session.timeout.ms": 60000, "replica.lag.time.max.ms": 90000}
    once = {"offsets.topic.replication.factor": 1, "transaction.state.log.replication.factor": 1}
    source = new_cluster("left")
    target = new_cluster("right", start=False, brokers=3, controllers=1, heap="320m", props=quorum | once)
    first, second, third = target.brokers  # the third comes last: nothing that an operation writes to stands there
    for broker in (first, second):
        broker.start(wait=False)
    for broker in (first, second):
        broker.wait_started()
    target.warm_coordinators()
    for own_topic in ("control", "hints"):
        target.create_topic(f"ferry.{own_topic}.{name}", assignment=[[1]], config={"cleanup.policy": "compact"})
    third.start()
    topic = source.create_topic(f"{name}.t")
    target.create_topic(topic, assignment=[[1, 3]], config={"min.insync.replicas": 1})
    one = Line(own, folder, source, target, new_redis(), name, [topic], groups=[f"{name}.*"])
    worker = one.worker("w1", wait=True)
    Load(source.bootstrap, topic, "plain", count=200, partition=0).run()
    group = f"{name}.g"
    commit(source, group, {(topic, 0): 50})
    wait_for("the group to be carried", lambda: committed(target, group) == {(topic, 0): 50}, 30, every=0.2)
    wait_for("all in sync", lambda: len(target.metadata(topic).topics[topic].partitions[0].isrs) == 2, 30, every=0.2)
    third.kill9()
    Load(source.bootstrap, topic, "plain", count=30, partition=0, serial=1000).run()
    with RawClient(target.bootstrap) as raw:
        wait_for("the leader to have what flies", lambda: raw.log_end(topic, 0) == 230, 20, every=0.1)
        worker.kill9()
        source.broker(1).kill9()
        done = one.command.run("failover", name, "--yes", "--allow-loss", "unknown", "-o", "json", timeout=60)
        assert done.returncode in (0, 4), done.stderr  # who is left there the lost broker alone knows
        report = json.loads(done.stdout)
        assert report["evidence"]["offsets"]["places"]["committed"] == 1, done.stderr
        assert report["evidence"]["hints"]["published"], done.stderr
        assert raw.offset(topic, 0) == 200, "the follower was given up already: the test has shown nothing"
        hint = of_redis(one.redis.client, name)[group][topic, 0]
        assert (hint.start, hint.until) == (50, 230)
        wait_for("the follower to be given up", lambda: raw.offset(topic, 0) == 230, 90, every=0.5)


class SteadyReader:
    """Produces and reads so many records a second, and commits each second."""

    def __init__(self, cluster, group, topic, bootstrap, rate):
        self.read = dict.fromkeys(range(PARTITIONS), 0)  # {partition: behind the last one read}
        self.going = True
        self.producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
        self.client = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "session.timeout.ms": 6000,
            }
        )
        self.client.subscribe([topic])
        self.threads = [
            threading.Thread(target=run, args=(topic, rate), daemon=True) for run in (self._produce, self._consume)
        ]
        for thread in self.threads:
            thread.start()

    def _produce(self, topic, rate):
        began, count = time.monotonic(), 0
        while self.going:
            while count < (time.monotonic() - began) * rate:
                self.producer.produce(topic, b"x", partition=count % PARTITIONS)
                count += 1
            self.producer.poll(0)
            time.sleep(0.01)

    def _consume(self, topic, rate):
        last = time.monotonic()
        while self.going:
            message = self.client.poll(0.02)
            if message is not None and message.error() is None:
                self.read[message.partition()] = message.offset() + 1
            if time.monotonic() - last >= 1:
                last = time.monotonic()
                self.client.commit(asynchronous=True)

    def stop(self):
        self.going = False
        for thread in self.threads:
            thread.join(10)


@pytest.mark.long
def test_two_hundred_groups_of_four_hundred_partitions(own, folder, new_cluster, new_redis, name, capsys):
    """Freeze, offsets and hints of 80,000 places: seconds, with the brokers on the same two cores."""
    groups, topics, partitions = 200, 50, 8
    props = {"offsets.topic.num.partitions": 10}
    source, target = new_cluster("source", props=props), new_cluster("target", props=props)
    for cluster in (source, target):
        cluster.warm_coordinators()
    names = [source.create_topic(f"{name}.t{n}", partitions=partitions) for n in range(topics)]
    producer = Producer({"bootstrap.servers": source.bootstrap, "linger.ms": 50})
    for topic in names:
        for n in range(partitions * 40):
            producer.produce(topic, f"{n}", partition=n % partitions)
    producer.flush(60)
    one = Line(own, folder, source, target, new_redis("own"), name, names, groups=[f"{name}.*"])
    wanted = [
        ConsumerGroupTopicPartitions(
            f"{name}.g{n}", [TopicPartition(t, p, 10 + n % 20) for t in names for p in range(partitions)]
        )
        for n in range(groups)
    ]
    futures = [f for one_group in wanted for f in source.admin.alter_consumer_group_offsets([one_group]).values()]
    for future in futures:
        future.result(60)
    worker = one.worker("w1", wait=True)
    one.wait_caught_up()
    everything = groups * topics * partitions
    worker.wait_metric("all committed", lambda m: m.get("ferry_group_commits_total", 0) >= everything, 180)
    report = move(one)
    seconds = {row["step"]: row["seconds"] for row in report["rto"]["steps"]}
    with capsys.disabled():
        print(f"\n{groups} groups x {topics * partitions} partitions: {seconds}; in all {report['rto']['seconds']}")
    assert all(row["verdict"] == "committed" for row in report["groups"]["groups"])
    hint = hint_at(target, f"{name}.g7", (names[3], 5))
    assert (hint.start, hint.until) == (17, 40) and hint.source(20) == 20
    assert sum(seconds[step] for step in ("freeze", "offsets", "hints")) < 10


def killed_behind_its_hints(one, folder, first=lambda groups: None):
    """A switchover whose hints are published, and nobody goes on with it. `first`: done before with its groups.
    @return (groups, committed before)"""
    program = folder / "fence.sh"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    one.conf.data["services"][one.service]["hooks"] = {"fence": [str(program)]}
    one.conf.write()
    groups = ready(one)
    before = {group: committed(one.target, group) for group in groups}
    first(groups)
    one.command.env = {"FERRY_FAILPOINT": "hints:act", "FERRY_WATCH_MS": "3500"}
    killed = one.command.run("switchover", one.service, "--yes", timeout=120)
    assert killed.returncode == -9, killed.stderr
    where = (one.topic, 0)
    assert hint_at(one.target, groups[0], where).start == before[groups[0]][where]
    assert one.redis.client.exists(f"{{{one.service}}}:hints:{groups[0]}")
    one.command.env = {"FERRY_WATCH_MS": "3500"}
    return groups, before


@pytest.mark.long
def test_taken_back_the_hints_are_gone_and_groups_are_carried_on(line, folder):
    """A switchover killed behind its commits, no time left for who goes on: the keeper follows the groups as before."""
    one = line()
    groups, before = killed_behind_its_hints(one, folder)
    where = (one.topic, 0)
    done = one.command.run("switchover", one.service, "--yes", "--timeout", "1", timeout=120)
    assert done.returncode == 1, done.stderr
    for group in groups:
        assert committed(one.target, group) == before[group]
        assert metadata_at(one.target, group, where) == ""
        assert not one.redis.client.exists(f"{{{one.service}}}:hints:{group}")
    assert "no hints" in one.command.run("hints", one.service).stderr
    commit(one.source, groups[0], {where: 200})
    wanted = one.map().translate(*where, 200)
    wait_for("it to follow", lambda: committed(one.target, groups[0])[where] == wanted, 40, every=0.3)


@pytest.mark.long
def test_hints_that_redis_does_not_let_go_are_told(line, folder, new_redis):
    """Taken back, but for the hints in Redis: exit 4, and the report says why."""
    one = line(redis=new_redis("own"))
    groups, before = killed_behind_its_hints(one, folder)
    one.redis.client.execute_command("ACL", "SETUSER", "default", "-del")
    args = ("switchover", one.service, "--yes", "--timeout", "1", "-o", "json")
    done = one.command.run(*args, timeout=120)
    assert done.returncode == 4, done.stderr
    report = json.loads(done.stdout)
    assert report["state"] == "undone" and "del" in report["evidence"]["hints"]["left"].lower(), report
    assert "left in Redis" in done.stderr
    assert one.redis.client.exists(f"{{{one.service}}}:hints:{groups[0]}")
    for group in groups:
        assert committed(one.target, group) == before[group]
        assert metadata_at(one.target, group, (one.topic, 0)) == ""


@pytest.mark.long
def test_taken_back_the_hints_that_stood_before_are_there_again(line, folder):
    """Of an earlier move: in the topic, in Redis, in the commits."""
    one = line()
    earlier = "20250101T000000Z-failover-0000"
    topic = f"ferry.hints.{one.service}"
    where = (one.topic, 0)

    def place(start):
        rows = {"from": start, "likely_until": start + 1, "until": start + 2, "read_ms": -1, "mapped_until": start}
        return {"topic": where[0], "partition": where[1], "verdict": "committed", "runs": []} | rows

    def text(group, start, **more):
        value = {"version": 1, "operation": earlier, "service": one.service, "group": group, "from_site": "a"}
        value |= {"to_site": "b", "cluster": "c", "cut_ms": 1, "places": [place(start)], **more}
        return json.dumps(value, separators=(",", ":"))

    def metadata(start):
        return (
            f"ferry1 op={earlier} from={start} likely={start + 1} until={start + 2} cluster=c read=-1 cut=-1"
            f" mapped={start} runs=- !"
        )

    def moved_before(groups):
        one.target.create_topic(topic, 1, config={"cleanup.policy": "compact"})
        producer = Producer({"bootstrap.servers": one.target.bootstrap, "acks": "all"})
        for start in (3, 7):  # the older one is replaced, as the first part of a group of two
            producer.produce(topic, text(groups[0], start), f"0/{groups[0]}")
        producer.produce(topic, text(groups[1], 7, parts=2), f"0/{groups[1]}")
        producer.produce(topic, text(groups[1], 8, parts=2), f"1/{groups[1]}")
        producer.flush(20)
        one.redis.client.set(f"{{{one.service}}}:hints:{groups[0]}", text(groups[0], 7))
        stands = committed(one.target, groups[0])[where]
        commit(one.target, groups[0], {where: stands}, metadata=metadata(stands))

    groups, before = killed_behind_its_hints(one, folder, moved_before)
    kill9_all(one)  # the keeper commits over what stands there
    ours = hints_of_topic(one)
    assert set(ours) == set(groups) and all(value["operation"] != earlier for value in ours.values())
    done = one.command.run("switchover", one.service, "--yes", "--timeout", "1", timeout=120)
    assert done.returncode == 1, done.stderr
    now = hints_of_topic(one)
    assert set(now) == {groups[0], groups[1]} and {value["operation"] for value in now.values()} == {earlier}
    assert [row["from"] for row in now[groups[0]]["places"]] == [7]
    assert one.redis.client.get(f"{{{one.service}}}:hints:{groups[0]}").decode() == text(groups[0], 7)
    assert not one.redis.client.exists(f"{{{one.service}}}:hints:{groups[2]}")
    assert metadata_at(one.target, groups[0], where) == metadata(before[groups[0]][where])
    assert metadata_at(one.target, groups[1], where) == ""
    for group in groups:
        assert committed(one.target, group) == before[group]


def kill9_all(one):
    for worker in one.workers:
        worker.kill9()


def hints_of_topic(one):
    """{GROUP: the newest first part}, as it stands in the topic."""
    found = {}
    with RawClient(one.target.bootstrap) as raw:
        for record in raw.committed_records(f"ferry.hints.{one.service}", 0):
            part, _, group = record.key.decode().partition("/")
            if part == "0":
                found.pop(group, None)
                if record.value is not None:
                    found[group] = json.loads(record.value)
    return found


@pytest.mark.long
def test_a_hints_topic_that_refuses_keeps_nothing_from_being_taken_back(line, folder):
    """Undone, but for what is left there: exit 4, and the report says why."""
    one = line()
    groups, before = killed_behind_its_hints(one, folder)
    one.target.alter_topic_config(f"ferry.hints.{one.service}", {"max.message.bytes": "10"})
    done = one.command.run("switchover", one.service, "--yes", "--timeout", "1", "-o", "json", timeout=120)
    assert done.returncode == 4, done.stderr
    report = json.loads(done.stdout)
    assert report["state"] == "undone" and f"ferry.hints.{one.service}" in report["evidence"]["hints"]["left"], report
    assert not one.redis.client.exists(f"{{{one.service}}}:hints:{groups[0]}")
    for group in groups:
        assert committed(one.target, group) == before[group]
