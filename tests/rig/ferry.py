"""Ferry's own processes: a configuration file, workers, the command.

conf = Configuration(dir, {"a": (cluster_a, None), "b": (cluster_b, redis)})
conf.service("orders", topics=["orders.*"])           home = first site, others = the rest
Command(conf).enable("orders")
worker = Worker(conf, "w1").start().wait_ready()
worker.metrics()["ferry_link_lag_records", {"service": "orders"}]
Command(conf).json("status", "orders")
"""

import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request

from rig.paths import BIN, run_dir
from rig.procs import Process, ProcessFailed, free_port, wait_for

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED, EXIT_PARTLY = 0, 1, 2, 3, 4
EXIT_TIME, EXIT_UNREACHABLE, EXIT_CONFIGURATION, EXIT_UNCONFIRMED = 5, 6, 7, 8


class Configuration:
    """One configuration file; every change through here writes it anew."""

    def __init__(self, folder, sites, deployment="rig", secured=None, **top):
        """`sites`: {name: (KafkaCluster, RedisServer or None)}, home first. `top`: more top-level keys.
        `secured`: {name: rig.secure.Secured.settings(...)} of sites that are not reached in the clear."""
        folder.mkdir(parents=True, exist_ok=True)
        self.dir = folder
        self.path = folder / "ferry.json"
        self.sites = sites
        self.data = {"deployment": deployment, "sites": {}, "services": {}, **top}
        self.data.setdefault("state_dir", str(folder / "state"))
        (folder / "state").mkdir(exist_ok=True)
        for name, (cluster, redis) in sites.items():
            site = {"region": f"region-{name}", "kafka": {"bootstrap.servers": cluster.bootstrap}}
            site |= (secured or {}).get(name, {})
            if os.environ.get("FERRY_RIG_CONTROL"):  # any test, with clusters that take no transactions
                site["control"] = os.environ["FERRY_RIG_CONTROL"]
            if redis is not None:
                site["redis"] = redis.settings(folder)
            self.data["sites"][name] = site
        self.write()

    def service(self, name, topics=("*",), exclude=(), groups=("*",), **more):
        home, *others = self.sites
        if os.environ.get("FERRY_RIG_PATH"):  # any test, over the other path
            more.setdefault("path", os.environ["FERRY_RIG_PATH"])
        self.data["services"][name] = {
            "home": home,
            "others": others,
            "topics": {"include": list(topics), **({"exclude": list(exclude)} if exclude else {})},
            "groups": {"include": list(groups)},
            **more,
        }
        self.write()
        return self

    def update(self, **top):
        """Set top-level keys, for example update(mirror={"fetch_bytes": 65536})."""
        self.data.update(top)
        self.write()
        return self

    def copy(self, folder, **top):
        """Another file of the same sites and services, for a worker that differs."""
        other = Configuration(folder, self.sites, self.data["deployment"])
        other.data = json.loads(json.dumps(self.data)) | {"state_dir": str(folder / "state")} | top
        other.write()
        return other

    def write(self):
        self.path.write_text(json.dumps(self.data, indent=2) + "\n")


class Metrics:
    """Prometheus text, parsed: metrics["name"], metrics["name", {"label": "value"}], metrics.sum("name")."""

    LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
    LABEL = re.compile(r'(\w+)="((?:\\.|[^"\\])*)"')

    def __init__(self, text):
        self.text = text
        self.rows = []
        for line in text.splitlines():
            match = self.LINE.match(line)
            if match and not line.startswith("#"):
                name, labels, value = match.groups()
                self.rows.append((name, dict(self.LABEL.findall(labels or "")), float(value)))

    def all(self, name, **labels):
        """[(labels, value)] of a metric, with these labels at least."""
        return [
            (found, value)
            for row, found, value in self.rows
            if row == name and all(found.get(k) == v for k, v in labels.items())
        ]

    def sum(self, name, **labels):
        return sum(value for _, value in self.all(name, **labels))

    def __getitem__(self, what):
        name, labels = what if isinstance(what, tuple) else (what, {})
        rows = self.all(name, **labels)
        if len(rows) != 1:
            raise KeyError(f"{len(rows)} rows of {name} {labels}")
        return rows[0][1]

    def get(self, name, default=None, **labels):
        rows = self.all(name, **labels)
        return rows[0][1] if rows else default


class Worker:
    """One ferryd."""

    def __init__(self, conf, name, args=(), env=None, log=None, place=None):
        """`place`: a rig.netns.Place that it runs in."""
        self.conf = conf
        self.name = name
        self.port = free_port()
        self.host = place.host if place else "127.0.0.1"
        argv = [
            *(place.prefix if place else []),
            BIN / "ferryd",
            "--config",
            conf.path,
            "--http",
            f"{self.host}:{self.port}",
            "--worker",
            name,
            *args,
        ]
        self.process = Process(f"ferryd {name}", argv, log or conf.dir / f"ferryd-{name}.log", env=env)

    def start(self):
        self.process.start()
        return self

    @property
    def pid(self):
        return self.process.pid

    @property
    def alive(self):
        return self.process.alive

    @property
    def returncode(self):
        return self.process.returncode

    def stop(self, timeout=30):
        return self.process.stop(timeout)

    def kill9(self):
        return self.process.kill9()

    def sigstop(self):
        self.process.sigstop()

    def sigcont(self):
        self.process.sigcont()

    def get(self, path, timeout=5):
        """(status, text) of the worker's HTTP server."""
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.port}{path}", timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as err:
            return err.code, err.read().decode()

    def metrics(self):
        status, text = self.get("/metrics")
        assert status == 200, f"/metrics answers {status}"
        return Metrics(text)

    def wait_http(self, path, timeout=20):
        def answers():
            self.process.check()
            return self.get(path)[0] == 200

        wait_for(f"{self.process.name} {path}", answers, timeout)
        return self

    def wait_healthy(self, timeout=20):
        return self.wait_http("/healthz", timeout)

    def wait_ready(self, timeout=30):
        return self.wait_http("/readyz", timeout)

    def wait_metric(self, what, check, timeout=30):
        """Wait until check(Metrics) is true; returns the Metrics."""

        def there():
            self.process.check()
            metrics = self.metrics()
            return metrics if check(metrics) else None

        return wait_for(f"{self.process.name}: {what}", there, timeout, every=0.05)

    def events(self, name=None):
        """Log lines, or those of one event."""
        lines = self.process.log_text().splitlines()
        return [line for line in lines if name is None or f" {name} " in f"{line} "]

    def wait_event(self, name, count=1, timeout=30):
        def there():
            found = self.events(name)
            return found if len(found) >= count else None

        return wait_for(f"{self.process.name}: event {name}", there, timeout)

    def wait_said(self, *texts, event="cluster.unreachable", timeout=30):
        """The first event with all these texts in it."""

        def there():
            self.process.check()
            return next((row for row in self.events(event) if all(text in row for text in texts)), None)

        return wait_for(f"{event} with {texts}", there, timeout)


# Whoever stands in an incident reads what to type next, whatever it was that failed.
ACTING = {
    **dict.fromkeys(("failover", "switchover", "enable", "pause", "resume"), None),
    "dns": ("create", "adopt", "plan", "swap", "prepare"),
    "offsets": ("reset",),
    "fence": ("sync", "remove"),
    "acls": ("sync", "remove"),
    "fault": ("retry", "accept", "resync"),
    "hints": ("seen",),
}
_COMMAND = re.compile(r"\bferry (?!may)[a-z-]+|\bkafka-[a-z]+|\b(systemctl|redis-cli|timedatectl)\b")


def acts(args):
    words = [str(a) for a in args[:2]]
    return bool(words) and words[0] in ACTING and (ACTING[words[0]] is None or words[-1] in ACTING[words[0]])


def ends_in_a_command(stderr):
    """The last line of talk is "next: .." or "then: .." with a command in it."""
    last = ([line.strip() for line in stderr.splitlines() if line.strip()] or [""])[-1]
    return last.startswith(("next: ", "then: ")) and _COMMAND.search(last) is not None


class Command:
    """The ferry command with one configuration."""

    def __init__(self, conf, env=None, prefix=()):
        """`prefix`: words before the command, as rig.netns.resolving() gives them."""
        self.conf = conf
        self.env = env
        self.prefix = list(prefix)

    def run(self, *args, timeout=60, stdin=None):
        """CompletedProcess with text; never raises for an exit status."""
        argv = [*self.prefix, str(BIN / "ferry"), *[str(a) for a in args]]
        env = dict(os.environ) | {"FERRY_CONFIG": str(self.conf.path)} | (self.env or {})
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout, env=env, check=False)
        if done.returncode > 0 and acts(args):
            assert ends_in_a_command(done.stderr), f"ferry {args}: exit {done.returncode}\n{done.stderr}"
        return done

    def ok(self, *args, **more):
        """Standard output of a command that must succeed."""
        done = self.run(*args, **more)
        if done.returncode != 0:
            raise ProcessFailed(f"ferry {' '.join(map(str, args))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def json(self, *args, **more):
        """Parsed `-o json` of a command that must succeed."""
        return json.loads(self.ok(*args, "-o", "json", **more))

    def enable(self, service):
        return self.ok("enable", service, "--yes")

    def status(self, service):
        """Parsed status; the exit status may tell of trouble, which is in the answer too."""
        return json.loads(self.run("status", service, "-o", "json").stdout)

    def translate(self, service, topic, partition, offset, *more):
        return self.json("offsets", "translate", service, topic, partition, offset, *more)


def ferry_dir(name):
    folder = run_dir("ferry") / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
