"""Hints: which records a group may have processed already where it goes on at the target, told before the first client
arrives, and never less than the truth."""

import json

import pytest
from confluent_kafka import Consumer

from rig.groups import commit, committed, hint_at, kept, metadata_at
from rig.line import Line
from rig.procs import wait_for
from rig.produce import Load

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
            client.store_offsets(message=message) if False else None
            line.last = message
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
