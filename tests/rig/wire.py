"""A raw client of one cluster: batches as they lie in the log, epochs, producers' state, and batches sent as built.

Blocking, one socket a broker, non-flexible versions only. For tests and the verifier, not for speed.
"""

import socket
import struct
from typing import NamedTuple

from rig.records import batches

ERRORS = {3: "UNKNOWN_TOPIC_OR_PARTITION", 5: "LEADER_NOT_AVAILABLE", 6: "NOT_LEADER_OR_FOLLOWER"}


class KafkaError(Exception):
    def __init__(self, code, what):
        super().__init__(f"{what}: error {code} {ERRORS.get(code, '')}".rstrip())
        self.code = code


class Aborted(NamedTuple):
    producer_id: int
    first_offset: int


class Fetched(NamedTuple):
    high_watermark: int
    last_stable_offset: int
    log_start: int
    aborted: list
    batches: list


class ProducerState(NamedTuple):
    producer_id: int
    epoch: int
    last_sequence: int
    last_timestamp: int
    coordinator_epoch: int
    current_txn_start: int


class _Reader:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, shape):
        values = struct.unpack_from(">" + shape, self.data, self.at)
        self.at += struct.calcsize(">" + shape)
        return values if len(values) > 1 else values[0]

    def text(self):
        size = self.take("h")
        return None if size < 0 else self.raw(size).decode()

    def raw(self, size):
        out = self.data[self.at : self.at + size]
        self.at += size
        return out

    def blob(self):
        size = self.take("i")
        return b"" if size < 0 else self.raw(size)

    def list(self, one):
        return [one() for _ in range(max(0, self.take("i")))]

    # flexible versions
    def uvarint(self):
        shift = value = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def compact_text(self):
        size = self.uvarint()
        return None if size == 0 else self.raw(size - 1).decode()

    def compact_list(self, one):
        return [one() for _ in range(max(0, self.uvarint() - 1))]

    def tags(self):
        for _ in range(self.uvarint()):
            self.uvarint()
            self.raw(self.uvarint())


def _text(value):
    if value is None:
        return struct.pack(">h", -1)
    data = value.encode()
    return struct.pack(">h", len(data)) + data


def _uvarint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _compact_text(value):
    data = value.encode()
    return _uvarint(len(data) + 1) + data


class Connection:
    """One socket, one request at a time."""

    def __init__(self, address, timeout=30):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation = 0

    def send(self, key, version, body, flexible=False):
        self.correlation += 1
        head = struct.pack(">hhi", key, version, self.correlation) + _text("rig") + (b"\x00" if flexible else b"")
        self.socket.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        return self.correlation

    def receive(self, flexible=False):
        (size,) = struct.unpack(">i", self._exactly(4))
        reader = _Reader(self._exactly(size))
        reader.take("i")
        if flexible:
            reader.tags()
        return reader

    def ask(self, key, version, body, flexible=False):
        self.send(key, version, body, flexible)
        return self.receive(flexible)

    def _exactly(self, size):
        out = bytearray(size)
        view = memoryview(out)
        at = 0
        while at < size:
            got = self.socket.recv_into(view[at:])
            if got == 0:
                raise ConnectionError("the broker closed the connection")
            at += got
        return bytes(out)

    def close(self):
        self.socket.close()


class RawClient:
    def __init__(self, bootstrap, timeout=30):
        self.bootstrap = bootstrap
        self.timeout = timeout
        self.connections = {}
        self.leaders = {}
        self.brokers = {}
        self.cluster_id = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for connection in self.connections.values():
            connection.close()
        self.connections.clear()

    def connection(self, address):
        if address not in self.connections:
            self.connections[address] = Connection(address, self.timeout)
        return self.connections[address]

    def metadata(self, topic):
        """Metadata v5. Remembers leaders; returns {partition: (leader, replicas, in sync)}."""
        body = struct.pack(">i", 1) + _text(topic) + b"\x00"
        reader = self.connection(self.bootstrap.split(",")[0]).ask(3, 5, body)
        reader.take("i")
        for _ in range(reader.take("i")):
            node = reader.take("i")
            host = reader.text()
            port = reader.take("i")
            reader.text()
            self.brokers[node] = f"{host}:{port}"
        self.cluster_id = reader.text()
        reader.take("i")
        out = {}
        for _ in range(reader.take("i")):
            error = reader.take("h")
            name = reader.text()
            reader.take("b")
            if error:
                raise KafkaError(error, f"metadata of {topic}")
            for _ in range(reader.take("i")):
                error, partition, leader = reader.take("hii")
                replicas = reader.list(lambda: reader.take("i"))
                in_sync = reader.list(lambda: reader.take("i"))
                reader.list(lambda: reader.take("i"))
                out[partition] = (leader, replicas, in_sync)
                self.leaders[(name, partition)] = leader
        return out

    def leader(self, topic, partition):
        if (topic, partition) not in self.leaders:
            self.metadata(topic)
        node = self.leaders[(topic, partition)]
        if node < 0:
            self.leaders.pop((topic, partition))
            raise KafkaError(5, f"{topic}-{partition}")
        return self.connection(self.brokers[node])

    def fetch(self, topic, partition, offset, max_bytes=8 << 20, committed=False, wait_ms=0):
        """Fetch v11 without a session: batches as they are."""
        body = struct.pack(">iiiibii", -1, wait_ms, 1, max_bytes, int(committed), 0, -1)
        body += struct.pack(">i", 1) + _text(topic) + struct.pack(">i", 1)
        body += struct.pack(">iiqqi", partition, -1, offset, -1, max_bytes) + struct.pack(">i", 0) + _text("")
        reader = self.leader(topic, partition).ask(1, 11, body)
        _, error, _ = reader.take("ihi")
        if error:
            raise KafkaError(error, "fetch")
        reader.take("i")
        reader.text()
        reader.take("i")
        _, error, high, stable, start = reader.take("ihqqq")
        aborted = reader.list(lambda: Aborted(*reader.take("qq")))
        reader.take("i")
        data = reader.blob()
        if error:
            raise KafkaError(error, f"fetch {topic}-{partition} at {offset}")
        return Fetched(high, stable, start, aborted, list(batches(data)))

    def log_end(self, topic, partition):
        """Behind the last record that the leader has, whether its followers have it or not."""
        return self.offset(topic, partition, replica=-2)

    def offset(self, topic, partition, at=-1, replica=-1):
        """ListOffsets v2: -1 the end (a consumer's: high watermark), -2 the start."""
        body = struct.pack(">ibi", replica, 0, 1) + _text(topic) + struct.pack(">iiq", 1, partition, at)
        reader = self.leader(topic, partition).ask(2, 2, body)
        reader.take("ii")
        reader.text()
        reader.take("i")
        _, error, _, offset = reader.take("ihqq")
        if error:
            raise KafkaError(error, f"offset of {topic}-{partition}")
        return offset

    def epoch_end(self, topic, partition, epoch):
        """OffsetForLeaderEpoch v3: (epoch, end offset) of the newest epoch <= `epoch` that the log still has."""
        body = struct.pack(">ii", -1, 1) + _text(topic) + struct.pack(">iiii", 1, partition, -1, epoch)
        reader = self.leader(topic, partition).ask(23, 3, body)
        reader.take("ii")
        reader.text()
        reader.take("i")
        error, _, found, end = reader.take("hiiq")
        if error:
            raise KafkaError(error, f"epoch {epoch} of {topic}-{partition}")
        return found, end

    def producers(self, topic, partition):
        """DescribeProducers v0: what the leader remembers of each producer id."""
        body = _uvarint(2) + _compact_text(topic) + _uvarint(2) + struct.pack(">i", partition) + b"\x00\x00"
        reader = self.leader(topic, partition).ask(61, 0, body, flexible=True)
        reader.take("i")
        reader.uvarint()
        reader.compact_text()
        reader.uvarint()
        _, error = reader.take("ih")
        reader.compact_text()
        if error:
            raise KafkaError(error, f"producers of {topic}-{partition}")

        def one():
            state = ProducerState(*reader.take("qiiqiq"))
            reader.tags()
            return state

        return reader.compact_list(one)

    def committed(self, group, topic, partition):
        """OffsetFetch v2, asked of the first broker, which must be the coordinator: (offset or -1, metadata)."""
        body = _text(group) + struct.pack(">i", 1) + _text(topic) + struct.pack(">ii", 1, partition)
        reader = self.connection(self.bootstrap.split(",")[0]).ask(9, 2, body)
        reader.take("i")
        reader.text()
        _, _, offset = reader.take("iiq")
        metadata = reader.text()
        error = reader.take("h") or reader.take("h")
        if error:
            raise KafkaError(error, f"offsets of group {group}")
        return offset, metadata

    def join(self, group, protocol_type, session_ms=60000):
        """JoinGroup v2, asked of the first broker, which must be the coordinator: one member of a group whose members
        are no consumers. It sends no heartbeats."""
        body = _text(group) + struct.pack(">ii", session_ms, session_ms) + _text("") + _text(protocol_type)
        body += struct.pack(">i", 1) + _text("rig") + struct.pack(">i", 0)
        reader = self.connection(self.bootstrap.split(",")[0]).ask(11, 2, body)
        reader.take("i")
        error = reader.take("h")
        if error:
            raise KafkaError(error, f"join group {group}")

    def produce(self, topic, partition, batch, timeout_ms=10000, acks=-1):
        """Produce v8: send a batch (or bytes) as it is. Returns (error code, base offset)."""
        data = batch if isinstance(batch, bytes) else batch.encode()
        body = _text(None) + struct.pack(">hii", acks, timeout_ms, 1) + _text(topic)
        body += struct.pack(">iii", 1, partition, len(data)) + data
        reader = self.leader(topic, partition).ask(0, 8, body)
        reader.take("i")
        reader.text()
        reader.take("i")
        _, error, base = reader.take("ihq")
        return error, base

    def walk(self, topic, partition, first=None, until=None):
        """Every batch from `first` (default the start) to below `until` (default the watermark now)."""
        at = self.offset(topic, partition, -2) if first is None else first
        until = self.offset(topic, partition) if until is None else until
        while at < until:
            got = self.fetch(topic, partition, at, wait_ms=500)
            if not got.batches:
                raise KafkaError(0, f"{topic}-{partition}: nothing at {at}, the end is {until}")
            for batch in got.batches:
                if batch.next_offset <= at:
                    continue
                if batch.base_offset >= until:
                    return
                yield batch
                at = batch.next_offset

    def committed_records(self, topic, partition):
        """Records as a read_committed consumer sees them, by our own reading of the aborted list."""
        at = self.offset(topic, partition, -2)
        until = self.offset(topic, partition)
        dropped = set()
        while at < until:
            got = self.fetch(topic, partition, at, committed=True, wait_ms=500)
            if not got.batches:
                return
            aborted = sorted(got.aborted, key=lambda a: a.first_offset)
            for batch in got.batches:
                while aborted and aborted[0].first_offset <= batch.last_offset:
                    dropped.add(aborted.pop(0).producer_id)
                at = batch.next_offset
                if batch.control:
                    dropped.discard(batch.producer_id)
                elif not (batch.transactional and batch.producer_id in dropped):
                    yield from batch.records()
