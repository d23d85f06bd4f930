"""Real Kafka clusters, KRaft, on free ports of 127.0.0.1.

with KafkaCluster("a") as a:                     one broker that is its own controller
    a.create_topic("t", partitions=8)
    a.broker(1).kill9(); a.broker(1).start()     same data, same port

KafkaCluster("b", brokers=2)                     broker 1 is the only controller: 2 may die
KafkaCluster("c", brokers=3)                     three controllers: any one may die
KafkaCluster("m", measured=True, default_group_settings=True)    for figures
"""

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import uuid

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from rig import jvm, logdir
from rig.paths import TEMPLATE, run_dir
from rig.procs import Process, ProcessFailed, TimeIsUp, free_port, wait_for
from rig.secure import Secured, set_scram

# The topic of transactions cannot be made: whoever wants to begin one waits for its coordinator for ever.
NO_TRANSACTIONS = {"transaction.state.log.replication.factor": 9}


def new_cluster_id():
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


class Broker:
    """One broker: its process, its port, its folder of logs."""

    started_line = b"Kafka Server started"

    def __init__(self, cluster, number, controller):
        self.cluster = cluster
        self.id = number
        self.port = free_port()
        self.controller_port = free_port() if controller else None
        self.dir = cluster.dir / f"broker-{number}"
        self.logs = self.dir / "logs"
        self.props = {}  # of this broker alone
        self.process = None

    @property
    def host(self):
        return self.cluster.place.host if self.cluster.place else "127.0.0.1"

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def prepare(self):
        """Format the log folder: what StorageTool writes, without a JVM."""
        self.logs.mkdir(parents=True)
        self.write_meta(self.logs)
        for item in TEMPLATE.glob("bootstrap*"):
            shutil.copy(item, self.logs)

    def write_meta(self, folder):
        directory = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        (folder / "meta.properties").write_text(
            f"version=1\ncluster.id={self.cluster.cluster_id}\nnode.id={self.id}\ndirectory.id={directory}\n"
        )

    def write_properties(self):
        props = self.cluster.properties_of(self)
        text = "".join(f"{key}={value}\n" for key, value in sorted(props.items()))
        (self.dir / "server.properties").write_text(text)

    def argv(self):
        cluster = self.cluster
        return jvm.command(
            "kafka.Kafka",
            str(self.dir / "server.properties"),
            heap=cluster.heap,
            measured=cluster.measured,
            classes=cluster.classes,
            flags=[flag for listener in cluster.listeners.values() for flag in getattr(listener, "flags", ())],
        )

    def start(self, wait=True):
        """Start, or start again with the same data and port."""
        self.write_properties()
        argv = self.argv()
        if self.cluster.place:
            argv = [*self.cluster.place.prefix, *argv]
        log = self.dir / "broker.log"
        self._log_begin = log.stat().st_size if log.exists() else 0
        self.process = Process(f"{self.cluster.name} broker {self.id}", argv, log, cwd=self.dir)
        self.process.start()
        if wait:
            self.wait_started()
        return self

    def wait_started(self, timeout=60):
        def started():
            self.process.check()
            with open(self.process.log, "rb") as log:
                log.seek(self._log_begin)
                return self.started_line in log.read()

        try:
            wait_for(f"{self.process.name} to start", started, timeout, every=0.05)
        except TimeIsUp as err:
            raise ProcessFailed(f"{err}\n{self.process.log_tail()}") from None

    @property
    def alive(self):
        return self.process is not None and self.process.alive

    def stop(self, timeout=30):
        """A controlled shutdown."""
        return self.process.stop(timeout)

    def kill9(self):
        return self.process.kill9()

    def sigstop(self):
        self.process.sigstop()

    def sigcont(self):
        self.process.sigcont()

    def unread_bytes(self):
        """What clients' kernels have delivered and the broker has not read yet."""
        total = 0
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for row in open(table).read().splitlines()[1:]:
                _, local, _, state, queues, *_ = row.split()
                if state == "01" and int(local.rsplit(":", 1)[1], 16) == self.port:
                    total += int(queues.split(":")[1], 16)
        return total

    def restart(self, hard=False):
        self.kill9() if hard else self.stop()
        return self.start()

    def partition_dir(self, topic, partition):
        return self.logs / f"{topic}-{partition}"

    def add_disk(self, disk):
        """Of a broker that was started with place=disk: a second folder of logs, on that rig.disk.Disk, from the next
        start on. New topics go there first: it holds the fewest."""
        self.write_meta(disk.seen)
        self.props |= {"log.dirs": f"{self.logs},{disk.path}", "metadata.log.dir": self.logs}

    def truncate(self, topic, partition, offset):
        """Of a stopped broker: forget records from `offset` on, as an unclean election would. Returns the new end."""
        assert not self.alive, "stop the broker first"
        return logdir.truncate(self.logs, topic, partition, offset)

    def rewrite(self, topic, partition, change):
        """Of a stopped broker: hand every batch of a partition to `change`; see rig.logdir.rewrite()."""
        assert not self.alive, "stop the broker first"
        return logdir.rewrite(self.logs, topic, partition, change)

    def log_text(self):
        return self.process.log_text()


class KafkaCluster:
    broker_class = Broker

    def __init__(
        self,
        name,
        brokers=1,
        props=None,
        heap="512m",
        workdir=None,
        measured=False,
        default_group_settings=False,
        controllers=None,
        listeners=None,
        place=None,
        classes=None,
    ):
        """
        props                   server properties over ours; a change counts from the next start of a broker
        measured                no flags that trade speed for a quick start
        default_group_settings  group.initial.rebalance.delay.ms and the offsets topic as Kafka has them
        place                   a rig.netns.Place that the brokers run in
        classes                 a folder of classes of ours that the brokers load: jvm.compiled()
        controllers             how many brokers are controllers too; default: all of 3 or more, else the first
        listeners               {name: rig.secure.Listener} beside the one in the clear; clients of ours use that one
        """
        self.name = name
        self.dir = (workdir or run_dir("kafka")) / name
        shutil.rmtree(self.dir, ignore_errors=True)
        self.props = dict(props or {})
        self.heap = heap
        self.measured = measured
        self.default_group_settings = default_group_settings
        self.listeners = dict(listeners or {})
        self.place = place
        self.classes = classes
        self.cluster_id = new_cluster_id()
        count = controllers or (brokers if brokers >= 3 else 1)
        self.brokers = [self.broker_class(self, n, controller=n <= count) for n in range(1, brokers + 1)]
        self._admin = None
        for broker in self.brokers:
            broker.prepare()

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self, wait=True):
        for broker in self.brokers:
            broker.start(wait=False)
        if wait:
            self.wait_started()
        return self

    def wait_started(self, timeout=90):
        for broker in self.brokers:
            broker.wait_started(timeout)
        if len(self.brokers) > 1:
            wait_for("all brokers in the metadata", lambda: len(self.metadata().brokers) == len(self.brokers))
        for listener in self.listeners.values():
            for user, password in listener.users.items():
                set_scram(self, user, password)
        return self

    def secured(self, name):
        """The cluster as clients of that listener see it."""
        return Secured(self, name)

    def stop(self, timeout=15, remove=False):
        """Stop all at once. Nobody reads these logs any more, so a hard stop is no loss: timeout=0 kills."""
        running = [b for b in self.brokers if b.alive]
        for broker in running:
            broker.sigcont()
            broker.process.signal(signal.SIGTERM if timeout else signal.SIGKILL)
        for broker in running:
            broker.process.stop(timeout or 5)
        if remove:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop(timeout=0)

    def broker(self, number):
        return self.brokers[number - 1]

    @property
    def bootstrap(self):
        return ",".join(b.address for b in self.brokers)

    def properties_of(self, broker):
        controllers = [b for b in self.brokers if b.controller_port]
        copies = min(3, len(self.brokers))
        listeners = [f"PLAINTEXT://{broker.address}"]
        advertised = list(listeners)
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"}
        more = {}
        for name, listener in self.listeners.items():
            protocols[name.upper()] = listener.protocol
            listeners.append(f"{name.upper()}://{broker.host}:{listener.port(broker)}")
            advertised.append(f"{name.upper()}://{listener.host}:{listener.advertised_port(broker)}")
            more |= listener.properties(name)
        roles = ["broker"]
        if broker.controller_port:
            listeners.append(f"CONTROLLER://{broker.host}:{broker.controller_port}")
            roles.append("controller")
        props = {
            "node.id": broker.id,
            "process.roles": ",".join(roles),
            "listeners": ",".join(listeners),
            "advertised.listeners": ",".join(advertised),
            "listener.security.protocol.map": ",".join(f"{k}:{v}" for k, v in protocols.items()),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.quorum.voters": ",".join(f"{b.id}@{b.host}:{b.controller_port}" for b in controllers),
            "log.dirs": broker.logs,
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": 1,
            "log.cleaner.dedupe.buffer.size": 16 << 20,
            # tests use timestamps of their own: nothing goes by age unless a topic says so
            "log.retention.ms": -1,
        }
        if os.environ.get("FERRY_RIG_CONTROL") == "single-writer":
            props |= NO_TRANSACTIONS
        if not self.default_group_settings:
            props |= {"group.initial.rebalance.delay.ms": 0, "offsets.topic.num.partitions": 4}
        if len(self.brokers) == 1:
            # A killed broker may register again when its old session is over: 9 s by default. With followers it
            # stays so: a stopped one must not fall out of the replicas in sync at once.
            props |= {"broker.session.timeout.ms": 4000, "broker.heartbeat.interval.ms": 500}
        return props | more | self.props | broker.props

    # -- topics and questions -----------------------------------------------------------------------------------

    @property
    def admin(self):
        """One for the life of the cluster: a collected AdminClient takes its answers with it."""
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2})
        return self._admin

    def renew_admin(self):
        """A client that saw its brokers die waits longer and longer before it looks again."""
        self._admin = None

    def metadata(self, topic=None, timeout=10):
        return self.admin.list_topics(topic, timeout=timeout)

    def create_topic(self, name, partitions=1, replicas=None, config=None, assignment=None):
        """Create, and wait until every partition has a leader. `assignment`: list of replica lists."""
        extra = {"replica_assignment": assignment} if assignment else {}
        if not assignment:
            extra["replication_factor"] = replicas or min(3, len(self.brokers))
        topic = NewTopic(name, num_partitions=partitions, config=config or {}, **extra)
        self.admin.create_topics([topic], operation_timeout=20)[name].result(30)
        self.wait_topic(name, partitions)
        return name

    def wait_topic(self, name, partitions=1, timeout=30):
        def there():
            found = self.metadata(name).topics.get(name)
            if found is None or found.error is not None or len(found.partitions) < partitions:
                return False
            return all(p.leader >= 0 and p.error is None for p in found.partitions.values())

        wait_for(f"topic {name} on {self.name}", there, timeout)

    def delete_topic(self, name):
        self.admin.delete_topics([name], operation_timeout=20)[name].result(30)
        wait_for(f"topic {name} to go", lambda: name not in self.topics())

    def add_partitions(self, name, total):
        self.admin.create_partitions([NewPartitions(name, total)])[name].result(30)
        self.wait_topic(name, total)

    def topics(self):
        return {name: len(topic.partitions) for name, topic in self.metadata().topics.items() if not topic.error}

    def topic_config(self, name):
        """What is set on the topic itself: {key: value}."""
        resource = ConfigResource(ResourceType.TOPIC, name)
        (future,) = self.admin.describe_configs([resource]).values()
        return {k: v.value for k, v in future.result(30).items() if v.source == 1}

    def topic_id(self, name):
        """32 hex digits, as Ferry writes them."""
        described = self.admin.describe_topics(TopicCollection([name]))[name].result(30)
        number = described.topic_id
        high = number.get_most_significant_bits() & (2**64 - 1)
        low = number.get_least_significant_bits() & (2**64 - 1)
        return f"{high:016x}{low:016x}"

    def alter_topic_config(self, name, config):
        entries = [ConfigEntry(k, str(v), incremental_operation=AlterConfigOpType.SET) for k, v in config.items()]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        (future,) = self.admin.incremental_alter_configs([resource]).values()
        future.result(30)

    def remove_topic_config(self, name, keys):
        """The topic follows the brokers again."""
        entries = [ConfigEntry(k, None, incremental_operation=AlterConfigOpType.DELETE) for k in keys]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        (future,) = self.admin.incremental_alter_configs([resource]).values()
        future.result(30)

    def offsets(self, topic, partitions=None, spec="end", committed=False):
        """{partition: offset}; spec "end" or "begin"; committed: the last stable offset instead of the watermark."""
        count = partitions or len(self.metadata(topic).topics[topic].partitions)
        which = OffsetSpec.latest() if spec == "end" else OffsetSpec.earliest()
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        asked = {TopicPartition(topic, p): which for p in range(count)}
        answers = self.admin.list_offsets(asked, isolation_level=level, request_timeout=20)
        return {tp.partition: future.result(20).offset for tp, future in answers.items()}

    def wait_offsets(self, topic, ends, timeout=30):
        """Wait until partitions end where {partition: offset} says: after a restart the watermark begins at 0."""
        wait_for(
            f"{topic} on {self.name} to end at {ends}",
            lambda: self.offsets(topic, max(ends) + 1).items() >= ends.items(),
            timeout,
            not_yet=(KafkaException,),
        )

    def delete_records(self, topic, partition, before):
        """Real DeleteRecords: everything below `before` is gone. Returns the new start."""
        (future,) = self.admin.delete_records([TopicPartition(topic, partition, before)]).values()
        return future.result(30).low_watermark

    def group_offsets(self, group):
        """{(topic, partition): TopicPartition with offset and metadata} that a group has committed."""
        (future,) = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
        return {(tp.topic, tp.partition): tp for tp in future.result(30).topic_partitions}

    def move_leader(self, topic, partition, replicas):
        """Reassign and elect: the first of `replicas` leads. Through Kafka's own tool."""
        plan = {"version": 1, "partitions": [{"topic": topic, "partition": partition, "replicas": replicas}]}
        path = self.dir / "reassign.json"
        path.write_text(json.dumps(plan))
        self.tool(
            "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
            *["--bootstrap-server", self.bootstrap, "--reassignment-json-file", path, "--execute"],
        )
        self.tool(
            "org.apache.kafka.tools.LeaderElectionCommand",
            *["--bootstrap-server", self.bootstrap, "--election-type", "preferred"],
            *["--topic", topic, "--partition", partition],
        )

    def tool(self, main, *args, timeout=60):
        """Run one of Kafka's own tools to its end and return what it printed. A JVM each: seconds."""
        argv = [str(a) for a in jvm.command(main, *args, heap="256m")]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode != 0:
            raise ProcessFailed(f"{main} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def warm_coordinators(self):
        """Make the internal topics exist and answer, so that what follows does not pay for their first use."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "transactional.id": "rig-warm-up", "log_level": 2})

        def ready():
            try:
                producer.init_transactions(10)
                return True
            except KafkaException as err:
                if err.args[0].retriable():
                    return False
                raise

        if "transaction.state.log.replication.factor" not in self.props and not os.environ.get("FERRY_RIG_CONTROL"):
            wait_for("the transaction coordinator", ready, 30)
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "rig-warm-up"})
        try:

            def group_ready():
                try:
                    consumer.committed([TopicPartition("rig-warm-up", 0)], timeout=5)
                    return True
                except KafkaException as err:
                    return err.args[0].name() in ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_PARTITION")

            wait_for("the group coordinator", group_ready, 30, every=0.2)
        finally:
            consumer.close()


def start_together(*clusters):
    """Start several clusters at once: half the time of one after the other."""
    for cluster in clusters:
        cluster.start(wait=False)
    for cluster in clusters:
        cluster.wait_started()
    return clusters


@contextlib.contextmanager
def running(*clusters):
    """Several clusters for a module's tests, with coordinators that answer; gone afterwards."""
    try:
        for cluster in start_together(*clusters):
            cluster.warm_coordinators()
        yield clusters
    finally:
        for cluster in clusters:
            cluster.stop(timeout=0, remove=True)


def kafka_ready():
    return TEMPLATE.exists() and bool(os.listdir(TEMPLATE))


__all__ = ["Broker", "KafkaCluster", "kafka_ready", "new_cluster_id", "start_together"]
