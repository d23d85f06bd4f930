"""The demo: two sites, real producers, a worker killed in the middle, and a proof by an independent reader. Then the
primary is killed under its consumers, `ferry failover` moves them, and the ledger of both sides is the second proof.

Run by tools/demo.sh (make demo). The exit status is the proofs': 0 the same records, once, in order, the map finds each
one, and no group skipped one or read one twice outside its hint; 1 a proof is red; 3 something else went wrong; 130
interrupted.
"""

import contextlib
import fcntl
import os
import random
import re
import shlex
import shutil
import signal
import sys
import time
import traceback

from confluent_kafka import KafkaException, Producer

from rig import hints, procs
from rig.ferry import Command, Configuration, Worker
from rig.follower import Follower, judge, records_of, wait_processed
from rig.groups import commit
from rig.kafka import KafkaCluster, start_together
from rig.nameserver import Bind, zone_settings
from rig.offsetmap import RedisMap
from rig.paths import BUILD, ROOT, remove_run_dirs
from rig.procs import ProcessFailed, TimeIsUp, wait_for
from rig.produce import Load
from rig.redis import RedisServer
from rig.verify import check_map, compare, expected_target
from rig.walk import LOOPBACK, names, same_port, zone_records
from rig.wire import RawClient

DIR = BUILD / "demo"
SERVICE = "orders"
HOME, OTHER = "hangzhou", "shanghai"
PARTITIONS = 4
BACKLOG = int(os.environ.get("DEMO_RECORDS", 60_000))  # a topic, before the mirror starts
TRANSACTIONS = 60  # of them in the transactional topic: a commit takes real brokers 10 to 30 ms
LIVE_RATE = 500  # records a second and topic while it runs
SIZE = 200
TRANSACTION = 500  # records
KINDS = ("plain", "lz4", "zstd", "transactional")
ZONE = "demo.test"
RECORD = f"kafka.{ZONE}"
GROUPS = ("billing", "shipping", "audit")
DIES = "audit"  # its consumer is killed with the primary, and started again afterwards
CONSUMED = ("plain", "transactional")  # topics of the groups
AT_WORK_S = 4  # producers and consumers, before the primary dies
AFTER = 2_000  # records that are written at the new primary
MAP_ASKED = 100_000
COMMAND_ASKED = 12
CATCH_UP_S = 180
# As Kafka has it: a broker of the tests is fenced after 1.5 s of silence, which a busy machine reaches.
BROKER = {"broker.session.timeout.ms": 9000, "broker.heartbeat.interval.ms": 2000}
TTY = sys.stdout.isatty()
COLOR = {"red": "\033[31;1m", "green": "\033[32;1m"} if TTY else {}
WIDTH = 92
PROGRESS_S = 0.2 if TTY else 2  # a terminal shows one line that changes


CLEAR = "\r\033[K" if TTY else ""  # what a stage or the progress said for the moment


def say(text=""):
    print(CLEAR + text, flush=True)


def loud(color, text):
    say(f"{COLOR.get(color, '')}{text}{chr(27) + '[0m' if COLOR else ''}")


def said_in(name, seconds):
    say(f"{name:<{WIDTH - 9}} {seconds:6.1f} s")


@contextlib.contextmanager
def stage(name):
    began = time.monotonic()
    if TTY:
        print(f"{name} ...", end="", flush=True)
    yield
    said_in(name, time.monotonic() - began)


class Demo:
    def __init__(self):
        brokers = {"workdir": DIR / "kafka", "default_group_settings": True, "props": BROKER}
        self.source = KafkaCluster(HOME, place=LOOPBACK[0], **brokers)
        self.target = KafkaCluster(OTHER, place=LOOPBACK[1], **brokers)
        self.port = same_port(self.source, self.target)  # the name leads to an address; the port is the clients'
        self.redis = RedisServer(OTHER, workdir=DIR)
        self.names = Bind("names", DIR, zone=ZONE, records=zone_records(*(place.host for place in LOOPBACK)))
        self.topics = {kind: f"orders.{kind}" for kind in KINDS}
        self.ledgers = {kind: [] for kind in KINDS}
        self.workers = []
        self.consumers = []

    # -- stages -------------------------------------------------------------------------------------------------

    def servers(self):
        with stage(f"two Kafka brokers ({HOME}, {OTHER}), Redis and a name server are up"):
            start_together(self.source, self.target)
            self.redis.start()
            self.names.start()
            for topic in self.topics.values():
                self.source.create_topic(topic, partitions=PARTITIONS)
        say(f"    {HOME} {self.source.bootstrap}, {OTHER} {self.target.bootstrap}, {self.redis.url}")
        say(f"    BIND at {self.names.address}: {RECORD} is a CNAME of kafka-a.{ZONE}, which is {HOME}")

    def backlog(self):
        """What was there before the mirror: all kinds, written by processes of their own."""
        with stage(f"{len(KINDS)} producers wrote a backlog to {HOME}: {', '.join(KINDS)}"):
            running = {kind: self.load(kind, count=self.backlog_of(kind)).start() for kind in KINDS}
            self.target.warm_coordinators()  # a site in use has its groups' topic already
            for kind, producer in running.items():
                self.ledgers[kind].append(producer.wait())
        written = [ledger for ledgers in self.ledgers.values() for ledger in ledgers]
        say(
            f"    {sum(w.committed for w in written):,} records; {sum(w.aborted for w in written):,} more in "
            "aborted transactions (every fourth) must not arrive"
        )

    @staticmethod
    def backlog_of(kind):
        return min(BACKLOG, TRANSACTION * TRANSACTIONS) if kind == "transactional" else BACKLOG

    def load(self, kind, cluster=None, **more):
        return Load(
            (cluster or self.source).bootstrap,
            self.topics[kind],
            kind,
            size=SIZE,
            partitions=PARTITIONS,
            seed=7,
            numbered=1,
            **more,
        )

    def mirror(self):
        """Two workers, and the service is enabled once: from then on they copy."""
        self.conf = Configuration(
            DIR,
            {HOME: (self.source, None), OTHER: (self.target, self.redis)},
            deployment="demo",
            dns={ZONE: zone_settings(DIR, [self.names])},
        ).service(SERVICE, topics=["orders.*"], groups=GROUPS, start="earliest", cname=names(RECORD, ZONE, HOME, OTHER))
        self.command = Command(self.conf)
        self.map = RedisMap(self.redis.client, SERVICE, HOME, OTHER)
        with stage("$ ferry enable orders --yes; ferry dns adopt orders --yes"):
            self.command.enable(SERVICE)
            self.command.ok("dns", "adopt", SERVICE, "--yes")
        say(f"    with FERRY_CONFIG={self.conf.path.relative_to(ROOT)}, as all commands here; the file is kept")
        self.live = self.producers(10_000_000)
        self.consumers = [self.consumer(group) for group in GROUPS]
        with stage(f"two workers (ferryd) started, and the first records are at {OTHER}"):
            self.workers = [Worker(self.conf, f"worker-{n}").start() for n in (1, 2)]
            wait_for("the first records", self.begun, 60, every=0.05)
        with stage(f"three consumer groups ({', '.join(GROUPS)}) work at {RECORD}:{self.port}"):
            wait_for("the groups to work", lambda: all(self.working(c) for c in self.consumers), 40, every=0.1)

    def producers(self, serial):
        return {kind: self.load(kind, count=None, rate=LIVE_RATE, serial=serial).start() for kind in KINDS}

    def consumer(self, group):
        """One of a group. It knows the name alone, and asks our name server by a callback of librdkafka's
        (rig/follower.py): nothing of the machine is changed for it, and it needs no root."""
        number = sum(one.group == group for one in self.consumers)
        topics = [self.topics[kind] for kind in CONSUMED]
        return Follower(group, f"{RECORD}:{self.port}", self.names.address, topics, DIR / f"consumers-{number}").start()

    @staticmethod
    def working(consumer):
        consumer.process.check()
        return bool(consumer.read())

    def begun(self):
        for worker in self.workers:
            worker.process.check()
        return self.position()[0] > 0

    def position(self):
        """(source offsets done, source offsets there are), by the checkpoints and the source's stable ends."""
        done = self.map.checkpoints()
        there = wait_for("the ends of the source's topics", self.ends, 20, every=0.2, not_yet=(KafkaException,))
        return sum(c.source_next for (topic, _), c in done.items() if topic in self.topics.values()), there

    def ends(self):
        return sum(sum(self.source.offsets(t, PARTITIONS, committed=True).values()) for t in self.topics.values())

    def catch_up(self):
        """Progress until the mirror is at the end; one worker is killed in the middle and comes back."""
        began = time.monotonic()
        rates = [(began, self.position()[0])]
        killed = returned = settled = None
        victim = self.workers[0]
        while True:
            now = time.monotonic()
            if now - began > CATCH_UP_S:
                raise TimeIsUp(f"the mirror is not at the end after {CATCH_UP_S} s")
            done, there = self.position()
            self.workers[1].process.check()
            if returned:
                victim.process.check()
            rates = [r for r in rates if now - r[0] < 3] + [(now, done)]
            span = now - rates[0][0]
            self.progress(done, there, (done - rates[0][1]) / span if span > 0.2 else 0)
            if killed is None and (done > there * 0.3 or now - began > 5):
                victim.kill9()
                say(f"    kill -9 of {victim.name} at {100 * done / there:.0f} %")
                killed = now
            elif killed and returned is None and now - killed > 1:
                victim.start()
                returned = now
                say(f"    {victim.name} is started again")
            elif returned and settled is None and there - done <= LIVE_RATE * len(KINDS) // 2:
                settled = now
                say(f"    caught up {settled - returned:.1f} s after its return, with the producers still writing")
            elif settled and now - settled > 2:
                break
            time.sleep(0.1)
        said_in("the mirror caught up, through the kill -9", time.monotonic() - began)

    def drain(self):
        """Producers stop; what they wrote last goes across."""
        with stage("the producers stopped, and their last records are across"):
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
                    say(f"    nothing moved for 20 s at {done:,} of {there:,}; logs: {logs()}")
                    break
                time.sleep(0.1)
        self.show("status", SERVICE)

    def show(self, *words):
        """A command as a user types it, and what it says."""
        with stage("$ ferry " + shlex.join(str(word) for word in words)):
            done = self.command.run(*words)
        for text in (done.stdout + done.stderr).splitlines():
            say(f"    {text}")
        return done

    # -- the proof ----------------------------------------------------------------------------------------------

    def proof(self):
        """True when everything is as promised."""
        with stage("proof 1: an independent reader compared every record of both sites"):
            result = compare(self.source.bootstrap, self.target.bootstrap, list(self.topics.values()))
        text = re.sub(r"(source|target) \d+: at (\d+):", r"\1 offset \2:", result.text(show=3))
        say("    " + text.replace("\n", "\n    "))
        written = sum(ledger.committed for ledgers in self.ledgers.values() for ledger in ledgers)
        ok = result.ok and result.records == written
        if result.records != written:
            say(f"    but {written} records were acknowledged to the producers")
        if not result.ok:
            say("    (the map is judged by equal records: it is not judged)")
            return False
        with stage(f"proof 2: the map in Redis, asked for {MAP_ASKED:,} random offsets"):
            check = check_map(result, RedisMap(self.redis.client, SERVICE, HOME, OTHER).translate, MAP_ASKED)
        say("    " + check.text(show=5).replace("\n", "\n    "))
        wrong = self.ask_the_command(result)
        return ok and check.ok and not wrong

    def ask_the_command(self, result):
        """The command as on-call uses it: the first answer is shown, all are judged by the records."""
        chosen = random.Random(3)
        places = sorted(where for where, (source, _) in result.sides.items() if len(source))
        asked = [(*where, chosen.randrange(result.sides[where][0].position)) for where in chosen.choices(places, k=12)]
        self.show("offsets", "translate", SERVICE, *asked[0])
        wrong = []
        with stage(f"proof 3: that command, asked {len(asked)} times"):
            for topic, partition, offset in asked:
                source, target = result.sides[topic, partition]
                expected, _ = expected_target(source, target, offset)
                got = self.command.translate(SERVICE, topic, partition, offset)
                if got.get("target_offset") != expected:
                    wrong.append(f"{topic}-{partition} offset {offset}: expected {expected}, the command says {got}")
        for text in wrong:
            say(f"    {text}")
        return wrong

    # -- the bad day --------------------------------------------------------------------------------------------

    def failover(self, broken):
        """The primary dies under its clients; one command; the ledger. True when everything is as promised."""
        with stage(f"producers write to {HOME} again, the groups process and commit each second"):
            self.live = self.producers(20_000_000)
            time.sleep(AT_WORK_S)
        self.kill_primary()
        done = self.show("failover", SERVICE, "--yes", "--allow-loss", "unknown", "--reason", "the demo")
        if done.returncode != 0:
            say(f"    it ended with {done.returncode}; logs: {logs()}")
            return False
        with stage(f"producers write {AFTER:,} new records to {OTHER}"):
            for kind in CONSUMED:
                self.load(kind, cluster=self.target, count=AFTER // len(CONSUMED), serial=30_000_000).run()
        if broken:
            self.damage_skip()
        return self.ledger()

    def kill_primary(self):
        with stage(f"kill -9 of {HOME}: its broker, its producers, and the consumer of {DIES}"):
            self.source.broker(1).kill9()
            for producer in self.live.values():
                producer.process.kill9()
            next(one for one in self.consumers if one.group == DIES).kill9()

    def damage_skip(self):
        """Past everything that it may have processed, and 25 of the new records."""
        where = (self.topics["plain"], 1)
        with stage(f"DEMO_BREAK=skip: the offset of {DIES} in {where[0]}-{where[1]} is moved 25 records too far"):
            told = hints.of_redis(self.redis.client, SERVICE)
            commit(self.target, DIES, {where: told[DIES][where].until + 25})

    def ledger(self):
        """What each group processed at both sites, against what there is and what the hints say."""
        with stage(f"the consumer of {DIES} is started again, and all groups go on at {OTHER}"):
            self.consumers.append(self.consumer(DIES))
            there = records_of(self.target, [self.topics[kind] for kind in CONSUMED])
            wait_processed(self.consumers, there, 60)
        with stage("proof 4: what each group processed at both sites, and its hint"):
            told = hints.of_redis(self.redis.client, SERVICE)
            verdict = judge(self.consumers, self.source.cluster_id, there, told)
        say("    " + verdict.text().replace("\n", "\n    "))
        return verdict.ok

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
        if time.monotonic() - getattr(self, "_said", 0) < PROGRESS_S:
            return
        self._said = time.monotonic()
        lag = max(0, there - done)
        left = f"{lag / rate:.0f} s left" if rate > 0 else "time left not known yet"
        text = f"    {100 * done / max(1, there):3.0f} %   {rate:9,.0f} offsets/s   lag {lag:9,}   {left}"
        if TTY:
            print(CLEAR + text, end="", flush=True)
        else:
            say(text)

    def stop(self):
        """True when the workers ended as they should."""
        with stage("workers, brokers and Redis stopped, data removed"):
            for consumer in self.consumers:
                consumer.stop()
            codes = {worker.name: worker.stop() for worker in self.workers}
            self.source.stop(timeout=0, remove=True)
            self.target.stop(timeout=0, remove=True)
            self.redis.kill9()
            self.names.kill9()
        bad = {name: code for name, code in codes.items() if code}
        for name, code in bad.items():
            say(f"    {name} ended with {code}; logs: {logs()}")
        return not bad


def logs():
    return ", ".join(sorted(str(path.relative_to(ROOT)) for path in DIR.glob("*.log")))


def run(how, built_ms):
    began = time.monotonic() - built_ms / 1000
    said_in("build (make all)", built_ms / 1000)
    demo = Demo()
    demo.servers()
    demo.backlog()
    demo.mirror()
    demo.catch_up()
    demo.drain()
    if how and how != "skip":
        demo.damage(how)
    same = demo.proof()
    none_skipped = same and demo.failover(how == "skip")
    ok = same and none_skipped
    orderly = demo.stop()
    said_in("in all", time.monotonic() - began)
    say()
    if ok and orderly:
        loud("green", "GREEN: the same records at both sites, once, in order, and the map finds each one;")
        loud("green", f"       {HOME} is lost, and no group skipped a record or read one twice outside its hint")
        say("Next: README.md, Configure and Operate.   To see a proof turn red: DEMO_BREAK=lose or skip, make demo")
    elif ok:
        loud("red", "RED: the records are right, but a worker did not end well")
    else:
        what = "the failover is not as promised" if same else "the two sites differ"
        loud("red", f"RED: {what}" + (f", as DEMO_BREAK={how} asked for" if how else ""))
    say(f"What the workers said: {logs()}")
    return 0 if ok and orderly else 1


def alone():
    """One demo at a time in this folder; the lock goes with us, however we end."""
    BUILD.mkdir(exist_ok=True)
    lock = open(BUILD / "demo.lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("demo: another demo runs in this folder; wait for it to end")
    return lock


def clean():
    """No process and no data stay; the servers' logs do, for whoever asks what went wrong."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    procs.end_all()
    for log in DIR.glob("kafka/*/broker-1/broker.log"):
        shutil.copy(log, DIR / f"kafka-{log.parts[-3]}.log")
    for folder in DIR.glob("*/"):
        shutil.rmtree(folder, ignore_errors=True)
    remove_run_dirs()


def main():
    built_ms = int(sys.argv[sys.argv.index("--built-ms") + 1]) if "--built-ms" in sys.argv else 0
    lock = alone()
    procs.end_on_signals()
    shutil.rmtree(DIR, ignore_errors=True)
    try:
        return run(os.environ.get("DEMO_BREAK"), built_ms)
    except procs.Ended as signalled:
        say("\ninterrupted")
        return signalled.code
    except (ProcessFailed, TimeIsUp) as err:
        loud("red", f"\ndemo: {err}")
        return 3
    except Exception:
        traceback.print_exc()
        return 3
    finally:
        clean()
        lock.close()


if __name__ == "__main__":
    sys.exit(main())
