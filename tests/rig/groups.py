"""Consumer groups as their applications leave them, and what Ferry keeps of them.

commit(cluster, "billing", {("orders", 0): 42}, metadata="kept")       as a consumer without subscription does
with Member(cluster, "billing", ["orders"]): ...                       somebody who stays in the group
where = {(topic, partition): offset} = committed(cluster, "billing")
"""

import threading
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

from rig.procs import wait_for
from rig.reader import consumer, digest
from rig.wire import RawClient


def _client(cluster, group, **more):
    return Consumer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "log_level": 2,
            **more,
        }
    )


def commit(cluster, group, offsets, metadata=None):
    """Commit as nobody's member: the group must have none."""
    client = _client(cluster, group)
    wanted = [TopicPartition(t, p, o, *([metadata] if metadata is not None else [])) for (t, p), o in offsets.items()]
    try:
        for done in client.commit(offsets=wanted, asynchronous=False):
            if done.error is not None:
                raise KafkaException(done.error)
    finally:
        client.close()


def committed(cluster, group):
    return {where: tp.offset for where, tp in cluster.group_offsets(group).items() if tp.offset >= 0}


class Member:
    """A member of a group that polls until it is closed; counts what it read and commits it when told to."""

    def __init__(self, cluster, group, topics, protocol="classic", commits=False, client_id="rdkafka"):
        more = {"group.protocol": "consumer"} if protocol == "consumer" else {"session.timeout.ms": 6000}
        more["client.id"] = client_id
        self.client = _client(cluster, group, **more)
        self.commits = commits
        self.read = {}  # {(topic, partition): the first offset}
        self.going = True
        self.assigned = False
        self.client.subscribe(list(topics), on_assign=self._assigned)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _assigned(self, _, partitions):
        self.assigned = self.assigned or bool(partitions)

    def _run(self):
        while self.going:
            message = self.client.poll(0.1)
            if message is None or message.error() is not None:
                continue
            self.read.setdefault((message.topic(), message.partition()), message.offset())
            if self.commits:
                self.client.commit(message=message, asynchronous=True)

    def wait_assigned(self, timeout=30):
        wait_for("a member to get its partitions", lambda: self.assigned, timeout, every=0.1)
        return self

    def close(self):
        self.going = False
        self.thread.join(10)
        self.client.close()

    def __enter__(self):
        return self.wait_assigned()

    def __exit__(self, *_):
        self.close()


def metadata_at(cluster, group, where):
    """By our own client: librdkafka copies metadata without an end, and its Python binding reads on behind it."""
    with RawClient(cluster.bootstrap) as raw:
        return raw.committed(group, *where)[1]


def record_at(cluster, topic, partition, offset, timeout=20):
    """What a read_committed consumer that goes on at this offset sees first: a digest; None at the end."""
    client = consumer(cluster.bootstrap)
    try:
        client.assign([TopicPartition(topic, partition, offset)])
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            message = client.poll(0.2)
            if message is None:
                continue
            if message.error() is not None:
                return None  # the end
            return digest(message.timestamp()[1], message.key(), message.value(), message.headers())
    finally:
        client.close()
    raise TimeoutError(f"{topic}-{partition} at {offset}")


class Kept:
    """One field of Redis' hash `groups`, by its documented form (offsets/group_entry.h)."""

    def __init__(self, text):
        words = text.decode().split(" ", 13)
        version, source, target, self.verdict, count, self.hold, ours, before, when, read, *pace, limit, rest = words
        assert version == "v2" and rest[:1] in "-=" and (rest == "-" or rest[0] == "="), text
        self.source, self.target, self.count = int(source), int(target), int(count)
        self.committed, self.before, self.time_ms = int(ours), int(before), int(when)
        self.read_ms, self.limit = int(read), int(limit)
        self.pace_offsets, self.pace_ms = map(int, pace)
        self.metadata = None if rest == "-" else rest[1:]


def kept(line):
    """{(group, topic, partition): Kept} of a line."""
    out = {}
    for field, text in line.redis.client.hgetall(line.key("groups")).items():
        group, topic, partition = field.decode().rsplit(":", 2)
        out[group, topic, int(partition)] = Kept(text)
    return out
