"""The mirror against its rival and against the limit, in one run.

    build/venv/bin/python bench/run.py                        5 rounds, loads a b c: what the README quotes
    ... --rounds 1 --scale 0.1 --loads a                      a quick look
    ... --latency                                             latency at 1,000 records/s as well

Contenders, alternating within each round: `bare` (recv + send of the same bytes, no Kafka), `ferryd`, `mm2` (Apache
MirrorMaker 2, tuned: mm2-tuned.properties). All copy to one target broker, which a plain producer has warmed up with
the same load, twice: else the compilers of its JVM are what is measured. Between two copies every topic and group
there is deleted. The source's log files are in the page cache before each measurement, and each copy is counted
afterwards.

CPU is user + system of the contender's process from /proc. MirrorMaker 2 is measured in its steady window (25 % to 95 %
copied), after the JVM has warmed up; ferryd from its start to the last record, everything included. The target broker's
CPU is that of the same window (25 % to 95 %) for both.
"""

import argparse
import contextlib
import json
import multiprocessing
import random
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition  # noqa: E402

from rig import jvm  # noqa: E402
from rig.ferry import Command, Configuration, Worker  # noqa: E402
from rig.kafka import KafkaCluster  # noqa: E402
from rig.paths import BUILD  # noqa: E402
from rig.procs import Process, end_on_signals, wait_for  # noqa: E402
from rig.redis import RedisServer  # noqa: E402

TOPIC = "load"
PARTITIONS = 8
LOADS = {
    "a": {"records": 2_000_000, "size": 1024, "codec": "none", "text": "1 KiB random, uncompressed"},
    "b": {"records": 2_000_000, "size": 1024, "codec": "lz4", "text": "1 KiB JSON-like, lz4"},
    "c": {"records": 10_000_000, "size": 100, "codec": "lz4", "text": "100 B, lz4"},
    "d": {"records": 2_000_000, "size": 1024, "codec": "zstd", "text": "1 KiB JSON-like, zstd"},
}
LATENCY_WARM_S = 60  # JVMs that have just started need a minute until 1,000 requests/s are easy for them
MM2_FLAGS = [
    *("-Xms256m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35"),
    *("-XX:+ExplicitGCInvokesConcurrent", "-XX:MaxInlineLevel=15"),
]


def say(text):
    print(text, flush=True)


# ---- the source ----
def payload_file(folder, load):
    """10,000 different values of the wanted size, a line each."""
    path = folder / "payload"
    chance = random.Random(1)
    with open(path, "w") as out:
        for n in range(10_000):
            words = [
                f'"{chance.choice("abcdefgh")}{n % 97}":"{chance.randrange(10**9)}"' for _ in range(load["size"] // 8)
            ]
            out.write(("{" + ",".join(words))[: load["size"]] + "\n")
    return path


def preload(cluster, folder, load, records, topic=TOPIC):
    cluster.create_topic(topic, partitions=PARTITIONS)
    value = ["--record-size", str(load["size"])]
    if load["codec"] != "none":
        value = ["--payload-file", str(payload_file(folder, load))]
    properties = [f"bootstrap.servers={cluster.bootstrap}", f"compression.type={load['codec']}", "acks=all"]
    argv = jvm.command(
        "org.apache.kafka.tools.ProducerPerformance",
        *("--topic", topic, "--num-records", str(records), *value, "--throughput", "-1"),
        *("--producer-props", *properties),
        measured=True,
        archive=None,
    )
    subprocess.run([str(a) for a in argv], check=True, stdout=subprocess.DEVNULL)
    assert sum(cluster.offsets(topic, PARTITIONS).values()) == records


def empty(target):
    """Nothing of the last contender is left: topics, groups."""
    admin = target.admin
    for group in admin.list_consumer_groups().result(30).valid:
        for future in admin.delete_consumer_groups([group.group_id]).values():
            with contextlib.suppress(KafkaException):  # members that were killed live on for a session
                future.result(30)
    for topic in [name for name in target.topics() if not name.startswith("__")]:
        target.delete_topic(topic)


def warm_target(target, folder, load, records):
    """Returns what the load costs the broker when plain producers write it: CPU-seconds, the second time."""
    target.warm_coordinators()
    for n in range(2):
        before = target.broker(1).process.cpu_seconds()
        preload(target, folder, load, records, topic=f"warm-{n}")
    return target.broker(1).process.cpu_seconds() - before


def log_files(cluster):
    broker = cluster.broker(1)
    return sorted(f for p in range(PARTITIONS) for f in broker.partition_dir(TOPIC, p).glob("*.log"))


def warm(files):
    """Pages read from disk inside our recv would be counted as ours: every contender finds them in memory."""
    total = 0
    for file in files:
        with open(file, "rb") as log:
            while block := log.read(1 << 24):
                total += len(block)
    return total


# ---- one contender ----
def peak_rss_mb(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def follow(target, process, broker, records):
    """Poll the target's end until everything is there. Returns samples (fraction, cpu of process, wall, broker cpu)."""
    samples = []
    began = time.monotonic()
    deadline = began + 900
    target.wait_topic(TOPIC, PARTITIONS, timeout=120)
    while True:
        process.check()
        try:
            copied = sum(target.offsets(TOPIC, PARTITIONS).values())
        except KafkaException:  # just created: leaders are not everywhere known
            copied = 0
            target.wait_topic(TOPIC, PARTITIONS)
        now = time.monotonic()
        samples.append((copied / records, process.cpu_seconds(), now - began, broker.cpu_seconds()))
        if copied >= records:
            return samples
        assert now < deadline, f"only {copied} of {records} after {now - began:.0f} s"
        time.sleep(0.1)


def window(samples, low=0.25, high=0.95):
    """Between the first sample past `low` and the first past `high`: (share copied, cpu, wall, broker cpu)."""
    begin = next(s for s in samples if s[0] >= low)
    end = next(s for s in samples if s[0] >= high)
    if end[0] <= begin[0]:  # faster than we look
        begin, end = samples[0], samples[-1]
    return tuple(b - a for a, b in zip(begin, end, strict=True))


def result(samples, whole, log_bytes, records, rss):
    share, cpu, _wall, broker = window(samples)
    broker_gb = log_bytes * share / 1e9
    if whole:  # everything included, from exec to the last record
        share, cpu = 1.0, samples[-1][1]
    gb = log_bytes * share / 1e9
    return {
        "cpu_per_gb": cpu / gb,
        "cpu_per_million": cpu / (records * share / 1e6),
        "mb_per_s": log_bytes * window(samples)[0] / 1e6 / max(window(samples)[2], 1e-3),
        "target_broker_cpu_per_gb": broker / broker_gb,
        "rss_mb": rss,
        "seconds": samples[-1][2],
    }


def run_bare(files, log_bytes, records):
    done = subprocess.run([BUILD / "bench" / "bare_copy", *files], check=True, capture_output=True, text=True)
    copied, cpu, wall = (float(x) for x in done.stdout.split())
    assert copied == log_bytes
    return {
        "cpu_per_gb": cpu / (copied / 1e9),
        "cpu_per_million": cpu / (records / 1e6),
        "mb_per_s": copied / 1e6 / wall,
        "seconds": wall,
    }


def run_ferryd(source, target, folder, log_bytes, records):
    with RedisServer("bench", workdir=folder) as redis:
        conf = Configuration(folder / "ferry", {"primary": (source, None), "secondary": (target, redis)})
        conf.service("bench", topics=[TOPIC])
        Command(conf).enable("bench")
        worker = Worker(conf, "bench").start()
        try:
            samples = follow(target, worker.process, target.broker(1).process, records)
            rss = peak_rss_mb(worker.pid)
        finally:
            worker.stop()
        verify_count(target, records)
        return result(samples, True, log_bytes, records, rss)


def run_mm2(source, target, folder, log_bytes, records, codec):
    text = (ROOT / "bench" / "mm2-tuned.properties").read_text()
    text += f"\nprimary.bootstrap.servers={source.bootstrap}\nsecondary.bootstrap.servers={target.bootstrap}\n"
    text += f"primary->secondary.topics={TOPIC}\nsecondary.producer.compression.type={codec}\n"
    file = folder / "mm2.properties"
    file.write_text(text)
    argv = jvm.command(
        "org.apache.kafka.connect.mirror.MirrorMaker",
        str(file),
        heap="2g",
        measured=True,
        archive=None,
        flags=MM2_FLAGS,
    )
    process = Process("mm2", argv, folder / "mm2.log", cwd=folder).start()
    try:
        samples = follow(target, process, target.broker(1).process, records)
        rss = peak_rss_mb(process.pid)
    finally:
        process.kill9()
    verify_count(target, records)
    return result(samples, False, log_bytes, records, rss)


def verify_count(target, records):
    """Every record can be read back, none twice (offsets are dense: neither writes markers)."""
    consumer = Consumer({"bootstrap.servers": target.bootstrap, "group.id": "bench", "enable.auto.commit": False})
    ends = target.offsets(TOPIC, PARTITIONS)
    assert sum(ends.values()) == records, f"{sum(ends.values())} records at the target instead of {records}"
    sample = [TopicPartition(TOPIC, p, max(0, end - 1)) for p, end in ends.items() if end]
    consumer.assign(sample)
    seen = set()
    deadline = time.monotonic() + 30
    while len(seen) < len(sample) and time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            seen.add(message.partition())
    consumer.close()
    assert len(seen) == len(sample), "the last records cannot be read"


# ---- latency ----
def pulse(bootstrap, seconds, rate, started):
    """A record of 1 KiB each 1/rate s that carries when it was handed to the producer."""
    nodelay = {"socket.nagle.disable": True}  # as Java's clients have it
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "acks": "all"} | nodelay)
    began = time.monotonic()
    started.wait()
    for n in range(int(seconds * rate)):
        if n == 0:
            began = time.monotonic()
        if (ahead := began + n / rate - time.monotonic()) > 0:
            time.sleep(ahead)
        producer.poll(0)
        producer.produce("pulse", f"{time.monotonic():020.9f}".encode() + b"x" * 1004, partition=n % PARTITIONS)
    producer.flush(10)


def listen(bootstrap, seconds, ready, out):
    """Milliseconds from the produce call to the return of poll."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "latency",
            "fetch.wait.max.ms": 100,
            "socket.nagle.disable": True,
        }
    )
    consumer.assign([TopicPartition("pulse", p, 0) for p in range(PARTITIONS)])
    took = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            now = time.monotonic()
            if not ready.is_set():  # the record that was there before
                ready.set()
                deadline = now + seconds
                continue
            took.append((now - float(message.value()[:20])) * 1000)
    consumer.close()
    out.put(took)


def latency(source, target, seconds, rate=1000):
    """Direct and behind the mirror, from one producer; each of the three is a process of its own."""
    fork = multiprocessing.get_context("spawn")
    started = fork.Event()
    listeners = {}
    for name, cluster in (("direct", source), ("mirror", target)):
        ready, out = fork.Event(), fork.Queue()
        process = fork.Process(target=listen, args=(cluster.bootstrap, seconds + 3, ready, out))
        process.start()
        listeners[name] = (process, ready, out)
    producer = fork.Process(target=pulse, args=(source.bootstrap, seconds, rate, started))
    producer.start()
    first = Producer({"bootstrap.servers": source.bootstrap})
    for partition in range(PARTITIONS):
        first.produce("pulse", f"{time.monotonic():020.9f}".encode(), partition=partition)
    first.flush(10)
    for name, (_, ready, _) in listeners.items():
        assert ready.wait(30), f"{name}: no record arrives"
    started.set()
    skip = rate * LATENCY_WARM_S
    rows = {}
    for name, (process, _, out) in listeners.items():
        values = out.get(timeout=120)[skip:]
        process.join()
        p99 = sorted(values)[int(len(values) * 0.99)]
        rows[name] = {"p50": statistics.median(values), "p99": p99, "records": len(values)}
    producer.join()
    return rows


def run_latency(folder, rounds):
    rows = []
    for _ in range(rounds):
        with (
            KafkaCluster("lat-source", measured=True, workdir=folder) as source,
            KafkaCluster("lat-target", measured=True, workdir=folder) as target,
            RedisServer("lat", workdir=folder) as redis,
        ):
            source.create_topic("pulse", partitions=PARTITIONS)
            target.warm_coordinators()
            conf = Configuration(folder / "lat", {"primary": (source, None), "secondary": (target, redis)})
            conf.service("lat", topics=["pulse"])
            Command(conf).enable("lat")
            worker = Worker(conf, "lat").start().wait_ready()
            wait_for("the topic at the target", lambda: "pulse" in target.topics())
            rows.append(latency(source, target, LATENCY_WARM_S + 12))
            worker.stop()
            say(f"  latency {json.dumps(rows[-1])}")
    return rows


# ---- all of it ----
def middle(rows, key):
    values = sorted(row[key] for row in rows if key in row)
    return (values[len(values) // 2], values[0], values[-1]) if values else None


def run_one(contender, source, target, folder, files, log_bytes, records, load):
    warm(files)
    if contender == "bare":
        return run_bare(files, log_bytes, records)
    empty(target)
    if contender == "ferryd":
        return run_ferryd(source, target, folder, log_bytes, records)
    return run_mm2(source, target, folder, log_bytes, records, load["codec"])


def run_load(name, args, folder):
    load = LOADS[name]
    records = int(load["records"] * args.scale)
    rows = {contender: [] for contender in args.contenders}
    with (
        KafkaCluster(f"source-{name}", measured=True, heap="1g", workdir=folder) as source,
        KafkaCluster(f"target-{name}", measured=True, heap="1g", workdir=folder) as target,
    ):
        preload(source, folder, load, records)
        produced = warm_target(target, folder, load, records)
        files = log_files(source)
        log_bytes = warm(files)
        say(f"load {name}: {load['text']}, {records:,} records, {log_bytes / 1e9:.2f} GB of log")
        say(f"  written by plain producers it costs the target broker {produced / (log_bytes / 1e9):.3g} CPU-s/GB")
        for number in range(args.rounds):
            for contender in args.contenders:
                row = run_one(contender, source, target, folder, files, log_bytes, records, load)
                rows[contender].append(row)
                say(f"  round {number + 1} {contender:6} " + "  ".join(f"{k} {v:.3g}" for k, v in row.items()))
    document = {"load": name, "text": load["text"], "records": records, "log_bytes": log_bytes, "rows": rows}
    return document | {"producers_broker_cpu_per_gb": produced / (log_bytes / 1e9)}


def table(results):
    say(
        "\n| load | contender | CPU-s per GB of log (min - max) | CPU-s per M records | MB/s "
        "| target broker CPU-s/GB | peak RSS MB |"
    )
    say("|---|---|---|---|---|---|---|")
    for one in results:
        for contender, rows in one["rows"].items():
            cells = [
                middle(rows, key)
                for key in ("cpu_per_gb", "cpu_per_million", "mb_per_s", "target_broker_cpu_per_gb", "rss_mb")
            ]
            shown = [f"{c[0]:.3g}" if c else "" for c in cells]
            shown[0] += f" ({cells[0][1]:.3g} - {cells[0][2]:.3g})"
            say(f"| {one['load']} {one['text']} | {contender} | " + " | ".join(shown) + " |")
        producers = one["producers_broker_cpu_per_gb"]
        say(f"| {one['load']} | plain producers | | | | {producers:.3g} | |")
        base = {c: middle(r, "cpu_per_gb")[0] for c, r in one["rows"].items()}
        if "ferryd" in base and "mm2" in base:
            say(f"| {one['load']} | **mm2 / ferryd** | **{base['mm2'] / base['ferryd']:.1f}** | | | | |")
        if "ferryd" in base and "bare" in base:
            say(f"| {one['load']} | **ferryd / bare** | **{base['ferryd'] / base['bare']:.2f}** | | | | |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the records of each load")
    parser.add_argument("--loads", nargs="+", default=["a", "b", "c"], choices=LOADS)
    parser.add_argument("--contenders", nargs="+", default=["bare", "ferryd", "mm2"], choices=["bare", "ferryd", "mm2"])
    parser.add_argument("--latency", action="store_true")
    parser.add_argument("--latency-only", action="store_true")
    parser.add_argument("--out", type=Path, default=BUILD / "bench" / "results.json")
    args = parser.parse_args()
    end_on_signals()
    folder = BUILD / "run" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    results = [] if args.latency_only else [run_load(name, args, folder) for name in args.loads]
    table(results)
    document = {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "rounds": args.rounds, "results": results}
    if args.latency or args.latency_only:
        document["latency"] = run_latency(folder, args.rounds)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(document, indent=2))
    say(f"\nwritten to {args.out}")


if __name__ == "__main__":
    main()
