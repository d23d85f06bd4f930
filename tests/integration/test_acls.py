"""ACLs of the source at the target: what reads is copied, what writes waits, nothing that is not Ferry's is touched,
and where it cannot be that is said."""

import json
import time

import pytest
from confluent_kafka import Consumer, Producer

from rig.acls import AUTHORIZER, Acl, all_acls, allow, take_back
from rig.ferry import EXIT_REFUSED, EXIT_UNCONFIRMED, Command, Configuration
from rig.permitted import APP, MIRROR, OPERATOR, Permitted
from rig.secure import Listener

USER = f"User:{APP}"
TOPICS = {"topics": True}
BOTH = {"topics": True, "groups": True}


def acl(name, operation="Read", principal=USER, pattern="literal", permission="Allow", resource="topic"):
    return Acl(resource, pattern, name, operation, principal, permission)


def everything(cluster):
    return {*all_acls(cluster), *all_acls(cluster, "group")}


@pytest.fixture
def tidy():
    """What clusters had before comes back: ACLs are of the session's clusters."""
    before = {}

    def remember(*clusters):
        before.update({cluster: everything(cluster) for cluster in clusters})

    yield remember
    for cluster, had in before.items():
        take_back(cluster, sorted(everything(cluster) - had))


@pytest.fixture
def copying(permitted, tidy, strict):
    """An enabled service with acl_sync, and the ACLs of applications at its source."""

    def make(source=lambda one: (), acl_sync=BOTH, grant=True, **more):
        tidy(*strict)
        one = permitted(acl_sync=acl_sync, **more)
        one.grant(None if grant else [pair for pair in one.printed() if pair[1].operation != "Describe"])
        one.command.ok("enable", one.name, "--yes", "--no-fence")
        allow(one.source, list(source(one)))
        one.had = everything(one.target)
        return one

    return make


def copied(one):
    """What stands at the target that did not before."""
    return everything(one.target) - one.had


def sync(one, *more):
    return one.command.json("acls", "sync", one.name, "--yes", *more)["links"][0]


def app_client(one, kind, **more):
    settings = one.target.secured("sasl").settings(one.line.folder / "app", user=APP)["kafka"]
    return kind(settings | {"sasl.password": f"{APP} pw", "log_level": 2} | more)


def read(one, topic, group):
    """What the application gets at the target: a record's key, or the error's name."""
    consumer = app_client(one, Consumer, **{"group.id": group, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    until = time.monotonic() + 20
    try:
        while time.monotonic() < until:
            got = consumer.poll(0.5)
            if got is not None:
                return got.error().name() if got.error() else "a record"
    finally:
        consumer.close()
    return "nothing"


def write(one, topic):
    outcome = []
    producer = app_client(one, Producer, **{"message.timeout.ms": 8000})
    producer.produce(topic, b"x", callback=lambda err, _: outcome.append(err and err.name()))
    producer.flush(10)
    return outcome[0]


def test_readers_come_along_and_writers_wait(copying):
    """The whole way: a consumer works at the target, a producer is refused, what goes at the source goes, no more."""
    one = copying(
        lambda one: [
            acl(f"{one.name}.", "All", pattern="prefixed"),
            acl(one.topic, principal="User:second"),
            acl("*", principal="User:wide"),
            acl(one.topic, "Read", "User:bad", permission="Deny"),
            acl("elsewhere", principal="User:other"),
            acl(f"{one.name}.app", resource="group"),
        ]
    )
    app_group = acl(f"{one.name}.app", resource="group")
    stranger = acl(one.topic, principal="User:stranger")
    twin = acl(one.topic, principal="User:second")
    allow(one.target, [stranger, twin])
    one.had = everything(one.target)
    ours = {
        acl(f"{one.name}.", pattern="prefixed"),
        acl(f"{one.name}.", "DescribeConfigs", pattern="prefixed"),
        acl(one.topic, principal="User:wide"),
        acl(one.topic, "Read", "User:bad", permission="Deny"),
        app_group,
    }
    worker = one.line.worker("w1", wait=True)
    one.produce()
    one.line.wait_caught_up()

    (dry,) = one.command.json("acls", "sync", one.name, "--dry-run")["links"]
    assert len(dry["create"]) == len(ours) and copied(one) == set()
    assert one.command.run("acls", "sync", one.name).returncode == EXIT_UNCONFIRMED and copied(one) == set()
    done = sync(one)
    assert copied(one) == ours
    assert [(row["operation"], row["name"]) for row in done["withheld"]] == [("All", f"{one.name}.")]
    left = {(row["principal"], row["why"]) for row in done["left"]}
    assert left == {(f"User:{MIRROR}", "Ferry's own principal")}

    assert read(one, one.topic, f"{one.name}.app") == "a record"
    assert write(one, one.topic) == "TOPIC_AUTHORIZATION_FAILED"
    assert "ACLs of a: 5 copied, 1 withheld; changed 20" in one.command.ok("status", one.name)
    shown = one.command.ok("acls", "show", one.name)
    assert f"withheld: ALLOW All on prefixed topic '{one.name}.' for {USER}" in shown.replace("\n    ", " ")
    assert "not copied yet" not in shown
    (shown,) = one.command.json("acls", "show", one.name)["links"]
    assert [row["principal"] for row in shown["theirs"]] == ["User:second"]

    (before,) = one.command.status(one.name)["services"][0]["links"]
    time.sleep(1.1)
    sync(one)
    (after,) = one.command.status(one.name)["services"][0]["links"]
    assert after["acls"] == before["acls"]  # nothing changed: nothing is written

    take_back(one.source, [acl("*", principal="User:wide"), twin])
    (shown,) = one.command.json("acls", "show", one.name)["links"]
    assert [row["principal"] for row in shown["delete"]] == ["User:wide"]
    sync(one)
    assert copied(one) == ours - {acl(one.topic, principal="User:wide")}
    assert one.had <= everything(one.target)  # the stranger's and the twin, which was not ours

    one.command.ok("acls", "remove", one.name, "--yes")
    assert everything(one.target) == one.had
    assert "ACLs of a" not in one.command.ok("status", one.name)
    one.line.prove()
    assert worker.alive


def test_sync_goes_with_topics_and_with_hands(copying):
    """A wide entry reaches a new topic at the next run; what a hand took away comes back; excluded ones do not come."""
    one = copying(
        lambda one: [acl("*", principal="User:wide"), acl(one.topic, principal="User:admin-1")],
        acl_sync=TOPICS | {"exclude": ["User:admin-*"]},
    )
    sync(one)
    first = acl(one.topic, principal="User:wide")
    assert copied(one) == {first}
    one.source.create_topic(f"{one.name}.later")
    take_back(one.target, [first])
    (shown,) = one.command.json("acls", "show", one.name)["links"]
    assert {row["name"] for row in shown["create"]} == {one.topic, f"{one.name}.later"}
    sync(one)
    assert copied(one) == {first, acl(f"{one.name}.later", principal="User:wide")}


def test_what_would_stop_ferry_or_open_more_is_not_copied(copying):
    """DENY for User:* would deny Ferry; the ALLOWs that it bounds would be worth more than at the source."""
    one = copying(
        lambda one: [
            acl(one.topic, "Read", "User:*", permission="Deny"),
            acl(f"{one.name}.", pattern="prefixed"),
        ]
    )
    one.source.create_topic(f"{one.name}.free")
    done = sync(one)
    assert copied(one) == {acl(f"{one.name}.free")}
    whys = {(row["permission"], row["name"]): row["why"] for row in done["left"] if "User:m" not in row["principal"]}
    assert "would stop Ferry too" in whys["Deny", one.topic]
    assert "bounds it" in whys["Allow", one.topic]


def refused(one, *words):
    done = one.command.run(*words, one.name, *(["--yes"] if "sync" in words else []))
    assert done.returncode == EXIT_REFUSED, done.stdout + done.stderr
    return done.stderr


def test_where_it_cannot_be_that_is_said(copying):
    """Off; without Describe at the source; without Alter at the target; a source that forgot everything."""
    one = copying(lambda one: [acl(one.topic)], grant=False)
    assert f"User:{MIRROR} lacks Describe on the cluster" in refused(one, "acls", "sync")
    assert "unknown: a: describe ACLs" in one.command.ok("acls", "show", one.name)
    found = one.command.run("check", one.name)
    assert f"a: User:{MIRROR} lacks Describe on the cluster" in found.stdout.replace("\n    ", " ")
    one.grant([pair for pair in one.printed() if pair not in one.granted])
    alter = [pair for pair in one.granted if pair[1].operation == "Alter" and pair[1].resource == "cluster"]
    one.revoke(alter)
    assert "User:oper lacks Describe on the cluster" in refused(one, "acls", "sync")
    describe = Acl("cluster", "literal", "kafka-cluster", "Describe", "User:oper")
    allow(one.target, [describe])
    assert "User:oper lacks Alter on the cluster" in refused(one, "acls", "sync")
    take_back(one.target, [describe])
    assert "ACLs of a" not in one.command.ok("status", one.name)  # nothing was recorded
    assert copied(one) == set()
    one.grant(alter)
    sync(one)
    assert copied(one) == {acl(one.topic)}

    take_back(one.source, [acl(one.topic)])
    assert "no ACL about the service any more" in refused(one, "acls", "sync")
    assert copied(one) == {acl(one.topic)}
    one.line.conf.data["services"][one.name]["acl_sync"] = {}
    one.line.conf.write()
    assert f"acl_sync of {one.name} is off" in refused(one, "acls", "sync")
    one.command.ok("acls", "remove", one.name, "--yes")
    assert copied(one) == set()


def test_without_an_operator_or_a_role_there_is_none(permitted):
    one = permitted(acl_sync=TOPICS, operator=False)
    one.grant()
    assert f"{one.name} has no role on b" in refused(one, "acls", "sync")
    one.command.ok("enable", one.name, "--yes")
    assert "sites.b.operator is not configured" in refused(one, "acls", "sync")


def test_no_authorizer_at_the_source(folder, source, target, redis_server, name):
    conf = Configuration(folder / "ferry", {"a": (source, None), "b": (target, redis_server)})
    conf.data["sites"]["b"]["operator"] = {"kafka": {"client.id": "operator"}}
    conf.service(name, topics=[f"{name}.t"], acl_sync=TOPICS)
    source.create_topic(f"{name}.t")
    command = Command(conf)
    command.enable(name)
    done = command.run("acls", "sync", name, "--yes")
    assert done.returncode == EXIT_REFUSED and "a has no authorizer: there is no ACL to be copied" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("moment", ["made", "recorded"])
def test_an_interrupted_sync_is_ended_by_the_next(copying, moment):
    """Recorded and not made; made, and gone at the source before the next run: the record is what it works from."""
    one = copying(lambda one: [acl(one.topic), acl(one.topic, "Describe")])
    sync(one)
    if moment == "recorded":
        take_back(one.target, sorted(copied(one)))
        sync(one)
        assert copied(one) == {acl(one.topic), acl(one.topic, "Describe")}
    take_back(one.source, [acl(one.topic)])
    sync(one)
    assert copied(one) == {acl(one.topic, "Describe")}


@pytest.mark.long
def test_the_first_entry_does_not_lock_ferry_out(own, folder, strict, redis_server, new_cluster, tidy, name):
    """A target that lets everybody use what no ACL concerns: the first ACL of a topic would end the mirroring."""
    tidy(strict[0])
    users = {who: f"{who} pw" for who in (MIRROR, OPERATOR, APP)}
    open_target = new_cluster(
        "open",
        props=AUTHORIZER | {"allow.everyone.if.no.acl.found": "true"},
        listeners={"sasl": Listener("SASL_PLAINTEXT", users=users, mechanism="PLAIN")},
    )
    one = Permitted(own, folder, (strict[0], open_target), redis_server, name, acl_sync=TOPICS)
    one.grant([pair for pair in one.printed() if pair[0] is one.source])
    allow(open_target, [pair[1] for pair in one.printed() if pair[1].resource == "cluster" and pair[0] is open_target])
    allow(strict[0], [acl(one.topic)])
    one.had = everything(open_target)
    one.command.ok("enable", one.name, "--yes", "--no-fence")
    worker = one.line.worker("w1", wait=True)
    done = sync(one)
    assert copied(one) == set()
    (left,) = [row for row in done["left"] if row["principal"] == USER]
    assert "lock the others out" in left["why"]
    one.produce()
    one.line.wait_caught_up()
    allow(open_target, [acl(one.topic, "All", f"User:{MIRROR}")])
    sync(one)
    assert acl(one.topic) in copied(one)
    one.produce(serial=10**6)
    one.line.wait_caught_up()
    one.line.prove()
    assert worker.alive


def test_json_is_whole_when_nothing_can_be_compared(copying):
    one = copying(acl_sync={})
    (shown,) = one.command.json("acls", "show", one.name)["links"]
    assert shown["copied"] == [] and shown["create"] is None
    assert "is off" in shown["unknown"]
    assert json.dumps(shown)
