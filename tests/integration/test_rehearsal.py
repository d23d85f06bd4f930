"""The rehearsal in docker/rehearsal as everybody runs it, in a real engine: the commands are docker/README.md's, in its
order. Twice in a row, the second time from images that are there; then the ledger has to turn red."""

import json
import os
import re
import shlex
import shutil
import time

import pytest

from rig.paths import ROOT
from rig.procs import wait_for

pytestmark = [pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(3600)]

RIG = ROOT / "docker" / "rehearsal"
ADDRESSES = "10.53.9"
CA = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")  # a proxy's authority may be among them
BUILD_S = 2400  # Ferry, Maven, packages: from nothing, on two busy cores
LEDGER = "exec -T consumer client ledger orders.created billing"
# nobody types the name of the service here
UNASKED = {"enable": "--yes", "adopt": "--yes", "failover": "--yes --allow-loss unknown"}


def commands():
    """What the README has behind `$ docker compose`, as `docker compose` gets it without a terminal."""
    text = (ROOT / "docker" / "README.md").read_text()
    found = re.findall(r"^    \$ docker compose (.*)$", text, re.MULTILINE)
    assert len(found) > 15, found
    for line in found:
        words = re.sub(r"^exec ", "exec -T ", line.split("   #")[0].rstrip())
        more = next((options for word, options in UNASKED.items() if f" {word} orders" in words), "")
        yield f"{words} {more}".rstrip()


class Rehearsal:
    """`docker compose` in a copy of the folder, with a network that nobody else has here; builds use this machine's."""

    def __init__(self, engine, folder):
        self.engine = engine
        self.dir = folder / "rehearsal"
        shutil.copytree(RIG, self.dir)
        network = f"10.{150 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        for path in self.dir.rglob("*"):
            if path.is_file():
                path.write_text(path.read_text().replace(ADDRESSES, network))
        built = ("hangzhou-kafka", "hangzhou-ferryd", "dns")
        build = {"context": str(ROOT), "network": "host"}
        (self.dir / "test.json").write_text(json.dumps({"services": {name: {"build": build} for name in built}}))
        self.project = f"ferry-rehearsal-{os.getpid()}"
        self.env = {"COMPOSE_FILE": "compose.yaml:test.json", "COMPOSE_PROJECT_NAME": self.project}
        if os.path.exists(CA):
            self.env["REHEARSAL_CA"] = CA

    def run(self, words, timeout=300):
        """(exit code, what it says) of `docker compose WORDS`."""
        began = time.monotonic()
        done = self.engine.compose(*shlex.split(words), cwd=self.dir, env=self.env, timeout=timeout)
        took = time.monotonic() - began
        print(f"$ docker compose {words}   # {done.returncode}, {took:.1f} s\n{done.stdout}{done.stderr}")
        return done.returncode, done.stdout + done.stderr

    def ok(self, words, timeout=300):
        code, text = self.run(words, timeout)
        assert code == 0, f"{words}: {code}\n{text[-6000:]}"
        return text

    def ferry(self, *words):
        return self.run(f"exec -T shanghai-ferryd ferry {shlex.join(words)}")

    def ledger(self):
        code, text = self.run(LEDGER)
        counts = re.findall(r"^ *(\d+)  (.*)$", text, re.MULTILINE)
        names = ("processed", "not_read", "skipped", "twice", "outside", "lost", "missing")
        assert len(counts) == len(names), text
        return code, dict(zip(names, (int(count) for count, _ in counts), strict=True))

    def mirrors(self):
        """Caught up, and the group is carried: what a person sees in the first line of the status."""
        found = re.search(
            r"lose at most ([\d,]+) records .* of 1 groups", " ".join(self.ferry("status", "orders")[1].split())
        )
        return bool(found) and int(found[1].replace(",", "")) < 200

    def consumes(self, least):
        found = self.ledger()[1]
        return found["processed"] >= least and found


@pytest.fixture(scope="module")
def rehearsal(engine, session_dir):
    made = Rehearsal(engine, session_dir)
    yield made
    made.run("down -v")


def ask(rehearsal, words):
    """What a person waits for before the next command is typed, and what it has to say."""
    if " ledger " in words:
        code, found = rehearsal.ledger()
        assert code == 0, found
        assert (found["skipped"], found["outside"], found["missing"]) == (0, 0, 0), found
        assert found["lost"] < 200, found  # two seconds of the producer's
        return
    if words.startswith("kill "):
        wait_for("the consumer", lambda: rehearsal.consumes(1000), 120, every=1)
    text = rehearsal.ok(words) if "stragglers" not in words else rehearsal.run(words)[1]
    if " enable " in words:
        wait_for("the mirror", rehearsal.mirrors, 120, every=1)
    elif " failover " in words:
        assert "failover of orders from hangzhou to shanghai: done" in text
        before = rehearsal.ledger()[1]["processed"]
        wait_for("the clients to move", lambda: rehearsal.consumes(before + 500), 120, every=1)
        assert (
            rehearsal.ledger()[1]["twice"] > 0
        )  # the group committed each second: it reads some again, and the hint says so
    elif " dig " in words:
        assert "kafka-shanghai.rehearsal.test." in text
    elif words.startswith("start hangzhou"):
        wait_for(
            "the old primary", lambda: "at hangzhou still" in rehearsal.ferry("stragglers", "orders")[1], 90, every=2
        )
        wait_for("its status", lambda: "unprotected since" in rehearsal.ferry("status", "orders")[1], 60, every=2)


def walk(rehearsal):
    """The README's commands up to where the ledger is to turn red, whatever a walk before has left."""
    rehearsal.ok("down -v")
    for words in commands():
        if words == "stop consumer":
            return
        ask(rehearsal, words)


def nothing_is_left(rehearsal):
    label = f"label=com.docker.compose.project={rehearsal.project}"
    for what in ("ps -aq", "volume ls -q", "network ls -q"):
        assert rehearsal.engine.docker(*what.split(), "--filter", label).stdout == "", what


@pytest.mark.parametrize("turn", ["first", "again"])
def test_rehearsal(rehearsal, turn):
    began = time.monotonic()
    rehearsal.ok("build", timeout=BUILD_S)
    assert turn == "first" or time.monotonic() - began < 120, "the images were there"
    walk(rehearsal)
    rehearsal.ok("down -v")
    nothing_is_left(rehearsal)


def test_the_ledger_turns_red(rehearsal):
    """A group that is moved too far, and acknowledged records that are gone: each is counted and named."""
    walk(rehearsal)
    rest = list(commands())
    for words in rest[rest.index("stop consumer") :]:
        if " ledger " in words:
            break
        rehearsal.ok(words)
    at = rehearsal.ledger()[1]["processed"]
    wait_for("the consumer", lambda: rehearsal.consumes(at + 300), 120, every=1)
    code, found = rehearsal.ledger()
    assert code == 1 and found["skipped"] == 25 and found["missing"] == 0, found
    gone = json.dumps({"partitions": [{"topic": "orders.created", "partition": 1, "offset": 7}], "version": 1})
    tool = "kafka org.apache.kafka.tools.DeleteRecordsCommand --bootstrap-server 127.0.0.1:9092"
    script = f"echo {shlex.quote(gone)} >/data/gone && {tool} --offset-json-file /data/gone"
    rehearsal.ok(f"exec -T shanghai-kafka sh -c {shlex.quote(script)}")
    code, found = rehearsal.ledger()
    assert code == 1 and found["missing"] == 7, found
