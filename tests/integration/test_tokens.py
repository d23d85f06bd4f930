"""Sign-in by OAUTHBEARER: real JWTs that real brokers check against the JWKS of a server of tokens, on our wire and by
librdkafka; tokens that end, a server that is away, answers that are none."""

import json
import time

import pytest

from rig.api import drip, fails, flood, html, redirect, says, throttle
from rig.driver import Driver
from rig.ferry import EXIT_CONFIGURATION, EXIT_DONE, EXIT_UNREACHABLE
from rig.kafka import KafkaCluster, running
from rig.line import Line
from rig.procs import wait_for
from rig.produce import Load, produce_all_kinds
from rig.secure import Authority, write_secret
from rig.tokens import TokenListener, TokenServer

CLIENT, SECRET = "ferry", "canary: 7f3a/&=+%"


class Secured:
    def __init__(self, folder):
        self.ca = Authority(folder / "ca")
        self.server = TokenServer(self.ca, folder / "tokens", {CLIENT: SECRET})
        self.source, self.target = (self.cluster(name, folder) for name in ("ta", "tb"))

    def cluster(self, name, folder):
        certificate = self.ca.certificate(name)
        return KafkaCluster(
            name,
            workdir=folder,
            listeners={
                "tls": TokenListener(
                    "SASL_SSL", self.server, self.ca, certificate, extensions="logicalCluster=one,pool=a b"
                ),
                "clear": TokenListener("SASL_PLAINTEXT", self.server),
                "again": TokenListener("SASL_PLAINTEXT", self.server, reauth_ms=60000),
            },
        )


@pytest.fixture(scope="module")
def secured(session_dir):
    both = Secured(session_dir / "tokens")
    with running(both.source, both.target):
        yield both
    both.server.stop()


@pytest.fixture
def line(own, folder, secured, redis_server, name):
    def make(listener, partitions=4, **more):
        topic = f"{name}.t"
        secured.source.create_topic(topic, partitions=partitions)
        clusters = {"a": secured.source, "b": secured.target}
        settings = {site: cluster.secured(listener).settings(folder / site) for site, cluster in clusters.items()}
        return Line(own, folder, secured.source, secured.target, redis_server, name, [topic], secured=settings, **more)

    secured.server.heal()
    secured.server.lasts_s = 3600
    yield make
    secured.server.heal()


def unseen(secured, worker, *texts):
    """Neither the secret nor a token is anywhere that a person reads."""
    everything = worker.process.log_text() + worker.get("/metrics")[1] + "".join(texts)
    for canary in (SECRET, *secured.server.tokens):
        assert canary not in everything
        assert canary.split(".")[-1] not in everything  # a token's signature


# --- what is right --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listener", "path"), [("tls", "batches"), ("clear", "records")], ids=["tls-batches", "clear-records"]
)
def test_mirror_with_tokens(line, secured, listener, path):
    """Metadata, positions, groups, admin, membership, control topic, records of both paths: with one token a site."""
    one = line(listener, path=path)
    kinds = ["lz4", "transactional", "headers", "nulls"]
    produce_all_kinds(one.source.bootstrap, one.topics[0], 300, 4, kinds=kinds)
    secured.server.requests.clear()
    worker = one.worker("w1", wait=True)
    one.wait_caught_up()
    one.prove()
    assert worker.metrics().sum("ferry_link_doubts_total") == 0
    # one question a site (their secrets stand in files of their own) for the wire client and some five handles
    assert len(secured.server.requests) == 2
    asked = secured.server.requests[0].body.decode()
    assert asked == "grant_type=client_credentials&scope=kafka%20read%2Bwrite"
    assert one.command.run("verify", one.service).returncode == EXIT_DONE  # a reader of its own, through librdkafka
    shown = one.command.run("status", one.service, "-o", "json")
    checked = one.command.run("check", one.service)
    assert f"User:{CLIENT}-subject" in one.command.run("check", one.service, "--print-acls").stdout
    unseen(secured, worker, shown.stdout, shown.stderr, checked.stdout, checked.stderr)


@pytest.mark.long
@pytest.mark.parametrize("path", ["batches", "records"])
def test_tokens_are_renewed_under_load(line, secured, path):
    """A token lives for 10 s and brokers end sessions with it: no doubt, no resume, every record once."""
    one = line("again", path=path)
    secured.server.lasts_s = 10
    secured.server.requests.clear()
    load = Load(one.source.bootstrap, one.topics[0], "lz4", count=None, partitions=4, rate=2000).start()
    worker = one.worker("w1", wait=True)
    wait_for("all partitions to be mirrored", lambda: one.mirroring(worker) == 4, 30)
    resumes = worker.metrics().sum("ferry_link_resumes_total")
    time.sleep(30)
    load.stop()
    one.wait_caught_up()
    one.prove()
    assert worker.metrics().sum("ferry_link_doubts_total") == 0
    assert worker.metrics().sum("ferry_link_resumes_total") == resumes
    assert one.mirroring(worker) == 4
    assert 8 <= len(secured.server.requests) <= 20  # two sites, every 5 s or later
    unseen(secured, worker)


# --- what is wrong, and mended --------------------------------------------------------------------------------------


def test_a_wrong_secret_is_said_and_mended(line, folder, secured):
    one = line("clear")
    Load(one.source.bootstrap, one.topics[0], "lz4", count=500, partitions=4).run()
    for site in ("a", "b"):
        write_secret(folder / site / "client-secret", "wrong")
    worker = one.worker("w1")
    row = worker.wait_said("site=a", f"'{CLIENT}' by OAUTHBEARER", "HTTP 401", "invalid_client", "no such client")
    assert "sasl.oauthbearer.client.secret" in row
    for site in ("a", "b"):
        write_secret(folder / site / "client-secret", SECRET)
    one.wait_caught_up()
    one.prove()
    unseen(secured, worker)


@pytest.mark.long
def test_the_server_is_away_at_the_start_and_later(line, secured):
    one = line("clear")
    Load(one.source.bootstrap, one.topics[0], "lz4", count=500, partitions=4).run()
    secured.server.stop()
    try:
        worker = one.worker("w1")
        worker.wait_said("site=a", "the token endpoint", "does not answer")
        # whoever would fail over is told of the endpoint, and of no credentials
        done = one.command.run("failover", one.service, "--to", "b", "--dry-run")
        told = done.stdout + done.stderr
        assert done.returncode != EXIT_DONE and f"the token endpoint: localhost:{secured.server.port}" in told, told
        assert "credentials" not in told and "curl -v" in told, told
    finally:
        secured.server.again()
    one.wait_caught_up()
    secured.server.stop()
    try:  # the token lasts for an hour: connections that are made anew have it
        secured.target.broker(1).restart()
        Load(one.source.bootstrap, one.topics[0], "lz4", count=500, partitions=4, serial=10**6).run()
        one.wait_caught_up()
        one.prove()
    finally:
        secured.server.again()
    unseen(secured, worker)


@pytest.mark.long
def test_a_token_that_the_broker_refuses(line, secured):
    """Of another audience: said in the broker's words; the right one is asked for without a restart."""
    one = line("clear")
    Load(one.source.bootstrap, one.topics[0], "lz4", count=100, partitions=4).run()
    claims = secured.server.claims
    secured.server.claims = lambda client, form: claims(client, form) | {"aud": "somebody else"}
    try:
        worker = one.worker("w1")
        row = worker.wait_said("site=a", f"'{CLIENT}-subject' by OAUTHBEARER", "refused", "invalid_token")
        assert "audience" in row
    finally:
        secured.server.claims = claims
    one.wait_caught_up()
    one.prove()
    unseen(secured, worker)


@pytest.mark.long
def test_stopped_while_the_server_is_waited_for(line, secured):
    """Threads that wait for it hold nobody's end up, and do not crash it."""
    one = line("clear")
    secured.server.heal()
    secured.server.fault(drip, times=50)
    worker = one.worker("w1")
    wait_for("the server to be asked", lambda: secured.server.requests, 20)
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < 8
    assert one.command.run("status", one.service).returncode == EXIT_UNREACHABLE


# --- what the server of tokens may answer ---------------------------------------------------------------------------


@pytest.fixture
def server(own, folder):
    return own(TokenServer(Authority(folder / "ca"), folder / "tokens", {CLIENT: SECRET}))


def site_of(folder, server, **more):
    """A configuration of one site whose broker nobody asks."""
    kafka, secrets = TokenListener("SASL_SSL", server).sign_in(folder, None, None)
    kafka |= {"bootstrap.servers": "localhost:1", "security.protocol": "SASL_SSL", **more}
    path = folder / "ferry.json"
    site = {"kafka": kafka, "secrets": secrets}
    path.write_text(json.dumps({"deployment": "rig", "sites": {"a": site}, "services": {}}))
    return path


def token(**more):
    return json.dumps({"access_token": "abc.def.ghi", "token_type": "bearer", "expires_in": 60} | more).encode()


def echo(request, *_):
    return says(400, json.dumps({"error": SECRET}).encode())()


def echo_header(request, *_):
    return says(400, json.dumps({"error_description": request.header("authorization")}).encode())()


HOSTILE = {
    "redirect": (redirect, "HTTP 302", "no redirect is followed"),
    "html": (html, "no JSON object", "token.endpoint.url"),
    "flood": (flood, "longer than anything", "token.endpoint.url"),
    "drip": (drip, "does not answer", "reachable"),
    "fails": (fails, "HTTP 500", ""),
    "throttled": (throttle(1), "HTTP 429", ""),
    "forbidden": (says(403, b'{"error":"access_denied\\u001b[31m"}'), "access_denied [31m", "client.secret"),
    "echo": (echo, "it repeats a secret", "client.secret"),
    "echo-header": (echo_header, "it repeats a secret", "client.secret"),
    "unauthorized": (says(401, b"nobody"), "HTTP 401", "client.secret"),
    "nothing": (says(200, b""), "no JSON object", ""),
    "list": (says(200, b"[]"), "no JSON object", ""),
    "none": (says(200, b'{"token_type": "bearer"}'), "without an access_token", ""),
    "empty": (says(200, token(access_token="")), "an access_token that is none", ""),
    "line-end": (says(200, token(access_token="a\r\nb")), "an access_token that is none", ""),
    "field-end": (says(200, token(access_token="a\x01host=b")), "an access_token that is none", ""),
    "too-long": (says(200, token(access_token="x" * 20000)), "an access_token that is none", ""),
    "another-type": (says(200, token(token_type="mac")), "another type than Bearer", ""),
    "over": (says(200, token(expires_in=0)), "expires_in", ""),
    "negative": (says(200, token(expires_in=-5)), "expires_in", ""),
    "words": (says(200, token(expires_in="soon")), "expires_in", ""),
    "huge": (says(200, token(expires_in=10**15)), "expires_in", ""),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_answers_that_are_none(own, folder, server, what):
    fault, text, hint = HOSTILE[what]
    server.fault(fault, times=9)
    with Driver("token_driver", site_of(folder, server), "a") as driver:
        driver.send("ask")
        row = driver.expect("error", timeout=8)
        assert text in row["what"] and hint in row["hint"], row
        assert f"localhost:{server.port}" in row["line"]
        assert SECRET not in row["line"] and "abc.def" not in row["line"]
        assert int(driver.expect("done")["ms"]) < 5500


def test_a_life_that_is_not_said(own, folder, server):
    server.fault(says(200, b'{"access_token": "opaque"}'))
    with Driver("token_driver", site_of(folder, server), "a") as driver:
        driver.send("ask")
        row = driver.expect("token")
        assert 290_000 < int(row["lasts_ms"]) <= 300_000 and row["name"] == CLIENT


def test_one_question_for_all_and_again_before_the_end(own, folder, server):
    server.lasts_s = 4
    server.fault(says(503, b"{}"))
    with Driver("token_driver", site_of(folder, server), "a", 20) as driver:
        driver.send("ask")  # twenty at once, one question, and its failure is everybody's
        assert all("HTTP 503" in driver.expect("error")["what"] for _ in range(20))
        assert len(server.requests) == 1
        time.sleep(1.1)
        driver.send("ask")
        assert {(x["serial"], x["name"]) for x in (driver.expect("token") for _ in range(20))} == {
            ("1", f"{CLIENT}-subject")
        }
        assert len(server.requests) == 2
        time.sleep(1.2)
        driver.send("ask")
        assert {driver.expect("token")["serial"] for _ in range(20)} == {"1"}
        assert len(server.requests) == 2
        time.sleep(1.2)  # half of it is over
        server.fault(fails)
        for _ in range(2):  # cannot be renewed now: it lasts for some time, and nobody asks each time
            driver.send("ask")
            assert {driver.expect("token")["serial"] for _ in range(20)} == {"1"}
            assert len(server.requests) == 3
        time.sleep(1.8)
        driver.send("ask")
        assert {driver.expect("token")["serial"] for _ in range(20)} == {"2"}


def test_another_authority_and_none_are_refused(own, folder, server):
    other = Authority(folder / "other")
    with Driver("token_driver", site_of(folder, server, **{"https.ca.location": str(other.pem)}), "a") as driver:
        driver.send("ask")
        row = driver.expect("error")
        assert "certificate" in row["what"] and "https.ca.location" in row["hint"]
    with Driver("token_driver", site_of(folder, server, **{"https.ca.location": "/nowhere.pem"}), "a") as driver:
        driver.send("ask")
        assert "/nowhere.pem" in driver.expect("error")["what"]
    assert not server.tokens


def test_half_a_sign_in_is_refused_with_the_file(own, folder, secured, line):
    one = line("clear")
    site = one.conf.data["sites"]["a"]
    del site["secrets"]["sasl.oauthbearer.client.secret"]
    one.conf.write()
    done = one.command.run("config", "check")
    assert done.returncode == EXIT_CONFIGURATION
    assert "OAUTHBEARER needs sasl.oauthbearer.client.secret" in done.stdout + done.stderr
