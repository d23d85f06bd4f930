"""Producers that keep a ledger: what was acknowledged, by whom, with which contents.

    ledger = Load(cluster.bootstrap, "orders", kind="lz4", count=100_000).run()
    ledger.committed, ledger.aborted, ledger.seconds
    live = Load(..., rate=2000, count=None).start(); ...; ledger = live.stop()     a process of its own

Kinds: plain, gzip, snappy, lz4, zstd; transactional (every 4th transaction is aborted); headers; nulls (null
keys and values); stamps (explicit timestamps, old ones and out of order); same (byte-identical records with one
timestamp).
Every other record carries a serial number in its value, so that a copy can be told from a new record.
"""

import argparse
import dataclasses
import json
import random
import signal
import sys
import time

from confluent_kafka import KafkaException, Producer

from rig.paths import RIG, run_dir
from rig.procs import Process

CODECS = ("gzip", "snappy", "lz4", "zstd")
KINDS = ("plain", *CODECS, "transactional", "headers", "nulls", "stamps", "same")
WORDS = [
    b"order",
    b"payment",
    b"customer",
    b"shipped",
    b"hangzhou",
    b"shanghai",
    b"pending",
    b"amount",
    b"total",
]


@dataclasses.dataclass
class Ledger:
    topic: str
    kind: str
    committed: int = 0  # acknowledged and visible to read_committed
    aborted: int = 0
    failed: int = 0
    seconds: float = 0.0
    per_partition: dict = dataclasses.field(default_factory=dict)  # acknowledged, aborted ones too


@dataclasses.dataclass
class Load:
    bootstrap: str
    topic: str
    kind: str = "plain"
    count: int | None = 1000  # None: until stopped
    size: int = 100  # bytes of a value
    rate: float | None = None  # records a second
    partitions: int | None = None  # choose the partition ourselves, round robin; None: the client does, by key
    partition: int | None = None  # always this one
    transaction: int = 50  # records a transaction
    seed: int = 1
    codec: str | None = None  # of kinds that name none
    batch: int = 16384  # batch.size, as the Java producer has it
    linger_ms: int = 5
    serial: int = 0  # of the first record
    numbered: int = (
        0  # 1: a value begins with TOPIC/PARTITION/NUMBER; partitions are chosen by us, `serial` is a multiple
    )

    # -- in this process ----------------------------------------------------------------------------------------

    def run(self, going=lambda: True):
        ledger = Ledger(self.topic, self.kind)
        began = time.monotonic()
        producer = self._producer()
        if self.kind == "transactional":
            self._run_transactions(producer, ledger, going)
        else:
            for n in self._paced(going):
                self._send(producer, n, self._delivered(ledger, "committed"))
            producer.flush(120)
        ledger.seconds = time.monotonic() - began
        return ledger

    def _producer(self):
        conf = {
            "bootstrap.servers": self.bootstrap,
            "enable.idempotence": True,
            "compression.type": self.kind if self.kind in CODECS else self.codec or "none",
            "batch.size": self.batch,
            "linger.ms": self.linger_ms,
            "queue.buffering.max.messages": 500_000,
            "message.max.bytes": 8_000_000,
            "log_level": 2,
        }
        if self.kind == "transactional":
            conf |= {"transactional.id": f"rig-{self.topic}-{self.seed}", "transaction.timeout.ms": 60_000}
        producer = Producer(conf)
        if self.kind == "transactional":
            _patiently(lambda: producer.init_transactions(30))
        return producer

    def _paced(self, going):
        began = time.monotonic()
        n = 0
        while (self.count is None or n < self.count) and going():
            if self.rate:
                ahead = n / self.rate - (time.monotonic() - began)
                if ahead > 0:
                    time.sleep(min(ahead, 0.2))
                    if ahead > 0.2:
                        continue
            yield n
            n += 1

    def _run_transactions(self, producer, ledger, going):
        number = 0
        open_count = 0
        field = "committed"

        def finish():
            if field == "aborted":
                # what is still queued goes out first: a real abort leaves records in the log
                producer.flush(60)
                _patiently(lambda: producer.abort_transaction(60))
            else:
                _patiently(lambda: producer.commit_transaction(60))

        for n in self._paced(going):
            if open_count == 0:
                producer.begin_transaction()
                number += 1
                field = "aborted" if number % 4 == 0 else "committed"
            self._send(producer, n, self._delivered(ledger, field))
            open_count += 1
            if open_count == self.transaction:
                finish()
                open_count = 0
        if open_count:
            finish()

    def _delivered(self, ledger, field):
        """Kept per field: a closure per record would cost more than the record."""
        cache = self.__dict__.setdefault("_callbacks", {})
        if field not in cache:

            def done(err, message):
                if err is not None:
                    ledger.failed += 1
                    return
                setattr(ledger, field, getattr(ledger, field) + 1)
                where = message.partition()
                ledger.per_partition[where] = ledger.per_partition.get(where, 0) + 1

            cache[field] = done
        return cache[field]

    def _send(self, producer, n, done):
        more = self._record(n)
        if self.partition is not None:
            more["partition"] = self.partition
        elif self.partitions:
            more["partition"] = n % self.partitions
        while True:
            try:
                producer.produce(self.topic, on_delivery=done, **more)
                break
            except BufferError:
                producer.poll(0.1)
        if n % 64 == 0:
            producer.poll(0)

    # -- contents -----------------------------------------------------------------------------------------------

    def _record(self, n):
        kind = self.kind
        if kind == "same":
            return {"key": b"same", "value": b"s" * self.size, "timestamp": 1_700_000_000_000}
        serial = self.serial + n
        value = self._value(serial)
        if kind == "headers":
            headers = [("trace", str(serial).encode()), ("empty", b""), ("none", None), ("trace", b"again")]
            return {"key": b"k%d" % (serial % 100), "value": value, "headers": headers}
        if kind == "nulls":
            key = None if n % 2 else b"k%d" % serial
            return {"key": key, "value": None if n % 3 == 0 else value}
        if kind == "stamps":
            # from 30 days ago on, one second a record, and every tenth out of order
            when = int(time.time() * 1000) - 30 * 86_400_000 + n * 1000 - (60_000 if n % 10 == 0 else 0)
            return {"key": b"k%d" % serial, "value": value, "timestamp": when}
        return {"key": b"k%d" % serial, "value": value}

    def _head(self, serial):
        if self.numbered:
            return b"%s/%d/%d " % (self.topic.encode(), serial % self.partitions, serial // self.partitions)
        return b"%d/%d " % (self.seed, serial)

    def _value(self, serial):
        """`size` bytes: the serial number, then words; compresses like text, never twice the same."""
        if not hasattr(self, "_filler"):
            chosen = random.Random(self.seed)
            words = b" ".join(chosen.choice(WORDS) + b"=%d" % chosen.randrange(10**6) for _ in range(4000))
            self._filler = words
        head = self._head(serial)
        begin = serial * 31 % 20_000
        return (head + self._filler[begin : begin + self.size])[: max(self.size, len(head))]

    # -- in a process of its own --------------------------------------------------------------------------------

    def start(self):
        return Running(self)


class Running:
    """A load in a process of its own; stop() ends it after the record at hand and gives its ledger."""

    def __init__(self, load):
        self.load = load
        number = Running.count = getattr(Running, "count", 0) + 1
        folder = run_dir("produce")
        self.log = folder / f"{load.topic}-{load.kind}-{time.time_ns()}-{number}.log"
        argv = [sys.executable, "-m", "rig.produce"]
        for field in dataclasses.fields(load):
            value = getattr(load, field.name)
            if value is not None:
                argv.append(f"--{field.name.replace('_', '-')}={value}")
            elif field.name == "count":
                argv.append("--count=0")
        self.process = Process(f"producer {load.kind}", argv, self.log, env={"PYTHONPATH": RIG.parent})
        self.process.start()

    @property
    def alive(self):
        return self.process.alive

    def wait(self, timeout=600):
        if self.process.wait(timeout) != 0:
            self.process.check()
        return self._ledger()

    def stop(self, timeout=120):
        self.process.signal(signal.SIGTERM)
        return self.wait(timeout)

    def _ledger(self):
        last = self.log.read_text().splitlines()[-1]
        data = json.loads(last)
        data["per_partition"] = {int(k): v for k, v in data["per_partition"].items()}
        return Ledger(**data)


def _patiently(call):
    """Coordinators of a fresh broker are not there at once: ask again while the error may pass."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return call()
        except KafkaException as err:
            if not err.args[0].retriable() or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def produce_all_kinds(bootstrap, topic, count, partitions, kinds=KINDS):
    """The same number of records of each kind, one kind after the other, into all partitions."""
    return [
        Load(bootstrap, topic, kind, count=count, partitions=partitions, seed=seed).run()
        for seed, kind in enumerate(kinds, 1)
    ]


def main():
    parser = argparse.ArgumentParser()
    for field in dataclasses.fields(Load):
        kind = {"str": str, "str | None": str, "float | None": float}.get(str(field.type), int)
        if field.type in (str, int):
            kind = field.type
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=argparse.SUPPRESS)
    given = vars(parser.parse_args())
    if given.get("count") == 0:
        given["count"] = None
    going = True

    def leave(*_):
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, leave)
    ledger = Load(**given).run(lambda: going)
    print(json.dumps(dataclasses.asdict(ledger)), flush=True)
    return 1 if ledger.failed else 0


if __name__ == "__main__":
    sys.exit(main())
