"""ferryd as a process: command line, exit codes, signals, lock, service manager. No broker is needed for these."""

import json
import os
import signal
import socket
import subprocess
import time

import pytest

from rig.ferry import EXIT_CONFIGURATION, EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, EXIT_USAGE, Worker
from rig.paths import BIN
from rig.procs import free_port, wait_for

FERRYD = str(BIN / "ferryd")


class Nowhere:
    """A configuration whose sites do not answer."""

    def __init__(self, folder, **top):
        self.dir = folder
        self.path = folder / "ferry.json"
        sites = {n: {"kafka": {"bootstrap.servers": f"127.0.0.1:{free_port()}"}} for n in ("a", "b")}
        service = {"home": "a", "others": ["b"], "topics": {"include": ["t*"]}}
        self.data = {
            "deployment": "test",
            "state_dir": str(folder / "state"),
            "sites": sites,
            "services": {"orders": service},
            **top,
        }
        self.path.write_text(json.dumps(self.data, indent=2))


@pytest.fixture
def conf(folder):
    return Nowhere(folder)


def run(*args, **env):
    clean = {k: v for k, v in os.environ.items() if k not in ("FERRY_CONFIG", "FERRY_HTTP")}
    return subprocess.run([FERRYD, *map(str, args)], capture_output=True, text=True, timeout=20, env=clean | env)


def test_help_and_version():
    done = run("--help")
    assert done.returncode == EXIT_DONE
    assert "--config FILE" in done.stdout and "[FERRY_CONFIG]" in done.stdout
    done = run("--version")
    assert done.returncode == EXIT_DONE
    assert done.stdout.startswith("ferryd ")


@pytest.mark.parametrize("args", [["--no-such"], ["orders"], ["--config"], ["--log-level", "loud"]])
def test_wrong_command_lines(args):
    done = run(*args)
    assert done.returncode == EXIT_USAGE
    assert "ferryd: hint: ferryd --help" in done.stderr


def test_check(conf):
    done = run("--check", "--config", conf.path)
    assert done.returncode == EXIT_DONE
    assert done.stdout == f"{conf.path}: ok: 2 sites, 1 services, 1 links\n"
    assert run("--check", FERRY_CONFIG=str(conf.path)).returncode == EXIT_DONE


def test_check_says_where(conf):
    conf.path.write_text(conf.path.read_text().replace('"home"', '"hom"'))
    done = run("--check", "--config", conf.path)
    assert done.returncode == EXIT_CONFIGURATION
    line = next(n for n, text in enumerate(conf.path.read_text().splitlines(), 1) if '"hom"' in text)
    assert f"{conf.path}:{line}:" in done.stderr
    assert "services.orders" in done.stderr


def test_a_missing_file(folder):
    done = run("--config", folder / "none.json")
    assert done.returncode == EXIT_CONFIGURATION
    assert "none.json" in done.stderr


def test_sites_that_do_not_answer_keep_it_waiting(own, conf):
    worker = own(Worker(conf, "w1").start())
    worker.wait_healthy()
    assert worker.get("/readyz")[0] == 503
    metrics = worker.metrics()
    assert metrics.sum("ferry_build_info") == 1
    assert metrics["process_resident_memory_bytes"] > 1 << 20
    assert metrics["process_open_fds"] > 3
    assert worker.stop() == EXIT_DONE


def test_an_interrupt_stops_it_too(own, conf):
    worker = own(Worker(conf, "w1").start())
    worker.wait_event("ferryd.started")
    worker.process.signal(signal.SIGINT)
    assert worker.process.wait(20) == EXIT_DONE


def test_a_hangup_reads_the_file_again(own, conf):
    worker = own(Worker(conf, "w1").start())
    worker.wait_event("ferryd.started")
    worker.process.signal(signal.SIGHUP)
    assert "changes=0" in worker.wait_event("ferryd.reloaded")[0]
    assert worker.stop() == EXIT_DONE


def test_a_second_worker_of_the_name_is_refused_on_one_host(own, conf):
    worker = own(Worker(conf, "w1").start())
    worker.wait_event("ferryd.started")
    done = run("--config", conf.path, "--worker", "w1", "--http", "off")
    assert done.returncode == EXIT_REFUSED
    assert f"process {worker.pid} holds" in done.stderr
    other = own(Worker(conf, "w2").start())
    other.wait_event("ferryd.started")
    worker.kill9()
    again = own(Worker(conf, "w1").start())
    again.wait_event("ferryd.started")


def test_a_state_directory_that_cannot_be_made(folder):
    done = run("--config", Nowhere(folder, state_dir="/dev/null/state").path)
    assert done.returncode == EXIT_CONFIGURATION
    assert "/dev/null/state" in done.stderr and "state_dir" in done.stderr


def test_a_taken_port_does_not_stop_it(own, conf):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        worker = own(Worker(conf, "w1", args=["--http", address]).start())
        worker.wait_event("http.failed")
        assert worker.alive
    worker.port = int(address.rsplit(":", 1)[1])
    worker.wait_healthy(timeout=15)


def test_secrets_stay_in_its_memory(own, conf):
    worker = own(Worker(conf, "w1").start())
    worker.wait_event("ferryd.started")
    with open(f"/proc/{worker.pid}/limits") as limits:
        rows = {line[:26].strip(): line[26:].split() for line in limits}
    assert rows["Max core file size"][:2] == ["0", "0"]
    assert rows["Max open files"][0] == rows["Max open files"][1]
    lock = conf.dir / "state" / "w1.lock"
    assert lock.stat().st_mode & 0o777 == 0o600
    assert lock.read_text() == f"{worker.pid}\n"


def test_a_secret_that_is_mounted_later(own, conf):
    """Its unit starts it again: exit code 1, not 7, and no other file but the secret's has to change."""
    secret = conf.dir / "password"
    sign_in = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "ferry"}
    for site in conf.data["sites"].values():
        site["kafka"] |= sign_in
        site["secrets"] = {"sasl.password": {"file": str(secret)}}
    conf.path.write_text(json.dumps(conf.data))
    done = run("--config", conf.path, "--worker", "w1", "--http", "off")
    assert done.returncode == EXIT_FAILED
    assert str(secret) in done.stderr
    secret.write_text("pencil\n")
    secret.chmod(0o600)
    worker = own(Worker(conf, "w1").start())
    worker.wait_event("ferryd.started")
    assert worker.stop() == EXIT_DONE


def test_what_a_site_leaves_open_is_said_everywhere(own, conf):
    conf.data["sites"]["b"]["kafka"] |= {"security.protocol": "SSL", "enable.ssl.certificate.verification": False}
    conf.path.write_text(json.dumps(conf.data))
    worker = own(Worker(conf, "w1").start())
    (line,) = worker.wait_event("site.weak")
    assert "site=b" in line and "enable.ssl.certificate.verification" in line
    assert worker.stop() == EXIT_DONE
    for command in ("check", "status"):
        argv = [BIN / "ferry", "--config", conf.path, command, "orders", "--timeout", "1"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        text = " ".join(done.stdout.split())
        assert "warning: site b: enable.ssl.certificate.verification is false" in text, done


def test_the_service_manager_is_told(own, conf):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    name = f"ferry-test-{os.getpid()}"
    manager.bind(f"\0{name}")
    manager.settimeout(10)
    env = {"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "400000"}
    worker = own(Worker(conf, "w1", env=env).start())
    words = [manager.recv(256).decode()]
    while not any(word.startswith("READY=1") for word in words):
        words.append(manager.recv(256).decode())
    began = time.monotonic()
    for _ in range(4):
        assert manager.recv(256) == b"WATCHDOG=1"
    assert time.monotonic() - began < 2
    worker.process.signal(signal.SIGTERM)
    wait_for("the word", lambda: manager.recv(256).startswith(b"STOPPING=1"), 5)
    assert worker.process.wait(20) == EXIT_DONE
    manager.close()


def test_a_second_signal_ends_it_at_once(own, conf):
    """Even while an orderly stop waits for a thread that talks to a site which does not answer."""
    worker = own(Worker(conf, "w1").start())
    worker.wait_event("ferryd.started")
    worker.process.signal(signal.SIGTERM)
    worker.process.signal(signal.SIGTERM)
    began = time.monotonic()
    status = worker.process.wait(20)
    assert time.monotonic() - began < 2
    assert status in (EXIT_DONE, EXIT_FAILED, -signal.SIGTERM)


# -- files that are wrong --------------------------------------------------------------------------------------------


def secret(conf, **where):
    sign_in = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "ferry"}
    conf.data["sites"]["b"] |= {"secrets": {"sasl.password": where}}
    conf.data["sites"]["b"]["kafka"] |= sign_in
    return json.dumps(conf.data, indent=2)


def writable_secret(conf):
    path = conf.dir / "password"
    path.write_text("pencil\n")
    path.chmod(0o666)
    return secret(conf, file=str(path))


def renamed(conf, old, new):
    return json.dumps(conf.data, indent=2).replace(old, new)


WRONG = {
    "a key twice": (lambda c: renamed(c, '"home": "a",', '"home": "a", "home": "b",'), ["home"]),
    "an unknown key": (lambda c: renamed(c, '"topics"', '"topisc"'), ["topisc", "topics"]),
    "NaN": (lambda c: renamed(c, '"test"', "NaN"), []),
    "a number without end": (lambda c: renamed(c, '"test"', "1" * 400), ["integer"]),
    "17 MiB": (lambda c: renamed(c, '"test"', '"' + "x" * (17 << 20) + '"'), []),
    "a hundred thousand brackets": (lambda c: renamed(c, '"test"', "[" * 100_000 + "]" * 100_000), ["deeper"]),
    "a byte order mark": (lambda c: "\ufeff" + renamed(c, "", ""), []),
    "something behind it": (lambda c: renamed(c, "", "") + "}", []),
    "half of it": (lambda c: renamed(c, "", "")[:200], []),
    "nothing": (lambda c: "", []),
    "a secret that others may write": (writable_secret, ["password", "write"]),
    "a site with a slash": (lambda c: renamed(c, '"b"', '"b/c"'), ["b/c"]),
    "a service with a slash": (lambda c: renamed(c, '"orders"', '"../orders"'), ["../orders"]),
    "a place that is none": (lambda c: renamed(c, '"home": "a"', '"home": "nowhere"'), ["nowhere"]),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_starts_nothing_and_says_where(conf, what):
    """S59: each is refused by name and place, by the check and by the start, at once and without growing."""
    made, words = WRONG[what]
    conf.path.write_text(made(conf))
    began = time.monotonic()
    for args in (["--check"], ["--http", "off", "--worker", "w1"]):
        done = run(*args, "--config", conf.path)
        assert done.returncode == EXIT_CONFIGURATION, done
        assert str(conf.path) in done.stderr, done.stderr
        for word in words:
            assert word in done.stderr, done.stderr
        assert len(done.stderr) < 3000 and "ferryd.started" not in done.stderr
    assert time.monotonic() - began < 5


def test_a_secret_that_nobody_set(conf):
    """S59: the file is right, so its check is; nothing starts without the variable, which is named."""
    conf.path.write_text(secret(conf, env="FERRY_TEST_NOBODY_SET_THIS"))
    done = run("--config", conf.path, "--http", "off", "--worker", "w1")
    assert done.returncode == EXIT_FAILED and "FERRY_TEST_NOBODY_SET_THIS" in done.stderr, done
    assert "ferryd.started" not in done.stderr


def test_lines_of_another_system_are_fine(conf):
    """S59: carriage returns are white space."""
    conf.path.write_bytes(json.dumps(conf.data, indent=2).replace("\n", "\r\n").encode())
    assert run("--check", "--config", conf.path).returncode == EXIT_DONE


def test_a_full_disk_under_the_log_stops_nothing(own, conf):
    """S7: what cannot be written is counted; the worker turns, serves, and ends in order."""
    worker = own(Worker(conf, "w1"))
    worker.process.argv = ["sh", "-c", 'exec "$@" >/dev/full 2>&1', "sh", *worker.process.argv]
    worker.start().wait_healthy()
    worker.wait_metric("lines that were dropped", lambda m: m.get("ferry_log_lines_dropped_total", 0) > 0, 10)
    assert worker.stop() == EXIT_DONE
