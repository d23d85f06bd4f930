"""The table of scenarios in README.md tells the truth: each test that it names is there and says the number itself."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
UNITS = HERE.parent / "unit"
ROW = re.compile(r"^\| (S\d+) \|[^|]*\|([^|]*)\|$")
COVERED = [*range(1, 35), *range(55, 63)]  # process, source, target, Redis; network and hostile input
NUMBER = re.compile(r"\bS\d+\b")


def table():
    """{"S1": [(file, test)]}"""
    rows = {}
    for line in (HERE / "README.md").read_text().splitlines():
        match = ROW.match(line)
        if match:
            assert match[1] not in rows, f"{match[1]} has two rows"
            rows[match[1]] = [tuple(name.split("::")) for name in re.findall(r"`([^`]+)`", match[2])]
    return rows


def said_by():
    """{(file, test): numbers} of every test: of its docstring, or of the comment above it in C."""
    said = {}
    for path in HERE.glob("test_*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                said[path.name, node.name] = set(NUMBER.findall(ast.get_docstring(node) or ""))
    for path in UNITS.glob("test_*.c"):
        text = path.read_text()
        for comment, name in re.findall(r"((?:/\*(?:[^*]|\*(?!/))*\*/\n)?)static void (\w+)\(void \*\*state\)\n", text):
            said[path.name, name] = set(NUMBER.findall(comment))
    return said


def test_each_scenario_has_tests_that_name_it():
    rows, said = table(), said_by()
    assert set(rows) == {f"S{n}" for n in COVERED}
    for number, tests in rows.items():
        assert tests, f"{number} has no test"
        for test in tests:
            assert test in said, f"{number}: there is no {'::'.join(test)}"
            assert number in said[test], f"{'::'.join(test)} does not say {number}"


def test_each_test_that_names_one_stands_in_the_table():
    rows = table()
    for test, numbers in said_by().items():
        for number in numbers:
            assert test in rows.get(number, []), f"{'::'.join(test)} says {number}, the table does not know"
