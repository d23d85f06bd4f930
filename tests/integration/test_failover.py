"""Failover and switchover on real Kafka, Redis and BIND: refusals first, then the move, killed at every step, taken
back.

The primary of the command is dead when its configuration says an address where nobody listens; the workers have the
right one. So clusters are shared, and what the workers mirrored is real."""

import json
import os
import signal
import subprocess
import time

import pytest
from confluent_kafka import KafkaException, Producer

from rig import hints
from rig.acls import Acl, all_acls, allow, take_back
from rig.endstate import control_records
from rig.ferry import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_PARTLY,
    EXIT_REFUSED,
    EXIT_TIME,
    EXIT_UNCONFIRMED,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    Command,
    Configuration,
    Worker,
)
from rig.groups import commit, committed
from rig.nameserver import ZONE, Bind, zone_settings
from rig.paths import BIN
from rig.procs import free_port, wait_for
from rig.produce import Load
from rig.proxy import PRODUCE

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
        wait_for(
            "mirrored", lambda: sum(self.target.offsets(self.topic).values()) >= count, 30, not_yet=(KafkaException,)
        )

    def failover(self, *more, command=None, **how):
        return (command or self.lost).run(
            "failover", self.name, "--yes", "--allow-loss", "unknown", "-o", "json", *more, **how
        )

    def role(self):
        link = self.right.status(self.name)["services"][0]["links"][0]
        return link["primary"], link["role_epoch"]

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


def test_refused_first_then_moved(moved, own, folder):
    """Each refusal changes nothing; then everything that needs no primary is done, and the workers stay stopped."""
    bind = own(Bind("one", folder)).start()
    one = moved(bind)

    def unchanged():
        assert one.role() == ("a", 1)
        assert bind.value() == (30, A)

    done = one.lost.run("failover", one.name, "-o", "json")
    assert done.returncode == EXIT_UNCONFIRMED and "--yes" in done.stderr
    done = one.lost.run("failover", one.name, "--yes")
    assert done.returncode == EXIT_UNCONFIRMED
    assert "at most unknown records lost" in done.stderr and "--allow-loss unknown" in done.stderr
    done = one.lost.run("failover", one.name, "--yes", "--allow-loss", "10")
    assert done.returncode == EXIT_UNCONFIRMED and "more than" in done.stderr
    done = one.failover("--topic", "t")
    assert done.returncode == EXIT_REFUSED and "moves whole" in done.stderr
    done = one.failover("--group", "g")
    assert done.returncode == EXIT_REFUSED and "moves whole" in done.stderr
    done = one.failover("--force", "no-such-check")
    assert done.returncode == EXIT_USAGE and "no-such-check" in done.stderr
    done = one.failover(command=one.right)
    assert done.returncode == EXIT_REFUSED
    assert "ferry switchover" in done.stderr and "--force primary-alive" in done.stderr
    unchanged()
    bind.put("kafka", 30, "CNAME", "kafka-six")
    done = one.failover()
    assert done.returncode == EXIT_REFUSED and "value-not-as-recorded" in done.stderr + done.stdout
    assert one.role() == ("a", 1) and bind.value()[1] == f"kafka-six.{ZONE}"
    bind.put("kafka", 30, "CNAME", "kafka-a")
    done = one.lost.run("failover", one.name, "--dry-run", "-o", "json")
    assert done.returncode == EXIT_DONE, done.stderr
    dry = json.loads(done.stdout)
    assert dry["dry_run"] and dry["evidence"]["role"] == {"epoch": 2, "primary": "b"}
    unchanged()
    assert [o["state"] for o in one.history()] == ["undone"]  # the only one that had begun

    done = one.failover("--reason", "fire")
    assert done.returncode == EXIT_DONE, done.stderr
    report = json.loads(done.stdout)
    assert report["state"] == "done" and report["exit"] == 0 and report["reason"] == "fire"
    assert report["rpo"]["records"] is None and report["rpo"]["at_least"] == 0  # unknown stays unknown
    assert report["fence"]["proof"] == "left" and report["fence"]["waited_ms"] < 5000
    assert report["stragglers"] is None and report["unprotected_since"]
    assert bind.value() == (30, B)
    assert one.role() == ("b", 2)
    again = one.failover()
    assert again.returncode == EXIT_DONE and json.loads(again.stdout)["operation"] == report["operation"]
    newest = one.history()[0]
    assert newest["operation"] == report["operation"] and newest["state"] == "done" and newest["to"] == "b"
    shown = one.right.json("history", one.name, report["operation"])
    assert shown["report"]["rto"]["seconds"] == report["rto"]["seconds"]
    assert shown["report"]["evidence"] == report["evidence"]  # what is kept elsewhere, too
    copies = list((folder / "dead" / "state" / "operations").glob(f"{report['operation']}.jsonl"))
    assert len(copies) == 1 and '"open":false' in copies[0].read_text()

    # The primary is there, its writers too; nothing is mirrored, nor after a restart without anything remembered.
    one.workers[0].kill9()
    for key in one.redis.connect().scan_iter(f"*{{{one.name}}}*"):
        one.redis.connect().delete(key)
    before = one.target.offsets(one.topic)
    Load(one.source.bootstrap, one.topic, "plain", count=20, partitions=2, seed=7).run()
    worker = own(Worker(one.conf, f"{one.name}-again").start())
    worker.wait_ready()
    time.sleep(4)
    assert one.target.offsets(one.topic) == before
    assert worker.metrics().sum("ferry_link_role_epoch", service=one.name) == 2


def test_ready_behind_a_failover_where_it_rightly_stands_by(moved, own, folder):
    """A rollout goes on when the primary is lost for good and the workers have nothing to do; it stops where one lacks
    what it needs, and says what."""
    one = moved()
    nowhere = f"127.0.0.1:{free_port()}"

    def worker(name, **b):
        conf = one.dead.copy(folder / name)
        conf.data["sites"]["b"] |= b
        conf.write()
        return own(Worker(conf, name).start())

    def says(worker, status, text):
        wait_for(
            f"/readyz: {text}", lambda: worker.get("/readyz")[0] == status and text in worker.get("/readyz")[1], 20
        )

    lost = worker("lost")  # has to mirror from a site that does not answer
    says(one.workers[0], 200, f"ok\n{one.name} a>b: mirrors 2 partitions\n")
    says(lost, 503, f"no\n{one.name} a>b: not ready: a: {one.dead.data['sites']['a']['kafka']['bootstrap.servers']}")
    assert one.failover().returncode == EXIT_DONE
    for standing in (one.workers[0], lost, worker("new")):
        says(standing, 200, f"ok\n{one.name} a>b: stands by: b is primary by role epoch 2\n")
    says(worker("no-redis", redis={"url": f"redis://{nowhere}/0"}), 503, f"{one.name} a>b: not ready: the Redis of b: ")
    target = worker("no-target", kafka={"bootstrap.servers": nowhere})
    says(target, 503, f"{one.name} a>b: not ready: the control topic on b was not read yet: ")


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", ["failover", "switchover"])
def test_there_and_back_again(moved, own, folder, kind):
    """The way back leads home: a configuration whose home is b mirrors into what was the primary. That has no record of
    the names before it is enabled, and whoever lost b cannot ask there."""
    bind = own(Bind("one", folder)).start()
    one = moved(bind)
    done = one.failover()
    assert done.returncode == EXIT_DONE, done.stderr
    assert bind.value() == (30, B)
    one.workers[0].stop()
    back = one.conf.copy(folder / "back")
    back.data["services"][one.name] |= {"home": "b", "others": ["a"]}
    back.write()
    command = Command(back)
    done = command.run("enable", one.name, "--yes")
    assert done.returncode == EXIT_REFUSED and "hold records on a already" in done.stderr
    one.source.delete_topic(one.topic)
    command.enable(one.name)
    Load(one.target.bootstrap, one.topic, "plain", count=20, partitions=2, serial=10**6).run()
    worker = own(Worker(back, f"{one.name}-back").start())
    group = f"{one.name}-g"
    commit(one.target, group, {(one.topic, 0): 7})

    def carried():
        at = committed(one.source, group).get((one.topic, 0))
        return at == 7 and sum(one.source.offsets(one.topic).values()) >= RECORDS + 20

    wait_for("mirrored back, groups too", carried, 60, every=0.3, not_yet=(KafkaException,))
    if kind == "failover":
        worker.kill9()
        back.data["sites"]["b"]["kafka"]["bootstrap.servers"] = f"127.0.0.1:{free_port()}"
        back.write()
        done = command.run("failover", one.name, "--yes", "--allow-loss", "unknown", "-o", "json")
    else:
        done = command.run("switchover", one.name, "--yes", "--force", "source", "-o", "json")
    assert done.returncode == EXIT_DONE, done.stderr
    report = json.loads(done.stdout)
    assert (report["from"], report["to"], report["role_epoch"]) == ("b", "a", 2)
    assert bind.value() == (30, A)
    records = {site: control_records(cluster, one.name) for site, cluster in (("a", one.source), ("b", one.target))}
    assert (records["a"]["role"]["primary"], records["a"]["role"]["epoch"]) == ("a", 2)
    names = {site: found["dns"]["records"][one.record]["value"] for site, found in records.items()}
    assert names == {"a": A, "b": B if kind == "failover" else A}  # a site that is lost is told nothing
    assert committed(one.source, group)[one.topic, 0] == 7


@pytest.mark.long
def test_the_name_is_moved_by_hand(moved, own, folder):
    """The provider is gone with the primary: what to type is said; then the name servers are asked whether it was."""
    bind = own(Bind("one", folder)).start()
    one = moved(bind)
    secret = folder / "token"
    secret.touch(mode=0o600)
    secret.write_text("a-token\n")
    api = {"provider": "cloudflare", "id": "0a", "secret": {"file": str(secret)}, "endpoint": "https://localhost:1"}
    one.dead.data["dns"][ZONE] = api | {"authoritative": [bind.address], "request_timeout": "300ms"}
    one.dead.write()
    done = one.failover("--force", "dns")
    assert done.returncode == 4 and "/zones/0a/dns_records/ID" in done.stderr, done.stderr
    assert f"ferry failover {one.name} --dns-done" in done.stderr and "a-token" not in done.stderr
    done = one.failover("--dns-done")
    assert done.returncode == 4 and "0 of 1 name servers say" in done.stderr, done.stderr
    bind.put("kafka", 30, "CNAME", "kafka-b")
    done = one.failover("--dns-done")
    assert "1 of 1 name servers say" in done.stderr, done.stderr
    assert one.role() == ("b", 2)
    assert one.right.json("dns", "show", one.name)["records"][0]["recorded"]["value"] == B


def test_the_target_does_not_answer(moved):
    one = moved()
    one.dead.data["sites"]["b"]["kafka"]["bootstrap.servers"] = f"127.0.0.1:{free_port()}"
    one.dead.write()
    done = one.failover("--timeout", "20")
    assert done.returncode == EXIT_UNREACHABLE, done.stderr
    assert one.role() == ("a", 1)


HOOK = """#!/bin/sh
echo "$FERRY_HOOK $FERRY_KIND $FERRY_FROM $FERRY_TO" >>"$(dirname "$0")/calls"
sleep "$(cat "$(dirname "$0")/sleep-$FERRY_HOOK" 2>/dev/null || echo 0)"
exit "$(cat "$(dirname "$0")/exit-$FERRY_HOOK" 2>/dev/null || echo 0)"
"""


class Hooks:
    def __init__(self, folder, *names):
        self.folder = folder / "hooks"
        self.folder.mkdir()
        program = self.folder / "hook"
        program.write_text(HOOK)
        program.chmod(0o755)
        self.settings = {"hooks": {name: [str(program)] for name in names}}

    def say(self, what, value):
        (self.folder / what).write_text(str(value))

    def calls(self):
        file = self.folder / "calls"
        return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.long
def test_a_switchover_is_taken_back_then_done(moved, folder):
    """Nothing is lost or nothing is changed; programs are told of both."""
    hooks = Hooks(folder, "pre", "fence", "evict", "post")
    one = moved(conf_more=hooks.settings)

    def switchover(*more):
        return one.right.run("switchover", one.name, "--yes", "-o", "json", *more)

    hooks.say("exit-pre", 3)
    done = switchover()
    assert done.returncode == EXIT_REFUSED and "ended with 3" in done.stderr
    assert hooks.calls() == ["pre"] and one.role() == ("a", 1)
    hooks.say("exit-pre", 0)
    one.workers[0].sigstop()  # nobody drains
    Load(one.source.bootstrap, one.topic, "plain", count=10, partitions=2, seed=2).run()
    done = switchover("--timeout", "8")
    report = json.loads(done.stdout)
    assert done.returncode == EXIT_FAILED and report["state"] == "undone" and "time is up" in done.stderr
    assert hooks.calls() == ["pre", "pre", "fence", "unfence"] and one.role() == ("a", 1)
    one.workers[0].sigcont()
    one.wait_mirrored(RECORDS + 10)
    group = f"{one.name}-g"
    commit(one.source, group, {(one.topic, 0): 5})
    wait_for("the group to be carried", lambda: committed(one.target, group), 30, every=0.2)
    done = switchover()
    assert done.returncode == EXIT_DONE, done.stderr
    report = json.loads(done.stdout)
    assert report["rpo"]["records"] == 0 and report["stragglers"] == 0
    # No name moves: what clients are given, and who has to be restarted with it.
    assert report["client"] == {"bootstrap.servers": one.target.bootstrap} and report["must_restart"] == [group]
    shown = " ".join(one.right.run("history", one.name, report["operation"]).stdout.split())
    assert f"restart them with: bootstrap.servers={one.target.bootstrap}" in shown and f"restart {group}" in shown
    assert hooks.calls()[-4:] == ["pre", "fence", "evict", "post"] and one.role() == ("b", 2)
    assert sum(one.target.offsets(one.topic).values()) == RECORDS + 10


def test_a_switchover_without_a_fence_of_the_source_is_refused(moved):
    one = moved()
    done = one.right.run("switchover", one.name, "--yes", "-o", "json")
    assert done.returncode == EXIT_REFUSED and "nothing stops the writers" in done.stderr
    assert one.role() == ("a", 1)
    assert one.history()[0]["state"] == "undone"


@pytest.mark.long
def test_a_switchover_is_taken_back_behind_its_role(moved, folder):
    """Killed with the new epoch there, and no time left for who goes on: another epoch, and the mirror mirrors."""
    hooks = Hooks(folder, "fence")
    one = moved(conf_more=hooks.settings)
    assert switch(one, FERRY_FAILPOINT="role:after").returncode == -9 and one.role() == ("b", 2)
    done = switch(one, "--timeout", "1")
    assert done.returncode == EXIT_FAILED, done.stderr
    assert one.role() == ("a", 3) and hooks.calls() == ["fence", "unfence"]
    assert one.history()[0]["state"] == "undone"
    Load(one.source.bootstrap, one.topic, "plain", count=10, partitions=2, seed=5).run()
    one.wait_mirrored(RECORDS + 10)


def switch(one, *more, command=None, **env):
    conf = (command or one.right).conf
    argv = [str(BIN / "ferry"), "switchover", one.name, "--yes", *more]
    env = dict(os.environ) | {"FERRY_CONFIG": str(conf.path), "FERRY_WATCH_MS": "3500"} | env
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=90, check=False)


@pytest.mark.long
def test_a_switchover_whose_primary_dies(moved, folder):
    """Killed in the middle, then the primary is lost: taken back without it, what it keeps is said; a failover does
    the rest."""
    hooks = Hooks(folder, "fence")
    one = moved(conf_more=hooks.settings)
    assert switch(one, FERRY_FAILPOINT="drain:before").returncode == -9
    hooks.say("exit-unfence", 1)
    done = one.failover()
    assert done.returncode == EXIT_REFUSED and "end it first: ferry switchover" in done.stderr
    done = switch(one, command=one.lost)
    assert done.returncode == EXIT_PARTLY, done.stderr
    assert "left at a as it is" in done.stderr and one.role() == ("a", 1)
    operation = one.history()[0]
    assert operation["state"] == "undone" and operation["exit"] == EXIT_PARTLY
    hooks.say("exit-fence", 1)  # nor can the program reach it now: no failover waits for that
    done = one.failover()
    assert done.returncode == EXIT_DONE, done.stderr
    assert one.role() == ("b", 2)


@pytest.mark.long
def test_who_writes_behind_the_drain_is_found(moved, folder):
    """Nothing is lost: what was written when the mirror had stopped takes everything back."""
    hooks = Hooks(folder, "fence")
    one = moved(conf_more=hooks.settings)
    assert switch(one, FERRY_FAILPOINT="fence:after").returncode == -9
    Load(one.source.bootstrap, one.topic, "plain", count=4, partitions=2, seed=6).run()
    done = switch(one)
    assert done.returncode == EXIT_REFUSED and "somebody still writes" in done.stderr
    assert one.role() == ("a", 1) and hooks.calls() == ["fence", "unfence"]
    one.wait_mirrored(RECORDS + 4)


def give_order(one, state):
    """As somebody does between two runs of the command."""
    writer = Producer({"bootstrap.servers": one.target.bootstrap, "transactional.id": f"ferry-op-{one.name}"})
    writer.init_transactions(20)
    writer.begin_transaction()
    writer.produce(f"ferry.control.{one.name}", json.dumps({"state": state}), "order")
    writer.commit_transaction(20)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "kind, left", [("switchover", ["verify", "evict", "post"]), ("failover", ["hints", "verify", "post"])]
)
def test_what_cannot_be_done_behind_open_does_not_keep_it_open(moved, own, folder, kind, left):
    """The hints topic, a name server, programs fail for good: the move has ended with exit 4, says what is left and
    what to type, and hinders no other command. The same command does once more what can be done by then."""
    bind = own(Bind("one", folder)).start()
    hooks = Hooks(folder, "fence", "evict", "post")
    one = moved(bind, conf_more=hooks.settings)
    one.conf.data["dns"][ZONE]["authoritative"].append(f"127.0.0.1:{free_port()}")
    one.conf.write()
    group = f"{one.name}-g"
    commit(one.source, group, {(one.topic, 0): 5})
    wait_for("the group to be carried", lambda: committed(one.target, group), 30, every=0.2)
    hints_topic = f"ferry.hints.{one.name}"
    if kind == "failover":  # a switchover would be taken back
        one.target.create_topic(hints_topic, 1, config={"cleanup.policy": "compact", "max.message.bytes": "100"})
    how = ["--allow-loss", "unknown", "--force", "primary-alive"] if kind == "failover" else []

    def move():
        done = one.right.run(kind, one.name, "--yes", *how, "-o", "json", timeout=120)
        return done, json.loads(done.stdout)

    hooks.say("exit-evict", 3)
    hooks.say("exit-post", 3)
    done, report = move()
    assert (done.returncode, report["state"], report["exit"]) == (EXIT_PARTLY, "partly", EXIT_PARTLY), done.stderr
    assert [row["step"] for row in report["left"]] == left
    assert all(row["again"] and row["what"] and row["hint"] for row in report["left"])
    assert f"ferry dns show {one.name}" in done.stderr and "ended with 3" in done.stderr
    assert report["must_restart"] == []
    assert one.role() == ("b", 2) and bind.value() == (30, B)
    (operation,) = one.history()
    assert (operation["state"], operation["exit"], operation["open"]) == ("partly", EXIT_PARTLY, False)
    one.right.ok("pause", one.name, "--yes")  # refused while an operation is open; nothing mirrors there
    give_order(one, "pause")
    if kind == "failover":
        one.target.alter_topic_config(hints_topic, {"max.message.bytes": "1000000"})
    one.conf.data["dns"][ZONE]["authoritative"].pop()
    one.conf.write()
    hooks.say("exit-evict", 0)
    done = one.right.run(kind, one.name, "--yes", *how, timeout=120)
    assert done.returncode == EXIT_PARTLY, done.stderr
    told = " ".join(done.stdout.split())  # lines are wrapped
    assert "left post: " in told and f"ferry {kind} {one.name} --to b does once more" in told
    hooks.say("exit-post", 0)
    done, last = move()
    assert (done.returncode, last["state"], last["left"]) == (EXIT_DONE, "done", []), done.stderr
    assert last["operation"] == report["operation"]
    assert last["rto"]["seconds"] == pytest.approx(report["rto"]["seconds"], abs=0.01)  # it was done then
    assert last["rpo"] == report["rpo"]
    behind = [name for name in ("evict", "post") if name in left]
    assert hooks.calls() == ["fence", *behind, *behind, "post"]
    assert hints.of_topic(one.target, one.name).keys() == {group}
    assert control_records(one.target, one.name)["order"]["state"] == "pause"  # given since: left alone
    again, shown = move()
    assert again.returncode == EXIT_DONE and shown["operation"] == report["operation"]


@pytest.mark.long
def test_while_an_operation_is_open_no_other_command_changes_anything(moved, own, folder):
    """Whoever would become the writer of the control topic looks first: the operation is gone on with as if nobody had
    come."""
    bind = own(Bind("one", folder)).start()
    one = moved(bind)
    group = f"{one.name}-g"
    commit(one.source, group, {(one.topic, 0): 5})
    wait_for("the group to be carried", lambda: committed(one.target, group), 30, every=0.2)
    die(one, "fence:after")
    before = control_records(one.target, one.name)
    for words in (
        ("pause", one.name, "--yes"),
        ("dns", "adopt", one.name, "--yes"),
        ("offsets", "reset", one.name, "--group", group, "--to", "translated", "--yes"),
    ):
        done = one.right.run(*words)
        assert done.returncode == EXIT_REFUSED and "open" in done.stderr, (words, done.stdout, done.stderr)
    assert control_records(one.target, one.name) == before
    finish(one, folder, bind)


@pytest.mark.long
def test_a_switchover_whose_primary_dies_behind_open_is_no_success(moved, folder):
    """What was written there last is not known: exit 4, and the report says so."""
    hooks = Hooks(folder, "fence")
    one = moved(conf_more=hooks.settings)
    assert switch(one, FERRY_FAILPOINT="open:after").returncode == -9
    done = switch(one, "-o", "json", command=one.lost)
    report = json.loads(done.stdout)
    assert (done.returncode, report["state"]) == (EXIT_PARTLY, "partly"), done.stderr
    assert report["stragglers"] is None and report["rpo"]["records"] is None
    assert [(row["step"], row["again"]) for row in report["left"]] == [("stragglers", False)]
    assert "unknown records" in report["left"][0]["what"]
    assert "what is written at a behind the cut is not known" in done.stderr and "ferry stragglers" in done.stderr
    again = switch(one, "-o", "json")  # nothing of it can be done again: the report of then
    assert again.returncode == EXIT_PARTLY and json.loads(again.stdout)["operation"] == report["operation"]


@pytest.mark.long
def test_more_is_lost_than_was_accepted(moved):
    """The primary answers, and is given up all the same, for no record: what came since is counted behind the fence."""
    one = moved()
    how = ["failover", one.name, "--yes", "--allow-loss", "0", "--force", "primary-alive", "-o", "json"]
    one.right.env = {"FERRY_FAILPOINT": "fence:after", "FERRY_WATCH_MS": "3500"}
    # refused while its checkpoints are behind
    wait_for("nothing to be lost", lambda: one.right.run(*how, timeout=90).returncode == -9, 60)
    Load(one.source.bootstrap, one.topic, "plain", count=6, partitions=2, seed=9).run()
    one.right.env = {"FERRY_WATCH_MS": "3500"}
    done = one.right.run(*how, timeout=90)
    report = json.loads(done.stdout)
    assert (done.returncode, report["state"], report["step"]) == (EXIT_REFUSED, "undone", "count"), done.stderr
    assert "at most 6 records lost" in done.stderr and "ferry switchover" in done.stderr
    assert one.role() == ("a", 1)
    one.wait_mirrored(RECORDS + 6)


@pytest.mark.long
def test_an_interrupt_stops_between_two_steps(moved, folder):
    hooks = Hooks(folder, "pre")
    hooks.say("sleep-pre", 3)
    one = moved(conf_more=hooks.settings)
    first = start(one, "--reason", b"d\xe9lai")  # of a terminal that speaks Latin-1
    wait_for("it is at work", lambda: hooks.calls() == ["pre"], 20)
    first.send_signal(signal.SIGINT)
    _out, err = first.communicate(timeout=30)
    assert first.returncode == EXIT_PARTLY and f"ferry failover {one.name} goes on" in err
    assert one.history()[0]["state"] == "open" and one.role() == ("a", 1)
    assert one.history()[0]["reason"] == "d?lai"
    done = one.failover("--force", "ttl")
    assert done.returncode == EXIT_DONE and hooks.calls() == ["pre"], done.stderr
    assert one.history()[0]["options"]["forced"] == ["ttl"]  # of whoever went on with it, too
    done = one.lost.run("switchover", one.name, "--yes")
    assert done.returncode == EXIT_REFUSED and "--to SITE" in done.stderr  # it is there, and by a failover


@pytest.mark.long
def test_time_is_up_and_the_next_run_goes_on(moved, folder):
    """Exit 5: nothing runs, nothing is taken back, and the same command goes on."""
    hooks = Hooks(folder, "pre")
    hooks.say("sleep-pre", 30)
    one = moved(conf_more=hooks.settings)
    done = one.failover("--timeout", "8")
    assert done.returncode == EXIT_TIME, done.stdout + done.stderr
    assert "did not end within" in done.stderr and "the same command" in done.stderr
    report = json.loads(done.stdout)
    assert (report["state"], report["exit"]) == ("open", EXIT_TIME) and one.role() == ("a", 1)
    hooks.say("sleep-pre", 0)
    done = one.failover()
    assert done.returncode == EXIT_DONE and one.role() == ("b", 2), done.stderr
    assert hooks.calls() == ["pre", "pre"]


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("ends", ["done", "undone"])
def test_a_journal_that_cannot_be_closed(moved, doors, folder, ends):
    """The target takes no last record: exit 4, by its JSON too; why it was taken back is not forgotten over that; and
    the same command closes it."""
    hooks = Hooks(folder, "pre")
    one = moved(conf_more=hooks.settings)
    door = doors[1]
    one.dead.data["sites"]["b"]["kafka"] |= door.site(one.target)["kafka"]
    one.dead.write()
    if ends == "undone":
        hooks.say("exit-pre", 3)
    door.proxy(1).refuse = lambda api, body: api == PRODUCE and b"/report" in body
    done = one.failover()
    report = json.loads(done.stdout)
    assert (done.returncode, report["exit"], report["state"]) == (EXIT_PARTLY, EXIT_PARTLY, ends), done.stderr
    said = " ".join(done.stderr.split())
    assert "the journal is not closed" in said and "the same command again closes it" in said, said
    assert ("ended with 3" in said) == (ends == "undone"), said
    assert one.history()[0]["state"] == "open"
    assert one.role() == (("b", 2) if ends == "done" else ("a", 1))
    door.clean()
    done = one.failover()
    assert done.returncode == (EXIT_DONE if ends == "done" else EXIT_REFUSED), done.stderr
    assert [o["state"] for o in one.history()] == [ends]
    assert hooks.calls() == ["pre"], "what was done is not done again"


@pytest.mark.long
def test_pause_and_resume(moved):
    one = moved()
    assert one.right.run("pause", one.name).returncode == EXIT_UNCONFIRMED
    assert "is paused" in one.right.ok("pause", one.name, "--yes", "--reason", "tests")
    assert "already" in one.right.ok("pause", one.name, "--yes")
    time.sleep(1.5)
    Load(one.source.bootstrap, one.topic, "plain", count=10, partitions=2, seed=3).run()
    time.sleep(1.5)
    assert sum(one.target.offsets(one.topic).values()) == RECORDS
    assert one.workers[0].get("/readyz") == (
        200,
        f"ok\n{one.name} a>b: stands by: paused by an order: ferry resume {one.name}\n",
    )
    one.right.ok("resume", one.name)
    one.wait_mirrored(RECORDS + 10)


def start(one, *more, command=None, env=None):
    argv = [str(BIN / "ferry"), "failover", one.name, "--yes", "--allow-loss", "unknown", "-o", "json", *more]
    path = str((command or one.lost).conf.path)
    return subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ) | {"FERRY_CONFIG": path} | (env or {}),
    )


@pytest.mark.long
def test_two_operators(moved, folder, own):
    """While one is at work the other is told who, since when and how to follow."""
    bind = own(Bind("one", folder)).start()
    hooks = Hooks(folder, "pre")
    hooks.say("sleep-pre", 9)
    one = moved(bind, conf_more=hooks.settings)
    first = start(one, "--reason", "first")
    wait_for("the first is at work", lambda: hooks.calls() == ["pre"], 20)
    second = one.failover("--reason", "second")
    assert second.returncode == EXIT_REFUSED
    assert "is at work" in second.stderr and "@" in second.stderr and "ferry history" in second.stderr
    _out, err = first.communicate(timeout=60)
    assert first.returncode == EXIT_DONE, err
    assert [o["reason"] for o in one.history()] == ["first"]
    assert bind.value() == (30, B) and one.role() == ("b", 2)


STEPS = [
    "check",
    "pre",
    "source",
    "prove",
    "fence",
    "count",
    "freeze",
    "role",
    "offsets",
    "hints",
    "open",
    "dns",
    "verify",
]
STEPS += ["evict", "post", "stragglers"]


def die(one, point, **more):
    done = start(one, env={"FERRY_FAILPOINT": point, "FERRY_WATCH_MS": "3500"}, **more)
    _out, err = done.communicate(timeout=60)
    assert done.returncode == -9, (point, done.returncode, err)


def finish(one, folder, bind):
    """From another host, as far as one machine has them: another directory, another file, another home."""
    other = one.dead.copy(folder / "elsewhere")
    other.data = json.loads(json.dumps(one.dead.data)) | {"state_dir": str(folder / "elsewhere" / "state")}
    other.write()
    env = {"FERRY_WATCH_MS": "3500", "HOME": str(folder)}
    done = Command(other, env=env).run(
        "failover", one.name, "--yes", "--allow-loss", "unknown", "-o", "json", timeout=90
    )
    assert done.returncode == EXIT_DONE, done.stderr
    report = json.loads(done.stdout)
    assert report["resumed"] is True
    assert one.role() == ("b", 2) and bind.value() == (30, B)
    operations = one.history()
    assert len(operations) == 1 and operations[0]["state"] == "done"
    return report


@pytest.mark.parametrize(
    "point", ["role:act", *(pytest.param(p, marks=pytest.mark.long) for p in ("fence:act", "dns:act"))]
)
def test_killed_and_gone_on_with(moved, own, folder, point):
    """kill -9 with the step's effect there and its end not written: the same end state, each effect once."""
    bind = own(Bind("one", folder)).start()
    one = moved(bind)
    die(one, point)
    report = finish(one, folder, bind)
    assert report["role_epoch"] == 2


def dead_copy(conf, folder):
    """The same configuration with a primary that nobody reaches."""
    dead = conf.copy(folder)
    dead.data["sites"]["a"]["kafka"]["bootstrap.servers"] = f"127.0.0.1:{free_port()}"
    dead.write()
    return Command(dead)


@pytest.mark.long
def test_denied_where_there_is_an_authorizer(permitted, folder, strict):
    """A worker that was killed just now is in its group for 10 s: the mirror's principal is denied Write, and a probe
    shows it; who writes at the target from now on may."""
    one = permitted(operator=True)
    one.grant()
    writer = Acl("topic", "literal", one.topic, "Write", "User:writer")
    allow(one.target, [writer])
    try:
        one.command.enable(one.name)
        worker = one.line.worker("w1", wait=True)
        one.produce(count=50)
        one.line.wait_caught_up()
        assert {a.principal for a in all_acls(one.target) if a.permission == "Deny"} == {"User:writer"}
        worker.kill9()
        done = dead_copy(one.line.conf, folder / "dead").run(
            "failover", one.name, "--yes", "--allow-loss", "unknown", "-o", "json"
        )
        assert done.returncode == EXIT_DONE, done.stderr
        report = json.loads(done.stdout)
        assert report["fence"]["proof"] == "denied" and report["fence"]["waited_ms"] < 5000
        assert report["evidence"]["open"]["denies_removed"] == 1
        assert {a.principal for a in all_acls(one.target) if a.permission == "Deny"} == {"User:mirror"}
        assert "denied to User:mirror" in one.command.ok("fence", "show", one.name)
        one.produce(count=5)  # where nobody mirrors it any more: what the mirror may read is enough to say so
        found = json.loads(one.command.run("stragglers", one.name, "-o", "json").stdout)
        assert found["exit"] == EXIT_PARTLY and found["at_risk"] == 5 and found["producers"] is not None, found
    finally:
        take_back(one.target, [writer, *[a for a in all_acls(one.target) if a.permission == "Deny"]])


def denied(cluster, principal="User:mirror"):
    return {acl.name for acl in all_acls(cluster) if acl.permission == "Deny" and acl.principal == principal}


@pytest.mark.long
def test_a_denial_goes_with_the_operation_and_others_stay(permitted, strict):
    """Write denied to the mirror as the proof of the fence: taken back with a switchover, and by `ferry fence remove`
    behind a failover; somebody else's entry for the same principal stays both times."""
    one = permitted(operator=True)
    one.grant()
    other = f"{one.name}.u"
    one.source.create_topic(other, partitions=2)
    theirs = Acl("topic", "literal", other, "Write", "User:mirror", permission="Deny")
    writers = [Acl("topic", "literal", one.topic, "Write", f"User:app{n}") for n in range(2)]
    allow(one.target, writers[:1])
    try:
        one.command.enable(one.name)
        worker = one.line.worker("w1", wait=True)
        for topic in (one.topic, other):
            one.produce(topic, count=50)
        one.line.topics = [one.topic, other]
        one.line.wait_caught_up()
        allow(one.target, [theirs])
        env = {"FERRY_FAILPOINT": "drain:after", "FERRY_WATCH_MS": "3500"}
        how = ["switchover", one.name, "--yes", "--force", "source", "-o", "json"]
        one.command.env = env
        assert one.command.run(*how, timeout=90).returncode == -9
        worker.kill9()
        one.command.env = env | {"FERRY_FAILPOINT": "fence:after"}
        killed = one.command.run(*how, timeout=90)
        assert killed.returncode == -9, killed.stderr
        assert denied(one.target) == {one.topic, other}
        one.command.env = {"FERRY_WATCH_MS": "3500"}
        allow(one.target, writers[1:])
        for word in ("sync", "remove"):
            done = one.command.run("fence", word, one.name, "--yes")
            assert done.returncode == EXIT_REFUSED and "is open" in done.stderr, (word, done.stderr)
        assert [denied(one.target, acl.principal) for acl in writers] == [{one.topic}, set()]
        done = one.command.run(*how, "--timeout", "1", timeout=90)
        report = json.loads(done.stdout)
        assert report["state"] == "undone", done.stderr
        kept = report["evidence"]["fence"]["denied"]
        assert (kept["topics"], kept["before"], kept["theirs"]) == ([one.topic], [], [other])
        assert denied(one.target) == {other}
        worker.start()
        time.sleep(2)
        worker.kill9()
        how = ["--yes", "--allow-loss", "unknown", "--force", "primary-alive,permissions", "-o", "json"]
        done = one.command.run("failover", one.name, *how, timeout=90)
        assert done.returncode == EXIT_DONE, done.stderr
        assert json.loads(done.stdout)["fence"]["proof"] == "denied"
        assert denied(one.target) == {one.topic, other}
        done = one.command.run("fence", "sync", one.name, "--yes")  # nobody fences the new primary
        assert done.returncode == EXIT_REFUSED and "the primary of" in done.stderr, done.stderr
        one.command.ok("fence", "remove", one.name, "--yes")
        assert denied(one.target) == {other}
    finally:
        take_back(one.target, [*writers, *[a for a in all_acls(one.target) if a.permission == "Deny"]])


@pytest.mark.long
def test_another_command_that_was_the_writer_for_a_moment_ends_nothing(moved, folder):
    """As `ferry pause` does that looked before the operation began: it becomes the writer, sees it, and refuses."""
    hooks = Hooks(folder, "pre", "post")
    hooks.say("sleep-pre", 4)
    hooks.say("sleep-post", 4)
    one = moved(conf_more=hooks.settings)
    first = start(one)
    for step in ("pre", "post"):
        wait_for(f"it is at {step}", lambda step=step: hooks.calls()[-1:] == [step], 40)
        momentary = Producer({"bootstrap.servers": one.target.bootstrap, "transactional.id": f"ferry-op-{one.name}"})
        momentary.init_transactions(20)
    out, err = first.communicate(timeout=60)
    assert first.returncode == EXIT_DONE, err
    assert json.loads(out)["state"] == "done" and one.role() == ("b", 2)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_killed_at_every_boundary(moved, own, folder):
    bind = own(Bind("one", folder)).start()
    one = moved(bind)
    for step in STEPS:
        for where in ("before", "act", "after"):
            if (step, where) == ("fence", "before"):
                assert one.role() == ("a", 1)
            die(one, f"{step}:{where}")
    finish(one, folder, bind)


@pytest.mark.long
def test_dead_workers_are_known_to_be_silent(moved):
    """All ferryd dead for 20 s: proven at once, on Redis's clock."""
    one = moved()
    one.workers[0].kill9()
    time.sleep(20)
    done = one.failover()
    assert done.returncode == EXIT_DONE, done.stderr
    fence = json.loads(done.stdout)["fence"]
    assert fence["proof"] == "silent" and fence["waited_ms"] < 2000


@pytest.mark.long
def test_a_stopped_worker_adds_nothing(moved):
    """SIGSTOP across the failover, without an authorizer: proven by time; what comes back writes nothing."""
    one = moved()
    one.workers[0].sigstop()
    Load(one.source.bootstrap, one.topic, "plain", count=10, partitions=2, seed=4).run()
    done = one.failover()
    assert done.returncode == EXIT_DONE, done.stderr
    fence = json.loads(done.stdout)["fence"]
    assert fence["proof"] == "time" and fence["waited_ms"] <= 15500
    before = one.target.offsets(one.topic)
    one.workers[0].sigcont()
    time.sleep(8)
    assert one.target.offsets(one.topic) == before
