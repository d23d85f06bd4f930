"""Hints: which records a group may have processed already where it goes on at the target, told before the first client
arrives, and never less than the truth."""

import json
import subprocess
import sys

import pytest
from confluent_kafka import Consumer, Producer

from rig.groups import Member, commit, committed, hint_at, kept, metadata_at
from rig.jvm import QUICK, class_path
from rig.line import Line
from rig.paths import BUILD, ROOT
from rig.procs import Process, wait_for
from rig.produce import Load

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


def test_a_reset_shows_first_and_moves_when_told(line):
    """Before, after and what is read again; refused for members by name; a hint and a journal record stay behind."""
    one = line()
    load(one)
    one.worker("w1", wait=True)
    one.wait_caught_up()
    group, where = f"{one.service}.g", (one.topic, 0)
    commit(one.source, group, {where: 100})
    wait_kept(one, group, where, lambda entry: entry.hold == "free" and entry.committed >= 0)
    stood = wait_for("its commit", lambda: committed(one.target, group).get(where), 20)
    asked = ("--group", group, "--to", "earliest")
    (place,) = reset(one, *asked, "--dry-run")
    assert (place["before"], place["after"], place["outcome"]) == (stood, 0, "due")
    assert stood <= place["reread_likely"] <= place["reread_most"] <= one.target.offsets(one.topic, PARTITIONS)[0]
    assert "not confirmed" in reset(one, *asked, code=8)
    assert committed(one.target, group)[where] == stood

    with Member(one.target, group, [one.topic]):
        refused = reset(one, *asked, "--yes", code=3)
        assert group in refused and "members" in refused
        (place,) = reset(one, *asked, "--yes", "--stop-members", group)  # it polls on, and joins again
        assert place["outcome"] == "moved"
    assert committed(one.target, group)[where] == 0
    hint = hint_at(one.target, group, where)
    assert hint.start == 0 and hint.likely_until == place["reread_likely"] and "-reset-" in hint.operation

    (place,) = reset(one, "--group", group, "--to", "source-offset=50", "--topic", f"{one.topic}:0", "--yes")
    assert committed(one.target, group)[where] == place["after"] == one.map().translate(*where, 50)
    (place,) = reset(one, "--all", "--to", "translated", "--yes")
    assert committed(one.target, group)[where] == stood and place["skipped"] == stood - one.map().translate(*where, 50)
    history = one.command.json("history", one.service)["operations"]
    assert [(row["kind"], row["state"]) for row in history] == [("reset", "done")] * 3
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


@pytest.mark.parametrize("language", ["python", "c", pytest.param("java", marks=pytest.mark.long)])
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
