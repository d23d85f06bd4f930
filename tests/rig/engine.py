"""A container engine of a test's own: dockerd with its own socket, data and bridge; all of it goes with the test.

engine = own(Engine(folder)).start()                 raises NoEngine where none can be started
engine.build("ferry", "docker/Dockerfile")
box = own(engine.run("ferry", options=["-v", f"{conf}:/etc/ferry:ro"]))
box.health; box.sh("ferry status orders"); box.stop()
KafkaCluster("a", place=engine.outside)              containers reach it; so does the host

Nothing is pulled: `tools/setup.sh engine` unpacks the engine and makes the one base image, debian:trixie-slim. The
engine lives in a process and a mount namespace of its own, so that containers and mounts cannot outlive it, however it
ends. It writes no packet filter rules: containers reach this machine over the bridge, and a build uses the machine's
network. Needs root. FERRY_ENGINE=unix:///... is an engine that runs already, whose cache saves the builds: it is used,
and keeps its images.
"""

import contextlib
import json
import os
import shutil
import subprocess

from rig.netns import ip
from rig.paths import BUILD, ROOT, run_dir
from rig.procs import Process, TimeIsUp, wait_for

ENGINE = BUILD / "deps" / "engine"
BASE = "trixie"


class NoEngine(Exception):
    """No engine can be started here; the text says why."""


class Outside:
    """Where servers on this machine are seen from containers; a `place` for brokers and Redis."""

    prefix = ()

    def __init__(self, host):
        self.host = host


class Engine:
    def __init__(self, folder):
        self.folder = folder
        self.home = run_dir("engine")  # a short path: sockets allow about 100 bytes
        self.bridge = f"fye{os.getpid()}"
        self.outside = Outside(f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}.1")
        self.process = None
        self.env = {
            "PATH": f"{ENGINE}/usr/bin:{ENGINE}/usr/sbin:{os.environ['PATH']}",
            "DOCKER_HOST": os.environ.get("FERRY_ENGINE", f"unix://{self.home}/s"),
            "DOCKER_CONFIG": str(self.home / "config"),
            "DOCKER_BUILDKIT": "0",  # the builder that needs no plugin
        }
        plugins = self.home / "config" / "cli-plugins"
        plugins.parent.mkdir(exist_ok=True)
        plugins.unlink(missing_ok=True)
        plugins.symlink_to(ENGINE / "usr" / "libexec" / "docker" / "cli-plugins")

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self):
        if "FERRY_ENGINE" in os.environ:
            return self
        self._possible()
        ip("link", "add", self.bridge, "type", "bridge")
        ip("addr", "add", f"{self.outside.host}/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")
        own = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        # a shell as the first process: it takes in what the engine's helpers leave behind
        engine = [
            *["dockerd", "--host", self.env["DOCKER_HOST"], "--data-root", self.home / "data"],
            *["--exec-root", self.home / "x", "--pidfile", self.home / "pid", "--bridge", self.bridge],
            *["--iptables=false", "--ip-forward=false"],
        ]
        argv = [*own, "bash", "-c", '"$@" & wait', "_", *engine]
        self.process = Process("container engine", argv, self.folder / "engine.log", env=self.env).start()
        try:
            wait_for("the container engine", self._answers, 30, every=0.1)
        except (TimeIsUp, NoEngine) as err:
            why = f"{err}\n{self.process.log_tail(5)}"
            self.stop()
            raise NoEngine(f"dockerd does not start: {why}") from None
        self.docker("import", ENGINE / f"{BASE}.tar", f"debian:{BASE}-slim")
        return self

    def _possible(self):
        if os.geteuid() != 0:
            raise NoEngine("a container engine is started by root")
        if not (ENGINE / f"{BASE}.tar").exists():
            raise NoEngine("no container engine is set up: run `tools/setup.sh engine`")

    def _answers(self):
        if not self.process.alive:
            raise NoEngine("it ended")
        return self.docker("version", check=False).returncode == 0

    def stop(self):
        if self.process is None:
            return
        if self.process.alive:
            boxes = self.docker("ps", "-aq", check=False).stdout.split()
            if boxes:
                self.docker("rm", "-f", *boxes, check=False)
            self.docker("network", "prune", "-f", check=False)  # their bridges are this machine's
        self.process.kill9()
        with contextlib.suppress(AssertionError):
            ip("link", "del", self.bridge)
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, *_):
        self.stop()

    # -- images and containers ----------------------------------------------------------------------------------

    def docker(self, *args, check=True, timeout=60, stdin=None):
        """CompletedProcess of the docker command, with text; raises when it fails, unless told otherwise."""
        argv = ["docker", *map(str, args)]
        done = subprocess.run(
            argv,
            **{"env": os.environ | self.env, "cwd": ROOT, "text": True, "capture_output": True},
            **{"timeout": timeout, "input": stdin, "check": False},
        )
        assert not check or done.returncode == 0, f"docker {args[0]}: {done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done

    def build(self, tag, dockerfile, *options, context=ROOT, timeout=1200):
        """An image of a Dockerfile, as a user builds it; a build reaches the archives over the machine's network."""
        self.docker("build", "--network=host", "-t", tag, "-f", dockerfile, *options, context, timeout=timeout)

    def compose(self, *args, cwd, env=None, timeout=600, stdin=None):
        """CompletedProcess of `docker compose`, as a user types it, whatever its status."""
        return subprocess.run(
            ["docker", "compose", *map(str, args)],
            **{"env": os.environ | self.env | {"DOCKER_BUILDKIT": "1"} | (env or {}), "cwd": cwd, "text": True},
            **{"timeout": timeout, "input": stdin, "capture_output": True, "check": False},
        )

    def run(self, image, *command, options=()):
        return Container(self, self.docker("run", "-d", *options, image, *command).stdout.strip())


class Container:
    """A container that was started; gone with its block."""

    def __init__(self, engine, name):
        self.engine = engine
        self.name = name

    @property
    def state(self):
        """What the engine knows of it: Running, ExitCode, Health, ..."""
        return json.loads(self.engine.docker("inspect", "-f", "{{json .State}}", self.name).stdout)

    @property
    def health(self):
        """starting, healthy or unhealthy."""
        return self.state["Health"]["Status"]

    @property
    def address(self):
        return self.engine.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", self.name).stdout.strip()

    def exec(self, *argv, options=(), timeout=60, stdin=None):
        """A command inside, as `docker exec` runs it: CompletedProcess, whatever its status."""
        return self.engine.docker("exec", *options, self.name, *argv, check=False, timeout=timeout, stdin=stdin)

    def sh(self, text, **more):
        """Standard output of shell commands inside that must succeed."""
        done = self.exec("bash", "-euo", "pipefail", "-c", text, **more)
        assert done.returncode == 0, f"{text}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def log(self):
        done = self.engine.docker("logs", self.name)
        return done.stdout + done.stderr

    def signal(self, name):
        self.engine.docker("kill", "--signal", name, self.name)

    def stop(self, seconds=20):
        """`docker stop`; the exit code."""
        self.engine.docker("stop", "--time", seconds, self.name, timeout=seconds + 30)
        return self.state["ExitCode"]

    def remove(self):
        self.engine.docker("rm", "-f", "-v", self.name, check=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()
