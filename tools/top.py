"""Longest functions and files of C, and their medians: what to look at when it grows.

usage: top.py FILE.c...

Goes by the layout that clang-format gives: a function's brace opens and closes in the first column.
"""

import re
import statistics
import sys
from pathlib import Path

NAME = re.compile(r"(\w+)\s*\(")


def functions(path):
    """(lines of the body, name) of each function."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if line != "{":
            continue
        head = number - 1
        while head > 0 and not NAME.search(lines[head]):
            head -= 1
        while head > 0 and lines[head].startswith((" ", "\t")):
            head -= 1
        match = NAME.search(lines[head])
        end = next((i for i in range(number, len(lines)) if lines[i] == "}"), number)
        if match:
            yield end - number - 1, match.group(1)


def main(names):
    files = [(len(Path(n).read_text().splitlines()), n) for n in names]
    found = [(lines, f"{name}  {n}") for n in names for lines, name in functions(Path(n))]
    for title, rows in (("functions", found), ("files", files)):
        if not rows:
            continue
        print(f"{title}: {len(rows)}, median {statistics.median(lines for lines, _ in rows):.0f} lines")
        for lines, what in sorted(rows, reverse=True)[:12]:
            print(f"  {lines:5d}  {what}")


if __name__ == "__main__":
    main(sys.argv[1:])
