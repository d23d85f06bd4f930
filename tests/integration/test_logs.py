"""What happens to topics and their logs while they are mirrored: records go below it, transactions hang, sizes do not
fit, partitions come, a target's topic or its tail is gone. Nothing is guessed, and neighbours go on."""

import json
import time

import pytest
from confluent_kafka import Producer

from rig.ferry import EXIT_DONE, EXIT_REFUSED
from rig.groups import commit, committed, kept, record_at
from rig.kafka import KafkaCluster
from rig.line import Line
from rig.procs import wait_for
from rig.produce import Load
from rig.records import Record, build
from rig.verify import compare
from rig.wire import RawClient


@pytest.fixture
def line(own, folder, source, target, redis_server, name):
    """A line over the session's clusters with topics of this test alone; its groups are carried."""

    def make(topics=1, partitions=1, config=None, enable=True, **more):
        names = [source.create_topic(f"{name}.t{n}", partitions=partitions, config=config) for n in range(topics)]
        one = Line(own, folder, source, target, redis_server, name, names, enable=False, **more)
        one.conf.data["services"][name]["groups"] = {"include": [f"{name}.*"]}
        one.conf.write()
        if enable:
            one.command.enable(name)
        return one

    return make


def run(line, count=500, topic=0, kind="plain", seed=1, **more):
    """Serial numbers of seeds do not meet."""
    name = line.topics[topic]
    Load(line.source.bootstrap, name, kind, count=count, seed=seed, serial=seed * 100_000, **more).run()


def wait_group(line, group, where, offset):
    wait_for(f"{group} at {offset}", lambda: committed(line.target, group).get(where) == offset, 20, every=0.1)


def assert_no_fault(line):
    assert not line.redis.client.hgetall(line.key("faults"))


# -- the source's log ------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_records_that_the_source_deletes_keep_their_copies(line, source, target):
    """S14, S11's neighbour: DeleteRecords below the mirror takes nothing from the target and no place from the map; a
    group that had committed there goes on at the very record; no partition stops."""
    one = line()
    topic = one.topics[0]
    run(one, kind="transactional", transaction=7)
    worker = one.worker("w1")
    one.wait_caught_up()
    before = {offset: one.map().translate(topic, 0, offset) for offset in (0, 1, 100, 299, 300, 450)}
    copies = {offset: record_at(target, topic, 0, place) for offset, place in before.items()}
    group = f"{one.service}.g"
    commit(source, group, {(topic, 0): 100})
    wait_group(one, group, (topic, 0), before[100])
    source.delete_records(topic, 0, 300)
    worker.kill9()
    worker.start()
    run(one, seed=2)
    one.wait_caught_up()
    assert_no_fault(one)
    assert target.offsets(topic, spec="begin")[0] == 0
    for offset, place in before.items():
        told = one.command.translate(one.service, topic, 0, offset)
        assert told["target_offset"] == place, (offset, place, told)
        assert record_at(target, topic, 0, place) == copies[offset]
    commit(source, group, {(topic, 0): 450})
    wait_group(one, group, (topic, 0), before[450])
    result = one.command.json("verify", one.service)
    assert result["verified"] and result["forgotten"] > 100, result


def serials(cluster, topic):
    """Of the records that a Load wrote, which begin with SEED/SERIAL."""
    with RawClient(cluster.bootstrap) as raw:
        return [int(record.value.split(b" ")[0].split(b"/")[1]) for record in raw.committed_records(topic, 0)]


@pytest.mark.long
@pytest.mark.parametrize("how", ["slow", "paused"])
def test_retention_passes_a_mirror_that_runs(own, folder, target, redis_server, name, how):
    """S11: the broker's own retention deletes what a slow, or paused, mirror has not copied: never a silent jump to
    what is left, but a fault with the exact range; accepted, nothing but that range is missing."""
    kept_bytes = {"log.segment.bytes": 1 << 20, "log.retention.bytes": 2 << 20, "log.segment.delete.delay.ms": 100}
    props = {"log.retention.check.interval.ms": 300, **kept_bytes}  # the topic's would count at the target, too
    source = own(KafkaCluster("source", workdir=folder, props=props)).start()
    topic = source.create_topic(f"{name}.t")
    limits = {"initial": "256KiB", "steady": "256KiB"} if how == "slow" else {}
    one = Line(own, folder, source, target, redis_server, name, [topic], limits=limits)
    worker = one.worker("w1", wait=True)
    wait_for("it to begin at 0", lambda: one.mirroring(worker) == 1, 20)
    load = Load(source.bootstrap, topic, "plain", count=None, partition=0, size=1000, rate=3000).start()
    one.wait_copied(topic, 0, 100)
    if how == "paused":
        one.command.ok("pause", name, "--yes")
        stands = one.checkpoint().source_next
        wait_for("retention to pass it", lambda: source.offsets(topic, spec="begin")[0] > stands, 60)
        one.command.ok("resume", name)
    one.wait_fault("gap", topic, timeout=60)
    load.stop()
    wait_for("retention to rest", lambda: gap_now(one, source, topic), 30, every=1)
    fault = one.fault()
    gap = range(fault["source_from"], fault["source_to"])
    begin, end = (source.offsets(topic, spec=spec)[0] for spec in ("begin", "end"))
    assert (gap.start, gap.stop) == (target.offsets(topic)[0], begin), fault
    one.command.ok("fault", "accept", name, f"{topic}:0", "--yes")
    one.wait_caught_up()
    assert one.fault() is None
    assert serials(target, topic) == [n for n in range(end) if n not in gap]
    assert one.map().translate(topic, 0, end - 1) == end - 1 - len(gap)


def gap_now(line, source, topic):
    """Its fault names what the source holds now: while records come, retention goes on."""
    begin = source.offsets(topic, spec="begin")[0]
    if line.fault()["source_to"] != begin:
        done = line.command.run("fault", "retry", line.service, f"{topic}:0")
        assert done.returncode == EXIT_REFUSED and "faulted again" in done.stdout, done.stdout + done.stderr
    return line.fault()["source_to"] == begin == source.offsets(topic, spec="begin")[0]


def test_a_hanging_transaction_holds_the_mirror_at_the_stable_end(line, source, target):
    """S16: nothing of an open transaction, and nothing behind it, is at the target; status counts what waits; a restart
    does not get past it; aborted, what stood behind it comes and the aborted records never do."""
    one = line()
    topic = one.topics[0]
    run(one, 100)
    worker = one.worker("w1")
    one.wait_caught_up()
    producer = Producer({"bootstrap.servers": source.bootstrap, "transactional.id": one.service})
    producer.init_transactions(30)
    producer.begin_transaction()
    for n in range(50):
        producer.produce(topic, b"open %d" % n, b"k")
    producer.flush(30)
    run(one, 200, seed=2)
    for _ in range(2):
        time.sleep(1)
        assert source.offsets(topic, committed=True)[0] == 100 and target.offsets(topic)[0] == 100
        worker.kill9()
        worker.start().wait_ready()
    wait_for("status to count what waits", lambda: link_status(one)["lag_records"] == 250, 15)
    text = one.command.run("status", one.service).stdout
    assert "lose at most 250 records" in text and "250 source offsets of 1 partitions wait for open" in text, text
    worker.wait_metric("the lag", lambda m: m.get("ferry_partition_lag_records") == 250, 10)
    producer.abort_transaction(30)
    one.wait_caught_up()
    one.prove()
    assert target.offsets(topic)[0] == 300
    assert_no_fault(one)


def link_status(line):
    (link,) = line.command.status(line.service)["services"][0]["links"]
    return link


@pytest.mark.long
def test_a_transaction_of_a_million_records(line, source, target):
    """S16: a million records become visible at once, and a third of that is aborted: both pass in bounded memory."""
    one = line(partitions=2)
    topic = one.topics[0]
    worker = one.worker("w1", wait=True)
    producer = Producer(
        {
            "bootstrap.servers": source.bootstrap, "transactional.id": one.service, "compression.type": "lz4",
            "transaction.timeout.ms": 300_000, "queue.buffering.max.messages": 500_000, "linger.ms": 20,
        }
    )  # fmt: skip
    producer.init_transactions(30)
    for count, end in ((1_000_000, producer.commit_transaction), (300_000, producer.abort_transaction)):
        producer.begin_transaction()
        for n in range(count):
            while True:
                try:
                    producer.produce(topic, b"%d of %d" % (n, count), b"k%d" % n, n % 2)
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.flush(120)
        end(120)
    run(one, 100, partitions=2)
    one.wait_caught_up(timeout=120)
    result = one.prove(translations=50_000)
    assert result.records == 1_000_100
    assert sum(target.offsets(topic).values()) == 1_000_100
    assert worker.process.rss_bytes() < 300 << 20


@pytest.mark.parametrize("compression", ["zstd", pytest.param("source", marks=pytest.mark.long)])
def test_odd_records_are_the_same_bytes(line, source, compression):
    """S19: null and empty keys and values, headers of one name again and again, empty and null header values, 10,000
    headers: passed and re-encoded."""
    one = line(compression=compression)
    producer = Producer({"bootstrap.servers": source.bootstrap, "linger.ms": 50})
    odd = [(None, None), (b"", b""), (b"", None), (None, b""), (b"\x00\xff", b"\x00" * 3)]
    headers = [[], [("a", b"1"), ("a", b"1"), ("b", None), ("a", b""), ("a", None)], [("", b"no name"), ("é", b"\xff")]]
    headers.append([(f"h{n % 7}", b"%d" % n if n % 3 else None) for n in range(10_000)])
    for names in headers:
        for key, value in odd:
            producer.produce(one.topics[0], value, key, 0, headers=names)
    assert producer.flush(30) == 0
    one.worker("w1")
    one.wait_caught_up()
    result = one.prove()
    assert result.records == len(headers) * len(odd)


@pytest.mark.long
def test_a_batch_beyond_the_targets_segment_stops_and_says_the_remedy(line, source, target):
    """S20: what the target refuses for its size is a fault with its offsets and the setting, not a skip and not a
    request again and again; its neighbour goes on, and the remedy with a retry is the end of it."""
    one = line(partitions=2, enable=False, config={"max.message.bytes": "4000000"})
    topic = one.topics[0]
    target.create_topic(topic, partitions=2, config={"segment.bytes": "1048576"})
    one.command.enable(one.service)
    run(one, 100, partition=0)
    producer = Producer({"bootstrap.servers": source.bootstrap, "message.max.bytes": 4_000_000})
    producer.produce(topic, b"x" * 2_000_000, b"large", 0)
    assert producer.flush(30) == 0
    run(one, 100, partition=0, seed=2)
    run(one, 100, partition=1, seed=3)
    worker = one.worker("w1")
    fault = one.wait_fault("batch-refused", topic, 0)
    assert (fault["source_from"], fault["source_to"]) == (100, 101)
    assert "RECORD_LIST_TOO_LARGE" in fault["what"] and "segment.bytes" in fault["hint"], fault
    one.wait_caught_up(partitions={(topic, 1)})
    time.sleep(1)  # the figures are of the last second
    asked = worker.metrics().sum("ferry_link_produces_total")
    time.sleep(2)
    assert worker.metrics().sum("ferry_link_produces_total") == asked, "it is sent again and again"
    assert target.offsets(topic) == {0: 100, 1: 100}
    target.alter_topic_config(topic, {"segment.bytes": 10 << 20})
    done = one.command.run("fault", "retry", one.service, f"{topic}:0")
    assert done.returncode == EXIT_DONE, done.stdout + done.stderr
    one.wait_caught_up()
    one.prove()


@pytest.mark.long
def test_a_larger_limit_at_the_source_is_followed(line, source, target):
    """S20: the source takes larger records from now on: the target's limit grows with it and nothing is left behind."""
    one = line()
    topic = one.topics[0]
    run(one, 100)
    one.worker("w1")
    one.wait_caught_up()
    source.alter_topic_config(topic, {"max.message.bytes": 5_000_000})
    producer = Producer({"bootstrap.servers": source.bootstrap, "message.max.bytes": 5_000_000})
    producer.produce(topic, b"y" * 3_000_000, b"large", 0)
    assert producer.flush(30) == 0
    run(one, 100, seed=2)

    def retried():
        """When the record was there before the limit it is a fault, whose remedy has come by itself."""
        if one.fault():
            one.command.run("fault", "retry", one.service, f"{topic}:0")
        return one.mirrored_to().get((topic, 0), 0) >= 201

    wait_for("all of it", retried, 30, every=0.5)
    assert int(target.topic_config(topic)["max.message.bytes"]) >= 5_000_000
    one.prove()


# -- the target's topic and its log ----------------------------------------------------------------------------------


@pytest.mark.long
def test_a_target_topic_that_is_deleted_while_it_is_mirrored(line, source, target):
    """S28: its partitions stop by name and their map stands; it comes back as the source has it, never with a broker's
    default of partitions, and holds nothing until an operator says so; the neighbour goes on."""
    one = line(topics=2, partitions=3)
    gone, stays = one.topics
    for n in range(2):
        run(one, 300, topic=n, partitions=3)
    worker = one.worker("w1")
    one.wait_caught_up()
    places = {p: one.checkpoint(gone, p) for p in range(3)}
    target.delete_topic(gone)
    run(one, 300, topic=0, partitions=3, seed=2)
    for partition in range(3):
        fault = one.wait_fault("target-recreated", gone, partition, timeout=40)
        assert "docs/faults.md#target-recreated" in fault["hint"], fault
    run(one, 300, topic=1, partitions=3, seed=2)
    one.wait_caught_up(partitions={(stays, p) for p in range(3)})
    assert target.offsets(gone) == {0: 0, 1: 0, 2: 0}, "mirrored into another topic, or made with other partitions"
    worker.kill9()
    worker.start()
    one.wait_fault("target-recreated", gone, 0)
    assert {p: one.checkpoint(gone, p) for p in range(3)} == places, "the old topic's map goes on"
    for partition in range(3):
        done = one.command.run("fault", "resync", one.service, f"{gone}:{partition}", "--yes")
        assert done.returncode == EXIT_DONE, done.stdout + done.stderr
    one.wait_caught_up()
    one.prove()


@pytest.mark.long
def test_partitions_that_a_hand_adds_at_the_target(line, source, target):
    """S28: more partitions than the source has: keys would go elsewhere after a failover. The topic stops by name, its
    lag counts, its map stands; when the source has as many it goes on without a hand."""
    one = line(partitions=2)
    topic = one.topics[0]
    run(one, 200, partitions=2)
    worker = one.worker("w1")
    one.wait_caught_up()
    target.add_partitions(topic, 4)

    def named():
        text = one.command.run("status", one.service).stdout.replace("\n    ", " ")
        return topic in text and "4" in text and "partitions" in text

    wait_for("status to name it", named, 20)
    worker.wait_metric("it to stop", lambda m: m.get("ferry_link_not_mirrored_topics") == 1, 10)
    wait_for("no partition", lambda: one.mirroring(worker) == 0, 20)
    run(one, 200, partitions=2, seed=2)
    worker.kill9()
    worker.start().wait_healthy()
    wait_for("its lag to count", lambda: link_status(one)["lag_records"] == 200, 15)
    assert one.command.run("status", one.service, "--check").returncode in (1, 2)
    assert target.offsets(topic) == {0: 100, 1: 100, 2: 0, 3: 0}
    source.add_partitions(topic, 4)
    run(one, 200, partitions=4, seed=3)
    one.wait_caught_up()
    assert target.offsets(topic) == {0: 250, 1: 250, 2: 50, 3: 50}
    one.prove()


@pytest.mark.long
def test_a_target_whose_records_are_gone(line, source, target):
    """S29, S14: the target keeps less than the source. What is translated into the part that is gone says so and is
    counted, no group is sent below the log's start, and a worker that starts needs nothing of what is gone, not even
    the last record before its checkpoint."""
    one = line()
    topic, group = one.topics[0], f"{one.service}.g"
    run(one)
    worker = one.worker("w1")
    one.wait_caught_up()
    target.delete_records(topic, 0, 250)
    told = one.command.translate(one.service, topic, 0, 100)
    assert (told["verdict"], told["target_offset"], told["target_begin"]) == ("lost", 250, 250), told
    commit(source, group, {(topic, 0): 100})
    where = (group, topic, 0)

    def lost():  # where the target's logs begin is looked at every 10 s
        entry = one.check_workers() or kept(one).get(where)
        return entry and (entry.verdict, entry.count) == ("lost", 150)

    wait_for("its verdict", lost, 20, every=0.2)
    wait_group(one, group, (topic, 0), 250)
    assert one.command.translate(one.service, topic, 0, 250)["verdict"] == "exact"
    target.delete_records(topic, 0, 500)
    worker.kill9()
    worker.start()
    run(one, 300, seed=2)
    one.wait_caught_up()
    assert_no_fault(one)
    assert target.offsets(topic)[0] == 800
    result = compare(source.bootstrap, target.bootstrap, [topic])
    assert (result.count("lost"), result.count("doubled"), result.count("foreign")) == (500, 0, 0), result.text()
    assert one.map().translate(topic, 0, 500) == 500


def others_at_the_end(target, topic):
    """What somebody else may leave behind our last record: records, an aborted and a committed transaction."""
    rows = [Record(n, int(time.time() * 1000), b"x", b"foreign", ()) for n in range(7)]
    with RawClient(target.bootstrap) as raw:
        assert raw.produce(topic, 0, build(rows))[0] == 0
    producer = Producer({"bootstrap.servers": target.bootstrap, "transactional.id": topic, "linger.ms": 50})
    producer.init_transactions(30)
    for count, end in ((3000, producer.abort_transaction), (1, producer.commit_transaction)):
        producer.begin_transaction()
        for n in range(count):
            producer.produce(topic, b"of another %d" % n * 20, b"k", 0)
        producer.flush(30)
        end(30)


@pytest.mark.parametrize("known", ["nothing", pytest.param("checkpoint", marks=pytest.mark.long)])
def test_a_tail_that_is_not_ours(line, source, target, known):
    """S30: the target's log ends in foreign records, an aborted transaction and control batches. With the checkpoint or
    without any the place behind our last record is found; nothing is sent again."""
    one = line()
    topic = one.topics[0]
    run(one, 2000, kind="transactional", transaction=9)
    worker = one.worker("w1")
    one.wait_caught_up()
    mirrored = target.offsets(topic)[0]
    assert worker.stop() == EXIT_DONE
    one.workers = []
    others_at_the_end(target, topic)
    end = mirrored + 7 + 3000 + 1 + 1 + 1
    # a commit is answered when the coordinator has it; its marker comes to the log later
    wait_for("the last marker", lambda: target.offsets(topic)[0] == end, 20, every=0.1)
    if known == "nothing":
        for key in one.redis.client.scan_iter(match=f"*{{{one.service}}}*"):
            one.redis.client.delete(key)
        target.admin.delete_consumer_groups([one.group])[one.group].result(30)
    run(one, 500, seed=2)
    one.worker("w2")
    one.wait_copied(topic, 0, end + 500)
    one.wait_caught_up()
    assert target.offsets(topic)[0] == end + 500
    result = compare(source.bootstrap, target.bootstrap, [topic])
    assert (result.count("lost"), result.count("doubled"), result.count("order")) == (0, 0, 0), result.text()
    assert result.count("foreign") == 8
    (event,) = one.events("target.foreign_write")
    detail = json.loads(event["detail"])
    assert (detail["target_from"], detail["target_to"]) == (mirrored, end)
    one.prove_sequences(topic)


@pytest.mark.long
def test_a_tail_that_is_deeper_than_the_bound(line, source, target):
    """S30: more of others' records stand behind ours than may be read back: a fault that says so, not a read of the
    whole log, and an order with a greater depth is the way out."""
    one = line()
    topic = one.topics[0]
    one.conf.update(mirror={"resume_read": "1MiB"})
    run(one, 200)
    worker = one.worker("w1")
    one.wait_caught_up()
    assert worker.stop() == EXIT_DONE
    one.workers = []
    producer = Producer({"bootstrap.servers": target.bootstrap, "linger.ms": 50})
    for _ in range(3000):
        producer.produce(topic, b"foreign" * 150, b"k", 0)
    assert producer.flush(30) == 0
    run(one, 100, seed=2)
    one.worker("w2")
    one.wait_fault("too-deep")
    same = one.command.run("fault", "retry", one.service, f"{topic}:0")
    assert same.returncode == EXIT_REFUSED
    done = one.command.run("fault", "retry", one.service, f"{topic}:0", "--depth", "64MiB")
    assert done.returncode == EXIT_DONE, done.stdout + done.stderr
    one.wait_caught_up()
    assert target.offsets(topic)[0] == 3300
    result = compare(source.bootstrap, target.bootstrap, [topic])
    assert (result.count("lost"), result.count("doubled")) == (0, 0), result.text()
