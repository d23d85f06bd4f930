"""The names of a service: create, adopt, swap and every refusal on real BIND, Knot and PowerDNS; lost answers, wrong
keys, dead and lagging servers. What the zone holds afterwards is judged by dnspython."""

import contextlib
import json
import os
import socket
import stat
import threading
import time

import dns.flags
import dns.message
import dns.rrset
import pytest

from rig import netns
from rig.ferry import (
    EXIT_CONFIGURATION,
    EXIT_REFUSED,
    EXIT_TIME,
    EXIT_UNCONFIRMED,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    Command,
    Configuration,
)
from rig.names import RECORD, A, B, Names
from rig.nameserver import RECORDS, ZONE, Bind, Knot, PowerDns, Proxy, Secondary, secret, zone_settings
from rig.procs import free_port

SERVERS = [Bind, Knot, PowerDns]


@pytest.fixture
def names(folder, own):
    def make(zone, **more):
        return own(Names(folder, zone, word=f"driver-{len(list(folder.glob('driver-*')))}", **more))

    return make


@pytest.fixture(scope="module")
def bind(session_dir):
    """One BIND for tests that leave its zone as it was."""
    with Bind("shared", session_dir / f"dns-{os.getpid()}") as server:
        yield server


# --- providers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SERVERS, ids=lambda kind: kind.kind)
def test_swap_is_compare_and_swap(kind, folder, own, names):
    """On each server: a value that is not there is refused and nothing changes; the right one moves it alone."""
    server = own(kind("one", folder)).start()
    one = names(zone_settings(folder, [server]))
    before = server.zone()
    assert one.call("get") == {"stands": A, "ttl": 30}
    assert one.call("check", A, B) == {
        "stands": A, "ttl": 30, "refusals": [], "done": False, "address_known": True, "what": ""
    }  # fmt: skip
    refused = one.call("swap", B, f"kafka-six.{ZONE}", 30)
    assert refused["kind"] == "refused" and A in refused["what"] and B in refused["what"]
    assert server.zone() == before
    assert one.call("swap", A, B, 30) == {}
    moved = {("kafka", "CNAME", 30, "kafka-b")}
    assert server.zone() == before - {("kafka", "CNAME", 30, "kafka-a")} | moved
    assert one.call("swap", A, B, 30) == {}  # again: it stands there
    assert one.call("check", A, B)["done"] is True
    settled = one.call("settle", B, -1, 2000)
    assert settled["settled"] is True and settled["servers"] == {server.address: B}
    assert one.call("swap", B, B, 5) == {}  # the time to live alone
    assert server.value() == (5, B)
    assert one.call("swap", B, A, 30) == {}
    assert server.zone() == before
    new = names(zone_settings(folder, [server]), record=f"new.{ZONE}")
    assert new.call("swap", A, B, 30)["kind"] == "refused"  # it does not exist
    assert new.call("check", "-", A)["refusals"] == []
    assert new.call("swap", "-", A, 20) == {}
    assert server.zone() == before | {("new", "CNAME", 20, "kafka-a")}
    assert new.call("check", "-", B)["refusals"] == ["exists-already"]
    assert new.call("swap", "-", B, 20)["kind"] == "refused"
    assert server.value("new") == (20, A)


KNOWN_NOT = "does not know TSIG key 'stranger'"


@pytest.mark.parametrize("kind", SERVERS, ids=lambda kind: kind.kind)
def test_wrong_key(kind, folder, own, names):
    """Said by name, nothing changed."""
    server = own(kind("one", folder)).start()
    before = server.zone()
    other = names(zone_settings(folder, [server], value=secret("somebody")))
    silent = "NOTAUTH without a signature of TSIG key"  # PowerDNS gives no reason, Knot from 3.4 on none for a key
    says = silent if kind is PowerDns else "has another secret for TSIG key 'ferry' (BADSIG)"
    assert says in other.call("get")["what"]
    assert other.call("swap", A, B, 30)["kind"] in ("refused", "retry")
    unknown = names(zone_settings(folder, [server], key="stranger"))
    says = {Bind: (KNOWN_NOT,), Knot: (KNOWN_NOT, silent), PowerDns: (silent,)}[kind]
    what = unknown.call("get")["what"]
    assert any(words in what for words in says), what
    assert unknown.call("check", A, B)["kind"] == "refused"
    assert unknown.call("swap", A, B, 30)["kind"] in ("refused", "retry")
    assert server.zone() == before


@pytest.mark.parametrize("kind", [Bind, Knot], ids=lambda kind: kind.kind)
def test_key_that_may_not(kind, folder, own, names):
    """The right key, and no permission for this name: the check says so before anybody needs it."""
    server = own(kind("one", folder, owners=("other",))).start()
    one = names(zone_settings(folder, [server]))
    before = server.zone()
    answer = one.call("check", A, B)
    says = "REFUSED" if kind is Bind else "or not for this (BADKEY)|NOTAUTH without a signature"
    refused = one.call("swap", A, B, 30)
    assert answer["refusals"] == ["refused-by-provider"] and refused["kind"] == "refused", (answer, refused)
    for what in (answer["what"], refused["what"]):
        assert any(words in what for words in says.split("|")), what
    assert server.zone() == before


def test_another_algorithm(folder, own, names):
    server = own(Bind("one", folder, algorithm="hmac-sha512")).start()
    zone = zone_settings(folder, [server])
    one = names(zone | {"tsig": zone["tsig"] | {"algorithm": "hmac-sha512"}})
    assert one.call("swap", A, B, 30) == {} and server.value() == (30, B)
    other = names(zone)
    assert other.call("swap", B, A, 30)["kind"] in ("refused", "retry") and server.value() == (30, B)


def test_refusals_by_name(bind, folder, names):
    """Each with the record as it is in the zone, and nothing changed."""
    zone = zone_settings(folder, [bind])
    before = bind.zone()

    def check(record, frm, to):
        one = names(zone, record=f"{record}.{ZONE}" if record else ZONE)
        answer = one.call("check", frm, to)
        assert "refusals" in answer, answer
        return answer["refusals"]

    assert check("kafka", B, f"kafka-six.{ZONE}") == ["value-not-as-recorded"]
    assert check("nowhere", A, B) == ["does-not-exist"]
    assert check("kafka", "-", B) == ["exists-already"]
    assert check("host", A, B) == ["no-cname"]
    assert check("kafka", A, f"dead.{ZONE}") == ["target-without-address"]
    assert check("kafka", A, f"nobody.{ZONE}") == ["target-without-address"]
    assert check("kafka", A, f"loops.{ZONE}") == ["loop"]
    assert check("kafka", A, RECORD) == ["loop"]
    assert check("x.cut", A, B) == ["outside-the-zone"]
    assert "outside-the-zone" in check("", A, B)
    assert check("x.wild", A, B) == ["refused-by-provider"]  # from a wildcard: no record of its own
    assert check("kafka", A, f"alias.{ZONE}") == []  # by way of another name
    assert check("kafka", A, f"kafka-six.{ZONE}") == []  # IPv6 alone
    assert check("KAFKA", A, B) == []  # letters' case is nobody's
    assert bind.zone() == before


def test_outside_every_zone(folder, bind):
    with Names(folder, zone_settings(folder, [bind]), record="kafka.example.org") as one:
        line = one.driver.expect("error")
        assert line["kind"] == "refused" and "lies outside every zone" in line["what"]


def test_zone_that_the_server_does_not_have(folder, bind, names):
    one = names(zone_settings(folder, [bind]), record="kafka.other.test", name="other.test")
    assert one.call("get")["event"] == "error"
    assert one.call("swap", A, B, 30)["kind"] in ("refused", "retry")


@pytest.mark.parametrize("lost", ["answer", "question"])
def test_lost_answer_is_read_back(lost, bind, folder, own, names):
    """The update arrives and its answer does not: it is not sent again, and not taken for a failure. Or it does not
    arrive: then it is."""
    proxy = own(Proxy(bind))
    one = names(zone_settings(folder, [proxy.address]) | {"authoritative": [bind.address]})
    before = bind.zone()
    (proxy.lose_answers if lost == "answer" else proxy.lose_questions)(1)
    assert one.call("swap", A, B, 30) == {}
    assert bind.value() == (30, B)
    assert proxy.updates == 1
    assert one.call("swap", B, A, 30) == {}
    assert bind.zone() == before


def test_next_server_of_the_list(bind, folder, names):
    """The first is dead: the second serves. None is there: nothing is claimed."""
    nobody = f"127.0.0.1:{free_port()}"
    before = bind.zone()
    one = names(zone_settings(folder, [nobody, bind]) | {"authoritative": [bind.address]})
    assert one.call("get") == {"stands": A, "ttl": 30}
    assert one.call("swap", A, B, 30) == {}
    assert one.call("swap", B, A, 30) == {}
    assert bind.zone() == before
    dead = names(zone_settings(folder, [nobody]))
    refused = dead.call("swap", A, B, 30)
    assert refused["kind"] == "retry" and nobody in refused["what"]


def test_silent_server_costs_its_time_only(folder, own, names):
    server = own(Bind("silent", folder)).start()
    server.process.sigstop()
    one = names(zone_settings(folder, [server], timeout="300ms"))
    began = time.monotonic()
    answer = one.call("get", timeout=15)
    assert time.monotonic() - began < 8
    assert answer["kind"] == "retry" and "does not answer" in answer["what"]


def test_settled_is_k_of_n(folder, own, names):
    """A secondary that lags, and one that is dead: counted, waited for, never taken for agreement."""
    server = own(Bind("primary", folder)).start()
    slow = own(Secondary("slow", folder, of=server)).start()
    dead = f"127.0.0.1:{free_port()}"
    both = {"authoritative": [server.address, slow.address]}
    one = names(zone_settings(folder, [server]) | both)
    assert one.call("settle", A, -1, 0)["settled"] is True
    assert one.call("swap", A, B, 30) == {}
    behind = one.call("settle", B, -1, 700)
    assert (behind["agree"], behind["of"], behind["needed"], behind["settled"]) == (1, 2, 2, False)
    assert behind["servers"] == {server.address: B, slow.address: A}
    enough = names(zone_settings(folder, [server], settled=1) | both)
    assert enough.call("settle", B, -1, 0)["settled"] is True
    stale = names(zone_settings(folder, [server], resolvers=[slow.address]))
    answer = stale.call("settle", B, -1, 0)
    assert (answer["settled"], answer["resolvers_agree"], answer["resolvers"]) == (False, 0, 1)
    slow.notify()
    assert one.call("settle", B, -1, 10000)["settled"] is True
    assert stale.call("settle", B, -1, 5000)["settled"] is True
    with_dead = names(zone_settings(folder, [server]) | {"authoritative": [server.address, dead]})
    answer = with_dead.call("settle", B, -1, 0)
    assert (answer["agree"], answer["of"], answer["settled"]) == (1, 2, False)


@pytest.mark.root
def test_name_servers_of_the_zone_are_found(folder, own, names):
    """Without `authoritative` the zone's NS records say who is asked; one without an address is counted, and silent."""
    place = netns.Place("dns", 3, 100 + os.getpid() % 100)
    place.make()
    try:
        server = own(Bind("far", folder, records=RECORDS + "@ 60 NS ns.nowhere.test.\n", place=place)).start()
        zone = zone_settings(folder, [server], resolvers=[server.address])
        del zone["authoritative"]
        answer = names(zone).call("settle", A, -1, 0)
        assert answer["servers"] == {place.host: A, "ns.nowhere.test": "its address is not known"}
        assert (answer["agree"], answer["of"], answer["settled"]) == (1, 2, False)
        server.kill9()
    finally:
        place.remove()


class Liar:
    """Answers over UDP and TCP as no name server does. `udp`, `tcp`: question (dnspython) -> list of bytes to send."""

    def __init__(self, udp=None, tcp=None):
        self.udp, self.tcp = udp, tcp
        self.over_tcp = 0
        self.stream = socket.create_server(("127.0.0.1", 0))
        self.port = self.stream.getsockname()[1]
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", self.port))
        self.address = f"127.0.0.1:{self.port}"
        for serve in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def serve_udp(self):
        with contextlib.suppress(OSError):
            while True:
                wire, peer = self.datagrams.recvfrom(65535)
                for part in self.udp(dns.message.from_wire(wire)) if self.udp else []:
                    self.datagrams.sendto(part, peer)

    def serve_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.stream.accept()
                threading.Thread(target=self.talk, args=[peer], daemon=True).start()

    def talk(self, peer):
        with peer, contextlib.suppress(OSError):
            wire = Proxy.message(peer)
            self.over_tcp += 1
            for part in self.tcp(wire) if self.tcp else []:
                peer.sendall(part)
                time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.datagrams.close()


def answer_to(question, *records, flags=dns.flags.QR | dns.flags.AA):
    answer = dns.message.make_response(question)
    answer.flags = flags
    for record in records:
        answer.answer.append(dns.rrset.from_text(f"{RECORD}.", 30, "IN", *record))
    return answer


def framed(wire):
    return len(wire).to_bytes(2, "big") + wire


def good(question):
    return answer_to(question, ("CNAME", f"{B}.")).to_wire()


def spoofed(question):
    """Wrong id, wrong question, garbage, and the answer last."""
    other = answer_to(dns.message.make_query(f"other.{ZONE}", "CNAME"), ("CNAME", f"{A}."))
    other.id = question.id
    false = answer_to(question, ("CNAME", f"{A}."))
    false.id = question.id ^ 1
    return [false.to_wire(), other.to_wire(), b"", b"x" * 11, good(question)]


def crowd(question):
    many = [("CNAME", f"n{i}.{ZONE}.") for i in range(500)]
    return answer_to(question, *many).to_wire()


LIARS = {
    "spoofs": (spoofed, None, B),
    "cuts": (
        lambda q: [answer_to(q, flags=dns.flags.QR | dns.flags.AA | dns.flags.TC).to_wire()],
        lambda wire: [framed(good(dns.message.from_wire(wire)))],
        B,
    ),
    "drips": (
        lambda q: [answer_to(q, flags=dns.flags.QR | dns.flags.TC).to_wire()],
        lambda wire: [b"\xff\xff", *[b"x"] * 100],
        "does not answer",
    ),
    "garbage": (lambda q: [q.id.to_bytes(2, "big") + b"\x84\x00" + b"\xff" * 60], None, "cannot be used"),
    "crowds": (
        lambda q: [answer_to(q, flags=dns.flags.QR | dns.flags.TC).to_wire()],
        lambda wire: [framed(crowd(dns.message.from_wire(wire)))],
        "more records than there can be",
    ),
    "refuses": (
        lambda q: [(lambda a: (a.set_rcode(5), a.to_wire())[1])(answer_to(q))],
        None,
        "REFUSED",
    ),
    "not-authoritative": (
        lambda q: [answer_to(q, ("CNAME", f"{B}."), flags=dns.flags.QR).to_wire()],
        None,
        "not authoritative",
    ),
    "no-name": (lambda q: [answer_to(q, ("CNAME", "a\\000b.")).to_wire()], None, "?"),
}


@pytest.mark.parametrize("how", LIARS)
def test_hostile_answers(how, bind, folder, own, names):
    """Whatever comes: the right answer is taken, everything else is none, and nothing waits longer than its time."""
    udp, tcp, expected = LIARS[how]
    liar = own(Liar(udp, tcp))
    one = names(zone_settings(folder, [bind]) | {"authoritative": [liar.address], "timeout": "2s"})
    began = time.monotonic()
    answer = one.call("settle", B, -1, 0, timeout=15)
    assert time.monotonic() - began < 8
    assert expected in answer["servers"][liar.address]
    assert answer["settled"] is (expected == B)
    assert (liar.over_tcp > 0) is (tcp is not None)


def test_unsigned_word_is_not_believed(bind, folder, own, names):
    """Somebody on the line says NOERROR to an update, without the key: the swap is not done."""

    def noerror(wire):
        return [framed(wire[:2] + bytes([wire[2] | 0x80, 0]) + b"\0\0\0\0\0\0\0\0")]

    liar = own(Liar(tcp=noerror))
    one = names(zone_settings(folder, [liar.address, bind]) | {"authoritative": [bind.address]})
    refused = one.call("swap", B, f"kafka-six.{ZONE}", 30)  # the real one says what stands there
    assert refused["kind"] == "refused" and "was not changed" in refused["what"]
    alone = names(zone_settings(folder, [liar.address]))
    answer = alone.call("swap", A, B, 30)
    assert answer["kind"] == "retry" and "is not known" in answer["what"]
    assert bind.value() == (30, A)


# --- exec -------------------------------------------------------------------------------------------------------------

PROGRAM = """#!/usr/bin/env python3
import json, os, sys, time
state = {state!r}
request = json.load(sys.stdin)
with open(state) as f:
    now = json.load(f)
with open(state + ".calls", "a") as f:
    f.write(json.dumps(request | {{"env": sorted(os.environ), "argv": sys.argv[1:]}}) + "\\n")
how = now.get(request["call"], "")
if how == "hang":
    time.sleep(60)
if how == "crash":
    os.abort()
if how == "noise":
    print("<html>200 OK</html>")
    sys.exit(0)
if how == "much":
    print("x" * 1000000)
    sys.exit(0)
if how == "angry":
    print("quota exceeded", file=sys.stderr)
    sys.exit(3)
if request["call"] == "get":
    print(json.dumps(now["set"]))
elif request["call"] == "settled":
    print(json.dumps({{"settled": how != "pending"}}))
else:
    if now["set"]["values"] != ([request["from"]] if request["from"] else []):
        print("another value", file=sys.stderr)
        sys.exit(3)
    if not request["check"] and how != "liar":
        now["set"] = {{"values": [request["to"]], "ttl": request["ttl"]}}
        with open(state, "w") as f:
            json.dump(now, f)
    if how == "dies-behind-it":
        os.abort()
    print("{{}}")
"""


class Exec:
    """A program that keeps a record in a file."""

    def __init__(self, folder, server):
        self.state = folder / "exec-state"
        self.program = folder / "program"
        self.program.write_text(PROGRAM.format(state=str(self.state)))
        self.program.chmod(0o755)
        self.set(values=[A], ttl=30)
        self.zone = {
            "provider": "exec",
            "command": [str(self.program), "--profile", "x y"],
            "command_timeout": "10s",
            "environment": ["FERRY_TEST_TOKEN", "FERRY_TEST_UNSET"],
            "authoritative": [server.address],
        }

    def set(self, values, ttl=30, more=None, **how):
        self.state.write_text(json.dumps({"set": {"values": values, "ttl": ttl} | (more or {})} | how))

    @property
    def value(self):
        return json.loads(self.state.read_text())["set"]["values"]

    def calls(self):
        return [json.loads(line) for line in self.state.with_suffix(".calls").read_text().splitlines()]


def test_exec(bind, folder, names, monkeypatch):
    monkeypatch.setenv("FERRY_TEST_TOKEN", "t")
    monkeypatch.setenv("FERRY_TEST_OTHER", "secret")
    program = Exec(folder, bind)
    one = names(program.zone)
    assert one.call("get") == {"stands": A, "ttl": 30}
    assert one.call("check", A, B)["refusals"] == []
    assert program.value == [A]
    assert one.call("swap", A, B, 45) == {} and program.value == [B]
    assert one.call("swap", A, B, 45) == {}  # again
    call = program.calls()[-1]
    assert call["env"] == ["FERRY_TEST_TOKEN", "LANG", "LC_CTYPE", "PATH"] or call["env"] == [
        "FERRY_TEST_TOKEN",
        "LANG",
        "PATH",
    ]
    assert call["argv"] == ["--profile", "x y"]
    swap = next(call for call in program.calls() if call["call"] == "swap" and not call["check"])
    assert {k: swap[k] for k in ("version", "zone", "record", "from", "to", "ttl")} == {
        "version": 1, "zone": ZONE, "record": RECORD, "from": A, "to": B, "ttl": 45
    }  # fmt: skip
    refused = one.call("swap", A, f"kafka-six.{ZONE}", 45)
    assert refused["kind"] == "refused" and B in refused["what"] and program.value == [B]
    for more, refusal in (({}, "several-values"), ({"weighted": True}, "weighted-set")):
        program.set(values=[A, B], more=more)
        assert one.call("check", A, B)["refusals"] == [refusal]
    program.set(values=[], more={"other": True})
    assert one.call("check", A, B)["refusals"] == ["no-cname"]
    # the servers say so, the provider does not yet
    assert one.call("settle", A, -1, 0)["settled"] is True
    for how in ("pending", "crash", "noise"):
        program.set(values=[A], settled=how)
        answer = one.call("settle", A, -1, 0)
        assert (answer["agree"], answer["settled"]) == (1, False)


@pytest.mark.parametrize(
    "how, kind, what",
    [
        ("hang", "retry", "was ended after 0.7 s"),
        ("crash", "retry", "was ended by signal"),
        ("noise", "retry", "no JSON object"),
        ("much", "retry", "no JSON object"),
        ("angry", "refused", "quota exceeded"),
    ],
)
def test_exec_that_misbehaves(how, kind, what, bind, folder, names):
    """Neither believed nor waited for."""
    program = Exec(folder, bind)
    one = names(program.zone | ({"command_timeout": "700ms"} if how == "hang" else {}))
    program.set(values=[A], get=how)
    answer = one.call("get", timeout=20)
    assert answer["kind"] == kind and what in answer["what"], answer
    program.set(values=[A], swap=how)
    answer = one.call("swap", A, B, 30, timeout=20)
    if how in ("noise", "much"):
        assert "it says done" in answer["what"] or what in answer["what"]
    else:
        assert what in answer["what"], answer
    assert program.value == [A]


def test_exec_is_read_back(bind, folder, names):
    program = Exec(folder, bind)
    one = names(program.zone)
    program.set(values=[A], swap="liar")
    answer = one.call("swap", A, B, 30)
    assert answer["kind"] == "retry" and "it says done" in answer["what"]
    program.set(values=[A], swap="dies-behind-it")
    assert one.call("swap", A, B, 30) == {} and program.value == [B]
    program.program.chmod(program.program.stat().st_mode | stat.S_IWGRP)
    assert "may be written by others" in one.call("get")["what"]


# --- the command ------------------------------------------------------------------------------------------------------


class Service:
    """A service on both clusters with one record."""

    def __init__(self, folder, sites, name, zone, record=RECORD, **cname):
        self.name = name
        self.conf = Configuration(folder, {"a": (sites[0], None), "b": (sites[1], None)}, dns={ZONE: zone})
        self.conf.service(name, topics=[f"{name}.*"], cname=[{"record": record, "at": {"a": A, "b": B}, **cname}])
        self.command = Command(self.conf)

    def dns(self, verb, *more):
        return self.command.run("dns", verb, self.name, *more)

    def json(self, verb, *more):
        return self.command.json("dns", verb, self.name, *more)

    def recorded(self):
        return self.json("show")["records"][0]["recorded"]


def test_adopt_prepare_plan_swap(sites, folder, own, name):
    """An operator's way, with a secondary that is slow; and somebody else's hand in between."""
    server = own(Bind("one", folder)).start()
    slow = own(Secondary("slow", folder, of=server)).start()
    server.put("kafka", 3600, "CNAME", "kafka-a")
    one = Service(folder, sites, name, zone_settings(folder, [server], settled=1) | {
        "authoritative": [server.address, slow.address]
    })  # fmt: skip
    before = server.zone()
    done = one.dns("swap", "--to", "b", "--yes")
    assert done.returncode == EXIT_REFUSED and f"ferry dns adopt {name}" in done.stderr
    assert one.dns("adopt").returncode == EXIT_UNCONFIRMED
    shown = one.json("show")
    assert shown["records"][0]["recorded"] is None
    adopted = one.dns("adopt", "--yes")
    assert adopted.returncode == 0, adopted.stderr
    assert "clients may keep an old answer for 3600 s" in adopted.stdout.replace("\n    ", " ")
    assert one.recorded() == {"value": A, "next": None, "ttl": 3600, "ttl_before": None}
    done = one.dns("prepare", "--ttl", "30", "--yes", "--wait", "5")
    assert done.returncode == 0, done.stderr
    assert server.value() == (30, A)
    assert one.recorded() == {"value": A, "next": None, "ttl": 30, "ttl_before": 3600}
    plan = one.json("plan", "--to", "b")["records"][0]
    assert (plan["stands"], plan["to"], plan["refusals"]) == (A, B, [])
    # somebody else moves it
    server.put("kafka", 30, "CNAME", "kafka-six")
    done = one.dns("swap", "--to", "b", "--yes")
    assert done.returncode == EXIT_REFUSED and "value-not-as-recorded" in done.stderr
    assert "kafka-six" in done.stderr and A in done.stderr and f"ferry dns adopt {name}" in done.stderr
    assert server.value() == (30, f"kafka-six.{ZONE}")
    server.put("kafka", 30, "CNAME", "kafka-a")
    assert one.dns("swap", "--to", "b").returncode == EXIT_UNCONFIRMED
    assert server.value() == (30, A)
    done = one.dns("swap", "--to", "b", "--yes")
    assert done.returncode == 0, done.stderr
    row = ("kafka", "CNAME", 30, "kafka-a")
    assert server.zone() == before - {("kafka", "CNAME", 3600, "kafka-a")} | {(*row[:3], "kafka-b")}
    assert one.recorded()["value"] == B and one.recorded()["next"] is None
    shown = one.dns("show").stdout
    assert f"recorded {B} (b)" in shown and slow.address in shown and server.address in shown
    # all servers are asked for now, and the slow one has the old value: it stands, and is not settled
    one.conf.data["dns"][ZONE]["settled"] = 0
    one.conf.write()
    again = one.dns("swap", "--to", "b", "--wait", "0")
    assert again.returncode == EXIT_TIME and "1 of 2 authoritative servers" in again.stdout + again.stderr
    slow.notify()
    again = one.dns("swap", "--to", "b", "--wait", "15")
    assert again.returncode == 0, again.stderr


def test_create(sites, bind, folder, name):
    one = Service(folder, sites, name, zone_settings(folder, [bind]), record=f"new.{ZONE}")
    before = bind.zone()
    try:
        assert one.dns("create").returncode == EXIT_UNCONFIRMED and bind.zone() == before
        done = one.dns("create", "--yes")
        assert done.returncode == 0, done.stderr
        assert bind.zone() == before | {("new", "CNAME", 30, "kafka-a")}
        assert one.recorded()["value"] == A
        assert one.dns("create", "--yes").returncode == 0  # again: nothing is to be done
        done = one.dns("create", "--at", "b", "--yes")
        assert done.returncode == EXIT_REFUSED and "exists-already" in done.stderr
        assert bind.value("new") == (30, A)
    finally:
        bind.put("new", 0, "CNAME")
    assert bind.zone() == before


def test_interrupted_swap_is_ended(sites, folder, own, name):
    """The answer is lost, and so is every later one: it is said that it is not known. The same command ends it."""
    server = own(Bind("one", folder)).start()
    proxy = own(Proxy(server))
    zone = zone_settings(folder, [proxy.address]) | {"authoritative": [server.address]}
    one = Service(folder, sites, name, zone)
    assert one.dns("adopt", "--yes").returncode == 0
    proxy.lose_answers(1)
    proxy.silent_behind_it = True
    done = one.dns("swap", "--to", "b", "--yes")
    assert done.returncode == 4 and "is not known" in done.stderr and "nsupdate" in done.stderr
    assert one.recorded()["value"] == A and one.recorded()["next"] == B
    assert server.value() == (30, B)
    proxy.silent_behind_it = proxy.silent = False
    done = one.dns("swap", "--to", "b", "--yes")
    assert done.returncode == 0, done.stderr
    assert one.recorded()["value"] == B and one.recorded()["next"] is None
    assert proxy.updates == 1


def test_usage_and_configuration(sites, bind, folder, name):
    one = Service(folder, sites, name, zone_settings(folder, [bind]))
    assert one.dns("swap", "--yes").returncode == EXIT_USAGE
    assert "no site 'c'" in one.dns("plan", "--to", "c").stderr
    tsig = one.conf.data["dns"][ZONE]["tsig"]
    tsig["secret"] = {"env": "FERRY_TEST_NO_SUCH"}
    one.conf.write()
    done = one.dns("adopt", "--yes")
    assert done.returncode == EXIT_CONFIGURATION and "FERRY_TEST_NO_SUCH" in done.stderr
    shown = one.command.ok("config", "show")
    assert json.loads(shown)["dns"][ZONE]["tsig"]["secret"] == {"env": "FERRY_TEST_NO_SUCH"}


def test_show_without_clusters(bind, folder, name):
    """Both clusters are dead: the servers' answers are shown, what is recorded is unknown, a swap is not possible."""

    class Dead:
        bootstrap = "127.0.0.1:1"

    one = Service(folder, [Dead, Dead], name, zone_settings(folder, [bind]))
    shown = one.dns("show", "--timeout", "1")
    assert shown.returncode == 0 and A in shown.stdout and "is not known" in shown.stderr
    done = one.dns("swap", "--to", "b", "--yes", "--timeout", "1")
    assert done.returncode == EXIT_UNREACHABLE and bind.value() == (30, A)


def test_moved_by_hand(sites, folder, own, name):
    """The provider cannot be reached: what to type is printed. Then the authoritative servers' word is taken."""
    server = own(Bind("one", folder)).start()
    slow = own(Secondary("slow", folder, of=server)).start()
    both = {"authoritative": [server.address, slow.address]}
    one = Service(folder, sites, name, zone_settings(folder, [server]) | both)
    assert one.dns("adopt", "--yes").returncode == 0
    secret = folder / "token"
    secret.touch(mode=0o600)
    secret.write_text("a-token\n")
    api = {"provider": "cloudflare", "id": "0a", "secret": {"file": str(secret)}, "endpoint": "https://localhost:1"}
    one.conf.data["dns"][ZONE] = api | both | {"request_timeout": "300ms"}
    one.conf.write()
    done = one.dns("swap", "--to", "b", "--yes")
    assert done.returncode == EXIT_UNREACHABLE and "localhost:1 does not answer" in done.stderr, done.stderr
    assert f'/zones/0a/dns_records/ID --data \'{{"content": "{B}", "ttl": 30}}' in done.stderr, done.stderr
    assert "--dns-done" in done.stderr and "a-token" not in done.stderr
    done = one.dns("swap", "--to", "b", "--dns-done", "--wait", "0")
    assert done.returncode == EXIT_TIME and "0 of 2 authoritative servers" in done.stderr, done.stderr
    assert one.recorded()["value"] == A
    server.put("kafka", 20, "CNAME", "kafka-b")
    done = one.dns("swap", "--to", "b", "--dns-done", "--wait", "0")
    assert done.returncode == EXIT_TIME and "1 of 2 authoritative servers" in done.stderr, done.stderr
    slow.notify()
    done = one.dns("swap", "--to", "b", "--dns-done", "--wait", "10")
    assert done.returncode == 0, done.stderr
    assert one.recorded() == {"value": B, "next": None, "ttl": 20, "ttl_before": None}
