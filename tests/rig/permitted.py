"""A line between two clusters where nobody may do anything that no ACL allows.

strict = strict_sites(folder)                                (source, target), started
one = Permitted(own, folder, strict, redis, "orders"); one.grant(); one.command.enable("orders")
"""

from rig.acls import AUTHORIZER, Acl, allow, take_back
from rig.kafka import KafkaCluster, start_together
from rig.line import Line
from rig.produce import Load
from rig.secure import Listener

MIRROR, OPERATOR, APP = "mirror", "oper", "app"


def strict_sites(folder):
    users = {name: f"{name} pw" for name in (MIRROR, OPERATOR, APP)}
    clusters = [
        KafkaCluster(
            name,
            workdir=folder,
            props=AUTHORIZER,
            listeners={"sasl": Listener("SASL_PLAINTEXT", users=users, mechanism="PLAIN")},
        )
        for name in ("stricta", "strictb")
    ]
    start_together(*clusters)
    for cluster in clusters:
        cluster.warm_coordinators()
    return clusters


class Permitted:
    """A line whose sites ask for permission; both principals have what --print-acls prints."""

    def __init__(self, own, folder, strict, redis, name, operator=True, topics=None, groups=None, **more):
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
            groups=groups or [f"{name}.*"],
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
