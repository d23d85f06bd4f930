"""`"path": "auto"`: `ferry enable` tries what both clusters can do and records the choice; every worker takes it from
there, and what is found later changes nothing by itself (docs/adr/0020)."""

import json

import pytest

from rig.ferry import EXIT_REFUSED
from rig.line import Line
from rig.procs import wait_for
from rig.produce import Load
from rig.proxy import API_VERSIONS
from rig.wire import RawClient


def hide_producers(api, body):
    """ApiVersions: the broker has no DescribeProducers (61, versions 0 to 0)."""
    return (
        body.replace(b"\x00\x3d\x00\x00\x00\x00\x00", b"\x7f\x3d\x00\x00\x00\x00\x00") if api == API_VERSIONS else body
    )


@pytest.fixture
def line(own, folder, source, target, redis_server, name, doors):
    """A line whose target Ferry reaches through a door; `hidden`: DescribeProducers is hidden from our connections."""

    def make(hidden=False, path="auto", **more):
        topic = source.create_topic(f"{name}.t", partitions=2)
        proxy = doors[1].proxy(1)
        proxy.spares, proxy.change = True, hide_producers if hidden else None
        one = Line(
            own, folder, source, target, redis_server, name, [topic],
            path=path, enable=False, secured={"b": doors[1].site(target)}, **more,
        )  # fmt: skip
        one.proxy = proxy
        return one

    return make


def load(one, serial=0):
    Load(one.source.bootstrap, one.topics[0], "lz4", count=300, partitions=2, serial=serial, seed=serial + 1).run()


def status(one):
    (link,) = one.command.status(one.service)["services"][0]["links"]
    return link


def by_whom(one):
    """The paths that wrote to the target: batches has producer ids of Ferry's choosing, librdkafka the brokers'."""
    with RawClient(one.target.bootstrap) as raw:
        ids = {b.producer_id for p in (0, 1) for b in raw.walk(one.topics[0], p)}
    return {"batches" if i >= 1 << 47 else "records" for i in ids}


def use(one, path):
    """The service's file says another path; workers see it when they start."""
    one.conf.data["services"][one.service]["path"] = path
    one.conf.write()


def test_what_both_can_do_is_taken_by_all_workers(line):
    one = line()
    (link,) = one.command.json("enable", one.service, "--yes")["links"]
    assert link["path"] == "batches" and "DescribeProducers tells it" in link["path_why"]
    load(one)
    workers = [one.worker(name) for name in ("w1", "w2")]
    one.wait_caught_up()
    one.prove()
    assert by_whom(one) == {"batches"}
    for worker in workers:
        (event,) = worker.wait_event("link.path")
        assert " path=batches configured=auto " in event and "DescribeProducers tells it" in event
    said = status(one)
    assert (said["path"], said["path_auto"]) == ("batches", True) and "DescribeProducers" in said["path_why"]
    assert "path auto: batches: " in one.command.ok("status", one.service)
    assert set(one.command.json("config", "show")["streams_hash"][one.service]) == {"batches", "records"}
    assert {w["path"] for w in said["workers"].values()} == {"batches"}


def test_a_later_finding_changes_nothing(line):
    """Chosen while DescribeProducers was hidden: records. The target can do it later: what runs, what is restarted and
    what is enabled once more stay at records; `ferry check` says that batches would do."""
    one = line(hidden=True)
    (link,) = one.command.json("enable", one.service, "--yes")["links"]
    assert link["path"] == "records" and "does not offer DescribeProducers" in link["path_why"]
    load(one)
    worker = one.worker("w1")
    one.wait_caught_up()
    one.proxy.clean()
    worker.kill9()
    worker.start()
    one.worker("w2")
    (link,) = one.command.json("enable", one.service, "--yes")["links"]
    assert link["already"] and link["path"] is None, "chosen already"
    load(one, serial=1000)
    one.wait_caught_up()
    one.prove()
    assert by_whom(one) == {"records"}
    assert status(one)["path"] == "records"
    found = json.loads(one.command.run("check", one.service, "-o", "json").stdout)["links"][0]["findings"]
    (row,) = [row for row in found if row["check"] == "path"]
    assert row["level"] == "ok" and "path records, batches would do as well" in row["what"]


def test_a_chosen_path_that_works_no_more_is_refused_by_name(line):
    """Chosen batches; later the target hides DescribeProducers: no change of path, `ferry check` says so."""
    one = line()
    one.command.enable(one.service)
    one.proxy.change = hide_producers
    done = one.command.run("check", one.service, "-o", "json")
    (row,) = [row for row in json.loads(done.stdout)["links"][0]["findings"] if row["check"] == "path"]
    assert done.returncode == EXIT_REFUSED and row["level"] == "refused"
    assert "path batches, chosen earlier, cannot work" in row["what"] and '"path": "records"' in row["next"]
    assert status(one)["path"] == "batches"


@pytest.mark.parametrize("named", ["batches", "records"])
def test_a_service_that_ran_keeps_the_path_that_it_had(line, named):
    """The file says auto instead of the path that the service runs with: nothing is chosen, nothing changes."""
    one = line(path=named)
    one.command.enable(one.service)
    load(one)
    worker = one.worker("w1")
    one.wait_caught_up()
    assert worker.stop() == 0
    use(one, "auto")
    worker.start()
    load(one, serial=1000)
    one.wait_caught_up()
    one.prove()
    assert by_whom(one) == {named}
    said = status(one)
    assert (said["path"], said["path_auto"], said["path_why"]) == (named, True, None)


def test_nobody_has_chosen(line):
    """Enabled with a named path, never run, then auto: a worker writes nothing and says what to type, and goes on by
    itself when it was typed."""
    one = line(path="batches")
    one.command.enable(one.service)
    use(one, "auto")
    load(one)
    worker = one.worker("w1")
    wait_for("it to say so", lambda: "nobody has chosen yet (ferry enable" in json.dumps(status(one)), 20)
    assert status(one)["path"] is None
    assert "path auto: not chosen yet" in one.command.run("status", one.service).stdout
    assert (
        sum(one.target.offsets(one.topics[0]).values()) == 0 if one.topics[0] in one.target.metadata().topics else True
    )
    (link,) = one.command.json("enable", one.service, "--yes")["links"]
    assert link["already"] and link["path"] == "batches"
    one.wait_caught_up()
    one.prove()
    assert worker.alive


def test_without_proof_nothing_is_chosen(permitted):
    """No right to the scratch topic: `ferry enable` writes nothing and names it."""
    one = permitted(path="auto")
    one.grant([pair for pair in one.printed() if not pair[1].name.startswith("ferry.probe.")])
    done = one.command.run("enable", one.name, "--yes")
    assert done.returncode == EXIT_REFUSED
    assert f"lacks Create on topic 'ferry.probe.{one.name}'" in done.stderr and "--print-acls" in done.stderr
    assert "no role" in one.command.run("status", one.name).stdout
    one.grant()
    one.produce()
    one.command.enable(one.name)
    one.line.worker("w1")
    one.line.wait_caught_up()
