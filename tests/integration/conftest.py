"""Clusters are started once a session and shared; topics, services and folders are a test's own.

A test that stops, truncates or reconfigures brokers starts clusters of its own (fixture `new_cluster`).
"""

import contextlib
import os
import re
import shutil

import pytest

from rig import as_root, procs
from rig.engine import Engine, NoEngine
from rig.kafka import KafkaCluster, kafka_ready, start_together
from rig.paths import BUILD, remove_run_dirs
from rig.permitted import Permitted, strict_sites
from rig.proxy import Door
from rig.redis import RedisServer

procs.end_on_signals()


def pytest_sessionstart(session):
    if not kafka_ready():
        pytest.exit("Kafka is not set up: run `make setup`", returncode=2)


def pytest_collection_modifyitems(items):
    as_root.hand_over(items)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    return as_root.run(pyfuncitem) or None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, f"report_{call.when}", outcome.get_result())


@pytest.fixture(scope="session")
def session_dir():
    remove_run_dirs(BUILD / "test")
    folder = BUILD / "test" / f"session-{os.getpid()}"
    folder.mkdir(parents=True)
    yield folder
    remove_run_dirs()


@pytest.fixture(scope="session")
def sites(session_dir):
    """Two one-broker clusters that live as long as the session: (source, target)."""
    clusters = start_together(
        *(KafkaCluster(n, workdir=session_dir / "kafka", listeners={"door": Door()}) for n in ("source", "target"))
    )
    for cluster in clusters:
        cluster.warm_coordinators()
    yield clusters
    for cluster in clusters:
        cluster.stop(timeout=0, remove=True)


@pytest.fixture(scope="session")
def source(sites):
    return sites[0]


@pytest.fixture(scope="session")
def target(sites):
    return sites[1]


@pytest.fixture(scope="module")
def engine(session_dir):
    """A container engine of the module's own; where none can be started its tests are skipped, and say why."""
    try:
        with Engine(session_dir / "engine") as engine:
            yield engine
    except NoEngine as why:
        pytest.skip(f"no container engine: {why}")


@pytest.fixture
def doors(source, target):
    """(source's, target's): what Ferry passes whose site is door.site(cluster); straight again after the test."""
    both = source.listeners["door"], target.listeners["door"]
    yield both
    for door in both:
        door.clean()


@pytest.fixture(scope="session")
def strict(session_dir):
    """Two clusters with an authorizer that live as long as the session: (source, target)."""
    clusters = strict_sites(session_dir / "strict")
    yield clusters
    for cluster in clusters:
        cluster.stop(timeout=0, remove=True)


@pytest.fixture
def permitted(own, folder, strict, redis_server, name):
    """A line of this test on them; its ACLs go with it."""
    made = []

    def make(**more):
        made.append(Permitted(own, folder, strict, more.pop("redis", redis_server), name, **more))
        return made[-1]

    yield make
    for one in made:
        one.revoke()


@pytest.fixture(scope="session")
def redis_server(session_dir):
    """A Redis that lives as long as the session; services have names of their own in it."""
    with RedisServer("shared", workdir=session_dir) as server:
        yield server


@pytest.fixture
def folder(request, session_dir):
    """A test's own folder; kept when the test fails, with the logs of what it ran."""
    path = session_dir / re.sub(r"\W+", "-", request.node.name).strip("-")
    path.mkdir(parents=True)
    yield path
    reports = [getattr(request.node, f"report_{when}", None) for when in ("setup", "call")]
    if all(report is None or not report.failed for report in reports):
        shutil.rmtree(path, ignore_errors=True)
    else:
        print(f"\nlogs are kept in {path}")


@pytest.fixture
def own(folder):
    """Start what ends with the test, in reverse order: own(KafkaCluster(...).start()), own(Worker(...).start())."""
    with contextlib.ExitStack() as stack:

        def take(thing):
            if hasattr(thing, "__exit__"):
                stack.push(thing)
            else:
                stack.callback(_end, thing)
            return thing

        yield take


def _end(thing):
    if getattr(thing, "alive", False):
        thing.kill9()


@pytest.fixture
def new_cluster(folder, own):
    """Clusters of this test alone: new_cluster("a", brokers=2, props={...}), started, ended with the test."""

    def make(name, start=True, **more):
        cluster = own(KafkaCluster(name, workdir=folder, **more))
        return cluster.start() if start else cluster

    return make


@pytest.fixture
def new_redis(folder, own):
    def make(name="redis", **more):
        return own(RedisServer(name, workdir=folder, **more)).start()

    return make


@pytest.fixture
def own_sites(new_cluster, new_redis):
    """(source, target, redis) of a test's own: it stops or changes brokers."""

    def make(source_brokers=1, target_brokers=1, source_props=None, target_props=None):
        source = new_cluster("src", brokers=source_brokers, props=source_props)
        target = new_cluster("dst", brokers=target_brokers, props=target_props)
        target.warm_coordinators()
        return source, target, new_redis()

    return make


@pytest.fixture
def name(request):
    """A word of this test alone, for its topics, services and groups."""
    word = re.sub(r"\W+", "-", request.node.name.removeprefix("test_")).strip("-")
    return word[:60]
