"""Kafka's record batches in plain Python: read, check, build, change.

Written from the protocol (KIP-98), with codecs and CRC32C of other people, so that it can judge ours.
"""

import dataclasses
import struct
from typing import NamedTuple

import cramjam
import google_crc32c

HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_BYTES = HEADER.size  # 61
COUNTED_FROM = 21  # the checksum covers everything from the attributes on
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
XERIAL = b"\x82SNAPPY\x00"

TRANSACTIONAL = 0x10
CONTROL = 0x20
LOG_APPEND_TIME = 0x08


class Record(NamedTuple):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple = ()

    def same(self, other):
        """The same record, whatever its offset."""
        return self[1:] == other[1:]


class Corrupt(Exception):
    pass


def varint(data, at):
    """(value, where it ends), zig-zag."""
    shift = value = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7


def put_varint(out, value):
    value = (value << 1) ^ (value >> 63)
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def decompress(codec, data):
    if codec == 0:
        return bytes(data)
    if codec == 1:
        return bytes(cramjam.gzip.decompress(data))
    if codec == 2:
        if bytes(data[:8]) != XERIAL:
            return bytes(cramjam.snappy.decompress_raw(data))
        out, at = [], 16
        while at < len(data):
            (size,) = struct.unpack_from(">i", data, at)
            out.append(bytes(cramjam.snappy.decompress_raw(data[at + 4 : at + 4 + size])))
            at += 4 + size
        return b"".join(out)
    if codec == 3:
        return bytes(cramjam.lz4.decompress(data))
    if codec == 4:
        return bytes(cramjam.zstd.decompress(data))
    raise Corrupt(f"codec {codec}")


def compress(codec, data):
    if codec == 0:
        return bytes(data)
    if codec == 1:
        return bytes(cramjam.gzip.compress(data))
    if codec == 2:
        return bytes(cramjam.snappy.compress_raw(data))
    if codec == 3:
        return bytes(cramjam.lz4.compress(data))
    if codec == 4:
        return bytes(cramjam.zstd.compress(data))
    raise Corrupt(f"codec {codec}")


@dataclasses.dataclass
class Batch:
    base_offset: int = 0
    leader_epoch: int = -1
    magic: int = 2
    crc: int = 0
    attributes: int = 0
    last_offset_delta: int = 0
    base_timestamp: int = 0
    max_timestamp: int = 0
    producer_id: int = -1
    producer_epoch: int = -1
    base_sequence: int = -1
    count: int = 0
    region: bytes = b""  # the records as they are, compressed or not
    crc_ok: bool = True

    @property
    def codec(self):
        return self.attributes & 7

    @property
    def codec_name(self):
        return CODECS[self.codec]

    @property
    def transactional(self):
        return bool(self.attributes & TRANSACTIONAL)

    @property
    def control(self):
        return bool(self.attributes & CONTROL)

    @property
    def last_offset(self):
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self):
        return self.last_offset + 1

    @property
    def last_sequence(self):
        """Sequence of the last record; wraps at 2^31."""
        return (self.base_sequence + self.last_offset_delta) & 0x7FFFFFFF if self.base_sequence >= 0 else -1

    @property
    def region_crc(self):
        return google_crc32c.value(self.region)

    @property
    def size(self):
        return HEADER_BYTES + len(self.region)

    def records(self):
        """Decoded records, offsets absolute."""
        data = decompress(self.codec, self.region)
        out, at = [], 0
        stamp = self.max_timestamp if self.attributes & LOG_APPEND_TIME else None
        for _ in range(self.count):
            size, at = varint(data, at)
            end = at + size
            at += 1  # attributes, unused
            delta, at = varint(data, at)
            offset, at = varint(data, at)
            key, at = _field(data, at)
            value, at = _field(data, at)
            number, at = varint(data, at)
            headers = []
            for _ in range(number):
                name, at = _field(data, at)
                held, at = _field(data, at)
                headers.append((name.decode(), held))
            if at != end:
                raise Corrupt(f"record {self.base_offset + offset}: {at - end} bytes off its length")
            when = self.base_timestamp + delta if stamp is None else stamp
            out.append(Record(self.base_offset + offset, when, key, value, tuple(headers)))
        if at != len(data):
            raise Corrupt(f"batch {self.base_offset}: {len(data) - at} bytes behind its last record")
        return out

    def encode(self):
        """Bytes of the batch, with the checksum that belongs to them."""
        tail = HEADER.pack(
            *(self.base_offset, HEADER_BYTES - 12 + len(self.region), self.leader_epoch, self.magic, 0),
            *(self.attributes, self.last_offset_delta, self.base_timestamp, self.max_timestamp),
            *(self.producer_id, self.producer_epoch, self.base_sequence, self.count),
        )
        self.crc = google_crc32c.value(tail[COUNTED_FROM:] + self.region)
        self.crc_ok = True
        return tail[:17] + struct.pack(">I", self.crc) + tail[COUNTED_FROM:] + self.region

    def with_records(self, records):
        """A batch like this one with other contents; offsets of `records` are absolute."""
        return build(
            records,
            codec=self.codec_name,
            base_offset=self.base_offset,
            last_offset_delta=self.last_offset_delta,
            like=self,
        )


def _field(data, at):
    size, at = varint(data, at)
    if size < 0:
        return None, at
    if at + size > len(data):
        raise Corrupt("a field longer than its batch")
    return bytes(data[at : at + size]), at + size


def _put_field(out, value):
    if value is None:
        put_varint(out, -1)
    else:
        put_varint(out, len(value))
        out += value


def build(records, codec="none", base_offset=0, last_offset_delta=None, like=None, **fields):
    """A batch of these records. `fields` are Batch's: producer_id, producer_epoch, base_sequence, attributes, ..."""
    base = like.base_timestamp if like else records[0].timestamp
    out = bytearray()
    for record in records:
        body = bytearray(b"\x00")
        put_varint(body, record.timestamp - base)
        put_varint(body, record.offset - base_offset)
        _put_field(body, record.key)
        _put_field(body, record.value)
        put_varint(body, len(record.headers))
        for name, held in record.headers:
            _put_field(body, name.encode())
            _put_field(body, held)
        put_varint(out, len(body))
        out += body
    batch = dataclasses.replace(like) if like else Batch()
    batch.base_offset = base_offset
    batch.base_timestamp = base
    batch.max_timestamp = max(r.timestamp for r in records)
    batch.count = len(records)
    batch.last_offset_delta = records[-1].offset - base_offset if last_offset_delta is None else last_offset_delta
    for name, value in fields.items():
        setattr(batch, name, value)
    batch.attributes = batch.attributes & ~7 | CODECS.index(codec)
    batch.region = compress(batch.codec, bytes(out))
    return batch


def batches(data):
    """Walk batches in bytes of a log or of a Fetch answer; a partial one at the end is left out."""
    at = 0
    while at + HEADER_BYTES <= len(data):
        fields = HEADER.unpack_from(data, at)
        end = at + 12 + fields[1]
        if fields[1] < HEADER_BYTES - 12 or fields[3] != 2:
            raise Corrupt(f"no batch of magic 2 at byte {at}: length {fields[1]}, magic {fields[3]}")
        if end > len(data):
            return
        base_offset, _, leader_epoch, magic, crc, *rest = fields
        batch = Batch(base_offset, leader_epoch, magic, crc, *rest, region=bytes(data[at + HEADER_BYTES : end]))
        batch.crc_ok = google_crc32c.value(bytes(data[at + COUNTED_FROM : end])) == crc
        yield batch
        at = end
