"""Sign-in by GSSAPI for tests: a realm of the test's own, with MIT's KDC on a free port; a listener of Kafka's in it.

realm = Realm(folder).start()
realm.keytab("ferry")                                principal ferry@RIG.TEST, made when it is new; its key in a file
KafkaCluster("a", listeners={"kerberos": KerberosListener(realm)})
cluster.secured("kerberos").settings(folder)         as a site of Ferry's configuration has them
realm.kinit("ferry", cache, "10s"); realm.env        a ticket as a person gets one; of all who are to know the realm
"""

import os
import shutil
import subprocess

from rig.paths import BUILD
from rig.procs import Process, free_port, wait_for
from rig.secure import Listener

REALM = "RIG.TEST"
TREE = BUILD / "deps" / "kerberos"

KRB5_CONF = """\
[libdefaults]
    default_realm = {realm}
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    rdns = false
    udp_preference_limit = 1
[realms]
    {realm} = {{
        kdc = 127.0.0.1:{port}
    }}
[domain_realm]
    localhost = {realm}
"""

KDC_CONF = """\
[kdcdefaults]
    kdc_listen = 127.0.0.1:{port}
    kdc_tcp_listen = 127.0.0.1:{port}
[realms]
    {realm} = {{
        database_name = {folder}/principal
        key_stash_file = {folder}/stash
        max_life = 10h
    }}
[dbmodules]
    db_module_dir = {plugins}
"""


def find(name):
    """A program of the unpacked packages."""
    for place in ("usr/sbin", "usr/bin"):
        if (TREE / place / name).exists():
            return TREE / place / name
    raise FileNotFoundError(f"{name}: run `make setup`")


def libraries():
    (found,) = (TREE / "usr" / "lib").glob("*-linux-gnu")
    return found


class Realm:
    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.dir = folder
        self.port = free_port()
        self.process = None
        where = {"realm": REALM, "port": self.port, "folder": folder}
        where["plugins"] = libraries() / "krb5/plugins/kdb"
        (folder / "krb5.conf").write_text(KRB5_CONF.format(**where))
        (folder / "kdc.conf").write_text(KDC_CONF.format(**where))
        self.env = {"KRB5_CONFIG": str(folder / "krb5.conf")}
        self.own_env = self.env | {
            "KRB5_KDC_PROFILE": str(folder / "kdc.conf"),
            "LD_LIBRARY_PATH": str(libraries()),
        }
        self.run("kdb5_util", "create", "-s", "-r", REALM, "-P", "of the database")

    def run(self, program, *args, **env):
        argv = [find(program), *map(str, args)]
        env = os.environ | self.own_env | env
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, f"{program} {args}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self):
        log = self.dir / "kdc.log"
        self.process = Process("krb5kdc", [find("krb5kdc"), "-n", "-r", REALM], log, env=self.own_env).start()
        wait_for("the KDC to listen", lambda: f":{self.port}" in _listening(), 10)
        return self

    def stop(self):
        self.process.stop(5)

    @property
    def alive(self):
        return self.process is not None and self.process.alive

    def kill9(self):
        self.process.kill9()

    def keytab(self, principal, *options, name=None):
        """`options`: of addprinc, for one that is new."""
        path = self.dir / f"{name or principal.replace('/', '-')}.keytab"
        if not path.exists():
            self.run("kadmin.local", "-r", REALM, "-q", " ".join(["addprinc", "-randkey", *options, principal]))
            self.run("kadmin.local", "-r", REALM, "-q", f"ktadd -norandkey -k {path} {principal}")
        return path

    def kinit(self, principal, cache, lasts):
        self.run("kinit", "-k", "-t", self.keytab(principal), "-l", lasts, "-c", f"FILE:{cache}", principal)


def _listening():
    """ ":PORT" of all that listen on this machine."""
    rows = open("/proc/net/tcp").read().splitlines()[1:]
    return {f":{int(row.split()[1].rsplit(':', 1)[1], 16)}" for row in rows if row.split()[3] == "0A"}


class KerberosListener(Listener):
    """Takes GSSAPI alone; brokers are kafka/localhost."""

    def __init__(self, realm, protocol="SASL_PLAINTEXT", authority=None, certificate=None, **more):
        super().__init__(protocol, authority, certificate, mechanism="GSSAPI", **more)
        self.realm = realm
        self.flags = [f"-Djava.security.krb5.conf={realm.dir / 'krb5.conf'}"]

    def properties(self, name):
        prefix = f"listener.name.{name.lower()}"
        where = f"{prefix}.gssapi"
        keytab = self.realm.keytab("kafka/localhost")
        module = "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true"
        props = {key: value for key, value in super().properties(name).items() if "sasl" not in key}
        props |= {
            f"{prefix}.sasl.enabled.mechanisms": "GSSAPI",
            f"{prefix}.sasl.kerberos.service.name": "kafka",
            f"{where}.sasl.jaas.config": f'{module} keyTab="{keytab}" principal="kafka/localhost@{REALM}";',
        }
        if self.reauth_ms:
            props[f"{where}.connections.max.reauth.ms"] = self.reauth_ms
        return props

    def sign_in(self, folder, user, mechanism):
        """Of settings(): properties and secrets. The keytab stands in `folder`, for the test to change."""
        user = user or "ferry"
        keytab = folder / "keytab"
        shutil.copy(self.realm.keytab(user), keytab)
        keytab.chmod(0o600)
        own = {
            "sasl.mechanism": "GSSAPI",
            "sasl.kerberos.service.name": "kafka",
            "sasl.kerberos.principal": f"{user}@{REALM}",
            "sasl.kerberos.keytab": str(keytab),
        }
        return own, {}
