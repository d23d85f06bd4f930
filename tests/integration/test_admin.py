"""kafka/admin against a real broker: each call, its errors, its bound."""

import signal
import time

import pytest

from rig.driver import Driver


@pytest.fixture
def admin(target, own):
    return own(Driver("admin_driver", target.bootstrap, 5000))


def ask(admin, *words, ok=True):
    """What a call answered: its lines; with ok=False its error. And how long it took."""
    before = len(admin.seen)
    admin.send(*words)
    done = admin.expect("done", timeout=20)
    lines = [x for x in admin.seen[before:-1] if x["event"] != "ready"]
    errors = [x for x in lines if x["event"] == "error"]
    assert not (ok and errors), errors
    return (lines if ok else errors[0]), int(done["ms"])


def test_cluster_and_topics(admin, target, name):
    target.create_topic(name, partitions=3)
    (line,), took = ask(admin, "cluster")
    assert line["id"] == target.cluster_id and line["brokers"] == "1"
    assert took < 1000
    lines, _ = ask(admin, "topics")
    ours = next(x for x in lines if x["name"] == name)
    assert (ours["partitions"], ours["copies"], ours["id"]) == ("3", "1", target.topic_id(name))
    assert not any(x["name"].startswith("__") for x in lines), "internal topics are not listed"
    (line,), _ = ask(admin, "describe", name)
    assert line["id"] == ours["id"]
    error, took = ask(admin, "describe", "nobody-has-this", ok=False)
    assert (error["kind"], error["code"]) == ("refused", "3") and took < 1000


def test_create_grow_alter(admin, target, name):
    _, took = ask(admin, "create", name, 2, 1, "cleanup.policy", "compact", "retention.ms", "12345")
    assert took < 2000
    assert target.topics()[name] == 2, "it has leaders when the call returns"
    assert target.topic_config(name) == {"cleanup.policy": "compact", "retention.ms": "12345"}
    ask(admin, "create", name, 2, 1)  # exists already: success
    ask(admin, "grow", name, 4)
    target.wait_topic(name, 4)
    ask(admin, "grow", name, 4)  # there already: success
    error, _ = ask(admin, "grow", name, 3, ok=False)
    assert error["kind"] == "refused"
    ask(admin, "alter", name, "retention.ms", "777")
    (line,), _ = ask(admin, "settings", name, "retention.ms")
    assert (line["value"], line["default"]) == ("777", "0")
    ask(admin, "alter", name, "retention.ms", "-")
    (line,), _ = ask(admin, "settings", name, "retention.ms")
    assert line["default"] == "1"
    error, _ = ask(admin, "alter", name, "no.such.setting", "1", ok=False)
    assert error["kind"] == "refused" and "no.such.setting" in error["what"]


def test_create_many_one_fails(admin, target):
    lines, _ = ask(admin, "create_all", 6)
    assert [x["code"] for x in lines] == ["0"] * 5 + ["38"]  # INVALID_REPLICATION_FACTOR
    names, _ = ask(admin, "many", "all-0", "nobody-has-this", "all-3")
    assert [x["code"] for x in names] == ["0", "3", "0"]
    assert int(names[0]["settings"]) > 20 and names[1]["settings"] == "0"
    for n in range(5):
        target.delete_topic(f"all-{n}")


def test_offsets(admin, target, name):
    from confluent_kafka import Producer

    target.create_topic(name)
    open_one = Producer({"bootstrap.servers": target.bootstrap, "transactional.id": name})
    plain = Producer({"bootstrap.servers": target.bootstrap})
    for _ in range(5):
        plain.produce(name, b"x")
    plain.flush()
    open_one.init_transactions(30)
    open_one.begin_transaction()
    open_one.produce(name, b"y")
    open_one.flush()
    (line,), _ = ask(admin, "offsets", "latest", name)
    assert (line["offset"], line["error"]) == ("6", "0")
    (line,), _ = ask(admin, "offsets", "stable", name)
    assert line["offset"] == "5", "the open transaction begins there"
    (line,), _ = ask(admin, "offsets", "earliest", name)
    assert line["offset"] == "0"
    open_one.abort_transaction(30)
    lines, took = ask(admin, "offsets", "latest", name, "nobody-has-this")
    assert [x["error"] for x in lines] == ["0", "3"] and lines[1]["offset"] == "-1"
    assert took < 2000


def test_group_offsets(admin, target, name):
    from confluent_kafka import Consumer, TopicPartition

    target.create_topic(name, partitions=2)
    consumer = Consumer({"bootstrap.servers": target.bootstrap, "group.id": name})
    consumer.commit(offsets=[TopicPartition(name, 1, 7, metadata="hello")], asynchronous=False)
    consumer.close()
    (line,), _ = ask(admin, "group", name)
    assert (line["partition"], line["offset"], line["metadata"]) == ("1", "7", "hello")
    lines, _ = ask(admin, "group", "nobody-has-this")
    assert lines == []


def test_dead_cluster_is_bounded():
    with Driver("admin_driver", "127.0.0.1:1", 1500) as admin:
        for words in (["cluster"], ["topics"], ["offsets", "latest", "t"], ["group", "g"]):
            error, took = ask(admin, *words, ok=False)
            assert error["kind"] == "retry", error
            assert 1000 < took < 3500, words
        assert "refused" in error["what"], "the connection's own error is told"
        assert admin.quit() == 0
        assert int(admin.expect("freed")["ms"]) < 1500


def test_silent_broker_is_bounded(new_cluster):
    cluster = new_cluster("silent")
    with Driver("admin_driver", cluster.bootstrap, 1500) as admin:
        ask(admin, "cluster")
        cluster.broker(1).sigstop()
        try:
            for words in (["describe", "t"], ["alter", "t", "retention.ms", "1"], ["grow", "t", 2], ["settings", "t"]):
                error, took = ask(admin, *words, ok=False)
                assert error["kind"] == "retry" and took < 4000, (words, error, took)
            began = time.monotonic()
            assert admin.quit() == 0
            assert time.monotonic() - began < 2
        finally:
            cluster.broker(1).process.signal(signal.SIGCONT)


def test_refused_property_is_named():
    with Driver("admin_driver", "127.0.0.1:1", 1500, properties={"no.such": "1"}) as admin:
        line = admin.expect("failed")
        assert line["kind"] == "config" and "no.such" in line["what"]
