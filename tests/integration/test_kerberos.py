"""Sign-in by GSSAPI: a KDC of our own, brokers with a keytab; on our wire and by librdkafka, from a keytab and from a
ticket cache that somebody else fills. All of it is long: a realm and two clusters."""

import shutil
import time

import pytest

from rig.ferry import EXIT_CONFIGURATION, EXIT_DONE
from rig.kafka import KafkaCluster, running
from rig.kerberos import REALM, KerberosListener, Realm
from rig.line import Line
from rig.procs import wait_for
from rig.produce import Load, produce_all_kinds
from rig.secure import Authority

pytestmark = pytest.mark.long
REAUTH_MS = 3000


class Secured:
    def __init__(self, folder):
        self.dir = folder
        self.ca = Authority(folder / "ca")
        self.realm = Realm(folder / "realm").start()
        self.source, self.target = (self.cluster(name, folder) for name in ("ka", "kb"))

    def cluster(self, name, folder):
        certificate = self.ca.certificate(name)
        return KafkaCluster(
            name,
            workdir=folder,
            listeners={
                "clear": KerberosListener(self.realm),
                "tls": KerberosListener(self.realm, "SASL_SSL", self.ca, certificate),
                "again": KerberosListener(self.realm, reauth_ms=REAUTH_MS),
            },
        )


@pytest.fixture(scope="module")
def secured(session_dir):
    both = Secured(session_dir / "kerberos")
    with running(both.source, both.target):
        yield both
    both.realm.stop()


@pytest.fixture
def line(own, folder, secured, redis_server, name, monkeypatch):
    """`cache`: a file of tickets instead of a keytab."""
    monkeypatch.setenv("KRB5_CONFIG", secured.realm.env["KRB5_CONFIG"])

    def make(listener, user="ferry", cache=None, **more):
        topic = f"{name}.t"
        secured.source.create_topic(topic, partitions=4)
        clusters = {"a": secured.source, "b": secured.target}
        same = folder / "sites"  # one keytab: a process has one identity
        settings = {site: cluster.secured(listener).settings(same, user=user) for site, cluster in clusters.items()}
        if cache:
            monkeypatch.setenv("KRB5CCNAME", f"FILE:{cache}")
            for site in settings.values():
                del site["kafka"]["sasl.kerberos.keytab"]
        return Line(own, folder, secured.source, secured.target, redis_server, name, [topic], secured=settings, **more)

    return make


def produce(one, **more):
    return Load(one.source.bootstrap, one.topics[0], "lz4", count=500, partitions=4, **more).run()


@pytest.mark.parametrize(("listener", "path"), [("clear", "batches"), ("tls", "batches"), ("clear", "records")])
def test_mirror_with_a_keytab(line, listener, path):
    one = line(listener, path=path)
    kinds = ["lz4", "transactional", "headers", "nulls"]
    produce_all_kinds(one.source.bootstrap, one.topics[0], 300, 4, kinds=kinds)
    worker = one.worker("w1", wait=True)
    one.wait_caught_up()
    one.prove()
    assert worker.metrics().sum("ferry_link_doubts_total") == 0
    assert one.command.run("verify", one.service).returncode == EXIT_DONE  # a reader of its own, through librdkafka
    assert "User:ferry" in one.command.run("check", one.service, "--print-acls").stdout


@pytest.mark.parametrize("path", ["batches", "records"])
def test_short_tickets_and_sessions_under_load(line, secured, path):
    """Tickets of 10 s, sessions of 3 s: both are made anew while records flow."""
    secured.realm.keytab("short", "-maxlife", "10sec")
    one = line("again", user="short", path=path)
    load = Load(one.source.bootstrap, one.topics[0], "lz4", count=None, partitions=4, rate=2000).start()
    worker = one.worker("w1", wait=True)
    wait_for("all partitions to be mirrored", lambda: one.mirroring(worker) == 4, 30)
    resumes = worker.metrics().sum("ferry_link_resumes_total")
    time.sleep(35)
    load.stop()
    one.wait_caught_up()
    one.prove()
    assert worker.metrics().sum("ferry_link_doubts_total") == 0
    assert worker.metrics().sum("ferry_link_resumes_total") == resumes
    assert one.mirroring(worker) == 4


def test_a_ticket_that_has_ended_and_is_renewed_from_outside(line, folder, secured):
    """It ends while the worker is at work, however long that took to get there. A sign-in may just be under way then,
    and say less: what stays is said again 30 s later."""
    cache = folder / "tickets"
    secured.realm.kinit("ferry", cache, "1h")
    one = line("again", cache=cache)
    worker = one.worker("w1", wait=True)
    produce(one)
    one.wait_caught_up()
    secured.realm.kinit("ferry", cache, "10s")
    row = worker.wait_said("site=a", "GSSAPI", "Ticket expired", timeout=60)
    assert "docs/sign-in.md#kerberos" in row
    secured.realm.kinit("ferry", cache, "1h")
    produce(one, serial=10**6)
    one.wait_caught_up()
    one.prove()
    assert worker.alive


def test_no_ticket_at_all(line, folder, secured):
    cache = folder / "tickets"
    secured.realm.kinit("ferry", cache, "1h")
    one = line("clear", cache=cache)
    produce(one)
    cache.unlink()
    worker = one.worker("w1")
    worker.wait_said("site=a", "Kerberos, for kafka/localhost", "No Kerberos credentials available")
    secured.realm.kinit("ferry", cache, "1h")
    one.wait_caught_up()
    one.prove()


def test_a_keytab_of_another_principal(line, folder, secured):
    one = line("clear")
    produce(one)
    keytab = folder / "sites" / "keytab"
    shutil.copy(secured.realm.keytab("other"), keytab)
    worker = one.worker("w1")
    worker.wait_said(f"the ticket is of other@{REALM}", f"sasl.kerberos.principal is ferry@{REALM}")
    worker.stop()
    shutil.copy(secured.realm.keytab("ferry"), keytab)
    one.worker("w1")
    one.wait_caught_up()
    one.prove()


def test_a_service_that_the_kdc_does_not_know(line):
    one = line("clear")
    for site in ("a", "b"):
        one.conf.data["sites"][site]["kafka"]["sasl.kerberos.service.name"] = "nobody"
    one.conf.write()
    one.worker("w1").wait_said("site=a", "for nobody/localhost", "not found in Kerberos database")


def test_the_kdc_is_away_at_the_start(line, secured):
    one = line("clear")
    produce(one)
    secured.realm.stop()
    try:
        worker = one.worker("w1")
        worker.wait_said("site=a", "Kerberos", "KDC")
    finally:
        secured.realm.start()
    one.wait_caught_up()
    one.prove()
    assert worker.alive


def test_two_identities_are_refused(line, folder, secured):
    one = line("clear")
    one.conf.data["sites"]["b"]["kafka"]["sasl.kerberos.principal"] = f"other@{REALM}"
    one.conf.write()
    done = one.command.run("status", one.service)
    assert done.returncode == EXIT_CONFIGURATION
    assert "sites a and b" in done.stdout + done.stderr
