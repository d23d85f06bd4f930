"""A Redis of our own on a free port.

with RedisServer("b") as redis:
    redis.client.get(...)        redis.url
    redis.pause(); redis.resume()            no answer, connections stay
    redis.kill9(); redis.start()             empty again, unless persistent=True
    old = redis.snapshot(); ...; redis.restore(old)      an older copy comes back
"""

import shutil
import signal
import threading

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rig.paths import REDIS_SERVER, run_dir
from rig.procs import Process, free_port, wait_for


class RedisServer:
    def __init__(self, name, persistent=False, options=(), workdir=None):
        """`options`: more arguments of redis-server, for example ("--maxmemory", "20mb")."""
        self.name = name
        self.port = free_port()
        self.dir = (workdir or run_dir("redis")) / f"redis-{name}"
        self.persistent = persistent
        self.options = list(options)
        self.process = None
        self.copies = 0
        self.client = self.connect()
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def connect(self, timeout=10):
        """A client that does not try again: what happens is what is seen."""
        return redis.Redis(port=self.port, socket_timeout=timeout, retry=Retry(NoBackoff(), 0))

    def start(self):
        argv = [REDIS_SERVER, "--port", self.port, "--bind", "127.0.0.1", "--dir", self.dir, "--save", ""]
        argv += ["--appendonly", "yes" if self.persistent else "no", "--daemonize", "no"]
        argv += ["--enable-debug-command", "local", *self.options]
        self.process = Process(f"redis {self.name}", argv, self.dir / "redis.log").start()

        def answers():
            self.process.check()
            try:
                return self.client.ping()
            except redis.exceptions.RedisError:
                return False

        wait_for(f"redis {self.name}", answers, 15)
        return self

    @property
    def alive(self):
        return self.process is not None and self.process.alive

    def stop(self):
        self.client.connection_pool.disconnect()
        return self.process.stop(5)

    def kill9(self):
        self.client.connection_pool.disconnect()
        return self.process.kill9()

    def pause(self):
        self.process.signal(signal.SIGSTOP)

    def resume(self):
        self.process.signal(signal.SIGCONT)

    def flush(self):
        self.client.flushall()

    def sleep(self, seconds):
        """Answer nobody for so long; returns at once."""
        asked = self.connect(timeout=seconds + 10)
        threading.Thread(target=lambda: asked.execute_command("DEBUG", "SLEEP", seconds), daemon=True).start()

    def snapshot(self):
        """A copy of everything now; give it to restore()."""
        self.client.save()
        self.copies += 1
        copy = self.dir / f"copy-{self.copies}.rdb"
        shutil.copy(self.dir / "dump.rdb", copy)
        return copy

    def restore(self, copy):
        """Stop hard and come back with an older copy, on the same port."""
        assert not self.persistent, "an append-only file would win over the copy"
        self.kill9()
        shutil.copy(copy, self.dir / "dump.rdb")
        self.start()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.alive:
            self.resume()
            self.kill9()
        shutil.rmtree(self.dir, ignore_errors=True)
