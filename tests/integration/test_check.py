"""`ferry check` names what cannot work and what would make a promise a lie, and leaves nothing behind."""

import json
import os
import subprocess

import pytest

from rig.ferry import EXIT_REFUSED, EXIT_UNREACHABLE, Command, Configuration
from rig.paths import BIN
from rig.procs import wait_for
from rig.proxy import API_VERSIONS, PRODUCE


@pytest.fixture
def check(folder, source, target, redis_server, name):
    def make(redis=redis_server, left=source, right=target, topics=None, secured=None, **keys):
        conf = Configuration(folder / "ferry", {"a": (left, None), "b": (right, redis)}, secured=secured)
        conf.service(name, topics=topics or [f"{name}.*"], **keys)
        command = make.command = Command(conf)

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


def path_row(found):
    (row,) = [row for row in found if row["check"] == "path"]
    return row["level"], row["what"], row["next"]


def test_the_path_is_proven_on_a_scratch_topic(check, target, name):
    """A producer id of our choosing, its sequence and DescribeProducers, by a real broker; nothing is left, and what a
    killed check left is used and taken away."""
    level, what, _ = path_row(check(path="batches")()[1])
    assert level == "ok" and "b: path batches: " in what
    for word in ("producer id of Ferry's choosing is taken", "sequence is kept", "DescribeProducers", "idempotent"):
        assert word in what
    scratch = f"ferry.probe.{name}"
    assert scratch not in target.metadata().topics
    target.create_topic(scratch)
    level, what, _ = path_row(check(path="records")()[1])
    assert level == "ok" and "b: path records, batches would do as well: " in what
    assert scratch not in target.metadata().topics


def test_a_check_that_is_killed_leaves_nothing_for_long(check, target, name, doors):
    """kill -9 while the scratch topic stands; the next check takes it away."""
    door = doors[1]
    run = check(secured={"b": door.site(target)})
    proxy, scratch = door.proxy(1), f"ferry.probe.{name}"
    proxy.change = lambda api, body: proxy.held.add("answers") or body if api == 61 else body
    killed = subprocess.Popen(
        [BIN / "ferry", "check", name, "--timeout", "20"],
        env=os.environ | {"FERRY_CONFIG": str(check.command.conf.path)},
        stdout=subprocess.DEVNULL,
    )
    wait_for("DescribeProducers to be asked", lambda: proxy.held, 20)
    killed.kill()
    killed.wait()
    door.clean()
    assert scratch in target.metadata().topics
    assert path_row(run()[1])[0] == "ok"
    assert scratch not in target.metadata().topics


def refuse_id(api, body):
    """Produce, version 13: the error of its one partition becomes UNKNOWN_PRODUCER_ID."""
    return body[:27] + b"\x00\x3b" + body[29:] if api == PRODUCE else body


def hide_producers(api, body):
    """ApiVersions: the broker has no DescribeProducers (61, versions 0 to 0)."""
    return (
        body.replace(b"\x00\x3d\x00\x00\x00\x00\x00", b"\x7f\x3d\x00\x00\x00\x00\x00") if api == API_VERSIONS else body
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [(refuse_id, "is refused: UNKNOWN_PRODUCER_ID"), (hide_producers, "does not offer DescribeProducers")],
    ids=["refuses_ids", "tells_no_producers"],
)
def test_a_target_that_cannot_take_batches_is_refused_by_name(check, target, doors, change, words):
    """Between Ferry and the broker stands what refuses one of the things that `batches` needs; librdkafka is spared."""
    proxy = doors[1].proxy(1)
    proxy.spares, proxy.change = True, change
    for path, wanted in (("batches", "refused"), ("records", "ok")):
        code, found = check(path=path, secured={"b": doors[1].site(target)})()
        level, what, then = path_row(found)
        assert (level, words in what) == (wanted, True), what
        assert (code == EXIT_REFUSED) == (path == "batches")
        assert path == "records" or '"path": "records"' in then
