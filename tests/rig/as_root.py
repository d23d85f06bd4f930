"""Tests that need root, when we are not: sudo runs each in a session of its own, and what it says there counts."""

import os
import subprocess
import sys

import pytest

from rig.paths import BUILD, ROOT

SUDO = ["sudo", "-n"]


def possible():
    return subprocess.run([*SUDO, "true"], capture_output=True, check=False).returncode == 0


def hand_over(items):
    """Those of `items` that are marked `root` make no fixtures here: their session does."""
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root"):
                item.fixturenames = []


def run(item):
    """@return False: it is to be run here"""
    if os.geteuid() == 0 or not item.get_closest_marker("root"):
        return False
    if not possible():
        pytest.skip("needs root, or a sudo that asks no password")
    env = [f"{key}={value}" for key, value in os.environ.items() if not key.startswith("PYTEST_")]
    argv = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:xdist", item.nodeid]
    done = subprocess.run(
        [*SUDO, "env", *env, *argv], capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=ROOT, check=False
    )
    subprocess.run([*SUDO, "chown", "-R", f"{os.getuid()}:{os.getgid()}", BUILD / "test"], check=False)
    if done.returncode != 0:
        pytest.fail(f"by sudo:\n{done.stdout}\n{done.stderr}", pytrace=False)
    return True
