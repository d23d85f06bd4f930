"""Where things are."""

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
JARS = BUILD / "kafka" / "jars"
TEMPLATE = BUILD / "kafka" / "template"
ARCHIVE = BUILD / "kafka" / "broker.jsa"
REDIS_SERVER = BUILD / "deps" / "bin" / "redis-server"
RIG = ROOT / "tests" / "rig"
# One may test another build: FERRY_BIN=build/address-undefined/bin
BIN = ROOT / os.environ.get("FERRY_BIN", "build/bin")


def run_dir(name):
    """A folder for one run, named after the process that owns it."""
    path = BUILD / "run" / f"{name}-{os.getpid()}"
    path.mkdir(parents=True, exist_ok=True)
    return path


def remove_run_dirs(folder=BUILD / "run"):
    """Take away what this process left there, and what processes left that are gone: nobody else's."""
    for path in folder.glob("*"):
        owner = path.name.rsplit("-", 1)[-1]
        if owner == str(os.getpid()) or not (owner.isdigit() and os.path.exists(f"/proc/{owner}")):
            shutil.rmtree(path, ignore_errors=True)
