"""Processes that never outlive us.

Each child is in a session of its own (Ctrl-C on our terminal reaches us, and we decide), is ended at exit by its id,
and by the kernel when we die in any other way (parent-death signal). Start children from the main thread: that signal
comes when the thread that started them ends.
"""

import atexit
import contextlib
import faulthandler
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

_live = {}
_lock = threading.Lock()
_ports = set()


class ProcessFailed(Exception):
    """A child ended or said something that it must not; the text has the end of its log."""


class TimeIsUp(AssertionError):
    """What we waited for did not come."""


def wait_for(what, check, timeout=30.0, every=0.02, not_yet=(AssertionError, OSError)):
    """Ask `check` until it answers something true, and return that. The one way to wait in tests.

    `what` says in the error what did not come; exceptions of `not_yet` mean just that.
    """
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            answer = check()
            if answer:
                return answer
            last = answer
        except not_yet as err:
            last = err
        if time.monotonic() >= deadline:
            raise TimeIsUp(f"{what}: not within {timeout} s; last answer: {last!r}")
        time.sleep(every)


def command_name(pid):
    """Name of a process, or None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            name, state = stat.read().split("(", 1)[1].rsplit(")", 1)
    except OSError:
        return None
    return None if state.split()[0] in "ZX" else name


def free_port():
    """A port of 127.0.0.1 that nobody has, below the range of outgoing connections: it stays free over a restart.

    Processes side by side take from different thousands (of pytest's, at most three): between the look and the server's
    own bind another would find it free as well.
    """
    session = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 20000 + (os.getpid() % 4 * 3 + session % 3) * 1000
    for _ in range(2000):
        port = random.randrange(first, first + 1000)
        if port in _ports:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _ports.add(port)
        return port
    raise RuntimeError(f"no free port between {first} and {first + 999}")


# setpriv sets the parent-death signal and becomes the shell, that becomes the program: the process id is the program's.
# The shell looks whether we died before the signal was set: then nobody would ever send it.
DIES_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"']


class Process:
    """One child with its log file."""

    def __init__(self, name, argv, log, env=None, cwd=None):
        self.name = name
        self.argv = [str(a) for a in argv]
        self.log = log
        self.env = env
        self.cwd = cwd
        self.popen = None
        self.started_at = None

    def start(self):
        assert not self.alive, f"{self.name} runs already"
        env = dict(os.environ) | {k: str(v) for k, v in (self.env or {}).items()}
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as out:
            self.popen = subprocess.Popen(
                [*DIES_WITH_PARENT, str(os.getpid()), *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=self.cwd,
                start_new_session=True,
            )
        self.started_at = time.monotonic()
        with _lock:
            _live[self.popen.pid] = self
        # Signals are for the program, not for what becomes it.
        before = {"setpriv", "sh"} - {os.path.basename(self.argv[0])}
        wait_for(f"{self.name} to begin", lambda: command_name(self.popen.pid) not in before, 10, every=0.001)
        return self

    @property
    def pid(self):
        return self.popen.pid

    @property
    def alive(self):
        return self.popen is not None and self.popen.poll() is None

    @property
    def returncode(self):
        return self.popen.poll()

    def signal(self, number):
        if self.alive:
            os.kill(self.popen.pid, number)

    def kill9(self):
        self.signal(signal.SIGKILL)
        return self.wait(10)

    def sigstop(self):
        """Returns when it stands still: a thread on another core goes on for a moment."""
        self.signal(signal.SIGSTOP)
        wait_for(f"{self.name} to stop", lambda: set(self._thread_states()) <= {"T", "t"}, 10)

    def _thread_states(self):
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            yield (task / "stat").read_text().rpartition(")")[2].split()[0]

    def sigcont(self):
        self.signal(signal.SIGCONT)

    def stop(self, timeout=30):
        """SIGTERM, then SIGKILL when it takes too long. Returns the exit status."""
        if self.alive:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill9()
        return self.returncode

    def wait(self, timeout=None):
        rc = self.popen.wait(timeout)
        with _lock:
            _live.pop(self.popen.pid, None)
        return rc

    def log_text(self):
        try:
            return self.log.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def log_tail(self, lines=30):
        return "\n".join(self.log_text().splitlines()[-lines:])

    def check(self):
        """Raise unless it runs."""
        if not self.alive:
            raise ProcessFailed(f"{self.name} ended with {self.returncode}; its log ends:\n{self.log_tail()}")

    def cpu_seconds(self):
        """User and system seconds so far."""
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self):
        with open(f"/proc/{self.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def end_all():
    """End every child that still runs, newest first: each by its own process group."""
    with _lock:
        left = [p for p in _live.values() if p.alive]
    for process in reversed(left):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    for process in left:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NUDGE = signal.SIGURG  # ignored by whoever knows nothing of it
ONE_CALL_S = 1  # a shell that goes away hangs up twice: cleaning up is not interrupted by that


class Ended(SystemExit, KeyboardInterrupt):
    """A signal ends us: a script with 128 + its number, pytest as Ctrl-C does (SystemExit fails one test, no more)."""


def _would_be_dropped(frame):
    """Python drops what is raised inside __del__, and goes on."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def end_on_signals(grace=60):
    """Make SIGINT, SIGTERM and SIGHUP end us by an exception, so that all is cleaned up; without it after `grace` s.

    A handler in Python waits until the main thread is back from the call that it is in, and only a signal that comes
    within that call, to that thread, cuts it short: one that comes just before a long sleep is heard when that is over.
    So a thread hears of it at once (the interpreter writes its number to a pipe), and nudges the main thread until it
    has left. Signals that are ignored (nohup, a shell's background) stay so.
    """
    heard, ear = os.pipe()
    os.set_blocking(ear, False)
    main = threading.main_thread().ident
    wanted = []  # the number that we end of; taken when that is raised

    def leave(_number, frame):
        if wanted and not _would_be_dropped(frame):
            raise Ended(128 + wanted.pop())

    def listen():
        first = last = number = None
        while first is None or time.monotonic() < first + grace:
            ready, _, _ = select.select([heard], [], [], None if first is None else 0.1)
            told = [n for n in os.read(heard, 4096) if n in ENDING] if ready else []
            if told and (last is None or time.monotonic() > last + ONE_CALL_S):
                number, last = told[-1], time.monotonic()
                first = first or last
                wanted[:] = [number]
            if wanted:
                signal.pthread_kill(main, NUDGE)
                time.sleep(0.02)
        with contextlib.suppress(Exception):  # who would read it may be gone
            print(f"not ended within {grace} s of signal {number}; it stands here:", file=sys.stderr, flush=True)
            faulthandler.dump_traceback(sys.__stderr__)
        end_all()
        os._exit(128 + number)

    signal.set_wakeup_fd(ear, warn_on_full_buffer=False)
    signal.signal(NUDGE, leave)
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)
    threading.Thread(target=listen, name="signals", daemon=True).start()


atexit.register(end_all)
