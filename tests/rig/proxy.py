"""A line to a broker that can be told to misbehave: held, reset, crumbled, late, answers changed on their way.

    door = Door()                                         a listener that clients reach through a Proxy a broker
    KafkaCluster("a", listeners={"door": door})           we ourselves go in by the listener in the clear
    Line(..., secured={"a": door.site(cluster)})          Ferry goes through the proxy
    door.proxy(1).held = {"answers"}                      half a line; set() = flows again
    door.proxy(1).change = lambda api, body: ...          each answer: other bytes, the same, or None = cut
    door.proxy(1).refuse = lambda api, body: ...          each request: true = cut instead of passed on

Frames are Kafka's: four bytes of length, then the body; an answer is told by the api_key of its request.
"""

import contextlib
import random
import socket
import struct
import threading
import time

from rig.procs import free_port
from rig.secure import Listener

PRODUCE, FETCH, API_VERSIONS = 0, 1, 18
BOTH = {"requests", "answers"}


class _Gone(Exception):
    pass


def _take(sock, count):
    data = bytearray()
    while len(data) < count:
        part = sock.recv(min(1 << 16, count - len(data)))
        if not part:
            raise _Gone
        data += part
    return bytes(data)


class _Session:
    """One connection and its two threads."""

    def __init__(self, proxy, client):
        self.proxy = proxy
        self.client = client
        self.broker = socket.create_connection(("127.0.0.1", proxy.to()), 10)
        for sock in (self.client, self.broker):
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.apis = {}
        self.spared = False
        for target in (self.requests, self.answers):
            threading.Thread(target=self.run, args=(target,), daemon=True).start()

    def run(self, pump):
        with contextlib.suppress(OSError, _Gone):
            pump()
        self.close()

    def close(self, hard=False):
        for sock in (self.client, self.broker):
            with contextlib.suppress(OSError):
                if hard:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
        self.proxy.sessions.discard(self)

    def wait(self, direction):
        while direction in self.proxy.held:
            time.sleep(0.01)

    def requests(self):
        while True:
            head = _take(self.client, 4)
            body = _take(self.client, struct.unpack(">i", head)[0])
            api, _, correlation = struct.unpack_from(">hhi", body)
            self.apis[correlation] = api
            self.spared = self.spared or (api == API_VERSIONS and b"librdkafka" in body)
            self.wait("requests")
            if self.proxy.refuse is not None and self.proxy.refuse(api, body):
                self.close(hard=True)
                raise _Gone
            self.broker.sendall(head + body)

    def answers(self):
        while True:
            body = _take(self.broker, struct.unpack(">i", _take(self.broker, 4))[0])
            api = self.apis.pop(struct.unpack_from(">i", body)[0], -1)
            self.wait("answers")
            change = None if self.spared and self.proxy.spares else self.proxy.change
            frame = struct.pack(">i", len(body)) + body
            if change is not None:
                changed = change(api, body)
                if changed is None:
                    self.close(hard=True)
                    raise _Gone
                frame = changed if changed[:4] == b"RAW:" else struct.pack(">i", len(changed)) + changed
                frame = frame.removeprefix(b"RAW:")
            self.deliver(frame)

    def deliver(self, frame):
        """The first bytes one by one when crumbling, what follows in pieces of any size."""
        at = 0
        while at < len(frame):
            size = len(frame)
            if self.proxy.crumble:
                size = 1 if at < self.proxy.crumble else random.randrange(1, 3000)
            self.client.sendall(frame[at : at + size])
            at += size


class Proxy:
    def __init__(self, to):
        """`to`: asked for the broker's port at each connection."""
        self.to = to
        self.port = free_port()
        self.held = set()
        self.change = None
        self.refuse = None
        self.spares = False  # librdkafka's connections: only those of our own client are changed
        self.crumble = 0
        self.count = 0
        self.sessions = set()
        self.listening = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                self.count += 1
                with contextlib.suppress(OSError):
                    self.sessions.add(_Session(self, client))

    def reset(self):
        """RST to everybody."""
        for session in list(self.sessions):
            session.close(hard=True)

    def clean(self):
        self.held, self.change, self.refuse, self.spares, self.crumble = set(), None, None, False, 0

    def stop(self):
        self.clean()
        self.listening.close()
        self.reset()


class Door(Listener):
    """A listener in the clear whose brokers are advertised at a Proxy of their own."""

    def __init__(self):
        super().__init__("PLAINTEXT", host="127.0.0.1")
        self.proxies = {}

    def advertised_port(self, broker):
        return self.proxy(broker).port

    def proxy(self, broker):
        """Of a broker, or of its number when it was asked for once."""
        number = broker if isinstance(broker, int) else broker.id
        if number not in self.proxies:
            self.proxies[number] = Proxy(lambda: self.port(broker))
        return self.proxies[number]

    def site(self, cluster):
        """`kafka` of a site."""
        servers = ",".join(f"127.0.0.1:{self.proxy(broker).port}" for broker in cluster.brokers)
        return {"kafka": {"bootstrap.servers": servers}}

    def clean(self):
        for proxy in self.proxies.values():
            proxy.clean()
