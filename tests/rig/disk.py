"""A small disk that can be full.

with Disk(folder / "disk", mib=24) as disk:
    KafkaCluster("b", place=disk, props={"log.dirs": f"{own},{disk.path}", "metadata.log.dir": own})
    disk.fill(); disk.empty()

It is mounted in a mount namespace of its own, which ends with us however we end; servers enter it (`place=disk`), we
read and write in it through /proc. Needs root.
"""

from pathlib import Path

from rig.procs import Process, wait_for

CHUNK = bytes(1 << 16)
HOLD = 'mkdir -p "$0" && mount -t tmpfs -o size="$1" ferry-disk "$0" && exec sleep infinity'


class Disk:
    host = "127.0.0.1"  # as a place: where its servers are reached

    def __init__(self, path, mib):
        self.path = path
        self.mib = mib
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", HOLD, path, f"{mib}m"]
        self.holder = Process("disk", argv, path.with_suffix(".log"))

    def __enter__(self):
        self.holder.start()
        wait_for("the disk to be mounted", self._mounted, 10, every=0.02)
        return self

    def _mounted(self):
        self.holder.check()
        return f" {self.path} tmpfs " in open(f"/proc/{self.holder.pid}/mounts").read()

    def __exit__(self, *_):
        self.holder.kill9()

    @property
    def prefix(self):
        return ["nsenter", "--mount", "--target", self.holder.pid]

    @property
    def seen(self):
        """Its folder, as we reach it."""
        return Path(f"/proc/{self.holder.pid}/root{self.path}")

    def fill(self):
        """Not a byte more fits."""
        with open(self.seen / "ballast", "ab", buffering=0) as ballast:
            for chunk in (CHUNK, CHUNK[:4096], CHUNK[:1]):
                try:
                    while True:
                        ballast.write(chunk)
                except OSError:
                    continue

    def empty(self):
        (self.seen / "ballast").unlink()
