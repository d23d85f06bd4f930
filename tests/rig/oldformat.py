"""Message sets of formats 0 and 1 (Kafka before 0.11), written from the protocol: what old segments hold.

segment = message(0, 1, b"k", b"v", 1700000000000) + wrapped([...], codec="gzip", ...)
put_segment(broker, "t", 0, segment)        of a stopped broker: its whole log
"""

import struct
import zlib

import cramjam

CODECS = ("none", "gzip", "snappy", "lz4")
LOG_APPEND_TIME = 8


def message(offset, magic, key, value, timestamp=None, codec="none", append_time=False):
    attributes = CODECS.index(codec) | (LOG_APPEND_TIME if append_time else 0)
    body = struct.pack(">bb", magic, attributes)
    if magic == 1:
        body += struct.pack(">q", timestamp)
    for field in (key, value):
        body += struct.pack(">i", -1) if field is None else struct.pack(">i", len(field)) + field
    body = struct.pack(">I", zlib.crc32(body)) + body
    return struct.pack(">qi", offset, len(body)) + body


def wrapped(records, magic, codec, append_time=None):
    """One compressed message of records (offset, key, value, timestamp): absolute offsets inside in format 0, relative
    ones in format 1. `append_time`: the broker's time, over the producer's."""
    first, last = records[0][0], records[-1][0]
    inner = b"".join(
        message(offset - first if magic == 1 else offset, magic, key, value, stamp)
        for offset, key, value, stamp in records
    )
    stamp = append_time if append_time is not None else max(r[3] for r in records)
    value = _compress(codec, inner, magic)
    return message(last, magic, None, value, stamp, codec, append_time is not None)


def _compress(codec, data, magic):
    if codec == "gzip":
        return bytes(cramjam.gzip.compress(data))
    if codec == "snappy":  # the Java library's frames
        block = bytes(cramjam.snappy.compress_raw(data))
        return b"\x82SNAPPY\x00" + struct.pack(">iii", 1, 1, len(block)) + block
    packer = cramjam.lz4.Compressor(block_linked=False)  # Kafka's reader knows independent blocks alone
    packer.compress(data)
    frame = bytearray(packer.finish())
    if magic == 0:  # KAFKA-3160: the header's checksum was made over the magic too; any other byte is as wrong
        frame[14 if frame[4] & 8 else 6] ^= 0x5A
    return bytes(frame)


def put_segment(broker, topic, partition, data):
    """The partition's first segment becomes `data`; what the broker derived from it is made anew."""
    assert not broker.alive, "stop the broker first"
    folder = broker.partition_dir(topic, partition)
    for path in folder.iterdir():
        if path.suffix in (".index", ".timeindex", ".txnindex", ".snapshot", ".log"):
            path.unlink()
    (folder / f"{0:020}.log").write_bytes(data)
    (broker.logs / ".kafka_cleanshutdown").unlink(missing_ok=True)
    for path in broker.logs.glob("*-checkpoint"):
        if path.name in ("recovery-point-offset-checkpoint", "replication-offset-checkpoint"):
            path.unlink()
