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
from rig.secure import write_secret


class RedisServer:
    def __init__(self, name, persistent=False, options=(), workdir=None, tls=None, user=None, place=None, disk=None):
        """`options`: more arguments of redis-server, for example ("--maxmemory", "20mb"). `tls`: (rig.secure.Authority,
        Certificate), then there is no port in the clear. `user`: (name, password) that Ferry signs in as. `place`:
        where it is reached, other than 127.0.0.1. `disk`: a rig.disk.Disk that its files are on."""
        self.name = name
        self.host = place.host if place else "127.0.0.1"
        self.tls = tls
        self.user = user
        self.port = free_port()
        self.dir = (workdir or run_dir("redis")) / f"redis-{name}"
        self.persistent = persistent
        self.options = list(options)
        self.disk = disk
        self.process = None
        self.copies = 0
        self.client = self.connect()
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)

    @property
    def url(self):
        return f"rediss://localhost:{self.port}/0" if self.tls else f"redis://{self.host}:{self.port}/0"

    def settings(self, folder):
        """`redis` of a site."""
        site = {"url": self.url}
        if self.tls:
            site["ca_file"] = str(self.tls[0].pem)
        if self.user:
            password = folder / "redis-password"
            write_secret(password, self.user[1])
            site |= {"username": self.user[0], "password": {"file": str(password)}}
        return site

    def connect(self, timeout=10):
        """A client that does not try again: what happens is what is seen."""
        secure = {"ssl": True, "ssl_ca_certs": str(self.tls[0].pem)} if self.tls else {}
        host = "localhost" if self.tls else self.host
        return redis.Redis(host, self.port, socket_timeout=timeout, retry=Retry(NoBackoff(), 0), **secure)

    def connect_as(self, password):
        """Of a server whose password was set while it ran."""
        return redis.Redis(self.host, self.port, password=password, retry=Retry(NoBackoff(), 0))

    def start(self, wait=True):
        """Not waited for, it may still read its file: wait_started()."""
        argv = [REDIS_SERVER, "--port", 0 if self.tls else self.port]
        argv += ["--bind", self.host, "--protected-mode", "no", "--dir", self.dir, "--save", ""]
        if self.tls:
            authority, certificate = self.tls
            argv += ["--tls-port", self.port, "--tls-cert-file", certificate.pem, "--tls-key-file", certificate.key]
            argv += ["--tls-ca-cert-file", authority.pem, "--tls-auth-clients", "no"]
        if self.user:
            argv += ["--user", self.user[0], "on", f">{self.user[1]}", "~*", "&*", "+@all"]
        argv += ["--appendonly", "yes" if self.persistent else "no", "--daemonize", "no"]
        argv += ["--enable-debug-command", "local", *self.options]
        if self.disk:
            argv = [*self.disk.prefix, *argv, "--dir", self.disk.path]
        self.process = Process(f"redis {self.name}", argv, self.dir / "redis.log").start()
        return self.wait_started() if wait else self

    def wait_started(self, timeout=15):
        def answers():
            self.process.check()
            try:
                return self.client.ping()
            except redis.exceptions.RedisError:
                return False

        wait_for(f"redis {self.name}", answers, timeout)
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

    def rewrite(self):
        """What a persistent one has goes into one file."""
        self.client.bgrewriteaof()
        busy = ("aof_rewrite_scheduled", "aof_rewrite_in_progress")
        wait_for("one file of all keys", lambda: not any(self.client.info("persistence")[key] for key in busy), 20)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.alive:
            self.resume()
            self.kill9()
        shutil.rmtree(self.dir, ignore_errors=True)


class Nodes:
    """A Redis Cluster of two; at first the one that Ferry's configuration names has every slot.

    nodes = Nodes(new_redis); nodes.first ...
    nodes.move(slot, nodes.first, nodes.second)          with its keys, as `redis-cli --cluster reshard` does
    """

    def __init__(self, new_redis):
        self.bus = {}
        self.first, self.second = (self.node(new_redis, name) for name in ("first", "second"))
        self.ask(self.first, "ADDSLOTSRANGE", 0, 16383)
        self.ask(self.first, "MEET", "127.0.0.1", self.second.port, self.bus[self.second])
        for node in (self.first, self.second):
            wait_for("the nodes to know each other", lambda node=node: self.complete(node), 20)

    def node(self, new_redis, name):
        bus = free_port()
        options = ("--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-require-full-coverage", "no")
        options += ("--cluster-allow-replica-migration", "no")  # one without slots stays what it is
        node = new_redis(name, persistent=True, options=options)
        self.bus[node] = bus
        return node

    def complete(self, node):
        info = self.ask(node, "INFO").decode()
        return "cluster_known_nodes:2" in info and "cluster_slots_assigned:16384" in info and "cluster_state:ok" in info

    def ask(self, node, *words):
        return node.client.execute_command("CLUSTER", *words)

    def slot(self, key):
        return self.ask(self.first, "KEYSLOT", key)

    def move(self, slot, source, target):
        ids = {node: self.ask(node, "MYID").decode() for node in (source, target)}
        self.ask(target, "SETSLOT", slot, "IMPORTING", ids[source])
        self.ask(source, "SETSLOT", slot, "MIGRATING", ids[target])
        while keys := self.ask(source, "GETKEYSINSLOT", slot, 1000):
            source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, source):
            self.ask(node, "SETSLOT", slot, "NODE", ids[target])
