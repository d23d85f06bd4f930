"""What an operation left behind, from the servers themselves: dumps that can be compared, logs that can be counted.

morning = Morning(walk); ...; morning.restore()      the target's broker, Redis and the zone as they were
dump(walk)                                           offsets, hints, zone, roles, ACLs, topics; no times, no names
commits(cluster)                                     {(group, topic, partition): how often} by the broker's own log
dns_changes(walk.names, "kafka")                     by the name server's own log
"""

import collections
import contextlib
import json
import re
import shutil
import struct
import subprocess

from rig import hints
from rig.acls import all_acls
from rig.wire import RawClient

OFFSETS_TOPIC = "__consumer_offsets"


class Morning:
    """A copy of everything that an operation changes, taken once; the primary is no part of it."""

    def __init__(self, walk):
        self.walk = walk
        self.logs = [(broker, broker.dir / "morning") for broker in walk.target.brokers]
        self.redis = walk.redis.snapshot()
        self.stop()
        for broker, copy in self.logs:
            _copy(broker.logs, copy)
        self.start()

    def stop(self):
        """An orderly shutdown: index files shrink to what is in them."""
        for broker, _ in self.logs:
            broker.stop()

    def start(self):
        self.walk.target.start()
        self.walk.target.renew_admin()
        for topic in self.walk.topics:
            self.walk.target.wait_topic(topic, self.walk.partitions)
        self.walk.target.warm_coordinators()

    def restore(self):
        for broker, copy in self.logs:
            broker.kill9()
            shutil.rmtree(broker.logs)
            _copy(copy, broker.logs)
        self.walk.redis.restore(self.redis)
        names = self.walk.names
        names.kill9()
        for journal in names.dir.glob("zone.*"):
            journal.unlink()
        names.process.log.unlink()
        names.start()
        self.start()


def _copy(folder, to):
    subprocess.run(["cp", "-a", "--sparse=always", folder, to], check=True)


def control_records(cluster, service):
    """{key: parsed record} of the control topic as a read_committed reader sees it, tombstones left out."""
    found = {}
    with RawClient(cluster.bootstrap) as raw:
        for record in raw.committed_records(f"ferry.control.{service}", 0):
            key = record.key.decode()
            found.pop(key, None)
            if record.value is not None:
                with contextlib.suppress(ValueError):
                    found[key] = json.loads(record.value)
    return found


# Who did it, when, and under which id: it differs from one run to the next, and must.
PASSING = ("by", "time", "operation", "began", "ended", "since", "id", "cut", "cut_ms", "reason")


def _lasting(value):
    if isinstance(value, dict):
        return {key: _lasting(one) for key, one in value.items() if key not in PASSING}
    return [_lasting(one) for one in value] if isinstance(value, list) else value


def dump(walk, service="orders"):
    """Everything that must be the same however often the operation was interrupted."""
    target = walk.target
    control = control_records(target, service)
    return {
        "offsets": {group: offsets_of(target, group, walk.places_of()) for group in walk.group_names()},
        "hints": hints.of_redis(walk.redis.client, service),
        "hints topic": hints.of_topic(target, service),
        "hints in commits": {group: hints.of_commits(target, group, walk.places_of()) for group in walk.group_names()},
        "zone": walk.names.zone(),
        "control": {key: _lasting(value) for key, value in control.items() if not key.startswith("op/")},
        "operations": sorted(
            (value.get("open"), value.get("kind")) for key, value in control.items() if key.count("/") == 1
        ),
        "acls": [acl for kind in ("topic", "group") for acl in all_acls(target, kind)] if walk.has_acls else [],
        "topics": {topic: target.topic_config(topic) for topic in sorted(target.topics())},
        "ends": {topic: target.offsets(topic) for topic in walk.topics},
    }


def offsets_of(cluster, group, places):
    with RawClient(cluster.bootstrap) as raw:
        return {where: raw.committed(group, *where)[0] for where in places}


def commits(cluster):
    """Every offset commit that the coordinators ever wrote down (and did not compact away)."""
    counted = collections.Counter()
    with RawClient(cluster.bootstrap) as raw:
        for partition in cluster.offsets(OFFSETS_TOPIC):
            for batch in raw.walk(OFFSETS_TOPIC, partition):
                for record in [] if batch.control else batch.records():
                    place = _commit_key(record.key)
                    if place and record.value is not None:
                        counted[place] += 1
    return counted


def _commit_key(key):
    """OffsetCommitKey, versions 0 and 1; None for other kinds of records."""
    (version,) = struct.unpack_from(">h", key)
    if version > 1:
        return None
    words, at = [], 2
    for _ in range(2):
        (size,) = struct.unpack_from(">h", key, at)
        words.append(key[at + 2 : at + 2 + size].decode())
        at += 2 + size
    return (*words, struct.unpack_from(">i", key, at)[0])


def dns_changes(server, name):
    """[what BIND says it added to the zone under that name], in order."""
    added = re.compile(rf"updating zone '[^']+': adding an RR at '{name}\.[^']+' (\w+) (\S+)")
    return added.findall(server.process.log_text())
