"""Two places with a long line between them: network namespaces, a TUN device each, and our relay (drivers/far_line.c).

with FarLine(delay_ms=40, bytes_per_s=50e6, loss=0.01) as far:      80 ms there and back, one of 100 packets is lost
    KafkaCluster("a", place=far.a) ... Worker(conf, "w1", place=far.b)
    far.drop("a to b"); far.drop(None)                          nothing passes that way; whole again

We stand outside and reach both places directly, without delay. Nothing leaves the machine. Needs root.
"""

import os
import signal
import subprocess

from rig.paths import BUILD, run_dir
from rig.procs import Process, wait_for


def ip(*args):
    done = subprocess.run(["ip", *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(map(str, args))}: {done.stderr}"


class Place:
    """A namespace with an address that we and the other place reach."""

    def __init__(self, word, number, block):
        self.name = f"ferry-{word}-{os.getpid()}"
        self.host = f"10.{block}.{number}.2"  # of the place
        self.us = f"10.{block}.{number}.1"
        self.device = f"fy{number}x{os.getpid()}"

    @property
    def prefix(self):
        return ["ip", "netns", "exec", self.name]

    def make(self):
        ip("netns", "add", self.name)
        ip("link", "add", self.device, "type", "veth", "peer", "name", "us", "netns", self.name)
        ip("addr", "add", f"{self.us}/24", "dev", self.device)
        ip("link", "set", self.device, "up")
        for args in (
            ["link", "set", "lo", "up"],
            ["addr", "add", f"{self.host}/24", "dev", "us"],
            ["link", "set", "us", "up"],
        ):
            ip("-n", self.name, *args)

    def route_far(self, other):
        ip("-n", self.name, "link", "set", "far", "up", "mtu", 1500, "txqueuelen", 5000)
        ip("-n", self.name, "route", "add", f"{other.host}/32", "dev", "far", "src", self.host)

    def swallow(self):
        """What reaches the place is not answered, connections that are open included: nobody refuses anything."""
        ip("-n", self.name, "route", "add", "blackhole", f"{self.us}/32")

    def answer(self):
        ip("-n", self.name, "route", "del", "blackhole", f"{self.us}/32")

    def remove(self):
        subprocess.run(["ip", "link", "del", self.device], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)


class Places:
    """Two sites and a place for the name server, each reached by us alone.

    with Places() as (a, b, names): KafkaCluster("a", place=a) ...; a.swallow()
    """

    def __init__(self):
        block = 100 + os.getpid() % 100
        self.all = [Place(word, number, block) for number, word in enumerate(("a", "b", "n"), 1)]

    def __enter__(self):
        for place in self.all:
            place.make()
        return self.all

    def __exit__(self, *_):
        for place in self.all:
            place.remove()


def resolving(nameserver, file):
    """What goes before a command that shall ask this name server, on port 53, as its machine's resolver: a mount
    namespace of its own, where /etc/resolv.conf is `file`. Nobody else sees it. Needs root."""
    file.write_text(f"nameserver {nameserver}\noptions timeout:1 attempts:2\n")
    return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(file)]


class FarLine:
    def __init__(self, delay_ms, bytes_per_s, loss=0.0):
        block = 100 + os.getpid() % 100
        self.a = Place("a", 1, block)
        self.b = Place("b", 2, block)
        driver = BUILD / "drivers" / "far_line"
        argv = [driver, self.a.name, self.b.name, delay_ms, int(bytes_per_s), loss]
        self.relay = Process("far line", argv, run_dir("line") / "far_line.log")

    def __enter__(self):
        for place in (self.a, self.b):
            place.make()
        self.relay.start()

        def ready():
            self.relay.check()
            return "ready" in self.relay.log_text()

        wait_for("the far line", ready, 10)
        self.a.route_far(self.b)
        self.b.route_far(self.a)
        return self

    def drop(self, way):
        """Nothing passes "a to b" any more, or "b to a"; None: both are whole again."""
        numbers = {"a to b": signal.SIGUSR1, "b to a": signal.SIGUSR2, None: signal.SIGHUP}
        self.relay.signal(numbers[way])

    def __exit__(self, *_):
        self.relay.kill9()
        for place in (self.a, self.b):
            place.remove()
