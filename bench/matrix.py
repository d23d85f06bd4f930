"""Which clients follow a failover, how soon, and what their applications see.

    make matrix                                              3 rounds of everything, docs/clients.md written anew
    build/venv/bin/python bench/matrix.py --rounds 1 --cases refused --names bootstrap --clients java-4.3.1
    ... --show                                               the tables of the last run, nothing measured

A round of a case: two fresh clusters in network namespaces, with SASL and an authorizer, a BIND that every client asks
as its machine's resolver, ferryd. Each library (bench/clients) has a consumer, an idempotent and a transactional
producer at work on a topic of its own; then the service is moved. Cases:

    refused   the primary's process is gone: connections are refused
    dropped   the primary's packets are gone: nobody answers, open connections hang
    fenced    switchover; the primary lives on, its writers are denied (ACL)
    evicted   switchover; the old broker is shut down in order at the end (hooks.evict)

`names`: `bootstrap`: one CNAME for the service, brokers advertise their addresses; `brokers`: the primary's broker
advertises a CNAME as well, which the failover moves too. Both clusters listen on one port; offsets differ.

Measured from the moment the name server gives the new name to the first record that came from, or was written to, the
new primary. Records are judged by what the new primary holds in the end. Needs root.
"""

import argparse
import collections
import contextlib
import json
import re
import shutil
import statistics
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from confluent_kafka import Producer  # noqa: E402

from rig import netns  # noqa: E402
from rig.acls import AUTHORIZER, Acl, allow  # noqa: E402
from rig.ferry import Command, Configuration, Worker  # noqa: E402
from rig.follower import records_of  # noqa: E402
from rig.kafka import KafkaCluster, start_together  # noqa: E402
from rig.nameserver import ZONE, Bind, zone_settings  # noqa: E402
from rig.paths import BUILD, remove_run_dirs, run_dir  # noqa: E402
from rig.procs import Process, end_all, end_on_signals, free_port, wait_for  # noqa: E402
from rig.redis import RedisServer  # noqa: E402
from rig.secure import Listener  # noqa: E402

CASES = ("refused", "dropped", "fenced", "evicted")
NAMES = ("bootstrap", "brokers")
KINDS = ("consume", "produce", "transact", "streams")
KIND_TEXT = {"consume": "consumer", "produce": "producer", "transact": "transactional", "streams": "Kafka Streams"}
SERVICE = "m"
USER, PASSWORD = "app", "app-password"
NEW = 1_000_000  # records with this serial and above are written to the new primary
PAUSE_S = 0.2
PARTITIONS = 2
SHIFT = 40
AFTER_S = 5  # of records, once everybody has come or given up
RESTART_S = 60  # longer than any library's session: a member that was killed is waited for
MADE = BUILD / "clients"
RESULTS = BUILD / "bench" / "matrix.json"
PAGE = ROOT / "docs" / "clients.md"


# ---- who ----
@dataclass
class Client:
    key: str
    text: str
    argv: list
    kinds: tuple = KINDS[:3]


def known_clients():
    found = []
    for folder in sorted(MADE.glob("java-*")):
        version = folder.name.split("-", 1)[1]
        flags = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m"]
        argv = ["java", *flags, "-cp", f"{folder}:{folder}/*", "Client"]
        found.append(Client(folder.name, f"Java {version}", argv, KINDS))
    for name, text in (("rdkafka-debian", "librdkafka"), ("rdkafka-new", "librdkafka"), ("franz-go", "franz-go")):
        if (MADE / name / "version").exists():
            version = (MADE / name / "version").read_text().strip()
            found.append(Client(name, f"{text} {version}", [MADE / name / "client"]))
    for line in (ROOT / "bench" / "clients" / "requirements.txt").read_text().split():
        name, version = line.split("==")
        script = ROOT / "bench" / "clients" / f"client_{name.replace('-', '_')}.py"
        found.append(Client(name, f"{name} {version}", [MADE / "venv" / "bin" / "python", script]))
    return found


@dataclass
class Line:
    ms: int
    word: str
    text: str


class Application:
    """One client of one kind, on a topic of its own."""

    def __init__(self, client, kind, folder, prefix, bootstrap):
        self.client, self.kind = client, kind
        self.name = f"{SERVICE}.{client.key}.{kind}"
        self.reads = kind in ("consume", "streams")
        self.starts = 0
        self.folder, self.prefix, self.bootstrap = folder, prefix, bootstrap
        self.process = None

    @property
    def topics(self):
        return [self.name, f"{self.name}-out"] if self.kind == "streams" else [self.name]

    def start(self):
        self.starts += 1
        argv = [*self.prefix, *self.client.argv, self.kind, self.bootstrap, self.name, self.name]
        env = {"KAFKA_USER": USER, "KAFKA_PASSWORD": PASSWORD, "JAVA_TOOL_OPTIONS": f"-Djava.io.tmpdir={self.folder}"}
        self.log = self.folder / f"{self.name}.{self.starts}.log"
        self.process = Process(self.name, [str(a) for a in argv], self.log, env=env)
        self.process.start()
        return self

    def lines(self):
        for log in sorted(self.folder.glob(f"{self.name}.*.log")):
            for line in log.read_text(errors="replace").splitlines():
                match = re.match(r"(\d{13}) (read|acked|error|died) (.*)", line)
                if match:
                    yield Line(int(match[1]), match[2], match[3])

    def values(self, since_ms=0):
        return [
            (line.ms, int(line.text)) for line in self.lines() if line.word in ("read", "acked") and line.ms >= since_ms
        ]

    def at_work(self):
        return len(self.values()) >= 10

    def arrived_ms(self, there, since_ms):
        """When the first record came from the new primary, or the first that it has from us was acknowledged."""
        for ms, value in self.values(since_ms):
            if (value >= NEW) if self.reads else (value in there):
                return ms
        return None


# ---- a round ----
class Feeder:
    """Writes to the topics of those who read: to the primary, later to the new one."""

    def __init__(self, bootstrap, topics, serial):
        self.producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "log_level": 0})
        self.topics, self.serial, self.stopped = topics, serial, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped.is_set():
            for topic in self.topics:
                with contextlib.suppress(BufferError):
                    self.producer.produce(topic, str(self.serial).encode())
            self.serial += 1
            self.producer.poll(0)
            self.stopped.wait(PAUSE_S)

    def stop(self, flush=True):
        self.stopped.set()
        self.thread.join()
        if flush and self.producer.flush(60):
            raise RuntimeError("the machine is too slow: records that were to be read were never written")


class Round:
    def __init__(self, folder, case, names, clients, kinds, places):
        self.folder, self.case, self.names_mode = folder, case, names
        self.places = places
        folder.mkdir(parents=True)
        self.port = free_port()
        listeners = [
            Listener("SASL_PLAINTEXT", users={USER: PASSWORD}, mechanism="PLAIN", host=host)
            for host in (f"b1.{ZONE}" if names == "brokers" else places[0].host, places[1].host)
        ]
        self.source, self.target = (
            KafkaCluster(name, workdir=folder, place=place, props=AUTHORIZER, listeners={"sasl": listener})
            for name, place, listener in zip("ab", places, listeners, strict=False)
        )
        for listener in listeners:
            listener.ports[1] = self.port
        self.redis = RedisServer("b", workdir=folder)
        records = (
            f"kafka-a 1 A {places[0].host}\nkafka-b 1 A {places[1].host}\nkafka 1 CNAME kafka-a\nb1 1 CNAME kafka-a\n"
        )
        self.bind = Bind("names", folder, records=records, place=places[2], owners=("kafka", "b1"))
        self.prefix = netns.resolving(self.bind.host, folder / "resolv.conf")
        logs = folder / "logs"
        logs.mkdir()
        self.applications = [
            Application(client, kind, logs, self.prefix, f"kafka.{ZONE}:{self.port}")
            for client in clients
            for kind in client.kinds
            if kind in kinds
        ]

    def start(self):
        start_together(self.source, self.target)
        self.redis.start()
        self.bind.start()
        topics = [topic for one in self.applications for topic in one.topics]
        for cluster in (self.source, self.target):
            cluster.warm_coordinators()
            principal = f"User:{USER}"
            kinds = ("topic", "group", "transactional-id")
            allow(cluster, [Acl(kind, "prefixed", f"{SERVICE}.", "All", principal) for kind in kinds])
            allow(cluster, [Acl("cluster", "literal", "kafka-cluster", "IdempotentWrite", principal)])
        for topic in topics:
            self.source.create_topic(topic, partitions=PARTITIONS)
        self.shift(topics)
        self.configure()
        self.worker = Worker(self.conf, "w1").start().wait_ready()
        reading = [one.name for one in self.applications if one.reads]
        self.feeder = Feeder(self.source.bootstrap, reading, 0)
        for one in self.applications:
            one.start()
        wait_for("every client to be at work", lambda: all(one.at_work() for one in self.applications), 120, every=0.5)
        wait_for("the records to be written", lambda: len(self.feeder.producer) < 100, 120)
        time.sleep(3)
        return self

    def shift(self, topics):
        """No offset is the same at both sites: some records are gone before the mirror begins."""
        producer = Producer({"bootstrap.servers": self.source.bootstrap, "log_level": 0})
        places = [(topic, partition) for topic in topics for partition in range(PARTITIONS)]
        for topic, partition in places * SHIFT:
            producer.produce(topic, b"-1", partition=partition)
        producer.flush(60)
        for topic, partition in places:
            self.source.delete_records(topic, partition, SHIFT)

    def configure(self):
        sites = {"a": (self.source, None), "b": (self.target, self.redis)}
        self.conf = Configuration(self.folder / "ferry", sites, dns={ZONE: zone_settings(self.folder, [self.bind])})
        for site in ("a", "b"):
            self.conf.data["sites"][site]["operator"] = {"kafka": {"client.id": "operator"}}
        at = {"a": f"kafka-a.{ZONE}", "b": f"kafka-b.{ZONE}"}
        records = ["kafka", "b1"] if self.names_mode == "brokers" else ["kafka"]
        hooks = {}
        if self.case == "evicted":
            hooks = {"hooks": {"evict": ["/bin/kill", "-TERM", str(self.source.broker(1).process.pid)]}}
        cname = [{"record": f"{record}.{ZONE}", "ttl": "1s", "at": at} for record in records]
        self.conf.service(SERVICE, topics=[f"{SERVICE}.*"], groups=["*"], cname=cname, **hooks)
        self.command = Command(self.conf, prefix=self.prefix)
        self.command.enable(SERVICE)
        self.command.ok("dns", "adopt", SERVICE, "--yes")

    def watch_name(self):
        while self.swapped_ms is None:
            with contextlib.suppress(Exception):
                if self.bind.value()[1].startswith("kafka-b"):
                    self.swapped_ms = int(time.time() * 1000)
            time.sleep(0.02)

    def move(self):
        self.swapped_ms = None
        watch = threading.Thread(target=self.watch_name, daemon=True)
        planned = self.case in ("fenced", "evicted")
        if planned:
            self.feeder.stop()
        elif self.case == "refused":
            self.source.broker(1).kill9()
        else:
            self.places[0].swallow()
        watch.start()
        words = ["switchover"] if planned else ["failover", "--allow-loss", "unknown"]
        done = self.command.run(*words, SERVICE, "--yes", timeout=180)
        if self.swapped_ms is None:
            raise RuntimeError(f"the service was not moved: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        if not planned:
            self.feeder.stop(flush=False)
        reading = [one.name for one in self.applications if one.reads]
        self.feeder = Feeder(self.target.bootstrap, reading, NEW)

    def there(self):
        """{topic: Counter of serials} of what the new primary has."""
        found = collections.defaultdict(collections.Counter)
        for (topic, _), (_, idents) in records_of(self.target, [o.name for o in self.applications]).items():
            found[topic].update(int(ident) for ident in idents)
        return found

    def wait_arrived(self, which, since_ms, limit_s):
        deadline = time.monotonic() + limit_s
        missing = list(which)
        while missing and time.monotonic() < deadline:
            time.sleep(1)
            there = self.there()
            missing = [one for one in missing if one.arrived_ms(there[one.name], since_ms) is None]
        return missing

    def rows(self, wait_s):
        missing = self.wait_arrived(self.applications, self.swapped_ms, wait_s)
        restarted_ms = int(time.time() * 1000)
        for one in missing:
            one.process.kill9()
            one.start()
        never = self.wait_arrived(missing, restarted_ms, RESTART_S)
        time.sleep(AFTER_S)
        self.feeder.stop()
        for one in self.applications:
            if not one.reads:  # what is acknowledged behind the last look could not be found
                one.process.kill9()
        time.sleep(2)
        there = self.there()
        return [self.row(one, there[one.name], one in missing, one in never) for one in self.applications]

    def row(self, one, there, restarted, never):
        lines = list(one.lines())
        arrived = one.arrived_ms(there, self.swapped_ms)
        seen = collections.Counter(value for _, value in one.values())
        row = {
            "client": one.client.text,
            "kind": one.kind,
            "case": self.case,
            "names": self.names_mode,
            "seconds": None if restarted else (arrived - self.swapped_ms) / 1000,
            "after_restart": restarted and not never,
            "told": list(
                dict.fromkeys(
                    line.text[:200]
                    for line in lines
                    if line.word in ("error", "died") and line.ms >= self.swapped_ms - 5000
                )
            )[:5],
            "died": any(line.word == "died" for line in lines),
        }
        if one.reads:
            last = max(seen, default=-1)
            row["skipped"] = sum(count for value, count in there.items() if value <= last and not seen[value])
            row["twice"] = sum(count - 1 for count in seen.values() if count > 1)
        else:  # what was acknowledged once the name had moved must be there
            late = {value for _, value in one.values(self.swapped_ms)}
            row["lost"] = sum(value not in there for value in late)
            row["twice"] = 0 if restarted else sum(count - 1 for count in there.values() if count > 1)
        return row

    def stop(self):
        for one in self.applications:
            if one.process is not None and one.process.alive:
                one.process.kill9()
        if self.case == "dropped":
            with contextlib.suppress(AssertionError):
                self.places[0].answer()
        if hasattr(self, "worker"):
            self.worker.kill9()
        self.redis.kill9()
        self.bind.kill9()
        for cluster in (self.source, self.target):
            cluster.stop(timeout=0, remove=True)


def one_round(folder, case, names, clients, args):
    shutil.rmtree(folder, ignore_errors=True)
    with netns.Places() as places:
        one = Round(folder, case, names, clients, args.kinds, places)
        try:
            one.start()
            one.move()
            return one.rows(args.wait)
        finally:
            one.stop()


# ---- tables ----
def cell(rows):
    """Seconds until it had followed, median (worst) of the rounds; `restart` where it never did in one of them."""
    if not rows:
        return ""
    stayed = [row for row in rows if row["seconds"] is None]
    if stayed:
        text = "**restart**" if all(row["after_restart"] for row in stayed) else "**lost**"
        text += f" ({len(stayed)} of {len(rows)})" if len(stayed) < len(rows) else ""
    else:
        seconds = [row["seconds"] for row in rows]
        text = f"{statistics.median(seconds):.1f} ({max(seconds):.1f})"
    for key in ("lost", "skipped", "twice"):
        worst = max(row.get(key, 0) for row in rows)
        text += f", {worst} {key}" if worst else ""
    return text


def table(results, names):
    rows = [row for row in results["rows"] if row["names"] == names]
    cases = [case for case in CASES if any(row["case"] == case for row in rows)]
    lines = ["| client | | " + " | ".join(cases) + " |", "|---|---|" + "---|" * len(cases)]
    places = collections.defaultdict(list)
    for row in rows:
        places[row["client"], row["kind"], row["case"]].append(row)
    for client, kind in dict.fromkeys((row["client"], row["kind"]) for row in rows):
        cells = [cell(places[client, kind, case]) for case in cases]
        lines.append(f"| {client} | {KIND_TEXT[kind]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def told(results):
    """What applications were told, by case: the first sentence of each library."""
    found = collections.defaultdict(dict)
    for row in results["rows"]:
        for text in row["told"]:
            short = re.sub(r"\d{2,}(\.\d+)*(:\d+)?", "N", text)[:110].replace("|", "/")
            found[row["client"], row["kind"]].setdefault(short, set()).add(row["case"])
    lines = ["| client | | told | in |", "|---|---|---|---|"]
    for (client, kind), texts in found.items():
        for text, cases in list(texts.items())[:3]:
            lines.append(f"| {client} | {KIND_TEXT[kind]} | `{text}` | {', '.join(c for c in CASES if c in cases)} |")
    return "\n".join(lines)


def sections(results):
    when = f"Written by `make matrix` on {results['when'][:10]}: {results['rounds']} rounds a case, "
    made = {"when": when + f"Kafka {results['kafka']}, waited for {results['wait']} s."}
    for names in NAMES:
        if any(row["names"] == names for row in results["rows"]):
            made[names] = table(results, names)
    made["told"] = told(results)
    return made


def write_page(results):
    """Between `<!-- NAME -->` and `<!-- end -->` of the page stands what was measured; the words around it stay."""
    text = PAGE.read_text()
    for name, body in sections(results).items():
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m, body=body: m[1] + body + "\n" + m[2], text, flags=re.S
        )
    PAGE.write_text(text)


def arguments(clients):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--names", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--clients", nargs="+", default=[c.key for c in clients], choices=[c.key for c in clients])
    parser.add_argument("--wait", type=float, default=120, help="seconds until a client is started again")
    parser.add_argument("--page", action="store_true", help="write the tables into docs/clients.md")
    parser.add_argument("--show", action="store_true", help="the last run's tables, nothing measured")
    return parser.parse_args()


def measure(args, clients):
    kafka = re.search(r"<kafka.version>(.*?)<", (ROOT / "tests" / "rig" / "pom.xml").read_text())[1]
    results = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "rounds": args.rounds,
        "kafka": kafka,
        "wait": int(args.wait),
        "rows": [],
    }
    chosen = [client for client in clients if client.key in args.clients]
    for number in range(args.rounds):
        for names in args.names:
            for case in args.cases:
                began = time.monotonic()
                rows = one_round(run_dir("matrix") / f"{case}-{names}-{number}", case, names, chosen, args)
                results["rows"] += [row | {"round": number} for row in rows]
                print(f"round {number + 1} {case} {names}: {time.monotonic() - began:.0f} s", flush=True)
                for row in rows:
                    print("   ", json.dumps(row), flush=True)
                RESULTS.parent.mkdir(parents=True, exist_ok=True)
                RESULTS.write_text(json.dumps(results, indent=1))
    return results


def main():
    clients = known_clients()
    args = arguments(clients)
    end_on_signals()
    try:
        results = json.loads(RESULTS.read_text()) if args.show else measure(args, clients)
    finally:
        end_all()
        remove_run_dirs(BUILD / "run")
    for name, body in sections(results).items():
        print(f"\n{name}\n{body}")
    if args.page:
        write_page(results)


if __name__ == "__main__":
    main()
