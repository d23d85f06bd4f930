"""The command on real clusters: what it refuses, what it writes, what it says when things are dead."""

import contextlib
import datetime
import json
import os
import pty
import re
import socket
import subprocess
import threading
import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from rig.ferry import (
    EXIT_CONFIGURATION,
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
)
from rig.kafka import KafkaCluster, start_together
from rig.line import Line
from rig.paths import BIN
from rig.procs import free_port
from rig.produce import Load
from rig.redis import RedisServer
from rig.wire import RawClient


@pytest.fixture
def service(folder, source, target, redis_server, name):
    """A configured service that nobody enabled; no worker runs."""

    class Service:
        conf = Configuration(folder / "ferry", {"a": (source, None), "b": (target, redis_server)})
        command = Command(conf)
        redis = redis_server.client
        topic = f"{name}.t"

        def run(self, *args, **more):
            return self.command.run(*args, **more)

        def key(self, suffix, link=True):
            return f"{{{name}}}:{'a>b:' if link else ''}{suffix}"

        def status(self, *args):
            (found,) = json.loads(self.run("status", name, "-o", "json", *args).stdout)["services"]
            return found["links"][0]

        def role(self):
            return read_key(target, f"ferry.control.{name}", "role")

        def with_sites(self, **changed):
            """Another configuration file: with_sites(a={"kafka": ...})."""
            other = self.conf.copy(folder / "other")
            for site, values in changed.items():
                other.data["sites"][site] |= values
            other.write()
            return Command(other)

    one = Service()
    one.conf.service(name, topics=[f"{name}.*"])
    source.create_topic(one.topic, partitions=2)
    return one


def read_key(cluster, topic, key):
    """The newest committed value of a key; None when there is none."""
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": "reader",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    found = None
    with contextlib.closing(consumer):
        consumer.assign([TopicPartition(topic, 0, 0)])
        while (message := consumer.poll(10)) is not None and not message.error():
            if message.key() == key.encode():
                found = json.loads(message.value())
    return found


def on_terminal(command, *args, typed, timeout=30):
    """(exit status, what was shown) of the command on a terminal of its own."""
    lead, follow = pty.openpty()
    env = dict(os.environ) | {"FERRY_CONFIG": str(command.conf.path), "TERM": "xterm"}
    process = subprocess.Popen([BIN / "ferry", *args], stdin=follow, stdout=follow, stderr=follow, env=env)
    os.close(follow)
    shown = b""
    asked = False
    deadline = time.monotonic() + timeout
    with contextlib.suppress(OSError):  # the other end is closed
        while time.monotonic() < deadline and (text := os.read(lead, 4096)):
            shown += text
            if not asked and b"to go on: " in shown:
                asked = True
                os.write(lead, typed.encode())
    os.close(lead)
    return process.wait(timeout), shown.decode()


# -- what needs no cluster ------------------------------------------------------------------------------------------


def test_without_a_configuration(folder):
    env = {k: v for k, v in os.environ.items() if k != "FERRY_CONFIG"}
    ferry = BIN / "ferry"

    def run(*args):
        return subprocess.run([ferry, *args], capture_output=True, text=True, timeout=10, env=env, check=False)

    for args in ([], ["offsets"]):
        assert run(*args).returncode == EXIT_USAGE
    assert run("--help").returncode == EXIT_DONE
    assert run("help", "offsets", "translate").stdout.startswith("ferry offsets translate: ")
    assert run("version").stdout.startswith("ferry ")
    assert json.loads(run("version", "-o", "json").stdout)["librdkafka"]
    done = run("verfy", "orders")
    assert done.returncode == EXIT_USAGE and "next: ferry verify" in done.stderr and not done.stdout
    done = run("status", "--config", folder / "none.json")
    assert done.returncode == EXIT_CONFIGURATION and "next: " in done.stderr and not done.stdout
    done = run("config", "check", "--config", "/dev/null")
    assert done.returncode == EXIT_CONFIGURATION and done.stderr.startswith("ferry: /dev/null:1:")
    assert "| `deployment` " in run("config", "reference").stdout


def test_words_that_fit_nothing(service, name):
    for args in (
        ["status", "no-such-service"],
        ["status", name, "--link", "a:c"],
        ["status", name, "--link", "b"],
        ["enable", name, "--to", "a"],
        ["offsets", "translate", name, "t", "-1", "0"],
        ["offsets", "translate", name, "t", "0", "1e6"],
        ["offsets", "translate", name, "no/topic", "0", "0"],
        ["verify", name, "--sample", "5", "--limit", "5"],
        ["verify", name, "--since", "yesterday"],
        ["fault", "retry", name],
        ["fault", "retry", name, "t:0", "--all"],
        ["fault", "retry", name, "t:0", "--depth", "much"],
    ):
        done = service.run(*args)
        assert done.returncode == EXIT_USAGE, (args, done)
        assert "next: " in done.stderr and not done.stdout, (args, done)


# -- enable ---------------------------------------------------------------------------------------------------------


def test_enable_asks_for_the_name(service, name, target):
    done = service.run("enable", name, stdin=f"{name}\n")
    assert done.returncode == EXIT_UNCONFIRMED and "--yes" in done.stderr
    code, shown = on_terminal(service.command, "enable", name, typed="yes\n")
    assert code == EXIT_UNCONFIRMED and "nothing was changed" in shown
    assert f"ferry.control.{name}" not in target.topics(), "something was written before the answer"
    code, shown = on_terminal(service.command, "enable", name, "--reason", "first light", typed=f"{name}\n")
    assert code == EXIT_DONE, shown
    role = service.role()
    assert (role["epoch"], role["primary"], role["secondaries"]) == (1, "a", ["b"])
    assert role["reason"] == "first light" and "@" in role["by"] and role["adopt"] == {}
    # Again is no error, asks nothing and writes nothing.
    done = service.command.json("enable", name)
    assert done["links"] == [
        {"already": True, "epoch": 1, "fence": None, "from": "a", "path": None, "path_why": None, "to": "b"}
    ]
    assert service.role() == role


def test_enable_refuses_a_topic_that_holds_records(service, name, target):
    target.create_topic(service.topic, partitions=2)
    Load(target.bootstrap, service.topic, count=30, partitions=2).run()
    done = service.run("enable", name, "--yes")
    assert done.returncode == EXIT_REFUSED and service.topic in done.stderr and "--adopt" in done.stderr
    done = service.run("enable", name, "--adopt")
    assert done.returncode == EXIT_UNCONFIRMED
    assert f"ferry.control.{name}" not in target.topics()
    service.command.ok("enable", name, "--adopt", "--yes")
    assert service.role()["adopt"] == {service.topic: [[0, 15], [1, 15]]}


def test_enable_refuses_one_cluster_and_another_primary(service, name, source, target):
    """S22: both sites are one cluster: refused; as is a service whose primary is the other site."""
    same = service.with_sites(b={"kafka": {"bootstrap.servers": source.bootstrap}})
    done = same.run("enable", name, "--yes")
    assert done.returncode == EXIT_REFUSED and "one cluster" in done.stderr
    service.command.enable(name)
    role = {"epoch": 2, "primary": "b", "secondaries": ["a"], "by": "test", "reason": "", "time": ""}
    producer = Producer({"bootstrap.servers": target.bootstrap})
    producer.produce(f"ferry.control.{name}", json.dumps(role), "role")
    producer.flush(10)
    done = service.run("enable", name, "--yes")
    assert done.returncode == EXIT_REFUSED and "b is primary" in done.stderr
    done = service.run("status", name)
    assert done.returncode == EXIT_DONE and "b is primary by role epoch 2" in done.stdout
    assert "lose at most" not in done.stdout


def test_enable_refuses_when_workers_saw_a_role_that_is_gone(service, name):
    beat = {"worker": "w1", "link": "a>b", "role_epoch": 3, "time": "2026-01-01T00:00:00Z", "partitions": []}
    service.redis.hset(service.key("workers", link=False), "w1", json.dumps(beat))
    done = service.run("enable", name, "--yes")
    assert done.returncode == EXIT_REFUSED
    assert "epoch 3" in done.stderr and "docs/faults.md#control" in done.stderr
    assert service.role() is None


# -- status ---------------------------------------------------------------------------------------------------------


def test_status_says_no_role(service, name):
    done = service.run("status", name)
    assert done.returncode == EXIT_REFUSED and f"ferry enable {name}" in done.stdout
    done = service.run("status", name, "--check")
    assert done.returncode == 3 and done.stdout.startswith("FERRY UNKNOWN - ") and done.stdout.count("\n") == 1
    assert service.status()["role_epoch"] == 0


def test_status_counts_what_nobody_mirrored(service, name, source):
    service.command.enable(name)
    Load(source.bootstrap, service.topic, count=300, partitions=2).run()
    done = service.run("status", name)
    assert done.returncode == EXIT_DONE
    first = done.stdout.splitlines()[0]
    assert first.startswith("if you failed over now: lose at most 300 records (seconds unknown)"), first
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    link = service.status()
    assert link["lag_records"] == 300 and link["lag_s"] is None and link["state"] == "no worker"
    assert [p["source_next"] for p in link["partitions"]] == [None, None]
    done = service.run("status", name, "--check")
    assert done.returncode == 2 and "no worker is alive" in done.stdout and "lag_s=U" in done.stdout


def test_status_when_things_are_dead(service, name, source):
    service.command.enable(name)
    Load(source.bootstrap, service.topic, count=10, partitions=2).run()
    nobody = {"kafka": {"bootstrap.servers": f"127.0.0.1:{free_port()}"}}
    without_redis = service.with_sites(b={"redis": {"url": f"redis://127.0.0.1:{free_port()}"}})
    done = without_redis.run("status", name)
    assert done.returncode == EXIT_DONE
    assert "lose at most 10 records" in done.stdout and "workers and faults unknown" in done.stdout
    assert without_redis.run("status", name, "--check").returncode == 1
    began = time.monotonic()
    done = service.with_sites(a=nobody).run("status", name, "--timeout", 2)
    assert done.returncode == EXIT_DONE and "records lost unknown" in done.stdout and "source unknown" in done.stdout
    assert time.monotonic() - began < 5
    done = service.with_sites(b=nobody).run("status", name, "--timeout", 2)
    assert done.returncode == EXIT_UNREACHABLE and "no failover to it now" in done.stdout
    for args in (["verify", name], ["enable", name, "--yes"]):
        done = service.with_sites(a=nobody).run(*args, "--timeout", 2)
        assert done.returncode == EXIT_UNREACHABLE, (args, done)
        assert "next: ferry " in done.stderr and not done.stdout


def beat(worker, at, **more):
    text = at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return json.dumps({"worker": worker, "link": "a>b", "state": "running", "time": text, "partitions": []} | more)


def test_status_does_not_trust_another_hosts_clock(service, name):
    """A worker whose clock is a minute off is alive; one whose heartbeat stands still is not. While that is watched the
    others go on: their clocks are right."""
    service.command.enable(name)
    key = service.key("workers", link=False)
    stop = threading.Event()
    late = datetime.timedelta(seconds=60)
    clocks = {"living": -late, "early": late, "right": datetime.timedelta(0)}

    def living():
        while not stop.is_set():
            for worker, off in clocks.items():
                service.redis.hset(key, worker, beat(worker, datetime.datetime.now(datetime.UTC) + off, host="h"))
            time.sleep(0.5)

    service.redis.hset(key, "dead", beat("dead", datetime.datetime.now(datetime.UTC) - late))
    service.redis.hset(key, "other", beat("other", datetime.datetime.now(datetime.UTC), link="b>a"))
    thread = threading.Thread(target=living)
    thread.start()
    try:
        link = service.status()
        shown = " ".join(service.run("status", name).stdout.split())
    finally:
        stop.set()
        thread.join()
    assert set(link["workers"]) == set(clocks) and set(link["gone_workers"]) == {"dead"}
    said = {word.split(" ")[0]: word for word in shown.split("worker ")}
    assert "clock ahead" in said["early"]
    assert "clock ahead" not in said["right"], said["right"]
    assert float(re.search(r"told ([0-9.]+) s ago", said["right"])[1]) < 2.4, said["right"]


def test_hostile_redis(service, name):
    """S34: garbage under our keys is no crash, and moves no cursor."""
    service.command.enable(name)
    now = datetime.datetime.now(datetime.UTC)
    workers = service.key("workers", link=False)
    service.redis.hset(workers, "w\x1b[2J", beat("x", now, host="\x1b[31m", state="\x07", partitions="many"))
    service.redis.hset(workers, b"\xff\xfe", "{}")
    service.redis.hset(workers, "w2", "[[[")
    service.redis.hset(service.key("faults"), "t:0", json.dumps({"kind": "\x1b]0;x\x07", "what": 7}))
    service.redis.hset(service.key("checkpoints"), "a\x1b:0", "v1 x")
    for args in (["status", name], ["fault", "list", name]):
        done = service.run(*args)
        assert done.returncode == EXIT_DONE, done
        assert "\x1b" not in done.stdout and "\x07" not in done.stdout
    service.redis.delete(service.key("faults"))
    service.redis.set(service.key("faults"), "no hash")
    done = service.run("fault", "list", name)
    assert done.returncode == EXIT_REFUSED and service.key("faults") in done.stderr


# -- faults ---------------------------------------------------------------------------------------------------------

FAULT = {"kind": "hole", "what": "records are missing", "hint": "keep both logs", "source_from": 5, "source_to": 9}


class FakeWorker(threading.Thread):
    """Takes orders as ferryd does; `then` is the fault that comes anew, None = goes on."""

    def __init__(self, service, then):
        super().__init__()
        self.service = service
        self.then = then
        self.orders = []
        self.stop = threading.Event()

    def run(self):
        redis, service = self.service.redis, self.service
        while not self.stop.is_set():
            for field, text in redis.hgetall(service.key("orders")).items():
                self.orders.append((field.decode(), json.loads(text)))
                redis.hdel(service.key("orders"), field)
                time.sleep(0.5)
                if self.then is None:
                    redis.hdel(service.key("faults"), field)
                else:
                    fault = self.then | {"time": f"2026-01-01T00:00:{9 + len(self.orders):02}.000Z"}
                    redis.hset(service.key("faults"), field, json.dumps(fault))
            time.sleep(0.05)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.join()


def test_fault_list_and_retry(service, name):
    faults = service.key("faults")
    assert "no faults" in service.command.ok("fault", "list", name)
    for partition in (0, 1):
        service.redis.hset(faults, f"t:{partition}", json.dumps(FAULT | {"time": "2026-01-01T00:00:00Z"}))
    text = service.command.ok("fault", "list", name)
    assert "t:0  hole  since 2026-01-01T00:00:00Z" in text and "source offsets from 5 to below 9" in text
    assert service.command.json("fault", "list", name)["links"][0]["faults"]["t:1"]["kind"] == "hole"
    done = service.run("fault", "retry", name, "t:7")
    assert done.returncode == EXIT_REFUSED and "is not faulted" in done.stderr
    # Nobody there: bounded, and the order stands.
    done = service.run("fault", "retry", name, "t:0", "--timeout", 1)
    assert done.returncode == EXIT_TIME and "no worker took the order" in done.stdout
    assert json.loads(service.redis.hget(service.key("orders"), "t:0"))["order"] == "retry"
    with FakeWorker(service, FAULT) as worker:
        done = service.run("fault", "retry", name, "--all", "--depth", "4GiB")
        assert done.returncode == EXIT_REFUSED and done.stdout.count("faulted again") == 2, done
        assert {field for field, _ in worker.orders[-2:]} == {"t:0", "t:1"}
        assert all(order["depth"] == 4 << 30 for _, order in worker.orders[-2:])
        assert "@" in worker.orders[-1][1]["by"]
    with FakeWorker(service, None):
        done = service.run("fault", "retry", name, "t:0", "-o", "json")
        assert done.returncode == EXIT_DONE
        assert json.loads(done.stdout)["partitions"] == {"t:0": {"fault": None, "result": "goes on"}}


class DeafRedis(threading.Thread):
    """Answers what is asked of it, up to the first order: that one it may have taken, and dies."""

    def __init__(self, faults):
        super().__init__(daemon=True)
        self.faults = faults
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.orders = 0

    def run(self):
        connection, _ = self.socket.accept()
        with self.socket, connection, connection.makefile("rb") as lines:
            while line := lines.readline():
                words = [lines.readline() and lines.readline().strip() for _ in range(int(line[1:]))]
                if words[0] == b"HSET":
                    self.orders += 1
                    return
                if words[0] == b"HGETALL":
                    flat = [part for pair in self.faults.items() for part in pair]
                    text = "".join(f"${len(part)}\r\n{part}\r\n" for part in flat)
                    connection.sendall(f"*{len(flat)}\r\n{text}".encode())
                else:
                    connection.sendall(b"+OK\r\n")


def test_an_order_whose_answer_is_lost_was_perhaps_given(folder):
    """Exit code 6 would say that nothing happened."""
    redis = DeafRedis({"t:0": json.dumps(FAULT)})
    redis.start()
    sites = {n: {"kafka": {"bootstrap.servers": f"127.0.0.1:{free_port()}"}} for n in ("a", "b")}
    sites["b"]["redis"] = {"url": f"redis://127.0.0.1:{redis.socket.getsockname()[1]}/0"}
    service = {"home": "a", "others": ["b"], "topics": {"include": ["t*"]}}
    path = folder / "ferry.json"
    path.write_text(json.dumps({"deployment": "test", "sites": sites, "services": {"orders": service}}))
    argv = [BIN / "ferry", "--config", path, "fault", "retry", "orders", "--all"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert redis.orders == 1
    assert done.returncode == EXIT_PARTLY, done
    assert "ferry fault list orders" in done.stderr


def test_a_reason_in_another_coding_is_journaled(service, name, target):
    service.command.enable(name)
    fault = FAULT | {"kind": "gap", "time": "2026-01-01T00:00:00Z"}
    service.redis.hset(service.key("faults"), "t:0", json.dumps(fault))
    latin = os.fsdecode(b"caf\xe9 closed")
    done = service.run("fault", "accept", name, "t:0", "--reason", latin, "--yes", "--timeout", 1)
    assert done.returncode == EXIT_TIME, done
    order = json.loads(service.redis.hget(service.key("orders"), "t:0"))
    assert order["reason"].startswith("caf") and order["reason"].endswith(" closed")
    journaled = read_key(target, f"ferry.control.{name}", f"op/{order['id']}")
    assert journaled["reason"] == order["reason"]


# -- offsets and verify ---------------------------------------------------------------------------------------------


def test_nothing_mirrored_is_not_verified(service, name, source):
    service.command.enable(name)
    done = service.run("offsets", "translate", name, service.topic, 0, 5)
    assert done.returncode == EXIT_REFUSED and "next: " in done.stderr
    assert service.run("offsets", "map", name).returncode == EXIT_REFUSED
    Load(source.bootstrap, service.topic, count=10, partitions=2).run()
    done = service.run("verify", name)
    assert done.returncode == EXIT_PARTLY and "nothing could be compared" in done.stdout
    assert service.run("verify", name, "--topic", "other").returncode == EXIT_REFUSED


@pytest.fixture
def mirrored(own, folder, source, target, redis_server, name):
    """A service with 4,000 plain and 1,500 transactional records (a fourth is aborted), mirrored; no worker runs."""
    topics = [f"{name}.plain", f"{name}.tx"]
    for topic in topics:
        source.create_topic(topic, partitions=2)
    plain = Load(source.bootstrap, topics[0], "headers", count=4000, partitions=2).run()
    tx = Load(source.bootstrap, topics[1], "transactional", count=1500, partitions=2).run()
    one = Line(own, folder, source, target, redis_server, name, topics)
    one.records = plain.committed + tx.committed
    worker = one.worker("w1")
    one.wait_caught_up()
    one.prove()
    worker.stop()
    one.workers.remove(worker)
    return one


def test_map_and_translate(mirrored):
    name, topic = mirrored.service, mirrored.topics[1]
    expected, checkpoint = mirrored.map().runs(topic, 0)
    got = mirrored.command.json("offsets", "map", name, f"{topic}:0", "--limit", 0)["runs"]
    assert [(r["source_first"], r["target_first"], r["length"]) for r in got] == [
        (r.source, r.target, r.length) for r in expected
    ]
    newest = mirrored.command.json("offsets", "map", name, f"{topic}:0", "--limit", 3)["runs"]
    assert newest == got[-3:]
    assert f"{topic}:0, mirrored to source {checkpoint.source_next}" in mirrored.command.ok("offsets", "map", name)
    for run in expected[:3]:
        there = mirrored.command.translate(name, topic, 0, run.source)
        assert (there["target_offset"], there["verdict"]) == (run.target, "exact")
        back = mirrored.command.translate(name, topic, 0, run.target, "--from-target")
        assert (back["source_offset"], back["verdict"]) == (run.source, "exact")
    hole = expected[0].source + expected[0].length
    there = mirrored.command.translate(name, topic, 0, hole)
    assert (there["target_offset"], there["verdict"]) == (expected[1].target, "rounded")
    there = mirrored.command.translate(name, topic, 0, checkpoint.source_next + 7)
    assert (there["verdict"], there["ahead_count"]) == ("ahead", 7)
    # What the target's retention took is not "exact".
    mirrored.target.delete_records(topic, 0, 10)
    there = mirrored.command.translate(name, topic, 0, expected[0].source)
    assert (there["verdict"], there["target_offset"], there["target_begin"]) == ("lost", 10, 10)


def test_verify_finds_nothing_where_nothing_is(mirrored):
    result = mirrored.command.json("verify", mirrored.service)
    assert result["verified"] and result["compared"] == mirrored.records, result
    text = mirrored.command.ok("verify", mirrored.service)
    assert text.endswith("verified\n")
    assert mirrored.command.json("verify", mirrored.service, "--sample", 5)["compared"] == 20
    assert mirrored.command.json("verify", mirrored.service, "--since", "1h")["compared"] == mirrored.records
    topic = mirrored.topics[0]
    result = mirrored.command.json("verify", mirrored.service, "--limit", 100, "--topic", f"{topic}:1")
    assert (result["compared"], result["partitions"], result["verified"]) == (100, 1, True)


def test_verify_finds_what_others_wrote(mirrored):
    topic = mirrored.topics[0]
    with RawClient(mirrored.target.bootstrap) as raw:
        record = raw.fetch(topic, 0, 700).batches[0].records()[0]
    producer = Producer({"bootstrap.servers": mirrored.target.bootstrap})
    headers = [(h[0].decode() if isinstance(h[0], bytes) else h[0], h[1]) for h in record.headers or []]
    producer.produce(topic, record.value, record.key, 0, timestamp=record.timestamp, headers=headers)
    producer.produce(topic, b"nobody's", b"k", 0)
    producer.produce(topic, b"nobody's", b"k", 0)
    producer.flush(10)
    done = mirrored.command.run("verify", mirrored.service, "-o", "json")
    assert done.returncode == EXIT_FAILED
    result = json.loads(done.stdout)
    assert not result["verified"]
    assert (result["doubled"], result["foreign"], result["lost"], result["differing"]) == (1, 2, 0, 0)
    kinds = {(f["kind"], f["source_offset"], f["target_offset"], f["count"]) for f in result["findings"]}
    assert kinds == {("doubled", record.offset, 2000, 1), ("foreign", None, 2001, 2)}


def test_verify_says_what_it_could_not_compare(mirrored):
    mirrored.target.delete_records(mirrored.topics[0], 0, 10)
    done = mirrored.command.run("verify", mirrored.service, "-o", "json")
    assert done.returncode == EXIT_PARTLY
    result = json.loads(done.stdout)
    assert result["expired"] == 10 and not result["verified"] and result["lost"] == 0
    # The source's retention is nothing to worry about.
    mirrored.source.delete_records(mirrored.topics[0], 0, 20)
    result = json.loads(mirrored.command.ok("verify", mirrored.service, "-o", "json"))
    assert result["verified"] and result["forgotten"] == 10


def test_verify_finds_damage_in_the_log(own, folder, name):
    """A flipped bit, and records that were taken out of a batch, in the log of a stopped broker."""
    source, target = start_together(
        own(KafkaCluster("damage-a", workdir=folder)), own(KafkaCluster("damage-b", workdir=folder))
    )
    redis = own(RedisServer("damage", workdir=folder)).start()
    source.create_topic("t")
    Load(source.bootstrap, "t", "plain", count=500).run()
    one = Line(own, folder, source, target, redis, name, ["t"])
    worker = one.worker("w1")
    one.wait_caught_up()
    worker.stop()
    one.workers.remove(worker)
    damaged = []

    def flip_one(batch):
        records = batch.records()
        if damaged or records[-1].offset < 100:
            return batch
        hit = next(n for n, record in enumerate(records) if record.offset >= 100)
        damaged.append(records[hit].offset)
        value = bytes([records[hit].value[0] ^ 1]) + records[hit].value[1:]
        records[hit] = records[hit]._replace(value=value)
        return batch.with_records(records)

    broker = target.broker(1)
    broker.stop()
    assert broker.rewrite("t", 0, flip_one) == 1
    broker.start()
    target.wait_topic("t")
    done = one.command.run("verify", name, "-o", "json")
    assert done.returncode == EXIT_FAILED
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["kind"], finding["target_offset"], finding["count"]) == ("differing", damaged[0], 1)


def test_verify_while_everything_moves(own, folder, source, target, redis_server, name):
    """Producers write and the mirror works: what is behind the checkpoint is no stranger."""
    topic = f"{name}.t"
    source.create_topic(topic, partitions=2)
    one = Line(own, folder, source, target, redis_server, name, [topic])
    loads = [
        own(Load(source.bootstrap, topic, kind, count=None, partitions=2, rate=500, seed=seed)).start()
        for seed, kind in enumerate(("lz4", "transactional"))
    ]
    one.worker("w1", wait=True)
    compared = 0
    behind = 0
    for _ in range(15):
        done = one.command.run("verify", name, "-o", "json")
        assert done.returncode in (EXIT_DONE, EXIT_PARTLY), done  # partly: before the first checkpoint
        result = json.loads(done.stdout)
        assert result["findings"] == [] and result["expired"] == 0 and result["unread_partitions"] == 0, result
        compared, behind = max(compared, result["compared"]), behind + result["behind_checkpoint"]
        time.sleep(0.2)
    for load in loads:
        load.stop()
    assert compared > 2000
    one.wait_caught_up()
    assert one.command.json("verify", name)["verified"]
