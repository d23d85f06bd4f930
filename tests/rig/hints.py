"""Hints as applications find them, read again from the documentation (docs/hints.md): commits, Redis, the topic.

of_redis(redis.client, "orders")["billing"]["orders.t", 0]      Hint(start=.., likely_until=.., until=.., runs=..)
of_topic(cluster, "orders")                                     the same, from ferry.hints.orders
of_commits(cluster, "billing", [("orders.t", 0)])               {place: Hint}, until the group commits over it
"""

import bisect
import json
import re
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition

from rig.groups import metadata_at
from rig.reader import consumer
from rig.wire import RawClient


class Hint(NamedTuple):
    """Offsets of the target: a group may have processed [start, until) at the source, likely what is below
    `likely_until`."""

    start: int
    likely_until: int
    until: int
    mapped_until: int = -1  # source offsets are known below it
    runs: tuple = ()  # (target, source), ascending

    def holds(self, offset):
        return self.start <= offset < self.until

    def source(self, offset):
        """Source offset of the record there, or None."""
        n = bisect.bisect_right(self.runs, (offset, 1 << 62))
        if n == 0 or not self.start <= offset < self.mapped_until:
            return None
        target, source = self.runs[n - 1]
        return source + offset - target


class CommitHint(Hint):
    """A commit says more: operation, cluster, read_ms, cut_ms. As a hint it equals the other forms."""


NO_HINT = Hint(0, 0, 0)
FORM = re.compile(
    r"ferry1 op=(\S+) from=(\d+) likely=(\d+) until=(\d+) cluster=(\S+) "
    r"read=(-?\d+) cut=(-?\d+) mapped=(\d+) runs=(\S+) !"
)


def of_text(text):
    """Of a commit's metadata; None where there is none."""
    if not text or not text.startswith("ferry1 "):
        return None
    match = FORM.fullmatch(text)
    assert match, text
    operation, start, likely, until, cluster, read, cut, mapped, runs = match.groups()
    pairs = [] if runs == "-" else [tuple(map(int, run.split(":"))) for run in runs.split(",")]
    hint = CommitHint(int(start), int(likely), int(until), int(mapped), tuple(pairs))
    hint.operation, hint.cluster, hint.read_ms, hint.cut_ms = operation, cluster, int(read), int(cut)
    return hint


def hint_at(cluster, group, where):
    """Of a commit that must have one."""
    text = metadata_at(cluster, group, where)
    hint = of_text(text)
    assert hint, f"{group} {where}: {text!r}"
    return hint


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
