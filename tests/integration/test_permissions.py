"""Permissions on brokers that ask for them, and on a Redis that does: what `ferry check --print-acls` prints is enough and
nothing of it may be missing; what is missing is named; what is taken away while it runs is unknown, never "all is well"."""

import pytest

from rig.acls import AUTHORIZER, Acl, all_acls, allow, take_back
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


def test_what_is_printed_is_enough(permitted):
    one = permitted()
    one.grant()
    line = one.line
    print(one.command.ok("check", one.name, "--print-acls"))
    one.produce()
    check = one.command.run("check", one.name)
    print(check.stdout, check.stderr)
    print(one.command.enable(one.name))
    worker = line.worker("w1", wait=True)
    line.wait_caught_up()
    line.prove()
    one.source.create_topic(f"{one.name}.later", partitions=1)
    one.source.add_partitions(one.topic, 3)
    line.topics.append(f"{one.name}.later")
    one.produce(f"{one.name}.later", partitions=1) if False else None
    one.produce(serial=10**6)
    line.wait_caught_up()
    check = one.command.run("check", one.name)
    print(check.stdout, check.stderr)
    print(one.command.run("status", one.name).stdout)
    print(one.command.run("verify", one.name).stdout)
    print("\n".join(row for row in worker.events() if " WARN" in row or "warn" in row))
    assert False
