"""Ferry's offset map decoded straight from Redis, by its documented form (offsets/README.md), without Ferry's code."""

import bisect
import dataclasses


@dataclasses.dataclass
class Run:
    source: int
    target: int
    length: int | None  # None: open, ends at the checkpoint


@dataclasses.dataclass
class Checkpoint:
    source_topic_id: str
    target_topic_id: str
    generation: int
    source_next: int
    target_next: int
    sequence_next: int
    leader_epoch: int
    time_ms: int

    @classmethod
    def parse(cls, text):
        version, source, target, *numbers = text.split(" ")
        assert version == "v1" and len(numbers) == 6, f"checkpoint {text!r}"
        return cls(source, target, *map(int, numbers))

    @property
    def incarnation(self):
        return f"{self.source_topic_id[:16]}.{self.target_topic_id[:16]}.{self.generation}"


def _uvarints(data):
    out, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            out.append(value)
            value = shift = 0
    assert shift == 0, "an entry ends within a number"
    return out


def unpack(entries):
    """Runs of a stream's entries [(id, {b"r": packed})], oldest first; the last one is open."""
    return unpack_behind(entries)[0]


def unpack_behind(entries):
    """The same, and where the first run begins to be known: None when something stood before it that is not there."""
    runs, known_from = [], 0
    for identity, fields in entries:
        first, target = (int(part) for part in identity.decode().split("-"))
        source = first - 1
        numbers = _uvarints(fields[b"r"])
        assert len(numbers) % 3 == 2, f"entry {identity}: {len(numbers)} numbers"
        source_gap, target_gap, *rest = numbers
        if runs:
            last = runs[-1]
            last.length = source - source_gap - last.source
            assert last.length == target - target_gap - last.target > 0, f"entry {identity}: its gaps do not fit"
        elif source_gap or target_gap:
            known_from = source
        runs.append(Run(source, target, None))
        for at in range(0, len(rest), 3):
            length, source_gap, target_gap = rest[at : at + 3]
            runs[-1].length = length
            source += length + source_gap
            target += length + target_gap
            runs.append(Run(source, target, None))
    return runs, known_from


@dataclasses.dataclass
class Piece:
    """Runs of an unmapped stretch, rebuilt from the logs: offsets/offset_piece.h."""

    begin: int  # source offsets
    until: int
    until_target: int
    runs: list
    unknown: list  # per run: is the gap before it unmapped?
    tail_unknown: bool

    @classmethod
    def parse(cls, member):
        *numbers, packed = member.split(b" ", 9)
        begin, begin_target, until, until_target, first, target, last, unknown, tail = map(int, numbers)
        runs = []
        if packed:
            runs, _ = unpack_behind([(f"{first + 1}-{target}".encode(), {b"r": packed})])
            runs[-1].length = last
            source_gap, target_gap = _uvarints(packed)[:2]
            assert (first - source_gap, target - target_gap) == (begin, begin_target), member
        return cls(begin, until, until_target, runs, [bool(unknown >> n & 1) for n in range(len(runs))], bool(tail))

    def translate(self, offset):
        """Target offset; None: unmapped."""
        n = bisect.bisect_right([run.source for run in self.runs], offset) - 1
        if n >= 0 and offset < self.runs[n].source + self.runs[n].length:
            return self.runs[n].target + offset - self.runs[n].source
        if n + 1 == len(self.runs):
            return None if self.tail_unknown else self.until_target
        return None if self.unknown[n + 1] else self.runs[n + 1].target


class RedisMap:
    """Translates as a reader of the documentation would: RedisMap(client, service, source site, target site)."""

    def __init__(self, client, service, source, target, prefix=""):
        self.client = client
        self.base = f"{prefix}{{{service}}}:{source}>{target}"
        self.cache = {}

    def checkpoints(self):
        """{(topic, partition): Checkpoint}."""
        out = {}
        for field, text in self.client.hgetall(f"{self.base}:checkpoints").items():
            topic, partition = field.decode().rsplit(":", 1)
            out[topic, int(partition)] = Checkpoint.parse(text.decode())
        return out

    def incarnations(self, topic, partition):
        """Stream keys of a partition's maps, rebuilt stretches left out."""
        start = f"{self.base}:map:{topic}:{partition}:"
        found = self.client.scan_iter(match=_literal(start) + "*", count=1000)
        return sorted(key.decode() for key in found if ":" not in key.decode()[len(start) :])

    def runs(self, topic, partition):
        """Closed runs of the newest incarnation, oldest first."""
        runs, checkpoint, _ = self._read(topic, partition)
        return runs, checkpoint

    def _read(self, topic, partition):
        checkpoint = self.checkpoints()[topic, partition]
        key = f"{self.base}:map:{topic}:{partition}:{checkpoint.incarnation}"
        runs, known_from = unpack_behind(self.client.xrange(key))
        if runs:
            last = runs[-1]
            last.length = min(checkpoint.source_next - last.source, checkpoint.target_next - last.target)
        return runs, checkpoint, known_from

    def unmapped(self, topic, partition):
        """[(first, end)] of source offsets whose runs could not be kept, of the newest incarnation, ascending."""
        incarnation = self.checkpoints()[topic, partition].incarnation
        out = []
        for member in self.client.smembers(f"{self.base}:unmapped:{topic}:{partition}"):
            owner, first, _, end, _ = member.decode().split(" ")
            if owner == incarnation:
                out.append((int(first), int(end)))
        return sorted(out)

    def pieces(self, topic, partition):
        """Of the newest incarnation, ascending."""
        incarnation = self.checkpoints()[topic, partition].incarnation
        members = self.client.zrange(f"{self.base}:rebuilt:{topic}:{partition}:{incarnation}", 0, -1)
        return [Piece.parse(member) for member in members]

    def left(self, topic, partition):
        """Source offsets of unmapped stretches that no piece speaks of."""
        pieces = self.pieces(topic, partition)
        return sum(
            end - first - sum(piece.until - piece.begin for piece in pieces if first <= piece.begin < end)
            for first, end in self.unmapped(topic, partition)
        )

    def translate(self, topic, partition, offset):
        """Target offset of a source position; None when the map does not hold it. Remembers what it read."""
        where = (topic, partition)
        if where not in self.cache:
            runs, checkpoint, known_from = self._read(topic, partition)
            stretches = self.unmapped(topic, partition)
            pieces = self.pieces(topic, partition)
            self.cache[where] = (runs, [run.source for run in runs], checkpoint, known_from, stretches, pieces)
        runs, firsts, checkpoint, known_from, stretches, pieces = self.cache[where]
        if offset >= checkpoint.source_next:
            return checkpoint.target_next
        n = bisect.bisect_right(firsts, offset) - 1
        if n >= 0 and offset < runs[n].source + runs[n].length:
            return runs[n].target + offset - runs[n].source
        p = bisect.bisect_right(pieces, offset, key=lambda piece: piece.begin) - 1
        if p >= 0 and offset < pieces[p].until:
            return pieces[p].translate(offset)
        if offset < known_from or any(first <= offset < end for first, end in stretches):
            return None
        if n < 0:
            return runs[0].target if runs else None
        return runs[n + 1].target if n + 1 < len(runs) else checkpoint.target_next

    def translate_back(self, topic, partition, offset):
        """Source offset of a target position."""
        self.translate(topic, partition, 0)
        runs, _, checkpoint, *_ = self.cache[topic, partition]
        for run in runs:
            if offset < run.target:
                return run.source
            if offset < run.target + run.length:
                return run.source + offset - run.target
        return checkpoint.source_next


def _literal(text):
    return "".join("\\" + c if c in "*?[]\\" else c for c in text)
