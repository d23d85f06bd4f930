#!/usr/bin/python3
"""Two ordinary applications that know their cluster by one name, and the ledger of what they did.

    client produce TOPIC            100 numbered records a second; /ledger/acknowledged has each that the cluster took
    client consume TOPIC GROUP      processes and commits each second; /ledger/processed has each that was processed
    client ledger TOPIC GROUP       what was skipped, lost, read twice, held against the group's hint; exit 0 or 1

Both make a new client when all brokers are gone, as docs/failover.md asks of applications that follow a name: it begins
at committed(), not at the old cluster's position.
"""

import bisect
import collections
import json
import signal
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BOOTSTRAP = "kafka.rehearsal.test:9092"
SERVICE = "orders"
PARTITIONS = 3
RATE = 100
ACKNOWLEDGED, PROCESSED = "/ledger/acknowledged", "/ledger/processed"
COMMON = {
    "bootstrap.servers": BOOTSTRAP,
    "socket.connection.setup.timeout.ms": 2000,
    "reconnect.backoff.max.ms": 500,
    "broker.address.ttl": 1000,
    "log_level": 2,
}


def say(text):
    print(time.strftime("%H:%M:%S"), text, flush=True)


class Client:
    """What both have in common: it ends in order, and is made anew when all brokers are gone."""

    def __init__(self):
        self.running, self.gone, self.cluster = True, False, None
        signal.signal(signal.SIGTERM, self.end)
        signal.signal(signal.SIGINT, self.end)

    def end(self, *_):
        self.running = False

    def trouble(self, error):
        if error.code() == KafkaError._ALL_BROKERS_DOWN or error.fatal():
            self.gone = True

    def join(self, kafka):
        """Who answers at the name now? None: nobody."""
        try:
            cluster = kafka.list_topics(timeout=3).cluster_id
        except KafkaException:
            return None
        if cluster != self.cluster:
            say(f"connected to cluster {cluster}")
        self.cluster, self.gone = cluster, False
        return cluster


class Numbers(Client):
    """The producer. A number counts as written when it was acknowledged; what was not is sent again by the next one."""

    def __init__(self, topic):
        super().__init__()
        self.topic = topic
        self.pending = {}  # number: when it was given to librdkafka
        self.next = 1
        self.ledger = open(ACKNOWLEDGED, "a", buffering=1)
        self.acknowledged = 0

    def written(self, error, message):
        number = int(message.key())
        if error is None and self.pending.pop(number, None):
            self.ledger.write(f"{self.cluster} {message.partition()} {message.offset()} {number}\n")
            self.acknowledged += 1

    def send(self, producer, number):
        self.pending[number] = time.monotonic()
        producer.produce(
            self.topic, f"order {number}", str(number), partition=number % PARTITIONS, on_delivery=self.written
        )

    def run(self):
        self.create()
        while self.running:
            producer = Producer(COMMON | {"enable.idempotence": True, "linger.ms": 5, "error_cb": self.trouble})
            if not self.join(producer):
                time.sleep(0.5)
                continue
            for number in sorted(self.pending):
                self.send(producer, number)
            self.produce(producer)
            if not self.running:
                producer.flush(10)
            elif self.gone:
                say(f"all brokers are gone, {len(self.pending)} records are not acknowledged: a new producer")

    def produce(self, producer):
        told = time.monotonic()
        while self.running and not self.gone:
            began = time.monotonic()
            if len(self.pending) < 10 * RATE:
                for _ in range(RATE // 10):
                    self.send(producer, self.next)
                    self.next += 1
            producer.poll(max(0, began + 0.1 - time.monotonic()))
            time.sleep(max(0, began + 0.1 - time.monotonic()))
            if time.monotonic() - told > 5:
                told = time.monotonic()
                say(f"{self.acknowledged} records acknowledged")

    def create(self):
        admin = AdminClient(COMMON)  # it has to live as long as its futures
        while self.running:
            try:
                topic = NewTopic(self.topic, PARTITIONS, 1)
                return admin.create_topics([topic], operation_timeout=5, request_timeout=10)[self.topic].result()
            except KafkaException as err:
                if err.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                    return None
                time.sleep(1)


class Group(Client):
    """The consumer. A record counts as processed when its line is out."""

    def __init__(self, topic, group):
        super().__init__()
        self.topic, self.group = topic, group
        self.ledger = open(PROCESSED, "a", buffering=1)
        self.processed = 0

    def run(self):
        settings = {
            "group.id": self.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "session.timeout.ms": 10000,
            "topic.metadata.refresh.interval.ms": 5000,
            "error_cb": self.trouble,
        }
        while self.running:
            consumer = Consumer(COMMON | settings)
            if not self.join(consumer):
                time.sleep(0.5)
                continue
            consumer.subscribe([self.topic])
            self.consume(consumer)
            if not self.running:
                consumer.close()
            elif self.gone:
                say("all brokers are gone: a new consumer, which asks for committed()")
            del consumer  # it does not leave the group

    def consume(self, consumer):
        committed = told = time.monotonic()
        done = {}
        while self.running and not self.gone:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                number = int(message.key())
                self.ledger.write(f"{self.cluster} {message.partition()} {message.offset()} {number}\n")
                done[message.partition()] = message.offset() + 1
                self.processed += 1
            now = time.monotonic()
            if done and now - committed > 1:
                self.commit(consumer, done)
                committed, done = now, {}
            if now - told > 5:
                told = now
                say(f"{self.processed} records processed")
        if done and not self.gone:
            self.commit(consumer, done)

    def commit(self, consumer, done):
        try:
            consumer.commit(
                offsets=[TopicPartition(self.topic, p, offset) for p, offset in done.items()], asynchronous=False
            )
        except KafkaException as err:
            say(f"not committed: {err.args[0].str()}")


# --- the ledger -------------------------------------------------------------------------------------------------------

Row = collections.namedtuple("Row", "cluster partition offset number")


def rows(path):
    with open(path) as lines:
        for line in lines:
            cluster, partition, offset, number = line.split()
            yield Row(cluster, int(partition), int(offset), int(number))


def reader(group):
    """Of the group's name, for its commits; it does not join."""
    return Consumer(COMMON | {"group.id": group, "enable.auto.commit": False, "isolation.level": "read_committed"})


def everything(consumer, topic):
    """All records of a topic: (partition, offset, key, value)."""
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10) for p in partitions}
    left = {p for p, (begin, end) in ends.items() if begin < end}
    consumer.assign([TopicPartition(topic, p, ends[p][0]) for p in left])
    until = time.monotonic() + 30
    while left and time.monotonic() < until:
        message = consumer.poll(1)
        if message is None:
            left -= {tp.partition for tp in consumer.position([TopicPartition(topic, p) for p in left])
                     if tp.offset >= ends[tp.partition][1]}  # fmt: skip
        elif message.error() is None and message.offset() < ends[message.partition()][1]:
            yield message.partition(), message.offset(), message.key(), message.value()
            if message.offset() + 1 == ends[message.partition()][1]:
                left.discard(message.partition())
    consumer.unassign()
    if left:
        raise SystemExit(f"{topic} cannot be read to its end within 30 s")


def hints_of(consumer, topic, group):
    """{partition: (from, until)} as the failover published them; {} when there was none."""
    name = f"ferry.hints.{SERVICE}"
    if name not in consumer.list_topics(timeout=10).topics:
        return {}
    found = {}
    for _, _, key, value in everything(consumer, name):
        if value and key.decode().partition("/")[2] == group:
            found |= {
                place["partition"]: (place["from"], place["until"])
                for place in json.loads(value)["places"]
                if place["topic"] == topic
            }
    return found


def ledger(topic, group):
    consumer = reader(group)
    cluster = consumer.list_topics(timeout=10).cluster_id
    acknowledged = list(rows(ACKNOWLEDGED))  # before the topic is read: the producer goes on
    hints = hints_of(consumer, topic, group)
    commits = consumer.committed([TopicPartition(topic, p) for p in range(PARTITIONS)], timeout=10)
    here = collections.defaultdict(dict)  # partition: {offset: number}
    for partition, offset, key, _ in everything(consumer, topic):
        here[partition][offset] = int(key)
    there = {number for numbers in here.values() for number in numbers.values()}
    processed = list(rows(PROCESSED))
    done = {row.number for row in processed}
    before = {row.number for row in processed if row.cluster != cluster}
    times = collections.Counter((row.partition, row.offset) for row in processed if row.cluster == cluster)
    again = [row for row in processed if row.cluster == cluster and row.number in before]
    outside = [row.number for row in again if not in_hint(hints, row.partition, row.offset)]
    outside += [here[partition][offset] for (partition, offset), count in times.items() if count > 1]
    passed = {n for tp in commits for offset, n in here[tp.partition].items() if offset < tp.offset}
    skipped = passed - done
    lost, holes = missing(acknowledged, here, there, hints)
    say(f"{len(there)} records of {topic} at cluster {cluster}; group {group}")
    for count, what, numbers in (
        (len(there & done), "processed", ()),
        (len(there - passed - done), "not read yet", ()),
        (len(skipped), "SKIPPED: the group's commit is behind them, and nobody processed them", skipped),
        (len(again), "read twice, at both sites", ()),
        (len(outside), "  of them OUTSIDE the group's hint", outside),
        (len(lost), "acknowledged by the old primary, not mirrored yet when it was lost", lost),
        (len(holes), "MISSING: acknowledged, and not here, although what was written later is", holes),
    ):
        print(f"{count:8}  {what}" + (f": {min(numbers)}.." if numbers else ""))
    clean = not skipped and not outside and not holes
    print("CLEAN" if clean else "NOT CLEAN")
    return 0 if clean else 1


def in_hint(hints, partition, offset):
    begin, until = hints.get(partition, (0, 0))
    return begin <= offset < until


def missing(acknowledged, here, there, hints):
    """Numbers that were acknowledged and do not stand here: (behind the last that was mirrored, anywhere else).

    Of a partition numbers only grow: those of the old primary end below the hint's `until`, then come the new one's.
    """
    lost, holes = set(), set()
    for row in acknowledged:
        if row.number in there:
            continue
        offsets = sorted(here[row.partition])
        cut = bisect.bisect_left(offsets, hints.get(row.partition, (0, 0))[1])
        last = here[row.partition][offsets[cut - 1]] if cut > 0 else 0
        new = here[row.partition][offsets[cut]] if cut < len(offsets) else sys.maxsize
        (lost if last < row.number < new else holes).add(row.number)
    return lost, holes


def main(words):
    if words[:1] == ["produce"] and len(words) == 2:
        return Numbers(words[1]).run()
    if words[:1] == ["consume"] and len(words) == 3:
        return Group(*words[1:]).run()
    if words[:1] == ["ledger"] and len(words) == 3:
        return ledger(*words[1:])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
