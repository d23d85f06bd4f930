"""What a newcomer gets: the container image, and the package on a clean Debian 13 with its systemd.

Both are built from this tree as the README says, in an engine of the test's own, and mirror between real brokers on
this machine.
"""

import json
import shutil
import time
from types import SimpleNamespace

import pytest

from rig.engine import BASE
from rig.kafka import KafkaCluster
from rig.line import Line
from rig.procs import wait_for
from rig.produce import Load
from rig.redis import RedisServer

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

IMAGE_BYTES_MAX = 50 << 20  # above the bare system: ferryd, the command and the libraries they need
# As docker/README.md promises that it runs.
CONFINED = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
UID = 946  # of ferry in the image: volumes keep their owner from one image to the next

SYSTEM = f"""
FROM debian:{BASE}-slim AS system
RUN apt-get update && apt-get install -y --no-install-recommends systemd systemd-sysv && rm -rf /var/lib/apt/lists/*
COPY init /init
CMD ["/init"]
FROM system
COPY ferry.deb /root/ferry.deb
RUN apt-get update && apt-get install -y --no-install-recommends /root/ferry.deb && rm -rf /var/lib/apt/lists/*
"""
# What systemd needs to run units as on a machine; less than --privileged, which a root without every right cannot give.
BOOTED = [
    *["--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_PTRACE", "--cgroupns=private"],
    *["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"],
    *["--security-opt", "systempaths=unconfined", "--tmpfs", "/run", "--hostname", "site-b", "-e", "container=docker"],
]
# systemd wants one tree of control groups, of its own; an older machine gives containers a tree a controller.
INIT = """#!/bin/bash
set -e
if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
    umount -R /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
    mkdir -p /sys/fs/cgroup/ferry-rig
    echo $$ >/sys/fs/cgroup/ferry-rig/cgroup.procs
    exec unshare --cgroup bash -c 'umount /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec /sbin/init'
fi
exec /sbin/init
"""


@pytest.fixture(scope="module")
def outside(engine, session_dir):
    """Two brokers and a Redis on this machine, where containers reach them."""
    folder = session_dir / "outside"
    source, target = (KafkaCluster(name, workdir=folder, place=engine.outside) for name in ("source", "target"))
    redis = RedisServer("outside", workdir=folder, place=engine.outside)
    with redis, source, target:
        yield SimpleNamespace(source=source, target=target, redis=redis)


@pytest.fixture(scope="module")
def image(engine):
    engine.build("ferry", "docker/Dockerfile")
    return "ferry"


@pytest.fixture(scope="module")
def deb(engine, image, tmp_path_factory):
    """The package that `make deb` made in the image's first stage."""
    engine.build("ferry-build", "docker/Dockerfile", "--target", "build")  # built already: from the cache
    path = tmp_path_factory.mktemp("deb") / "ferry.deb"
    with engine.run("ferry-build", "sleep", "60") as box:
        where = box.sh("ls /src/build/deb/ferry_*.deb").strip()
        engine.docker("cp", f"{box.name}:{where}", path)
    return path


@pytest.fixture
def line(own, folder, outside, name):
    """A service between the brokers outside; its configuration is what containers get, and they enable it."""
    outside.source.create_topic(f"{name}.t", partitions=4)
    line = Line(own, folder, outside.source, outside.target, outside.redis, name, [f"{name}.t"], enable=False)
    line.conf.data.pop("state_dir")
    line.conf.write()
    line.conf.path.chmod(0o644)
    return line


def produce(line, count=5_000):
    return Load(line.source.bootstrap, line.topics[0], "lz4", count=count, partitions=4).run()


# -- the image --------------------------------------------------------------------------------------------------------


def test_the_image_is_slim_and_not_root(engine, image):
    base = json.loads(engine.docker("image", "inspect", f"debian:{BASE}-slim").stdout)[0]["Size"]
    found = json.loads(engine.docker("image", "inspect", image).stdout)[0]
    assert found["Size"] - base < IMAGE_BYTES_MAX, f"{(found['Size'] - base) >> 20} MiB above the base"
    assert found["Config"]["User"] == "ferry" and found["Config"]["Healthcheck"]
    with engine.run(image, "300", options=["--entrypoint", "sleep", "--no-healthcheck"]) as box:
        assert box.sh("id -u; id -g").split() == [str(UID)] * 2
        assert box.sh("stat -c '%U %a' /var/lib/ferry").split() == ["ferry", "700"]
        assert ": ok: " in box.sh("ferryd --check --config /etc/ferry/ferry.json.example")
        assert box.exec("sh", "-c", "command -v gcc make systemctl").stdout == "", "tools are left in the image"


def test_a_container_mirrors_and_leaves_in_order(engine, image, line, own):
    produce(line)
    conf = ["-v", f"{line.conf.dir}:/etc/ferry:ro", "--health-interval", "1s", *CONFINED]
    first = own(engine.run(image, options=["--hostname", "first", *conf]))
    wait_for("the container to be healthy", lambda: first.health == "healthy", 30, every=0.2)
    first.sh(f"ferry enable {line.service} --yes")  # docker exec ferry ...
    line.wait_caught_up()
    status = first.exec("ferry", "status", line.service)
    assert status.returncode == 0 and "if you failed over now" in status.stdout.lower(), status.stdout + status.stderr
    assert first.health == "healthy"
    load = Load(line.source.bootstrap, line.topics[0], "lz4", count=30_000, partitions=4, rate=5_000).start()
    time.sleep(2)
    began = time.monotonic()
    assert first.stop() == 0, first.log()
    assert time.monotonic() - began < 10 and "ERROR" not in first.log(), first.log()
    second = own(engine.run(image, options=["--hostname", "second", *conf]))
    load.wait()
    line.wait_caught_up()
    line.prove()
    assert not second.sh("find /etc/ferry /var/lib/ferry -newer /etc/ferry/ferry.json -type f ! -name '*.lock'")


def test_the_health_is_that_of_the_loop(engine, image, line, own):
    """A worker that stands still is unhealthy, one that goes on is healthy again; the check follows FERRY_HTTP."""
    options = ["-v", f"{line.conf.dir}:/etc/ferry:ro", "-e", "FERRY_HTTP=0.0.0.0:8099"]
    options += ["--health-interval", "1s", "--health-retries", "2", "--health-timeout", "2s"]
    box = own(engine.run(image, options=options))
    for signal, health in ((None, "healthy"), ("STOP", "unhealthy"), ("CONT", "healthy")):
        if signal:
            box.signal(signal)
        wait_for(f"the container to be {health}", lambda health=health: box.health == health, 40, every=0.2)


def test_a_container_says_what_it_lacks(engine, image, folder, own):
    """No file, or one that the user of the image may not read: by name, and no restart would mend it."""
    box = own(engine.run(image))
    wait_for("the container to end", lambda: not box.state["Running"], 20)
    assert box.state["ExitCode"] == 7 and "/etc/ferry/ferry.json" in box.log(), box.log()
    (folder / "ferry.json").write_text("{}")
    (folder / "ferry.json").chmod(0o600)
    box = own(engine.run(image, options=["-v", f"{folder}:/etc/ferry:ro"]))
    wait_for("the container to end", lambda: not box.state["Running"], 20)
    assert box.state["ExitCode"] == 7 and "ermission denied" in box.log(), box.log()


# -- the package ------------------------------------------------------------------------------------------------------


@pytest.fixture
def system(engine, deb, folder, own):
    """A running Debian 13 with systemd, which got the package from apt and nothing else."""
    context = folder / "system"
    context.mkdir()
    (context / "Dockerfile").write_text(SYSTEM)
    (context / "init").write_text(INIT)
    (context / "init").chmod(0o755)
    shutil.copy(deb, context / "ferry.deb")
    engine.build("ferry-system", context / "Dockerfile", context=context)
    box = own(engine.run("ferry-system", options=BOOTED))

    def up():
        return box.exec("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")

    wait_for("systemd", up, 60, every=0.2)
    return box


def unit(box, what, name="ferryd"):
    return box.exec("systemctl", "show", "--value", "-p", what, name).stdout.strip()


def journal(box):
    return box.sh("journalctl --no-pager -n 60")


def systemctl(box, *args):
    done = box.exec("systemctl", *args, timeout=90)
    assert done.returncode == 0, f"systemctl {' '.join(args)}: {done.stderr}\n{journal(box)}"


def main_pids(box):
    """Of the running units; both must run."""
    pids = {name: unit(box, "MainPID", name) for name in ("ferryd", "ferryd@1")}
    assert "0" not in pids.values(), journal(box)
    return pids


def test_the_package_on_a_clean_debian_13(system, line):
    """The README's steps, as a newcomer types them; then what a unit is for: reload, a crash, an upgrade, the end."""
    box = system
    assert box.exec("systemctl", "is-enabled", "ferryd").stdout.strip() == "disabled"
    assert unit(box, "ActiveState") == "inactive"
    assert box.sh("stat -c '%U %G %a' /etc/ferry /var/lib/ferry").splitlines() == ["root ferry 750", "ferry ferry 700"]
    box.sh("cat >/etc/ferry/ferry.json", options=["-i"], stdin=line.conf.path.read_text())
    assert ": ok: " in box.sh("ferryd --check")
    box.sh(f"ferry enable {line.service} --yes")
    systemctl(box, "enable", "--now", "ferryd")
    produce(line)
    line.wait_caught_up()
    status = box.exec("ferry", "status", line.service)
    assert status.returncode == 0, status.stdout + status.stderr
    assert box.sh(f"stat -c %U /proc/{unit(box, 'MainPID')}").strip() == "ferry"

    systemctl(box, "reload", "ferryd")
    wait_for("the reload", lambda: "ferryd.reloaded" in journal(box), 10)
    box.sh("cp /etc/ferry/ferry.json /tmp/good && echo '{' >/etc/ferry/ferry.json")
    assert box.exec("systemctl", "reload", "ferryd").returncode != 0 and unit(box, "ActiveState") == "active"
    assert "/etc/ferry/ferry.json:2:" in journal(box), journal(box)
    box.sh("cp /tmp/good /etc/ferry/ferry.json")

    systemctl(box, "enable", "--now", "ferryd@1")
    before = main_pids(box)
    systemctl(box, "kill", "--signal=KILL", "ferryd")
    wait_for("the unit to start it again", lambda: main_pids(box)["ferryd"] != before["ferryd"], 20)
    produce(line)
    line.wait_caught_up()

    before = main_pids(box)
    box.sh("dpkg -i /root/ferry.deb", timeout=90)  # an upgrade: what runs is started anew, and nothing else
    after = main_pids(box)
    assert not set(before.values()) & set(after.values()), journal(box)
    systemctl(box, "stop", "ferryd@1")
    box.sh("dpkg -i /root/ferry.deb", timeout=90)
    assert unit(box, "ActiveState", "ferryd@1") == "inactive"
    assert [unit(box, "Result", name) for name in after] == ["success"] * 2, journal(box)
    produce(line)
    line.wait_caught_up()
    line.prove()

    systemctl(box, "start", "ferryd@1")
    box.sh("dpkg --purge ferry", timeout=90)
    assert "ferryd" not in box.sh("cat /proc/[0-9]*/comm")
    left = box.sh("find / -xdev -name '*ferry*' ! -path '/proc/*' ! -path '/sys/*' ! -path '/root/*'").split()
    assert left == ["/etc/ferry", "/etc/ferry/ferry.json"], left
