"""The layer rule and the order of includes, as the house style has them.

A folder includes only folders before it in the list; dns stands beside them, on base and config alone.
A main puts everything together and may include all of it.
A .c includes its own header first, then the system's, then ours, by folder. base/banned.h comes from the
compiler's command line, so nobody includes it; exit() stands in a main only.
"""

import re
import sys
from pathlib import Path

LAYERS = ["base", "config", "kafka", "offsets", "mirror", "dns", "failover", "http", "cli"]
ALONE = {"dns": {"base", "config", "dns"}}
NOT_FOR = {"mirror": {"dns"}}
MAINS = {"mirror/daemon.c", "cli/main.c"}
GENERATED = {"ferry_version.h"}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
EXIT = re.compile(r"(?<![\w.>])(?:_?exit|quick_exit)\s*\(")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')


def allowed(folder):
    if folder in ALONE:
        return ALONE[folder]
    return set(LAYERS[: LAYERS.index(folder) + 1]) - NOT_FOR.get(folder, set())


def blank(match):
    """What replaces a comment: as many lines, no words."""
    return "\n" * match.group().count("\n")


def check(path):
    name = path.as_posix()
    folder = path.parts[0]
    own = path.with_suffix(".h")
    text = COMMENT.sub(blank, path.read_text())
    rank_before = 0
    first = True
    conditional = 0
    for number, line in enumerate(text.split("\n"), 1):
        if re.match(r"\s*#\s*if", line):
            conditional += 1
        elif re.match(r"\s*#\s*endif", line):
            conditional -= 1
        match = INCLUDE.match(line)
        if not match:
            if path.suffix == ".c" and name not in MAINS and EXIT.search(STRING.sub('""', line)):
                yield number, "exit() below main: return a struct err"
            continue
        kind, what = match.groups()
        if kind == '"' and what not in GENERATED:
            where = what.split("/")[0]
            if "/" not in what:
                yield number, f'"{what}" is included without its folder'
            elif where not in LAYERS:
                yield number, f'"{what}" is in no folder of the product'
            elif where not in allowed(folder) and name not in MAINS:
                yield number, f"{folder}/ stands below {where}/ and may not include it"
            if what == "base/banned.h":
                yield number, "base/banned.h comes from the command line (-include)"
        is_own = path.suffix == ".c" and kind == '"' and what == own.as_posix()
        if first and path.suffix == ".c" and own.exists() and not is_own:
            yield number, f'the first include must be "{own.as_posix()}"'
        first = False
        if conditional and path.suffix == ".c":
            continue  # what only one machine has may stand where it is needed
        rank = 0 if is_own else 1 if kind == "<" else 2
        if rank < rank_before:
            yield number, "order of includes: own header, the system's, ours"
        rank_before = max(rank_before, rank)


def main():
    files = [f for layer in LAYERS for f in sorted(Path(layer).glob("*.[ch]")) if f.name != "banned.h"]
    found = 0
    for path in files:
        for number, why in check(path):
            print(f"{path}:{number}: {why}")
            found += 1
    if found:
        print(f"{found} findings in {len(files)} files", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
