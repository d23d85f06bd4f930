"""Applications that follow a name, and the two-sided ledger: what each group processed at both sites.

    one = Follower("billing", "kafka.dr.test:9092", nameserver.address, ["orders"], folder).start()
    ...                                      the primary dies, the name moves, the same process goes on
    verdict = judge([one], home_id, records_of(target, ["orders"]), hints.of_redis(redis.client, "orders"))
    assert verdict.ok, verdict.text()

Producers number their records (Load(numbered=1)): the first word of a value, TOPIC/PARTITION/NUMBER, says at either
site which record it is. Nothing of Ferry's is asked but the hints that are judged.
"""

import bisect
import collections
import dataclasses
import signal
import time
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition

from rig.driver import DRIVERS
from rig.hints import NO_HINT
from rig.procs import Process, wait_for
from rig.reader import consumer


class Follower:
    """One consumer of a group, a process of its own (drivers/cname_consumer.c); its log is its ledger."""

    def __init__(self, group, bootstrap, nameserver, topics, folder, prefix=(), properties=None, env=None):
        """`nameserver`: ADDRESS:PORT, or "-": the machine's own, as it is seen behind `prefix`."""
        self.group = group
        argv = [*prefix, DRIVERS / "cname_consumer", bootstrap, group, nameserver, *topics]
        words = " ".join(f"{k}={v}" for k, v in (properties or {}).items())
        log = folder / f"consumer-{group}.log"
        self.process = Process(f"consumer of {group}", argv, log, env={"DRIVER_PROPERTIES": words, **(env or {})})
        self._reads, self._commits, self._parsed = [], {}, 0

    def start(self):
        self.process.start()
        return self

    @property
    def alive(self):
        return self.process.alive

    def kill9(self):
        return self.process.kill9()

    def stand(self):
        """It processes nothing more, but stays a member of its group."""
        self.process.signal(signal.SIGUSR1)

    def stop(self):
        return self.process.stop(20)

    def events(self, name):
        """Lines of an event, without its name."""
        return [line.partition(" ")[2] for line in self.process.log_text().splitlines() if line.startswith(name + " ")]

    def _parse(self):
        """What was written since the last look; the last line may still be being written."""
        try:
            with open(self.process.log) as log:
                log.seek(self._parsed)
                whole = log.read().rpartition("\n")[0]
        except FileNotFoundError:
            return
        self._parsed += len(whole) + 1 if whole else 0
        for line in whole.splitlines():
            event, *words = line.split(" ")
            if event == "read":
                topic, partition, offset, cluster, ident = words
                self._reads.append(Read((topic, int(partition)), int(offset), cluster, ident))
            elif event == "commit":
                topic, partition, offset = words
                self._commits[topic, int(partition)] = int(offset)

    def read(self):
        """[Read] in the order of processing."""
        self._parse()
        return self._reads

    def committed(self):
        """{(topic, partition): the last offset that a coordinator took}."""
        self._parse()
        return self._commits


class Read(NamedTuple):
    where: tuple  # (topic, partition)
    offset: int
    cluster: str  # id
    ident: str


def records_of(cluster, topics):
    """{(topic, partition): (offsets, idents)} of everything a read_committed consumer gets now."""
    client = consumer(cluster.bootstrap)
    found, left = {}, set()
    for topic in topics:
        for partition in client.list_topics(topic, timeout=20).topics[topic].partitions:
            found[topic, partition] = ([], [])
            left.add((topic, partition))
    client.assign([TopicPartition(*where, OFFSET_BEGINNING) for where in left])
    while left:
        for message in client.consume(5000, 0.2):
            where = (message.topic(), message.partition())
            if message.error() is not None:
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                left.discard(where)
            elif where in left:
                found[where][0].append(message.offset())
                found[where][1].append(message.value().split(b" ", 1)[0].decode())
    client.close()
    return found


@dataclasses.dataclass
class Account:
    """One group's: how many records were processed where, and what is wrong with it."""

    group: str
    at_home: int = 0
    at_other: int = 0
    repeats: int = 0  # processed a second time
    hinted: int = 0  # records of the target inside the ranges [begin, until)
    likely: int = 0  # and [begin, likely)
    beyond_likely: int = 0  # repeats at or behind `likely`
    skipped: list = dataclasses.field(default_factory=list)  # (place, target offset, ident)
    unhinted: list = dataclasses.field(default_factory=list)  # repeats outside the hint
    strange: list = dataclasses.field(default_factory=list)  # read at an offset where the target has another record


class Verdict:
    """What judge() found."""

    def __init__(self, accounts):
        self.accounts = accounts

    def count(self, what):
        return sum(len(getattr(account, what)) for account in self.accounts)

    @property
    def ok(self):
        return not any(self.count(what) for what in ("skipped", "unhinted", "strange"))

    def text(self, show=3):
        lines = []
        for one in self.accounts:
            lines.append(
                f"{one.group}: {one.at_home:,} processed at the primary, {one.at_other:,} at the secondary; "
                f"{len(one.skipped)} skipped, {one.repeats:,} repeated, {len(one.unhinted)} of them outside the hint "
                f"({one.hinted:,} records, likely {one.likely:,})"
            )
            for kind in ("skipped", "unhinted", "strange"):
                for (topic, partition), offset, ident in getattr(one, kind)[:show]:
                    lines.append(f"  {kind}: {topic}-{partition} target offset {offset}: {ident}")
        return "\n".join(lines)


def judge(followers, home_id, target, hints):
    """Compare what groups processed with what the target holds.

    `followers`: all of them, several of a group count together; `home_id`: cluster id of the old primary; `target`:
    records_of() the target, everything in it must have been processed once somewhere; `hints`: {group: {place: Hint}}.
    """
    groups = collections.defaultdict(list)
    for follower in followers:
        groups[follower.group] += follower.read()
    return Verdict([_judge(group, rows, home_id, target, hints.get(group, {})) for group, rows in groups.items()])


def _judge(group, rows, home_id, target, hints):
    account = Account(group)
    times = collections.Counter(row.ident for row in rows)
    at_home = {row.ident for row in rows if row.cluster == home_id}
    account.at_home = sum(row.cluster == home_id for row in rows)
    account.at_other = len(rows) - account.at_home
    seen = set(at_home)
    for row in rows:
        if row.cluster == home_id:
            continue
        if _ident_at(target, row) != row.ident:
            account.strange.append((row.where, row.offset, row.ident))
        if row.ident in seen:
            account.repeats += 1
            hint = hints.get(row.where, NO_HINT)
            account.beyond_likely += row.offset >= hint.likely_until
            if not hint.holds(row.offset):
                account.unhinted.append((row.where, row.offset, row.ident))
        seen.add(row.ident)
    for where, (offsets, idents) in target.items():
        hint = hints.get(where, NO_HINT)
        begin, likely, until = (bisect.bisect_left(offsets, x) for x in (hint.start, hint.likely_until, hint.until))
        account.hinted += max(0, until - begin)
        account.likely += max(0, likely - begin)
        account.skipped += [(where, o, i) for o, i in zip(offsets, idents, strict=True) if not times[i]]
    return account


def _ident_at(target, row):
    offsets, idents = target.get(row.where, ([], []))
    n = bisect.bisect_left(offsets, row.offset)
    return idents[n] if n < len(offsets) and offsets[n] == row.offset else None


def wait_processed(followers, target, timeout=60, still_s=10):
    """Until every group has processed everything that the target holds, or none has processed more for a while: then
    the verdict says what is missing."""
    wanted = {ident for _, idents in target.values() for ident in idents}
    groups = collections.defaultdict(list)
    for follower in followers:
        groups[follower.group].append(follower)
    last = {"read": -1, "at": 0.0}

    def there():
        read = sum(len(follower.read()) for follower in followers)
        if read != last["read"]:
            last.update(read=read, at=time.monotonic())
        done = (wanted <= {row.ident for one in members for row in one.read()} for members in groups.values())
        return all(done) or time.monotonic() - last["at"] > still_s

    wait_for("the groups to be at the end", there, timeout, every=0.3)
