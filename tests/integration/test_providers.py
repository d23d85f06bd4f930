"""Providers with an API: swap, refusals, lost answers, throttling and lies of each. The real server where there is one;
else a stand-in that is proven here by the provider's own SDK."""

import json
import os
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
    folder = session_dir / f"providers-{os.getpid()}"
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
    def make(service, **more):
        settings = service if isinstance(service, dict) else service.settings(**more)
        zone = {"authoritative": [started[0]["bind"].address]} | settings
        return own(Names(folder, zone, word=f"driver-{len(list(folder.glob('driver-*')))}"))

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
