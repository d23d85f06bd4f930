"""Providers with an API: swap, refusals, lost answers, throttling and lies of each. The real server where there is one;
else a stand-in that is proven here by the provider's own SDK."""

import http.server
import json
import os
import pathlib
import tempfile
import threading
import time

import pytest

from rig import api, providers
from rig.names import RECORD, A, B, Names
from rig.nameserver import ZONE, Bind
from rig.secure import Authority

SIX = f"kafka-six.{ZONE}"
KINDS = providers.KINDS
each = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
# the HTTP layer is one for all: JSON and XML of it every time
QUICK = (providers.PowerDnsApi, providers.Route53)
layer = pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.long, id=kind.kind) for kind in KINDS],
)


@pytest.fixture(scope="module")
def started(session_dir):
    """Each provider once, when it is first asked for; and the name servers that say what an address is."""
    made = {}
    folder = pathlib.Path(tempfile.mkdtemp(prefix="providers-", dir=session_dir))  # a worker may come here twice
    authority = Authority(folder / "ca")
    with Bind("shared", folder) as bind:
        yield (
            {"bind": bind, "authority": authority},
            lambda kind: made.get(kind) or made.setdefault(kind, kind(authority, folder, ZONE)),
        )
        for service in made.values():
            service.__exit__()


@pytest.fixture
def names(started, folder, own):
    def make(service, alias=None, evaluate_target_health=False, env=None, **more):
        settings = service if isinstance(service, dict) else service.settings(**more)
        zone = {"authoritative": [started[0]["bind"].address]} | settings
        word = f"driver-{len(list(folder.glob('driver-*')))}"
        record = {"alias": alias, "evaluate_target_health": evaluate_target_health} if alias else {}
        return own(Names(folder, zone, word=word, env=env, **record))

    return make


@pytest.fixture
def service(kind, started):
    found = started[1](kind)
    found.reset()
    return found


@each
def test_swap(service, names):
    """From the value that stands there, and from no other; its time to live alone; a record that is made."""
    one = names(service)
    assert one.call("get") == {"stands": A, "ttl": 30}
    assert one.call("check", A, B) == {
        "stands": A, "ttl": 30, "refusals": [], "done": False, "address_known": True, "what": ""
    }  # fmt: skip
    assert service.api.sent() == []  # a check changes nothing
    assert one.call("swap", A, B, 30) == {}
    assert service.value() == (30, B)
    assert one.call("swap", A, B, 30) == {}  # again: it stands there
    assert len(service.api.sent()) == service.requests_a_change
    assert one.call("check", A, B)["done"] is True
    assert one.call("swap", B, B, 60) == {} and service.value() == (60, B)
    assert one.call("swap", B, A, 60) == {} and service.value() == (60, A)


@each
def test_another_value_is_refused(service, names):
    """Somebody else changed it: both values are said, and nothing is written."""
    one = names(service)
    service.put(30, SIX)
    service.api.heal()
    refused = one.call("swap", A, B, 30)
    assert refused["kind"] == "refused" and SIX in refused["what"] and A in refused["what"], refused
    assert one.call("check", A, B)["refusals"] == ["value-not-as-recorded"]
    assert one.call("swap", "-", B, 30)["kind"] == "refused"  # to be made, and it exists
    assert service.api.sent() == []
    assert service.value() == (30, SIX)


@each
def test_changed_between_look_and_change(service, names):
    """Somebody is quicker than we are: a provider that compares refuses; another one is overwritten (docs/dns.md)."""

    def quicker(_, __, properly):
        service.api.lock.acquire()
        try:
            answer = service.api.answer(service.api.requests[-1])
        finally:
            service.api.lock.release()
        service.api.faults.clear()
        service.meanwhile(30, SIX)
        return answer

    one = names(service)
    service.api.fault(quicker, writes=False)
    answer = one.call("swap", A, B, 30)
    if service.compares:
        assert answer["kind"] == "refused" and SIX in answer["what"], answer
        assert service.value() == (30, SIX)
    else:
        assert answer == {} and service.value() == (30, B)


@each
def test_lost_answers(service, names):
    """It was done and nobody said so: read back, not done twice. It was not done: done again. Nobody says what stands:
    that is said, and the same call finds out."""
    one = names(service, request_timeout="1s")
    service.api.fault(api.lose)
    assert one.call("swap", A, B, 30) == {}
    assert service.value() == (30, B) and len(service.api.sent()) == 1
    service.api.heal()
    service.api.fault(api.swallow)
    assert one.call("swap", B, A, 30) == {}
    assert service.value() == (30, A)
    service.api.heal()
    service.api.fault(api.lose)
    service.api.fault(api.swallow, times=20, writes=False)
    service.first_is_read()
    answer = one.call("swap", A, B, 30)
    assert answer["kind"] == "retry" and f"whether {RECORD} was changed is not known" in answer["what"], answer
    service.api.heal()
    assert one.call("swap", A, B, 30) == {}
    assert service.value() == (30, B) and service.api.sent() == []


@each
def test_throttled(service, names):
    """It waits as long as it is asked to, within its time; longer than that is said, and nothing was changed."""
    one = names(service)
    began = time.monotonic()
    service.api.fault(api.throttle(1))
    answer = one.call("swap", A, B, 30)
    assert answer == {} and time.monotonic() - began > 0.9, answer
    assert service.value() == (30, B)
    service.api.heal()
    service.api.fault(api.throttle(3600))
    began = time.monotonic()
    answer = one.call("swap", B, A, 30)
    assert answer["kind"] == "retry" and "asked too much" in answer["what"], answer
    assert time.monotonic() - began < 3
    assert service.value() == (30, B)


LIES = {"html": api.html, "flood": api.flood, "redirect": api.redirect, "fails": api.fails}


@layer
@pytest.mark.parametrize("how", LIES)
def test_answers_that_are_none(how, service, names):
    """Neither a yes nor a no: what stands is read back, within a bound, and no redirect is followed."""
    one = names(service)
    service.api.fault(LIES[how], times=5, writes=False)
    answer = one.call("get")
    assert answer["kind"] == "retry", answer
    assert service.secret not in str(answer)
    if how == "flood":
        assert all(request.flooded < 8 << 20 for request in service.api.requests)  # sockets hold some
    service.api.heal()
    service.api.fault(LIES[how])  # to the change
    assert one.call("swap", A, B, 30) == {}
    assert service.value() == (30, B)


@layer
def test_drips(service, names):
    """A byte now and then costs its time and no more."""
    one = names(service, request_timeout="700ms")
    service.api.fault(api.drip, times=3, writes=False)
    began = time.monotonic()
    answer = one.call("get")
    assert answer["kind"] == "retry" and "does not answer" in answer["what"]
    assert time.monotonic() - began < 3


@layer
def test_who_answers_is_verified(service, names, folder):
    """Another authority, another name, nobody: said so, and no secret has left."""
    other = Authority(folder / "other")
    for settings, says in (
        ({"ca": str(other.pem)}, "its certificate is not to be trusted"),
        ({"endpoint": service.api.url.replace("localhost", "127.0.0.1")}, "its certificate is not to be trusted"),
        ({"endpoint": "https://localhost:1"}, "does not answer"),
        ({"ca": str(folder / "missing.pem")}, "cannot be used"),
    ):
        one = names(service, request_timeout="1s", **settings)
        answer = one.call("swap", A, B, 30)
        assert answer["kind"] in ("retry", "config") and says in answer["what"], answer
    assert service.api.requests == []


def echoes(request, _, __):
    """What it was sent."""
    said = json.dumps(request.headers)
    tree = {"message": said, "Message": said, "error": said, "errors": [{"message": said}]}
    return api.Answer.of(tree, 403)


@each
def test_wrong_secret(service, names):
    """Refused by name, with what to compare; what the other side repeats of it is not shown."""
    right = service.secret
    try:
        service.secret = service.wrong_secret
        one = names(service)
        answer = one.call("get")
    finally:
        service.secret = right
    assert answer["kind"] == "refused" and "HTTP 40" in answer["what"], answer
    assert "secret" in answer["hint"] and service.kind in answer["hint"]
    service.api.fault(echoes, writes=False)
    answer = names(service).call("get")
    assert answer["kind"] == "refused" and "HTTP 403" in answer["what"], answer
    assert "it repeats a secret" in answer["what"] or not service.sends_secret


# --- one provider alone -----------------------------------------------------------------------------------------------


def test_route53_sets_and_changes(started, names):
    """A weighted set, other records, a change that stays PENDING; temporary credentials."""
    service = started[1](providers.Route53)
    service.reset()
    one = names(service)
    assert one.call("swap", A, B, 30) == {}
    bind = started[0]["bind"]
    bind.put("kafka", 30, "CNAME", "kafka-b")
    try:
        service.api.pending = True
        answer = one.call("settle", B, -1, 0)
        assert (answer["agree"], answer["of"], answer["settled"]) == (1, 1, False)
        service.api.pending = False
        assert one.call("settle", B, -1, 0)["settled"] is True
    finally:
        service.api.pending = False
        bind.put("kafka", 30, "CNAME", "kafka-a")
    service.change("DELETE", **service.sets()[0])
    assert one.call("get")["stands"] == "nothing"
    assert one.call("swap", "-", A, 20) == {} and service.value() == (20, A)
    service.change("DELETE", **service.sets()[0])
    try:
        for i, value in enumerate((A, B)):
            service.change(
                "CREATE", Name=f"{RECORD}.", Type="CNAME", TTL=30, SetIdentifier=str(i), Weight=1,
                ResourceRecords=[{"Value": value}],
            )  # fmt: skip
        assert one.call("check", A, B)["refusals"] == ["weighted-set"]
    finally:
        for rrset in service.sets():
            service.change("DELETE", **rrset)
    host = {"Name": f"{RECORD}.", "Type": "A", "TTL": 30, "ResourceRecords": [{"Value": "192.0.2.1"}]}
    service.change("CREATE", **host)
    assert one.call("check", A, B)["refusals"] == ["no-cname"]
    service.change("DELETE", **host)
    service.put(30, A)


LB = {"a": "Z3QFB96KMJ7ED6", "b": "Z2OJLYMUO9EFXC"}  # hosted zones of two balancers


@pytest.fixture
def aliased(started, names):
    """A record that is an alias of a's balancer, in place of the CNAME."""
    service = started[1](providers.Route53)
    service.reset()
    for rrset in service.sets():
        service.change("DELETE", **rrset)
    service.change("CREATE", **service.alias(A, LB["a"]))
    service.api.heal()
    yield service, lambda **more: names(service, alias=LB, **more)
    for rrset in service.sets():
        service.change("DELETE", **rrset)
    service.put(30, A)


def targets(service):
    """{type: (hosted zone, target, by its health)} as the SDK sees them."""
    return {
        rrset["Type"]: (to["HostedZoneId"], to["DNSName"].rstrip("."), to["EvaluateTargetHealth"])
        for rrset in service.sets()
        for to in [rrset.get("AliasTarget")]
        if to
    }


def test_route53_alias_swap_and_undo(aliased):
    """There, back, again, and made anew: each of its sets, from exactly what stands there."""
    service, make = aliased
    one = make(evaluate_target_health=True)
    assert one.call("get") == {"stands": A, "ttl": 60}
    assert one.call("check", A, B)["refusals"] == [] and service.api.sent() == []
    assert one.call("swap", A, B, 60) == {}
    assert targets(service) == {"A": (LB["b"], B, True)}  # from one that had it otherwise
    assert one.call("swap", A, B, 60) == {} and len(service.api.sent()) == 1
    assert one.call("swap", B, A, 60) == {}
    assert targets(service) == {"A": (LB["a"], A, True)}
    service.change("CREATE", **service.alias(A, LB["a"], kind="AAAA"))
    assert one.call("swap", A, B, 60) == {}
    assert targets(service) == {kind: (LB["b"], B, True) for kind in ("A", "AAAA")}
    for rrset in service.sets():
        service.change("DELETE", **rrset)
    assert one.call("get")["stands"] == "nothing"
    assert one.call("swap", "-", A, 60) == {} and targets(service) == {"A": (LB["a"], A, True)}


def test_route53_alias_refusals(aliased, names):
    """Another target, two, a weighted set, an address or a CNAME in its place: nothing is written."""
    service, make = aliased
    one = make()

    def stands(*sets):
        for rrset in service.sets():
            service.change("DELETE", **rrset)
        for rrset in sets:
            service.change("CREATE", **rrset)
        service.api.heal()

    other = service.alias(SIX, LB["a"])
    stands(other)
    refused = one.call("swap", A, B, 60)
    assert refused["kind"] == "refused" and SIX in refused["what"] and A in refused["what"], refused
    assert one.call("check", A, B)["refusals"] == ["value-not-as-recorded"]
    assert one.call("swap", "-", B, 60)["kind"] == "refused"
    stands(service.alias(A, LB["a"]), service.alias(SIX, LB["a"], kind="AAAA"))
    assert one.call("check", A, B)["refusals"] == ["several-values"]
    stands(*(service.alias(A, LB["a"]) | {"SetIdentifier": str(i), "Weight": 1} for i in range(2)))
    assert one.call("check", A, B)["refusals"] == ["weighted-set"]
    address = {"Name": f"{RECORD}.", "Type": "A", "TTL": 30, "ResourceRecords": [{"Value": "192.0.2.1"}]}
    for wrong in (address, address | {"Type": "CNAME", "ResourceRecords": [{"Value": f"{A}."}]}):
        stands(wrong)
        found = one.call("check", A, B)
        assert found["refusals"] == ["no-cname"] and "an alias" in found["what"], found
    stands(service.alias(A, LB["a"]))
    assert one.call("swap", A, SIX, 60)["kind"] == "refused"  # where it lies nobody configured
    assert names(service).call("check", A, B)["refusals"] == ["no-cname"]  # and it is no CNAME
    assert service.api.sent() == []


def test_route53_alias_lost_answers(aliased):
    """As with a CNAME: read back, and never written from anything but what was recorded."""
    service, make = aliased
    one = make()
    service.api.fault(api.lose)
    assert one.call("swap", A, B, 60) == {} and len(service.api.sent()) == 1
    assert targets(service) == {"A": (LB["b"], B, False)}
    service.api.heal()
    service.api.fault(api.swallow)
    assert one.call("swap", B, A, 60) == {} and targets(service) == {"A": (LB["a"], A, False)}

    def quicker(_, __, properly):  # between our look and our change
        service.api.lock.acquire()
        try:
            answer = service.api.answer(service.api.requests[-1])
        finally:
            service.api.lock.release()
        service.api.faults.clear()
        service.change("UPSERT", **service.alias(SIX, LB["a"]))
        return answer

    service.api.fault(quicker, writes=False)
    answer = one.call("swap", A, B, 60)
    assert answer["kind"] == "refused" and SIX in answer["what"], answer
    assert targets(service) == {"A": (LB["a"], SIX, False)}


def test_route53_alias_is_settled_by_its_addresses(aliased, started):
    """No answer has an alias in it: servers agree that give addresses of the target and no other's."""
    one, bind = aliased[1](), started[0]["bind"]
    assert one.call("swap", A, B, 60) == {}
    a, b = ([str(found) for found in bind.ask(name, "A").answer[0]] for name in (A, B))
    try:
        for addresses, says in ((a, A), (b, B), ([*a, *b], "other records than a CNAME")):
            bind.put("kafka", 30, "ANY")
            bind.put("kafka", 30, "A", *addresses)
            answer = one.call("settle", B, -1, 0)
            assert answer["servers"] == {bind.address: says} and answer["settled"] is (says == B), answer
    finally:
        bind.put("kafka", 30, "ANY")
        bind.put("kafka", 30, "CNAME", "kafka-a")


def test_an_alias_is_route53s(started, names, folder):
    service = started[1](providers.PowerDnsApi)
    one = names(service, alias=LB)
    line = one.next(10)
    assert line["event"] == "error" and "has a provider without them" in line["what"], line


# --- credentials of AWS that are not in the configuration -------------------------------------------------------------


class Metadata(http.server.BaseHTTPRequestHandler):
    """What an instance (version 2 alone) and a container are given; proven below by botocore's own fetchers."""

    def do_PUT(self):
        ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
        ok = self.path == "/latest/api/token" and ttl and not self.server.broken
        self.say(200 if ok else 403, "instance-token" if ok else "")

    def do_GET(self):
        key, secret, token = self.server.keys
        keys = {"Code": "Success", "AccessKeyId": key, "SecretAccessKey": secret, "Token": token, "Type": "AWS-HMAC",
                "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": "2036-01-01T00:00:00Z"}  # fmt: skip
        roles = "/latest/meta-data/iam/security-credentials/"
        if self.path == "/container":
            known = self.headers.get("Authorization") == "container-token"
            del keys["Code"]
            return self.say(200 if known else 401, json.dumps(keys))
        known = self.headers.get("X-aws-ec2-metadata-token") == "instance-token"
        answers = {roles: "ferry-role", roles + "ferry-role": json.dumps(keys)}
        self.server.asked.append(self.path)
        return self.say(200 if known and self.path in answers else 401, answers.get(self.path, ""))

    def say(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def metadata():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    server.broken, server.asked = False, []
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server
    server.shutdown()


SOURCES = ("keys", "environment", "container", "instance")


def aws_source(source, keys, metadata, folder):
    """(settings of the zone, environment) for one way to come by keys."""
    token = folder / "token"
    token.write_text("container-token")
    token.chmod(0o600)
    environments = {
        "environment": dict(
            zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), keys, strict=True)
        ),
        "container": {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{metadata.url}/container",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
        },
        "instance": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.url},
    }
    return {"credentials": source}, environments.get(source, {})


@pytest.mark.parametrize("source", SOURCES)
def test_route53_credentials(source, started, names, folder, metadata):
    """Temporary keys, wherever they come from, with their token in what is signed; a role's rights in moto."""
    service = started[1](providers.Route53)
    service.reset()
    metadata.keys = service.temporary()
    settings, env = aws_source(source, metadata.keys, metadata, folder)
    if source == "keys":
        for name, value in zip(("secret", "session_token"), metadata.keys[1:], strict=True):
            settings[name] = {"file": service.file(f"temporary-{name}", value)}
        settings["access_key"] = metadata.keys[0]
    zone = service.settings() | settings
    if source != "keys":
        del zone["secret"], zone["access_key"]
    one = names(zone, env=env | {"http_proxy": "http://127.0.0.1:1"})  # nobody asks a proxy for these
    assert one.call("swap", A, B, 30) == {} and service.value() == (30, B)
    assert service.api.sent()[-1].header("x-amz-security-token") == metadata.keys[2]
    assert one.call("swap", B, A, 30) == {}
    assert metadata.asked.count("/latest/meta-data/iam/security-credentials/") == (source == "instance")  # kept


def test_botocore_takes_the_same_metadata(metadata, folder, monkeypatch):
    from botocore.credentials import ContainerProvider, InstanceMetadataProvider
    from botocore.utils import ContainerMetadataFetcher, InstanceMetadataFetcher

    metadata.keys = ("ASIAEXAMPLE", "a-secret", "a-token")
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in aws_source("container", metadata.keys, metadata, folder)[1].items():
        monkeypatch.setenv(name, value)
    found = ContainerProvider(fetcher=ContainerMetadataFetcher()).load().get_frozen_credentials()
    assert tuple(found)[:3] == metadata.keys
    fetcher = InstanceMetadataFetcher(config={"ec2_metadata_service_endpoint": metadata.url + "/"})
    found = InstanceMetadataProvider(iam_role_fetcher=fetcher).load().get_frozen_credentials()
    assert tuple(found)[:3] == metadata.keys


def test_route53_credentials_that_are_not_there(started, names, folder, metadata):
    """Each says what is missing and where; nothing is asked of anybody else, and no key is shown."""
    service = started[1](providers.Route53)
    service.reset()
    metadata.keys = service.temporary()

    def says(source, **env):
        settings, right = aws_source(source, metadata.keys, metadata, folder)
        zone = service.settings() | settings
        del zone["secret"], zone["access_key"]
        env = dict.fromkeys(("AWS_SESSION_TOKEN",), "") | right | env
        answer = names(zone, env={name: value for name, value in env.items() if value is not None}).call("get")
        assert metadata.keys[1] not in str(answer)
        return answer["kind"], answer["what"], answer["hint"]

    assert "AWS_SECRET_ACCESS_KEY are not" in says("environment", AWS_SECRET_ACCESS_KEY="")[1]
    kind, what, hint = says("container", AWS_CONTAINER_CREDENTIALS_FULL_URI="http://192.0.2.1/keys")
    assert kind == "config" and "leads elsewhere" in what and "docs/dns.md#credentials" in hint
    assert "HTTP 401" in says("container", AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=service.file("other", "other"))[1]
    metadata.broken = True
    kind, what, hint = says("instance")
    assert kind == "refused" and "HTTP 403" in what and "hop limit" in hint
    assert says("instance", AWS_EC2_METADATA_SERVICE_ENDPOINT="http://127.0.0.1:1")[0] == "retry"
    assert service.api.requests == []


# --- several providers of one zone ------------------------------------------------------------------------------------


@pytest.fixture
def pair(started):
    first, second = started[1](providers.PowerDnsApi), started[1](providers.Cloudflare)
    first.reset()
    second.reset()
    return first, second


def test_each_of_several_providers_carries_the_change(pair, names):
    first, second = pair
    one = names(first, also=[second.settings()])
    assert one.call("get") == {"stands": A, "ttl": 30}
    assert one.call("swap", A, B, 30) == {}
    assert first.value() == second.value() == (30, B)
    # somebody changed one of them: nothing is changed with any
    second.put(30, SIX)
    assert "not the same" in one.call("get")["stands"]
    assert one.call("check", B, A)["refusals"] == ["value-not-as-recorded"]
    refused = one.call("swap", B, A, 30)
    assert refused["kind"] == "refused" and SIX in refused["what"], refused
    assert first.value() == (30, B) and second.value() == (30, SIX)


def test_one_of_several_providers_is_away(pair, names):
    """The other is changed all the same; it is said that a part is left, and the same call ends it."""
    first, second = pair
    one = names(first, also=[second.settings()], request_timeout="600ms")
    first.api.fault(api.swallow, times=60, writes=False)
    answer = one.call("swap", A, B, 30)
    assert answer["kind"] == "retry" and "changed with 1 of 2 providers" in answer["what"], answer
    first.api.heal()
    assert first.value() == (30, A) and second.value() == (30, B)
    assert one.call("settle", B, -1, 0)["settled"] is False
    second.api.heal()
    assert one.call("swap", A, B, 30) == {}
    assert first.value() == second.value() == (30, B)
    assert second.api.sent() == []
