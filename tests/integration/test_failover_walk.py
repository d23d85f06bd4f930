"""A failover as its consumers live through it: they find their cluster by a name, the primary is killed or cut off, one
command moves everything, they go on. A ledger of both sides judges: nothing skipped, each repeat inside its hint."""

import datetime
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from rig import hints, netns
from rig.endstate import Morning, commits, control_records, dns_changes, dump
from rig.ferry import BIN, EXIT_DONE
from rig.follower import records_of
from rig.groups import kept
from rig.nameserver import secret
from rig.procs import Process, wait_for
from rig.walk import SERVICE, Walk

KILLS = int(os.environ.get("FERRY_KILLS", 50))
SEED = int(os.environ.get("FERRY_KILLS_SEED", 50))  # other moments; for a run in pieces
RATE = 400  # records a second and topic


@pytest.fixture
def walk(own, folder):
    def make(topics=("orders.plain", "orders.tx"), **more):
        return Walk(own, folder, list(topics), **more)

    return make


@pytest.fixture
def places(own):
    three = own(netns.Places())
    return three.__enter__()


def at_work(one, seconds=3):
    """Producers of both kinds, a group that follows them, and one that left at about 40 % of what there will be."""
    for topic, kind in (("orders.plain", "plain"), ("orders.tx", "transactional")):
        one.produce(topic, 1600, kind)
    one.follow("live")
    left = one.follow("left")
    one.wait_at_work([left], records=2800)
    left.stop()
    wait_for("the keeper to see that nobody reads for it", lambda: limited(one, "left"), 20, every=0.2)
    for topic, kind in (("orders.plain", "plain"), ("orders.tx", "transactional")):
        one.live(topic, RATE, kind)
    time.sleep(seconds)
    one.wait_at_work([one.followers[0]], records=3600)
    return one


def limited(one, group):
    entries = [entry for (name, *_), entry in kept(one).items() if name == group]
    return len(entries) == len(one.places_of()) and all(entry.limit >= 0 for entry in entries)


def stragglers(one):
    """(the look, seconds)"""
    began = time.monotonic()
    done = one.command.run("stragglers", SERVICE, "-o", "json")
    return json.loads(done.stdout) | {"exit": done.returncode}, time.monotonic() - began


def told_again(one):
    """Records that groups would read again, by the first line of status and its JSON."""
    (service,) = one.command.json("status", SERVICE)["services"]
    (link,) = service["links"]
    assert f"of 2 groups re-read at most {link['reread_records']:,} records" in service["summary"], service["summary"]
    return link["reread_records"]


def succeeded(done):
    assert done.returncode == EXIT_DONE, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    report = json.loads(done.stdout)
    assert report["state"] == "done" and report["role_epoch"] == 2
    return report


def assert_source_names(one, published, at_source):
    """What a hint says of the record at a target offset is where that record stands at the source."""
    target = records_of(one.target, one.topics)
    named = 0
    for places in published.values():
        for where, hint in places.items():
            at = dict(zip(at_source[where][1], at_source[where][0], strict=True))
            for offset, ident in zip(*target[where], strict=True):
                if hint.source(offset) is not None and ident in at:
                    assert hint.source(offset) == at[ident], f"{where} {offset} {ident}"
                    named += 1
    return named


def test_consumers_go_on_and_the_ledger_proves_it(walk, capsys):
    """The primary is killed with kill -9 under its producers and consumers. What `ferry status` said of records that
    are read again, at whatever moment, is not less than what then is."""
    one = at_work(walk().start(workers=2))
    told = [told_again(one) for _ in range(5)]
    at_source = records_of(one.source, one.topics)
    one.kill_primary()
    done, seconds = one.failover("-o", "json")
    report = succeeded(done)
    published = one.hints()
    assert published == hints.of_topic(one.target, SERVICE), "Redis and the topic differ"
    assert hints.of_commits(one.target, "left", one.places_of()) == shortened(published["left"])
    assert one.names.value()[1] == "kafka-b.dr.test"
    for topic in one.topics:
        one.produce_there(topic, 400)
    one.follow("left")
    verdict = one.verdict(published)
    text = verdict.text()
    assert verdict.ok, text
    with capsys.disabled():
        print(f"\nexec to exit {seconds:.1f} s; status said at most {told}\n{text}")
    assert sum(account.repeats for account in verdict.accounts) <= min(told), f"told {told}\n{text}"
    assert max(told) <= 10 * RATE * len(one.topics), f"{told}: more than they can have read"
    named = assert_source_names(one, published, at_source)
    live, left = (account(verdict, group) for group in ("live", "left"))
    assert live.at_home > 2000 and live.at_other >= 800 and left.at_other > 800
    assert named > 0 < live.hinted  # of what stood there when the source was read, which takes as long as it takes
    # 2 s of its rate, and what brokers and keepers that share two cores with a test suite add
    assert live.likely <= 3 * RATE * len(one.topics), f"{live.likely}: more than its rate gives"
    # `until` is as narrow only while the keeper's last look is 5 s old at most: on a busy machine it may be older
    assert left.likely <= left.at_home // 100, f"{left.likely}: more than it can have read"
    assert {row["group"] for row in report["groups"]["groups"]} == {"live", "left"}


def account(verdict, group):
    return next(one for one in verdict.accounts if one.group == group)


def shortened(places):
    """As they stand in commits: all numbers, and as many runs as there was room for."""
    return {where: hint for where, hint in places.items() if len(hint.runs) < 20}


@pytest.mark.root
@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_primary_that_swallows_packets(walk, places, capsys):
    """Nobody refuses: open connections hang, the clients notice by their own limits, and the workers live on. What the
    report says of the loss is held against the primary itself, once it is there again."""
    one = at_work(walk(places=places).start())
    one.blackhole_primary()
    lost_at = time.time()
    time.sleep(8)
    done, seconds = one.failover("-o", "json")
    report = succeeded(done)
    assert seconds < 30
    left, seconds = stragglers(one)
    assert seconds < 6 and not left["old"]["answers"] and left["at_risk"] is None and left["exit"] in (0, 5)
    published = one.hints()
    in_time = records_of(one.target, one.topics)
    for topic in one.topics:
        one.produce_there(topic, 400)
    one.follow("left")
    verdict = one.verdict(published, timeout=120)
    with capsys.disabled():
        print(f"\nexec to exit {seconds:.1f} s: {report['rto']['steps']}\n{report['rpo']}\n{verdict.text()}")
    assert verdict.ok, verdict.text()
    places[0].answer()
    mirrored = {ident for _, idents in in_time.values() for ident in idents}
    lost = sum(ident not in mirrored for _, idents in records_of(one.source, one.topics).values() for ident in idents)
    left, _ = stragglers(one)  # it came back, with what nobody mirrored
    assert left["old"]["answers"] and left["at_risk"] >= lost and left["exit"] == (4 if left["at_risk"] else 0)
    told = report["rpo"]
    assert told["records"] is None or told["records"] >= lost
    assert (told["at_least"] or 0) <= lost, f"{told}, but {lost} are lost"
    assert told["seconds"] is None if told["records"] is None else told["seconds"] == 0
    assert 0.4 < told["records_per_s"] / (RATE * len(one.topics)) < 1.6, told  # as it was before it fell silent
    seen = datetime.datetime.fromisoformat(told["last_seen"]).timestamp()
    assert lost_at - 5 < seen < lost_at + 1.5, f"{told['last_seen']}: it fell silent {seen - lost_at:.1f} s before"


@pytest.mark.long
@pytest.mark.timeout(300)
def test_with_the_primary_go_all_workers_and_redis(walk, capsys):
    """At one moment, by kill -9: what stands at the target is all there is. Time proves the fence, the offsets are
    those that were committed last, and the report says how old they may be; hints come by the topic and the commits."""
    one = at_work(walk().start(workers=2))
    for worker in one.workers:
        worker.kill9()
    one.redis.kill9()
    one.kill_primary()
    done, seconds = one.failover("-o", "json")
    report = succeeded(done)
    published = hints.of_topic(one.target, SERVICE)
    assert hints.of_commits(one.target, "left", one.places_of()) == shortened(published["left"])
    cut = report["evidence"]["freeze"]
    assert cut["origin"] == "target" and cut["alive"] and "Redis" in done.stderr
    for topic in one.topics:
        one.produce_there(topic, 400)
    one.follow("left")
    verdict = one.verdict(published)
    with capsys.disabled():
        print(f"\nexec to exit {seconds:.1f} s, fence: {report['fence']['why']}\n{verdict.text()}")
    assert verdict.ok, verdict.text()
    assert seconds < 25


@pytest.mark.long
def test_a_group_that_woke_just_before_the_primary_died(walk):
    """It had no members for long; one joins, reads all that has gathered and on, and the primary dies. Who joins in the
    last second before is the edge that docs/hints.md names: here the keeper has looked once more."""
    one = walk(["orders.plain"]).start()
    one.produce("orders.plain", 1600)
    sleeper = one.follow("sleeper")
    one.wait_at_work(records=1600)
    sleeper.stop()
    one.live("orders.plain", RATE)
    time.sleep(6)
    sleeper = one.follow("sleeper")
    wait_for("it to read", lambda: len(sleeper.read()) > 1000, 20, every=0.01)
    time.sleep(2.5)
    one.kill_primary()
    done, _ = one.failover("-o", "json")
    succeeded(done)
    verdict = one.verdict()
    assert verdict.ok, verdict.text()


@pytest.mark.long
def test_a_switchover_asks_the_source_where_its_groups_stand(walk):
    """What the keeper saw may be old when the mirror is cut: here Redis tells of 1,600 records before, and of one group
    nothing. Who has committed everything reads nothing again."""
    one = walk(["orders.plain"]).start()
    one.produce("orders.plain", 800)
    one.follow("billing")
    one.wait_at_work(records=800)
    wait_for("the keeper to have it all", lambda: stands_at_ends(one, "billing"), 30, every=0.2)
    old = one.redis.client.hgetall(one.key("groups"))
    one.produce("orders.plain", 1600)
    one.follow("late")
    one.wait_at_work(records=2400)
    wait_for("the keeper to have it all", lambda: stands_at_ends(one, "billing"), 30, every=0.2)
    wait_for("the newcomer to be seen", lambda: stands_at_ends(one, "late"), 30, every=0.2)
    for follower in one.followers:
        follower.stop()
    one.redis.client.delete(one.key("groups"))
    one.redis.client.hset(one.key("groups"), mapping=old)
    done = one.command.run("switchover", SERVICE, "--yes", "--force", "source", "-o", "json", timeout=120)
    report = succeeded(done)
    assert [row["reread_most"] for row in report["groups"]["groups"]] == [0, 0], report["groups"]
    assert {row["group"] for row in report["groups"]["groups"]} == {"billing", "late"}
    one.produce_there("orders.plain", 400)
    for group in ("billing", "late"):
        one.follow(group)
    verdict = one.verdict()
    assert verdict.ok, verdict.text()
    assert [account(verdict, group).repeats for group in ("billing", "late")] == [0, 0], verdict.text()


def stands_at_ends(one, group):
    """Redis has it where the source's log ends."""
    entries = {(topic, p): entry.source for (name, topic, p), entry in kept(one).items() if name == group}
    return entries == {(topic, p): end for topic in one.topics for p, end in one.source.offsets(topic).items()}


# --- figures ---------------------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.long
@pytest.mark.alone
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("each", [1, 50], ids=["one_topic_a_group", "all_topics_a_group"])
def test_four_hundred_partitions_and_two_hundred_groups_in_five_seconds(walk, places, capsys, each):
    """The primary's address swallows packets, all ferryd are dead for 20 s, a cold process: exec to exit 0. Groups
    that read a topic each have 1,600 places together; with all 50 topics it is 80,000."""
    topics, groups = [f"orders.t{n:02}" for n in range(50)], 200
    props = {"offsets.topic.num.partitions": 10}
    one = walk(topics, partitions=8, places=places, props=props).start(shift=False)
    for topic in topics:
        one.produce(topic, 800, "transactional")
    one.extra_groups = [f"g{n:03}" for n in range(groups)]
    place_all(one, 60, each)
    worker = one.workers[0]
    count = groups * 8 * each
    worker.wait_metric("all commits", lambda m: m.get("ferry_group_commits_total", 0) >= count, 300)
    place_all(one, 70, each)
    worker.wait_metric("all to move", lambda m: m["ferry_group_commits_total"] >= 2 * count, 300)
    time.sleep(3)
    worker.kill9()
    one.blackhole_primary()
    time.sleep(20)
    morning = Morning(one)
    took, steps = [], []
    for n in range(10):
        if n:
            morning.restore()
        for _ in range(2):  # the broker is as one in use, not one just started
            one.command.run("failover", SERVICE, "--dry-run", "-o", "json", timeout=60)
        assert dns_changes(one.names, "kafka") == []
        done, seconds = one.failover("-o", "json")
        report = succeeded(done)
        took.append(seconds)
        steps.append({row["step"]: row["seconds"] for row in report["rto"]["steps"]})
        assert one.names.value()[1] == "kafka-b.dr.test"
    middle = statistics.median(took)
    with capsys.disabled():
        print(f"\nexec to exit, {len(took)} runs: median {middle:.2f} s, worst {max(took):.2f} s")
        print({name: round(statistics.median(row.get(name) or 0 for row in steps), 2) for name in steps[0]})
    found = hints.of_commits(one.target, one.extra_groups[-1], one.places_of())
    assert len(found) == 8 * each
    assert max(took) < 5


def place_all(one, offset, each):
    """Every group stands there in `each` topics, one after the other."""
    wanted = []
    for n, group in enumerate(one.extra_groups):
        topics = [one.topics[(n + k) % len(one.topics)] for k in range(each)]
        where = [TopicPartition(topic, p, offset) for topic in topics for p in range(one.partitions)]
        wanted.append(ConsumerGroupTopicPartitions(group, where))
    futures = [future for ask in wanted for future in one.source.admin.alter_consumer_group_offsets([ask]).values()]
    for future in futures:
        future.result(60)


# --- what must not happen --------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_primary_that_comes_back_changes_nothing(walk):
    """Redis is flushed, every ferryd starts again with the old file, the primary is back with a tail that nobody
    mirrored: five minutes long the target has what its own clients write, and nothing else."""
    one = at_work(walk().start(workers=2))
    for worker in one.workers:
        worker.kill9()
    time.sleep(1)  # the tail
    one.kill_primary()
    done, _ = one.failover("-o", "json")
    succeeded(done)
    one.redis.flush()
    one.source.start()
    one.produce("orders.plain", 400)
    for worker in one.workers:
        worker.start()
    before = still(one)
    until = time.monotonic() + 300
    while time.monotonic() < until:
        time.sleep(5)
        for worker in one.workers:
            worker.process.check()
        assert still(one) == before
    assert one.names.value()[1] == "kafka-b.dr.test"


def still(one):
    """Ends of the topics, records of the control topic that say who is primary, the zone."""
    control = control_records(one.target, SERVICE)
    return (
        {topic: one.target.offsets(topic) for topic in one.topics},
        control["role"],
        one.names.zone(),
        {key: value for key, value in control.items() if key.startswith("op/") and key.count("/") == 1},
    )


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_stopped_worker_adds_nothing_after_open(walk):
    """SIGSTOP across the whole failover, with the primary alive and producers at work: what the worker had in hand
    when it was stopped is not added when it goes on."""
    one = at_work(walk().start(workers=2))
    stopped = one.workers[0]
    stopped.sigstop()
    began = time.monotonic()
    done, _ = one.failover("-o", "json", "--force", "primary-alive")
    assert done.returncode in (EXIT_DONE, 4), f"{done.stdout}\n{done.stderr}"
    assert json.loads(done.stdout)["role_epoch"] == 2
    ends = {topic: one.target.offsets(topic) for topic in one.topics}
    stopped.sigcont()
    time.sleep(max(20, 40 - (time.monotonic() - began)))
    # the consumers of the groups write nothing: whatever is added is a worker's
    assert {topic: one.target.offsets(topic) for topic in one.topics} == ends
    one.end_loads()


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_keeper_killed_in_mid_transaction_delays_nobody(walk):
    """What hangs of its transaction would hide an operation's records from every reader."""
    one = at_work(walk().start())
    (worker,) = one.workers
    worker.kill9()
    # as the keeper was: its transactional id, a record written, and no end
    code = (
        "import sys\nfrom confluent_kafka import Producer\n"
        f"p = Producer({{'bootstrap.servers': {one.target.bootstrap!r}, 'transactional.id': 'ferry-keeper-{SERVICE}',"
        " 'transaction.timeout.ms': 60000})\n"
        "p.init_transactions(20)\np.begin_transaction()\n"
        f"p.produce('ferry.control.{SERVICE}', b'{{}}', b'keeper')\np.flush(10)\nprint('hangs', flush=True)\n"
        "import time\ntime.sleep(600)\n"
    )
    keeper = one.own(Process("keeper", [sys.executable, "-c", code], one.folder / "keeper.log").start())
    wait_for("the transaction to hang", lambda: "hangs" in keeper.log_text(), 30)
    keeper.kill9()
    time.sleep(15)  # the workers' group is empty: what is measured is the transaction
    one.kill_primary()
    done, seconds = one.failover("-o", "json")
    succeeded(done)
    assert seconds < 15, f"{seconds:.1f} s"


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.timeout(3600)
def test_killed_at_fifty_random_moments_it_ends_the_same(walk, capsys):
    """kill -9 of the command at any moment, the same command again from another directory: the end is that of a run
    that nobody disturbed, offsets, hints, names, roles, topics and ACLs. The servers' own logs: one DNS change, one
    commit per group and place."""
    one = at_work(walk(permitted=True).start())
    one.workers[0].kill9()
    one.kill_primary()
    for follower in one.followers:
        follower.kill9()
    time.sleep(25)
    morning = Morning(one)
    before = commits(one.target)
    done, seconds = one.failover("-o", "json")
    succeeded(done)
    wanted = dump(one)
    assert_opened(wanted["acls"], one.topics)
    counted = commits(one.target)
    places = {where for where in counted if where[0] in one.group_names()}
    assert places and all(counted[where] - before[where] == 1 for where in places)
    moments, chance = [], random.Random(SEED)
    for n in range(KILLS):
        morning.restore()
        moment = chance.uniform(0, seconds)
        moments.append(interrupted(one, n, moment))
        found = dump(one)
        assert found == wanted, f"killed after {moment:.2f} s: {differences(wanted, found)}"
        assert dns_changes(one.names, "kafka") == [("CNAME", "kafka-b.dr.test.")]
        counted = commits(one.target)
        more = {where: counted[where] - before[where] for where in places if counted[where] - before[where] != 1}
        assert not more, f"killed after {moment:.2f} s: {more}"
    with capsys.disabled():
        print(f"\nof {KILLS} kills {sum(moments)} came before the command's end")


def assert_opened(acls, topics):
    """Who may write is denied nothing, and has what was withheld while it was mirrored."""
    of_app = {(acl.name, acl.operation, acl.permission) for acl in acls if acl.principal == "User:app"}
    assert of_app == {(topic, kind, "Allow") for topic in topics for kind in ("Read", "Write")}, of_app


def interrupted(one, n, moment):
    """Kill one run after so many seconds, then run it to its end elsewhere. Was it killed before its end?"""
    command = Process(
        "ferry failover",
        [*one.prefix, BIN / "ferry", "failover", SERVICE, "--yes", "--allow-loss", "unknown", "-o", "json"],
        one.folder / f"killed-{n}.log",
        env={"FERRY_CONFIG": one.conf.path},
    ).start()
    time.sleep(moment)
    killed = command.alive
    command.kill9()
    elsewhere = one.folder / f"elsewhere-{n}"
    elsewhere.mkdir()
    conf = one.conf.copy(elsewhere)
    done = subprocess.run(
        [*one.prefix, BIN / "ferry", "failover", SERVICE, "--yes", "--allow-loss", "unknown", "-o", "json"],
        cwd=elsewhere,
        env={"FERRY_CONFIG": str(conf.path), "PATH": "/usr/bin:/bin", "FERRY_WATCH_MS": "3500"},  # a beat is 3 s
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    there_already = done.returncode == 3 and not killed
    assert done.returncode == EXIT_DONE or there_already, f"after {moment:.2f} s: {done.stdout}\n{done.stderr}"
    shutil.rmtree(elsewhere)
    return killed


def differences(wanted, found):
    return {key: (wanted[key], found[key]) for key in wanted if wanted[key] != found[key]}


@pytest.mark.long
def test_no_secret_is_found_anywhere(walk):
    """The TSIG secret, as a canary: outputs, logs, journals, Redis, the control and hints topics, command lines."""
    one = at_work(walk().start())
    canary = secret("ferry")
    one.kill_primary()
    process = Process(
        "ferry failover",
        [*one.prefix, BIN / "ferry", "failover", SERVICE, "--yes", "--allow-loss", "unknown", "-o", "json"],
        one.folder / "ferry-out.log",
        env={"FERRY_CONFIG": one.conf.path},
    ).start()
    seen = []
    while process.alive:
        for what in ("cmdline", "environ"):
            try:
                seen.append(open(f"/proc/{process.pid}/{what}", "rb").read())
            except OSError:
                continue
        time.sleep(0.02)
    assert process.wait() == EXIT_DONE, process.log_text()
    texts = {"command line": b"".join(seen), "redis": redis_text(one.redis)}
    for path in one.folder.rglob("*"):
        if path.is_file() and not path.name.startswith("tsig-") and path.name != "named.conf":
            texts[str(path)] = path.read_bytes()
    assert not [where for where, text in texts.items() if canary.encode() in text]
    assert texts["redis"] and texts["command line"]


def redis_text(redis):
    """Everything in it, as the server writes it down."""
    return redis.snapshot().read_bytes()


@pytest.mark.long
def test_a_consumer_that_is_not_made_anew_reads_at_offsets_of_the_old_cluster(walk):
    """Why docs/failover.md asks it of applications. A consumer that lives on goes on at its position in memory until
    it hears that its group does not know it. Where that is out of range it reads records outside any hint, where it is
    not it passes records by: which one is a matter of the moment."""
    one = walk(["orders.plain"])
    one.start()
    one.produce("orders.plain", 1600)
    one.follow("lives-on", env={"FOLLOW": "no"}, properties={"session.timeout.ms": 45000})
    one.live("orders.plain", RATE)
    one.wait_at_work(records=2800)
    one.kill_primary()
    done, _ = one.failover("-o", "json")
    succeeded(done)
    one.produce_there("orders.plain", 4000)
    verdict = one.verdict()
    assert verdict.count("unhinted") or verdict.count("skipped"), "it is no trap any more: docs/failover.md may say so"
