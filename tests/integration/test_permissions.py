"""Permissions on brokers that ask for them, and on a Redis that does: what `ferry check --print-acls` prints is enough
and nothing of it may be missing; what is missing is named; what is taken away while it runs is unknown, never well."""

import json
import re
import shlex

import pytest

from rig.acls import all_acls, take_back
from rig.ferry import EXIT_DONE, EXIT_REFUSED, Command
from rig.groups import commit, committed
from rig.line import Line
from rig.paths import ROOT
from rig.permitted import MIRROR
from rig.procs import free_port, wait_for
from rig.produce import Load


def lacks(acl):
    """How a missing ACL is said; what stands behind a prefix is a topic's own name."""
    where = "the cluster" if acl.resource == "cluster" else f"{acl.resource} '{acl.name}"
    return f"{acl.principal} lacks {acl.operation} on {where}"


def findings(command, service):
    """(exit code, [(level, what, next)]) of `ferry check`."""
    done = command.run("check", service, "-o", "json")
    (link,) = json.loads(done.stdout)["links"]
    return done.returncode, [(row["level"], row["what"], row["next"] or "") for row in link["findings"]]


def complaints(one):
    """What `ferry check` has to say of permissions, or could not ask for want of one."""
    found = [(level, what) for level, what, _ in findings(one.command, one.name)[1] if level != "ok"]
    found = [row for row in found if "has no role" not in row[1] and " topics: " not in row[1]]  # not enabled yet
    found = [row for row in found if "would read again is unknown" not in row[1]]
    return [row for row in found if "one replica" not in row[1] and "in the clear" not in row[1]]


def everything(one):
    """Everything that needs a permission: a topic's way, one more topic, more partitions, settings, status, verify."""
    line, later = one.line, f"{one.name}.later"
    one.target.create_topic(one.topic, partitions=2, config={"message.timestamp.type": "LogAppendTime"})
    one.produce()
    one.command.enable(one.name)
    worker = line.worker("w1", wait=True)
    line.wait_caught_up()
    one.source.create_topic(later, partitions=2)
    one.source.add_partitions(one.topic, 3)
    line.topics.append(later)
    one.produce(later)
    one.produce(serial=10**6)
    line.wait_caught_up()
    return worker


def test_what_is_printed_is_enough(permitted):
    one = permitted()
    one.grant()
    assert complaints(one) == []
    worker = everything(one)
    one.line.prove()
    assert complaints(one) == []
    commit(one.source, f"{one.name}.g", {(one.topic, 0): 7})
    wait_for("a group to be carried", lambda: committed(one.target, f"{one.name}.g") == {(one.topic, 0): 7}, 20)
    assert "exact" in one.command.ok("offsets", "show", one.name)
    (found,) = one.command.status(one.name)["services"]
    assert found["links"][0]["lag_records"] == 0
    assert "verified" in one.command.ok("verify", one.name)
    assert "lacks" not in worker.process.log_text()
    assert one.line.group_checkpoint() is not None
    worker.stop()  # commits, leaves the group
    assert "lacks" not in worker.process.log_text()


@pytest.mark.long
def test_a_failover_with_what_is_printed(permitted, folder):
    """And `ferry hints` behind it, which reads its topic where Redis is away. Without Read on that it says so."""
    one = permitted()
    one.grant()
    one.produce()
    one.command.enable(one.name)
    worker = one.line.worker("w1", wait=True)
    one.line.wait_caught_up()
    group = f"{one.name}.g"
    commit(one.source, group, {(one.topic, 0): 7})
    wait_for("a group to be carried", lambda: committed(one.target, group) == {(one.topic, 0): 7}, 20)
    dead = one.line.conf.copy(folder / "dead")
    dead.data["sites"]["a"]["kafka"]["bootstrap.servers"] = f"127.0.0.1:{free_port()}"
    dead.write()
    command = Command(dead)
    try:
        done = command.run("failover", one.name, "--yes", "--allow-loss", "unknown", "-o", "json", timeout=90)
        assert done.returncode == EXIT_DONE, done.stderr
        assert "lacks" not in done.stderr + done.stdout + worker.process.log_text()
        dead.data["sites"]["b"]["redis"]["url"] = f"redis://127.0.0.1:{free_port()}/0"
        dead.write()
        found = command.json("hints", one.name, group)
        assert found["origin"] == "topic" and found["groups"][0]["places"][0]["from"] == 7
        (missing,) = [
            pair
            for pair in one.granted
            if pair[1].name == f"ferry.hints.{one.name}"
            and (pair[1].principal, pair[1].operation) == (f"User:{MIRROR}", "Read")
        ]
        one.revoke([missing])
        done = command.run("hints", one.name, group)
        assert done.returncode == EXIT_REFUSED and lacks(missing[1]) in done.stderr, done.stderr
    finally:
        take_back(one.target, [acl for acl in all_acls(one.target) if acl.permission == "Deny"])


def test_check_names_what_is_missing(permitted):
    """One of each kind, taken away and given back; every one of them is in the long test."""
    one = permitted()
    one.grant()
    one.command.enable(one.name)
    one.target.create_topic(one.topic, partitions=2)
    kinds = {(cluster.name, acl.resource, acl.principal): (cluster, acl) for cluster, acl in one.printed()}
    kinds |= {acl.operation: (cluster, acl) for cluster, acl in one.printed() if acl.name.startswith("ferry.probe.")}
    for pair in kinds.values():
        named_by_check(one, pair)
    assert complaints(one) == []


def named_by_check(one, pair):
    """Take it away: `ferry check` says which, where, and what to do; then give it back."""
    cluster, acl = pair
    one.revoke([pair])
    code, found = findings(one.command, one.name)
    one.grant([pair])
    ours = [(level, what, then) for level, what, then in found if lacks(acl) in what]
    assert ours, (acl, found)
    level, what, then = ours[0]
    nothing_yet = cluster is one.source and "there is none, or" in what
    probe = acl.name.startswith("ferry.probe.")  # what is not proven does not keep a service from being mirrored
    soft = level == "warning" and (acl.operation == "Create" or acl.resource == "cluster" or nothing_yet or probe)
    assert soft or (level == "refused" and code == EXIT_REFUSED), (acl, ours)
    assert "--print-acls" in then
    assert what.startswith("a: " if cluster is one.source else "b: ")


@pytest.mark.long
def test_check_names_each_one_that_is_missing(permitted):
    """Before and after there is something to be allowed."""
    one = permitted()
    printed = one.printed()
    one.grant()
    for pair in printed:
        if pair[1].operation == "Create" or (pair[1].operation == "Read" and pair[0] is one.source):
            named_by_check(one, pair)
    everything(one)
    for pair in printed:
        named_by_check(one, pair)
    assert complaints(one) == []


NEEDED = [  # what the long test takes away, one at a time, before anything began
    ("a", "topic", "Read"),
    ("a", "topic", "DescribeConfigs"),
    ("b", "topic", "Read"),
    ("b", "topic", "Write"),
    ("b", "topic", "Create"),
    ("b", "topic", "Alter"),
    ("b", "topic", "AlterConfigs"),
    ("b", "control", "Read"),
    ("b", "control", "Write"),
    ("b", "group", "Read"),
    ("b", "keeper", "Write"),
]


def is_called(pair, one, row):
    cluster, acl = pair
    where, kind, operation = row
    mine = acl.principal == f"User:{MIRROR}" and cluster is (one.source if where == "a" else one.target)
    resources = {
        "topic": ("topic", f"{one.name}."),
        "control": ("topic", f"ferry.control.{one.name}"),
        "group": ("group", f"ferry-{one.name}-a-b"),
        "keeper": ("transactional-id", f"ferry-keeper-{one.name}"),
    }
    return mine and acl.operation == operation and (acl.resource, acl.name) == resources[kind]


@pytest.mark.long
@pytest.mark.parametrize("row", NEEDED, ids="-".join)
def test_without_one_of_them_something_fails_by_name(permitted, row):
    """`ferry check` is not asked: the worker's log or `ferry status` says which one; given, it goes on alone."""
    one = permitted()
    line, later = one.line, f"{one.name}.later"
    printed = one.printed()
    (missing,) = [pair for pair in printed if is_called(pair, one, row)]
    one.grant([pair for pair in printed if pair != missing])
    one.target.create_topic(one.topic, partitions=1, config={"message.timestamp.type": "LogAppendTime"})
    one.produce()
    enabled = one.command.run("enable", one.name, "--yes")
    if enabled.returncode:
        assert lacks(missing[1]) in enabled.stderr
        one.grant([missing])
        one.command.enable(one.name)
        one.revoke([missing])
    worker = line.worker("w1")
    one.source.create_topic(later, partitions=2)
    line.topics.append(later)
    one.produce(later)

    def said():
        worker.process.check()
        text = worker.process.log_text() + json.dumps(one.command.status(one.name))
        # Who may alter settings may describe them; without either nothing is altered.
        return lacks(missing[1]) in text or lacks(missing[1]).replace("lacks AlterC", "lacks DescribeC") in text

    wait_for(f"{lacks(missing[1])} to be said", said, 40, every=0.5)
    one.grant([missing])
    line.wait_caught_up()
    line.prove()
    assert worker.alive


class Running:
    """A line that runs with all permissions, to take one away."""

    def __init__(self, permitted, **more):
        self.one = permitted(**more)
        self.one.grant()
        self.line = self.one.line
        self.one.produce()
        self.one.command.enable(self.one.name)
        self.worker = self.line.worker("w1", wait=True)
        self.line.wait_caught_up()
        self.serial = 0

    def take_away(self, row):
        """Returns what status says as soon as that names it."""
        (pair,) = [pair for pair in self.one.printed() if is_called(pair, self.one, row)]
        self.one.revoke([pair])

        def named():
            self.worker.process.check()
            done = self.one.command.run("status", self.one.name, "-o", "json")
            shown = json.loads(done.stdout)["services"][0]["links"][0]
            return shown if lacks(pair[1]) in done.stdout else None

        return pair, wait_for(f"status to say {lacks(pair[1])}", named, 30, every=0.3)

    def take_away_and_produce(self, row):
        (pair,) = [pair for pair in self.one.printed() if is_called(pair, self.one, row)]
        self.one.revoke([pair])
        self.one.produce(serial=6 * 10**8)
        return self.take_away(row)

    def give_back(self, pair):
        self.serial += 10**6
        self.one.produce(serial=self.serial)
        self.one.grant([pair])
        self.line.wait_caught_up()
        self.line.prove()
        assert self.worker.alive

        def well():
            (found,) = self.one.command.status(self.one.name)["services"]
            return found["links"][0]["lag_records"] == 0 and "lacks" not in json.dumps(found)

        wait_for("status to say that all is well", well, 10, every=0.3)


def test_taken_away_at_the_source(permitted):
    """Records that may come unseen are not "0 records behind"."""
    run = Running(permitted)
    pair, shown = run.take_away(("a", "topic", "Read"))
    assert shown["lag_records"] is None and shown["lag_s"] is None
    assert "lacks Read" in shown["why"]
    assert "records lost unknown" in shown["summary"]
    text = run.one.command.run("status", run.one.name).stdout
    assert "lacks Read on topic" in " ".join(text.split())
    unknown = lambda metrics: metrics["ferry_link_lag_unknown_partitions"] == 2  # noqa: E731
    metrics = run.worker.wait_metric("lag to be unknown", unknown, 8)  # a Fetch may be under way
    assert metrics.get("ferry_link_at_risk_records") is None
    run.give_back(pair)


@pytest.mark.long
@pytest.mark.parametrize(
    "row",
    [("b", "topic", "Write"), ("b", "topic", "Read"), ("b", "group", "Read"), ("b", "control", "Read")],
    ids="-".join,
)
def test_taken_away_at_the_target(permitted, row):
    run = Running(permitted)
    run.one.produce(serial=5 * 10**8)
    pair, shown = run.take_away(row) if row[2] != "Write" else run.take_away_and_produce(row)
    assert shown["lag_records"] != 0 or row[1] != "topic" or row[2] != "Write"
    run.give_back(pair)


# --- Redis ----------------------------------------------------------------------------------------------------------


def test_redis_user_as_printed(own, folder, source, target, new_redis, name):
    """A real redis-server with exactly the printed user: nothing that ferryd and ferry send is refused."""
    redis = new_redis(user=("mirror", "redis pw"))
    line = Line(own, folder, source, target, redis, name, [f"{name}.t"], enable=False)
    source.create_topic(f"{name}.t", partitions=2)
    (printed,) = line.command.json("check", name, "--print-acls")["links"]
    words = [word.replace(">PASSWORD", ">redis pw") for word in shlex.split(printed["redis"])]
    assert words[:3] == ["ACL", "SETUSER", "mirror"]
    redis.client.execute_command("ACL", "SETUSER", "mirror", "reset")
    redis.client.execute_command(*words)
    redis.client.acl_log_reset()
    line.command.enable(name)
    load = Load(source.bootstrap, f"{name}.t", "lz4", count=500, partitions=2)
    load.run()
    worker = line.worker("w1", wait=True)
    line.wait_caught_up()
    worker.stop()
    Load(source.bootstrap, f"{name}.t", "plain", count=500, partitions=2, serial=10**6).run()
    line.worker("w1", wait=True)
    line.wait_caught_up()
    line.prove()
    line.command.translate(name, f"{name}.t", 0, 5)
    commit(source, name, {(f"{name}.t", 0): 100})
    wait_for("a group to be kept", lambda: line.redis.client.hlen(line.key("groups")) > 0, 20)
    line.command.ok("offsets", "show", name, name)
    line.command.ok("offsets", "map", name)
    line.command.ok("fault", "list", name)
    line.command.ok("top", name, "-n", "1")
    line.command.ok("verify", name)
    told = [what for level, what, _ in findings(line.command, name)[1] if level != "ok" and "replica" not in what]
    assert not [what for what in told if "would read again" not in what]  # the keeper has just begun
    # The scripts that cut a map and that begin one anew run only after a truncation: all may call all that they name.
    source_text = "".join(path.read_text() for path in (ROOT / "offsets").glob("*.c"))
    for command in set(re.findall(r"redis\.call\('([A-Z]+)'", source_text)):
        assert f"+{command.lower()}" in words, command
    assert redis.client.acl_log() == []
    redis.client.execute_command("ACL", "SETUSER", "mirror", "-xadd", "-hset")
    named = [what for level, what, _ in findings(line.command, name)[1] if level == "refused" and "Redis" in what]
    assert named == ["Redis at b: user mirror may not call hset, xadd on keys of the service"]
    # Another service's keys are not ours.
    redis.client.execute_command("SET", "{other}:x", "1")
    denied = redis.client.execute_command("ACL", "DRYRUN", "mirror", "HGET", "{other}:x", "y")
    assert b"no permissions" in denied


@pytest.mark.long  # refused, Redis is looked at again after 30 s
def test_redis_user_that_may_too_little_is_named(own, folder, source, target, new_redis, name):
    redis = new_redis(user=("mirror", "redis pw"))
    line = Line(own, folder, source, target, redis, name, [f"{name}.t"])
    source.create_topic(f"{name}.t", partitions=1)
    redis.client.execute_command("ACL", "SETUSER", "mirror", "-xadd", "-hset")
    Load(source.bootstrap, f"{name}.t", "lz4", count=100, partitions=1).run()
    line.worker("w1")
    line.wait_copied(f"{name}.t", 0, 100)  # the mirror waits for no Redis

    def said():
        text = line.command.run("status", name).stdout + "".join(worker.process.log_text() for worker in line.workers)
        return "can't run this command" in text

    wait_for("the refusal to be said", said, 20, every=0.5)
    redis.client.execute_command("ACL", "SETUSER", "mirror", "+xadd", "+hset")
    line.wait_caught_up()
    line.prove()
