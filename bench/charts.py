"""The tables of one run as bars: build/venv/bin/python bench/charts.py results.json FOLDER"""

import json
import statistics
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot

mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "ferry", "font.size": 9})
COLORS = {"bare": "#999999", "ferryd": "#1f6fb4", "librdkafka": "#d98c21", "mm2": "#b4431f"}


def color(contender):
    return COLORS[contender.split("-")[0]]


def bars(axis, rows, text):
    """`rows`: [(name, median, least, most)], one above the other; the axis is logarithmic: they are far apart."""
    names, middles, lows, highs = zip(*rows, strict=True)
    errors = [
        [m - low for m, low in zip(middles, lows, strict=True)],
        [high - m for m, high in zip(middles, highs, strict=True)],
    ]
    axis.barh(names, middles, xerr=errors, color=[color(n) for n in names], error_kw={"lw": 1})
    for n, middle in enumerate(middles):
        axis.annotate(f" {middle:.3g}", (highs[n], n), va="center")
    axis.set_xscale("log")
    axis.margins(x=0.25)
    axis.invert_yaxis()
    axis.set_title(text, loc="left", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)


def spread(values):
    return statistics.median(values), min(values), max(values)


def draw(panels, label, path):
    figure, axes = pyplot.subplots(len(panels), 1, figsize=(7, 1.1 + 1.5 * len(panels)), squeeze=False)
    for axis, (text, rows) in zip(axes[:, 0], panels, strict=True):
        bars(axis, rows, text)
    axes[-1, 0].set_xlabel(label)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def cost_panels(results, key):
    panels = []
    for one in results:
        rows = [(n, *spread([r[key] for r in found])) for n, found in one["rows"].items() if found and key in found[0]]
        panels.append((f"{one['load']}: {one['text']}{one.get('where', '')}", rows))
    return panels


def latency_panels(rows):
    panels = []
    for key in ("p50", "p99"):
        found = [(name, *spread([r["mirror"][key] for r in rounds])) for name, rounds in rows.items()]
        panels.append((f"{key} behind the mirror", found))
    return panels


def main():
    document = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    if document["results"]:
        draw(cost_panels(document["results"], "cpu_per_gb"), "CPU-seconds per GB of log", folder / "cpu.svg")
        broker = cost_panels(document["results"], "target_broker_cpu_per_gb")
        draw(broker, "CPU-seconds of the target broker per GB of log", folder / "broker.svg")
    if document.get("latency"):
        draw(latency_panels(document["latency"]), "milliseconds", folder / "latency.svg")


if __name__ == "__main__":
    main()
