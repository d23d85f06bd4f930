"""A service with two secondaries: three real clusters. One of them becomes primary, whoever types what at that moment;
the other one knows of it."""

import json
import os
import subprocess
import time

import pytest
from confluent_kafka import KafkaException

from rig.endstate import control_records
from rig.ferry import BIN, EXIT_DONE, EXIT_REFUSED, EXIT_USAGE, Command, Configuration, Worker
from rig.kafka import KafkaCluster, start_together
from rig.nameserver import ZONE, Bind, zone_settings
from rig.procs import free_port, wait_for
from rig.produce import Load

SERVICE, TOPIC = "orders", "orders.t"
RECORDS = 40
ZONE_RECORDS = "".join(f"kafka-{site} 30 A 127.0.0.1\n" for site in "abc") + "kafka 30 CNAME kafka-a\n"
HOOK = '#!/bin/sh\necho "$FERRY_HOOK $FERRY_TO" >>"$(dirname "$0")/calls"\nsleep 6\n'


class Three:
    def __init__(self, own, folder, new_redis):
        self.folder = folder
        self.clusters = dict(
            zip("abc", start_together(*(own(KafkaCluster(n, workdir=folder / "kafka")) for n in "abc")), strict=True)
        )
        for cluster in self.clusters.values():
            cluster.warm_coordinators()
        self.names = own(Bind("names", folder, records=ZONE_RECORDS)).start()
        hook = folder / "hook"
        hook.write_text(HOOK)
        hook.chmod(0o755)
        sites = {n: (cluster, None if n == "a" else new_redis(n)) for n, cluster in self.clusters.items()}
        self.conf = Configuration(folder / "right", sites, dns={ZONE: zone_settings(folder, [self.names])})
        at = {site: f"kafka-{site}.{ZONE}" for site in "abc"}
        cname = [{"record": f"kafka.{ZONE}", "at": at}]
        self.conf.service(SERVICE, topics=[TOPIC], cname=cname, hooks={"pre": [str(hook)]})
        self.dead = self.conf.copy(
            folder / "dead"
        )  # the primary of the command is lost, the workers have the right one
        self.dead.data["sites"]["a"]["kafka"]["bootstrap.servers"] = f"127.0.0.1:{free_port()}"
        self.dead.write()
        self.clusters["a"].create_topic(TOPIC, 2)
        Load(self.clusters["a"].bootstrap, TOPIC, "plain", count=RECORDS, partitions=2).run()
        right = Command(self.conf)
        for site in "bc":
            right.ok("enable", SERVICE, "--to", site, "--yes")
        right.ok("dns", "adopt", SERVICE, "--yes")
        self.worker = own(Worker(self.conf, "w1").start())
        for site in "bc":
            self.wait_mirrored(site)

    def wait_mirrored(self, site):
        target = self.clusters[site]
        target.wait_topic(TOPIC, 2)
        wait_for("mirrored", lambda: sum(target.offsets(TOPIC).values()) >= RECORDS, 40, not_yet=(KafkaException,))

    def argv(self, *more):
        return [str(BIN / "ferry"), "failover", SERVICE, "--yes", "--allow-loss", "unknown", "-o", "json", *more]

    def start(self, *more, **env):
        env = dict(os.environ) | {"FERRY_CONFIG": str(self.dead.path), "FERRY_WATCH_MS": "3500"} | env
        pipe = subprocess.PIPE
        return subprocess.Popen(self.argv(*more), stdout=pipe, stderr=pipe, text=True, env=env)

    def failover(self, *more, **env):
        process = self.start(*more, **env)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def calls(self):
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def role(self, site):
        role = control_records(self.clusters[site], SERVICE)["role"]
        return role["primary"], role["epoch"]


@pytest.mark.long
@pytest.mark.timeout(400)
def test_only_one_of_two_secondaries_becomes_primary(own, folder, new_redis):
    three = Three(own, folder, new_redis)
    code, _, err = three.failover()
    assert code == EXIT_USAGE and "2 secondaries" in err and "--to b" in err

    # Somebody is at work for b; then was, and is killed: nobody goes to c meanwhile.
    first = three.start("--to", "b", FERRY_FAILPOINT="fence:after")
    wait_for("it is at work", lambda: three.calls() == ["pre b"], 20)
    code, _, err = three.failover("--to", "c")
    assert code == EXIT_REFUSED and "to b is open" in err and "--to b" in err, err
    first.communicate(timeout=60)
    assert first.returncode == -9
    code, _, err = three.failover("--to", "c")
    assert code == EXIT_REFUSED and "to b is open" in err, err
    assert three.role("c") == ("a", 1) and three.calls() == ["pre b"]

    code, out, err = three.failover("--to", "b")
    assert code == EXIT_DONE, err
    report = json.loads(out)
    assert report["to"] == "b" and report["evidence"]["verify"]["recorded"] == {"c": "written"}
    assert three.role("b") == ("b", 2) and three.role("c") == ("a", 1)
    names = {site: control_records(three.clusters[site], SERVICE)["dns"] for site in "bc"}
    assert names["b"] == names["c"] and names["b"]["records"][f"kafka.{ZONE}"]["value"] == f"kafka-b.{ZONE}"

    # c mirrors a, and has nothing of what is written at b from now on.
    code, _, err = three.failover("--to", "c")
    assert code == EXIT_REFUSED and "b says that it is primary" in err and "--force other-primary" in err, err
    assert three.role("c") == ("a", 1)

    # b is lost, too, and c is all that is left: it has what a had, and moves the name from where it stands.
    for broker in three.clusters["b"].brokers:
        broker.kill9()
    code, out, err = three.failover("--to", "c")
    assert code == EXIT_DONE, err
    assert "whether an operation to b is open is unknown" in err
    assert three.role("c") == ("c", 2) and three.names.value() == (30, f"kafka-c.{ZONE}")


@pytest.mark.long
@pytest.mark.timeout(400)
def test_of_two_that_begin_in_the_same_moment_one_stands(own, folder, new_redis):
    """Each sees no operation of the other's before it has begun: whoever comes second stops before anything is open."""
    three = Three(own, folder, new_redis)
    both = {site: three.start("--to", site) for site in "bc"}
    ends = {}
    for site, process in both.items():
        out, err = process.communicate(timeout=120)
        ends[site] = process.returncode, out, err
    done = [site for site, end in ends.items() if end[0] == EXIT_DONE]
    assert len(done) <= 1, ends
    assert [site for site in "bc" if three.role(site)[0] == site] == done
    for site in "bc":
        if site not in done:
            assert "is open" in ends[site][2], ends[site][2]
    time.sleep(1)
    if not done:  # both saw each other, and went back: typed again it works
        code, _, err = three.failover("--to", "b")
        assert code == EXIT_DONE, err
