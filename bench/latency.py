"""Latency at a steady rate: from the produce call to the return of poll, direct and behind a mirror."""

import contextlib
import json
import multiprocessing
import statistics
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from contenders import ALL, Ends
from loads import PARTITIONS, TOPIC
from rig.kafka import KafkaCluster
from rig.procs import wait_for

RATE = 1000
WARM_S = 60  # JVMs that have just started need a minute until 1,000 requests/s are easy for them
MEASURED_S = 12
NODELAY = {"socket.nagle.disable": True}  # as Java's clients have it


def pulse(bootstrap, seconds, started):
    """A record of 1 KiB each 1/RATE s that carries when it was handed to the producer."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "acks": "all"} | NODELAY)
    started.wait()
    began = time.monotonic()
    for n in range(seconds * RATE):
        if (ahead := began + n / RATE - time.monotonic()) > 0:
            time.sleep(ahead)
        producer.poll(0)
        producer.produce(TOPIC, f"{time.monotonic():020.9f}".encode() + b"x" * 1004, partition=n % PARTITIONS)
    producer.flush(10)


def listen(bootstrap, seconds, ready, out):
    """Milliseconds from the produce call to the return of poll."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "latency", "fetch.wait.max.ms": 100} | NODELAY)
    consumer.assign([TopicPartition(TOPIC, p, 0) for p in range(PARTITIONS)])
    took = []
    deadline = time.monotonic() + 120
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


def measure(source, target):
    """{"direct": ..., "mirror": ...} from one producer; each of the three is a process of its own."""
    fork = multiprocessing.get_context("spawn")
    started = fork.Event()
    seconds = WARM_S + MEASURED_S
    listeners = {}
    for name, cluster in (("direct", source), ("mirror", target)):
        ready, out = fork.Event(), fork.Queue()
        process = fork.Process(target=listen, args=(cluster.bootstrap, seconds + 3, ready, out), daemon=True)
        process.start()
        listeners[name] = (process, ready, out)
    producer = fork.Process(target=pulse, args=(source.bootstrap, seconds, started), daemon=True)
    producer.start()
    first = Producer({"bootstrap.servers": source.bootstrap})
    for partition in range(PARTITIONS):
        first.produce(TOPIC, f"{time.monotonic():020.9f}".encode(), partition=partition)
    first.flush(10)
    for name, (_, ready, _) in listeners.items():
        assert ready.wait(90), f"{name}: no record arrives"
    started.set()
    rows = {}
    for name, (process, _, out) in listeners.items():
        values = out.get(timeout=seconds + 60)[RATE * WARM_S :]
        process.join()
        p99 = sorted(values)[int(len(values) * 0.99)]
        rows[name] = {"p50": statistics.median(values), "p99": p99, "records": len(values)}
    producer.join()
    return rows


def run_round(name, folder):
    """One contender between two clusters of its own."""
    with contextlib.ExitStack() as own:
        source, target = (
            own.enter_context(KafkaCluster(f"lat-{end}", measured=True, workdir=folder)) for end in ("source", "target")
        )
        source.create_topic(TOPIC, partitions=PARTITIONS)
        target.warm_coordinators()
        ends = Ends(source, target, folder, records=0, bytes=0, codec="none")
        own.enter_context(ALL[name].run(ends))
        wait_for("the topic at the target", lambda: TOPIC in target.topics(), 60)
        return measure(source, target)


def run(names, folder, rounds, say):
    """{contender: [{"direct": {p50, p99}, "mirror": {...}}, ...]}, milliseconds."""
    rows = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            rows[name].append(run_round(name, folder))
            say(f"  round {number + 1} latency {name}: {json.dumps(rows[name][-1])}")
    return rows
