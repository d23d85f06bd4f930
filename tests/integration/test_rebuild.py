"""Stretches of the map that were given up or forgotten are rebuilt from the two logs: "unmapped" becomes "exact", in
both directions, while mirroring goes on and through kill -9 (design 5)."""

import json
import random
import signal

import pytest
from confluent_kafka import Producer

from rig.line import Line
from rig.procs import wait_for
from rig.produce import Load
from rig.verify import check_map, compare

PARTITIONS = 8
MANY = 64  # partitions whose lists together do not fit into the least map_memory


@pytest.fixture
def line(own, folder, source, target, new_redis, name):
    """A link with a Redis of its own; `rate`: mirror.rebuild_rate."""

    def make(rate, partitions=PARTITIONS, **mirror):
        topic = source.create_topic(f"{name}.t", partitions=partitions)
        one = Line(own, folder, source, target, new_redis(persistent=True), name, [topic])
        one.conf.update(mirror={"rebuild_rate": rate, **mirror})
        return one

    return make


def holes(line, count, seed, partitions=PARTITIONS, size=100):
    """In each partition a record, an aborted one, a record ...: each record that is mirrored is a run of its own."""
    topic = line.topics[0]
    plain = Producer({"bootstrap.servers": line.source.bootstrap, "linger.ms": 0})
    aborts = Producer(
        {"bootstrap.servers": line.source.bootstrap, "linger.ms": 0, "transactional.id": f"{topic}-{seed}"}
    )
    aborts.init_transactions(30)
    aborts.begin_transaction()
    for n in range(count):
        for producer in (plain, aborts):
            for partition in range(partitions):
                producer.produce(topic, f"{seed}-{n}".ljust(size, "."), key=f"{partition}", partition=partition)
            assert producer.flush(30) == 0
    aborts.abort_transaction(30)


def set_rate(line, worker, rate):
    line.conf.data["mirror"]["rebuild_rate"] = rate
    line.conf.write()
    worker.process.signal(signal.SIGHUP)
    worker.wait_event("ferryd.reloaded")


def wait_rebuilt(line, timeout=60):
    """Nothing is left, as Redis itself says."""

    def there():
        line.check_workers()
        found = line.map()
        return all(found.left(topic, partition) == 0 for topic, partition in found.checkpoints())

    wait_for("the map to be rebuilt", there, timeout, every=0.1)


def translated(line, partition, offset, *options):
    done = line.command.run(
        "offsets", "translate", line.service, line.topics[0], partition, offset, *options, "-o", "json"
    )
    assert done.returncode in (0, 4), done.stdout + done.stderr
    return json.loads(done.stdout)


def judge(line, asked=20_000):
    """Nothing lost, nothing doubled; no offset is unmapped; a sample by the command, in both directions, by content."""
    result = compare(line.source.bootstrap, line.target.bootstrap, line.topics)
    assert result.ok, result.text()
    check = check_map(result, line.map().translate, asked=asked, seed=random.randrange(1 << 30))
    assert check.ok, check.text()
    for where, (source, target) in random.sample(sorted(result.sides.items()), min(3, len(result.sides))):
        n = random.randrange(len(source))
        there = translated(line, where[1], source.offsets[n])
        assert (there["verdict"], there["target_offset"]) == ("exact", target.offsets[n]), (where, n, there)
        back = translated(line, where[1], target.offsets[n], "--from-target")
        assert (back["verdict"], back["source_offset"]) == ("exact", source.offsets[n]), (where, n, back)
    return result


def check_shown_runs(line, result, partition=0):
    """`ferry offsets map` tells every record of a partition, in order, and nothing else."""
    done = line.command.run("offsets", "map", line.service, f"{line.topics[0]}:{partition}", "--limit", 0, "-o", "json")
    assert done.returncode == 0, done.stderr
    shown = [
        (run["source_first"] + n, run["target_first"] + n)
        for run in json.loads(done.stdout)["runs"]
        for n in range(run["length"])
    ]
    source, target = result.sides[line.topics[0], partition]
    assert shown == list(zip(source.offsets, target.offsets, strict=True))


def overflow(line, worker, away=250):
    """Runs beyond map_memory while Redis is stopped; it is back when this returns."""
    line.redis.stop()
    worker.wait_event("map.away")
    end = sum(line.target.offsets(line.topics[0], MANY).values())
    holes(line, away, 2, MANY)
    wanted = end + away * MANY
    wait_for(
        "the target to have it all",
        lambda: sum(line.target.offsets(line.topics[0], MANY).values()) >= wanted,
        30,
        every=0.1,
    )
    line.redis.start()
    worker.wait_event("map.unmapped")
    holes(line, 1, 3, MANY)
    line.wait_caught_up()


@pytest.mark.long
def test_what_did_not_fit_is_rebuilt(line):
    """Redis away, more runs than map_memory holds: unmapped until the logs were read, then exact; status says both."""
    one = line(0, MANY, map_memory="64KiB")
    holes(one, 5, 1, MANY)
    worker = one.worker("w1")
    one.wait_caught_up()
    overflow(one, worker)
    first, end = one.map().unmapped(one.topics[0], 0)[0]
    inside = translated(one, 0, (first + end) // 2)
    assert (inside["verdict"], inside["target_offset"]) == ("unmapped", None)
    wait_for(
        "status to tell", lambda: "source offsets are unmapped" in one.command.run("status", one.service).stdout, 15
    )
    left = worker.metrics().get("ferry_map_unmapped_offsets")
    assert left == sum(one.map().left(one.topics[0], partition) for partition in range(MANY)) > 0
    set_rate(one, worker, "8MiB")
    wait_rebuilt(one)
    result = judge(one)
    check_shown_runs(one, result)
    wait_for("the figures", lambda: worker.metrics().get("ferry_map_unmapped_offsets") == 0, 10)
    metrics = worker.metrics()
    assert metrics.get("ferry_map_rebuilt_offsets_total") == left
    assert metrics.get("ferry_map_unmapped_stopped_offsets") == 0
    wait_for("status to tell", lambda: "unmapped" not in one.command.run("status", one.service).stdout, 15)


def again(line, worker):
    """Another process: it holds none of what was stored before it came."""
    assert worker.stop() == 0
    return worker.start()


@pytest.mark.long
def test_a_flushed_map_is_rebuilt_while_mirroring_goes_on(line):
    """S32: FLUSHALL in the middle: nobody knows where the map began, and it is whole again."""
    one = line("8MiB")
    holes(one, 60, 1)
    worker = one.worker("w1")
    one.wait_caught_up()
    again(one, worker)
    live = Load(
        one.source.bootstrap, one.topics[0], "lz4", count=None, partitions=PARTITIONS, rate=1000, serial=5_000_000
    ).start()
    wait_for("records to come", lambda: one.checkpoint().source_next > 150, 20)
    one.redis.flush()
    worker.wait_event("map.rebuilt", count=PARTITIONS, timeout=30)
    one.redis.flush()  # also what was rebuilt
    worker.wait_event("map.rebuilt", count=2 * PARTITIONS, timeout=30)
    live.stop()
    one.wait_caught_up()
    wait_rebuilt(one)
    check_shown_runs(one, judge(one))


@pytest.mark.long
def test_a_flush_is_seen_by_partitions_at_rest(line):
    """Nothing comes that would tell the store: the position is there again, and so is the map."""
    one = line("8MiB")
    holes(one, 30, 1)
    worker = one.worker("w1")
    one.wait_caught_up()
    again(one, worker)
    one.wait_shared(PARTITIONS)
    one.redis.flush()
    one.wait_caught_up(timeout=40)
    worker.wait_event("map.rebuilt", count=PARTITIONS)
    check_shown_runs(one, judge(one))


def forget(line, worker):
    """Redis was flushed while no worker ran: only the group's own checkpoint is left."""
    assert worker.stop() == 0
    line.redis.flush()
    worker.start().wait_event("map.unmapped")
    line.wait_caught_up()


def test_flushed_while_no_worker_runs(line):
    """What was mirrored before comes back too."""
    one = line("8MiB")
    holes(one, 60, 1)
    worker = one.worker("w1")
    one.wait_caught_up()
    holes(one, 20, 2)
    forget(one, worker)
    wait_rebuilt(one)
    check_shown_runs(one, judge(one))


@pytest.mark.long
def test_kill_9_while_rebuilding(line):
    """It goes on where it was: what was stored stays, and the rest is what is read."""
    one = line(0, partitions=1)
    holes(one, 700, 1, partitions=1, size=2000)
    worker = one.worker("w1")
    one.wait_caught_up()
    forget(one, worker)
    set_rate(one, worker, "400KiB")
    where = (one.topics[0], 0)
    key = f"{one.map().base}:rebuilt:{where[0]}:0:{one.checkpoint().incarnation}"
    wait_for("a first block", lambda: one.redis.client.zcard(key) > 0, 30, every=0.02)
    for _ in range(2):
        worker.kill9()
        before = set(one.redis.client.zrange(key, 0, -1))
        assert one.map().left(*where) > 0, "it was over before it was killed"
        worker.start()
        wait_for("a block more", lambda now=before: set(one.redis.client.zrange(key, 0, -1)) > now, 30, every=0.02)
    wait_rebuilt(one)
    assert set(one.redis.client.zrange(key, 0, -1)) >= before
    check_shown_runs(one, judge(one))


def test_records_that_the_source_deleted_stay_unmapped(line):
    """Retention at the source: what it still holds is exact, the rest says unmapped, and status says why."""
    one = line(0, partitions=1)
    holes(one, 400, 1, partitions=1)
    worker = one.worker("w1")
    one.wait_caught_up()
    forget(one, worker)
    result = compare(one.source.bootstrap, one.target.bootstrap, one.topics)
    assert result.ok, result.text()
    one.source.delete_records(one.topics[0], 0, 300)
    set_rate(one, worker, "8MiB")
    (line_of_log,) = worker.wait_event("map.rebuild_stopped", timeout=30)
    assert "source's log begins at offset 300" in line_of_log
    assert translated(one, 0, 200)["verdict"] == "unmapped"
    check = check_map(result, one.map().translate, asked=2000, unmapped_ok=True)
    assert check.ok and 0 < check.unmapped < check.asked, check.text()
    assert one.map().translate(one.topics[0], 0, 300) is not None
    wait_for("status to tell", lambda: "stay unmapped" in one.command.run("status", one.service).stdout, 15)
