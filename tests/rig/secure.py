"""Certificates and sign-in for tests: a throw-away authority, made by the openssl command, and listeners of a cluster.

ca = Authority(folder)
cert = ca.certificate("broker", names=["localhost", "127.0.0.1"])      cert.pem, cert.key, cert.store
KafkaCluster("a", listeners={"sasl": Listener("SASL_SSL", ca, cert, users={"ferry": "pw"})})
cluster.secured("sasl").bootstrap, .settings()                          as a site of Ferry's configuration has them
"""

import datetime
import json
import shutil
import subprocess
from pathlib import Path

from confluent_kafka.admin import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from rig.procs import free_port

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def openssl(*args):
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"openssl {' '.join(map(str, args))}:\n{done.stderr}"
    return done.stdout


def new_key(path):
    """An EC key as PKCS#8, as Kafka reads it from PEM."""
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
    return path


def lasting(days):
    """Options of `openssl x509`. From 3.4 on it takes no end before the beginning, and can be told both."""
    options = subprocess.run(["openssl", "x509", "-help"], capture_output=True, text=True, check=False)
    if days >= 0 or "-not_before" not in options.stdout + options.stderr:
        return ("-days", days)
    now = datetime.datetime.now(datetime.UTC)
    begin, end = (f"{now + datetime.timedelta(days=n):%Y%m%d%H%M%SZ}" for n in (days - 1, days))
    return ("-not_before", begin, "-not_after", end)


class Certificate:
    """A certificate with its key: `pem`, `key`; `store` holds both, as Kafka's PEM key stores do."""

    def __init__(self, pem, key):
        self.pem, self.key = Path(pem), Path(key)
        self.store = self.pem.with_suffix(".store.pem")
        self.store.write_text(self.key.read_text() + self.pem.read_text())

    def copy_over(self, other):
        """Put this one in the place of another, as a renewal on disk does: whole files, by rename."""
        for mine, theirs in ((self.key, other.key), (self.pem, other.pem), (self.store, other.store)):
            fresh = theirs.with_suffix(".new")
            shutil.copy(mine, fresh)
            fresh.replace(theirs)

    def copy(self, folder, name):
        folder.mkdir(parents=True, exist_ok=True)
        pem, key = folder / f"{name}.pem", folder / f"{name}.key"
        shutil.copy(self.pem, pem)
        shutil.copy(self.key, key)
        return Certificate(pem, key)


class Authority:
    def __init__(self, folder, name="ca"):
        folder.mkdir(parents=True, exist_ok=True)
        self.dir = folder
        self.name = name
        self.pem = folder / f"{name}.pem"
        self.key = new_key(folder / f"{name}.key")
        self.count = 0
        may = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")  # Python from 3.13 on asks for it
        openssl("req", "-x509", "-key", self.key, "-out", self.pem, "-days", 30, "-subj", f"/CN=test {name}", *may)

    def certificate(self, name, names=("localhost", "127.0.0.1"), days=30):
        """Signed by us. `days` below 0: it has ended already."""
        self.count += 1
        base = self.dir / f"{self.name}-{self.count}-{name}"
        key, pem, request, extra = (base.with_suffix(f".{end}") for end in ("key", "pem", "csr", "ext"))
        kinds = ",".join(("IP:" if n.replace(".", "").isdigit() else "DNS:") + n for n in names)
        new_key(key)
        extra.write_text(f"subjectAltName={kinds}\nbasicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\n")
        openssl("req", "-new", "-key", key, "-out", request, "-subj", f"/CN={name}")
        signed = ("-CA", self.pem, "-CAkey", self.key, "-set_serial", self.count, "-extfile", extra)
        openssl("x509", "-req", "-in", request, *signed, *lasting(days), "-out", pem)
        return Certificate(pem, key)


class Listener:
    """One more listener of each broker of a cluster, beside the one in the clear that the rig itself uses."""

    flags = ()  # of the broker's JVM

    def __init__(
        self,
        protocol,
        authority=None,
        certificate=None,
        users=None,
        client_authority=None,
        mechanism="SCRAM-SHA-512",
        reauth_ms=0,
        host="localhost",
    ):
        """
        users             {name: password}: for PLAIN in the listener's own settings, for SCRAM by the admin client
        client_authority  clients must show a certificate of it
        mechanism         what settings() writes; the listener takes all of MECHANISMS
        reauth_ms         connections.max.reauth.ms
        host              under which brokers are advertised
        """
        self.protocol = protocol
        self.authority = authority
        self.certificate = certificate
        self.users = dict(users or {})
        self.client_authority = client_authority
        self.mechanism = mechanism
        self.reauth_ms = reauth_ms
        self.host = host
        self.ports = {}

    @property
    def tls(self):
        return self.protocol.endswith("SSL")

    @property
    def sasl(self):
        return self.protocol.startswith("SASL")

    def port(self, broker):
        return self.ports.setdefault(broker.id, free_port())

    def advertised_port(self, broker):
        return self.port(broker)

    def properties(self, name):
        """Of the broker, for this listener."""
        prefix = f"listener.name.{name.lower()}"
        props = {}
        if self.tls:
            props |= {
                f"{prefix}.ssl.keystore.type": "PEM",
                f"{prefix}.ssl.keystore.location": self.certificate.store,
                f"{prefix}.ssl.truststore.type": "PEM",
                f"{prefix}.ssl.truststore.location": (self.client_authority or self.authority).pem,
                f"{prefix}.ssl.client.auth": "required" if self.client_authority else "none",
            }
        if self.sasl:
            package = "org.apache.kafka.common.security"
            users = "".join(f' user_{user}="{password}"' for user, password in self.users.items())
            props[f"{prefix}.sasl.enabled.mechanisms"] = ",".join(MECHANISMS)
            for mechanism in MECHANISMS:
                module = "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule"
                own = users if mechanism == "PLAIN" else ""
                where = f"{prefix}.{mechanism.lower()}"
                props[f"{where}.sasl.jaas.config"] = f"{package}.{module} required{own};"
                if self.reauth_ms:
                    props[f"{where}.connections.max.reauth.ms"] = self.reauth_ms
        return props

    def sign_in(self, folder, user, mechanism):
        """What a client has of its own: properties and secrets of a site."""
        user = user or next(iter(self.users))
        password = folder / "password"
        write_secret(password, self.users[user])
        own = {"sasl.mechanism": mechanism or self.mechanism, "sasl.username": user}
        return own, {"sasl.password": {"file": str(password)}}


class Secured:
    """A cluster as clients of one listener see it."""

    def __init__(self, cluster, name):
        self.cluster = cluster
        self.listener = cluster.listeners[name]

    @property
    def bootstrap(self):
        return ",".join(f"{self.listener.host}:{self.listener.port(b)}" for b in self.cluster.brokers)

    def settings(self, folder, user=None, certificate=None, mechanism=None):
        """`kafka` and `secrets` of a site. The password and the authorities stand in files of `folder`, for the test to
        change; `certificate` is the client's."""
        folder.mkdir(parents=True, exist_ok=True)
        listener = self.listener
        kafka = {"bootstrap.servers": self.bootstrap, "security.protocol": listener.protocol}
        secrets = {}
        if listener.tls:
            authorities = folder / "ca.pem"
            shutil.copy(listener.authority.pem, authorities)
            kafka["ssl.ca.location"] = str(authorities)
        if certificate:
            kafka["ssl.certificate.location"] = str(certificate.pem)
            kafka["ssl.key.location"] = str(certificate.key)
        if listener.sasl:
            own, secrets = listener.sign_in(folder, user, mechanism)
            kafka |= own
        return json.loads(json.dumps({"kafka": kafka, "secrets": secrets}))


def write_secret(path, text):
    """As somebody who rotates it: a new file in the place of the old one, for nobody else to write."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text + "\n")
    fresh.chmod(0o600)
    fresh.replace(path)


def set_scram(cluster, user, password):
    """Make or change a user of SCRAM, with both digests."""
    for kind in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):  # one of a user in each request
        asked = UserScramCredentialUpsertion(user, ScramCredentialInfo(kind, 4096), password.encode())
        for future in cluster.admin.alter_user_scram_credentials([asked]).values():
            future.result(30)
