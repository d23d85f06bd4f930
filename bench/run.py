"""The mirror against its rivals and against the limit, in one run.

    build/venv/bin/python bench/run.py                        5 rounds, loads a b c: what the README quotes
    ... --rounds 1 --scale 0.1 --loads a                      a quick look
    ... --full --rounds 3                                     everything that is below, an hour and a quarter
    ... --secure                                              SASL_SSL on both sides
    ... --far                                                 a line with 80 ms there and back, RF 3 (root)
    ... --latency                                             latency at 1,000 records/s
    ... --kill                                                records doubled by a kill -9 at half

--full: every contender on load a, the main ones (bare, ferryd, mm2, librdkafka) on the others, ferryd and mm2 over
SASL_SSL (a, b) and on the far line, latency of ferryd and both kinds of mm2 five times whatever --rounds says.

Contenders, alternating within each round: `bare` (recv + send of the same bytes, no Kafka), `ferryd`, `ferryd-records`
(the path records), `mm2` (Apache MirrorMaker 2, tuned: mm2-tuned.properties), `mm2-fast` (linger 0), `mm2-eos`
(exactly-once), `librdkafka` (rdkafka_copy.c: a consumer and a producer). All copy to one target broker, which a plain
producer has warmed up with the same load, twice: else the compilers of its JVM are what is measured. Between two copies
every topic and group there is deleted. The source's log files are in the page cache before each measurement, and each
copy is counted afterwards.

CPU is user + system of the contender's process from /proc. MirrorMaker 2 is measured in its steady window (25 % to 95 %
copied), after the JVM has warmed up; the others from their start to the last record, everything included. The target
broker's CPU is that of the same window (25 % to 95 %) for all.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from confluent_kafka import KafkaException  # noqa: E402

import latency  # noqa: E402
from contenders import ALL, Ends, broker_cpu  # noqa: E402
from loads import LOADS, log_bytes, log_files, preload, warm  # noqa: E402
from rig import netns  # noqa: E402
from rig.kafka import KafkaCluster, start_together  # noqa: E402
from rig.paths import BUILD  # noqa: E402
from rig.procs import end_on_signals  # noqa: E402
from rig.secure import Authority, Listener  # noqa: E402

FAR_BYTES_PER_S = 60e6
MAIN = ("bare", "ferryd", "mm2", "librdkafka")
PAIR = ("ferryd", "mm2")
LATENCY = ("ferryd", "mm2", "mm2-fast")


def say(text):
    print(text, flush=True)


def empty(target):
    """Nothing of the last contender is left: topics, groups."""
    admin = target.admin
    for group in admin.list_consumer_groups().result(30).valid:
        for future in admin.delete_consumer_groups([group.group_id]).values():
            with contextlib.suppress(KafkaException):  # members that were killed live on for a session
                future.result(30)
    for topic in [name for name in target.topics() if not name.startswith("__")]:
        target.delete_topic(topic)


def empty_source(source):
    """A group of its own there goes on where it was."""
    for future in source.admin.delete_consumer_groups(["rdkafka-copy"]).values():
        with contextlib.suppress(KafkaException):
            future.result(30)


def warm_target(target, folder, load, records):
    """Returns what the load costs the brokers when plain producers write it: CPU-seconds, the second time."""
    target.warm_coordinators()
    for n in range(2):
        before = broker_cpu(target)
        preload(target, folder, load, records, topic=f"warm-{n}")
    return broker_cpu(target) - before


@contextlib.contextmanager
def clusters(name, folder, secure=False, far=None):
    """(source, target, name of the listener for contenders or None)."""
    more = [{}, {}]
    if secure:
        authority = Authority(folder / "authority")
        for side in more:
            certificate = authority.certificate("broker")
            side["listeners"] = {"sasl": Listener("SASL_SSL", authority, certificate, users={"mirror": "bench-secret"})}
    if far:
        props = {"socket.send.buffer.bytes": -1, "socket.receive.buffer.bytes": -1}
        more = [{"place": place, "brokers": 3, "props": props} for place in (far.a, far.b)]
    heap = "384m" if far else "1g"
    pair = [
        KafkaCluster(f"{end}-{name}", measured=True, heap=heap, workdir=folder, **side)
        for end, side in zip(("source", "target"), more, strict=True)
    ]
    try:
        start_together(*pair)
        yield *pair, "sasl" if secure else None
    finally:
        for cluster in pair:
            cluster.stop(timeout=0, remove=True)


def contenders_of(args, load, how):
    chosen = [c for c in args.contenders if c != "bare" or not how]
    if args.full and (how or load != args.loads[0]):
        chosen = [c for c in chosen if c in (PAIR if how else MAIN)]
    return chosen


def run_load(name, args, folder, where="", **how):
    load = LOADS[name]
    records = int(load["records"] * args.scale)
    with clusters(name, folder, secure=how.get("secure"), far=how.get("far")) as (source, target, listener):
        preload(source, folder, load, records)
        produced = warm_target(target, folder, load, records)
        ends = Ends(source, target, folder, records, log_bytes(source), load["codec"], listener)
        ends.place = how["far"].b if how.get("far") else None
        files = log_files(source)
        say(f"load {name}{where}: {load['text']}, {records:,} records, {ends.bytes / 1e9:.2f} GB of log")
        say(f"  written by plain producers it costs the target broker {produced / (ends.bytes / 1e9):.3g} CPU-s/GB")
        contenders = contenders_of(args, name, how)
        rows = {c: [] for c in contenders}
        for number in range(args.rounds):
            for contender in contenders:
                rows[contender].append(copy(contender, ends, files))
                shown = "  ".join(f"{k} {v:.3g}" for k, v in rows[contender][-1].items())
                say(f"  round {number + 1} {contender:10} {shown}")
        killed = args.kill and not how and name == args.loads[0]
        doubled = {c: kill(c, ends, files) for c in contenders if killed and c != "bare"}
    return {
        "load": name,
        "text": load["text"],
        "where": where,
        "records": records,
        "log_bytes": ends.bytes,
        "rows": rows,
        "doubled": doubled,
        "producers_broker_cpu_per_gb": produced / (ends.bytes / 1e9),
    }


def copy(contender, ends, files):
    warm(files)
    empty(ends.target)
    empty_source(ends.source)
    return ALL[contender].copy(ends, files)


def kill(contender, ends, files):
    warm(files)
    empty(ends.target)
    empty_source(ends.source)
    found = ALL[contender].copy_killed(ends)["doubled"]
    say(f"  kill -9 at half, {contender}: {found:,} records doubled")
    return found


# ---- tables ----
def middle(rows, key):
    values = [row[key] for row in rows if key in row]
    return (statistics.median(values), min(values), max(values)) if values else None


COLUMNS = ("cpu_per_gb", "cpu_per_million", "mb_per_s", "target_broker_cpu_per_gb", "rss_mb")


def table_of(one):
    name = f"{one['load']} {one['text']}{one['where']}"
    for contender, rows in one["rows"].items():
        cells = [middle(rows, key) for key in COLUMNS]
        shown = [f"{c[0]:.3g}" if c else "" for c in cells]
        shown[0] += f" ({cells[0][1]:.3g} - {cells[0][2]:.3g})"
        say(f"| {name} | {contender} | " + " | ".join(shown) + " |")
    say(f"| {name} | plain producers | | | | {one['producers_broker_cpu_per_gb']:.3g} | |")
    base = {c: middle(r, "cpu_per_gb")[0] for c, r in one["rows"].items() if r}
    for ours in [c for c in ("ferryd", "ferryd-records") if c in base]:
        for rival in base:
            if rival not in ("ferryd", "bare", ours):
                say(f"| {name} | **{rival} / {ours}** | **{base[rival] / base[ours]:.1f}** | | | | |")
    if "ferryd" in base and "bare" in base:
        say(f"| {name} | **ferryd / bare** | **{base['ferryd'] / base['bare']:.2f}** | | | | |")


def table(results):
    say(
        "\n| load | contender | CPU-s per GB of log (min - max) | CPU-s per M records | MB/s "
        "| target broker CPU-s/GB | peak RSS MB |"
    )
    say("|---|---|---|---|---|---|---|")
    for one in results:
        table_of(one)


def latency_table(rows):
    say("\n| contender | direct p50 ms | direct p99 ms | mirrored p50 ms (min - max) | mirrored p99 ms (min - max) |")
    say("|---|---|---|---|---|")
    for name, rounds in rows.items():
        cells = []
        for side in ("direct", "mirror"):
            for key in ("p50", "p99"):
                value, low, high = middle([r[side] for r in rounds], key)
                cells.append(f"{value:.3g}" + (f" ({low:.3g} - {high:.3g})" if side == "mirror" else ""))
        say(f"| {name} | " + " | ".join(cells) + " |")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the records of each load")
    parser.add_argument("--loads", nargs="*", default=["a", "b", "c"], choices=LOADS)
    parser.add_argument("--contenders", nargs="+", default=["bare", "ferryd", "mm2"], choices=ALL)
    parser.add_argument("--secure", nargs="*", default=None, choices=LOADS, help="loads over SASL_SSL (default b)")
    parser.add_argument("--far", action="store_true")
    parser.add_argument("--latency", action="store_true")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--out", type=Path, default=BUILD / "bench" / "results.json")
    parser.add_argument("--charts", type=Path, help="folder for SVG files")
    args = parser.parse_args()
    if args.full:
        args.loads, args.contenders = list(LOADS), list(ALL)
        args.far = args.latency = args.kill = True
        args.secure = args.secure or ["a", "b"]
    elif args.secure == []:
        args.secure = ["b"]
    return args


def run_far(args, folder):
    """Limited by the line: the rate is what counts."""
    with netns.FarLine(40, FAR_BYTES_PER_S) as far:
        return run_load("a", args, folder, f", 80 ms, {FAR_BYTES_PER_S / 1e6:.0f} MB/s", far=far)


def parts_of(args, folder):
    for name in args.loads:
        yield name, lambda name=name: run_load(name, args, folder)
    for name in args.secure or []:
        yield f"{name} over SASL_SSL", lambda name=name: run_load(name, args, folder, ", SASL_SSL", secure=True)
    if args.far:
        yield "far", lambda: run_far(args, folder)


def main():
    args = arguments()
    end_on_signals()
    folder = BUILD / "run" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    document = {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "rounds": args.rounds, "results": results}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    failed = []
    for name, run in parts_of(args, folder):
        try:
            results.append(run())
        except Exception:  # the other parts of an hour's run are worth having
            traceback.print_exc()
            failed.append(name)
        args.out.write_text(json.dumps(document, indent=2))  # what ends early keeps what it has
    if args.latency:
        names = [c for c in args.contenders if c in LATENCY]
        document["latency"] = latency.run(names, folder, 5 if args.full else args.rounds, say)
    args.out.write_text(json.dumps(document, indent=2))
    table(results)
    if args.latency:
        latency_table(document["latency"])
    if args.charts:
        subprocess.run([sys.executable, ROOT / "bench" / "charts.py", args.out, args.charts], check=True)
    say(f"\nwritten to {args.out}")
    if failed:
        sys.exit(f"FAILED: {', '.join(failed)} (above)")


if __name__ == "__main__":
    main()
