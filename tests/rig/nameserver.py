"""Name servers of our own on free ports of 127.0.0.1: BIND, Knot, PowerDNS, each with one zone and one TSIG key.

with Bind("one", folder) as server:
    server.address                 "127.0.0.1:PORT"
    server.value("kafka")          CNAME in the zone as an independent client sees it (dnspython)
    server.zone()                  every record, by zone transfer
    server.put("kafka", 30, "CNAME", "kafka-b")        somebody else's change, with the administrator's key
Secondary("two", folder, of=server).notify()           has what it had until it is told
Proxy(server).lose_answers(1)                          an update arrives, its answer does not (lose_questions: nor it)
"""

import base64
import contextlib
import hashlib
import os
import shutil
import socket
import sqlite3
import threading

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.update
import dns.zone

from rig.paths import BUILD
from rig.procs import Process, free_port, wait_for

SUDONE = os.geteuid() == 0 and "SUDO_USER" in os.environ
TREE = BUILD / "deps" / "nameservers"
ZONE = "dr.test"
SERIAL = 10
ADMIN = "admin"  # a key that may do everything: the other person

# What stands in a zone at its beginning. `kafka` is the record that is moved.
RECORDS = """
kafka-a 60 A 127.0.0.1
kafka-b 60 A 127.0.0.2
kafka-six 60 AAAA ::1
alias 60 CNAME kafka-b
kafka 30 CNAME kafka-a
dead 60 TXT "no address"
loops 60 CNAME back
back 60 CNAME kafka
host 60 A 127.0.0.3
*.wild 60 CNAME kafka-a
cut 60 NS ns.cut
ns.cut 60 A 127.0.0.4
"""


def ready():
    return (TREE / "usr/sbin/named").exists()


def secret(name):
    return base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()


def keyring(*names):
    return dns.tsigkeyring.from_text({name: secret(name) for name in names})


def library_path():
    return ":".join(str(path) for path in sorted({so.parent for so in TREE.glob("*/lib/*/*.so*")}))


class NameServer:
    """One process; what differs is how it is configured."""

    kind = "?"

    def __init__(
        self,
        name,
        folder,
        zone=ZONE,
        records=RECORDS,
        key="ferry",
        owners=("kafka", "new"),
        place=None,
        algorithm="hmac-sha256",
    ):
        """`owners`: names whose CNAME the key may change. `place`: a rig.netns.Place, where it has port 53."""
        self.name = name
        self.dir = folder / f"{self.kind}-{name}"
        self.origin = zone
        self.records = records
        self.key = key
        self.owners = owners
        self.algorithm = algorithm  # of the key, with BIND
        self.host = place.host if place else "127.0.0.1"
        self.port = 53 if place else free_port()
        self.dir.mkdir(parents=True)
        self.process = Process(
            f"{self.kind} {name}",
            [*(place.prefix if place else []), *self.argv()],
            self.dir / "server.log",
            env={"LD_LIBRARY_PATH": library_path()},
            cwd=self.dir,
        )

    @property
    def address(self):
        return self.host if self.port == 53 else f"{self.host}:{self.port}"

    @property
    def zone_file(self):
        return self.dir / "zone"

    def write_zone(self):
        head = f"$ORIGIN {self.origin}.\n$TTL 60\n@ SOA ns1 hostmaster {SERIAL} 3600 600 86400 5\n"
        head += f"@ NS ns1\nns1 A {self.host}\n"
        self.zone_file.write_text(head + self.records)

    def start(self):
        self.configure()
        return self.run()

    def run(self):
        self.process.start()

        def answers():
            self.process.check()
            return self.ask(self.origin, "SOA").answer

        wait_for(f"{self.kind} {self.name}", answers, 15, not_yet=(AssertionError, OSError, dns.exception.DNSException))
        return self

    def ask(self, name, kind):
        query = dns.message.make_query(name, kind, flags=0)
        return dns.query.udp(query, self.host, port=self.port, timeout=1)

    def value(self, name="kafka"):
        """(TTL, value) of a CNAME, or None."""
        full = dns.name.from_text(f"{name}.{self.origin}")
        for rrset in self.ask(full, "CNAME").answer:
            if rrset.rdtype == dns.rdatatype.CNAME and rrset.name == full:
                return rrset.ttl, str(rrset[0].target).rstrip(".")
        return None

    def zone(self):
        """{(name, type, TTL, value)} of everything but SOA, which counts changes."""
        transfer = dns.query.xfr(
            self.host, self.origin, port=self.port, keyring=keyring(ADMIN), keyname=ADMIN, relativize=True
        )
        zone = dns.zone.from_xfr(transfer)
        return {
            (str(name), dns.rdatatype.to_text(rdata.rdtype), ttl, str(rdata))
            for name, ttl, rdata in zone.iterate_rdatas()
            if rdata.rdtype != dns.rdatatype.SOA
        }

    def put(self, name, ttl, kind, *values):
        """Replace what stands there of this type, as somebody else would. No values: delete all of the name."""
        update = dns.update.Update(self.origin, keyring=keyring(ADMIN), keyname=ADMIN)
        if values:
            update.replace(name, ttl, kind, *values)
        else:
            update.delete(name)
        answer = dns.query.tcp(update, self.host, port=self.port, timeout=5)
        assert answer.rcode() == 0, answer

    @property
    def alive(self):
        return self.process.alive

    def kill9(self):
        self.process.kill9()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.alive:
            self.process.sigcont()
            self.process.kill9()


class Bind(NameServer):
    kind = "bind"

    def argv(self):
        # As root it gives up the right to read what is another's: behind sudo that is all that stands in a home.
        owner = ["-u", os.environ["SUDO_USER"]] if SUDONE else []
        return [TREE / "usr/sbin/named", *owner, "-g", "-n", "1", "-c", self.dir / "named.conf"]

    def zone_text(self):
        grants = "".join(f"grant {self.key} name {owner}.{self.origin}. CNAME; " for owner in self.owners)
        return (
            f'zone "{self.origin}" {{ type primary; file "{self.zone_file}"; notify no;\n'
            f"  update-policy {{ grant {ADMIN} zonesub ANY; {grants} }};\n"
            f"  allow-transfer {{ key {ADMIN}; }};\n}};\n"
        )

    def configure(self):
        self.write_zone()
        keys = "".join(
            f'key "{key}" {{ algorithm {algorithm}; secret "{secret(key)}"; }};\n'
            for key, algorithm in ((self.key, self.algorithm), (ADMIN, "hmac-sha256"))
        )
        (self.dir / "named.conf").write_text(
            f'options {{ directory "{self.dir}"; listen-on-v6 {{ none; }};\n'
            f"  listen-on port {self.port} {{ {self.host}; }};\n"
            "  pid-file none; session-keyfile none; recursion no; dnssec-validation no; notify no; minimal-any yes;\n"
            "};\ncontrols { };\n" + keys + self.zone_text()
        )
        if SUDONE:
            for path in (self.dir, *self.dir.iterdir()):
                shutil.chown(path, os.environ["SUDO_USER"])


class Secondary(Bind):
    """Takes the zone from another once, then only when notify() tells it to."""

    kind = "secondary"

    def __init__(self, name, folder, of):
        self.of = of
        super().__init__(name, folder, of.origin)

    def zone_text(self):
        return (
            f'zone "{self.origin}" {{ type secondary; file "{self.zone_file}"; masterfile-format text;\n'
            f"  primaries {{ 127.0.0.1 port {self.of.port} key {ADMIN}; }}; allow-notify {{ 127.0.0.1; }};\n"
            f"  min-refresh-time 3600; allow-transfer {{ none; }};\n}};\n"
        )

    def write_zone(self):
        pass

    def notify(self):
        message = dns.message.make_query(self.origin, "SOA", flags=dns.flags.AA)
        message.set_opcode(dns.opcode.NOTIFY)
        dns.query.udp(message, "127.0.0.1", port=self.port, timeout=5)


class Knot(NameServer):
    kind = "knot"

    def argv(self):
        return [TREE / "usr/sbin/knotd", "-c", self.dir / "knot.conf"]

    def configure(self):
        self.write_zone()
        (self.dir / "db").mkdir(exist_ok=True)
        owners = ", ".join(f"{owner}.{self.origin}." for owner in self.owners)
        (self.dir / "knot.conf").write_text(
            f"""server:
  listen: 127.0.0.1@{self.port}
  rundir: {self.dir}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
log:
  - target: stderr
    any: info
database:
  storage: {self.dir / "db"}
  journal-db-max-size: 16M
key:
  - id: {self.key}
    algorithm: hmac-sha256
    secret: {secret(self.key)}
  - id: {ADMIN}
    algorithm: hmac-sha256
    secret: {secret(ADMIN)}
acl:
  - id: ferry
    key: {self.key}
    action: [query, update]
    update-owner: name
    update-owner-match: equal
    update-owner-name: [{owners}]
    update-type: CNAME
  - id: admin
    key: {ADMIN}
    action: [query, update, transfer]
zone:
  - domain: {self.origin}
    file: {self.zone_file}
    storage: {self.dir}
    acl: [ferry, admin]
    semantic-checks: off
"""
        )


class PowerDns(NameServer):
    """Takes dynamic updates, and changes by its HTTP API: `api_url`, `api_key`."""

    kind = "powerdns"
    api_key = "key-of-the-api"

    def __init__(self, *args, **more):
        self.api_port = free_port()
        super().__init__(*args, **more)

    @property
    def api_url(self):
        return f"http://127.0.0.1:{self.api_port}"

    def argv(self):
        return [TREE / "usr/sbin/pdns_server", f"--config-dir={self.dir}"]

    def configure(self):
        plugins = next(iter((TREE / "usr/lib").glob("*/pdns")))
        (self.dir / "pdns.conf").write_text(
            f"""launch=gsqlite3
gsqlite3-database={self.dir / "pdns.db"}
module-dir={plugins}
local-address=127.0.0.1
local-port={self.port}
socket-dir=.
dnsupdate=yes
allow-dnsupdate-from=127.0.0.0/8
allow-axfr-ips=127.0.0.0/8
disable-axfr=no
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
receiver-threads=1
distributor-threads=1
api=yes
api-key={self.api_key}
webserver-address=127.0.0.1
webserver-port={self.api_port}
"""
        )
        self.fill()

    def fill(self):
        schema = TREE / "usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"
        with contextlib.closing(sqlite3.connect(self.dir / "pdns.db")) as db, db:
            db.executescript(schema.read_text())
            db.execute("INSERT INTO domains (id, name, type) VALUES (1, ?, 'NATIVE')", [self.origin])
            for key in (self.key, ADMIN):
                db.execute(
                    "INSERT INTO tsigkeys (name, algorithm, secret) VALUES (?, 'hmac-sha256', ?)", [key, secret(key)]
                )
            for kind in ("TSIG-ALLOW-DNSUPDATE", "TSIG-ALLOW-AXFR"):
                for key in (self.key, ADMIN):
                    db.execute("INSERT INTO domainmetadata (domain_id, kind, content) VALUES (1, ?, ?)", [kind, key])
            soa = f"ns1.{self.origin} hostmaster.{self.origin} {SERIAL} 3600 600 86400 5"
            self.insert(db, "@", 60, "SOA", soa)
            self.insert(db, "@", 60, "NS", f"ns1.{self.origin}")
            self.insert(db, "ns1", 60, "A", "127.0.0.1")
            for line in self.records.strip().splitlines():
                name, ttl, kind, value = line.split(None, 3)
                if kind in ("CNAME", "NS"):
                    value = f"{value}.{self.origin}"
                self.insert(db, name, int(ttl), kind, value)

    def insert(self, db, name, ttl, kind, value):
        full = self.origin if name == "@" else f"{name}.{self.origin}"
        db.execute(
            "INSERT INTO records (domain_id, name, type, content, ttl, disabled, auth) VALUES (1, ?, ?, ?, ?, 0, 1)",
            [full, kind, value, ttl],
        )


class Proxy:
    """TCP before a server. Passes everything, but loses answers to updates when told to."""

    def __init__(self, server):
        self.server = server
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.to_lose = 0
        self.to_swallow = 0
        self.updates = 0
        self.silent_behind_it = False  # once an answer was lost nobody is served
        self.silent = False
        self.closed = False
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def lose_answers(self, count):
        self.to_lose = count

    def lose_questions(self, count):
        self.to_swallow = count

    def accept(self):
        while not self.closed:
            with contextlib.suppress(OSError):
                peer, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=[peer], daemon=True).start()

    @staticmethod
    def message(peer):
        head = peer.recv(2, socket.MSG_WAITALL)
        return peer.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL) if len(head) == 2 else b""

    def serve(self, peer):
        with peer, contextlib.suppress(OSError):
            question = self.message(peer)
            if len(question) < 12 or self.silent:
                return
            changes = question[2] >> 3 & 15 == 5 and int.from_bytes(question[8:10], "big") > 1  # a check has one
            if changes and self.to_swallow > 0:
                self.to_swallow -= 1
                return
            with socket.create_connection(("127.0.0.1", self.server.port), timeout=5) as there:
                there.sendall(len(question).to_bytes(2, "big") + question)
                answer = self.message(there)
            self.updates += changes
            if changes and self.to_lose > 0:
                self.to_lose -= 1
                self.silent = self.silent_behind_it
                return
            peer.sendall(len(answer).to_bytes(2, "big") + answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True
        self.listener.close()


def zone_settings(folder, servers, key="ferry", value=None, **more):
    """`dns.ZONE` of a configuration. `value`: another secret than the key's own."""
    path = folder / f"tsig-{key}-{hashlib.sha1((value or '').encode()).hexdigest()[:6]}"
    path.touch(mode=0o600)
    path.write_text((value or secret(key)) + "\n")
    os.chmod(path, 0o600)
    addresses = [server if isinstance(server, str) else server.address for server in servers]
    return {
        "provider": "rfc2136",
        "servers": addresses,
        "authoritative": addresses,
        "timeout": "3s",
        "tsig": {"name": key, "secret": {"file": str(path)}},
        **more,
    }
