"""Three brokers a side, as people have them: leaders move, brokers are restarted and killed, replicas forget."""

import json
import random
import time

import pytest

from rig.kafka import KafkaCluster, start_together
from rig.line import Line
from rig.procs import wait_for
from rig.produce import Load
from rig.verify import compare

DURABLE = {"min.insync.replicas": 2}


@pytest.fixture
def clusters(own, folder):
    def make(**props):
        props = {"offsets.topic.num.partitions": 3, "transaction.state.log.min.isr": 2, **props}
        pair = start_together(
            *(
                own(KafkaCluster(name, brokers=3, workdir=folder, heap="320m", props=props))
                for name in ("left", "right")
            )
        )
        for cluster in pair:
            cluster.warm_coordinators()
        return pair

    return make


def whole(cluster, topic):
    """Every partition has a leader and all its replicas in sync."""
    partitions = cluster.metadata(topic).topics[topic].partitions.values()
    return all(p.leader >= 0 and len(p.isrs) == len(p.replicas) for p in partitions)


def wait_whole(cluster, topic):
    wait_for(f"{topic} on {cluster.name} to be whole", lambda: whole(cluster, topic), 90, every=0.2)


@pytest.mark.long
def test_a_backlog_of_ordinary_batches_is_merged_where_replicas_are_waited_for(clusters, own, folder, new_redis, name):
    source, target = clusters()
    topic = source.create_topic(f"{name}.t", replicas=3, config=DURABLE)
    target.create_topic(topic, replicas=3, config=DURABLE)
    Load(source.bootstrap, topic, "plain", count=20_000, partition=0, size=1000).run()
    line = Line(own, folder, source, target, new_redis(), name, [topic])
    worker = line.worker("w1")
    line.wait_caught_up()
    line.prove()
    assert worker.metrics().get("ferry_link_recoded_batches_total", 0, reason="small") > 100


@pytest.mark.long
@pytest.mark.timeout(900)
def test_broker_and_worker_faults_on_both_sides_lose_and_double_nothing(clusters, own, folder, new_redis, name):
    """S10, S24, S26: kill -9 and orderly restarts of brokers, leader moves on either side, workers killed and added,
    while producers with acks=all, idempotent and transactional, write."""
    source, target = clusters()
    topic = source.create_topic(f"{name}.t", partitions=6, replicas=3, config=DURABLE)
    target.create_topic(topic, partitions=6, replicas=3, config=DURABLE)
    line = Line(own, folder, source, target, new_redis(), name, [topic])
    loads = [
        Load(source.bootstrap, topic, kind, count=None, partitions=6, rate=rate, seed=seed).start()
        for seed, (kind, rate) in enumerate([("lz4", 1500), ("plain", 500), ("transactional", 200)], 1)
    ]
    workers = [line.worker("w1"), line.worker("w2")]
    line.wait_copied(topic, 0, 100)
    chosen = random.Random()
    told = []
    for turn in range(8):
        cluster = (source, target)[turn % 2]
        number = chosen.randrange(1, 4)
        broker = cluster.broker(number)
        what = ("kill9", "restart", "move")[turn % 3]
        told.append(f"{what} {cluster.name} broker {number}")
        if what == "kill9":
            broker.kill9()
            time.sleep(chosen.uniform(0, 12))
            broker.start()
        elif what == "restart":
            broker.restart()
        else:
            others = [n for n in (1, 2, 3) if n != number]
            cluster.move_leader(topic, chosen.randrange(6), [number, *others])
        worker = chosen.choice(workers)
        worker.kill9()
        if turn == 4:
            workers.append(line.worker("w3"))
        time.sleep(chosen.uniform(0, 3))
        worker.start()
        wait_whole(cluster, topic)
    ledgers = [load.stop() for load in loads]
    line.wait_caught_up(timeout=120)
    print("\n" + "; ".join(told))
    result = line.prove(translations=50_000)
    print(f"{result.records} records: " + result.text())
    assert result.records >= sum(ledger.committed for ledger in ledgers)
    for worker in workers:
        assert "assert" not in worker.process.log_text().lower()


def lose_the_leader(cluster, topic, produce):
    """A real unclean election of a partition with replicas [2, 3]: what `produce` writes while 3 is down is forgotten
    when 2 goes and 3 comes back alone. Returns the end that 3 knows."""
    kept = cluster.offsets(topic)[0]
    cluster.broker(3).kill9()

    def alone():
        return cluster.metadata(topic).topics[topic].partitions[0].isrs == [2]

    wait_for("broker 2 to be alone", alone, 40, every=0.2)
    produce()
    cluster.broker(2).kill9()
    cluster.broker(3).start()

    def led_by_3():
        return cluster.metadata(topic).topics[topic].partitions[0].leader == 3

    wait_for("an unclean election", led_by_3, 60, every=0.2)
    cluster.broker(2).start()
    wait_whole(cluster, topic)
    return kept


UNCLEAN = {"min.insync.replicas": 1, "unclean.leader.election.enable": "true"}


@pytest.mark.long
@pytest.mark.timeout(400)
def test_an_unclean_election_at_the_source_keeps_what_was_mirrored_and_goes_on(clusters, own, folder, new_redis, name):
    source, target = clusters()
    topic = source.create_topic(f"{name}.t", assignment=[[2, 3]], config=UNCLEAN)
    target.create_topic(topic, replicas=3, config=DURABLE)
    line = Line(own, folder, source, target, new_redis(), name, [topic])
    Load(source.bootstrap, topic, "plain", count=600, partitions=1).run()
    line.worker("w1")
    line.wait_caught_up()

    def forgotten():
        Load(source.bootstrap, topic, "plain", count=300, partitions=1, seed=2, serial=10_000).run()
        line.wait_caught_up()

    kept = lose_the_leader(source, topic, forgotten)
    Load(source.bootstrap, topic, "plain", count=500, partitions=1, seed=3, serial=20_000).run()
    line.wait_copied(topic, 0, 1400, timeout=90)
    line.wait_caught_up(timeout=60)
    assert kept == 600
    (event,) = line.events("source.truncated")
    assert '"source_from":600' in event["detail"].replace(" ", "")
    result = compare(source.bootstrap, target.bootstrap, [topic])
    assert result.count("lost") == result.count("doubled") == result.count("order") == 0, result.text()
    assert result.count("foreign") == 300, "what the source forgot stays on the target"
    assert line.map().translate(topic, 0, 600) == 900


@pytest.mark.long
@pytest.mark.timeout(400)
def test_an_unclean_election_at_the_target_sends_again_what_it_forgot(clusters, own, folder, new_redis, name):
    """S62: map and checkpoint go back to the log's end, the range is an event, and what was forgotten is sent again."""
    source, target = clusters()
    topic = source.create_topic(f"{name}.t", replicas=3, config=DURABLE)
    target.create_topic(topic, assignment=[[2, 3]], config=UNCLEAN)
    line = Line(own, folder, source, target, new_redis(), name, [topic])
    Load(source.bootstrap, topic, "plain", count=600, partitions=1).run()
    line.worker("w1")
    line.wait_caught_up()

    def forgotten():
        Load(source.bootstrap, topic, "plain", count=300, partitions=1, seed=2, serial=10_000).run()
        line.wait_caught_up(timeout=90)

    kept = lose_the_leader(target, topic, forgotten)
    Load(source.bootstrap, topic, "plain", count=500, partitions=1, seed=3, serial=20_000).run()
    line.wait_caught_up(timeout=90)
    wait_for("all to be there again", lambda: target.offsets(topic)[0] >= 1400, 60)
    assert kept == 600
    ranges = [json.loads(event["detail"]) for event in line.events("target.truncated")]
    assert ranges and ranges[0]["target_from"] == 600, ranges
    line.prove()
