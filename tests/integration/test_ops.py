"""What an operator has around ferryd: reload, metrics, alerts, installation."""

import json
import signal
import threading
import time

from rig.line import Line
from rig.procs import wait_for
from rig.records import Record, build
from rig.wire import RawClient

# -- reload ---------------------------------------------------------------------------------------------------------


def hang_up(worker, event, count=1):
    worker.process.signal(signal.SIGHUP)
    return worker.wait_event(event, count, timeout=10)[-1]


def write(cluster, topic, count=5, partition=0):
    some = [Record(n, int(time.time() * 1000), b"k%d" % n, b"v%d" % n, ()) for n in range(count)]
    with RawClient(cluster.bootstrap) as raw:
        wait_for("the source to take it", lambda: raw.produce(topic, partition, build(some))[0] == 0, 10)


class Trickle:
    """One record each 20 ms to a topic, until it is left."""

    def __init__(self, cluster, topic):
        self.cluster, self.topic = cluster, topic
        self.going = True
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while self.going:
            write(self.cluster, self.topic, 1)
            time.sleep(0.02)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.going = False
        self.thread.join()


class LongestSilence:
    """How long a topic of the target stood still, at most."""

    def __init__(self, cluster, topic):
        self.cluster, self.topic = cluster, topic
        self.going, self.longest = True, 0.0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        last, moved = -1, time.monotonic()
        while self.going:
            end = self.cluster.offsets(self.topic)[0]
            now = time.monotonic()
            if end != last:
                last, moved = end, now
            self.longest = max(self.longest, now - moved)
            time.sleep(0.02)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.going = False
        self.thread.join()


def include(line, *topics):
    line.conf.data["services"][line.service]["topics"]["include"] = list(topics)
    line.conf.write()


def test_a_topic_that_a_reload_adds_flows_and_others_do_not_stop(own, folder, source, target, redis_server, name):
    old, new = f"{name}.old", f"{name}.new"
    for topic in (old, new):
        source.create_topic(topic)
        write(source, topic)
    line = Line(own, folder, source, target, redis_server, name, [old])
    worker = line.worker("w1", wait=True)
    line.wait_caught_up()
    with Trickle(source, old), LongestSilence(target, old) as silence:
        include(line, old, new)
        assert "changes=1" in hang_up(worker, "ferryd.reloaded")
        line.topics = [old, new]
        line.wait_caught_up(timeout=30, partitions={(new, 0)})
    assert silence.longest < 2, "the topic that was there before stood still"
    line.wait_caught_up()
    line.prove()
    (changed,) = worker.events("config.changed")
    assert f"services.{name}.topics.include" in changed and new in changed
    metrics = worker.metrics()
    assert metrics["ferry_config_reloads_total", {"result": "taken"}] == 1
    assert metrics["ferry_config_last_reload_successful"] == 1


def test_a_topic_that_a_reload_takes_away_stops(own, folder, source, target, redis_server, name):
    keep, drop = f"{name}.keep", f"{name}.drop"
    for topic in (keep, drop):
        source.create_topic(topic)
        write(source, topic)
    line = Line(own, folder, source, target, redis_server, name, [keep, drop])
    worker = line.worker("w1", wait=True)
    line.wait_caught_up()
    include(line, keep)
    hang_up(worker, "ferryd.reloaded")
    wait_for("the partition to be given back", lambda: line.mirroring(worker) == 1, 20)
    write(source, drop)
    write(source, keep)
    line.wait_caught_up(partitions={(keep, 0)})
    assert target.offsets(drop)[0] == 5
    # A file that is put back counts as an older one, until its revision says otherwise: nothing stops meanwhile.
    include(line, keep, drop)
    why = hang_up(worker, "ferryd.not_reloaded")
    assert "revision" in why and f"services.{name}" in why
    write(source, keep)
    line.wait_caught_up(partitions={(keep, 0)})
    line.conf.data["services"][name]["revision"] = 1
    line.conf.write()
    hang_up(worker, "ferryd.reloaded", 2)
    line.wait_caught_up()
    line.prove()


def test_a_broken_file_changes_nothing(own, folder, source, target, redis_server, name):
    source.create_topic(name)
    write(source, name)
    line = Line(own, folder, source, target, redis_server, name, [name])
    worker = line.worker("w1", wait=True)
    good = line.conf.path.read_text()
    line.conf.path.write_text(good.replace('"home"', '"hom"'))
    where = next(n for n, text in enumerate(line.conf.path.read_text().splitlines(), 1) if '"hom"' in text)
    why = hang_up(worker, "ferryd.not_reloaded")
    assert f"{line.conf.path}:{where}:" in why and f"services.{name}" in why
    # One key that needs a restart: the others are not taken over either.
    data = json.loads(good)
    data["log_level"] = "debug"
    data["mirror"] = {"fetch": "8MiB", "resume_read": "2GiB"}
    line.conf.path.write_text(json.dumps(data))
    why = hang_up(worker, "ferryd.not_reloaded", 2)
    assert "mirror.fetch" in why and "restart" in why and "resume_read" not in why
    assert not worker.events("config.changed")
    assert worker.metrics()["ferry_config_last_reload_successful"] == 0
    # Without it they are.
    data["mirror"].pop("fetch")
    line.conf.path.write_text(json.dumps(data))
    assert "changes=2" in hang_up(worker, "ferryd.reloaded")
    wait_for("lines of the new level", lambda: " debug " in worker.process.log_text(), 10)
    write(source, name)
    line.wait_caught_up()
    line.prove()


def test_one_worker_after_the_other_is_reloaded(own, folder, source, target, redis_server, name):
    topics = [f"{name}.{n}" for n in range(4)]
    for topic in topics:
        source.create_topic(topic)
        write(source, topic)
    line = Line(own, folder, source, target, redis_server, name, topics[:3])
    workers = [line.worker("w1", wait=True), line.worker("w2", wait=True)]
    line.wait_caught_up()
    include(line, *topics)
    line.topics = topics
    for worker in workers:
        hang_up(worker, "ferryd.reloaded")
    line.wait_caught_up()
    for topic in topics:
        write(source, topic)
    line.wait_caught_up()
    line.prove()
