"""Permissions on brokers that ask for them, and on a Redis that does: what `ferry check --print-acls` prints is enough and
nothing of it may be missing; what is missing is named; what is taken away while it runs is unknown, never "all is well"."""

import json

import pytest

from rig.acls import AUTHORIZER, Acl, all_acls, allow, take_back
from rig.ferry import EXIT_REFUSED
from rig.kafka import KafkaCluster, start_together
from rig.line import Line
from rig.procs import wait_for
from rig.produce import Load
from rig.secure import Listener

MIRROR, OPERATOR = "mirror", "oper"


@pytest.fixture(scope="module")
def strict(session_dir):
    """(source, target): nobody may do anything that no ACL allows."""
    users = {MIRROR: "mirror pw", OPERATOR: "oper pw", "app": "app pw"}
    clusters = [
        KafkaCluster(
            name,
            workdir=session_dir / "strict",
            props=AUTHORIZER,
            listeners={"sasl": Listener("SASL_PLAINTEXT", users=users, mechanism="PLAIN")},
        )
        for name in ("stricta", "strictb")
    ]
    start_together(*clusters)
    for cluster in clusters:
        cluster.warm_coordinators()
    yield clusters
    for cluster in clusters:
        cluster.stop(timeout=0, remove=True)


class Permitted:
    """A line whose sites ask for permission; both principals have what --print-acls prints."""

    def __init__(self, own, folder, strict, redis, name, operator=True, topics=None, **more):
        self.source, self.target = strict
        secured = {
            where: cluster.secured("sasl").settings(folder / where, user=MIRROR)
            for where, cluster in (("a", self.source), ("b", self.target))
        }
        if operator:
            other = self.target.secured("sasl").settings(folder / "oper", user=OPERATOR)
            secured["b"]["operator"] = {"kafka": {"sasl.username": OPERATOR}, "secrets": other["secrets"]}
        self.line = Line(
            own,
            folder,
            self.source,
            self.target,
            redis,
            name,
            topics or [f"{name}.*"],
            enable=False,
            secured=secured,
            **more,
        )
        self.name = name
        self.command = self.line.command
        self.topic = f"{name}.t"
        self.line.topics = [self.topic]
        self.source.create_topic(self.topic, partitions=2)
        self.granted = []

    def printed(self):
        """[(cluster, Acl)] as the command prints them."""
        (link,) = self.command.json("check", self.name, "--print-acls")["links"]
        return [(self.source if row["site"] == "a" else self.target, Acl.of_row(row)) for row in link["acls"]]

    def grant(self, pairs=None):
        for cluster, acl in pairs or self.printed():
            allow(cluster, [acl])
            self.granted.append((cluster, acl))

    def revoke(self, pairs=None):
        for cluster, acl in pairs or self.granted:
            take_back(cluster, [acl])

    def produce(self, topic=None, count=200, **more):
        Load(self.source.bootstrap, topic or self.topic, "lz4", count=count, partitions=2, **more).run()


@pytest.fixture
def permitted(own, folder, strict, redis_server, name):
    made = []

    def make(**more):
        made.append(Permitted(own, folder, strict, more.pop("redis", redis_server), name, **more))
        return made[-1]

    yield make
    for one in made:
        one.revoke()


def lacks(acl):
    """How a missing ACL is said; what stands behind a prefix is a topic's own name."""
    where = "the cluster" if acl.resource == "cluster" else f"{acl.resource} '{acl.name}"
    return f"{acl.principal} lacks {acl.operation} on {where}"


def findings(one):
    done = one.command.run("check", one.name, "-o", "json")
    (link,) = json.loads(done.stdout)["links"]
    return done.returncode, [(row["level"], row["what"], row["next"] or "") for row in link["findings"]]


def complaints(one):
    """What `ferry check` has to say that is not about one replica."""
    return [(level, what) for level, what, _ in findings(one)[1] if level != "ok" and "one replica" not in what]


def everything(one):
    """Everything that needs a permission: a topic's way, one more topic, more partitions, settings, status, verify."""
    line, later = one.line, f"{one.name}.later"
    one.target.create_topic(one.topic, partitions=2, config={"message.timestamp.type": "LogAppendTime"})
    one.produce()
    one.command.enable(one.name)
    worker = line.worker("w1", wait=True)
    line.wait_caught_up()
    one.source.create_topic(later, partitions=2)
    one.source.add_partitions(one.topic, 3)
    line.topics.append(later)
    one.produce(later)
    one.produce(serial=10**6)
    line.wait_caught_up()
    return worker


def test_what_is_printed_is_enough(permitted):
    one = permitted()
    one.grant()
    assert complaints(one) == []
    worker = everything(one)
    one.line.prove()
    assert complaints(one) == []
    (found,) = one.command.status(one.name)["services"]
    assert found["links"][0]["lag_records"] == 0
    assert "verified" in one.command.ok("verify", one.name)
    assert "lacks" not in worker.process.log_text()
    assert one.line.group_checkpoint() is not None
    worker.stop()  # commits, leaves the group
    assert "lacks" not in worker.process.log_text()


def test_check_names_each_one_that_is_missing(permitted):
    """Before and after `ferry enable`: each line alone, taken away and given back."""
    one = permitted()
    printed = one.printed()
    one.grant()
    create = [pair for pair in printed if pair[1].operation == "Create"]
    for pair in create:  # nothing is there yet
        one.revoke([pair])
        assert any(lacks(pair[1]) in what for level, what in complaints(one) if level == "refused"), pair
        one.grant([pair])
    one.command.enable(one.name)
    one.line.worker("w1", wait=True)
    one.line.wait_copied(one.topic, 0, 0)
    for pair in printed:
        one.revoke([pair])
        code, found = findings(one)
        ours = [(level, what, then) for level, what, then in found if lacks(pair[1]) in what]
        assert ours, (pair, found)
        level, what, then = ours[0]
        soft = pair[1].operation == "Create" or pair[1].resource == "cluster"
        assert level == ("warning" if soft else "refused"), ours
        print(pair[1], code, *[row for row in found if row[0] != "ok" and "replica" not in row[1]], sep="\n  ")
        assert code == EXIT_REFUSED or soft
        assert "--print-acls" in then
        assert what.startswith("a: " if pair[0] is one.source else "b: ")
        one.grant([pair])
    assert complaints(one) == []
