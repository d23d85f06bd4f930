"""`"control": "single-writer"`: a target that takes no transactions (the topic of their states cannot be made), or no
compacted topics. Its control topic is written with acks=all by one writer, operations go over it: docs/control.md."""

import json
import os
import re
import signal
import subprocess

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaException, Producer, TopicPartition

from rig import jvm
from rig.endstate import control_records
from rig.ferry import EXIT_DONE, EXIT_REFUSED, EXIT_UNREACHABLE, Command, Configuration, Worker
from rig.groups import commit, committed
from rig.kafka import NO_TRANSACTIONS, KafkaCluster
from rig.paths import BIN
from rig.procs import free_port, wait_for
from rig.produce import Load
from rig.reader import consumer
from rig.verify import compare


class Service:
    """A service from the shared source to a target without transactions; its command sees a dead primary in `lost`."""

    def __init__(self, own, folder, source, target, redis, name, control="single-writer", **keys):
        self.own, self.source, self.target, self.name, self.topic = own, source, target, name, f"{name}.t"
        self.conf = Configuration(folder / "right", {"a": (source, redis), "b": (target, redis)})
        self.conf.data["sites"]["b"]["control"] = control
        self.conf.service(name, topics=[f"{name}.*"], groups=[f"{name}*"], **keys)
        self.dead = self.conf.copy(folder / "dead")
        self.dead.data["sites"]["a"]["kafka"]["bootstrap.servers"] = f"127.0.0.1:{free_port()}"
        self.dead.write()
        self.command, self.lost = Command(self.conf), Command(self.dead)
        source.create_topic(self.topic, 2)
        self.count = 0

    def load(self, count=60, topic=None):
        Load(self.source.bootstrap, topic or self.topic, "plain", count=count, partitions=2, serial=self.count).run()
        self.count += count

    def worker(self, name="w1"):
        return self.own(Worker(self.conf, name).start())

    def wait_mirrored(self, topic=None, count=60):
        topic = topic or self.topic
        self.target.wait_topic(topic, 2)
        wait_for("mirrored", lambda: sum(self.target.offsets(topic).values()) >= count, 30, not_yet=(KafkaException,))

    def status(self):
        (link,) = self.command.status(self.name)["services"][0]["links"]
        return link

    def failover(self, *more, env=None):
        argv = [BIN / "ferry", "failover", self.name, "--yes", "--allow-loss", "unknown", "-o", "json", *more]
        env = os.environ | {"FERRY_CONFIG": str(self.dead.path), "FERRY_WATCH_MS": "3500"} | (env or {})
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)

    def operations(self):
        return {k: v for k, v in control_records(self.target, self.name).items() if re.fullmatch("op/[^/]+", k)}


@pytest.fixture(scope="module")
def plain_target(session_dir):
    """One broker that takes no transactions."""
    with KafkaCluster("plain", workdir=session_dir / f"plain-{os.getpid()}", props=NO_TRANSACTIONS) as cluster:
        yield cluster


@pytest.fixture
def service(own, folder, source, plain_target, redis_server, name):
    return lambda **more: Service(own, folder, source, plain_target, redis_server, name, **more)


@pytest.fixture
def strict_service(own, folder, source, redis_server, name):
    """To a broker whose operator refuses compacted topics, and that takes no transactions."""
    policy = {f"{when}.policy.class.name": "NoCompaction" for when in ("create.topic", "alter.config")}
    classes = jvm.compiled("NoCompaction")
    cluster = own(KafkaCluster("strict", workdir=folder, props=NO_TRANSACTIONS | policy, classes=classes).start())
    return lambda **more: Service(own, folder, source, cluster, redis_server, name, **more)


def done(process, timeout=60):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def test_a_cluster_without_transactions_is_named(service):
    """As it comes nothing can be written there; the error says what such a cluster wants."""
    one = service(control="fenced")
    failed = one.command.run("enable", one.name, "--yes")
    assert failed.returncode == EXIT_UNREACHABLE
    assert '"control": "single-writer"' in failed.stderr


@pytest.mark.long
def test_check_names_a_cluster_without_transactions(service):
    one = service(control="fenced")
    checked = one.command.run("check", one.name)
    assert checked.returncode == EXIT_REFUSED, checked.stdout
    said = checked.stdout
    assert 'a cluster that takes no transactions wants "control": "single-writer"' in said


@pytest.mark.long
def test_a_cluster_that_refuses_compaction_is_named_and_served(strict_service):
    """Refused by name, with what to write into the file; then mirrored and failed over: nothing there is compacted."""
    one = strict_service(control="fenced")
    for words in (("check", one.name), ("enable", one.name, "--yes")):
        failed = one.command.run(*words)
        said = failed.stdout + failed.stderr
        assert failed.returncode == EXIT_REFUSED, said
        assert "cleanup.policy=compact is not allowed here" in said and '"control": "single-writer"' in said
    for conf in (one.conf, one.dead):
        conf.data["sites"]["b"]["control"] = "single-writer"
        conf.write()
    assert "not allowed here" not in one.command.run("check", one.name).stdout
    one.load()
    group = f"{one.name}.billing"
    commit(one.source, group, {(one.topic, 0): 10})
    one.command.enable(one.name)
    one.worker()
    one.wait_mirrored()
    wait_for("the group to be carried", lambda: committed(one.target, group), 30, every=0.2)
    code, out, err = done(one.failover())
    assert code == EXIT_DONE, err
    assert json.loads(out)["state"] == "done"
    assert (one.status()["primary"], one.status()["role_epoch"]) == ("b", 2)
    assert committed(one.target, group) == {(one.topic, 0): 10}
    assert compare(one.source.bootstrap, one.target.bootstrap, [one.topic]).ok
    ours = [topic for topic in one.target.topics() if topic.startswith("ferry.")]
    assert f"ferry.control.{one.name}" in ours
    assert {one.target.topic_config(topic)["cleanup.policy"] for topic in ours} == {"delete"}


def test_the_keeper_and_the_commands_write_it(service):
    """Mirrored, topics that come later, too; commands write in between and the keeper goes on. It is kept whole."""
    one = service()
    one.load()
    one.command.enable(one.name)
    worker = one.worker()
    one.wait_mirrored()
    one.command.ok("pause", one.name, "--yes")
    one.command.ok("resume", one.name, "--yes")
    later = one.source.create_topic(f"{one.name}.later", 2)
    one.load(topic=later)
    one.wait_mirrored(later)
    assert compare(one.source.bootstrap, one.target.bootstrap, [one.topic, later]).ok
    topic = f"ferry.control.{one.name}"
    settings = one.target.topic_config(topic)
    assert settings["cleanup.policy"] == "delete" and settings["retention.ms"] == settings["retention.bytes"] == "-1"
    said = one.status()
    assert said["control"] == "single-writer" and said["state"] == "running"
    assert "operations are not fenced by the broker" in one.command.ok("status", one.name)
    assert "operations are not fenced by the broker" in one.command.run("check", one.name).stdout
    assert "transactional" not in one.command.ok("check", one.name, "--print-acls")
    assert worker.alive


@pytest.mark.long
def test_of_two_hints_the_last_one_holds(service):
    """The topic of hints is kept whole here: one that stands before another of its group is told to nobody."""
    one = service()
    one.load()
    group = f"{one.name}.billing"
    commit(one.source, group, {(one.topic, 0): 10})
    one.command.enable(one.name)
    one.worker()
    one.wait_mirrored()
    wait_for("the group to be carried", lambda: committed(one.target, group), 30, every=0.2)
    code, _, err = done(one.failover())
    assert code == EXIT_DONE, err
    topic = f"ferry.hints.{one.name}"
    reader = consumer(one.target.bootstrap)
    reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    first = next(m for m in iter(lambda: reader.poll(10), None) if m.error() is None)
    reader.close()
    later = json.loads(first.value())
    assert later["places"][0]["likely_until"] == 30
    later["places"][0] |= {"likely_until": 20}
    writer = Producer({"bootstrap.servers": one.target.bootstrap})
    writer.produce(topic, json.dumps(later).encode(), key=first.key(), partition=0)
    writer.flush(10)
    said = one.command.json("hints", one.name)
    assert said["origin"] == "topic"
    assert [(g["group"], [p["likely_until"] for p in g["places"]]) for g in said["groups"]] == [(group, [20])]


def test_a_failover_that_is_killed_is_gone_on_with(service):
    """The journal works as it does with transactions."""
    one = service()
    one.load()
    one.command.enable(one.name)
    one.worker()
    one.wait_mirrored()
    code, _, err = done(one.failover(env={"FERRY_FAILPOINT": "role:act"}))
    assert code == -9, err
    code, out, err = done(one.failover())
    assert code == EXIT_DONE, err
    report = json.loads(out)
    assert report["resumed"] and report["state"] == "done"
    assert (one.status()["primary"], one.status()["role_epoch"]) == ("b", 2)
    assert [record["open"] for record in one.operations().values()] == [False]


def test_one_of_two_operators_goes_on(service):
    """Both begin in the same moment: one operation is carried out, once; the other operator is told."""
    one = service()
    one.load()
    one.command.enable(one.name)
    one.worker()
    one.wait_mirrored()
    results = [done(process) for process in [one.failover("--reason", str(n)) for n in range(2)]]
    codes = sorted(code for code, _, _ in results)
    assert codes[0] == EXIT_DONE, results
    assert one.status()["role_epoch"] == 2, "the role was raised once"
    assert codes[1] == EXIT_DONE or any("ferry history" in err or "ferry status" in err for _, _, err in results), (
        results
    )
    if any(record["open"] for record in one.operations().values()):  # both wrote their beginning within a round trip
        code, _, err = done(one.failover())
        assert code == EXIT_DONE, err
    assert not any(record["open"] for record in one.operations().values())
    assert one.status()["role_epoch"] == 2


@pytest.mark.long
def test_an_operator_that_slept_is_told(service, folder):
    """SIGSTOP in the middle; another one takes the operation over and ends it; the first wakes and does nothing."""
    hook, here = folder / "hook", folder / "here"
    hook.write_text(f"#!/bin/sh\ntouch {here}\nsleep 2\n")
    hook.chmod(0o755)
    one = service(hooks={"pre": [str(hook)]})
    one.load()
    one.command.enable(one.name)
    one.worker()
    one.wait_mirrored()
    first = one.failover()
    wait_for("it to be at work", here.exists, 30)
    first.send_signal(signal.SIGSTOP)
    code, _out, err = done(one.failover())
    assert code == EXIT_DONE, err
    before = control_records(one.target, one.name)
    first.send_signal(signal.SIGCONT)
    code, _, err = done(first)
    assert code != EXIT_DONE and "took operation" in err, err
    assert control_records(one.target, one.name) == before
