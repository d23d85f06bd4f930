"""Secrets as canaries: passwords of SASL (mirror and operator), of a client's key and of Redis, the TSIG secret, the
secret and the tokens of OAUTHBEARER. A failover with everything secured, at the most talkative log level, and none of
them is anywhere but in its own file."""

import base64
import json
import time
import urllib.parse

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
from rig.tokens import TokenListener, TokenServer
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


class Rehearsal:
    """A failover with all that is said meanwhile, by anybody, to anybody."""

    def __init__(self, own, folder, conf, clusters, redis):
        self.own, self.folder, self.conf, self.redis = own, folder, conf, redis
        self.source, self.target = clusters
        self.command, self.worker = Command(conf), None
        self.said = {}
        self.seen = {"command line and environment": b"", "limits": b""}

    def say(self, *words, code=EXIT_DONE):
        done = self.command.run(*words)
        assert code is None or done.returncode == code, done.stdout + done.stderr
        self.said[" ".join(words)] = (done.stdout + done.stderr).encode()

    def mirror(self):
        self.source.create_topic(TOPIC, 2)
        Load(self.source.bootstrap, TOPIC, "plain", count=50, partitions=2).run()
        commit(self.source, GROUP, {(TOPIC, 0): 5})
        self.say("enable", SERVICE, "--yes")
        self.worker = self.own(Worker(self.conf, "w1").start())
        target = self.target
        target.wait_topic(TOPIC, 2)
        wait_for("mirrored", lambda: sum(target.offsets(TOPIC).values()) >= 50, 40, not_yet=(KafkaException,))
        wait_for("the group to be carried", lambda: committed(target, GROUP), 30, every=0.2)

    def look(self, *more):
        for words in (
            ("status", SERVICE),
            ("status", SERVICE, "-o", "json"),
            ("check", SERVICE),
            ("config", "show", "-o", "json"),
            ("failover", SERVICE, "--dry-run", "-o", "json"),
            *more,
        ):
            self.say(*words, code=None)
        for page in ("/metrics", "/api/v1/status", "/"):
            self.said[page] = self.worker.get(page)[1].encode()

    def fail_over(self):
        for broker in self.source.brokers:
            broker.kill9()
        argv = [BIN / "ferry", "failover", SERVICE, "--yes", "--allow-loss", "unknown", "-o", "json"]
        process = Process("ferry failover", argv, self.folder / "failover.log", env={"FERRY_CONFIG": self.conf.path})
        process.start()
        while process.alive:
            for what in ("cmdline", "environ", "limits"):
                try:
                    text = open(f"/proc/{process.pid}/{what}", "rb").read()
                except OSError:
                    continue
                self.seen["limits" if what == "limits" else "command line and environment"] += text
            time.sleep(0.02)
        assert process.wait() == EXIT_DONE, process.log_text()
        cores = {tuple(row.split()[4:6]) for row in self.seen["limits"].splitlines() if row.startswith(b"Max core")}
        assert (b"0", b"0") in cores  # no core of it can hold one
        report = json.loads(process.log_text()[process.log_text().index("\n{") :])
        assert report["state"] == "done"
        self.say("history", SERVICE, "-o", "json")
        self.say("history", SERVICE, report["operation"], "-o", "json")
        self.say("hints", SERVICE, code=None)  # the mirror may not read the topic
        return report

    def texts(self):
        """Everything that was said or kept, files of Ferry's among it: the rig's own servers have the secrets, too."""
        found = {**self.said, **self.seen, "worker": self.worker.process.log_text().encode()}
        found["Redis"] = self.redis.snapshot().read_bytes()
        for topic in (f"ferry.control.{SERVICE}", f"ferry.hints.{SERVICE}", "__consumer_offsets"):
            found[topic] = everything_of(self.target, topic)
        for place in (self.conf.dir, self.folder):
            for path in place.glob("**/*" if place == self.conf.dir else "*"):
                if path.is_file() and not path.name.startswith(("tsig-", "redis-password")):
                    found[str(path)] = path.read_bytes()
        assert found["Redis"] and list((self.conf.dir / "state" / "operations").glob("*.jsonl"))
        return found


def nowhere(canaries, texts):
    found = [(what, where) for what, canary in canaries.items() for where in texts if canary.encode() in texts[where]]
    assert not found


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
    one = Rehearsal(own, folder, conf, (a.cluster, b.cluster), redis)
    (link,) = one.command.json("check", SERVICE, "--print-acls")["links"]
    for row in link["acls"]:
        allow(a.cluster if row["site"] == "a" else b.cluster, [Acl.of_row(row)])
    one.mirror()
    one.say("dns", "adopt", SERVICE, "--yes")
    one.look(("dns", "show", SERVICE), ("fence", "show", SERVICE))
    assert one.fail_over()["evidence"]["dns"]["records"][0]["moved"]
    texts = one.texts()
    assert b"FERRY_HOOK" in texts[str(folder / "hook-said")]
    nowhere(CANARIES, texts)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_no_client_secret_and_no_token_is_anywhere(own, folder):
    """OAUTHBEARER: the secret that is sent for tokens, every token that was given, and the signature of each."""
    authority, secret_text = Authority(folder / "ca"), "canary: 4d1e/&=+%"
    server = own(TokenServer(authority, folder / "tokens", {"ferry": secret_text}, lasts_s=10))
    clusters = [
        own(KafkaCluster(name, workdir=folder / "kafka", listeners={"oauth": TokenListener("SASL_PLAINTEXT", server)}))
        for name in "ab"
    ]
    start_together(*clusters)
    for cluster in clusters:
        cluster.warm_coordinators()
    redis = own(RedisServer("b", workdir=folder)).start()
    sites = {"a": (clusters[0], None), "b": (clusters[1], redis)}
    secured = {name: sites[name][0].secured("oauth").settings(folder / f"site-{name}") for name in "ab"}
    conf = Configuration(folder / "ferry", sites, secured=secured, log_level="debug")
    conf.service(SERVICE, topics=[TOPIC], groups=[GROUP])
    one = Rehearsal(own, folder, conf, clusters, redis)
    one.mirror()
    one.look()
    one.fail_over()
    texts = one.texts()
    assert server.tokens
    canaries = {"the secret": secret_text, "the secret in a URL": urllib.parse.quote(secret_text, safe="")}
    canaries |= {"both as they are sent": base64.b64encode(f"ferry:{secret_text}".encode()).decode()}
    for n, token in enumerate(server.tokens):
        canaries |= {f"token {n}": token, f"signature of token {n}": token.split(".")[-1]}
    nowhere(canaries, texts)
