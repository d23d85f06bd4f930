"""The write fence of the target: whoever was allowed to write is denied it, exactly these entries are taken away
again, and where it cannot be set that is said."""

import json

import pytest
from confluent_kafka import Producer

from rig.acls import Acl, all_acls, allow, take_back
from rig.ferry import EXIT_REFUSED, EXIT_UNCONFIRMED, Command, Configuration
from rig.permitted import APP
from rig.procs import wait_for

WRITER = f"User:{APP}"


def acl(name, principal=WRITER, operation="Write", pattern="literal", permission="Allow"):
    return Acl("topic", pattern, name, operation, principal, permission)


def denied(cluster, one):
    """Every DENY that concerns topics of the service."""
    return {(a.name, a.principal) for a in all_acls(cluster) if a.permission == "Deny" and a.name.startswith(one.name)}


def stands(one, entries):
    """A broker knows an entry a moment after the controller has taken it."""
    wait_for(f"DENY for {entries}", lambda: denied(one.target, one) == entries, 5)


@pytest.fixture
def fenced(permitted, strict):
    """An enabled service, and entries of others that go with the test."""
    others = []

    def make(acls, enable=True, **more):
        one = permitted(**more)
        one.grant()
        entries = [acl(**entry) if isinstance(entry, dict) else entry for entry in acls(one)]
        allow(one.target, entries)
        others.extend(entries)
        if enable:
            one.enabled = json.loads(one.command.ok("enable", one.name, "--yes", "-o", "json"))
        return one

    yield make
    left = [a for a in all_acls(strict[1]) if a.permission == "Deny"]
    take_back(strict[1], sorted({*others, *left}))


def write(one, topic):
    """May the application write to the target? The error's name, or None."""
    settings = one.target.secured("sasl").settings(one.line.folder / "app", user=APP)["kafka"]
    outcome = []
    producer = Producer(settings | {"sasl.password": f"{APP} pw", "message.timeout.ms": 8000, "log_level": 2})
    producer.produce(topic, b"x", callback=lambda err, _: outcome.append(err and err.name()))
    producer.flush(10)
    return outcome[0]


def test_writers_are_denied_and_exactly_they_are_given_back(fenced):
    other = "User:other"
    one = fenced(
        lambda one: [
            {"name": one.topic},
            {"name": f"{one.name}.", "principal": "User:prefix", "pattern": "prefixed", "operation": "All"},
            {"name": "*", "principal": "User:wild"},
            {"name": one.topic, "principal": "User:reader", "operation": "Read"},
            {"name": one.topic, "principal": other},
            {"name": one.topic, "principal": other, "permission": "Deny"},  # somebody else's, and stays
        ],
    )
    theirs = {(one.topic, other)}
    ours = {(one.topic, WRITER), (one.topic, "User:prefix"), (one.topic, "User:wild")}
    assert one.enabled["links"][0]["fence"] == "1 topics"
    stands(one, ours | theirs)
    worker = one.line.worker("w1", wait=True)
    one.produce()
    one.line.wait_caught_up()  # Ferry itself is not denied
    one.line.prove()
    assert write(one, one.topic) == "TOPIC_AUTHORIZATION_FAILED"
    assert "write fence: 1 topics" in one.command.ok("status", one.name)
    (shown,) = one.command.json("fence", "show", one.name)["links"]
    assert shown["topics"][one.topic]["state"] == "denied"
    assert set(shown["topics"][one.topic]["ours"]) == {who for _, who in ours}
    assert shown["topics"][one.topic]["theirs"] == [other]
    assert shown["super_users"] is True
    assert not shown["create"] and not shown["delete"]
    done = one.command.run("fence", "remove", one.name)
    assert done.returncode == EXIT_UNCONFIRMED and denied(one.target, one) == ours | theirs
    one.command.ok("fence", "remove", one.name, "--yes")
    stands(one, theirs)
    assert write(one, one.topic) is None
    assert "write fence: none" in one.command.ok("status", one.name)
    assert worker.alive


@pytest.mark.long
def test_sync_follows_new_topics_and_writers(fenced):
    one = fenced(lambda one: [{"name": f"{one.name}.", "pattern": "prefixed"}])
    later = f"{one.name}.later"
    one.source.create_topic(later)
    allow(one.target, [acl(one.topic, "User:new")])
    (shown,) = one.command.json("fence", "show", one.name)["links"]
    new = {(later, WRITER), (one.topic, "User:new")}
    assert {(row["topic"], row["principal"]) for row in shown["create"]} == new
    one.command.ok("fence", "sync", one.name, "--dry-run")
    stands(one, {(one.topic, WRITER)})
    assert one.command.run("fence", "sync", one.name).returncode == EXIT_UNCONFIRMED
    one.command.ok("fence", "sync", one.name, "--yes")
    stands(one, {(one.topic, WRITER)} | new)
    # An ALLOW that goes leaves its DENY: it may come back. A topic that goes takes its own with it.
    take_back(one.target, [acl(one.topic, "User:new")])
    one.line.conf.data["services"][one.name]["topics"]["exclude"] = ["*.later"]
    one.line.conf.write()
    one.command.ok("fence", "sync", one.name, "--yes")
    stands(one, {(one.topic, WRITER), (one.topic, "User:new")})
    one.command.ok("fence", "remove", one.name, "--yes")
    stands(one, set())


def test_everybody_cannot_be_denied(fenced):
    one = fenced(lambda one: [{"name": one.topic, "principal": "User:*"}, {"name": one.topic}])
    stands(one, set())
    (line,) = (link["fence"] for link in one.enabled["links"])
    assert line.startswith("none: User:* may Write")
    assert "would stop Ferry too" in one.command.ok("fence", "show", one.name).replace("\n    ", " ")


def test_nobody_else_may_write(fenced):
    one = fenced(lambda one: [])
    (shown,) = one.command.json("fence", "show", one.name)["links"]
    assert shown["topics"][one.topic]["state"] == "nobody"
    stands(one, set())


def test_without_an_operator_there_is_none(fenced):
    one = fenced(lambda one: [{"name": one.topic}], operator=False)
    assert one.enabled["links"][0]["fence"] == "none: sites.b.operator is not configured"
    stands(one, set())
    assert "none: sites.b.operator is not configured" in one.command.ok("status", one.name)
    asked = one.command.run("fence", "sync", one.name, "--yes")
    assert asked.returncode == EXIT_REFUSED and "sites.b.operator is not configured" in asked.stderr


def test_operator_without_alter_is_named(fenced):
    one = fenced(lambda one: [{"name": one.topic}], enable=False)
    alter = [pair for pair in one.granted if pair[1].resource == "cluster"]
    one.revoke(alter)
    done = one.command.run("enable", one.name, "--yes")
    assert done.returncode == 0
    assert "User:oper lacks Describe on the cluster" in done.stdout
    stands(one, set())
    one.grant(alter)
    one.command.ok("fence", "sync", one.name, "--yes")
    stands(one, {(one.topic, WRITER)})


def test_no_authorizer(folder, source, target, redis_server, name):
    """Plain clusters: enabled, and said that everybody may write."""
    conf = Configuration(folder / "ferry", {"a": (source, None), "b": (target, redis_server)})
    conf.data["sites"]["b"]["operator"] = {"kafka": {"client.id": "operator"}}
    conf.service(name, topics=[f"{name}.t"])
    source.create_topic(f"{name}.t")
    command = Command(conf)
    assert "write fence on b: none: b has no authorizer: everybody may write" in command.enable(name)


@pytest.mark.long
@pytest.mark.parametrize("moment", ["record", "create"])
def test_interrupted_sync_is_finished_by_the_next(fenced, moment):
    """Entries are recorded before they are made: whatever was interrupted, nothing is left behind."""
    one = fenced(lambda one: [{"name": one.topic}])
    stands(one, {(one.topic, WRITER)})
    if moment == "create":  # recorded, and not made
        take_back(one.target, [acl(one.topic, permission="Deny")])
        one.command.ok("fence", "sync", one.name, "--yes")
        stands(one, {(one.topic, WRITER)})
    else:  # taken away by hand: the record is what remove works from
        take_back(one.target, [acl(one.topic, permission="Deny")])
        one.command.ok("fence", "remove", one.name, "--yes")
        stands(one, set())
    one.command.ok("fence", "remove", one.name, "--yes")
    stands(one, set())
