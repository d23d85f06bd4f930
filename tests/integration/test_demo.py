"""The demo is judged as a newcomer sees it: green by itself, red for each damage, and nothing left behind."""

import os
import signal
import subprocess

import pytest

from rig.paths import BUILD, ROOT
from rig.procs import wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(420)]

COMMAND = [str(BUILD / "venv" / "bin" / "python"), str(ROOT / "tools" / "demo.py")]


def start(damage=""):
    env = os.environ | {"PYTHONPATH": str(ROOT / "tests"), "DEMO_BREAK": damage, "DEMO_RECORDS": "20000"}
    return subprocess.Popen(
        COMMAND, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def left_behind():
    """Processes whose command line names the demo's folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline").read()
        except OSError:
            continue
        if str(BUILD / "demo") in words:
            found.append(words.replace("\0", " "))
    return found


def test_it_is_green():
    demo = start()
    said, _ = demo.communicate(timeout=400)
    assert demo.returncode == 0, said
    assert "kill -9 of" in said and "GREEN" in said
    assert not left_behind()


@pytest.mark.parametrize(
    ("damage", "finding"), [("lose", "1 lost"), ("double", "1 doubled"), ("swap", "1 order"), ("flip", "1 differing")]
)
def test_one_damaged_record_turns_it_red(damage, finding):
    demo = start(damage)
    said, _ = demo.communicate(timeout=400)
    assert demo.returncode == 1, said
    assert finding in said and "RED" in said
    assert not left_behind()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_it_leaves_nothing(number):
    demo = start()
    wait_for("the demo to have servers", lambda: len(left_behind()) >= 3, 60)
    demo.send_signal(number)
    demo.wait(30)
    assert demo.returncode != 0
    wait_for("everything to end", lambda: not left_behind(), 20)
