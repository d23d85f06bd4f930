"""What is mirrored: the loads, how they get into the source, and into the page cache."""

import random
import subprocess

from rig import jvm

TOPIC = "load"
PARTITIONS = 8
LOADS = {
    "a": {"records": 2_000_000, "size": 1024, "codec": "none", "text": "1 KiB random, uncompressed"},
    "b": {"records": 2_000_000, "size": 1024, "codec": "lz4", "text": "1 KiB JSON-like, lz4"},
    "c": {"records": 10_000_000, "size": 100, "codec": "lz4", "text": "100 B, lz4"},
    "d": {"records": 2_000_000, "size": 1024, "codec": "zstd", "text": "1 KiB JSON-like, zstd"},
    "one": {
        "records": 500_000,
        "size": 100,
        "codec": "none",
        "producer": ["batch.size=0", "linger.ms=0"],
        "text": "100 B, one record a batch",
    },
}


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
    """Kafka's own producer, with its default batches of 16 KiB unless the load says otherwise."""
    cluster.create_topic(topic, partitions=PARTITIONS)
    value = ["--record-size", str(load["size"])]
    if load["codec"] != "none":
        value = ["--payload-file", str(payload_file(folder, load))]
    properties = [f"bootstrap.servers={cluster.bootstrap}", f"compression.type={load['codec']}", "acks=all"]
    argv = jvm.command(
        "org.apache.kafka.tools.ProducerPerformance",
        *("--topic", topic, "--num-records", str(records), *value, "--throughput", "-1"),
        *("--producer-props", *properties, *load.get("producer", [])),
        measured=True,
        archive=None,
    )
    subprocess.run([str(a) for a in argv], check=True, stdout=subprocess.DEVNULL)
    assert sum(cluster.offsets(topic, PARTITIONS).values()) == records


def log_files(cluster):
    """Of every replica: any of them may be the leader."""
    folders = (b.partition_dir(TOPIC, p) for b in cluster.brokers for p in range(PARTITIONS))
    return sorted(f for folder in folders for f in folder.glob("*.log"))


def log_bytes(cluster):
    """The topic's size, each partition once."""
    copies = len(cluster.metadata(TOPIC).topics[TOPIC].partitions[0].replicas)
    return sum(f.stat().st_size for f in log_files(cluster)) // copies


def warm(files):
    """Pages read from disk inside our recv would be counted as ours: every contender finds them in memory."""
    for file in files:
        with open(file, "rb") as log:
            while log.read(1 << 24):
                pass
