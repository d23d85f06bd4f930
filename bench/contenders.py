"""Who copies: each starts, is followed until everything is at the target, and gives a row of figures."""

import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition

from loads import PARTITIONS, TOPIC
from rig import jvm
from rig.ferry import Command, Configuration, Worker
from rig.kafka import KafkaCluster
from rig.paths import BUILD
from rig.procs import Process, wait_for
from rig.redis import RedisServer

PROPERTIES = Path(__file__).parent / "mm2-tuned.properties"
MM2_FLAGS = [
    *("-Xms256m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35"),
    *("-XX:+ExplicitGCInvokesConcurrent", "-XX:MaxInlineLevel=15"),
]


@dataclass
class Ends:
    """Both clusters, and how a contender gets there."""

    source: KafkaCluster
    target: KafkaCluster
    folder: Path
    records: int
    bytes: int  # of the source's log
    codec: str
    listener: str | None = None  # of both, instead of the one in the clear
    place: object = None  # a rig.netns.Place where contenders run

    def cluster_settings(self, cluster):
        """librdkafka's properties as {name: text}, passwords among them."""
        if self.listener is None:
            return {"bootstrap.servers": cluster.bootstrap}
        listener = cluster.listeners[self.listener]
        (user, password), *_ = listener.users.items()
        return {
            "bootstrap.servers": cluster.secured(self.listener).bootstrap,
            "security.protocol": listener.protocol,
            "sasl.mechanism": listener.mechanism,
            "sasl.username": user,
            "sasl.password": password,
            "ssl.ca.location": str(listener.authority.pem),
        }

    def prefix(self):
        return self.place.prefix if self.place else []


@dataclass
class Sample:
    copied: int  # sum of the target's end offsets
    cpu: float  # CPU-seconds of the contender so far
    broker: float  # and of the target's brokers
    wall: float


@dataclass
class Followed:
    samples: list = field(default_factory=list)

    @property
    def end(self):
        return self.samples[-1].copied

    def window(self, low=0.25, high=0.95):
        """First sample past `low`, first past `high`."""
        begin = next(s for s in self.samples if s.copied >= self.end * low)
        end = next(s for s in self.samples if s.copied >= self.end * high)
        if end.copied <= begin.copied:  # faster than we look
            begin, end = self.samples[0], self.samples[-1]
        return begin, end


def copied_now(target):
    try:
        return sum(target.offsets(TOPIC, PARTITIONS).values())
    except KafkaException:  # just created: leaders are not everywhere known
        target.wait_topic(TOPIC, PARTITIONS)
        return 0


def broker_cpu(cluster):
    return sum(b.process.cpu_seconds() for b in cluster.brokers)


def follow(ends, process, dense=True, until=1.0, timeout=1800):
    """Poll the target's ends until everything is there (`until`: this share of it).

    `dense`: offsets are records. Else (transactions leave markers) the end is where nothing moves for 5 s.
    """
    followed = Followed()
    began = moved = time.monotonic()
    ends.target.wait_topic(TOPIC, PARTITIONS, timeout=120)
    while True:
        process.check()
        copied = copied_now(ends.target)
        now = time.monotonic()
        if followed.samples and copied > followed.end:
            moved = now
        followed.samples.append(Sample(copied, process.cpu_seconds(), broker_cpu(ends.target), now - began))
        if copied >= ends.records * until and (dense or until < 1 or now - moved > 5):
            return followed
        assert now - began < timeout, f"only {copied} of {ends.records} after {now - began:.0f} s"
        time.sleep(0.1)


def peak_rss_mb(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def figures(ends, followed, whole, rss):
    """`whole`: CPU from exec to the last record, everything included; else that of the steady window."""
    begin, end = followed.window()
    share = (end.copied - begin.copied) / followed.end
    gb, millions = ends.bytes * share / 1e9, ends.records * share / 1e6
    cpu = end.cpu - begin.cpu
    row = {
        "mb_per_s": gb * 1000 / max(end.wall - begin.wall, 1e-3),
        "target_broker_cpu_per_gb": (end.broker - begin.broker) / gb,
        "rss_mb": rss,
        "seconds": followed.samples[-1].wall,
    }
    if whole:
        cpu, gb, millions = followed.samples[-1].cpu, ends.bytes / 1e9, ends.records / 1e6
    return {"cpu_per_gb": cpu / gb, "cpu_per_million": cpu / millions} | row


def count_records(target):
    """What a consumer of committed records gets; offsets may have holes."""
    consumer = Consumer(
        {
            "bootstrap.servers": target.bootstrap,
            "group.id": "count",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    consumer.assign([TopicPartition(TOPIC, p, 0) for p in range(PARTITIONS)])
    records = over = 0
    while over < PARTITIONS:
        messages = consumer.consume(10_000, 5)
        assert messages, "the target stopped answering"
        for message in messages:
            over += message.error() is not None
            records += message.error() is None
    consumer.close()
    return records


class Bare:
    """recv + send of the same bytes, no Kafka: the physical limit of a relay."""

    name, whole, dense = "bare", True, True

    def copy(self, ends, files):
        argv = [BUILD / "bench" / "bare_copy", *files]
        done = subprocess.run(argv, check=True, capture_output=True, text=True)
        copied, cpu, wall = (float(x) for x in done.stdout.split())
        assert copied == ends.bytes
        return {
            "cpu_per_gb": cpu / (copied / 1e9),
            "cpu_per_million": cpu / (ends.records / 1e6),
            "mb_per_s": copied / 1e6 / wall,
            "seconds": wall,
        }


class Contender:
    """A program that mirrors. `process(ends)` is a context: a rig.procs.Process that runs."""

    dense = True
    whole = False

    def copy(self, ends, _files):
        with self.run(ends) as process:
            followed = follow(ends, process, self.dense)
            rss = peak_rss_mb(process.pid)
        records = followed.end if self.dense else count_records(ends.target)
        assert records == ends.records, f"{records} records at the target instead of {ends.records}"
        return figures(ends, followed, self.whole, rss)

    def copy_killed(self, ends):
        """kill -9 at half, started again: how many records are at the target more often than once."""
        with self.run(ends) as process:
            follow(ends, process, self.dense, until=0.5)
            process.kill9()
            process.start()
            wait_still(ends)
        return {"doubled": count_records(ends.target) - ends.records}


def wait_still(ends, quiet_s=15):
    """Nothing moves any more, and at least everything is there."""
    last = {"copied": -1, "at": time.monotonic()}

    def still():
        copied = copied_now(ends.target)
        if copied != last["copied"]:
            last.update(copied=copied, at=time.monotonic())
        return copied >= ends.records and time.monotonic() - last["at"] > quiet_s

    wait_for("the target to stand still", still, 1800, every=0.5)


class Run:
    """A started process that is gone afterwards."""

    def __init__(self, process, stop):
        self.process, self.stop = process, stop

    def __enter__(self):
        return self.process.start()

    def __exit__(self, *_):
        self.stop()


class Ferryd(Contender):
    whole = True

    def __init__(self, name="ferryd", **service):
        self.name, self.service = name, service

    def run(self, ends):
        # A place of its own does not reach our loopback: there the second checkpoint is the only one.
        redis = None if ends.place else RedisServer("bench", workdir=ends.folder).start()
        secured = None
        if ends.listener:
            secured = {
                name: cluster.secured(ends.listener).settings(ends.folder / f"ferry-{name}")
                for name, cluster in (("primary", ends.source), ("secondary", ends.target))
            }
        sites = {"primary": (ends.source, None), "secondary": (ends.target, redis)}
        conf = Configuration(ends.folder / "ferry", sites, secured=secured)
        conf.service("bench", topics=[TOPIC], **self.service)
        Command(conf).enable("bench")
        worker = Worker(conf, "bench", place=ends.place)

        def stop():
            worker.stop()
            if redis:
                redis.stop()

        return Run(worker.process, stop)


class Mm2(Contender):
    """MirrorMaker 2, tuned; `more` are properties over it."""

    def __init__(self, name, more=(), dense=True):
        self.name, self.more, self.dense = name, list(more), dense

    def java_settings(self, ends, alias, cluster):
        """librdkafka's names are almost Java's."""
        given = ends.cluster_settings(cluster)
        lines = [f"{alias}.bootstrap.servers={given['bootstrap.servers']}"]
        if ends.listener:
            module = "org.apache.kafka.common.security.scram.ScramLoginModule"
            user = f'username="{given["sasl.username"]}" password="{given["sasl.password"]}"'
            lines += [
                f"{alias}.security.protocol={given['security.protocol']}",
                f"{alias}.sasl.mechanism={given['sasl.mechanism']}",
                f"{alias}.sasl.jaas.config={module} required {user};",
                f"{alias}.ssl.truststore.type=PEM",
                f"{alias}.ssl.truststore.location={given['ssl.ca.location']}",
            ]
        return lines

    def run(self, ends):
        lines = [
            PROPERTIES.read_text(),
            *self.java_settings(ends, "primary", ends.source),
            *self.java_settings(ends, "secondary", ends.target),
            f"primary->secondary.topics={TOPIC}",
            f"secondary.producer.compression.type={ends.codec}",
            *self.more,
        ]
        file = ends.folder / "mm2.properties"
        file.write_text("\n".join(lines) + "\n")
        argv = jvm.command(
            "org.apache.kafka.connect.mirror.MirrorMaker",
            str(file),
            heap="2g",
            measured=True,
            archive=None,
            flags=MM2_FLAGS,
        )
        process = Process(self.name, [*ends.prefix(), *argv], ends.folder / f"{self.name}.log", cwd=ends.folder)
        return Run(process, process.kill9)


class Rdkafka(Contender):
    """What one writes oneself: a librdkafka consumer and an idempotent producer (rdkafka_copy.c)."""

    name, whole = "librdkafka", True

    def run(self, ends):
        files = []
        for side in ("source", "target"):
            given = ends.cluster_settings(getattr(ends, side))
            files.append(ends.folder / f"rdkafka-{side}.properties")
            files[-1].touch(mode=0o600)
            files[-1].write_text("".join(f"{key}={value}\n" for key, value in given.items()))
        if TOPIC not in ends.target.topics():
            ends.target.create_topic(TOPIC, partitions=PARTITIONS)
        argv = [
            BUILD / "bench" / "rdkafka_copy",
            *(ends.folder / f"rdkafka-{s}.properties" for s in ("source", "target")),
        ]
        argv += [TOPIC, ends.codec]
        process = Process("rdkafka_copy", [*ends.prefix(), *argv], ends.folder / "rdkafka.log")
        return Run(process, process.kill9)


ALL = {
    c.name: c
    for c in (
        Bare(),
        Ferryd(),
        Ferryd("ferryd-records", path="records"),
        Mm2("mm2"),
        Mm2("mm2-fast", ["secondary.producer.linger.ms=0"]),
        Mm2("mm2-eos", ["secondary.exactly.once.source.support=enabled"], dense=False),
        Rdkafka(),
    )
}
