"""Between Ferry and the brokers stands a line that crumbles, holds, cuts and lies (rig.proxy), or loses packets
(rig.netns): what comes out is the same records once, or nothing yet; memory is bounded, and it goes on by itself."""

import contextlib
import itertools
import random
import resource
import socket
import struct
import time

import pytest

from rig import netns
from rig.kafka import KafkaCluster, start_together
from rig.line import Line
from rig.procs import wait_for
from rig.produce import Load
from rig.proxy import BOTH, FETCH, PRODUCE

MIB = 1 << 20


@pytest.fixture
def line(own, folder, source, target, redis_server, name, doors):
    """A line whose worker reaches both sites through their doors; the command and the judges come in directly."""

    def make(partitions=2, **more):
        topic = source.create_topic(f"{name}.t", partitions=partitions)
        one = Line(own, folder, source, target, redis_server, name, [topic], **more)
        one.through = one.conf.copy(folder / "through")
        for site, door, cluster in (("a", doors[0], source), ("b", doors[1], target)):
            one.through.data["sites"][site] |= door.site(cluster)
        one.through.write()
        one.near, one.far = doors[0].proxy(1), doors[1].proxy(1)
        return one

    return make


def load(line, count=2000, seed=1, kind="lz4", rate=None):
    one = Load(
        line.source.bootstrap, line.topics[0], kind, count=count, partitions=2, seed=seed, serial=seed * 100_000,
        rate=rate,
    )  # fmt: skip
    return one.run() if rate is None else one.start()


# -- pieces ----------------------------------------------------------------------------------------------------------


def test_answers_in_crumbs(line):
    """S56: the first 200 bytes of each answer of both sites come one by one, the rest in pieces of any size."""
    one = line()
    one.near.crumble = one.far.crumble = 200
    load(one)
    load(one, kind="transactional", seed=2)
    one.worker("w1", conf=one.through)
    one.wait_caught_up()
    one.prove()
    assert one.near.count and one.far.count, "nobody came through the doors"


def test_a_bit_flips_on_the_way(line):
    """S18: a batch of the source arrives damaged, once. Nobody forwards it: it is fetched again, and no partition
    stops."""
    one = line(merge=False)
    flipped = []

    def flip(api, body):
        if api == FETCH and len(body) > 2000 and not flipped:
            flipped.append(len(body))
            body = bytearray(body)
            body[len(body) // 2] ^= 4
        return bytes(body)

    one.near.change = flip
    load(one, kind="plain")
    one.worker("w1", conf=one.through)
    one.wait_caught_up()
    one.prove()
    assert len(flipped) == 1
    assert not one.redis.client.hgetall(one.key("faults"))


@pytest.mark.long
def test_answers_are_lost_behind_the_append(line):
    """S24, S25: the broker has appended, and the connection is cut in the place of its answer, again and again: the
    same batch is never there twice, and no run of the map is wrong."""
    one = line()
    cut = []

    def lose(api, body):
        if api == PRODUCE and len(cut) < 6 and random.random() < 0.5:
            cut.append(len(body))
            return None
        return body

    one.far.change = lose
    worker = one.worker("w1", conf=one.through)
    loading = load(one, count=6000, rate=3000)
    loading.wait()
    one.wait_caught_up()
    one.prove()
    assert len(cut) >= 3
    assert worker.metrics().sum("ferry_link_doubts_total") >= 3
    assert one.checkpoint().generation == 0, "a lost answer is no other stream"


# -- lies ------------------------------------------------------------------------------------------------------------


def frame(length, body=b""):
    return b"RAW:" + struct.pack(">i", length) + body


def put(body, at, data):
    return body[:at] + data + body[at + len(data) :]


LIES = {
    "a frame of 2 GiB": lambda body: frame(0x7FFFFFFF, body),
    "a negative length": lambda body: frame(-5, body),
    "an empty frame": lambda body: frame(0),
    "an answer to nobody": lambda body: put(body, 0, b"\x7f\x01\x02\x03"),
    "half of it": lambda body: body[: len(body) // 2],
    "more behind it": lambda body: body + b"\x00" * 100,
    "ones": lambda body: body[:8] + b"\xff" * (len(body) - 8),
    "zeros": lambda body: body[:8] + b"\x00" * (len(body) - 8),
    "large counts": lambda body: put(body, 9, b"\xff\xff\xff\xff\x0f" * 4) if len(body) > 40 else body,
    "noise": lambda body: body[:4] + random.randbytes(len(body) - 4),
}


@pytest.mark.long
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_broker_that_lies(line, side):
    """S57: lengths that are negative or huge, counts without end, noise: each lie costs the connection. Memory does not
    follow what is claimed, the worker lives, and when the lies end everything is there once."""
    one = line()
    load(one)
    worker = one.worker("w1", conf=one.through)
    one.wait_caught_up()
    before = worker.process.rss_bytes()
    proxy = one.near if side == "source" else one.far
    lies = itertools.cycle(LIES.items())
    told = []

    def lie(api, body):
        if random.random() < 0.5:
            return body
        name, made = next(lies)
        told.append((name, api))
        return made(body)

    proxy.spares = True  # a Metadata answer whose list of brokers is null ends librdkafka 2.14.2 (qsort of -1 elements)
    proxy.change = lie
    loading = load(one, count=4000, rate=1000, seed=2)
    most = 0
    deadline = time.monotonic() + 8
    while (len(told) < 40 or time.monotonic() < deadline - 4) and time.monotonic() < deadline:
        worker.process.check()
        most = max(most, worker.process.rss_bytes())
        time.sleep(0.05)
    proxy.change = None
    loading.wait()
    assert {name for name, _ in told} == set(LIES), told
    assert most < before + 64 * MIB, f"{before >> 20} MiB before, {most >> 20} MiB while it was lied to"
    one.wait_caught_up()
    one.prove()
    assert "assert" not in worker.process.log_text().lower()


@pytest.mark.long
def test_an_old_answer_comes_again(line):
    """S57: offsets go back: a Fetch answer of before is given for the next one. Nothing of it is mirrored twice."""
    one = line(partitions=1)
    old = []
    again = []

    def repeat(api, body):
        if api == FETCH and len(body) > 1000:
            old.append(body)
        if api == FETCH and len(old) > 2 and len(again) < 5:
            again.append(1)
            return body[:4] + old[0][4:]
        return body

    one.near.change = repeat
    one.worker("w1", conf=one.through)
    for seed in range(1, 8):
        Load(
            one.source.bootstrap, one.topics[0], "plain", count=100, partitions=1, seed=seed, serial=seed * 1000
        ).run()  # fmt: skip
        time.sleep(0.2)
    one.wait_caught_up()
    one.prove()
    assert len(again) == 5
    assert not one.redis.client.hgetall(one.key("faults"))


# -- half lines, resets ----------------------------------------------------------------------------------------------


@pytest.mark.long
def test_resets_without_end(line):
    """S55: every connection of both sites is reset again and again under load."""
    one = line()
    worker = one.worker("w1", conf=one.through)
    loading = load(one, count=6000, rate=2000)
    for _ in range(10):
        time.sleep(0.25)
        one.near.reset()
        one.far.reset()
    loading.wait()
    one.wait_caught_up(timeout=30)
    one.prove()
    assert "assert" not in worker.process.log_text().lower()


@pytest.mark.long
def test_out_of_descriptors(line):
    """S7: connections are lost when the process may open no other: it says so, waits without spinning, and goes on when
    it may again."""
    one = line()
    worker = one.worker("w1", conf=one.through)
    loading = load(one, count=4000, rate=1000)
    one.wait_copied(one.topics[0], 0, 100)
    most = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (5, most[1]))
    one.near.reset()
    one.far.reset()
    before = worker.process.cpu_seconds()
    time.sleep(3)
    worker.process.check()
    assert worker.process.cpu_seconds() - before < 1.5, "it spins"
    assert "Too many open files" in worker.process.log_text()
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, most)
    loading.wait()
    one.wait_caught_up(timeout=30)
    one.prove()


@pytest.mark.long
@pytest.mark.parametrize("what", ["source answers", "target answers", "target requests", "both"])
def test_half_a_line_for_thirty_seconds(line, what):
    """S55: connections stand and nothing comes through, one way or both ways, for longer than any time-out and the
    group's session. It goes on by itself within seconds of the healing, and nothing is there twice."""
    one = line()
    loading = load(one, count=None, rate=500)
    worker = one.worker("w1", conf=one.through)
    one.wait_copied(one.topics[0], 0, 200)
    if what == "both":
        one.near.held = one.far.held = BOTH
    else:
        side, direction = what.split()
        (one.near if side == "source" else one.far).held = {direction}
    time.sleep(30)
    worker.process.check()
    ends = one.source.offsets(one.topics[0])
    behind = sum(ends.values()) - sum(one.target.offsets(one.topics[0]).values())
    assert behind > 8000, "it was not held"
    one.near.held = one.far.held = set()
    healed = time.monotonic()
    wait_for(
        "the target to have what the source had then",
        lambda: all(one.target.offsets(one.topics[0])[p] >= end for p, end in ends.items()),
        45,
        every=0.1,
    )
    took = time.monotonic() - healed
    ledger = loading.stop()
    print(f"\n{what} held for 30 s: caught up {took:.1f} s after it was whole")
    assert took < 30
    one.wait_caught_up()
    assert one.prove().records == ledger.committed


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.root
def test_a_far_line_that_loses_packets(own, folder, new_redis, name):
    """S55: 200 ms there and back, 2 % of the packets lost, and 30 s in which nothing comes back: what it carries is
    less, it never stands still for long but for those, and every record is there once."""
    far = own(netns.FarLine(100, 20e6, loss=0.02)).__enter__()
    source, target = start_together(
        own(KafkaCluster("source", workdir=folder, place=far.a)),
        own(KafkaCluster("target", workdir=folder, place=far.b)),
    )
    target.warm_coordinators()
    topic = source.create_topic("t", partitions=4)
    one = Line(own, folder, source, target, None, name, [topic])
    loading = Load(source.bootstrap, topic, "lz4", count=None, partitions=4, rate=1000).start()
    one.worker("w1", place=far.b)
    one.wait_copied(topic, 0, 500, timeout=60)

    def longest_silence(seconds):
        began = moved = time.monotonic()
        end, longest = -1, 0.0
        while time.monotonic() - began < seconds:
            now = sum(target.offsets(topic).values())
            if now != end:
                end, moved = now, time.monotonic()
            longest = max(longest, time.monotonic() - moved)
            time.sleep(0.1)
        return longest

    lossy = longest_silence(30)
    far.drop("a to b")
    time.sleep(30)
    far.drop(None)
    healed = time.monotonic()
    end = source.offsets(topic)
    wait_for(
        "the target to catch up",
        lambda: all(target.offsets(topic)[p] >= end[p] for p in end),
        90,
        every=0.2,
    )
    print(f"\nlongest silence with losses {lossy:.1f} s; caught up {time.monotonic() - healed:.1f} s after the drop")
    ledger = loading.stop()
    assert lossy < 10
    wait_for("the last records", lambda: sum(target.offsets(topic).values()) >= ledger.committed, 60, every=0.2)
    one.prove()


# -- HTTP ------------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_http_floods_do_not_reach_the_mirroring(line, source):
    """S58: more connections than it takes, slow ones, long ones, paths that climb: they are served or cut, mirroring
    does not notice, and names of topics neither break a line nor meet."""
    one = line()
    names = [f"{one.service}.a-b", f"{one.service}.a_b"]  # to some a dot and an underscore are one
    for topic in names:
        source.create_topic(topic)
        Load(source.bootstrap, topic, count=50, partition=0).run()
    one.conf.data["services"][one.service]["topics"]["include"] = [*one.topics, *names]
    one.conf.write()
    one.topics += names
    worker = one.worker("w1", wait=True)
    loading = load(one, count=None, rate=1000)
    one.wait_copied(one.topics[0], 0, 100)
    address = ("127.0.0.1", worker.port)
    with contextlib.ExitStack() as stack:
        for n in range(400):
            with contextlib.suppress(OSError):
                sock = socket.create_connection(address, 1)
                stack.callback(sock.close)
                with contextlib.suppress(OSError):
                    sock.sendall((b"GET /metrics HTTP/1.1\r\nX-Slow: ", b"GET /" + b"x" * MIB, b"")[n % 3])
        ends, longest, moved = -1, 0.0, time.monotonic()
        until = time.monotonic() + 3
        while time.monotonic() < until:
            now = sum(one.target.offsets(one.topics[0]).values())
            if now != ends:
                ends, moved = now, time.monotonic()
            longest = max(longest, time.monotonic() - moved)
            time.sleep(0.02)
        assert longest < 1, f"the mirroring stood still for {longest:.1f} s"
        assert worker.process.rss_bytes() < 200 * MIB
    loading.stop()
    wait_for("it to serve again", lambda: worker.get("/healthz")[0] == 200, 20)
    for path in ("/../../etc/passwd", "//etc/passwd", "/metrics/..%2f..%2fetc/passwd", "/%00"):
        assert worker.get(path)[0] in (400, 404), path
    one.wait_caught_up()
    rows = worker.metrics().all("ferry_partition_records_total")
    assert {labels["topic"] for labels, _ in rows} == set(one.topics)
    assert [value for labels, value in rows if labels["topic"] in names] == [50, 50]
    one.prove()
