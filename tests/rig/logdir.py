"""Change what a stopped broker has on disk: what an unclean election, a bad disk or a bug would leave behind."""

from rig.records import batches


def _segments(folder):
    return sorted(folder.glob("*.log"))


def _forget_derived(logs, folder):
    """Indexes, producer snapshots and the mark of a clean stop: the broker makes them anew from the log."""
    for pattern in ("*.index", "*.timeindex", "*.txnindex", "*.snapshot"):
        for path in folder.glob(pattern):
            path.unlink()
    (logs / ".kafka_cleanshutdown").unlink(missing_ok=True)


def _lower_checkpoints(logs, topic, partition, end):
    """No file may claim more than `end`: 'version, count, then lines of topic partition offset'."""
    for name in (
        "recovery-point-offset-checkpoint",
        "replication-offset-checkpoint",
        "log-start-offset-checkpoint",
    ):
        path = logs / name
        if not path.exists():
            continue
        lines = path.read_text().splitlines()
        out = lines[:2]
        for line in lines[2:]:
            where, number, offset = line.rsplit(" ", 2)
            if where == topic and int(number) == partition:
                offset = str(0 if name.startswith("recovery") else min(int(offset), end))
            out.append(f"{where} {number} {offset}")
        path.write_text("\n".join(out) + "\n")


def _drop_epochs(folder, end):
    """Leader epochs that began at or behind the new end never were."""
    path = folder / "leader-epoch-checkpoint"
    if not path.exists():
        return
    lines = path.read_text().splitlines()
    kept = [line for line in lines[2:] if int(line.split()[1]) < end]
    path.write_text("\n".join([lines[0], str(len(kept)), *kept]) + "\n")


def truncate(logs, topic, partition, offset):
    """Forget every batch that ends at or behind `offset`; returns the end of the log that is left."""
    folder = logs / f"{topic}-{partition}"
    segments = _segments(folder)
    assert segments, f"{folder} has no log"
    end = int(segments[0].stem)
    cut = False
    for path in segments:
        if cut:
            path.unlink()
            continue
        kept = bytearray()
        for batch in batches(path.read_bytes()):
            if batch.last_offset >= offset:
                cut = True
                break
            kept += batch.encode()
            end = batch.next_offset
        if cut:
            path.write_bytes(kept)
    _drop_epochs(folder, end)
    _lower_checkpoints(logs, topic, partition, end)
    _forget_derived(logs, folder)
    return end


def rewrite(logs, topic, partition, change):
    """Hand every batch to `change(batch)`, which returns the batch to store (or None to drop it). Returns how many
    were changed. Give `batch.with_records(...)` to change contents."""
    folder = logs / f"{topic}-{partition}"
    changed = 0
    for path in _segments(folder):
        out = bytearray()
        for batch in batches(path.read_bytes()):
            new = change(batch)
            if new is not batch:
                changed += 1
            if new is not None:
                out += new.encode()
        path.write_bytes(out)
    _lower_checkpoints(logs, topic, partition, 1 << 62)
    _forget_derived(logs, folder)
    return changed
