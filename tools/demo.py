"""The demo: two sites, real producers, a worker killed in the middle, and a proof by an independent reader.

Run by tools/demo.sh (make demo). The exit status is the proof's: 0 the same records, once, in order, and the map finds
each one; 1 the proof is red; 3 something else went wrong.
"""

import contextlib
import os
import random
import shutil
import sys
import time

from confluent_kafka import Producer

from rig import procs
from rig.ferry import Command, Configuration, Worker
from rig.kafka import KafkaCluster, start_together
from rig.offsetmap import RedisMap
from rig.paths import BUILD, ROOT, remove_run_dirs
from rig.procs import ProcessFailed, TimeIsUp, wait_for
from rig.produce import Load
from rig.redis import RedisServer
from rig.verify import check_map, compare, expected_target
from rig.wire import RawClient

DIR = BUILD / "demo"
SERVICE = "orders"
HOME, OTHER = "hangzhou", "shanghai"
PARTITIONS = 4
BACKLOG = int(os.environ.get("DEMO_RECORDS", 250_000))  # a topic, before the mirror starts
TRANSACTIONS = 200  # of them in the transactional topic: a commit takes real brokers 10 to 30 ms
LIVE_RATE = 1_500  # records a second and topic while it runs
SIZE = 200
TRANSACTION = 500  # records
KINDS = ("plain", "lz4", "zstd", "transactional")
MAP_ASKED = 100_000
COMMAND_ASKED = 12
CATCH_UP_S = 180
TTY = sys.stdout.isatty()
COLOR = {"red": "\033[31;1m", "green": "\033[32;1m"} if TTY else {}


def say(text):
    print(text, flush=True)


def loud(color, text):
    say(f"{COLOR.get(color, '')}{text}{chr(27) + '[0m' if COLOR else ''}")


@contextlib.contextmanager
def stage(name):
    began = time.monotonic()
    yield
    say(f"{name:<58} {time.monotonic() - began:6.1f} s")


class Demo:
    def __init__(self):
        self.source = KafkaCluster(HOME, workdir=DIR / "kafka", default_group_settings=True)
        self.target = KafkaCluster(OTHER, workdir=DIR / "kafka", default_group_settings=True)
        self.redis = RedisServer(OTHER, workdir=DIR)
        self.topics = {kind: f"orders.{kind}" for kind in KINDS}
        self.ledgers = {kind: [] for kind in KINDS}
        self.workers = []

    # -- stages -------------------------------------------------------------------------------------------------

    def servers(self):
        with stage("two Kafka brokers and Redis are up"):
            start_together(self.source, self.target)
            self.redis.start()
            for topic in self.topics.values():
                self.source.create_topic(topic, partitions=PARTITIONS)
        say(f"    {HOME}: {self.source.bootstrap}    {OTHER}: {self.target.bootstrap}    {self.redis.url}")

    def backlog(self):
        """What was there before the mirror: all kinds, written by processes of their own."""
        with stage(f"{len(KINDS)} producers ({', '.join(KINDS)}) wrote a backlog"):
            running = {kind: self.load(kind, count=self.backlog_of(kind)).start() for kind in KINDS}
            for kind, producer in running.items():
                self.ledgers[kind].append(producer.wait())
        written = [ledger for ledgers in self.ledgers.values() for ledger in ledgers]
        say(
            f"    {sum(w.committed for w in written)} records, and {sum(w.aborted for w in written)} in "
            "transactions that were aborted (every fourth): those must not arrive"
        )

    @staticmethod
    def backlog_of(kind):
        return min(BACKLOG, TRANSACTION * TRANSACTIONS) if kind == "transactional" else BACKLOG

    def load(self, kind, **more):
        return Load(self.source.bootstrap, self.topics[kind], kind, size=SIZE, partitions=PARTITIONS, seed=7, **more)

    def mirror(self):
        """Two workers, and the service is enabled once: from then on they copy."""
        self.conf = Configuration(
            DIR, {HOME: (self.source, None), OTHER: (self.target, self.redis)}, deployment="demo"
        ).service(SERVICE, topics=["orders.*"], start="earliest")
        self.command = Command(self.conf)
        self.map = RedisMap(self.redis.client, SERVICE, HOME, OTHER)
        with stage("ferry enable orders"):
            self.command.enable(SERVICE)
        self.live = {kind: self.load(kind, count=None, rate=LIVE_RATE, serial=10_000_000).start() for kind in KINDS}
        with stage("two ferryd started, the first records are across"):
            self.workers = [Worker(self.conf, f"worker-{n}").start() for n in (1, 2)]
            wait_for("the first records", self.begun, 60, every=0.05)

    def begun(self):
        for worker in self.workers:
            worker.process.check()
        return self.position()[0] > 0

    def position(self):
        """(source offsets done, source offsets there are), by the checkpoints and the source's stable ends."""
        done = self.map.checkpoints()
        there = sum(sum(self.source.offsets(t, PARTITIONS, committed=True).values()) for t in self.topics.values())
        return sum(c.source_next for (topic, _), c in done.items() if topic in self.topics.values()), there

    def catch_up(self):
        """Progress until the mirror is at the end; one worker is killed in the middle and comes back."""
        began = time.monotonic()
        rates = [(began, self.position()[0])]
        killed = returned = settled = None
        victim = self.workers[0]
        while True:
            now = time.monotonic()
            if now - began > CATCH_UP_S:
                raise TimeIsUp(f"the mirror is not at the end after {CATCH_UP_S} s; {self.log_hint()}")
            done, there = self.position()
            self.workers[1].process.check()
            rates = [r for r in rates if now - r[0] < 3] + [(now, done)]
            span = now - rates[0][0]
            rate = (done - rates[0][1]) / span if span > 0.2 else 0
            self.progress(done, there, rate)
            if killed is None and (done > there * 0.3 or now - began > 5):
                victim.kill9()
                self.line(f"    kill -9 of {victim.name} at {100 * done / there:.0f} %")
                killed = now
            elif killed and returned is None and now - killed > 1:
                victim.start()
                returned = now
                self.line(f"    {victim.name} is started again")
                victim.wait_healthy()
            elif returned and settled is None and there - done <= LIVE_RATE * len(KINDS) // 2:
                settled = now
                self.line(f"    caught up {settled - returned:.1f} s after its return, producers still writing")
            elif settled and now - settled > 2:
                break
            time.sleep(0.05)
        self.end_progress()
        say(f"{'the mirror caught up, through a kill -9':<58} {time.monotonic() - began:6.1f} s")

    def drain(self):
        """Producers stop; what they wrote last goes across."""
        with stage("producers stopped, the last records are across"):
            for kind, producer in self.live.items():
                self.ledgers[kind].append(producer.stop())
            last, since = 0, time.monotonic()
            while True:
                done, there = self.position()
                if done >= there:
                    break
                if done != last:
                    last, since = done, time.monotonic()
                if time.monotonic() - since > 20:
                    # let the proof say what is missing
                    say(f"    nothing moved for 20 s at {done} of {there}; {self.log_hint()}")
                    break
                time.sleep(0.1)
        done = self.command.run("status", SERVICE)
        for line in (done.stdout or done.stderr).splitlines()[:12]:
            say(f"    | {line}")

    # -- the proof ----------------------------------------------------------------------------------------------

    def proof(self):
        """True when everything is as promised."""
        with stage("an independent reader compared every record"):
            result = compare(self.source.bootstrap, self.target.bootstrap, list(self.topics.values()))
        say("    " + result.text().replace("\n", "\n    "))
        written = sum(ledger.committed for ledgers in self.ledgers.values() for ledger in ledgers)
        ok = result.ok and result.records == written
        if result.records != written:
            say(f"    but the producers had {written} records acknowledged")
        if not result.ok:
            say("    the map is judged by equal records: not judged")
            return False
        with stage(f"the map, read from Redis: {MAP_ASKED} random offsets"):
            check = check_map(result, self.map_now().translate, MAP_ASKED)
        say("    " + check.text().replace("\n", "\n    "))
        with stage(f"ferry offsets translate: {COMMAND_ASKED} random offsets"):
            wrong = self.ask_the_command(result)
        for text in wrong:
            say(f"    {text}")
        return ok and check.ok and not wrong

    def map_now(self):
        return RedisMap(self.redis.client, SERVICE, HOME, OTHER)

    def ask_the_command(self, result):
        chosen = random.Random(3)
        places = sorted(where for where, (source, _) in result.sides.items() if len(source))
        wrong = []
        for _ in range(COMMAND_ASKED):
            topic, partition = chosen.choice(places)
            source, target = result.sides[topic, partition]
            offset = chosen.randrange(source.position)
            expected, _ = expected_target(source, target, offset)
            got = self.command.translate(SERVICE, topic, partition, offset)
            if got.get("target_offset") != expected:
                wrong.append(f"{topic}-{partition} offset {offset}: expected {expected}, the command says {got}")
        return wrong

    # -- damage, to see the proof turn red ----------------------------------------------------------------------

    def damage(self, how):
        """One record at the target, by real means: the proof must find it."""
        with stage(f"DEMO_BREAK={how}: workers stopped, one record damaged"):
            for worker in self.workers:
                worker.stop()
            getattr(self, f"damage_{how}")(self.topics["plain"], 1)

    def damage_lose(self, topic, partition):
        """DeleteRecords of the first one."""
        begin = self.target.offsets(topic, PARTITIONS, "begin")[partition]
        self.target.delete_records(topic, partition, begin + 1)

    def damage_double(self, topic, partition):
        """An ordinary producer writes a record that is there already once more."""
        end = self.target.offsets(topic, PARTITIONS)[partition]
        with RawClient(self.target.bootstrap) as raw:
            record = raw.fetch(topic, partition, end // 2).batches[0].records()[0]
        failed = []
        producer = Producer({"bootstrap.servers": self.target.bootstrap})
        producer.produce(
            topic,
            record.value,
            record.key,
            partition,
            timestamp=record.timestamp,
            on_delivery=lambda err, _: failed.append(err) if err else None,
        )
        producer.flush(30)
        if failed:
            raise ProcessFailed(f"the copy was not taken: {failed[0]}")

    def damage_swap(self, topic, partition):
        """Two neighbours change places in the log of the stopped broker."""

        def swap(records):
            a, b = records[0], records[1]
            return [b._replace(offset=a.offset), a._replace(offset=b.offset), *records[2:]]

        self.damage_log(topic, partition, swap)

    def damage_flip(self, topic, partition):
        """One bit of one value changes in the log of the stopped broker, checksum and all."""

        def flip(records):
            first = records[0]
            value = bytes([first.value[0] ^ 1]) + first.value[1:]
            return [first._replace(value=value), *records[1:]]

        self.damage_log(topic, partition, flip)

    def damage_log(self, topic, partition, change):
        ends = self.target.offsets(topic, PARTITIONS)
        left = [1]

        def one_batch(batch):
            if not left or batch.count < 2 or batch.base_offset < ends[partition] // 2:
                return batch
            left.clear()
            return batch.with_records(change(batch.records()))

        broker = self.target.broker(1)
        broker.stop()
        if broker.rewrite(topic, partition, one_batch) != 1:
            raise ProcessFailed("no batch of two records to damage")
        broker.start()
        for name in self.topics.values():
            self.target.wait_topic(name, PARTITIONS)
        self.target.wait_offsets(topic, ends)

    # -- looks --------------------------------------------------------------------------------------------------

    def progress(self, done, there, rate):
        behind = max(0, there - done)
        left = f"{behind / rate:.0f} s left" if rate > 0 else "time left unknown"
        text = f"    {100 * done / max(1, there):5.1f} %  {rate:9.0f} offsets/s  {behind:9d} behind  {left}"
        if TTY:
            print(f"\r{text:<78}", end="", flush=True)
        elif time.monotonic() - getattr(self, "_said", 0) > 1:
            self._said = time.monotonic()
            say(text)

    def line(self, text):
        self.end_progress()
        say(text)

    def end_progress(self):
        if TTY:
            print("\r" + " " * 78 + "\r", end="", flush=True)

    def log_hint(self):
        return "logs: " + ", ".join(str(w.process.log.relative_to(ROOT)) for w in self.workers)

    def stop(self):
        with stage("workers, brokers and Redis stopped, data removed"):
            codes = [worker.stop() for worker in self.workers if worker.alive]
            self.source.stop(timeout=0, remove=True)
            self.target.stop(timeout=0, remove=True)
            self.redis.kill9()
        if any(codes):
            say(f"    a worker ended with {codes}; {self.log_hint()}")
        return not any(codes)


def run(how):
    began = time.monotonic()
    shutil.rmtree(DIR, ignore_errors=True)
    demo = Demo()
    demo.servers()
    demo.backlog()
    demo.mirror()
    demo.catch_up()
    demo.drain()
    if how:
        demo.damage(how)
    ok = demo.proof()
    orderly = demo.stop()
    say("")
    if ok and orderly:
        loud("green", "GREEN: the same records at both sites, once, in order; the map finds each one")
    elif ok:
        loud("red", "RED: the records are right, but a worker did not end well")
    else:
        loud("red", "RED: the two sites differ" + (f" (as DEMO_BREAK={how} asked)" if how else ""))
    say(f"{'in all':<58} {time.monotonic() - began:6.1f} s")
    return 0 if ok and orderly else 1


def main():
    procs.end_on_signals()
    try:
        return run(os.environ.get("DEMO_BREAK"))
    except KeyboardInterrupt:
        say("\ninterrupted: everything is stopped")
        return 130
    except (ProcessFailed, TimeIsUp) as err:
        loud("red", f"\ndemo: {err}")
        return 3
    finally:
        procs.end_all()
        shutil.rmtree(DIR / "kafka", ignore_errors=True)
        remove_run_dirs()


if __name__ == "__main__":
    sys.exit(main())
