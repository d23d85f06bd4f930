"""Hints as applications find them, read again from the documentation (docs/hints.md): commits, Redis, the topic.

of_redis(redis.client, "orders")["billing"]["orders.t", 0]      Hint(begin=.., likely=.., until=.., runs=..)
of_topic(cluster, "orders")                                     the same, from ferry.hints.orders
of_commits(cluster, "billing", [("orders.t", 0)])               {place: Hint}, until the group commits over it
"""

import bisect
import json
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition

from rig.reader import consumer
from rig.wire import RawClient


class Hint(NamedTuple):
    """Offsets of the target that a group may have processed at the source: [begin, until), likely below `likely`."""

    begin: int
    likely: int
    until: int
    mapped: int = -1  # source offsets are known below it
    runs: tuple = ()  # (target, source), ascending

    def holds(self, offset):
        return self.begin <= offset < self.until

    def source(self, offset):
        """Source offset of the record there, or None."""
        n = bisect.bisect_right(self.runs, (offset, 1 << 62))
        if n == 0 or not self.begin <= offset < self.mapped:
            return None
        target, source = self.runs[n - 1]
        return source + offset - target


NO_HINT = Hint(0, 0, 0)


def of_text(text):
    """Of a commit's metadata; None where there is none."""
    if not text or not text.startswith("ferry1 "):
        return None
    assert text.endswith(" !"), text
    words = dict(word.partition("=")[::2] for word in text.split(" ")[1:-1])
    runs = [] if words["runs"] == "-" else [tuple(map(int, run.split(":"))) for run in words["runs"].split(",")]
    return Hint(*(int(words[key]) for key in ("from", "likely", "until", "mapped")), tuple(runs))


def of_commits(cluster, group, places):
    found = {}
    with RawClient(cluster.bootstrap) as raw:
        for where in places:
            hint = of_text(raw.committed(group, *where)[1])
            if hint:
                found[where] = hint
    return found


def of_json(value):
    """{place: Hint} of one group's object."""
    return {
        (row["topic"], row["partition"]): Hint(
            row["from"], row["likely_until"], row["until"], row["mapped_until"], tuple(map(tuple, row["runs"]))
        )
        for row in value["places"]
    }


def of_redis(client, service, prefix=""):
    """{group: {place: Hint}}."""
    head = f"{prefix}{{{service}}}:hints:"
    keys = [key.decode() for key in client.scan_iter(match=head.replace("[", "\\[") + "*", count=1000)]
    return {key.removeprefix(head): of_json(json.loads(client.get(key))) for key in keys}


def of_topic(cluster, service):
    """{group: {place: Hint}} of the newest records of the topic."""
    topic = f"ferry.hints.{service}"
    client = consumer(cluster.bootstrap)
    newest = {}
    client.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    while True:
        message = client.poll(10)
        assert message is not None, f"{topic} does not come to its end"
        if message.error() is not None:
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            break
        newest[message.key().decode()] = message.value()
    client.close()
    found = {}
    for key, value in newest.items():
        if value is not None:
            _, _, group = key.partition("/")
            found.setdefault(group, {}).update(of_json(json.loads(value)))
    return found
