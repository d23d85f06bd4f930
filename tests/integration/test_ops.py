"""What an operator has around ferryd: reload, metrics, alerts, installation."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

from rig.ferry import EXIT_UNREACHABLE, Worker
from rig.line import Line
from rig.paths import BIN, BUILD, ROOT
from rig.procs import free_port, wait_for
from rig.records import Record, build
from rig.wire import RawClient

# -- reload -----------------------------------------------------------------------------------------------------------


def hang_up(worker, event, count=1):
    worker.process.signal(signal.SIGHUP)
    return worker.wait_event(event, count, timeout=10)[-1]


def write(cluster, topic, count=5, partition=0):
    some = [Record(n, int(time.time() * 1000), b"k%d" % n, b"v%d" % n, ()) for n in range(count)]
    with RawClient(cluster.bootstrap) as raw:
        wait_for("the source to take it", lambda: raw.produce(topic, partition, build(some))[0] == 0, 10)


class Trickle:
    """One record each 20 ms to a topic, until it is left."""

    def __init__(self, cluster, topic):
        self.cluster, self.topic = cluster, topic
        self.going = True
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while self.going:
            write(self.cluster, self.topic, 1)
            time.sleep(0.02)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.going = False
        self.thread.join()


class LongestSilence:
    """How long a topic of the target stood still, at most."""

    def __init__(self, cluster, topic):
        self.cluster, self.topic = cluster, topic
        self.going, self.longest = True, 0.0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        last, moved = -1, time.monotonic()
        while self.going:
            end = self.cluster.offsets(self.topic)[0]
            now = time.monotonic()
            if end != last:
                last, moved = end, now
            self.longest = max(self.longest, now - moved)
            time.sleep(0.02)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.going = False
        self.thread.join()


def include(line, *topics):
    line.conf.data["services"][line.service]["topics"]["include"] = list(topics)
    line.conf.write()


def test_a_topic_that_a_reload_adds_flows_and_others_do_not_stop(own, folder, source, target, redis_server, name):
    old, new = f"{name}.old", f"{name}.new"
    for topic in (old, new):
        source.create_topic(topic)
        write(source, topic)
    line = Line(own, folder, source, target, redis_server, name, [old])
    worker = line.worker("w1", wait=True)
    line.wait_caught_up()
    with Trickle(source, old), LongestSilence(target, old) as silence:
        include(line, old, new)
        assert "changes=1" in hang_up(worker, "ferryd.reloaded")
        line.topics = [old, new]
        line.wait_caught_up(timeout=30, partitions={(new, 0)})
    assert silence.longest < 2, "the topic that was there before stood still"
    line.wait_caught_up()
    line.prove()
    (changed,) = worker.events("config.changed")
    assert f"services.{name}.topics.include" in changed and new in changed
    metrics = worker.metrics()
    assert metrics["ferry_config_reloads_total", {"result": "taken"}] == 1
    assert metrics["ferry_config_last_reload_successful"] == 1


def test_a_topic_that_a_reload_takes_away_stops(own, folder, source, target, redis_server, name):
    """S8: it stops with its map kept, the others go on; put back with a higher revision it goes on where it was."""
    keep, drop = f"{name}.keep", f"{name}.drop"
    for topic in (keep, drop):
        source.create_topic(topic)
        write(source, topic)
    line = Line(own, folder, source, target, redis_server, name, [keep, drop])
    worker = line.worker("w1", wait=True)
    line.wait_caught_up()
    include(line, keep)
    hang_up(worker, "ferryd.reloaded")
    wait_for("the partition to be given back", lambda: line.mirroring(worker) == 1, 20)
    write(source, drop)
    write(source, keep)
    line.wait_caught_up(partitions={(keep, 0)})
    assert target.offsets(drop)[0] == 5
    # A file that is put back counts as an older one, until its revision says otherwise: nothing stops meanwhile.
    include(line, keep, drop)
    why = hang_up(worker, "ferryd.not_reloaded")
    assert "revision" in why and f"services.{name}" in why
    write(source, keep)
    line.wait_caught_up(partitions={(keep, 0)})
    line.conf.data["services"][name]["revision"] = 1
    line.conf.write()
    hang_up(worker, "ferryd.reloaded", 2)
    line.wait_caught_up()
    line.prove()


def test_a_broken_file_changes_nothing(own, folder, source, target, redis_server, name):
    """S8: an invalid file, and one with a key that needs a restart, change nothing at all; the next good one is
    taken."""
    source.create_topic(name)
    write(source, name)
    line = Line(own, folder, source, target, redis_server, name, [name])
    worker = line.worker("w1", wait=True)
    good = line.conf.path.read_text()
    line.conf.path.write_text(good.replace('"home"', '"hom"'))
    where = next(n for n, text in enumerate(line.conf.path.read_text().splitlines(), 1) if '"hom"' in text)
    why = hang_up(worker, "ferryd.not_reloaded")
    assert f"{line.conf.path}:{where}:" in why and f"services.{name}" in why
    # One key that needs a restart: the others are not taken over either.
    data = json.loads(good)
    data["log_level"] = "debug"
    data["mirror"] = {"fetch": "8MiB", "resume_read": "2GiB"}
    line.conf.path.write_text(json.dumps(data))
    why = hang_up(worker, "ferryd.not_reloaded", 2)
    assert "mirror.fetch" in why and "restart" in why and "resume_read" not in why
    assert not worker.events("config.changed")
    assert worker.metrics()["ferry_config_last_reload_successful"] == 0
    # Without it they are.
    data["mirror"].pop("fetch")
    line.conf.path.write_text(json.dumps(data))
    assert "changes=2" in hang_up(worker, "ferryd.reloaded")
    # The level is in force: of the next reload no line of level info is written.
    data["log_level"] = "error"
    line.conf.path.write_text(json.dumps(data))
    worker.process.signal(signal.SIGHUP)
    worker.wait_metric("the reload", lambda m: m["ferry_config_reloads_total", {"result": "taken"}] == 2)
    assert len(worker.events("ferryd.reloaded")) == 1
    write(source, name)
    line.wait_caught_up()
    line.prove()


def test_one_worker_after_the_other_is_reloaded(own, folder, source, target, redis_server, name):
    topics = [f"{name}.{n}" for n in range(4)]
    for topic in topics:
        source.create_topic(topic)
        write(source, topic)
    line = Line(own, folder, source, target, redis_server, name, topics[:3])
    workers = [line.worker("w1", wait=True), line.worker("w2", wait=True)]
    line.wait_caught_up()
    line.wait_shared(3)
    wait_for("a keeper", lambda: sum(worker.metrics()["ferry_link_keeper"] for worker in workers) == 1, 20)
    workers.sort(key=lambda worker: worker.metrics()["ferry_link_keeper"])
    include(line, *topics)
    # Not the keeper first: until the keeper has the new file, both go on by the old one.
    for worker in workers:
        hang_up(worker, "ferryd.reloaded")
        time.sleep(1.5)  # the control topic is read each second
        for topic in topics[:3]:
            write(source, topic)
        line.wait_caught_up(timeout=15)
        assert all(worker.metrics()["ferry_link_may_send"] == 1 for worker in workers)
    line.topics = topics
    line.wait_caught_up()
    line.prove()
    assert all(worker.metrics()["ferry_link_streams_epoch"] == 2 for worker in workers)


def test_a_worker_that_was_not_reloaded_writes_nothing_and_says_so(own, folder, source, target, redis_server, name):
    """S9: the newest configuration writes; the older worker says so, and goes on with the new file."""
    topics = [f"{name}.{n}" for n in range(3)]
    for topic in topics:
        source.create_topic(topic)
        write(source, topic)
    line = Line(own, folder, source, target, redis_server, name, topics[:2])
    old = line.conf.copy(folder / "old")
    workers = [line.worker("w1", wait=True), line.worker("w2", conf=old, wait=True)]
    line.wait_caught_up()
    seen = []  # the newcomer may be given the keeper's partition, at once or not at all

    def settled():
        seen.append([worker.metrics()["ferry_link_keeper"] for worker in workers])
        return sum(seen[-1]) == 1 and seen[-20:] == [seen[-1]] * 20

    wait_for("a keeper that stays", settled, 20, every=0.1)
    other, keeper = sorted(workers, key=lambda worker: worker.metrics()["ferry_link_keeper"])
    for conf in (line.conf, old):
        if conf.path == keeper.conf.path:
            conf.data["services"][name]["topics"]["include"] = topics
            conf.write()
    hang_up(keeper, "ferryd.reloaded")
    other.wait_metric("the older worker to stop", lambda m: m["ferry_link_gate_open", {"gate": "streams"}] == 0)
    assert other.events("link.streams_differ") and other.get("/readyz")[0] == 503
    # The newest file and a hang-up, and it goes on; no restart.
    other.conf.data["services"][name]["topics"]["include"] = topics
    other.conf.write()
    hang_up(other, "ferryd.reloaded")
    line.topics = topics
    for topic in topics:
        write(source, topic)
    line.wait_caught_up()
    line.prove()


# -- metrics ----------------------------------------------------------------------------------------------------------

PROMTOOL = BUILD / "deps" / "bin" / "promtool"
NAME = re.compile(r"\b(?:ferry|process)_[a-z0-9_]+")


def promtool(*args, stdin=None):
    assert PROMTOOL.exists(), "promtool is not set up: run `make setup`"
    return subprocess.run([PROMTOOL, *map(str, args)], input=stdin, capture_output=True, text=True, timeout=60)


def types(text):
    """{metric: type} of an exposition."""
    return dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))


class Plain:
    """A configuration of sites that nobody answers for."""

    def __init__(self, folder, sites):
        self.dir, self.path = folder, folder / "ferry.json"
        service = {"home": "a", "others": ["b"], "topics": {"include": ["t*"]}}
        top = {"deployment": "test", "state_dir": str(folder / "state")}
        self.path.write_text(json.dumps(top | {"sites": sites, "services": {"orders": service}}))


@pytest.fixture(scope="module")
def exposition(tmp_path_factory, sites, redis_server):
    """/metrics of a worker that mirrors."""
    source, target = sites
    with contextlib.ExitStack() as stack:

        def own(thing):
            stack.callback(lambda: thing.alive and thing.kill9())
            return thing

        source.create_topic("ops-metrics", partitions=2)
        write(source, "ops-metrics")
        line = Line(own, tmp_path_factory.mktemp("ops"), source, target, redis_server, "ops-metrics", ["ops-metrics"])
        worker = line.worker("w1", wait=True)
        line.wait_caught_up()
        worker.wait_metric("partitions to mirror", lambda m: m.sum("ferry_link_partitions", state="mirroring") == 2)
        worker.wait_metric("every figure to be known", lambda m: m.get("ferry_map_advances_total", 0) > 0)
        worker.wait_metric("what is unmapped to be known", lambda m: m.get("ferry_map_unmapped_offsets") == 0)
        worker.wait_metric("groups to be looked at", lambda m: m.get("ferry_groups") is not None)
        yield worker.metrics()


def test_metrics_are_as_prometheus_asks(exposition):
    done = promtool("check", "metrics", stdin=exposition.text)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    found = types(exposition.text)
    for name, kind in found.items():
        assert (kind == "counter") == name.endswith("_total"), name
    known = {name for name, _, _ in exposition.rows}
    assert {n for n, k in found.items() if k == "gauge"} - known <= {
        "ferry_link_faulted_partitions",
        "ferry_certificate_expiry_timestamp_seconds",
    }
    labels = {label for _, row, _ in exposition.rows for label in row}
    assert labels <= {
        "service", "from", "to", "topic", "partition", "state", "gate", "end", "kind", "result", "version", "worker",
        "le", "site", "by", "reason", "verdict",
    }  # fmt: skip


def test_metrics_tell_what_happened(exposition):
    assert exposition.sum("ferry_link_records_total") == 5
    assert exposition["ferry_partition_records_total", {"topic": "ops-metrics", "partition": "0"}] == 5
    assert exposition["ferry_partition_records_total", {"topic": "ops-metrics", "partition": "1"}] == 0
    assert exposition.sum("ferry_partition_bytes_total") == exposition.sum("ferry_link_bytes_total") > 0
    assert exposition["ferry_link_at_risk_records"] == exposition["ferry_link_lag_unknown_partitions"] == 0
    assert exposition["ferry_link_may_send"] == 1 and exposition.sum("ferry_link_gate_open") == 5
    assert exposition["ferry_link_role_epoch"] == exposition["ferry_link_streams_epoch"] == 1
    assert exposition["ferry_link_keeper"] == exposition["ferry_link_keeper_terms_total"] == 1
    assert 0 < exposition["ferry_link_send_deadline_seconds"] <= 6
    assert exposition["ferry_link_commit_age_seconds"] < 5 and exposition["ferry_link_control_age_seconds"] < 5
    assert exposition["ferry_link_connections", {"end": "source"}] >= 1
    assert exposition["ferry_redis_up"] == exposition["ferry_map_ready"] == 1
    assert exposition["ferry_loop_lag_seconds_count"] > 5
    assert exposition["ferry_build_info", {"worker": "w1"}] == 1


def test_the_pages_name_what_there_is(exposition):
    found = types(exposition.text)
    page = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", (ROOT / "docs/metrics.md").read_text(), re.M))
    assert page == found
    histograms = {
        f"{name}_{part}" for name, kind in found.items() if kind == "histogram" for part in ("bucket", "sum", "count")
    }
    dashboard = json.loads((ROOT / "docs/grafana.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [rule["expr"] for rule in alert_rules()]
    assert len(asked) > 30
    for expression in asked:
        unknown = set(NAME.findall(expression)) - set(found) - histograms
        assert not unknown, f"{unknown} in {expression}"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


def test_what_is_not_known_has_no_sample(own, folder, new_cluster, target, redis_server, name):
    source = new_cluster("silent")
    source.create_topic(name)
    write(source, name)
    line = Line(own, folder, source, target, redis_server, name, [name])
    worker = line.worker("w1", wait=True)
    line.wait_caught_up()
    worker.wait_metric("the lag", lambda m: m.get("ferry_partition_lag_records") == 0)
    source.broker(1).sigstop()
    metrics = worker.wait_metric("the lag to be unknown", lambda m: m["ferry_link_lag_unknown_partitions"] == 1, 30)
    for figure in ("ferry_partition_lag_records", "ferry_partition_lag_seconds", "ferry_link_at_risk_records"):
        assert not metrics.all(figure), "a figure that nobody knows is shown"
    assert "nan" not in metrics.text.lower()
    source.broker(1).sigcont()
    worker.wait_metric("it to be known again", lambda m: m.get("ferry_link_at_risk_records") == 0, 60)


def test_the_end_of_a_certificate_is_known(own, folder):
    made = folder / "client.pem"
    key = folder / "client.key"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=ferry"]
    assert subprocess.run([*request, "-keyout", key, "-out", made], capture_output=True, timeout=60).returncode == 0
    sites = {n: {"kafka": {"bootstrap.servers": f"127.0.0.1:{free_port()}"}} for n in ("a", "b")}
    sites["a"]["kafka"]["ssl.certificate.location"] = str(made)
    sites["b"]["kafka"]["ssl.certificate.location"] = str(key)  # holds none
    conf = Plain(folder, sites)
    metrics = own(Worker(conf, "w1")).start().wait_healthy().metrics()
    ((labels, ends),) = metrics.all("ferry_certificate_expiry_timestamp_seconds")
    assert labels == {"site": "a"} and abs(ends - time.time() - 9 * 86400) < 3600


# -- alerts -----------------------------------------------------------------------------------------------------------


def alert_rules():
    """The rules of docs/alerts.yaml, which has a form of its own so that no reader of YAML is needed here."""
    rules = []
    for line in (ROOT / "docs/alerts.yaml").read_text().splitlines():
        match = re.fullmatch(r"\s+(?:- )?(alert|expr|for|labels|annotations|summary|description): ?(.*)", line)
        if match and match[1] == "alert":
            rules.append({"alert": match[2]})
        elif match and rules:
            rules[-1][match[1]] = match[2].strip('"')
        else:
            assert not line.strip() or line.lstrip().startswith("#") or line.strip() in (
                "groups:", "- name: ferry", "rules:",
            ), line  # fmt: skip
    return rules


LINK = {"service": "orders", "from": "a", "to": "b"}
HOST = LINK | {"instance": "h1:9464"}


def series(metric, labels, values):
    text = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return {"series": f"{metric}{{{text}}}", "values": values}


def link(metric, values, **more):
    return series(metric, HOST | more, values)


def partitions(state, values):
    return link("ferry_link_partitions", values, state=state)


def certificate_ends(days):
    labels = {"instance": "h1:9464", "site": "a"}
    return series("ferry_certificate_expiry_timestamp_seconds", labels, f"{days * 86400}x90")


# alert: what makes it fire after 20 minutes, what does not though it is near, the labels beside the rule's
ALERTS = {
    "FerryWorkersGone": ([link("ferry_link_state", "2x5 _x60")], [link("ferry_link_state", "2x60")], LINK),
    "FerryLinkNotRunning": (
        [link("ferry_link_gate_open", "1x60", gate="role"), link("ferry_link_may_send", "0x60")],
        # a standby has no role, and may not send either
        [link("ferry_link_gate_open", "0x60", gate="role"), link("ferry_link_may_send", "0x60")],
        LINK,
    ),
    "FerryPartitionFaulted": (
        [link("ferry_link_faulted_partitions", "1x60", kind="hole")],
        [link("ferry_link_faulted_partitions", "1x5 0x60", kind="hole")],
        LINK | {"kind": "hole"},
    ),
    "FerryLinkBehind": (
        [link("ferry_link_lag_seconds", "90x60")],
        [link("ferry_link_lag_seconds", "90x16 1 90x4")],
        LINK,
    ),
    "FerryLagUnknown": (
        [link("ferry_link_lag_unknown_partitions", "3x60")],
        [link("ferry_link_lag_unknown_partitions", "3x16 0 3x4")],
        LINK,
    ),
    "FerryPartitionStalled": (
        [partitions("stalled", "1x60"), partitions("mirroring", "8x60")],
        [partitions("stalled", "0x60"), partitions("mirroring", "9x60")],
        LINK,
    ),
    "FerryNoRole": (
        [link("ferry_link_state", "0x60")],
        # one worker joins later than the other
        [link("ferry_link_state", "0x60"), series("ferry_link_state", LINK | {"instance": "h2:9464"}, "2x60")],
        LINK,
    ),
    "FerryTopicNotMirrored": (
        [link("ferry_link_not_mirrored_topics", "2x60")],
        # created, and waiting for its settings
        [link("ferry_link_not_mirrored_topics", "0x17 1 0x60")],
        LINK,
    ),
    "FerryTopicsDiffer": (
        [link("ferry_link_drifted_topics", "1x60")],
        [link("ferry_link_drifted_topics", "0x60")],
        LINK,
    ),
    "FerryClusterAway": (
        [link("ferry_link_source_up", "0x60"), link("ferry_link_target_up", "1x60")],
        # one worker's network, not the cluster
        [link("ferry_link_source_up", "0x60"), series("ferry_link_source_up", LINK | {"instance": "h2:9464"}, "1x60")],
        LINK,
    ),
    "FerryRedisAway": ([link("ferry_map_ready", "0x60")], [link("ferry_map_ready", "0x14 1 0x5")], LINK),
    "FerryUnmapped": (
        [link("ferry_map_unmapped_stretches_total", "0x10 1x60")],
        [link("ferry_map_unmapped_stretches_total", "4x60")],  # long ago
        LINK,
    ),
    "FerryGroupsBehind": (
        [link("ferry_group_sync_age_seconds", "90x60")],
        [link("ferry_group_sync_age_seconds", "90x17 0 90x2")],
        LINK,
    ),
    "FerryGroupSyncSilent": (
        [link("ferry_groups", "3x5 _x60"), link("ferry_link_state", "2x60")],
        # a service without groups never had any
        [link("ferry_link_state", "2x60")],
        LINK,
    ),
    "FerryGroupsHeld": (
        [link("ferry_group_held_partitions", "2x60", reason="foreign")],
        # its own alert, and `off` is configured
        [
            link("ferry_group_held_partitions", "2x60", reason="members"),
            link("ferry_group_held_partitions", "2x60", reason="off"),
        ],
        LINK | {"reason": "foreign"},
    ),
    "FerryGroupsUnmapped": (
        [link("ferry_group_partitions", "4x60", verdict="unmapped")],
        [link("ferry_group_partitions", "4x60", verdict="exact")],
        LINK,
    ),
    "FerryGroupWithMembersAtTarget": (
        [link("ferry_groups_with_members", "1x60"), link("ferry_link_unprotected", "0x60")],
        # the target is primary: there they belong
        [link("ferry_groups_with_members", "1x60"), link("ferry_link_unprotected", "1x60")],
        LINK,
    ),
    "FerryOperationOpen": (
        [link("ferry_link_operation_open", "1x60")],
        [link("ferry_link_operation_open", "1x4 0x60")],
        {"service": "orders", "to": "b"},
    ),
    "FerryUnprotected": (
        [link("ferry_link_unprotected", "1x60")],
        [link("ferry_link_unprotected", "0x60")],
        LINK,
    ),
    "FerrySendDeadlineNear": (
        [link("ferry_link_send_deadline_seconds", "1.5x60"), link("ferry_link_state", "2x60")],
        # it drains: the right ends with it
        [link("ferry_link_send_deadline_seconds", "1.5x60"), link("ferry_link_state", "3x60")],
        HOST,
    ),
    "FerryCommitOld": (
        [link("ferry_link_commit_age_seconds", "16+60x60"), link("ferry_link_state", "2x60")],
        [link("ferry_link_commit_age_seconds", "5x60"), link("ferry_link_state", "2x60")],
        HOST,
    ),
    "FerryWorkerOutdated": (
        [link("ferry_link_gate_open", "0x60", gate="streams"), link("ferry_link_streams_epoch", "2x60")],
        # nobody wrote streams yet
        [link("ferry_link_gate_open", "0x60", gate="streams"), link("ferry_link_streams_epoch", "0x60")],
        HOST | {"gate": "streams"},
    ),
    "FerryFewerWorkers": (
        [link("ferry_link_state", "2x60"), series("ferry_link_state", LINK | {"instance": "h2:9464"}, "2x10 _x60")],
        [link("ferry_link_state", "2x60"), series("ferry_link_state", LINK | {"instance": "h2:9464"}, "2x50 _x9")],
        LINK,
    ),
    "FerryLoopLate": (
        [
            series("ferry_loop_lag_seconds_bucket", {"instance": "h1:9464", "le": "0.5"}, "0x60"),
            series("ferry_loop_lag_seconds_bucket", {"instance": "h1:9464", "le": "1"}, "0+60x60"),
            series("ferry_loop_lag_seconds_bucket", {"instance": "h1:9464", "le": "+Inf"}, "0+60x60"),
        ],
        [
            series("ferry_loop_lag_seconds_bucket", {"instance": "h1:9464", "le": "0.5"}, "0+60x60"),
            series("ferry_loop_lag_seconds_bucket", {"instance": "h1:9464", "le": "1"}, "0+60x60"),
            series("ferry_loop_lag_seconds_bucket", {"instance": "h1:9464", "le": "+Inf"}, "0+60x60"),
        ],
        {"instance": "h1:9464"},
    ),
    "FerryReloadRefused": (
        [series("ferry_config_last_reload_successful", {"instance": "h1:9464"}, "0x60")],
        [series("ferry_config_last_reload_successful", {"instance": "h1:9464"}, "0x10 1x60")],
        {"instance": "h1:9464"},
    ),
    "FerryCertificateEnds": (
        [certificate_ends(13)],
        [certificate_ends(15)],
        {"instance": "h1:9464", "site": "a"},
    ),
}  # fmt: skip
WHEN = {"FerryFewerWorkers": "55m", "FerryCertificateEnds": "70m"}


def expected(rule, labels):
    severity = re.fullmatch(r"\{severity: (critical|warning|info)\}", rule["labels"])[1]
    texts = {
        part: re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda match: labels[match[1]], rule[part])
        for part in ("summary", "description")
    }
    return [{"exp_labels": labels | {"severity": severity}, "exp_annotations": texts}]


def alert_test(rule, input_series, alerts, case):
    return {
        "name": f"{rule['alert']} {case}",
        "interval": "1m",
        "input_series": input_series,
        "alert_rule_test": [
            {"eval_time": WHEN.get(rule["alert"], "20m"), "alertname": rule["alert"], "exp_alerts": alerts}
        ],
    }


def run_rules(folder, tests):
    text = {"rule_files": [str(ROOT / "docs/alerts.yaml")], "evaluation_interval": "1m", "tests": tests}
    path = folder / "alerts_test.yaml"
    path.write_text(json.dumps(text, indent=1))  # which YAML is, too
    return promtool("test", "rules", path)


def test_alerts_fire_and_do_not_fire_for_nothing(folder):
    done = promtool("check", "rules", ROOT / "docs/alerts.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    rules = alert_rules()
    assert [rule["alert"] for rule in rules] == list(ALERTS), "each alert has its two cases, in the same order"
    tests = []
    for rule in rules:
        fires, quiet, labels = ALERTS[rule["alert"]]
        tests.append(alert_test(rule, fires, expected(rule, labels), "fires"))
        tests.append(alert_test(rule, quiet, [], "is quiet"))
    done = run_rules(folder, tests)
    assert done.returncode == 0, done.stdout + done.stderr
    # And a case that must fail does: the tool looks.
    wrong = alert_test(rules[0], ALERTS[rules[0]["alert"]][0], [], "fires, but nobody expects it")
    assert run_rules(folder, [wrong]).returncode != 0


# -- ferry top --------------------------------------------------------------------------------------------------------


def test_top_shows_rates_and_who_is_behind(own, folder, source, target, redis_server, name):
    busy, idle = f"{name}.busy", f"{name}.idle"
    for topic in (busy, idle):
        source.create_topic(topic)
        write(source, topic)
    line = Line(own, folder, source, target, redis_server, name, [busy, idle])
    line.worker("w1", wait=True)
    line.wait_caught_up()
    with Trickle(source, busy):
        done = line.command.run("top", name, "-n", "4", "-o", "json")
    assert done.returncode == 0, done.stderr
    rounds = [json.loads(text)["links"][0] for text in done.stdout.splitlines()]
    assert len(rounds) == 4
    assert all(found["workers"] == 1 and found["error"] is None for found in rounds)
    rates = {row["topic"]: row["records_per_s"] for row in rounds[-1]["partitions"]}
    assert rates[busy] > 3 and rates[idle] == 0
    assert all(row["records_per_s"] is None for row in rounds[0]["partitions"])  # nothing to compare with
    text = line.command.ok("top", name, "-n", "2")
    assert "\033" not in text and text.count("ferry top") == 2
    assert f"{busy}:0" in text and "1 workers" in text and "mirroring" in text


def test_many_partitions_are_told_in_few_bytes_and_whole(own, folder, source, target, redis_server, name):
    """Their rows stand packed in Redis; status and top show them as ever. Of a worker whose rows are not whole nothing
    is believed."""
    many = source.create_topic(name, partitions=60)
    line = Line(own, folder, source, target, redis_server, name, [many])
    worker = line.worker("w1", wait=True)
    workers = f"{{{name}}}:workers"

    def partitions(who="w1"):
        found = line.command.status(name)["services"][0]["links"][0]["workers"].get(who)
        return None if found is None else found["partitions"]

    wait_for("all to be mirrored", lambda: line.mirroring(worker) == 60, 60)
    wait_for("that to be told", lambda: [row["state"] for row in partitions()] == ["mirroring"] * 60, 20)
    assert {row["partition"] for row in partitions()} == set(range(60))
    top = json.loads(line.command.ok("top", name, "-n", "1", "-o", "json"))["links"][0]
    assert sum(row["state"] == "mirroring" for row in top["partitions"]) == 60
    beat = json.loads(redis_server.client.hget(workers, "w1"))
    assert beat["state"] == "running" and "partitions" not in beat and len(json.dumps(beat)) < 60 * 100
    worker.kill9()
    rows = beat["partitions_zstd"]
    for name_of, text in (("half", rows[: len(rows) // 8 * 4]), ("none", ""), ("whole", rows)):
        redis_server.client.hset(workers, name_of, json.dumps(beat | {"worker": name_of, "partitions_zstd": text}))
    assert partitions("half") is None and partitions("none") is None and len(partitions("whole")) == 60


def test_top_says_what_it_does_not_know(own, folder, source, target, new_redis, name):
    redis = new_redis()
    source.create_topic(name)
    line = Line(own, folder, source, target, redis, name, [name], enable=False)
    text = line.command.ok("top", "-n", "1")
    assert "no worker is alive" in text and "0 workers  unknown records/s" in text
    redis.stop()
    done = line.command.run("top", "-n", "1")
    assert done.returncode == EXIT_UNREACHABLE and "unknown:" in done.stdout
    done = line.command.run("top", "-n", "1", "-o", "json")
    assert json.loads(done.stdout)["links"][0]["lag_records"] is None


# -- installation -----------------------------------------------------------------------------------------------------

EXPOSURE = 2.0  # of systemd-analyze security: 10 is a service that may do everything
INSTALL = ROOT / "package" / "install.sh"


def sh(*args, **env):
    return subprocess.run(
        [str(a) for a in args], capture_output=True, text=True, timeout=240, env=dict(os.environ) | env, cwd=ROOT
    )


@pytest.fixture(scope="module")
def laid(tmp_path_factory):
    """What `make install` lays, in a folder of its own."""
    root = tmp_path_factory.mktemp("root")
    done = sh(INSTALL, "install", BIN, DESTDIR=str(root), PREFIX="/usr", SYSCONFDIR="/etc")
    assert done.returncode == 0, done.stderr
    return root


def everything(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_install_lays_what_it_lists_and_uninstall_takes_it_away(laid, folder):
    places = sh(INSTALL, "list", BIN, PREFIX="/usr").stdout.split()
    assert everything(laid) == sorted(place.lstrip("/") for place in places)
    for program in ("ferry", "ferryd"):
        assert sh(laid / "usr/bin" / program, "version" if program == "ferry" else "--version").returncode == 0
    root = folder / "root"
    env = {"DESTDIR": str(root), "PREFIX": "/opt/ferry", "SYSCONFDIR": "/opt/etc"}
    assert sh(INSTALL, "install", BIN, **env).returncode == 0
    assert "/opt/ferry/bin/ferryd" in (root / "opt/ferry/lib/systemd/system/ferryd.service").read_text()
    mine = root / "opt/etc/ferry/ferry.json"
    mine.write_text("{}")
    assert sh(INSTALL, "uninstall", BIN, **env).returncode == 0
    assert everything(root) == ["opt/etc/ferry/ferry.json"]


def test_the_example_is_a_configuration(laid):
    example = laid / "etc/ferry/ferry.json.example"
    done = sh(laid / "usr/bin/ferryd", "--check", "--config", example)
    assert done.returncode == 0 and ": ok: 2 sites, 1 services, 1 links" in done.stdout


@pytest.mark.parametrize("unit", ["ferryd.service", "ferryd@1.service"])
def test_units_are_sound_and_hardened(laid, unit, folder):
    """Verified with the programs where the unit names them, on this system's systemd."""
    there = folder / "units"
    there.mkdir()
    for template in ("ferryd.service", "ferryd@.service"):
        text = (laid / "usr/lib/systemd/system" / template).read_text()
        (there / template).write_text(text.replace("/usr/bin/", f"{laid}/usr/bin/"))
    done = sh("systemd-analyze", "verify", "--man=no", there / unit)
    said = [text for text in done.stderr.splitlines() if "ferryd" in text]
    assert done.returncode == 0 and not said, done.stderr
    template = there / re.sub(r"@.*\.", "@.", unit)
    done = sh("systemd-analyze", "security", "--offline=true", f"--threshold={int(EXPOSURE * 10)}", template)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout + done.stderr)
    assert found, done.stdout + done.stderr
    assert done.returncode == 0 and float(found[1]) <= EXPOSURE, found[0]


def test_each_instance_has_settings_of_its_own(laid):
    """A port in the one file for all would be everybody's port."""
    files = {}
    for unit in ("ferryd", "ferryd@"):
        text = (laid / f"usr/lib/systemd/system/{unit}.service").read_text()
        files[unit] = re.findall(r"^EnvironmentFile=(.*)$", text, re.M)
    assert files == {"ferryd": ["-/etc/default/ferryd"], "ferryd@": ["-/etc/default/ferryd@%i"]}


@pytest.mark.root
def test_user_and_folders_are_made(laid, folder):
    root = folder / "root"
    for place in ("usr/lib/sysusers.d", "usr/lib/tmpfiles.d", "etc"):
        (root / place).mkdir(parents=True)
    for kind in ("sysusers", "tmpfiles"):
        (root / f"usr/lib/{kind}.d/ferry.conf").write_text((laid / f"usr/lib/{kind}.d/ferry.conf").read_text())
    done = sh("systemd-sysusers", f"--root={root}", "ferry.conf")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ferry:x:\d+:\d+:.*:/var/lib/ferry:", (root / "etc/passwd").read_text(), re.M)
    done = sh("systemd-tmpfiles", f"--root={root}", "--create", "ferry.conf")
    assert done.returncode == 0, done.stderr
    assert (root / "var/lib/ferry").stat().st_mode & 0o777 == 0o700
    assert (root / "etc/ferry").stat().st_mode & 0o777 == 0o750


def complete(laid, words):
    """What bash offers for the last word."""
    script = laid / "usr/share/bash-completion/completions/ferry"
    text = f"""source {script}
        COMP_WORDS=({" ".join(f"'{word}'" for word in words)}); COMP_CWORD={len(words) - 1}
        _ferry; printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = sh("bash", "-euc", text)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_bash_completes_commands_and_options(laid):
    assert {"enable", "status", "top", "offsets", "fault"} <= set(complete(laid, ["ferry", ""]))
    assert complete(laid, ["ferry", "sta"]) == ["status"]
    assert complete(laid, ["ferry", "fault", ""]) == ["list", "retry", "accept", "resync"]
    assert complete(laid, ["ferry", "status", "orders", "--wat"]) == ["--watch"]
    assert complete(laid, ["ferry", "-q", "offsets", "map", "--li"]) == ["--limit", "--link"]
    assert complete(laid, ["ferry", "status", "-o", ""]) == ["text", "json"]
    zsh = laid / "usr/share/zsh/site-functions/_ferry"
    assert zsh.read_text().startswith("#compdef ferry\n")


@pytest.mark.parametrize("page", ["man1/ferry.1", "man8/ferryd.8"])
def test_manual_pages_are_sound(laid, page):
    done = sh("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", laid / "usr/share/man" / page, MANROFFSEQ="")
    assert done.returncode == 0 and done.stderr == "", done.stderr


# -- the package ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deb(tmp_path_factory):
    out = tmp_path_factory.mktemp("deb") / "out"
    done = sh(ROOT / "package/deb.sh", BIN, out)
    assert done.returncode == 0, done.stdout + done.stderr
    (package,) = out.glob("*.deb")
    return package


def test_the_package_holds_the_programs_and_what_they_need(deb, folder):
    fields = sh("dpkg-deb", "--field", deb).stdout
    assert re.search(r"^Depends: .*libc6 .*libssl3", fields, re.M), fields
    root = folder / "root"
    assert sh("dpkg-deb", "--extract", deb, root).returncode == 0
    assert sh("dpkg-deb", "--control", deb, folder / "control").returncode == 0
    done = sh(root / "usr/bin/ferryd", "--check", "--config", root / "etc/ferry/ferry.json.example")
    assert done.returncode == 0, done.stderr
    assert sh(root / "usr/bin/ferry", "version").returncode == 0
    (unit,) = root.glob("**/systemd/system/ferryd.service")  # /lib or /usr/lib, as this Debian has it
    assert "/usr/bin/ferryd" in unit.read_text()
    assert (folder / "control/conffiles").read_text() == "/etc/ferry/ferry.json.example\n"


@pytest.mark.root
def test_the_package_is_installed_into_a_root_of_its_own(deb, folder):
    """By dpkg, with its database; scripts need a whole system, and are run where there is one."""
    root = folder / "root"
    (root / "var/lib/dpkg/info").mkdir(parents=True)
    for empty in ("status", "available"):
        (root / "var/lib/dpkg" / empty).write_text("")
    done = sh("dpkg", f"--root={root}", "--force-depends", "--force-script-chrootless", "--unpack", deb)
    assert done.returncode == 0, done.stderr
    assert "install ok unpacked" in sh("dpkg-query", f"--admindir={root}/var/lib/dpkg", "-s", "ferry").stdout
    assert sh(root / "usr/bin/ferryd", "--version").stdout.startswith("ferryd ")
    mine = root / "etc/ferry/ferry.json"
    mine.write_text("{}")
    done = sh("dpkg", f"--root={root}", "--force-depends", "--force-script-chrootless", "--remove", "ferry")
    assert done.returncode == 0, done.stderr
    assert mine.exists() and not (root / "usr/bin/ferryd").exists()


def test_purging_leaves_no_enabled_unit(deb, folder):
    """What `systemctl enable` laid would name units that are gone."""
    assert sh("dpkg-deb", "--control", deb, folder / "control").returncode == 0
    root = folder / "root"
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    for unit in ("ferryd", "ferryd@1", "ferryd@x-y", "ferryd-of-somebody", "ssh"):
        template = re.sub("@.*", "@", unit)
        (wants / f"{unit}.service").symlink_to(f"/lib/systemd/system/{template}.service")
    (root / "var/lib/ferry").mkdir(parents=True)
    done = sh("sh", folder / "control/postrm", "remove", DPKG_ROOT=str(root))
    assert done.returncode == 0 and len(list(wants.iterdir())) == 5  # an upgrade, or installed again, goes on
    done = sh("sh", folder / "control/postrm", "purge", DPKG_ROOT=str(root))
    assert done.returncode == 0, done.stderr
    assert sorted(link.name for link in wants.iterdir()) == ["ferryd-of-somebody.service", "ssh.service"]
    assert not (root / "var/lib/ferry").exists()


@pytest.mark.long
def test_lintian_has_nothing_to_say(deb):
    if shutil.which("lintian") is None:
        pytest.fail("lintian is not set up: run `make setup`")
    done = sh("lintian", "--fail-on", "error,warning", "--allow-root", deb)
    assert done.returncode == 0, done.stdout + done.stderr
