"""Where groups go on when the primary is lost, with Ferry and with MirrorMaker 2, on the same load.

    build/venv/bin/python bench/failover.py                     3 rounds
    ... --rounds 1 --rate 200

A round: two fresh clusters, a plain topic and one of transactions (every fourth aborted), producers at work; one group
that follows them and commits each second, one that left at about 40 %. The primary dies by kill -9. Then the ledger of
what both groups processed is laid against where their offsets stand at the target: records that they read again there,
and records that they would skip. Ferry is asked with `ferry failover`; MirrorMaker 2 (bench/mm2-tuned.properties: its
offsets are synchronised each second, the shortest that it can) has nothing to be asked: its last commits count.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from contenders import Ends, Mm2  # noqa: E402
from rig.ferry import Command, Configuration, Worker  # noqa: E402
from rig.follower import Follower, records_of  # noqa: E402
from rig.groups import committed  # noqa: E402
from rig.kafka import KafkaCluster, start_together  # noqa: E402
from rig.paths import BUILD, remove_run_dirs, run_dir  # noqa: E402
from rig.procs import end_all, end_on_signals, wait_for  # noqa: E402
from rig.produce import Load  # noqa: E402
from rig.redis import RedisServer  # noqa: E402

TOPICS = {"orders.plain": "plain", "orders.tx": "transactional"}
PARTITIONS = 4
GROUPS = ("live", "left")
EARLIER = 1600  # records a topic, before the group that leaves does


class Ferry:
    name = "ferry"

    def start(self, source, target, folder):
        self.redis = RedisServer("b", workdir=folder).start()
        self.conf = Configuration(folder / "ferry", {"a": (source, None), "b": (target, self.redis)})
        self.conf.service("orders", topics=list(TOPICS), groups=["*"])
        self.command = Command(self.conf)
        self.command.enable("orders")
        self.worker = Worker(self.conf, "w1").start().wait_ready()

    def answer(self):
        self.command.ok("failover", "orders", "--yes", "--allow-loss", "unknown", timeout=120)

    def stop(self):
        self.worker.kill9()
        self.redis.kill9()


class MirrorMaker:
    name = "mm2"

    def start(self, source, target, folder):
        ends = Ends(source, target, folder, 0, 0, "none")
        more = [
            f"primary->secondary.topics={','.join(TOPICS)}",
            "primary.consumer.isolation.level=read_committed",  # as it comes it copies aborted records, too
        ]
        run = Mm2("mm2", more).run(ends)
        self.process = run.process.start()

    def answer(self):
        time.sleep(3)  # whatever it still does

    def stop(self):
        self.process.kill9()


def standing(follower, target, offsets):
    """(read again, skipped) of a group that goes on at these offsets; where it has none, from the beginning."""
    done = {row.ident for row in follower.read()}
    again = skipped = 0
    for where, (at, idents) in target.items():
        place = offsets.get(where, 0)
        for offset, ident in zip(at, idents, strict=True):
            again += offset >= place and ident in done
            skipped += offset < place and ident not in done
    return again, skipped


def one_round(contender, folder, rate):
    source, target = (KafkaCluster(name, workdir=folder, measured=True) for name in ("a", "b"))
    start_together(source, target)
    for cluster in (source, target):
        cluster.warm_coordinators()
    for topic in TOPICS:
        source.create_topic(topic, partitions=PARTITIONS)
    contender.start(source, target, folder)

    def load(topic, **more):
        return Load(source.bootstrap, topic, TOPICS[topic], partitions=PARTITIONS, numbered=1, size=100, **more)

    followers = {group: Follower(group, source.bootstrap, "-", list(TOPICS), folder).start() for group in GROUPS}
    for topic in TOPICS:
        load(topic, count=EARLIER).run()
    visible = int(EARLIER * 1.75)  # every fourth transaction is aborted
    wait_for("the groups to work", lambda: all(len(f.read()) >= visible for f in followers.values()), 60, every=0.2)
    followers["left"].stop()
    wait_for("the mirror to follow", lambda: mirrored(target) >= visible, 120, every=0.5)
    running = [load(topic, count=None, rate=rate, serial=1_000_000).start() for topic in TOPICS]
    time.sleep(10)  # the mirror, its syncs and the group are in their stride
    source.broker(1).kill9()
    for one in [*running, followers["live"]]:
        (one.process if hasattr(one, "process") else one).kill9()
    contender.answer()
    there = records_of(target, list(TOPICS))
    row = {group: standing(followers[group], there, committed(target, group)) for group in GROUPS}
    contender.stop()
    for cluster in (source, target):
        cluster.stop(timeout=0, remove=True)
    return row


def mirrored(target):
    topics = [topic for topic in TOPICS if topic in target.topics()]
    return sum(len(idents) for _, idents in records_of(target, topics).values()) if len(topics) == len(TOPICS) else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=400, help="records a second and topic")
    args = parser.parse_args()
    end_on_signals()
    rows = {}
    try:
        for number in range(args.rounds):
            for contender in (Ferry(), MirrorMaker()):
                folder = run_dir("bench") / f"failover-{contender.name}-{number}"
                row = one_round(contender, folder, args.rate)
                for group, figures in row.items():
                    rows.setdefault((contender.name, group), []).append(figures)
                print(f"round {number + 1} {contender.name:6} (read again, skipped): {row}", flush=True)
    finally:
        end_all()
        remove_run_dirs(BUILD / "run")
    print("\n| contender | group | records read again, median (worst) | skipped |\n|---|---|---|---|")
    for (name, group), figures in rows.items():
        again, skipped = zip(*figures, strict=True)
        print(f"| {name} | {group} | {statistics.median(again):,.0f} ({max(again):,}) | {max(skipped):,} |")


if __name__ == "__main__":
    main()
