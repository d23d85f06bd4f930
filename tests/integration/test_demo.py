"""The demo is judged as a newcomer sees it: green by itself, red for each damage, and nothing left behind."""

import os
import pty
import re
import select
import signal
import subprocess
import time
import uuid

import pytest

from rig.paths import BUILD, ROOT
from rig.procs import wait_for

pytestmark = pytest.mark.timeout(420)


class Demo:
    """`make demo` in a process group of its own, as a shell starts it; its children are known by a mark."""

    def __init__(self, records=3_000, **env):
        self.mark = uuid.uuid4().hex
        self.log = BUILD / "test" / f"demo-{self.mark}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        plain = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        with open(self.log, "w") as out:
            self.process = subprocess.Popen(
                ["make", "--no-print-directory", "demo"],
                cwd=ROOT,
                env=plain | {"DEMO_MARK": self.mark, "DEMO_RECORDS": str(records), **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self):
        return self.log.read_text()

    def wait(self, timeout=400):
        """Exit status; whatever the demo started must be gone with it."""
        try:
            return self.process.wait(timeout)
        finally:
            self.end()

    def interrupt(self):
        """Ctrl-C: the terminal tells the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def left(self):
        """Command lines of what carries our mark in its environment."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if self.mark.encode() in open(f"/proc/{pid}/environ", "rb").read():
                    found.append(open(f"/proc/{pid}/cmdline").read().replace("\0", " "))
            except OSError:
                continue
        return [words for words in found if words]

    def end(self):
        if self.process.poll() is None:
            self.interrupt()
            self.process.wait(30)


def records_and_verdicts(said):
    head = re.search(r"([\d,]+) records at the source.*", said)
    return head[0] if head else said


def test_it_is_green_and_shows_what_to_type():
    demo = Demo()
    assert demo.wait() == 0, demo.said
    said = demo.said
    for part in (
        *("kill -9 of worker-1", "is started again", "lag", "$ ferry status orders", "GREEN"),
        *("kill -9 of hangzhou", "$ ferry failover orders --yes --allow-loss unknown", "proof 4"),
    ):
        assert part in said, f"{part!r} is missing:\n{said}"
    assert re.search(r"\$ ferry offsets translate orders orders\.\w+ \d \d+", said), said
    assert "0 lost, 0 doubled, 0 foreign, 0 differing, 0 order" in records_and_verdicts(said)
    for group in ("billing", "shipping", "audit"):
        account = re.search(rf" {group}: [\d,]+ processed at the primary, ([\d,]+) at the secondary; (.*)", said)
        # 1,000 in the clear, 1,000 in transactions of which every fourth is aborted; and what is read again
        assert account and int(account[1].replace(",", "")) >= 1_750, said
        assert re.match(r"0 skipped, [\d,]+ repeated, 0 of them outside the hint", account[2]), account[0]
    assert not demo.left()
    assert len(said.splitlines()) < 110, f"too long to read at 03:00:\n{said}"
    demo.log.unlink()


def damaged(how, verdict, named):
    demo = Demo(DEMO_BREAK=how)
    assert demo.wait() != 0, demo.said
    said = demo.said
    assert verdict in records_and_verdicts(said) and "RED" in said and "GREEN" not in said, said
    assert re.search(named, said), f"the record is not named:\n{said}"
    assert "Error 1" in said, f"the demo's own status is not the proof's:\n{said}"
    assert not demo.left()
    demo.log.unlink()


@pytest.mark.alone
@pytest.mark.long
def test_a_lost_record_turns_it_red():
    damaged("lose", "1 lost, 0 doubled, 0 foreign, 0 differing, 0 order", r"lost: orders\.plain-1 source offset 0")


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.parametrize(
    ("how", "verdict", "named"),
    [
        ("double", "0 lost, 1 doubled, 0 foreign, 0 differing, 0 order", r"doubled: orders\.plain-1 target offset \d+"),
        ("swap", "0 lost, 0 doubled, 0 foreign, 0 differing, 1 order", r"order: orders\.plain-1 source offset \d+"),
        ("flip", "0 lost, 0 doubled, 0 foreign, 1 differing, 0 order", r"differing: orders\.plain-1 source offset \d+"),
    ],
)
def test_each_other_damage_turns_it_red(how, verdict, named):
    damaged(how, verdict, named)


@pytest.mark.alone
@pytest.mark.long
def test_a_skipped_record_turns_it_red():
    """A group that goes on 25 records too far: the ledger finds these, and no other group's."""
    demo = Demo(DEMO_BREAK="skip")
    assert demo.wait() != 0, demo.said
    said = demo.said
    assert "RED: the failover is not as promised" in said and "GREEN" not in said, said
    skipped = re.search(r" audit: .*; (\d+) skipped, ", said)
    assert skipped and int(skipped[1]) >= 25 and said.count(" 0 skipped, ") == 2, said
    assert re.search(r"skipped: orders\.plain-1 target offset \d+: orders\.plain/1/\d+", said), said
    assert not demo.left()
    demo.log.unlink()


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.parametrize(
    "moment",
    [
        "at once",
        "brokers starting",
        "build (make all)",
        "are up",
        "backlog",
        "enable",
        "kill -9",
        "again",
        "proof 1",
        "kill -9 of hangzhou",
    ],
)
def test_interrupted_at_any_moment_it_leaves_nothing(moment):
    demo = Demo(records=40_000)
    try:
        if moment == "brokers starting":
            wait_for("a broker", lambda: any("kafka.Kafka" in words for words in demo.left()), 120)
        elif moment != "at once":
            wait_for(moment, lambda: moment in demo.said, 240)
        time.sleep(0.2)
        demo.interrupt()
        began = time.monotonic()
        assert demo.process.wait(30) != 0
        assert time.monotonic() - began < 15, "it took too long to leave"
        wait_for("everything to end", lambda: not demo.left(), 5)
        assert "Traceback" not in demo.said, demo.said
        assert not list((BUILD / "demo").glob("*/")), "data are left"
    finally:
        demo.end()
    demo.log.unlink()


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_ended_otherwise_it_leaves_no_process(number):
    demo = Demo()
    try:
        wait_for("servers", lambda: "are up" in demo.said, 240)
        os.killpg(demo.process.pid, number)
        assert demo.process.wait(30) != 0
        wait_for("everything to end", lambda: not demo.left(), 20)
    finally:
        demo.end()
    demo.log.unlink()


def test_on_a_terminal_it_asks_once_and_no_means_nothing():
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        for name in ("YES", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
            os.environ.pop(name, None)
        os.execvp("tools/demo.sh", ["tools/demo.sh"])
    said = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            got = os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
        if not got:
            break
        said += got
        if b"[Y/n] " in said and b"no\r\n" not in said:
            os.write(terminal, b"no\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 8
    text = said.decode()
    assert text.count("?") == 1 and text.index("ports") < text.index("Go on?"), text
    assert "Nothing was done" in text and "setup:" not in text, text
