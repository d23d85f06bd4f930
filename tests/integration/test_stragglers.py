"""Who is still at the old primary, who has arrived, and what was written there behind the cut: on real Kafka.

As in test_failover.py the command's primary is dead when its configuration says so; members and producers have the
right one."""

import json
import subprocess
import time

import pytest
from test_failover import Hooks, Service

from rig.ferry import EXIT_DONE, EXIT_PARTLY, EXIT_REFUSED, EXIT_UNREACHABLE
from rig.groups import Member, commit
from rig.paths import BIN
from rig.procs import free_port, wait_for
from rig.produce import Load

EXIT_UNKNOWN = 5


@pytest.fixture
def service(own, folder, sites, redis_server, name):
    def make(**more):
        return Service(own, folder, sites, redis_server, name, None, **more)

    return make


def look(command, name, *more):
    done = command.run("stragglers", name, "-o", "json", *more)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["exit"] == done.returncode
    return found


def where(found):
    return {row["group"]: row["where"] for row in found["groups"]}


def wait_members(one, *groups):
    """The keeper has told who has members at the source."""
    kept = one.redis.connect()

    def told():
        texts = [kept.get(k) for k in kept.scan_iter(f"*{{{one.name}}}:a>b:groups-members")]
        return any(set(json.loads(text)) == set(groups) for text in texts if text)

    wait_for("Redis says who has members", told, 20)


def test_who_is_left_after_a_failover(service, own):
    """The old primary is silent for the command, and alive for who did not hear of the move: unknown is not nothing,
    and what is there is named and counted."""
    one = service()
    group, idle = f"{one.name}-g", f"{one.name}-idle"
    commit(one.source, idle, {(one.topic, 0): 10})
    member = own(Member(one.source, group, [one.topic], commits=True, client_id="till-7")).wait_assigned()
    wait_members(one, group)
    done = one.right.run("stragglers", one.name)
    assert done.returncode == EXIT_REFUSED and "no failover or switchover" in done.stderr
    assert f"ferry history {one.name}" in done.stderr

    report = json.loads(one.failover().stdout)
    assert report["state"] == "done" and report["stragglers"] is None
    assert report["arrivals"] == {
        "expected": 1,
        "arrived": 0,
        "at_old": None,
        "missing": 1,
    }  # nobody is in the idle one
    text = one.right.ok("history", one.name, report["operation"])
    assert f"ferry stragglers {one.name} --timeout" in text and "unknown" in text

    began = time.monotonic()
    found = look(one.lost, one.name)
    assert time.monotonic() - began < 8
    assert found["state"] == "unknown" and found["exit"] == EXIT_UNKNOWN
    assert found["at_old"] is None and found["records"] is None and found["at_risk"] is None
    assert where(found) == {group: "unknown"}

    Load(one.source.bootstrap, one.topic, "plain", count=20, partitions=2, seed=9).run()
    found = look(one.right, one.name)
    assert found["exit"] == EXIT_PARTLY and found["at_old"] == 1 and where(found) == {group: "old"}
    (row,) = found["groups"]
    assert [m["client_id"] for m in row["old"]] == ["till-7"] and "127.0.0.1" in row["old"][0]["host"]
    assert found["at_risk"] == 20 and sum(p["at_risk"] for p in found["partitions"]) == 20
    assert found["records"] is None  # its ends at the cut are not known
    assert found["producers"] and all(p["last_wrote"] for p in found["producers"])
    text = one.right.run("stragglers", one.name).stdout
    assert "till-7" in text and "20 records at most" in text and "kafka-console-consumer.sh" in text
    member.close()


@pytest.mark.long
def test_arrivals_are_waited_for(service, own):
    """Of either protocol; the wait ends when the last one has arrived, long before the time is up."""
    one = service()
    classic, modern = f"{one.name}-classic", f"{one.name}-modern"
    first = own(Member(one.source, classic, [one.topic], commits=True))
    second = own(Member(one.source, modern, [one.topic], protocol="consumer", commits=True, client_id="shelf-3"))
    first.wait_assigned()
    second.wait_assigned()
    wait_members(one, classic, modern)
    assert one.failover().returncode == EXIT_DONE
    first.close()
    own(Member(one.target, classic, [one.topic])).wait_assigned()
    found = look(one.right, one.name)
    assert where(found) == {classic: "new", modern: "old"}
    members = {row["group"]: row["old"] for row in found["groups"]}
    assert [m["client_id"] for m in members[modern]] == ["shelf-3"] and "127.0.0.1" in members[modern][0]["host"]

    with subprocess.Popen(
        [str(BIN / "ferry"), "--config", str(one.right.conf.path), "stragglers", one.name, "--watch", "-o", "json"],
        stdout=subprocess.PIPE,
        text=True,
    ) as watching:
        assert json.loads(watching.stdout.readline())["written"] is None
        Load(one.source.bootstrap, one.topic, "plain", count=20, partitions=2, seed=9).run()
        looks = [json.loads(watching.stdout.readline()) for _ in range(2)]
        assert sum(one_look["written"] for one_look in looks) == 20
        watching.terminate()
    waiting = subprocess.Popen(
        [str(BIN / "ferry"), "--config", str(one.lost.conf.path), "stragglers", one.name, "--timeout", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    second.close()
    own(Member(one.target, modern, [one.topic], protocol="consumer")).wait_assigned()
    out, err = waiting.communicate(timeout=50)
    assert waiting.returncode == EXIT_DONE, out + err
    assert "2 of 2 groups are at b" in out and "does not answer" in out
    found = look(one.right, one.name)
    assert found["exit"] == EXIT_PARTLY and found["at_old"] == 0 and found["at_risk"] == 20  # the records are left

    one.lost.conf.data["sites"]["b"]["kafka"]["bootstrap.servers"] = f"127.0.0.1:{free_port()}"
    one.lost.conf.write()
    done = one.lost.run("stragglers", one.name)
    assert done.returncode == EXIT_UNREACHABLE and "no site" in done.stderr


@pytest.mark.long
def test_records_behind_the_cut_of_a_switchover(service, folder, own):
    """Both sides answer: counted from the ends that stood still, at the operation's end and later; by whom."""
    hooks = Hooks(folder, "fence")
    one = service(conf_more=hooks.settings)
    group = f"{one.name}-g"
    member = own(Member(one.source, group, [one.topic], commits=True, client_id="till-1")).wait_assigned()
    wait_members(one, group)
    done = one.right.run("switchover", one.name, "--yes", "-o", "json")
    assert done.returncode == EXIT_DONE, done.stderr
    report = json.loads(done.stdout)
    assert report["stragglers"] == 0 and report["arrivals"]["at_old"] == 1
    assert "1 at a still" in one.right.ok("history", one.name, report["operation"])
    member.close()
    found = look(one.right, one.name)
    assert where(found) == {group: "neither"} and found["exit"] == EXIT_PARTLY
    own(Member(one.target, group, [one.topic])).wait_assigned()
    assert look(one.right, one.name)["exit"] == EXIT_DONE
    Load(one.source.bootstrap, one.topic, "plain", count=6, partitions=2, seed=8).run()
    found = look(one.right, one.name)
    assert found["exit"] == EXIT_PARTLY
    assert found["records"] == found["at_risk"] == 6 and found["topics"] == {one.topic: 6}
    text = " ".join(one.right.run("stragglers", one.name).stdout.split())
    assert "6 records were written at a behind the cut" in text and "nobody mirrors them" in text
