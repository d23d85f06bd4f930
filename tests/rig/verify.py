"""The independent verifier: are the same records at both sides, once, in order; and does the map find each one?

    result = compare(source.bootstrap, target.bootstrap, ["orders"])
    assert result.ok, result.text()
    check = check_map(result, RedisMap(redis.client, "orders", "a", "b").translate, asked=100_000)
    assert check.ok, check.text()

Both clusters are read at the same time by processes of their own (rig.reader), then compared by digest: 2 million
records take about half a minute on two cores. Raw batches: rig.wire.RawClient.
"""

import bisect
import dataclasses
import difflib
import json
import random
import shutil
import sys
import time
from array import array
from collections import defaultdict

from confluent_kafka import TopicPartition

from rig.paths import RIG, run_dir
from rig.procs import Process, ProcessFailed
from rig.reader import DIGEST_BYTES, consumer

DIFF_EXACT = 3000  # records between equal ends that are compared by difflib (quadratic); beyond, by positions


@dataclasses.dataclass
class Side:
    offsets: array
    digests: bytes
    position: int  # where a consumer that has read everything stands

    def __len__(self):
        return len(self.offsets)

    def digest(self, n):
        return self.digests[n * DIGEST_BYTES : (n + 1) * DIGEST_BYTES]


EMPTY = Side(array("q"), b"", 0)


@dataclasses.dataclass
class Finding:
    kind: str  # lost, doubled, foreign, differing, order, behind
    topic: str
    partition: int
    source_offset: int | None
    target_offset: int | None

    def text(self):
        where = f"{self.kind}: {self.topic}-{self.partition}"
        if self.source_offset is not None:
            where += f" source offset {self.source_offset}"
        if self.target_offset is not None:
            where += f" target offset {self.target_offset}"
        return where


class Comparison:
    """What compare() found. `findings` have exact offsets; `sides` what both clusters hold."""

    KINDS = ("lost", "doubled", "foreign", "differing", "order")

    def __init__(self):
        self.sides = {}  # (topic, partition): (source Side, target Side)
        self.findings = []
        self.behind = []  # prefix comparisons: not mirrored yet
        self.seconds = 0.0
        self.bootstraps = (None, None)

    def count(self, kind):
        return sum(1 for f in self.findings if f.kind == kind)

    @property
    def records(self):
        return sum(len(source) for source, _ in self.sides.values())

    @property
    def target_records(self):
        return sum(len(target) for _, target in self.sides.values())

    @property
    def ok(self):
        return not self.findings

    def text(self, show=10, contents=True):
        head = f"{self.records} records at the source, {self.target_records} at the target: "
        head += ", ".join(f"{self.count(kind)} {kind}" for kind in self.KINDS)
        if self.behind:
            head += f", {len(self.behind)} not there yet"
        lines = [head]
        for finding in self.findings[:show]:
            lines.append("  " + finding.text())
            if contents:
                lines += ["    " + line for line in self._contents(finding)]
        if len(self.findings) > show:
            lines.append(f"  and {len(self.findings) - show} more")
        return "\n".join(lines)

    def _contents(self, finding):
        for name, bootstrap, offset in (
            ("source", self.bootstraps[0], finding.source_offset),
            ("target", self.bootstraps[1], finding.target_offset),
        ):
            if bootstrap is None or offset is None:
                continue
            record = read_record(bootstrap, finding.topic, finding.partition, offset)
            yield f"{name} {offset}: {record}"


def read_record(bootstrap, topic, partition, offset):
    """The record at (or first behind) an offset, as short text; None when there is none."""
    client = consumer(bootstrap)
    try:
        client.assign([TopicPartition(topic, partition, offset)])
        message = client.poll(10)
    finally:
        client.close()
    if message is None or message.error():
        return None
    key, value = message.key(), message.value()
    shown = None if value is None else value[:48]
    return f"at {message.offset()}: {message.timestamp()[1]} key={key!r} value={shown!r} headers={message.headers()!r}"


def start_reader(bootstrap, topics, folder, until=None):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    limits = "-"
    if until is not None:
        limits = folder / "until.json"
        limits.write_text(json.dumps(until))
    argv = [sys.executable, "-m", "rig.reader", bootstrap, folder, limits, *topics]
    return Process("reader", argv, folder / "log", env={"PYTHONPATH": RIG.parent}).start()


def collect(process, folder, timeout):
    if process.wait(timeout) != 0:
        raise ProcessFailed(f"the verifier's reader failed:\n{process.log_tail()}")
    out = {}
    for n, (topic, partition, position) in enumerate(json.loads((folder / "index.json").read_text())):
        offsets = array("q")
        offsets.frombytes((folder / f"{n}.offsets").read_bytes())
        out[topic, partition] = Side(offsets, (folder / f"{n}.digests").read_bytes(), position)
    shutil.rmtree(folder)
    return out


def compare(source, target, topics, prefix=False, until=None, timeout=600):
    """Read both clusters (bootstrap strings) and compare. `prefix`: the target may end earlier. `until`:
    {topic: {partition: offset}} at the source, while producers still run."""
    began = time.monotonic()
    base = run_dir("verify") / f"{time.time_ns()}"
    limits = {t: {str(p): o for p, o in ps.items()} for t, ps in until.items()} if until else None
    readers = [
        (start_reader(source, topics, base / "source", limits), base / "source"),
        (start_reader(target, topics, base / "target"), base / "target"),
    ]
    try:
        left, right = (collect(process, folder, timeout) for process, folder in readers)
    finally:
        for process, _ in readers:
            process.kill9()
        shutil.rmtree(base, ignore_errors=True)
    result = Comparison()
    result.bootstraps = (source, target)
    for where in sorted(left.keys() | right.keys()):
        pair = (left.get(where, EMPTY), right.get(where, EMPTY))
        result.sides[where] = pair
        for finding in compare_partition(*where, *pair):
            (result.behind if finding.kind == "behind" else result.findings).append(finding)
    if not prefix:
        for finding in result.behind:
            finding.kind = "lost"
        result.findings += result.behind
        result.behind = []
    result.seconds = time.monotonic() - began
    return result


def compare_partition(topic, partition, source, target):
    """Findings of one partition; records that only the end of the target lacks are `behind`."""
    if source.digests == target.digests:
        return []
    lower, upper_source, upper_target = _trim(source, target)
    if upper_target == lower and upper_source == len(source) and lower == len(target):
        return [Finding("behind", topic, partition, source.offsets[n], None) for n in range(lower, upper_source)]
    left = [source.digest(n) for n in range(lower, upper_source)]
    right = [target.digest(n) for n in range(lower, upper_target)]
    if len(left) + len(right) <= DIFF_EXACT:
        lost, extra, moved = _diff_small(left, right)
    else:
        lost, extra, moved = _diff_large(left, right)
    known = set(source.digest(n) for n in range(len(source))) if extra else set()
    return _name(topic, partition, source, target, lower, lost, extra, moved, known)


def _trim(source, target):
    """The stretch that differs: equal records before `lower` and behind the two uppers are left out."""
    size = DIGEST_BYTES
    shorter = min(len(source), len(target))
    step, lower = 1 << 16, 0
    while lower < shorter:
        end = min(lower + step, shorter)
        if source.digests[lower * size : end * size] == target.digests[lower * size : end * size]:
            lower = end
        elif step > 1:
            step //= 16
        else:
            break
    a, b, step = len(source), len(target), 1 << 16
    while min(a, b) > lower:
        width = min(step, a - lower, b - lower)
        if source.digests[(a - width) * size : a * size] == target.digests[(b - width) * size : b * size]:
            a, b = a - width, b - width
        elif step > 1:
            step //= 16
        else:
            break
    return lower, a, b


def _diff_small(left, right):
    """(lost at source, extra at target, moved pairs), positions within the stretch."""
    lost, extra = [], []
    for op, a, b, c, d in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if op in ("delete", "replace"):
            lost += range(a, b)
        if op in ("insert", "replace"):
            extra += range(c, d)
    return _take_moved(left, right, lost, extra)


def _take_moved(left, right, lost, extra):
    """A record that is missing at its place and stands at another one was moved, neither lost nor doubled."""
    places = defaultdict(list)
    for n in lost:
        places[left[n]].append(n)
    moved, still_extra = [], []
    for n in extra:
        if places.get(right[n]):
            moved.append((places[right[n]].pop(0), n))
        else:
            still_extra.append(n)
    gone = {n for n, _ in moved}
    return [n for n in lost if n not in gone], still_extra, moved


def _diff_large(left, right):
    """As _diff_small for any size: pair the k-th occurrence of each record, then the longest run in order."""
    places = defaultdict(list)
    for n, value in enumerate(right):
        places[value].append(n)
    used = defaultdict(int)
    pairs, lost = [], []
    for n, value in enumerate(left):
        k = used[value]
        if k < len(places.get(value, ())):
            pairs.append((n, places[value][k]))
            used[value] += 1
        else:
            lost.append(n)
    matched = {m for _, m in pairs}
    extra = [m for m in range(len(right)) if m not in matched]
    in_order = _longest_rising([m for _, m in pairs])
    return lost, extra, [pair for n, pair in enumerate(pairs) if n not in in_order]


def _longest_rising(values):
    """Indexes of a longest rising subsequence (patience sorting)."""
    tops, top_index, before = [], [], [0] * len(values)
    for n, value in enumerate(values):
        at = bisect.bisect_left(tops, value)
        before[n] = top_index[at - 1] if at else -1
        if at == len(tops):
            tops.append(value)
            top_index.append(n)
        else:
            tops[at] = value
            top_index[at] = n
    out, n = set(), top_index[-1] if top_index else -1
    while n >= 0:
        out.add(n)
        n = before[n]
    return out


def _name(topic, partition, source, target, base, lost, extra, moved, known):
    """Call each difference by its name, with offsets."""
    out = []
    doubled = [n for n in extra if target.digest(base + n) in known]
    foreign = [n for n in extra if target.digest(base + n) not in known]
    shift = 0
    pairs = set()
    # A lost record and a foreign one at the same place are one record that differs.
    gone = set(lost)
    came = set(foreign)
    doubled_before = sorted(doubled)
    for n in foreign:
        shift = bisect.bisect_left(doubled_before, n)
        if n - shift in gone and n - shift not in pairs:
            pairs.add(n - shift)
            came.discard(n)
            out.append(
                Finding("differing", topic, partition, source.offsets[base + n - shift], target.offsets[base + n])
            )
    end = len(target) - base
    for n in lost:
        if n in pairs:
            continue
        behind = not extra and not moved and base + n >= end + len([m for m in lost if m < n])
        out.append(Finding("behind" if behind else "lost", topic, partition, source.offsets[base + n], None))
    for n in doubled:
        out.append(Finding("doubled", topic, partition, None, target.offsets[base + n]))
    for n in sorted(came):
        out.append(Finding("foreign", topic, partition, None, target.offsets[base + n]))
    for a, b in moved:
        out.append(Finding("order", topic, partition, source.offsets[base + a], target.offsets[base + b]))
    return out


# -- the map ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class MapCheck:
    asked: int = 0
    in_holes: int = 0
    ahead: int = 0
    unmapped: int = 0
    wrong: list = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self):
        return not self.wrong and self.asked > 0

    def text(self, show=10):
        lines = [
            f"{self.asked} offsets translated, {self.in_holes} of them in holes: "
            f"{self.unmapped} unmapped, {len(self.wrong)} wrong"
        ]
        for topic, partition, offset, expected, got in self.wrong[:show]:
            lines.append(f"  {topic}-{partition} source offset {offset}: expected {expected}, got {got}")
        return "\n".join(lines)


def expected_target(source, target, offset):
    """Where the first record at or behind `offset` stands, by content: (target offset, inside a hole?)."""
    n = bisect.bisect_left(source.offsets, offset)
    if n == len(source):
        return target.position, True
    return target.offsets[n], source.offsets[n] != offset


def holes(source):
    """[(first, end)] of offsets between records, the tail included."""
    out, before = [], source.offsets[0] if len(source) else 0
    for offset in source.offsets:
        if offset > before:
            out.append((before, offset))
        before = offset + 1
    if before < source.position:
        out.append((before, source.position))
    return out


def check_map(comparison, translate, asked=100_000, seed=1, unmapped_ok=False):
    """Ask `translate(topic, partition, source offset)` -> target offset (or None) for random offsets, half of them in
    holes where there are any, and compare with what the records themselves say. `unmapped_ok`: None is no answer, and
    counted, but no wrong one."""
    began = time.monotonic()
    assert comparison.ok, "the map is judged by the records: they must be the same first"
    chosen = random.Random(seed)
    result = MapCheck()
    places = [(w, s, t) for w, (s, t) in comparison.sides.items() if len(s)]
    with_holes = [(where, source, target, gaps) for where, source, target in places if (gaps := holes(source))]
    for n in range(asked if places else 0):
        if n % 2 and with_holes:
            where, source, target, gaps = chosen.choice(with_holes)
            first, end = chosen.choice(gaps)
            offset = chosen.randrange(first, end)
        else:
            where, source, target = chosen.choice(places)
            offset = source.offsets[chosen.randrange(len(source))]
        expected, in_hole = expected_target(source, target, offset)
        got = translate(*where, offset)
        result.asked += 1
        result.in_holes += in_hole
        if got is None and unmapped_ok:
            result.unmapped += 1
        elif got != expected:
            result.wrong.append((*where, offset, expected, got))
    result.seconds = time.monotonic() - began
    return result
