"""`ferry check` names what cannot work and what would make a promise a lie, and changes nothing."""

import json

import pytest

from rig.ferry import EXIT_REFUSED, EXIT_UNREACHABLE, Command, Configuration


@pytest.fixture
def check(folder, source, target, redis_server, name):
    def make(redis=redis_server, left=source, right=target, topics=None):
        conf = Configuration(folder / "ferry", {"a": (left, None), "b": (right, redis)})
        conf.service(name, topics=topics or [f"{name}.*"])
        command = Command(conf)

        def run():
            done = command.run("check", name, "-o", "json", "--timeout", "5")
            found = json.loads(done.stdout)["links"][0]["findings"]
            return done.returncode, found

        return run

    return make


def texts(found, level):
    return [row["what"] for row in found if row["level"] == level]


def test_weak_durability_is_named(check, new_cluster, redis_server, name):
    strong = new_cluster("strong", brokers=2)
    run = check(left=strong, right=strong)
    strong.create_topic(f"{name}.one", replicas=1)
    strong.create_topic(f"{name}.alone", replicas=2, config={"min.insync.replicas": 1})
    strong.create_topic(
        f"{name}.unclean", replicas=2, config={"min.insync.replicas": 2, "unclean.leader.election.enable": "true"}
    )
    strong.create_topic(f"{name}.good", replicas=2, config={"min.insync.replicas": 2})
    code, found = run()
    assert code == EXIT_REFUSED
    refused = "\n".join(texts(found, "refused"))
    assert "one cluster" in refused
    for word in (
        f"{name}.one has one replica",
        f"{name}.alone has min.insync.replicas 1",
        f"{name}.unclean has unclean",
    ):
        assert word in refused
        assert word in "\n".join(texts(found, "warning")), "at the source it is a warning"
    assert f"{name}.good" not in refused


def test_redis_that_evicts_is_refused_and_one_that_is_gone_is_told(check, new_redis, name):
    """S33: the preflight refuses an evicting policy."""
    evicting = new_redis("evicting", options=("--maxmemory-policy", "allkeys-lru"))
    code, found = check(redis=evicting)()
    assert code == EXIT_REFUSED
    assert any("evict" in text for text in texts(found, "refused"))
    evicting.client.config_set("maxmemory-policy", "noeviction")
    code, found = check(redis=evicting)()
    assert code == 0 and not texts(found, "refused"), found
    assert any("no topic matches" in (row["next"] or "") for row in found)
    evicting.kill9()
    code, found = check(redis=evicting)()
    assert code == EXIT_UNREACHABLE and texts(found, "unreachable")


def test_a_topic_whose_batches_are_not_taken_is_refused(check, source, name):
    """S20: sizes are compared before anything is sent."""
    source.create_topic(f"{name}.large", config={"max.message.bytes": 20 * 1024 * 1024 + 1})
    source.create_topic(f"{name}.fits", config={"max.message.bytes": 20 * 1024 * 1024})
    code, found = check()()
    (text,) = [text for text in texts(found, "refused") if "batches" in text]
    assert code == EXIT_REFUSED and f"{name}.large takes batches of 20971521 bytes" in text
