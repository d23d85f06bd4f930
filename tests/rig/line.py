"""A link between two clusters with what a test of it needs: configuration, workers, faults, the proof.

line = Line(own, folder, source, target, redis, "orders", ["orders"])
worker = line.worker("w1")
line.wait_caught_up(); line.prove()
"""

import json
import random

from confluent_kafka import KafkaException

from rig.ferry import Command, Configuration, Worker
from rig.offsetmap import Checkpoint, RedisMap
from rig.procs import wait_for
from rig.verify import check_map, compare
from rig.wire import RawClient


class Line:
    def __init__(self, own, folder, source, target, redis, service, topics, enable=True, secured=None, **service_keys):
        self.own = own
        self.folder = folder
        self.source = source
        self.target = target
        self.redis = redis
        self.service = service
        self.topics = topics
        self.conf = Configuration(folder / "ferry", {"a": (source, None), "b": (target, redis)}, secured=secured)
        self.conf.service(service, topics=topics, **service_keys)
        self.command = Command(self.conf)
        self.workers = []
        if enable:
            self.command.enable(service)

    # -- workers ------------------------------------------------------------------------------------------------

    def worker(self, name, conf=None, wait=False, **more):
        worker = self.own(Worker(conf or self.conf, name, **more)).start()
        self.workers.append(worker)
        return worker.wait_ready() if wait else worker

    def mirroring(self, worker):
        """Partitions that a worker mirrors now."""
        worker.process.check()
        return worker.metrics().get("ferry_link_partitions", 0, state="mirroring")

    def wait_shared(self, partitions, timeout=30, every=0.05):
        """All workers together mirror so many partitions, each its share. The group shares out the control topic's
        partition with them, so a worker may have one less than its neighbour, and that one less again."""
        alive = [worker for worker in self.workers if worker.alive]
        least, most = (partitions + 1) // len(alive) - 1, -(-(partitions + 1) // len(alive))
        assert least > 0, "too few partitions: a worker may have the control topic's alone"

        def there():
            has = [self.mirroring(worker) for worker in alive]
            return has if sum(has) == partitions and least <= min(has) and max(has) <= most else None

        return wait_for(f"{partitions} partitions to be shared out", there, timeout, every=every)

    def check_workers(self):
        for worker in self.workers:
            if worker.alive or worker.returncode not in (None, 0, -9):
                worker.process.check()

    # -- positions ----------------------------------------------------------------------------------------------

    @property
    def group(self):
        return f"ferry-{self.service}-a-b"

    def key(self, name):
        return f"{{{self.service}}}:a>b:{name}"

    def map(self):
        return RedisMap(self.redis.client, self.service, "a", "b")

    def checkpoint(self, topic=None, partition=0):
        text = self.redis.client.hget(self.key("checkpoints"), f"{topic or self.topics[0]}:{partition}")
        return None if text is None else Checkpoint.parse(text.decode())

    def group_checkpoint(self, topic=None, partition=0):
        """The second checkpoint, from the commit metadata; None when there is none."""
        with RawClient(self.target.bootstrap) as raw:
            _, metadata = raw.committed(self.group, topic or self.topics[0], partition)
        return Checkpoint.parse(metadata) if metadata else None

    def mirrored_to(self):
        """{(topic, partition): source_next} as Redis shows it."""
        return {where: c.source_next for where, c in self.map().checkpoints().items()}

    def stable_ends(self):
        ends = {}
        for topic in self.topics:
            for partition, end in self.source.offsets(topic, committed=True).items():
                ends[topic, partition] = end
        return ends

    def wait_caught_up(self, timeout=60, partitions=None):
        """Redis's checkpoints stand at the source's last stable offsets, of all partitions or of those named."""

        def there():
            self.check_workers()
            ends = {w: e for w, e in self.stable_ends().items() if partitions is None or w in partitions}
            now = self.mirrored_to()
            return all(now.get(where, 0) >= end for where, end in ends.items())

        wait_for(
            f"{self.service} to catch up", there, timeout, every=0.1, not_yet=(AssertionError, OSError, KafkaException)
        )

    def wait_current(self, timeout=60):
        """Redis's checkpoints stand where the source ends now; what comes meanwhile may still be under way."""
        ends = self.stable_ends()

        def there():
            self.check_workers()
            now = self.mirrored_to()
            return all(now.get(where, 0) >= end for where, end in ends.items())

        wait_for(f"{self.service} to be where the source was", there, timeout, every=0.1)

    def wait_copied(self, topic, partition, count, timeout=60):
        """The target holds so many records (or offsets) of a partition; for lines without Redis."""
        wait_for(
            f"{count} records in {topic}-{partition}",
            lambda: self.check_workers() or self.target.offsets(topic)[partition] >= count,
            timeout,
            every=0.1,
            not_yet=(AssertionError, OSError, KafkaException, KeyError),
        )

    # -- faults -------------------------------------------------------------------------------------------------

    def fault(self, topic=None, partition=0):
        text = self.redis.client.hget(self.key("faults"), f"{topic or self.topics[0]}:{partition}")
        return None if text is None else json.loads(text)

    def wait_fault(self, kind, topic=None, partition=0, timeout=30):
        def there():
            self.check_workers()
            found = self.fault(topic, partition)
            return found if found and found["kind"] == kind else None

        return wait_for(f"fault {kind}", there, timeout, every=0.1)

    def events(self, kind):
        """Details of the events of a kind, oldest first."""
        entries = self.redis.client.xrange(f"{{{self.service}}}:events")
        rows = [{k.decode(): v.decode() for k, v in fields.items()} for _, fields in entries]
        return [row for row in rows if row.get("kind") == kind]

    # -- the proof ----------------------------------------------------------------------------------------------

    def prove(self, translations=20_000, topics=None):
        """Same records, once, in order on both sides; the map finds each one; sequences have no gap."""
        result = compare(self.source.bootstrap, self.target.bootstrap, topics or self.topics)
        assert result.ok, result.text()
        if self.redis is not None:
            check = check_map(result, self.map().translate, asked=translations, seed=random.randrange(1 << 30))
            assert check.ok, check.text()
        for topic in topics or self.topics:
            self.prove_sequences(topic)
        return result

    def prove_sequences(self, topic):
        """I8: within one producer id the batches of the target are gapless."""
        with RawClient(self.target.bootstrap) as raw:
            for partition in self.target.offsets(topic):
                expected = {}
                for batch in raw.walk(topic, partition):
                    if batch.producer_id < 1 << 47:
                        continue
                    wanted = expected.get(batch.producer_id, batch.base_sequence)
                    assert batch.base_sequence == wanted, (
                        f"{topic}-{partition} at {batch.base_offset}: sequence {batch.base_sequence}, not {wanted}"
                    )
                    expected[batch.producer_id] = (batch.last_sequence + 1) & 0x7FFFFFFF
