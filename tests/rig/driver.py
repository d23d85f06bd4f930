"""A small C program around one interface (tests/integration/drivers), told what to do by a test.

with Driver("admin_driver", cluster.bootstrap, 5000) as admin:
    admin.send("cluster")
    line = admin.expect("cluster")          # {"event": "cluster", "id": ..., "brokers": "1"}
"""

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time

from rig.paths import BUILD
from rig.procs import TimeIsUp

DRIVERS = BUILD / os.environ.get("FERRY_DRIVERS", "drivers")


def parse(line):
    """`event key=value ...`; the value of `why`, `what` and `hint` may hold blanks."""
    words = line.split(" ")
    found = {"event": words[0], "line": line, "at": time.monotonic()}
    key = None
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if equals and (key not in ("what", "why") or name in ("hint", "found")):
            key = name
            found[key] = value
        elif key:
            found[key] += " " + word
    return found


class Driver:
    def __init__(self, program, *args, properties=None, env=None):
        words = " ".join(f"{k}={v}" for k, v in (properties or {}).items())
        self.seen = []
        self.errors = []
        self._lines = queue.Queue()
        self.popen = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", DRIVERS / program, *[str(a) for a in args]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=dict(os.environ) | {"DRIVER_PROPERTIES": words} | (env or {}),
        )
        self.started_at = time.monotonic()
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()

    def _read(self):
        for line in self.popen.stdout:
            self._lines.put(parse(line.rstrip("\n")))

    def _read_errors(self):
        for line in self.popen.stderr:
            self.errors.append(line)

    @property
    def pid(self):
        return self.popen.pid

    def send(self, *words):
        self.popen.stdin.write(" ".join(str(w) for w in words) + "\n")
        self.popen.stdin.flush()

    def expect(self, event, timeout=15, **wanted):
        """The next line of that event whose values are those wanted; what comes before is in `seen`."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self._lines.get(timeout=max(0.001, deadline - time.monotonic()))
            except queue.Empty:
                tail = "\n".join(x["line"] for x in self.seen[-20:])
                raise TimeIsUp(
                    f"{event} {wanted}: not within {timeout} s; seen:\n{tail}\n{''.join(self.errors[-20:])}"
                ) from None
            self.seen.append(line)
            if line["event"] == event and all(line.get(k) == str(v) for k, v in wanted.items()):
                return line

    def drain(self, seconds):
        """All lines of so many seconds."""
        deadline = time.monotonic() + seconds
        lines = []
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                lines.append(self._lines.get(timeout=left))
        self.seen += lines
        return lines

    def kill9(self):
        self.signal(signal.SIGKILL)
        return self.popen.wait(10)

    def signal(self, number):
        if self.popen.poll() is None:
            os.kill(self.popen.pid, number)

    def quit(self, timeout=10):
        """End of input; the exit status."""
        if self.popen.poll() is None:
            with contextlib.suppress(BrokenPipeError):
                self.popen.stdin.close()
        return self.popen.wait(timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.popen.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill9()
