"""The rig itself: what other tests stand on must be proven first."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from redis.exceptions import TimeoutError

from rig import records
from rig.kafka import start_together
from rig.offsetmap import unpack
from rig.paths import RIG
from rig.procs import command_name, wait_for
from rig.produce import KINDS, Load, produce_all_kinds
from rig.records import Record, build
from rig.verify import check_map, compare
from rig.wire import KafkaError, RawClient


def copy_raw(source, target, topic, partitions):
    """A stand-in for a mirror: every committed record again, batch by batch, through the raw client."""
    with RawClient(source.bootstrap) as left, RawClient(target.bootstrap) as right:
        for partition in range(partitions):
            kept = list(left.committed_records(topic, partition))
            for at in range(0, len(kept), 500):
                some = [r._replace(offset=n) for n, r in enumerate(kept[at : at + 500])]
                assert right.produce(topic, partition, build(some))[0] == 0


def test_every_kind_is_produced_and_read_back(source, name):
    source.create_topic(name, partitions=2)
    ledgers = produce_all_kinds(source.bootstrap, name, 300, partitions=2)
    assert all(ledger.failed == 0 for ledger in ledgers)
    assert [ledger.aborted for ledger in ledgers if ledger.kind == "transactional"] == [50]
    committed = sum(ledger.committed for ledger in ledgers)
    assert committed == 300 * len(KINDS) - 50
    with RawClient(source.bootstrap) as raw:
        seen = [record for p in range(2) for record in raw.committed_records(name, p)]
        codecs = {batch.codec_name for p in range(2) for batch in raw.walk(name, p)}
        assert all(batch.crc_ok for p in range(2) for batch in raw.walk(name, p))
    assert len(seen) == committed
    assert codecs == set(records.CODECS)
    assert any(record.headers for record in seen)
    assert any(record.key is None for record in seen)
    assert any(record.value is None for record in seen)


def test_both_readers_agree(source, name):
    """librdkafka and our own reading of the log see the same records at the same offsets."""
    source.create_topic(name, partitions=1)
    produce_all_kinds(source.bootstrap, name, 200, partitions=1)
    side = compare(source.bootstrap, source.bootstrap, [name]).sides[name, 0][0]
    with RawClient(source.bootstrap) as raw:
        assert [record.offset for record in raw.committed_records(name, 0)] == list(side.offsets)


@pytest.mark.parametrize("codec", records.CODECS)
def test_batches_survive_decode_and_encode(codec):
    chosen = random.Random(7)
    some = [
        Record(n, 1000 + chosen.randrange(-50, 50), chosen.randbytes(n % 7) or None, chosen.randbytes(n * 3), ())
        for n in range(50)
    ]
    some[3] = some[3]._replace(headers=(("a", b"1"), ("a", None), ("b", b"")))
    data = build(some, codec=codec, producer_id=5, producer_epoch=0, base_sequence=9).encode()
    (batch,) = records.batches(data)
    assert batch.crc_ok and batch.records() == some and batch.encode() == data
    broken = bytearray(data)
    broken[-1] ^= 1
    assert not next(records.batches(bytes(broken))).crc_ok


def test_producer_state_and_sequence(source, name):
    """Raw produce with a chosen producer id: the broker accepts the next sequence only."""
    source.create_topic(name)
    some = [Record(n, 1000 + n, b"k", b"v", ()) for n in range(3)]
    state = {"producer_id": 4611686018427387905, "producer_epoch": 0}
    with RawClient(source.bootstrap) as raw:
        assert raw.produce(name, 0, build(some, base_sequence=7, **state)) == (0, 0)
        assert raw.produce(name, 0, build(some, base_sequence=7, **state)) == (0, 0)
        assert raw.produce(name, 0, build(some, base_sequence=11, **state))[0] == 45
        assert raw.produce(name, 0, build(some, base_sequence=10, **state)) == (0, 3)
        (producer,) = raw.producers(name, 0)
        assert (producer.producer_id, producer.last_sequence) == (state["producer_id"], 12)


@pytest.mark.long
def test_a_killed_broker_comes_back_with_its_records(new_cluster, name):
    cluster = new_cluster("one")
    cluster.create_topic(name)
    Load(cluster.bootstrap, name, count=500, partition=0).run()
    cluster.broker(1).kill9()
    assert not cluster.broker(1).alive
    cluster.broker(1).start()
    wait_for("the records", lambda: cluster.offsets(name)[0] == 500)
    cluster.broker(1).sigstop()
    cluster.broker(1).sigcont()
    assert cluster.broker(1).restart().alive
    cluster.wait_offsets(name, {0: 500})


@pytest.mark.long
def test_truncated_records_are_gone_and_the_epoch_tells(new_cluster, name):
    """What an unclean election leaves: a shorter log, and OffsetForLeaderEpoch that says so."""
    cluster = new_cluster("one")
    cluster.create_topic(name)
    for serial in range(0, 300, 50):
        Load(cluster.bootstrap, name, count=50, partition=0, serial=serial).run()
    with RawClient(cluster.bootstrap) as raw:
        epoch = max(batch.leader_epoch for batch in raw.walk(name, 0))
        assert raw.epoch_end(name, 0, epoch) == (epoch, 300)
    cluster.broker(1).stop()
    end = cluster.broker(1).truncate(name, 0, 210)
    assert 0 < end <= 210
    cluster.broker(1).start()
    cluster.wait_offsets(name, {0: end})
    Load(cluster.bootstrap, name, count=30, partition=0, serial=1000).run()
    with RawClient(cluster.bootstrap) as raw:
        found = raw.epoch_end(name, 0, epoch)
        assert found == (epoch, end)
        assert max(batch.leader_epoch for batch in raw.walk(name, 0)) > epoch
        values = [record.value for record in raw.committed_records(name, 0)]
    assert len(values) == end + 30 and values[-1].startswith(b"1/1029 ")


def test_a_follower_may_stop(new_cluster, name):
    """Two brokers: with the follower stopped the watermark stands still, and the leader knows more than it shows."""
    cluster = new_cluster("two", brokers=2, props={"replica.lag.time.max.ms": 60000})
    cluster.create_topic(name, assignment=[[1, 2]])
    cluster.wait_offsets(name, {0: 0})
    some = [Record(n, 1000 + n, b"k", b"v", ()) for n in range(3)]
    state = {"producer_id": 4611686018427387906, "producer_epoch": 0}
    with RawClient(cluster.broker(1).address) as raw:
        assert raw.produce(name, 0, build(some, base_sequence=0, **state)) == (0, 0)
        cluster.broker(2).sigstop()
        assert raw.produce(name, 0, build(some, base_sequence=3, **state), timeout_ms=500)[0] == 7
        assert raw.producers(name, 0)[0].last_sequence == 5
        assert raw.offset(name, 0) == 3
        cluster.broker(2).sigcont()
        wait_for("the watermark", lambda: raw.offset(name, 0) == 6)


def test_compare_says_equal(source, target, name):
    for cluster in (source, target):
        cluster.create_topic(name, partitions=2)
    produce_all_kinds(source.bootstrap, name, 400, partitions=2)
    copy_raw(source, target, name, 2)
    result = compare(source.bootstrap, target.bootstrap, [name])
    assert result.ok, result.text()
    assert result.records == 400 * len(KINDS) - 100

    def translate(topic, partition, offset):
        left, right = result.sides[topic, partition]
        here = [n for n, o in enumerate(left.offsets) if o >= offset]
        return right.offsets[here[0]] if here else right.position

    check = check_map(result, translate, asked=300)
    assert check.ok and check.in_holes > 50, check.text()
    assert not check_map(result, lambda t, p, o: o, asked=300).ok


DAMAGES = {
    "lose": ("lost", lambda rs: rs[:4] + rs[5:]),
    "double": ("doubled", lambda rs: [*rs[:5], rs[4], *rs[5:]]),
    "swap": ("order", lambda rs: [*rs[:4], rs[5], rs[4], *rs[6:]]),
    "flip": ("differing", lambda rs: [*rs[:4], rs[4]._replace(value=b"?" + rs[4].value[1:]), *rs[5:]]),
    "foreign": ("foreign", lambda rs: [*rs[:4], rs[4]._replace(value=b"somebody else's"), *rs[4:]]),
}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
def test_compare_names_one_damaged_record(source, target, name, damage, large, monkeypatch):
    """One record among many; both ways to compare give the same name and the exact offset."""
    if large:
        monkeypatch.setattr("rig.verify.DIFF_EXACT", 0)
    kind, harm = DAMAGES[damage]
    name = f"{damage}-{large}"
    for cluster in (source, target):
        cluster.create_topic(name)
    some = [Record(n, 1000 + n, b"k", b"value %d" % n, ()) for n in range(40)]
    with RawClient(source.bootstrap) as left, RawClient(target.bootstrap) as right:
        assert left.produce(name, 0, build(some)) == (0, 0)
        harmed = [record._replace(offset=n) for n, record in enumerate(harm(some))]
        assert right.produce(name, 0, build(harmed)) == (0, 0)
    result = compare(source.bootstrap, target.bootstrap, [name])
    assert [finding.kind for finding in result.findings] == [kind], result.text()
    (finding,) = result.findings
    assert {finding.source_offset, finding.target_offset} & {4, 5}
    assert kind in result.text()


def test_compare_takes_a_shorter_target_as_behind_only_when_asked(source, target, name):
    for cluster in (source, target):
        cluster.create_topic(name)
    some = [Record(n, 1000 + n, b"k", b"value %d" % n, ()) for n in range(40)]
    with RawClient(source.bootstrap) as left, RawClient(target.bootstrap) as right:
        left.produce(name, 0, build(some))
        right.produce(name, 0, build(some[:30]))
    result = compare(source.bootstrap, target.bootstrap, [name], prefix=True)
    assert result.ok and len(result.behind) == 10
    assert compare(source.bootstrap, target.bootstrap, [name]).count("lost") == 10


@pytest.mark.long
def test_a_stopped_brokers_log_can_be_changed(new_cluster, name):
    """Swap two records and flip a byte on disk: the broker serves what is there."""
    left, right = new_cluster("left", start=False), new_cluster("right", start=False)
    start_together(left, right)
    some = [Record(n, 1000 + n, b"k", b"value %d" % n, ()) for n in range(20)]
    for cluster in (left, right):
        cluster.create_topic(name)
        with RawClient(cluster.bootstrap) as raw:
            assert raw.produce(name, 0, build(some, codec="zstd")) == (0, 0)

    def swap(batch):
        rs = batch.records()
        rs[6], rs[7] = rs[7]._replace(offset=6), rs[6]._replace(offset=7)
        return batch.with_records(rs)

    right.broker(1).stop()
    assert right.broker(1).rewrite(name, 0, swap) == 1
    right.broker(1).start()
    right.wait_offsets(name, {0: 20})
    result = compare(left.bootstrap, right.bootstrap, [name])
    assert [finding.kind for finding in result.findings] == ["order"], result.text()


def test_redis_can_be_paused_flushed_and_put_back(new_redis):
    redis = new_redis()
    redis.client.set("a", 1)
    copy = redis.snapshot()
    redis.client.set("a", 2)
    redis.restore(copy)
    assert redis.client.get("a") == b"1"
    redis.pause()
    with pytest.raises(TimeoutError):
        redis.connect(timeout=0.3).get("a")
    redis.resume()
    wait_for("redis", redis.client.ping)
    redis.flush()
    assert redis.client.get("a") is None
    redis.kill9()
    redis.start()


def test_the_documented_form_of_a_map_entry():
    """One entry of three runs and one of one: starts, lengths, gaps."""
    runs = unpack(
        [
            (b"1-0", {b"r": bytes([0, 0, 100, 2, 0, 50, 1, 3])}),
            (b"301-293", {b"r": bytes([7, 0])}),
        ]
    )
    assert [(run.source, run.target, run.length) for run in runs] == [
        (0, 0, 100),
        (102, 100, 50),
        (153, 153, 140),
        (300, 293, None),
    ]


PARENT = """
import os, signal, sys, threading, time
from pathlib import Path
from rig.procs import Process, end_on_signals
end_on_signals(grace=float(sys.argv[2]))
child = Process("sleep", ["sleep", "100"], Path(sys.argv[1]) / "log").start()
print(child.pid, flush=True)
"""


def parent_of_one(folder, body, grace=60):
    """A process with one child, that goes on with `body`; and the child's id."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT + textwrap.dedent(body), str(folder), str(grace)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": str(RIG.parent)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background has it ignored
    )
    return parent, int(parent.stdout.readline())


def ends_with_its_child(parent, child):
    try:
        status = parent.wait(10)
    finally:
        parent.kill()
    wait_for("the child to end", lambda: command_name(child) is None, 10)
    return status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_no_child_outlives_us(folder, number):
    """A killed parent takes its children along; an interrupted one too."""
    parent, child = parent_of_one(folder, "time.sleep(100)")
    os.kill(parent.pid, number)
    assert ends_with_its_child(parent, child) == (-number if number == signal.SIGKILL else 128 + number)


# What a signal may meet, all of which went on, or slept on, before.
MOMENTS = {
    "heard-by-another-thread": """
        def kill():
            time.sleep(0.3)
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        threading.Thread(target=kill, daemon=True).start()
        time.sleep(100)
        """,
    "where-exceptions-are-dropped": """
        class Dropping:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.3)
        Dropping()
        time.sleep(100)
        """,
    "twice": """
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(100)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.3)
            os._exit(143)
        """,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_ends_us_whenever_it_comes(folder, moment):
    assert ends_with_its_child(*parent_of_one(folder, MOMENTS[moment])) == 143


def test_a_parent_that_cannot_leave_is_ended(folder):
    """Cleaning up that never comes to its end, or a thread that nobody told to."""
    body = """
        threading.Thread(target=time.sleep, args=[100]).start()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(100)
        """
    began = time.monotonic()
    assert ends_with_its_child(*parent_of_one(folder, body, grace=1)) == 143
    assert time.monotonic() - began >= 1


def test_a_signal_ends_the_session_of_tests(folder):
    """Of a SystemExit pytest fails the test that it meets, and begins the next one."""
    (folder / "test_two.py").write_text(
        textwrap.dedent("""
            import os, signal, time
            from rig.procs import end_on_signals
            end_on_signals()
            def test_one():
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(100)
            def test_two():
                pass
            """)
    )
    (folder / "pytest.ini").write_text("[pytest]\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)],
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ | {"PYTHONPATH": str(RIG.parent)},
    )
    assert ran.returncode == pytest.ExitCode.INTERRUPTED
    assert "test_one" in ran.stdout and "test_two PASSED" not in ran.stdout


def test_a_parent_killed_while_it_starts_children_leaves_none(folder):
    """Death comes at any moment: before a child has asked for the signal of its parent's end, too."""
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from rig.procs import Process
        print("going", flush=True)
        while True:
            Process("sleep", ["sleep", sys.argv[1]], Path(sys.argv[2]) / "log").start()
    """)
    mark = f"{100 + random.random():.12f}"  # by its words alone a child is known
    for _ in range(25):
        argv = [sys.executable, "-c", program, mark, str(folder)]
        parent = subprocess.Popen(argv, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(RIG.parent)})
        parent.stdout.readline()
        time.sleep(random.uniform(0, 0.05))
        parent.kill()
        parent.wait(10)
        wait_for("the children to end", lambda: not pids_of(mark), 3)


def pids_of(word):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if word in open(f"/proc/{pid}/cmdline").read().split("\0"):
                found.append(int(pid))
        except OSError:
            continue
    return found


def test_the_raw_client_names_errors(source, name):
    with RawClient(source.bootstrap) as raw, pytest.raises(KafkaError) as caught:
        raw.offset(name, 0)
    assert caught.value.code == 3


@pytest.mark.alone
@pytest.mark.long
def test_two_million_records_are_compared_within_a_minute(source, target, name):
    for cluster in (source, target):
        cluster.create_topic(name, partitions=8)
        for partition in range(8):
            Load(cluster.bootstrap, name, "same", count=250_000, size=1000, partition=partition, codec="lz4").run()
    began = time.monotonic()
    result = compare(source.bootstrap, target.bootstrap, [name])
    assert result.ok and result.records == 2_000_000, result.text()
    assert time.monotonic() - began < 60
