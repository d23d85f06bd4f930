"""Kafka before KRaft, from Maven: one ZooKeeper and brokers of any version from 2.2 to 3.9.

with OldCluster("a", "2.6.3") as a:              as rig.kafka.KafkaCluster
    a.upgrade("3.9.1")                           the same data and ZooKeeper under another version's brokers

The jars of a version are fetched when a test first asks for it (some 30 MB, 25 s; then kept in build/old-kafka).
"""

import fcntl
import shutil
import subprocess

from rig import jvm
from rig.kafka import Broker, KafkaCluster
from rig.paths import BUILD, RIG
from rig.procs import Process, ProcessFailed, free_port, wait_for

OLD = BUILD / "old-kafka"
OLDEST = "2.3.1"  # in `make test`; tools/setup.sh fetches it
LOG = [f"-Dlog4j.configuration=file:{RIG / 'log4j1.properties'}", "-Dzookeeper.jmx.log4j.disable=true"]
# What Kafka 2.x looks into, and Java 17 keeps closed.
OPENED = [
    f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in ("java.lang", "java.nio", "java.util", "sun.nio.ch")
]


def numbers(version):
    return tuple(int(part) for part in version.split("."))


def zookeeper_version(version):
    """What Kafka brings, but not before 3.5.9: older ones trip over how Java 14 and later print an address."""
    return "3.5.9" if numbers(version) < (3,) else "3.6.3" if numbers(version) < (3, 5) else "3.8.4"


def jars(version):
    """The folder of a version's jars."""
    folder = OLD / version / "jars"
    if folder.exists():
        return folder
    OLD.mkdir(parents=True, exist_ok=True)
    with open(OLD / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder
        part = OLD / version / "part"
        shutil.rmtree(part, ignore_errors=True)
        argv = ["mvn", "-q", "-B", f"-Dmaven.repo.local={BUILD / 'm2'}", "-f", str(RIG / "old-kafka.xml")]
        argv += [f"-Dkafka.version={version}", f"-Dscala.version={'2.13' if numbers(version) >= (3,) else '2.12'}"]
        argv += [f"-Dzookeeper.version={zookeeper_version(version)}"]
        argv += [
            "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies",
            f"-DoutputDirectory={part}",
        ]
        subprocess.run(argv, check=True, timeout=300)
        part.rename(folder)
    return folder


def command(version, main, *args, heap):
    path = ":".join(str(p) for p in sorted(jars(version).glob("*.jar")))
    return ["java", f"-Xmx{heap}", *jvm.QUICK, *OPENED, *LOG, "-cp", path, main, *args]


class ZooKeeper:
    def __init__(self, name, version, folder):
        self.version = version
        self.dir = folder / "zookeeper"
        self.dir.mkdir(parents=True)
        self.port = free_port()
        self.process = None
        self.name = name

    def start(self):
        config = self.dir / "zoo.cfg"
        config.write_text(
            f"tickTime=500\ndataDir={self.dir / 'data'}\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
            "admin.enableServer=false\nmaxClientCnxns=0\nminSessionTimeout=1000\nmaxSessionTimeout=60000\n"
        )
        argv = command(self.version, "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config), heap="128m")
        self.process = Process(f"{self.name} zookeeper", argv, self.dir / "zookeeper.log", cwd=self.dir)
        self.process.start()

    def stop(self):
        if self.process is not None and self.process.alive:
            self.process.stop(5)


class OldBroker(Broker):
    started_line = b"] started (kafka.server.KafkaServer)"

    def prepare(self):
        self.logs.mkdir(parents=True)

    def argv(self):
        return command(self.cluster.version, "kafka.Kafka", str(self.dir / "server.properties"), heap=self.cluster.heap)

    def wait_started(self, timeout=60):
        # One that was killed is still in ZooKeeper until its session is over, and ends when it comes back sooner.
        try:
            super().wait_started(timeout)
        except ProcessFailed:
            if b"NodeExists" not in self.process.log.read_bytes()[self._log_begin :]:
                raise
            self.start(wait=False)
            super().wait_started(timeout)


class OldCluster(KafkaCluster):
    broker_class = OldBroker

    def __init__(self, name, version, brokers=1, **more):
        self.version = version
        super().__init__(name, brokers=brokers, controllers=brokers, **more)
        self.zookeeper = ZooKeeper(name, version, self.dir)

    def start(self, wait=True):
        if self.zookeeper.process is None:
            self.zookeeper.start()
        return super().start(wait)

    def stop(self, timeout=15, remove=False):
        super().stop(timeout, remove=False)
        self.zookeeper.stop()
        if remove:
            shutil.rmtree(self.dir, ignore_errors=True)

    def upgrade(self, version, **props):
        """All brokers anew, of another version, with what they have on their disks and in ZooKeeper."""
        for broker in self.brokers:
            broker.stop()
        self.version = version
        self.props |= props
        for broker in self.brokers:
            broker.start(wait=False)
        self.renew_admin()
        self.wait_started()

    def properties_of(self, broker):
        props = super().properties_of(broker)
        kraft = ("node.id", "process.roles", "controller.", "broker.session", "broker.heartbeat", "share.")
        props = {key: value for key, value in props.items() if not key.startswith(kraft)}
        listeners = [one for one in props["listeners"].split(",") if not one.startswith("CONTROLLER:")]
        protocols = [
            one for one in props["listener.security.protocol.map"].split(",") if not one.startswith("CONTROLLER:")
        ]
        return (
            props
            | {
                "broker.id": broker.id,
                "zookeeper.connect": f"127.0.0.1:{self.zookeeper.port}",
                "zookeeper.session.timeout.ms": 3000,
                "listeners": ",".join(listeners),
                "listener.security.protocol.map": ",".join(protocols),
            }
            | self.props
        )

    def wait_started(self, timeout=90):
        super().wait_started(timeout)
        wait_for("the brokers in the metadata", lambda: len(self.metadata().brokers) == len(self.brokers))
        return self


__all__ = ["OldBroker", "OldCluster", "jars"]
