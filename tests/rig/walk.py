"""A failover walked through: a service that its consumers find by a name, two sites, a name server, and the verdict.

    walk = Walk(own, folder, topics=["orders.t"]).start()          mirrored, named, everybody at work
    walk.live("orders.t", rate=500)                                producers at the primary
    follower = walk.follow("billing")                              a consumer that knows the name alone
    walk.kill_primary(); done = walk.failover()
    walk.produce_there("orders.t", 100); print(walk.verdict().text())

The sites listen on one port of different addresses, as real clusters of one service do: the name carries no port. On
the loopback by default, where consumers ask the name server by a callback of librdkafka's, and `ferry` cannot resolve
the name. With `places` (rig.netns.Places) the name server has port 53, consumers and `ferry` ask it as their machine's
resolver, and the primary can be cut off without an answer.
"""

import time
from typing import NamedTuple

from rig import hints, netns
from rig.acls import AUTHORIZER, Acl, allow
from rig.ferry import Command, Configuration, Worker
from rig.follower import Follower, judge, records_of, wait_processed
from rig.kafka import KafkaCluster, start_together
from rig.nameserver import ZONE, Bind, zone_settings
from rig.offsetmap import RedisMap
from rig.procs import free_port, wait_for
from rig.produce import Load
from rig.redis import RedisServer
from rig.secure import Listener

SERVICE = "orders"
RECORD = f"kafka.{ZONE}"
TTL_S = 1
MIRROR, OPERATOR = "mirror", "oper"
SHIFT = 100  # records a partition that are gone before the mirror begins: no offset is the same at both sites


class Address(NamedTuple):
    """Where a cluster listens, without a place of its own."""

    host: str
    prefix: tuple = ()


LOOPBACK = (Address("127.0.0.1"), Address("127.0.0.2"))


def same_port(*clusters):
    """One-broker clusters on different addresses listen on one port."""
    port = free_port()
    for cluster in clusters:
        cluster.broker(1).port = port
    return port


def zone_records(home, other):
    return f"kafka-a {TTL_S} A {home}\nkafka-b {TTL_S} A {other}\nkafka {TTL_S} CNAME kafka-a\n"


def names(service_record=RECORD, zone=ZONE, home="a", other="b"):
    """`cname` of a service whose sites are called kafka-a and kafka-b in the zone."""
    at = {home: f"kafka-a.{zone}", other: f"kafka-b.{zone}"}
    return [{"record": service_record, "ttl": f"{TTL_S}s", "at": at}]


class Walk:
    def __init__(
        self, own, folder, topics, partitions=4, places=LOOPBACK, props=None, groups=("*",), permitted=False, **service
    ):
        """`permitted`: the sites ask for permission; there is an application that may write at both, so that the target
        is fenced, and Ferry copies its other ACLs. `service`: more keys of it."""
        self.own, self.folder, self.topics, self.partitions = own, folder, topics, partitions
        self.places, name_place = places[:2], places[2] if len(places) > 2 else None
        self.has_acls = permitted
        self.source, self.target = (
            own(KafkaCluster(name, workdir=folder / "kafka", place=place, **self.asking(props, place)))
            for name, place in zip(("a", "b"), self.places, strict=True)
        )
        self.port = same_port(self.source, self.target)
        self.redis = own(RedisServer("b", workdir=folder))
        records = zone_records(*(place.host for place in self.places))
        self.names = own(Bind("names", folder, records=records, place=name_place))
        self.prefix = netns.resolving(self.names.host, folder / "resolv.conf") if name_place else []
        self.groups, self.service_keys = groups, service
        if permitted:
            self.service_keys = {"acl_sync": {"topics": True, "groups": True}} | service
        self.workers, self.followers, self.loads, self.serials = [], [], [], {}
        self.extra_groups = []  # that have no follower

    # -- before -------------------------------------------------------------------------------------------------

    def asking(self, props, place):
        """Of a cluster: the rig itself comes in as a super user, Ferry by a listener of its own."""
        if not self.has_acls:
            return {"props": props}
        users = {name: f"{name} pw" for name in (MIRROR, OPERATOR)}
        listener = Listener("SASL_PLAINTEXT", users=users, mechanism="PLAIN", host=place.host)
        return {"props": {**(props or {}), **AUTHORIZER}, "listeners": {"sasl": listener}}

    def secured(self):
        """`secured` of the configuration."""
        if not self.has_acls:
            return {}
        sites = {}
        for name, cluster in (("a", self.source), ("b", self.target)):
            sites[name] = cluster.secured("sasl").settings(self.folder / f"mirror-{name}", user=MIRROR)
            other = cluster.secured("sasl").settings(self.folder / f"operator-{name}", user=OPERATOR)
            sites[name]["operator"] = {"kafka": {"sasl.username": OPERATOR}, "secrets": other["secrets"]}
        return sites

    def permit(self):
        (link,) = self.command.json("check", SERVICE, "--print-acls")["links"]
        for row in link["acls"]:
            allow(self.source if row["site"] == "a" else self.target, [Acl.of_row(row)])
        allow(self.target, [Acl("topic", "literal", topic, "Write", "User:app") for topic in self.topics])
        kinds = ("Write", "Read")
        allow(
            self.source, [Acl("topic", "literal", topic, kind, "User:app") for topic in self.topics for kind in kinds]
        )

    def start(self, workers=1, shift=True):
        start_together(self.source, self.target)
        self.redis.start()
        self.names.start()
        for cluster in (self.source, self.target):
            cluster.warm_coordinators()
        for topic in self.topics:
            self.source.create_topic(topic, partitions=self.partitions)
            if shift:
                self.shift(topic)
        dns = {"dns": {ZONE: zone_settings(self.folder, [self.names])}}
        sites = {"a": (self.source, None), "b": (self.target, self.redis)}
        self.conf = Configuration(self.folder / "ferry", sites, secured=self.secured(), **dns)
        self.conf.service(SERVICE, topics=self.topics, groups=self.groups, cname=names(), **self.service_keys)
        self.command = Command(self.conf, prefix=self.prefix)
        if self.has_acls:
            self.permit()
        self.command.enable(SERVICE)
        if self.has_acls:
            self.command.ok("acls", "sync", SERVICE, "--yes")
        self.command.ok("dns", "adopt", SERVICE, "--yes")
        for n in range(1, workers + 1):
            self.worker(f"w{n}")
        for worker in self.workers:
            worker.wait_ready()
        return self

    def shift(self, topic):
        self.produce(topic, SHIFT * self.partitions)
        for partition in range(self.partitions):
            self.source.delete_records(topic, partition, SHIFT)

    def worker(self, name):
        self.workers.append(self.own(Worker(self.conf, name)).start())
        return self.workers[-1]

    def _load(self, cluster, topic, kind, count, rate):
        serial = self.serials.get(topic, 0)
        self.serials[topic] = serial + (count or 10_000_000)
        return Load(
            cluster.bootstrap, topic, kind, count=count, rate=rate, partitions=self.partitions, numbered=1,
            serial=serial, size=100, seed=serial + 1,
        )  # fmt: skip

    def produce(self, topic, count, kind="plain"):
        """So many records, a multiple of the partitions, to the primary."""
        return self._load(self.source, topic, kind, count, None).run()

    def produce_there(self, topic, count, kind="plain"):
        """To the secondary, as producers that follow the name do."""
        return self._load(self.target, topic, kind, count, None).run()

    def live(self, topic, rate, kind="plain"):
        self.loads.append(self._load(self.source, topic, kind, None, rate).start())
        self.own(self.loads[-1].process)
        return self.loads[-1]

    def follow(self, group, topics=None, **more):
        """A consumer that lives on through everything."""
        number = sum(follower.group == group for follower in self.followers)
        folder = self.folder / f"consumer-{number}"
        bootstrap = f"{RECORD}:{self.port}"
        nameserver = "-" if self.prefix else self.names.address
        follower = Follower(group, bootstrap, nameserver, topics or self.topics, folder, prefix=self.prefix, **more)
        self.followers.append(self.own(follower).start())
        return follower

    def wait_at_work(self, followers=None, records=1, timeout=30):
        """Every consumer has processed so many records, and committed."""

        def there():
            for follower in followers or self.followers:
                follower.process.check()
            return all(len(f.read()) >= records and f.committed() for f in followers or self.followers)

        wait_for("the consumers to work", there, timeout, every=0.2)

    def key(self, name):
        return f"{{{SERVICE}}}:a>b:{name}"

    def map(self):
        return RedisMap(self.redis.client, SERVICE, "a", "b")

    # -- the day ------------------------------------------------------------------------------------------------

    def end_loads(self):
        """Producers of the primary are gone, with whatever they had."""
        for load in self.loads:
            if load.alive:
                load.process.kill9()

    def kill_primary(self):
        for broker in self.source.brokers:
            broker.kill9()
        self.end_loads()

    def failover(self, *words, timeout=120, allow_loss="unknown", command=None):
        """(CompletedProcess, seconds from exec to exit)."""
        began = time.monotonic()
        more = ["--allow-loss", allow_loss] if allow_loss else []
        done = (command or self.command).run("failover", SERVICE, "--yes", *more, *words, timeout=timeout)
        return done, time.monotonic() - began

    def blackhole_primary(self):
        """Nobody answers there, and nobody refuses: connections that are open hang, too. Needs places."""
        self.places[0].swallow()
        self.end_loads()

    # -- after --------------------------------------------------------------------------------------------------

    def places_of(self, topics=None):
        return [(topic, p) for topic in topics or self.topics for p in range(self.partitions)]

    def group_names(self):
        return sorted({follower.group for follower in self.followers} | set(self.extra_groups))

    def hints(self):
        """{group: {place: Hint}} as Redis has them: what stands in commits goes with the group's own next one."""
        return hints.of_redis(self.redis.client, SERVICE)

    def verdict(self, published=None, timeout=60):
        """What every group processed, of everything that the target holds, against the hints."""
        target = records_of(self.target, self.topics)
        wait_processed(self.followers, target, timeout)
        return judge(self.followers, self.source.cluster_id, target, published or self.hints())
