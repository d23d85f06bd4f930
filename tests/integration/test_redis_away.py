"""Redis goes, hangs, forgets, comes back with yesterday's copy, is told to evict: mirroring never waits for it, nothing
is lost or doubled, and what the map says is exact or "unmapped", never wrong (S31, S32, S33)."""

import contextlib
import json
import random
import threading
import time

import pytest
from redis.exceptions import ResponseError

from rig.line import Line
from rig.procs import wait_for
from rig.produce import Load
from rig.redis import Nodes
from rig.verify import check_map, compare, expected_target

PARTITIONS = 4


@pytest.fixture
def line(own, folder, source, target, new_redis, name):
    """A link with a Redis of its own, which keeps what it was told when it is stopped."""

    def make(topics=1, partitions=PARTITIONS, persistent=True, mirror=None, **more):
        redis = new_redis(persistent=persistent, **more)
        names = [source.create_topic(f"{name}.t{n}", partitions=partitions) for n in range(topics)]
        one = Line(own, folder, source, target, redis, name, names)
        if mirror:
            one.conf.update(mirror=mirror)
        return one

    return make


def start_loads(line, rate=2000, count=None):
    """One that grows steadily, and one with transactions, so that the map has many runs."""
    topic = line.topics[0]
    return [
        Load(line.source.bootstrap, topic, "lz4", count=count, partitions=PARTITIONS, rate=rate).start(),
        Load(
            line.source.bootstrap, topic, "transactional", count=count, partitions=PARTITIONS, rate=400, seed=2,
            transaction=8,
        ).start(),
    ]  # fmt: skip


def stop_loads(loads):
    for load in loads:
        load.stop()


def grown(line):
    return sum(line.target.offsets(line.topics[0], PARTITIONS).values())


def longest_stall(line, seconds):
    """How long the target did not grow, at most, while we watched so many seconds."""
    began = last = time.monotonic()
    before, longest = grown(line), 0.0
    while time.monotonic() - began < seconds:
        time.sleep(0.05)
        now = grown(line)
        if now > before:
            before, last = now, time.monotonic()
        longest = max(longest, time.monotonic() - last)
    return longest


def judge(line, asked=20_000):
    """Nothing lost, nothing doubled; each answer of the map is exact or "unmapped", by our own reading of Redis and by
    the command. Gives the MapCheck."""
    result = compare(line.source.bootstrap, line.target.bootstrap, line.topics)
    assert result.ok, result.text()
    for topic in line.topics:
        line.prove_sequences(topic)
    check = check_map(result, line.map().translate, asked=asked, seed=random.randrange(1 << 30), unmapped_ok=True)
    assert check.ok, check.text()
    for where, (source, target) in result.sides.items():
        for offset in {source.offsets[0], random.choice(source.offsets), source.offsets[-1]}:
            answer = translated(line, *where, offset)
            expected, _ = expected_target(source, target, offset)
            right = answer["verdict"] == "exact" and answer["target_offset"] == expected
            assert right or answer["verdict"] == "unmapped", (where, offset, expected, answer)
    return check


def translated(line, topic, partition, offset):
    done = line.command.run("offsets", "translate", line.service, topic, partition, offset, "-o", "json")
    assert done.returncode in (0, 4), done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert (done.returncode == 4) == (answer["verdict"] == "unmapped"), answer
    return answer


def stop_worker(line):
    for worker in line.workers:
        assert worker.stop() == 0
    line.workers = []


# --- S31: away ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_redis_down_at_the_start(line, source):
    """S31: it begins, goes on from the group's own checkpoint after a restart, and says so; Redis gets its map
    later."""
    one = line()
    one.redis.stop()
    Load(source.bootstrap, one.topics[0], "transactional", count=1000, partitions=PARTITIONS).run()
    worker = one.worker("w1")
    for partition in range(PARTITIONS):
        one.wait_copied(one.topics[0], partition, 100, timeout=20)
    worker.wait_event("map.away")
    wait_for("a second checkpoint", lambda: one.group_checkpoint().source_next > 100, 20, not_yet=(AttributeError,))
    worker.kill9()
    worker.start()
    Load(source.bootstrap, one.topics[0], "transactional", count=1000, partitions=PARTITIONS, seed=2, serial=5000).run()
    for partition in range(PARTITIONS):
        one.wait_copied(one.topics[0], partition, 300, timeout=20)
    worker.wait_event("map.away", count=2)
    one.redis.start()
    one.wait_caught_up()
    judge(one)


@pytest.mark.parametrize("how", ["stopped", "hanging", pytest.param("slow", marks=pytest.mark.long)])
def test_mirroring_never_waits_for_redis(line, how):
    """S31: down for 5 s, deaf for 4 s, late with each answer: the target grows as before, the map is whole later."""
    one = line()
    one.conf.data["sites"]["b"]["redis"]["timeout"] = "5s" if how == "slow" else "1s"
    one.conf.write()
    loads = start_loads(one)
    worker = one.worker("w1")
    one.wait_copied(one.topics[0], 0, 200)
    before = longest_stall(one, 2)
    if how == "stopped":
        one.redis.stop()
        away = longest_stall(one, 5)
        # A rollout waits: a worker that ends now takes the map along that it has kept.
        status, text = worker.get("/readyz")
        assert status == 503 and "not ready: the Redis of b: " in text, text
        one.redis.start()
    elif how == "hanging":
        one.redis.pause()
        away = longest_stall(one, 4)
        one.redis.resume()
    else:
        away = 0.0
        for _ in range(2):
            one.redis.sleep(2)
            away = max(away, longest_stall(one, 2.2))
    stop_loads(loads)
    assert away < max(1.0, 2 * before), f"the target stood still for {away:.1f} s, {before:.1f} s before"
    worker.wait_ready()
    one.wait_caught_up()
    one.prove()


@pytest.mark.long
def test_what_does_not_fit_into_map_memory_is_unmapped(line, source):
    """S31: the oldest of what Redis missed is given up, recorded, and answered with "unmapped"; all else is exact."""
    many = 8
    one = line(topics=4, partitions=many, mirror={"map_memory": "64KiB", "rebuild_rate": 0})
    topic = one.topics[0]

    def runs(count, seed):
        """A record and a marker in each partition, again and again: each is a run."""
        loads = [
            Load(
                source.bootstrap, name, "transactional", count=count * many, partitions=many, transaction=many,
                seed=seed, serial=seed * 100_000,
            ).start()
            for name in one.topics
        ]  # fmt: skip
        for load in loads:
            load.wait()

    runs(20, 1)
    worker = one.worker("w1")
    one.wait_caught_up()
    stored, _ = one.map().runs(topic, 0)
    one.redis.stop()
    worker.wait_event("map.away")
    runs(440, 2)
    one.wait_copied(topic, 0, (20 + 440) * 3 // 4)
    one.redis.start()
    one.wait_caught_up()
    worker.wait_event("map.unmapped")
    runs(21, 3)  # the last transaction is no aborted one
    one.wait_caught_up()
    check = judge(one)
    assert 0 < check.unmapped < check.asked
    stretches = one.map().unmapped(topic, 0)
    known = stored[-1].source + stored[-1].length
    assert stretches and all(first >= known for first, _ in stretches), (known, stretches)
    inside = translated(one, topic, 0, (stretches[0][0] + stretches[-1][1]) // 2)
    assert (inside["verdict"], inside["target_offset"]) == ("unmapped", None)
    assert translated(one, topic, 0, 0)["verdict"] == "exact"
    end = one.checkpoint(topic, 0)
    last = translated(one, topic, 0, end.source_next - 2)
    assert (last["verdict"], last["target_offset"]) == ("exact", end.target_next - 1)


# --- S32: forgotten, or of yesterday ---------------------------------------------------------------------------------


def test_flushed_in_mid_run(line):
    """S32: FLUSHALL, twice: nothing begins anew, and the map is exact again from then on at the latest."""
    one = line(persistent=False)
    loads = start_loads(one)
    one.worker("w1")
    one.wait_copied(one.topics[0], 0, 500)
    for _ in range(2):
        time.sleep(1.5)
        one.redis.flush()
    time.sleep(1.5)
    stop_loads(loads)
    one.wait_caught_up()
    end = one.checkpoint()
    judge(one)
    assert translated(one, one.topics[0], 0, end.source_next)["target_offset"] == end.target_next


def test_an_older_copy_comes_back_in_mid_run(line):
    """S32: Redis is restored from a copy of some seconds ago while a worker goes on mirroring."""
    one = line(persistent=False)
    loads = start_loads(one)
    one.worker("w1")
    one.wait_copied(one.topics[0], 0, 500)
    old = one.redis.snapshot()
    time.sleep(3)
    one.redis.restore(old)
    time.sleep(3)
    stop_loads(loads)
    one.wait_caught_up()
    judge(one)


@pytest.mark.parametrize("what", ["flushed", pytest.param("older", marks=pytest.mark.long)])
def test_changed_while_no_worker_runs(line, source, what):
    """S32: what nobody saw happen: the group's own checkpoint is newer than what Redis says, or the only one."""
    one = line(persistent=False)
    topic = one.topics[0]

    def more(seed):
        Load(
            source.bootstrap, topic, "transactional", count=2000, partitions=PARTITIONS, transaction=16, seed=seed,
            serial=seed * 100_000,
        ).run()  # fmt: skip

    more(1)
    one.worker("w1")
    one.wait_caught_up()
    old = one.redis.snapshot()
    more(2)
    one.wait_caught_up()
    stop_worker(one)
    one.redis.flush() if what == "flushed" else one.redis.restore(old)
    place = one.group_checkpoint()
    more(3)
    one.worker("w2")
    one.wait_caught_up()
    check = judge(one)
    assert check.unmapped < check.asked
    # what was mirrored since stands in the map, whatever Redis had forgotten
    new = translated(one, topic, 0, place.source_next)
    assert (new["verdict"], new["target_offset"]) == ("exact", place.target_next)
    if what == "older":
        assert translated(one, topic, 0, 0)["verdict"] == "exact"


# --- S33: a Redis that may evict -------------------------------------------------------------------------------------


@pytest.mark.long
def test_an_evicting_redis_is_refused_by_name(line, source):
    """S33: at the start and when it is changed later: no map, mirroring goes on, status says why; then the map is
    whole."""
    one = line(options=("--maxmemory-policy", "allkeys-lru"))
    Load(source.bootstrap, one.topics[0], "transactional", count=1000, partitions=PARTITIONS).run()
    worker = one.worker("w1")
    for partition in range(PARTITIONS):
        one.wait_copied(one.topics[0], partition, 100, timeout=20)
    (away, *_) = worker.wait_event("map.away")
    assert "maxmemory-policy allkeys-lru" in away
    assert one.checkpoint() is None, "a map was begun in a Redis that may evict it"

    def said():
        done = one.command.run("status", one.service)
        return "allkeys-lru" in done.stdout and "noeviction" in done.stdout

    wait_for("status to say why there is no map", said, 10)
    assert one.command.run("status", one.service, "--check").returncode == 1
    one.redis.client.config_set("maxmemory-policy", "noeviction")
    one.wait_caught_up()
    wait_for("status to be well", lambda: one.command.run("status", one.service, "--check").returncode == 0, 10)
    one.redis.client.config_set("maxmemory-policy", "allkeys-random")
    worker.wait_event("map.away", count=2)
    Load(source.bootstrap, one.topics[0], "lz4", count=2000, partitions=PARTITIONS, seed=2, serial=9000).run()
    one.wait_copied(one.topics[0], 0, 600)
    one.redis.client.config_set("maxmemory-policy", "noeviction")
    one.wait_caught_up()
    one.prove()


def keep_busy(redis):
    """A script of somebody's that never ends."""
    redis.client.config_set("busy-reply-threshold", 1)
    asked = redis.connect(timeout=60)

    def spin():
        with contextlib.suppress(ResponseError):  # it is killed
            asked.eval("while true do end", 0)

    threading.Thread(target=spin, daemon=True).start()


def load_slowly(redis):
    """It comes back, and reads its file for as long as it takes us: each key waits."""
    for n in range(2000):
        redis.client.set(f"filler:{n}", random.randbytes(1024))
    redis.rewrite()
    redis.options += ["--key-load-delay", 50_000, "--loading-process-events-interval-bytes", 1024]
    redis.stop()
    redis.start(wait=False)


def loaded(redis):
    redis.client.config_set("key-load-delay", 0)
    redis.wait_started()


TROUBLES = {
    # what it answers, what is to be typed, how it begins, how it ends
    "a replica": (
        "READONLY",
        "INFO replication",
        lambda r: r.client.replicaof("127.0.0.1", 1),
        lambda r: r.client.replicaof("no", "one"),
    ),
    "full": (
        "OOM",
        "INFO memory",
        lambda r: r.client.config_set("maxmemory", 1),
        lambda r: r.client.config_set("maxmemory", 0),
    ),
    "a script": ("BUSY", "SCRIPT KILL", keep_busy, lambda r: r.client.script_kill()),
    "loading": ("LOADING", "INFO persistence", load_slowly, loaded),
    "another password": (
        "NOAUTH",
        "ACL LOG",
        lambda r: (r.client.config_set("requirepass", "other"), drop_clients(r)),
        lambda r: r.connect_as("other").config_set("requirepass", ""),
    ),
}


def drop_clients(redis):
    redis.connect_as("other").client_kill_filter(_type="normal", skipme=True)


def says(line, verb, *more):
    """What a command says of the service, without its line ends."""
    return " ".join(line.command.run(verb, line.service, *more).stdout.split())


def live_through(line, answer, next_step, begin, end):
    """A Redis gets into trouble and out of it. Mirroring goes on, by the second checkpoint; log, status, top, readiness
    and metrics say what Redis says, and what to type; behind it the map is whole."""
    loads = start_loads(line)
    worker = line.worker("w1")
    line.wait_copied(line.topics[0], 0, 300)
    wait_for("the map to be kept", lambda: worker.metrics().get("ferry_map_ready") == 1, 20)
    begin()
    before, second = grown(line), line.group_checkpoint().source_next
    assert longest_stall(line, 4) < 1.5
    assert grown(line) > before + 2000
    away = worker.wait_said(answer, next_step, event="map.away", timeout=10)
    assert "mirroring goes on" in away
    assert worker.metrics().get("ferry_map_ready") == 0
    status, ready = worker.get("/readyz")
    assert status == 503 and answer in ready, ready
    for verb, more in (("status", ()), ("top", ("-n", "1"))):
        wait_for(f"{verb} to say it", lambda: answer in says(line, verb, *more), 20, every=0.5)  # noqa: B023
        said = says(line, verb, *more)
        assert next_step in said and "start ferryd" not in said, said
    assert line.command.run("status", line.service, "--check").returncode != 0
    assert answer in says(line, "check")
    wait_for("the second checkpoint to go on", lambda: line.group_checkpoint().source_next > second, 15, every=0.5)
    assert len([row for row in worker.events("map.away") if answer in row]) == 1, "what stays is told once"
    end()
    wait_for("the map to be kept again", lambda: worker.metrics().get("ferry_map_ready") == 1, 15)
    stop_loads(loads)
    line.wait_caught_up()
    line.prove()
    wait_for("status to be well", lambda: line.command.run("status", line.service, "--check").returncode == 0, 15)
    assert worker.get("/readyz")[0] == 200


@pytest.mark.long
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_redis_in_trouble(line, trouble):
    """S33: it answers, and each answer is an error (READONLY, OOM, BUSY, LOADING, NOAUTH)."""
    answer, next_step, begin, end = TROUBLES[trouble]
    one = line()
    live_through(one, answer, next_step, lambda: begin(one.redis), lambda: end(one.redis))


@pytest.mark.long
@pytest.mark.parametrize("answer", ["MOVED", "CLUSTERDOWN"])
def test_a_node_of_a_cluster(own, folder, source, target, new_redis, name, answer):
    """S33: the keys go to another node of a Redis Cluster, and come back; or nobody has them for a while."""
    nodes = Nodes(new_redis)
    topic = source.create_topic(f"{name}.t", partitions=PARTITIONS)
    one = Line(own, folder, source, target, nodes.first, name, [topic])
    slot = nodes.slot(one.key("checkpoints"))
    away_and_back = {
        "MOVED": (
            lambda: nodes.move(slot, nodes.first, nodes.second),
            lambda: nodes.move(slot, nodes.second, nodes.first),
        ),
        "CLUSTERDOWN": (
            lambda: nodes.ask(nodes.first, "DELSLOTS", slot),
            lambda: nodes.ask(nodes.first, "ADDSLOTS", slot),
        ),
    }
    live_through(one, answer, "CLUSTER NODES", *away_and_back[answer])


# --- S34: keys that are not ours -------------------------------------------------------------------------------------

FOREIGN = {"another deployment": ("deployment", "somebody-else"), "a newer schema": ("schema", "99")}


@pytest.mark.long
@pytest.mark.parametrize("what", FOREIGN)
def test_keys_that_are_not_ours(line, source, what):
    """S34: what stands there is named and not overwritten; mirroring goes on by the group's own checkpoint; when it is
    taken away the map is made."""
    field, value = FOREIGN[what]
    one = line()
    client, key = one.redis.client, f"{{{one.service}}}:meta"
    client.delete(key)
    client.hset(key, field, value)
    before = client.dump(key)
    Load(source.bootstrap, one.topics[0], "transactional", count=1000, partitions=PARTITIONS).run()
    worker = one.worker("w1")
    for partition in range(PARTITIONS):
        one.wait_copied(one.topics[0], partition, 100, timeout=20)
    wait_for("it to be named", lambda: f"{field} is {value}" in worker.process.log_text(), 15)
    assert client.dump(key) == before
    client.delete(key)
    one.wait_caught_up()
    one.prove()


def test_a_key_of_another_type(line, source):
    """S34: the checkpoints' key is no hash: a fault that names it, nothing is mirrored past it and nothing overwritten;
    without the key, and with a retry, it begins."""
    one = line()
    client, key = one.redis.client, one.key("checkpoints")
    client.delete(key)
    client.set(key, "somebody's")
    Load(source.bootstrap, one.topics[0], "transactional", count=1000, partitions=PARTITIONS).run()
    one.worker("w1")
    fault = one.wait_fault("garbage")
    assert key in fault["what"] and "WRONGTYPE" in fault["what"], fault
    assert client.get(key) == b"somebody's"
    assert one.command.run("status", one.service).returncode in (0, 3)
    client.delete(key)
    done = one.command.run("fault", "retry", one.service, "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    one.wait_caught_up()
    one.prove()
