"""Failover and switchover on real Kafka, Redis and BIND: refusals first, then the move, killed at every step, taken back.

The primary of the command is dead when its configuration says an address where nobody listens; the workers have the right one. So
clusters are shared, and what the workers mirrored is real."""

import contextlib
import json
import os
import re
import subprocess
import time

import pytest

from rig.ferry import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_PARTLY,
    EXIT_REFUSED,
    EXIT_UNCONFIRMED,
    EXIT_UNREACHABLE,
    Command,
    Configuration,
    Worker,
)
from rig.groups import commit, committed
from rig.nameserver import ZONE, Bind, zone_settings
from rig.paths import BIN
from rig.procs import free_port, wait_for
from rig.produce import Load

A, B = f"kafka-a.{ZONE}", f"kafka-b.{ZONE}"
RECORDS = 60


class Service:
    """A service of one test: a topic with records, mirrored by a worker; its name in a zone of its own."""

    def __init__(self, own, folder, sites, redis, name, bind, conf_more=None, workers=1):
        self.own = own
        self.folder = folder
        self.source, self.target = sites
        self.redis = redis
        self.name = name
        self.topic = f"{name}.t"
        self.bind = bind
        self.record = f"kafka.{ZONE}"
        zones = {ZONE: zone_settings(folder, [bind])} if bind else {}
        cnames = [{"record": self.record, "at": {"a": A, "b": B}}] if bind else []
        self.conf = Configuration(folder / "right", {"a": (self.source, redis), "b": (self.target, redis)}, dns=zones)
        self.conf.service(name, topics=[f"{name}.*"], groups=[f"{name}*"], cname=cnames, **(conf_more or {}))
        self.dead = self.conf.copy(folder / "dead")
        self.dead.data["sites"]["a"]["kafka"]["bootstrap.servers"] = f"127.0.0.1:{free_port()}"
        self.dead.write()
        self.source.create_topic(self.topic, 2)
        Load(self.source.bootstrap, self.topic, "plain", count=RECORDS, partitions=2).run()
        self.right = Command(self.conf)
        self.lost = Command(self.dead)
        self.right.enable(name)
        if bind:
            self.right.ok("dns", "adopt", name, "--yes")
        self.workers = [own(Worker(self.conf, f"{name}-w{i}").start()) for i in range(workers)]
        self.wait_mirrored()

    def wait_mirrored(self, count=RECORDS):
        self.target.wait_topic(self.topic, 2)
        wait_for("mirrored", lambda: sum(self.target.offsets(self.topic).values()) >= count, 30)

    def failover(self, *more, command=None, **how):
        return (command or self.lost).run(
            "failover", self.name, "--yes", "--allow-loss", "unknown", "-o", "json", *more, **how
        )

    def role(self):
        status = self.right.status(self.name)
        return status["links"][0]["primary"], status["links"][0]["role_epoch"]

    def history(self):
        return self.right.json("history", self.name)["operations"]


@pytest.fixture(scope="module")
def bind(session_dir):
    with Bind("failover", session_dir / f"bind-{os.getpid()}") as server:
        yield server


@pytest.fixture
def moved(own, folder, sites, redis_server, name):
    def make(bind=None, **more):
        return Service(own, folder, sites, redis_server, name, bind, **more)

    return make


def test_a_lost_primary(moved, own, folder):
    """Everything that needs no primary is done, within seconds; the workers stop and stay stopped."""
    bind = own(Bind("one", folder)).start()
    one = moved(bind)
    done = one.failover("--reason", "fire")
    print(done.stdout, done.stderr)
    assert done.returncode == EXIT_DONE, done.stderr
    report = json.loads(done.stdout)
    assert report["state"] == "done" and report["rpo"]["records"] is None
    assert bind.value() == (30, B)
