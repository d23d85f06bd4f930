"""What may not pass is re-encoded: compacted topics, LogAppendTime, old formats, filters, other codecs, tiny batches.

Every test ends in the same proof: both sides read by somebody else, record by record, and the map in Redis asked for
each record (rig.verify, rig.offsetmap).
"""

import itertools
import json
import random
import time
from collections import Counter

import pytest
from confluent_kafka import Producer

from rig.compacted import COMPACTED, compact, data_batches, fold, holes, produce_keys
from rig.ferry import EXIT_PARTLY
from rig.kafka import KafkaCluster, start_together
from rig.line import Line
from rig.oldformat import message, put_segment, wrapped
from rig.procs import wait_for
from rig.produce import CODECS, KINDS, Load, produce_all_kinds
from rig.records import LOG_APPEND_TIME, Record, build
from rig.wire import RawClient

PASSABLE = [kind for kind in KINDS if kind not in ("stamps", "same")]


@pytest.fixture
def line(own, folder, source, target, redis_server, name):
    """A line over the session's clusters with one topic of its own."""

    def make(partitions=2, config=None, **more):
        topic = f"{name}.t"
        source.create_topic(topic, partitions=partitions, config=config)
        return Line(own, folder, source, target, redis_server, name, [topic], **more)

    return make


@pytest.fixture
def own_line(own, folder, new_redis, name):
    """A line over clusters of this test alone, whose brokers may be stopped and changed."""

    def make(source_props=None, **more):
        source = own(KafkaCluster("source", workdir=folder, props=source_props))
        target = own(KafkaCluster("target", workdir=folder))
        start_together(source, target)
        return source, target, lambda topics: Line(own, folder, source, target, new_redis(), name, topics, **more)

    return make


def recoded(worker, reason):
    return worker.metrics().get("ferry_link_recoded_batches_total", 0, reason=reason)


def counted(cluster, topic):
    return Counter((r.timestamp, r.key, r.value) for b in data_batches(cluster, topic, 1) for r in b.records())


def storm(worker, until, times=6):
    """Killed again and again until it is done."""
    for _ in range(times):
        time.sleep(random.uniform(0.2, 0.7))
        if until():
            break
        worker.kill9()
        worker.start()


# -- compaction ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_compacted_topic_with_killed_workers(own_line):
    """S15: inner holes of all codecs, empty batches, tombstones, headers, transactions with aborts: every record that
    the cleaner left, once, in order, while the worker is killed again and again; key -> value folds to the same
    table."""
    props = {"log.cleaner.backoff.ms": 200, "log.cleaner.delete.retention.ms": 3600000}
    source, target, make = own_line(props)
    source.create_topic("t", partitions=2, config=COMPACTED)
    produce_keys(source.bootstrap, "t", 2)
    compact(source, "t", 2)
    full = [b for b in data_batches(source, "t", 2) if b.count == b.last_offset_delta + 1]
    assert len(holes(source, "t", 2)) >= 8 and full, "the topic is not what the test is about"
    Load(source.bootstrap, "t", "lz4", count=2000, partitions=2, serial=20_000).run()  # an active head, untouched
    one = make(["t"])
    worker = one.worker("w1")
    ends = one.stable_ends()
    storm(worker, lambda: all(one.mirrored_to().get(w, 0) >= e for w, e in ends.items()))
    one.wait_caught_up()
    result = one.prove()
    assert result.records > 2000
    assert fold(source, "t") == fold(target, "t")
    ours = data_batches(target, "t", 2)
    assert all(b.count == b.last_offset_delta + 1 and not b.transactional for b in ours)
    # A position in a hole goes to the next record that is there.
    runs, _ = one.map().runs("t", 0)
    gaps = [(a.source + a.length, b) for a, b in itertools.pairwise(runs) if b.source > a.source + a.length]
    assert len(gaps) > 20
    for first, behind in random.sample(gaps, 5):
        told = one.command.translate(one.service, "t", 0, first)
        assert told["target_offset"] == behind.target, (first, told)


@pytest.mark.long
def test_a_batch_of_another_reading_is_found_by_reading_back(own_line):
    """S4, S15: a worker read a batch before compaction, and dies; another one reads it after. The first one's batch
    arrives when the second one has its place: as many records under the same sequences, so the broker answers the
    second one's with success and drops it. Not one of its records is lost."""
    source, target, make = own_line({"log.cleaner.backoff.ms": 200, "log.cleaner.delete.retention.ms": 3600000})
    source.create_topic("t", partitions=1, config=COMPACTED)
    one = make(["t"])
    one.conf.update(mirror={"session_timeout": "60s"})
    Load(source.bootstrap, "t", "plain", count=100).run()
    worker = one.worker("w1")
    one.wait_caught_up()
    worker.sigstop()
    time.sleep(1)  # the Fetch that it had asked for is answered, with nothing
    now = int(time.time() * 1000)
    with RawClient(source.bootstrap) as raw:
        first = [Record(i, now + i, b"late-%d" % i, b"%d" % i * 20_000, ()) for i in range(10)]
        again = [Record(i, now + 20 + i, b"late-%d" % i, b"again %d" % i * 3_000, ()) for i in range(5)]
        error, begin = raw.produce("t", 0, build(first))
        assert error == 0
        time.sleep(0.3)  # a segment of its own
        assert raw.produce("t", 0, build(again))[0] == 0
    compact(source, "t", 1, least=1)
    left = [r.offset for b in data_batches(source, "t", 1) if b.base_offset == begin for r in b.records()]
    assert left == list(range(begin + 5, begin + 10)), "the topic is not what the test is about"
    with RawClient(target.bootstrap) as raw:
        newest = list(raw.walk("t", 0))[-1]
        ghost = build(
            first[:5], producer_id=newest.producer_id, producer_epoch=0, base_sequence=newest.last_sequence + 1
        )
        assert raw.produce("t", 0, ghost) == (0, newest.next_offset)
    worker.sigcont()
    one.wait_caught_up()
    assert counted(source, "t") <= counted(target, "t"), "records are lost"
    assert counted(target, "t") - counted(source, "t") == Counter((r.timestamp, r.key, r.value) for r in first[:5]), (
        "beside them there are those that were in the late batch"
    )
    (doubt,) = [line for line in worker.events() if "holds other records" in line]
    assert f"source offsets {begin + 5}..{begin + 9}" in doubt, "it was not the batch in question that was dropped"
    assert worker.metrics().sum("ferry_link_read_back_batches_total") > 0
    assert fold(source, "t") == fold(target, "t")
    one.prove_sequences("t")


# -- LogAppendTime, codecs -------------------------------------------------------------------------------------------


def test_log_append_time_keeps_what_consumers_saw(line, source, target):
    one = line(config={"message.timestamp.type": "LogAppendTime"})
    topic = one.topics[0]
    produce_all_kinds(source.bootstrap, topic, 1200, 2, kinds=[*PASSABLE, "stamps"])
    worker = one.worker("w1")
    storm(worker, lambda: False, times=3)
    one.wait_caught_up()
    one.prove()  # timestamps are part of what is compared
    assert all(b.attributes & LOG_APPEND_TIME for b in data_batches(source, topic, 2))
    assert not any(b.attributes & LOG_APPEND_TIME for b in data_batches(target, topic, 2))


@pytest.mark.parametrize(
    "codec", ["zstd", *(pytest.param(c, marks=pytest.mark.long) for c in ("none", *CODECS) if c != "zstd")]
)
def test_the_line_has_a_codec_of_its_own(line, source, target, codec):
    """`compression`: every batch arrives with that codec; the broker, another client and we read the same records."""
    one = line(compression=codec)
    topic = one.topics[0]
    produce_all_kinds(source.bootstrap, topic, 600, 2, kinds=PASSABLE)
    worker = one.worker("w1")
    one.wait_caught_up()
    one.prove()
    assert {b.codec_name for b in data_batches(target, topic, 2)} == {codec}
    assert recoded(worker, "other-codec") > 0
    assert target.topic_config(topic)["compression.type"] == "producer"


# -- filters ---------------------------------------------------------------------------------------------------------


def contents(cluster, topic, partition):
    with RawClient(cluster.bootstrap) as raw:
        return list(raw.committed_records(topic, partition))


def test_filters_by_key_and_header(line, source, target):
    """Records that fail are nowhere on the target, counted by what they fail by; the others are all there, also when
    the worker is killed in the middle; a position at a filtered record goes to the next that is there."""
    wanted = {"key": {"exclude": ["k*7"]}, "headers": {"trace": {"exclude": ["*3"]}}}
    one = line(partitions=1, filter=wanted)
    topic = one.topics[0]
    for seed, kind in enumerate(["headers", "lz4", "transactional", "nulls"]):
        Load(source.bootstrap, topic, kind, count=2500, partition=0, seed=seed + 1).run()
    worker = one.worker("w1")
    storm(worker, lambda: False, times=4)
    one.wait_caught_up()

    def belongs(record):
        key = record.key or b""
        if key.startswith(b"k") and key.endswith(b"7"):
            return False
        return not any(name == "trace" and (value or b"").endswith(b"3") for name, value in record.headers)

    kept = [r for r in contents(source, topic, 0) if belongs(r)]
    there = contents(target, topic, 0)
    assert [r[1:] for r in there] == [r[1:] for r in kept]
    assert len(kept) < 9000 and len(kept) > 5000
    found = one.map()
    for record, copy in random.sample(list(zip(kept, there, strict=True)), 500):
        assert found.translate(topic, 0, record.offset) == copy.offset
    one.prove_sequences(topic)
    dropped = next(r for r in contents(source, topic, 0) if not belongs(r))
    behind = next(n for n, r in enumerate(kept) if r.offset > dropped.offset)
    assert found.translate(topic, 0, dropped.offset) == there[behind].offset
    # `ferry verify` judges by the same filter; by another one it does not know.
    left_out = len(contents(source, topic, 0)) - len(kept)
    result = one.command.json("verify", one.service)
    assert (result["verified"], result["compared"], result["filtered"]) == (True, len(kept), left_out), result
    one.conf.data["services"][one.service]["filter"] = {"key": {"exclude": ["k*8"]}}
    one.conf.write()
    done = one.command.run("verify", one.service, "-o", "json")
    result = json.loads(done.stdout)
    assert done.returncode == EXIT_PARTLY, done.stdout + done.stderr
    assert (result["lost"], result["filtered"], result["unjudged"]) == (0, 0, left_out), result
    assert "another filter" in one.command.run("verify", one.service).stdout.replace("\n   ", "")


def test_a_filter_counts_by_reason(line, source):
    one = line(partitions=1, filter={"key": {"include": ["k1*"]}, "headers": {"trace": {"exclude": ["1?"]}}})
    topic = one.topics[0]
    Load(source.bootstrap, topic, "headers", count=1000, partition=0).run()  # keys k0..k99, trace 0..999
    worker = one.worker("w1")
    one.wait_caught_up()
    metrics = worker.metrics()
    assert metrics.get("ferry_link_filtered_records_total", reason="key") == 890
    assert metrics.get("ferry_link_filtered_records_total", reason="header") == 10
    wait_for(
        "the status to count them",
        lambda: "records filtered since its start: 900 (" in one.command.run("status", one.service).stdout,
        20,
    )


@pytest.mark.long
def test_a_changed_filter_counts_from_where_the_mirror_stands(line, source, target):
    """A new file with another filter: what was mirrored stays, nothing twice, the rest passes the new filter, in a new
    generation of the stream."""
    one = line(partitions=1, filter={"key": {"exclude": ["k1*"]}})
    topic = one.topics[0]
    Load(source.bootstrap, topic, "headers", count=1000, partition=0).run()
    old = one.worker("w1")
    one.wait_caught_up()
    before = contents(target, topic, 0)
    old.kill9()
    one.conf.data["services"][one.service]["filter"] = {"key": {"exclude": ["k2*"]}}
    one.conf.write()
    Load(source.bootstrap, topic, "headers", count=1000, partition=0, serial=1000).run()
    one.worker("w2")
    one.wait_caught_up()
    records = contents(source, topic, 0)
    wanted = [r for r in records[:1000] if not r.key.startswith(b"k1")]
    wanted += [r for r in records[1000:] if not r.key.startswith(b"k2")]
    there = contents(target, topic, 0)
    assert there[: len(before)] == before
    assert [r[1:] for r in there] == [r[1:] for r in wanted]
    assert one.checkpoint(topic).generation == 256, "above all that the filter before could raise to"
    found = one.map()
    for record, copy in zip(wanted, there, strict=True):
        if record.offset >= 1000:
            assert found.translate(topic, 0, record.offset) == copy.offset
    for record, copy in random.sample(list(zip(wanted, there, strict=True)), 10):
        told = one.command.translate(one.service, topic, 0, record.offset)
        assert told["target_offset"] == copy.offset, (record.offset, told)
    done = one.command.run("verify", one.service, "-o", "json")
    assert done.returncode == EXIT_PARTLY, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert (result["compared"], result["lost"], result["foreign"]) == (len(there), 0, 0), result
    assert result["unjudged"] == 1000 - len(before), "what the filter before left out"
    assert result["filtered"] == 1000 - (len(there) - len(before))


# -- small neighbours ------------------------------------------------------------------------------------------------


def one_record_batches(bootstrap, topic, count, partitions, codec="none", serial=0):
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "compression.type": codec,
            "batch.num.messages": 1,
            "linger.ms": 0,
            "queue.buffering.max.messages": 500_000,
        }
    )
    for n in range(count):
        value = b"tiny %d " % (serial + n) + b"x" * 60
        while True:
            try:
                producer.produce(topic, value, b"k%d" % n, partition=n % partitions)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush(120)


@pytest.mark.parametrize("codec", ["none", pytest.param("lz4", marks=pytest.mark.long)])
def test_a_backlog_of_tiny_batches_is_merged(line, source, target, codec):
    """One-record batches that wait become few; killed workers in the middle; each record has its place in the map."""
    one = line(partitions=2)
    topic = one.topics[0]
    one_record_batches(source.bootstrap, topic, 20_000, 2, codec)
    tiny = len(data_batches(source, topic, 2))
    assert tiny > 15_000, "the producer batched"
    worker = one.worker("w1")
    storm(worker, lambda: False, times=4)
    one.wait_caught_up()
    one.prove()
    assert len(data_batches(target, topic, 2)) < tiny / 10


def test_without_merge_everything_passes_unopened(line, source, target):
    one = line(partitions=1, merge=False)
    topic = one.topics[0]
    one_record_batches(source.bootstrap, topic, 3000, 1)
    worker = one.worker("w1")
    one.wait_caught_up()
    one.prove()
    left, right = data_batches(source, topic, 1), data_batches(target, topic, 1)
    assert [b.region_crc for b in left] == [b.region_crc for b in right]
    assert recoded(worker, "small") == 0


def test_ordinary_batches_pass_unopened_where_no_replica_is_waited_for(line, source, target):
    """Merging them costs a copy and two checksums: only where each would wait (test_replicas has the other side)."""
    one = line(partitions=1)
    topic = one.topics[0]
    Load(source.bootstrap, topic, "plain", count=5000, partition=0, size=1000).run()
    one.worker("w1")
    one.wait_caught_up()
    one.prove()
    left, right = data_batches(source, topic, 1), data_batches(target, topic, 1)
    ordinary = {b.region_crc for b in left if 4096 < b.size <= 65536}
    assert len(ordinary) > 100, "no batches of the ordinary size"
    assert ordinary <= {b.region_crc for b in right}


@pytest.mark.long
def test_batches_of_many_transactions_are_merged_over_their_markers(line, source, target):
    one = line(partitions=1)
    topic = one.topics[0]
    Load(source.bootstrap, topic, "transactional", count=1200, partition=0, transaction=3).run()
    one.worker("w1")
    one.wait_caught_up()
    one.prove()
    assert len(data_batches(target, topic, 1)) < len(data_batches(source, topic, 1)) / 4


# -- cut into, broken, old -------------------------------------------------------------------------------------------


def test_a_log_start_inside_a_batch(line, source, target):
    """S14: DeleteRecords cut into a batch before the mirror began: its records from the log's start on."""
    one = line(partitions=1, merge=False)
    topic = one.topics[0]
    Load(source.bootstrap, topic, "lz4", count=5000, partition=0, linger_ms=200).run()
    batch = next(b for b in data_batches(source, topic, 1) if b.base_offset > 0 and b.count > 20)
    source.delete_records(topic, 0, batch.base_offset + 7)
    worker = one.worker("w1")
    one.wait_caught_up()
    one.prove()
    assert recoded(worker, "inside") == 1
    first = data_batches(target, topic, 1)[0]
    assert first.count == batch.count - 7


@pytest.mark.parametrize("way", ["re-encoded", pytest.param("passed", marks=pytest.mark.long)])
def test_a_corrupt_batch_goes_no_further(own_line, way):
    """S18: a flipped bit on the source's disk. Where batches are re-encoded the checksum ends here, and is verified
    first; where they pass the producer's own tells the target. The fault names the batch, everything before it is on
    the target and nothing behind it."""
    source, target, make = own_line(merge=False)
    source.create_topic("t", config={"message.timestamp.type": "LogAppendTime"} if way == "re-encoded" else {})
    Load(source.bootstrap, "t", "plain", count=3000, partition=0).run()
    batches = data_batches(source, "t", 1)
    bad = batches[len(batches) // 2]
    path = next(source.broker(1).partition_dir("t", 0).glob("*.log"))
    data = bytearray(path.read_bytes())
    at = data.find(bad.region[:200])
    data[at + len(bad.region) // 2] ^= 1
    path.write_bytes(data)
    one = make(["t"])
    one.worker("w1")
    found = one.wait_fault("batch-refused", "t", timeout=60)
    assert (found["source_from"], found["source_to"]) == (bad.base_offset, bad.next_offset)
    assert "checksum" in found["what"] + found["hint"], found
    assert one.checkpoint("t").source_next == bad.base_offset
    assert target.offsets("t")[0] == bad.base_offset


def test_a_bomb_is_refused_by_name(line, source):
    """S57: a few kilobytes that decompress to more than may be held: the partition faults, the worker lives."""
    one = line(partitions=2, compression="lz4")
    one.conf.update(mirror={"link_window": "8MiB", "fetch": "1MiB"})
    topic = one.topics[0]
    Load(source.bootstrap, topic, "plain", count=500, partition=1).run()
    producer = Producer(
        {"bootstrap.servers": source.bootstrap, "compression.type": "zstd", "message.max.bytes": 20_000_000}
    )
    producer.produce(topic, b"\x00" * 6_000_000, b"bomb", partition=0)
    assert producer.flush(30) == 0
    worker = one.worker("w1")
    found = one.wait_fault("batch-refused", topic, 0, timeout=60)
    assert "decompresses to more" in found["what"], found
    one.wait_caught_up(partitions=[(topic, 1)])
    assert worker.alive


def old_log():
    """Both formats, plain and compressed, in the order in which a log that was upgraded holds them."""
    t = 1_500_000_000_000
    rows, data, offset = [], b"", 0

    def add(magic, codec, count, append_time=None, gaps=False):
        nonlocal data, offset
        records = []
        for n in range(count):
            key = None if n % 5 == 0 else b"key-%d" % n
            value = None if n % 7 == 3 else b"old %d of format %d in %s " % (offset, magic, codec.encode()) * 3
            records.append((offset, key, value, t + offset))
            offset += 2 if gaps and n % 2 else 1
        for where, key, value, stamp in records:
            seen = -1 if magic == 0 else append_time or stamp
            rows.append((where, seen, key, value))
        if codec == "none":
            data += b"".join(message(o, magic, k, v, s) for o, k, v, s in records)
        else:
            data += wrapped(records, magic, codec, append_time)

    for magic in (0, 1):
        for codec in ("none", "gzip", "snappy", "lz4"):
            add(magic, codec, 40)
    add(1, "gzip", 30, append_time=t + 999_999)
    add(1, "lz4", 30, gaps=True)  # compaction inside of a compressed message
    add(0, "snappy", 30, gaps=True)
    return data, rows


@pytest.mark.long
def test_formats_0_and_1_become_2(own_line):
    """S17: a log that older brokers wrote, in front of one of today's: the same keys, values and times, killed
    workers."""
    source, target, make = own_line()
    source.create_topic("t")
    data, rows = old_log()
    source.stop()
    put_segment(source.broker(1), "t", 0, data)
    source.start()
    Load(source.bootstrap, "t", "lz4", count=500, partition=0).run()
    one = make(["t"])
    worker = one.worker("w1")
    storm(worker, lambda: False, times=3)
    one.wait_caught_up()
    there = contents(target, "t", 0)
    assert [(r.timestamp, r.key, r.value) for r in there[: len(rows)]] == [row[1:] for row in rows]
    assert len(there) == len(rows) + 500
    found = one.map()
    for row, copy in zip(rows, there, strict=False):
        assert found.translate("t", 0, row[0]) == copy.offset
    one.prove_sequences("t")


# -- what resume sees ------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_lost_checkpoint_is_found_by_records(own_line):
    """Redis flushed and the group's commits gone: what was merged and re-encoded is recognised at the source."""
    source, target, make = own_line()
    source.create_topic("t", config={"message.timestamp.type": "LogAppendTime"})
    one = make(["t"])
    one_record_batches(source.bootstrap, "t", 3000, 1)
    worker = one.worker("w1")
    one.wait_caught_up()
    worker.stop()
    one.redis.client.flushall()
    target.admin.delete_consumer_groups([one.group])[one.group].result(30)
    one_record_batches(source.bootstrap, "t", 1000, 1, serial=3000)
    again = one.worker("w2")
    one.wait_copied("t", 0, 4000)
    records = contents(target, "t", 0)
    assert [r[1:] for r in records] == [r[1:] for r in contents(source, "t", 0)]
    assert again.alive
