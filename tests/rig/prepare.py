"""Made once by tools/setup.sh: a formatted log folder to copy, a class data archive of a broker at work, old jars.

The archive makes a start take about half: the broker is started once, used with a producer, a transaction and a group,
and writes its loaded classes down when it stops.
"""

import shutil
import subprocess
import sys

from rig import jvm, oldkafka
from rig.paths import ARCHIVE, TEMPLATE, run_dir


def format_template():
    """What StorageTool writes beside meta.properties."""
    folder = run_dir("format")
    props = folder / "server.properties"
    props.write_text(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:1\n"
        "listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1\ncontroller.listener.names=CONTROLLER\n"
        f"log.dirs={folder / 'logs'}\n"
    )
    argv = jvm.command(
        "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(props), archive=None
    )
    subprocess.run(argv, check=True)
    shutil.rmtree(TEMPLATE, ignore_errors=True)
    TEMPLATE.mkdir(parents=True)
    for item in (folder / "logs").glob("bootstrap*"):
        shutil.copy(item, TEMPLATE)
    shutil.rmtree(folder)
    if not list(TEMPLATE.iterdir()):
        sys.exit("StorageTool wrote no bootstrap file")


def record_archive():
    """A broker at work writes its classes down when it stops."""
    from confluent_kafka import Consumer, Producer

    from rig.kafka import KafkaCluster

    ARCHIVE.unlink(missing_ok=True)
    part = ARCHIVE.with_suffix(".part")
    part.unlink(missing_ok=True)
    cluster = KafkaCluster("archive", workdir=run_dir("archive"))
    command = jvm.command
    jvm.command = lambda *a, flags=(), **k: command(*a, flags=[*flags, f"-XX:ArchiveClassesAtExit={part}"], **k)
    try:
        cluster.start()
    finally:
        jvm.command = command
    cluster.create_topic("t")
    cluster.warm_coordinators()
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "transactional.id": "t"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for n in range(100):
        producer.produce("t", b"x" * 100, key=str(n))
    producer.commit_transaction(30)
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "t", "auto.offset.reset": "earliest"})
    consumer.subscribe(["t"])
    consumer.consume(100, 10)
    consumer.commit(asynchronous=False)
    consumer.close()
    cluster.stop(timeout=60)
    if not part.exists():
        sys.exit("the broker wrote no class data archive")
    part.rename(ARCHIVE)
    shutil.rmtree(cluster.dir.parent, ignore_errors=True)


if __name__ == "__main__":
    format_template()
    record_archive()
    oldkafka.jars(oldkafka.OLDEST)
