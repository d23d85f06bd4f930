"""One side of a comparison, in a process of its own: every committed record as (offset, digest), to files.

usage: python -m rig.reader BOOTSTRAP FOLDER UNTIL.json TOPIC...

A record is its key, value, headers and timestamp; the digest is of all four. The client is not Ferry's: librdkafka as
confluent-kafka brings it, read_committed, with checksums verified.
"""

import hashlib
import json
import struct
import sys
from array import array
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

DIGEST_BYTES = 12
_HEAD = struct.Struct("<qii").pack


def digest(timestamp, key, value, headers):
    """12 bytes that stand for a record; null and empty differ."""
    head = _HEAD(timestamp, -1 if key is None else len(key), -1 if value is None else len(value))
    state = hashlib.blake2b(head, digest_size=DIGEST_BYTES)
    if key:
        state.update(key)
    if value:
        state.update(value)
    for name, held in headers or ():
        name = name.encode()
        state.update(_HEAD(0, len(name), -1 if held is None else len(held)) + name + (held or b""))
    return state.digest()


def consumer(bootstrap, **more):
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "rig-verify",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "check.crcs": True,
            "auto.offset.reset": "error",
            "queued.max.messages.kbytes": 65536,
            "fetch.wait.max.ms": 50,
            "log_level": 2,
            **more,
        }
    )


def read(bootstrap, topics, until=None):
    """{(topic, partition): (offsets, digests, position)}, to the end or to below until[topic][partition]."""
    client = consumer(bootstrap)
    found = client.list_topics(timeout=20).topics
    out, left = {}, set()
    limits = {}
    for topic in topics:
        if topic not in found:
            continue
        for number in found[topic].partitions:
            where = (topic, number)
            out[where] = (array("q"), bytearray(), [0])
            left.add(where)
            limits[where] = (until or {}).get(topic, {}).get(str(number), 1 << 62)
    client.assign([TopicPartition(t, p, OFFSET_BEGINNING) for t, p in left])
    while left:
        for message in client.consume(5000, 0.2):
            where = (message.topic(), message.partition())
            if where not in left:
                continue
            err = message.error()
            if err is not None:
                if err.code() != KafkaError._PARTITION_EOF:
                    raise SystemExit(f"reading {where[0]}-{where[1]}: {err}")
                out[where][2][0] = message.offset()
                left.discard(where)
                continue
            offset = message.offset()
            if offset >= limits[where]:
                left.discard(where)
                continue
            offsets, digests, position = out[where]
            offsets.append(offset)
            digests += digest(message.timestamp()[1], message.key(), message.value(), message.headers())
            position[0] = offset + 1
    client.close()
    return {where: (offsets, bytes(digests), position[0]) for where, (offsets, digests, position) in out.items()}


def main(bootstrap, folder, until, *topics):
    folder = Path(folder)
    limits = json.loads(Path(until).read_text()) if until != "-" else None
    index = []
    for n, ((topic, partition), (offsets, digests, position)) in enumerate(read(bootstrap, topics, limits).items()):
        (folder / f"{n}.offsets").write_bytes(offsets.tobytes())
        (folder / f"{n}.digests").write_bytes(digests)
        index.append([topic, partition, position])
    (folder / "index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main(*sys.argv[1:])
