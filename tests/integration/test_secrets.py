"""Secrets as canaries: passwords of SASL (mirror and operator), of a client's key and of Redis, the TSIG secret. A
failover with everything secured, at the most talkative log level, and none of them is anywhere but in its own file."""

import json
import time

import pytest
from confluent_kafka import KafkaException

from rig.acls import AUTHORIZER, Acl, allow
from rig.ferry import BIN, EXIT_DONE, Command, Configuration, Worker
from rig.groups import commit, committed
from rig.kafka import KafkaCluster, start_together
from rig.nameserver import ZONE, Bind, secret, zone_settings
from rig.procs import Process, wait_for
from rig.produce import Load
from rig.redis import RedisServer
from rig.secure import Authority, Certificate, Listener, openssl, write_secret
from rig.wire import RawClient

SERVICE, TOPIC, GROUP = "orders", "orders.t", "orders-g"
MIRROR, OPERATOR = "mirror", "oper"
HOOK = '#!/bin/sh\nenv >>"$(dirname "$0")/hook-said"\ncat >>"$(dirname "$0")/hook-said"\nsleep 1\n'
CANARIES = {
    "SASL of the mirror": "canary-mirror-7c1f",
    "SASL of the operator": "canary-operator-91ab",
    "the client's key": "canary-key-55e0",
    "Redis": "canary-redis-d3d3",
    "TSIG": secret("ferry"),
}


class Site:
    """A cluster that asks for a client's certificate, a password and permission."""

    def __init__(self, own, folder, name, authority):
        self.folder = folder / f"site-{name}"
        users = {MIRROR: CANARIES["SASL of the mirror"], OPERATOR: CANARIES["SASL of the operator"]}
        certificate = authority.certificate(f"broker-{name}", ("localhost", "127.0.0.1", f"kafka.{ZONE}"))
        listener = Listener("SASL_SSL", authority, certificate, users=users, client_authority=authority)
        self.cluster = own(KafkaCluster(name, workdir=folder / "kafka", props=AUTHORIZER, listeners={"sasl": listener}))
        self.client = authority.certificate(f"client-{name}")

    def settings(self):
        """Of the configuration; the client's key is encrypted."""
        key = self.client.key.with_suffix(".encrypted")
        password = self.folder / "key-password"
        self.folder.mkdir(parents=True, exist_ok=True)
        write_secret(password, CANARIES["the client's key"])
        openssl("pkey", "-in", self.client.key, "-aes256", "-passout", f"file:{password}", "-out", key)
        secured = self.cluster.secured("sasl")
        site = secured.settings(self.folder, user=MIRROR, certificate=Certificate(self.client.pem, self.client.key))
        site["kafka"]["ssl.key.location"] = str(key)
        site["secrets"]["ssl.key.password"] = {"file": str(password)}
        other = secured.settings(self.folder / "operator", user=OPERATOR)
        site["operator"] = {"kafka": {"sasl.username": OPERATOR}, "secrets": dict(other["secrets"])}
        site["operator"]["secrets"]["ssl.key.password"] = {"file": str(password)}
        return site


def everything_of(cluster, topic):
    """Keys and values of all its records, transactions that were given up among them."""
    with RawClient(cluster.bootstrap) as raw:
        parts = cluster.offsets(topic)
        return b"".join(
            (record.key or b"") + (record.value or b"")
            for partition in parts
            for batch in raw.walk(topic, partition)
            for record in ([] if batch.control else batch.records())
        )


@pytest.mark.long
@pytest.mark.timeout(300)
def test_no_secret_is_anywhere_but_in_its_file(own, folder):
    authority = Authority(folder / "ca")
    a, b = (Site(own, folder, name, authority) for name in "ab")
    start_together(a.cluster, b.cluster)
    for site in (a, b):
        site.cluster.warm_coordinators()
    redis = own(RedisServer("b", workdir=folder, user=("ferry", CANARIES["Redis"]))).start()
    names = own(Bind("names", folder)).start()
    hook = folder / "hook"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    sites = {"a": (a.cluster, None), "b": (b.cluster, redis)}
    secured = {"a": a.settings(), "b": b.settings()}
    dns = {ZONE: zone_settings(folder, [names])}
    conf = Configuration(folder / "ferry", sites, secured=secured, dns=dns, log_level="debug")
    cname = [{"record": f"kafka.{ZONE}", "at": {"a": f"kafka-a.{ZONE}", "b": f"kafka-b.{ZONE}"}}]
    conf.service(SERVICE, topics=[TOPIC], groups=[GROUP], cname=cname, hooks={"pre": [str(hook)]})
    command = Command(conf)
    (link,) = command.json("check", SERVICE, "--print-acls")["links"]
    for row in link["acls"]:
        allow(a.cluster if row["site"] == "a" else b.cluster, [Acl.of_row(row)])
    a.cluster.create_topic(TOPIC, 2)
    Load(a.cluster.bootstrap, TOPIC, "plain", count=50, partitions=2).run()
    commit(a.cluster, GROUP, {(TOPIC, 0): 5})
    said = {}

    def say(*words, code=EXIT_DONE):
        done = command.run(*words)
        assert code is None or done.returncode == code, done.stdout + done.stderr
        said[" ".join(words)] = (done.stdout + done.stderr).encode()

    say("enable", SERVICE, "--yes")
    say("dns", "adopt", SERVICE, "--yes")
    worker = own(Worker(conf, "w1").start())
    b.cluster.wait_topic(TOPIC, 2)
    wait_for("mirrored", lambda: sum(b.cluster.offsets(TOPIC).values()) >= 50, 40, not_yet=(KafkaException,))
    wait_for("the group to be carried", lambda: committed(b.cluster, GROUP), 30, every=0.2)
    for words in (
        ("status", SERVICE),
        ("status", SERVICE, "-o", "json"),
        ("check", SERVICE),
        ("config", "show", "-o", "json"),
        ("dns", "show", SERVICE),
        ("fence", "show", SERVICE),
        ("failover", SERVICE, "--dry-run", "-o", "json"),
    ):
        say(*words, code=None)
    for page in ("/metrics", "/api/v1/status", "/"):
        said[page] = worker.get(page)[1].encode()
    for broker in a.cluster.brokers:
        broker.kill9()
    argv = [BIN / "ferry", "failover", SERVICE, "--yes", "--allow-loss", "unknown", "-o", "json"]
    process = Process("ferry failover", argv, folder / "failover.log", env={"FERRY_CONFIG": conf.path}).start()
    seen = {"command line and environment": b"", "limits": b""}
    while process.alive:
        for what in ("cmdline", "environ", "limits"):
            try:
                text = open(f"/proc/{process.pid}/{what}", "rb").read()
            except OSError:
                continue
            seen["limits" if what == "limits" else "command line and environment"] += text
        time.sleep(0.02)
    assert process.wait() == EXIT_DONE, process.log_text()
    cores = {tuple(row.split()[4:6]) for row in seen["limits"].splitlines() if row.startswith(b"Max core")}
    assert (b"0", b"0") in cores  # no core of it can hold one
    report = json.loads(process.log_text()[process.log_text().index("\n{") :])
    assert report["state"] == "done" and report["evidence"]["dns"]["records"][0]["moved"]
    say("history", SERVICE, "-o", "json")
    say("history", SERVICE, report["operation"], "-o", "json")
    say("hints", SERVICE, code=None)  # the mirror may not read the topic
    texts = {**said, **seen, "Redis": redis.snapshot().read_bytes(), "worker": worker.process.log_text().encode()}
    for topic in (f"ferry.control.{SERVICE}", f"ferry.hints.{SERVICE}", "__consumer_offsets"):
        texts[topic] = everything_of(b.cluster, topic)
    for place in (conf.dir, folder):  # files of Ferry's: the rig's own servers have the secrets, too
        for path in place.glob("**/*" if place == conf.dir else "*"):
            if path.is_file() and not path.name.startswith(("tsig-", "redis-password")):
                texts[str(path)] = path.read_bytes()
    assert texts["Redis"] and b"FERRY_HOOK" in texts[str(folder / "hook-said")]
    assert list((conf.dir / "state" / "operations").glob("*.jsonl"))
    found = [(what, where) for what, canary in CANARIES.items() for where in texts if canary.encode() in texts[where]]
    assert not found
