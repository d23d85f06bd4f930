"""TLS and sign-in on real brokers and a real Redis: what is right works on both sides, what is wrong is said by name
and mended without a restart, a session that ends is made anew under load, renewed certificates and passwords are taken
from disk."""

import shutil
import time

import pytest
from confluent_kafka import KafkaException

from rig.kafka import KafkaCluster, running
from rig.line import Line
from rig.procs import wait_for
from rig.produce import Load, produce_all_kinds
from rig.secure import Authority, Listener, set_scram, write_secret

USER, PASSWORD = "ferry", "correct horse, battery=staple"
NEW_PASSWORD = "another-canary-5520"
REAUTH_MS = 5000  # a second of it is left when a connection signs in anew: as much as a busy machine may take


class Site:
    """What the listeners of one cluster are made of."""

    def __init__(self, name, ca, folder):
        self.odd = ca.certificate(f"{name}-odd").copy(folder, f"{name}-odd")  # tests put others in its place
        self.trust = Authority(folder / f"{name}-trust", "clients")  # whose certificates "mtls" takes
        certificate = ca.certificate(name)
        users = {USER: PASSWORD, "rotated": "first"}
        self.cluster = KafkaCluster(
            name,
            workdir=folder,
            listeners={
                "sasl": Listener("SASL_SSL", ca, certificate, users),
                "clear": Listener("SASL_PLAINTEXT", users=users),
                "mtls": Listener("SSL", ca, certificate, client_authority=self.trust),
                "odd": Listener("SSL", ca, self.odd),
                "again": Listener("SASL_SSL", ca, certificate, users, reauth_ms=REAUTH_MS),
            },
        )

    def client_certificate(self, folder, **more):
        return self.trust.certificate("ferry", **more).copy(folder, "client")


class Secured:
    def __init__(self, folder):
        self.ca = Authority(folder / "ca")
        self.a, self.b = (Site(name, self.ca, folder) for name in ("sa", "sb"))
        self.source, self.target = self.a.cluster, self.b.cluster


@pytest.fixture(scope="module")
def secured(session_dir):
    folder = session_dir / "secure"
    both = Secured(folder)
    with running(both.source, both.target):
        yield both


@pytest.fixture
def line(own, folder, secured, redis_server, name):
    """A line through one listener of both sites; its secrets and certificates stand in folder/a and folder/b."""

    def make(listener, partitions=4, redis=None, user=USER, mechanism=None, **more):
        topic = f"{name}.t"
        secured.source.create_topic(topic, partitions=partitions)
        settings = {}
        for site, where in ((secured.a, folder / "a"), (secured.b, folder / "b")):
            certificate = site.client_certificate(where) if listener == "mtls" else None
            sasl = {"user": user, "mechanism": mechanism} if "SASL" in site.cluster.listeners[listener].protocol else {}
            settings[where.name] = site.cluster.secured(listener).settings(where, certificate=certificate, **sasl)
        redis = redis or redis_server
        return Line(own, folder, secured.source, secured.target, redis, name, [topic], secured=settings, **more)

    return make


def produce(one, count=2000, **more):
    return Load(one.source.bootstrap, one.topics[0], "lz4", count=count, partitions=4, **more).run()


def doubts(worker):
    return worker.metrics().sum("ferry_link_doubts_total")


def copied_more(one, count=500):
    """Wait until that many more records of a partition stand on the target."""
    asked = lambda: one.target.offsets(one.topics[0])  # noqa: E731
    before = wait_for("the target's offsets", asked, 60, not_yet=(KafkaException,))
    one.wait_copied(one.topics[0], 0, before[0] + count, timeout=90)


# --- what is right --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listener", "mechanism"),
    [
        ("sasl", "SCRAM-SHA-512"),
        ("sasl", "SCRAM-SHA-256"),
        ("sasl", "PLAIN"),
        ("clear", "SCRAM-SHA-512"),
        ("mtls", None),
    ],
)
def test_mirror_through(line, listener, mechanism):
    one = line(listener, mechanism=mechanism)
    produce_all_kinds(one.source.bootstrap, one.topics[0], 300, 4, kinds=["lz4", "transactional", "headers", "nulls"])
    worker = one.worker("w1", wait=True)
    one.wait_caught_up()
    one.prove()
    assert doubts(worker) == 0
    (found,) = one.command.status(one.service)["services"]
    assert found["links"][0]["lag_records"] == 0
    assert PASSWORD not in worker.process.log_text()


@pytest.mark.long
def test_long_frames(line):
    """Answers and requests of megabytes, hundreds of TLS records each, in both directions, without a stall."""
    one = line("sasl")
    Load(one.source.bootstrap, one.topics[0], "plain", count=60, size=900_000, partitions=4).run()
    Load(one.source.bootstrap, one.topics[0], "plain", count=20_000, size=1000, partitions=4, serial=10**6).run()
    began = time.monotonic()
    worker = one.worker("w1")
    one.wait_caught_up(timeout=30)
    assert time.monotonic() - began < 20
    one.prove()
    assert doubts(worker) == 0


@pytest.mark.long
def test_sessions_are_made_anew_under_load(line):
    """KIP-368: brokers end connections that have not signed in anew for 5 s. No doubt, no resume, exactly once."""
    one = line("again")
    load = Load(one.source.bootstrap, one.topics[0], "lz4", count=None, partitions=4, rate=4000).start()
    worker = one.worker("w1", wait=True)
    wait_for("all partitions to be mirrored", lambda: one.mirroring(worker) == 4, 30)
    resumes = worker.metrics().sum("ferry_link_resumes_total")
    time.sleep(5 * REAUTH_MS / 1000)
    load.stop()
    one.wait_caught_up()
    one.prove()
    assert doubts(worker) == 0
    assert worker.metrics().sum("ferry_link_resumes_total") == resumes


# --- what is wrong, and mended --------------------------------------------------------------------------------------


@pytest.mark.parametrize("site", ["a", pytest.param("b", marks=pytest.mark.long)])
def test_wrong_password(line, folder, site):
    """S21: said with user and mechanism, tried again, and right as soon as the file is; the secret is nowhere in the
    log."""
    one = line("sasl")
    produce(one)
    secret = folder / site / "password"
    write_secret(secret, "wrong")
    worker = one.worker("w1")
    row = worker.wait_said(f"site={site}", "SCRAM-SHA-512", f"'{USER}'", "invalid credentials", "localhost:")
    assert "sasl.password" in row and "read anew" in row
    shown = one.command.run("status", one.service)
    assert "uthentication failed" in shown.stdout + shown.stderr
    write_secret(secret, PASSWORD)
    one.wait_caught_up()
    one.prove()
    assert worker.alive
    assert PASSWORD not in worker.process.log_text()


@pytest.mark.parametrize("site", ["a", pytest.param("b", marks=pytest.mark.long)])
def test_unknown_authority(line, folder, site):
    one = line("sasl")
    produce(one)
    ca = folder / site / "ca.pem"
    right = ca.read_text()
    shutil.copy(Authority(folder / "other", "other").pem, ca)
    worker = one.worker("w1")
    worker.wait_said(f"site={site}", "the certificate of localhost is not accepted", "issuer", "ssl.ca.location")
    ca.write_text(right)
    one.wait_caught_up()
    one.prove()
    assert worker.alive


@pytest.mark.parametrize(
    ("made", "text"),
    [
        ({"names": ["other.example.com"]}, "ostname mismatch"),
        ({"days": -1}, "expired"),
    ],
    ids=["another-name", "expired"],
)
def test_brokers_certificate(line, secured, made, text):
    one = line("odd")
    produce(one)
    good = secured.ca.certificate("good")
    secured.ca.certificate("bad", **made).copy_over(secured.a.odd)
    try:
        secured.source.broker(1).restart()
        worker = one.worker("w1")
        worker.wait_said("site=a", text)
    finally:
        good.copy_over(secured.a.odd)
        secured.source.broker(1).restart()
    one.wait_caught_up()
    one.prove()
    assert worker.alive


def test_client_certificate_is_missing(line, folder):
    one = line("mtls")
    produce(one)
    without = one.conf.copy(folder / "without")
    for key in ("ssl.certificate.location", "ssl.key.location"):
        del without.data["sites"]["a"]["kafka"][key]
    without.write()
    worker = one.worker("w1", conf=without)
    # the alert is the JVM's choice
    worker.wait_said("site=a", "the broker wants a client certificate", "ssl.certificate.location")
    worker.stop()
    one.worker("w1")
    one.wait_caught_up()
    one.prove()


@pytest.mark.parametrize("site", ["a", pytest.param("b", marks=pytest.mark.long)])
def test_client_certificate_has_ended_and_is_renewed(line, folder, secured, site):
    """S21: an expired certificate is said; the renewed one is taken from disk without a restart."""
    one = line("mtls")
    produce(one)
    here = getattr(secured, site)
    renewed = here.client_certificate(folder / "renewed")
    on_disk = here.client_certificate(folder / site)
    here.trust.certificate("ferry", days=-1).copy_over(on_disk)
    worker = one.worker("w1")
    worker.wait_said(f"site={site}", "alert certificate", "does not accept our client certificate")
    renewed.copy_over(on_disk)
    one.wait_caught_up()
    one.prove()
    assert worker.alive


@pytest.mark.long
def test_password_is_rotated_under_load(line, folder, secured):
    """S21: new password in the clusters and on disk, then every connection is lost: nobody restarts, nothing is
    lost."""
    one = line("sasl", user="rotated")
    load = Load(one.source.bootstrap, one.topics[0], "lz4", count=None, partitions=4, rate=1000).start()
    worker = one.worker("w1", wait=True)
    one.wait_copied(one.topics[0], 0, 100)
    for site, cluster in (("a", secured.source), ("b", secured.target)):
        set_scram(cluster, "rotated", NEW_PASSWORD)
        write_secret(folder / site / "password", NEW_PASSWORD)
        cluster.listeners["sasl"].users["rotated"] = NEW_PASSWORD
    for cluster in (secured.source, secured.target):
        cluster.broker(1).restart()
    copied_more(one)
    load.stop()
    one.wait_caught_up()
    one.prove()
    assert worker.alive
    said_anywhere = (
        worker.process.log_text() + worker.get("/metrics")[1] + one.command.run("status", one.service).stdout
    )
    assert PASSWORD not in said_anywhere and NEW_PASSWORD not in said_anywhere


@pytest.mark.long
def test_authority_of_clients_is_replaced_under_load(line, folder, secured):
    """Certificates of another authority on disk, the brokers take only those from now on: librdkafka's handles read
    them too, and the worker stays a member."""
    one = line("mtls")
    load = Load(one.source.bootstrap, one.topics[0], "lz4", count=None, partitions=4, rate=1000).start()
    worker = one.worker("w1", wait=True)
    one.wait_copied(one.topics[0], 0, 100)
    for here, where in ((secured.a, folder / "a"), (secured.b, folder / "b")):
        on_disk = here.client_certificate(folder / f"old-{where.name}").copy(where, "client")
        shutil.copy(Authority(folder / f"new-{where.name}", "clients").pem, here.trust.pem)
        shutil.copy(folder / f"new-{where.name}" / "clients.key", here.trust.key)
        here.client_certificate(folder / f"fresh-{where.name}").copy_over(on_disk)
    for cluster in (secured.source, secured.target):
        cluster.broker(1).restart()
    copied_more(one)
    load.stop()
    one.wait_caught_up()
    one.prove()
    assert worker.alive
    time.sleep(12)  # a session: who cannot renew it is thrown out
    assert one.mirroring(worker) == 4


# --- Redis ----------------------------------------------------------------------------------------------------------


def test_redis_with_tls_and_a_user(line, folder, secured, new_redis):
    redis = new_redis(tls=(secured.ca, secured.ca.certificate("redis")), user=("mirror", "redis pw"))
    one = line("clear", redis=redis)
    produce(one)
    worker = one.worker("w1", wait=True)
    one.wait_caught_up()
    one.prove()
    assert any(row["user"] == "mirror" for row in redis.client.client_list())
    assert one.command.json("offsets", "map", one.service, f"{one.topics[0]}:0")
    # Another password, and the connection is lost: the new one counts.
    redis.client.execute_command("ACL", "SETUSER", "mirror", "resetpass", ">other pw")
    redis.client.execute_command("CLIENT", "KILL", "USER", "mirror")
    worker.wait_said("WRONGPASS", event="map.away")
    write_secret(folder / "ferry" / "redis-password", "other pw")
    wait_for("the map to be kept again", lambda: worker.metrics().sum("ferry_map_ready") == 1, 15)
    produce(one, serial=10**6)
    one.wait_caught_up()
    one.prove()


@pytest.mark.long
def test_redis_of_another_authority(line, folder, secured, new_redis):
    other = Authority(folder / "other", "other")
    redis = new_redis(tls=(secured.ca, secured.ca.certificate("redis")))
    one = line("clear", redis=redis)
    produce(one)
    one.conf.data["sites"]["b"]["redis"]["ca_file"] = str(other.pem)
    one.conf.write()
    worker = one.worker("w1")
    worker.wait_said("certificate", event="map.away")
    for partition in range(4):
        one.wait_copied(one.topics[0], partition, 500)  # the mirror waits for no Redis
    shutil.copy(secured.ca.pem, other.pem)
    one.wait_caught_up()
    one.prove()
