"""Could we fail over now? Each refusal is made real on real servers and seen by its name, before all is well."""

import json
import re
import shutil
import time

import pytest

from rig.driver import Driver
from rig.ferry import EXIT_DONE, EXIT_REFUSED, EXIT_UNREACHABLE, Command, Configuration
from rig.groups import Member, commit
from rig.line import Line
from rig.nameserver import ZONE, Bind, zone_settings
from rig.procs import free_port, wait_for
from rig.produce import Load
from rig.secure import Authority, Listener, write_secret

RECORD = f"kafka.{ZONE}"
A, B = f"kafka-a.{ZONE}", f"kafka-b.{ZONE}"
CHECKS = [
    "target", "control", "topics", "leaders", "replicas", "capacity", "groups", "permissions", "certificate",
    "advertised", "dns", "ttl", "name-servers", "redis", "clock", "place", "cost",
]  # fmt: skip


class Found(list):
    """Findings of a link."""

    def of(self, check):
        """[(level, what)] of a check."""
        return [(row["level"], row["what"]) for row in self if row["check"] == check]

    def one(self, check):
        (row,) = self.of(check)
        return row

    def levels(self):
        return {row["check"]: row["level"] for row in self if row["check"]}


class Service:
    """A service of its own between two clusters."""

    def __init__(self, folder, source, target, redis, name, secured=None, **more):
        self.name, self.source, self.target = name, source, target
        top = {key: more.pop(key) for key in ("dns",) if key in more}
        sites = {"a": (source, None), "b": (target, redis)}
        self.conf = Configuration(folder / "ferry", sites, secured=secured, **top)
        self.conf.service(name, topics=[f"{name}.*"], groups=[f"{name}.*"], **more)
        self.command = Command(self.conf)

    def check(self, *more, timeout=5):
        done = self.command.run("check", self.name, "-o", "json", "--timeout", str(timeout), *more)
        (link,) = json.loads(done.stdout)["links"]
        return done.returncode, Found(link["findings"])

    def driver(self):
        return Driver("preflight_driver", self.conf.path, self.name)


def ask(driver, *words, timeout=30):
    driver.send("ask", *words)
    answer = json.loads(driver.expect("done", timeout)["line"][5:])
    return answer | {"findings": Found(answer["findings"])}


@pytest.fixture
def service(folder, source, target, redis_server, name):
    return lambda **more: Service(folder, more.pop("a", source), more.pop("b", target), more.pop("redis", redis_server),
                                  name, **more)  # fmt: skip


# --- topics, groups ---------------------------------------------------------------------------------------------------


def test_before_it_is_enabled_and_topics_that_are_missing(service, source, target, name):
    one = service()
    source.create_topic(f"{name}.t", partitions=3)
    code, found = one.check()
    level, what = found.one("control")
    assert (level, code) == ("warning", EXIT_DONE) and f"{name} has no role" in what
    assert found.one("topics") == ("warning", f"b lacks 1 of 1 topics: {name}.t")  # nobody has made it yet
    one.command.enable(name)
    code, found = one.check()
    assert code == EXIT_REFUSED
    assert found.one("topics") == ("refused", f"b lacks 1 of 1 topics: {name}.t")
    assert found.one("control")[0] == "ok"
    target.create_topic(f"{name}.t", partitions=2)
    code, found = one.check()
    assert code == EXIT_REFUSED
    assert found.one("topics") == ("refused", f"b has fewer partitions than the source: {name}.t (2 of 3)")
    target.add_partitions(f"{name}.t", 3)
    target.wait_topic(f"{name}.t", 3)
    code, found = one.check()
    assert found.one("topics") == ("ok", "b has all 1 topics of the service, 3 partitions")
    assert found.one("leaders") == ("ok", "b: all 3 partitions have a leader")
    named = list(dict.fromkeys(row["check"] for row in found if row["check"] not in (None, "permissions", "path")))
    assert named == [check for check in CHECKS if check != "permissions"]
    source.create_topic(f"{name}.u")
    target.create_topic(f"{name}.u", partitions=2)
    code, found = one.check()
    assert found.one("topics")[0] == "warning" and f"{name}.u (2, the source has 1)" in found.one("topics")[1]


def test_groups_with_members_at_the_target(service, source, target, name):
    one = service()
    for cluster in (source, target):
        cluster.create_topic(f"{name}.t")
    target.create_topic(f"other-{name}")
    one.command.enable(name)
    commit(target, f"{name}.elsewhere", {(f"other-{name}", 0): 0})
    with (
        Member(target, f"{name}.new", [f"{name}.t"]),
        Member(target, f"{name}.elsewhere", [f"other-{name}"]),
        Member(target, f"stranger-{name}", [f"{name}.t"]),
    ):
        _, found = one.check()
        level, what = found.one("groups")
        assert level == "warning" and "1 groups have members at b" in what and f"{name}.new (Stable)" in what
        assert "elsewhere" not in what and "stranger" not in what
    _, found = one.check()
    assert found.one("groups") == ("ok", "no group of the service has members at b")


# --- brokers ----------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_leaders_replicas_and_advertised_names(folder, own, service, source, new_cluster, name):
    """A broker is gone: topics that lived on it alone have no leader, others too few replicas in sync."""
    pair = new_cluster("pair", brokers=2, listeners={"lost": Listener("PLAINTEXT", host="nowhere.invalid")})
    one = service(b=pair)
    source.create_topic(f"{name}.both")
    source.create_topic(f"{name}.alone")
    pair.create_topic(f"{name}.both", replicas=2, config={"min.insync.replicas": 2})
    pair.create_topic(f"{name}.alone", assignment=[[pair.brokers[1].id]])
    one.command.enable(name)
    code, found = one.check()
    assert found.one("leaders")[0] == found.one("replicas")[0] == found.one("advertised")[0] == "ok"
    pair.brokers[1].kill9()

    def seen():
        code, found = one.check(timeout=10)
        return (code, found) if found.one("leaders")[0] == "refused" else None

    code, found = wait_for("the broker to be missed", seen, 40, not_yet=(AssertionError, ValueError))
    assert code in (EXIT_REFUSED, EXIT_UNREACHABLE)
    assert f"1 of 2 partitions have no leader: {name}.alone:0" in found.one("leaders")[1]
    level, what = found.of("replicas")[0]
    assert level == "refused" and f"{name}.both:0 (1 in sync, 2 needed)" in what
    # What is sent to names that nobody knows.
    lost = pair.secured("lost")
    servers = f"127.0.0.1:{lost.listener.port(pair.brokers[0])}"
    one.conf.data["sites"]["b"]["kafka"]["bootstrap.servers"] = servers
    one.conf.write()
    with one.driver() as driver:
        found = ask(driver, "quick")["findings"]
    level, what = found.of("advertised")[0]
    assert level == "refused" and "without an address: nowhere.invalid (broker" in what


def test_room_in_log_directories(service, target, name):
    """What brokers tell is what the file system has."""
    one = service()
    one.command.enable(name)
    _, found = one.check()
    level, what = found.one("capacity")
    assert level in ("ok", "warning"), what  # as this machine's disk is
    usable, total = map(float, re.search(r"([\d.]+) (?:GiB )?of ([\d.]+)", what).groups())
    disk = shutil.disk_usage(target.brokers[0].dir)
    assert abs(usable - disk.free / 2**30) < 1 and abs(total - disk.total / 2**30) < 1


# --- names, certificates ----------------------------------------------------------------------------------------------


def test_records_as_they_should_be_and_not(folder, own, service, source, target, name):
    server = own(Bind("one", folder)).start()
    at = {"a": A, "b": B}
    one = service(dns={ZONE: zone_settings(folder, [server])}, cname=[{"record": RECORD, "at": at}], rto="45s")
    one.command.enable(name)
    code, found = one.check()
    level, what = found.one("dns")
    assert level == "warning" and f"what stands at {RECORD} is not recorded" in what
    with one.driver() as driver:  # an operation could not move it
        assert ask(driver)["findings"].one("dns")[0] == "refused"
    one.command.ok("dns", "adopt", name, "--yes")
    code, found = one.check()
    assert code == EXIT_DONE, found
    assert found.one("dns") == ("ok", f"{RECORD} would move from {A} to {B}")
    assert found.one("ttl") == ("ok", "answers for the records are kept for 30 s at most, rto is 45 s")
    level, what = found.one("name-servers")
    assert level == "warning" and "1 name server, all in network 127.0.0.0/24" in what
    server.put("kafka", 46, "CNAME", "kafka-a")
    code, found = one.check()
    level, what = found.one("ttl")
    assert level == "warning" and f"{RECORD} for 46 s, rto is 45 s" in what
    server.put("kafka", 30, "CNAME", "kafka-six")
    code, found = one.check()
    level, what = found.one("dns")
    assert (code, level) == (EXIT_REFUSED, "refused")
    assert f"{RECORD}: value-not-as-recorded" in what and f"kafka-six.{ZONE}" in what
    with one.driver() as driver:
        forced = ask(driver, "quick", "force=dns")
        assert forced["forced"] == 1 and forced["findings"].one("dns")[0] == "warning"
        driver.send("ask", "force=target")
        assert driver.expect("error")["kind"] == "usage"
        # A name server that is silent holds up nobody, and says nothing.
        server.process.sigstop()
        slow = ask(driver, "quick")
        server.process.sigcont()
    assert slow["findings"].one("dns")[0] == slow["findings"].one("name-servers")[0] == "unknown"
    assert slow["findings"].one("leaders")[0] == "ok" and slow["ms"] < 2500
    server.put("kafka", 30, "CNAME", "kafka-a")
    code, found = one.check()
    assert (code, found.one("dns")[0]) == (EXIT_DONE, "ok")


@pytest.mark.long
def test_certificates_for_the_records_names(folder, own, service, source, new_cluster, name):
    ca = Authority(folder / "ca")
    mine = ("localhost", "127.0.0.1")
    certificates = {
        "wrong": ca.certificate("wrong", names=mine),
        "right": ca.certificate("right", names=(*mine, RECORD)),
        "ending": ca.certificate("ending", names=(*mine, RECORD), days=5),
    }
    tls = new_cluster("tls", listeners={word: Listener("SSL", ca, made) for word, made in certificates.items()})
    server = own(Bind("one", folder)).start()
    found = {}
    for word in certificates:
        one = service(
            b=tls,
            secured={"b": tls.secured(word).settings(folder / word)},
            dns={ZONE: zone_settings(folder, [server])},
            cname=[{"record": RECORD, "at": {"a": A, "b": B}}],
        )
        found[word] = one.check()
    code, wrong = found["wrong"]
    level, what = wrong.one("certificate")
    assert (code, level) == (EXIT_REFUSED, "refused")
    assert f"clients that know it as {RECORD} would not accept localhost:" in what and "localhost,127.0.0.1" in what
    assert found["right"][1].one("certificate") == ("ok", "certificates of 1 bootstrap servers fit all 1 records")
    level, what = found["ending"][1].one("certificate")
    assert level == "warning" and "ends at" in what


# --- rights, Redis, sites ---------------------------------------------------------------------------------------------


def test_rights_of_who_acts(permitted):
    one = permitted()
    one.grant()
    one.command.enable(one.name)

    with Driver("preflight_driver", one.line.conf.path, one.name) as driver:
        found = ask(driver)["findings"]
        assert found.one("permissions") == ("ok", "b: the operator has every ACL that an operation needs")
        assert found.one("capacity")[0] != "unknown", "Alter on the cluster includes Describe"
        needed = (("kafka-cluster", "Alter"), (f"ferry.control.{one.name}", "Write"))
        wanted = [
            (cluster, acl)
            for cluster, acl in one.granted
            if acl.principal.endswith("oper") and (acl.name, acl.operation) in needed
        ]
        assert len(wanted) == 2
        one.revoke(wanted)
        found = ask(driver)["findings"]
        refused = "\n".join(what for level, what in found.of("permissions") if level == "refused")
        assert "User:oper lacks Alter on the cluster" in refused
        assert f"User:oper lacks Write on topic 'ferry.control.{one.name}'" in refused
        level, what = found.one("capacity")
        assert level == "unknown" and "lacks Describe on the cluster" in what


def test_who_acts_is_not_let_in(permitted, folder):
    """A wrong password of sites.b.operator is refused by name at once, by whatever acts with it, and changes nothing;
    once it is right the same command goes on."""
    one = permitted()
    one.grant()
    one.command.enable(one.name)
    one.line.worker("w1", wait=True)
    one.produce(count=20)
    one.line.wait_caught_up()
    dead = one.line.conf.copy(folder / "dead")
    dead.data["sites"]["a"]["kafka"]["bootstrap.servers"] = f"127.0.0.1:{free_port()}"
    dead.write()
    secret = folder / "oper" / "password"
    right = secret.read_text().strip()
    write_secret(secret, "wrong")
    name = one.name
    move = ("failover", name, "--yes", "--allow-loss", "unknown")
    for conf, args in (
        (dead, move),
        (dead, ("failover", name, "--dry-run")),
        (one.line.conf, ("check", name)),
        (one.line.conf, ("fence", "sync", name, "--yes")),
        (one.line.conf, ("pause", name, "--yes")),
    ):
        began = time.monotonic()
        done = Command(conf).run(*args)
        took = time.monotonic() - began
        said = done.stdout + done.stderr
        assert done.returncode in (EXIT_REFUSED, EXIT_UNREACHABLE), (args, said)
        assert "uthentication" in said and ("operator" in said or "User:oper" in said), (args, said)
        assert took < 6, f"{args} took {took:.1f} s"
    link = one.command.status(name)["services"][0]["links"][0]
    assert (link["primary"], link["role_epoch"]) == ("a", 1)
    assert one.command.json("history", name)["operations"] == []
    write_secret(secret, right)
    done = Command(dead).run("failover", name, "--dry-run")
    assert done.returncode == EXIT_DONE, done.stderr


def test_redis_and_place(service, new_redis, name):
    redis = new_redis("evicting", options=("--maxmemory-policy", "allkeys-lru"))
    one = service(redis=redis)
    one.conf.data["sites"]["b"]["region"] = "region-a"
    one.conf.write()
    code, found = one.check()
    assert code == EXIT_REFUSED
    assert found.one("redis") == ("refused", "Redis may evict keys (allkeys-lru): a map with holes would be wrong")
    assert found.one("clock")[0] == "ok"
    assert found.one("place") == ("warning", "both sites are in region region-a: they may be lost together")
    redis.client.config_set("maxmemory-policy", "noeviction")
    one.conf.data["sites"]["b"]["region"] = "region-b"
    one.conf.write()
    code, found = one.check()
    assert (code, found.one("redis")[0], found.one("place")[0]) == (EXIT_DONE, "ok", "ok")
    redis.kill9()
    code, found = one.check()
    level, what = found.one("redis")
    assert (code, level) == (EXIT_UNREACHABLE, "unreachable") and "a failover goes on without it" in what


# --- with the primary dead, and many of everything -------------------------------------------------------------------


class Dead:
    """A site where nobody answers."""

    def __init__(self):
        self.bootstrap = f"127.0.0.1:{free_port()}"


def test_the_primary_is_dead(service, source, target, redis_server, name, own, folder):
    """Nothing waits for it; what it had is what the keeper wrote down."""
    one = service()
    source.create_topic(f"{name}.t", partitions=2)
    line = Line(own, folder / "line", source, target, redis_server, name, [f"{name}.t"])
    worker = line.worker("w1", wait=True)
    wait_for("the topic to be mirrored", lambda: line.mirroring(worker) == 2, 30)
    one.conf.data["sites"]["a"]["kafka"]["bootstrap.servers"] = Dead().bootstrap
    one.conf.write()
    with one.driver() as driver:
        first = ask(driver, "quick", "redis")
        answer = ask(driver, "quick", "redis")
        assert first["ms"] < 2500 and answer["ms"] < 2500
        found = answer["findings"]
        assert found.one("topics") == ("ok", "b has all 1 topics of the service, 2 partitions")
        refused = [row for row in found if row["level"] == "refused"]
        assert not refused
        planned = ask(driver, "quick", "redis", "planned")["findings"]
        assert planned.of("target")[-1][0] == "refused"
    target.delete_topic(f"{name}.t")


@pytest.mark.long
def test_fifty_topics_of_eight_partitions(service, source, target, redis_server, name):
    one = service()
    for number in range(50):
        target.create_topic(f"{name}.{number}", partitions=8)
        source.create_topic(f"{name}.{number}", partitions=8)
    for cluster in (source, target):
        for number in range(50):
            cluster.wait_topic(f"{name}.{number}", 8)
    one.command.enable(name)
    with one.driver() as driver:
        took = sorted(ask(driver, "quick", "redis", "source")["ms"] for _ in range(5))
        found = ask(driver, "quick", "redis", "source")["findings"]
    assert found.one("topics") == ("ok", "b has all 50 topics of the service, 400 partitions")
    assert found.one("replicas")[0] == "ok"
    assert not [row for row in found if row["level"] in ("refused",)], found
    assert took[2] < 2000, took
    print(took)


# --- the first line of status -----------------------------------------------------------------------------------------


def test_status_counts_what_groups_would_read_again(own, folder, source, target, redis_server, name):
    """A group that stands still reads nothing again; one that is 400 records behind what may have been read, that."""
    topic = f"{name}.t"
    source.create_topic(topic)
    line = Line(own, folder, source, target, redis_server, name, [topic], groups=[f"{name}.*"])
    worker = line.worker("w1", wait=True)
    Load(source.bootstrap, topic, "plain", count=500, partitions=1).run()
    line.wait_caught_up()

    def link():
        (found,) = line.command.json("status", name)["services"]
        return found["links"][0]

    def known(records):
        row = link()
        return row if row["reread_records"] == records and row["groups"] == 1 else None

    commit(source, f"{name}.g", {(topic, 0): 100})
    row = wait_for("what it would read again", lambda: known(400), 20, every=0.2)
    assert row["reread_groups"] == 1 and row["failover_s"] > 0 and row["failover_s_from"] == "estimated"
    assert row["summary"].startswith("if you failed over now: lose at most 0 records (0.0 s), 1 of 1 groups re-read")
    assert "at most 400 records, about 4.0 s (estimated)" in row["summary"], row["summary"]
    metrics = worker.metrics()
    labels = {"service": name}
    assert metrics["ferry_group_reread_records", labels] == 400
    assert metrics["ferry_groups_reread", labels] == 1
    assert metrics["ferry_group_reread_unknown_partitions", labels] == 0
    assert metrics["ferry_link_operation_open", labels] == metrics["ferry_link_unprotected", labels] == 0
    assert 4 <= metrics["ferry_link_failover_estimate_seconds", labels] < 5
    plugin = line.command.run("status", name, "--check")
    assert "reread_records=400 failover_s=4.0" in plugin.stdout, plugin.stdout
    commit(source, f"{name}.g", {(topic, 0): 500})
    wait_for("it to be at the end", lambda: known(0), 20, every=0.2)
    worker.stop()
    row = link()
    assert row["reread_records"] is None and "groups unknown" in row["summary"]


def test_status_while_an_operation_is_open_and_behind_it(own, folder, source, target, redis_server, name):
    """Killed with the role raised: the first line says where and what to type; then that it is unprotected."""
    topic = f"{name}.t"
    source.create_topic(topic)
    line = Line(own, folder, source, target, redis_server, name, [topic], groups=[f"{name}.*"])
    worker = line.worker("w1", wait=True)
    line.wait_caught_up()
    lost = line.conf.copy(folder / "lost")
    lost.data["sites"]["a"]["kafka"]["bootstrap.servers"] = Dead().bootstrap
    lost.write()

    def failover(**env):
        more = ("--yes", "--allow-loss", "unknown", "-o", "json")
        return Command(lost, env={"FERRY_WATCH_MS": "3500"} | env).run("failover", name, *more, timeout=60)

    assert failover(FERRY_FAILPOINT="role:act").returncode == -9

    def link():
        (found,) = line.command.json("status", name)["services"]
        return found["links"][0]

    row = link()
    command = f"ferry failover {name} --to b"
    assert row["summary"] == f"operation open at role, do not move clients by hand; {command}"
    operation = row["operation"]
    assert (operation["kind"], operation["step"], operation["next"]) == ("failover", "role", command)
    plugin = line.command.run("status", name, "--check")
    assert plugin.returncode == 1 and "operation open at role" in plugin.stdout
    labels = {"service": name}
    wait_for("the worker to see it", lambda: worker.metrics()["ferry_link_operation_open", labels] == 1, 10)
    done = failover()
    assert done.returncode == EXIT_DONE, done.stderr
    findings = json.loads(done.stdout)["evidence"]["check"]["findings"]
    assert {row["check"] for row in findings} == set(CHECKS) - {"cost"}
    row = link()
    assert re.match(r"unprotected since \S+.*: b is primary by role epoch 2", row["summary"]), row["summary"]
    assert row["unprotected"] is True and row["operation"] is None
    assert row["failover_s_from"] == "measured" and 0 < row["failover_s"] < 60
    plugin = line.command.run("status", name, "--check")
    assert plugin.returncode == 1 and "unprotected: this site is primary" in plugin.stdout
    wait_for("the worker to see it", lambda: worker.metrics()["ferry_link_unprotected", labels] == 1, 10)
    assert worker.metrics()["ferry_link_operation_open", labels] == 0
