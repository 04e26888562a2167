"""Mutation tests: which faults are made, that tests run against them, and what is argued about those that remain."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools import mutants
from tools.mutants import PAGE, argued, unknown_arguments

ROOT = Path(__file__).resolve().parent.parent

# (code, what could stand there wrongly)
FAULTS = [
    ("a < b", ["a <= b"]),
    ("a <= b <= c", ["a < b <= c", "a <= b < c"]),
    ("a >= b", ["a > b"]),
    ("a == b", ["a != b"]),
    ("a is not None", ["a is None"]),
    ("a in b", ["a not in b"]),
    ("a + b", ["a - b"]),
    ("a // b", ["a * b", "-(-a // b)"]),
    ("a % b", ["a // b"]),
    ("a and b", ["a or b"]),
    ("not a", ["a"]),
    ("-a", ["a"]),
    ("b if a else c", ["b if not a else c"]),
    ("b if a < 7 else c", ["a <= 7", "8", "6"]),
    ("True", ["False"]),
    ("min(a, b)", ["max(a, b)"]),
    ("replace(a, b=c, d=e)", ["replace(a, d=e)", "replace(a, b=c)"]),
    ('f"{a + b}"', []),
]


@pytest.mark.parametrize("code, faults", FAULTS)
def test_the_faults_of_an_expression(code: str, faults: list[str]) -> None:
    made = list(mutants.mutants("money", f"def pay(a: int = x + 1):\n    y: int = {code}\n"))
    assert [one.after for one in made if one.line == 2] == faults
    assert {(one.function, one.path) for one in made} == {("pay", "src/purser/core/money.py")}


STATEMENTS = """
class A:
    def pay(self):
        "So much."
        a = 1
        b(a)
        if a:
            raise C
        return a
"""


def test_the_faults_of_statements() -> None:
    made = [(one.function, one.before, one.after) for one in mutants.mutants("money", STATEMENTS)]
    assert made == [
        ("A.pay", "a = 1", "pass"),
        ("A.pay", "1", "2"),
        ("A.pay", "1", "0"),
        ("A.pay", "b(a)", "pass"),
        ("A.pay", "if a", "if not a"),
        ("A.pay", "raise C", "pass"),
        ("A.pay", "return a", "return None"),
    ]


def test_what_stands_twice_in_a_function_is_told_apart() -> None:
    made = [one.before for one in mutants.mutants("money", "def pay():\n    f(0 if a else 0)\n") if one.after == "1"]
    assert made == ["0", "0 #2"]


def test_every_guard_of_standing_is_noticed() -> None:
    """A share of `make mutants`, in a process without threads."""
    guards = sum(one.guard for one in mutants.read("standing"))
    command = [sys.executable, "-m", "tools.mutants", "standing", "--guards"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    told = f"{guards} faults: 0 that nobody notices or argues about\n"
    assert (done.returncode, done.stdout, guards > 5) == (0, told, True), done.stderr


SURVIVOR = """
from dataclasses import replace
from pathlib import Path
from tools.mutants import read, survivors
one = read("ids")[0]
harmless = replace(one, compiled=lambda: compile(Path(one.path).read_text(), "ids.py", "exec"))
print([found is harmless for found in survivors([harmless, one])])
"""


def test_what_no_test_notices_is_found() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SURVIVOR], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.stdout == "[True]\n", done.stderr


# ── what is argued ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_page_argues_about_code_that_there_is() -> None:
    assert unknown_arguments(PAGE.read_text(encoding="utf-8")) == []


def test_an_argument_names_the_code_and_the_fault() -> None:
    page = "| `core/lease.py` | `grant` | `a \\| b < 1` | `a \\| b <= 1` | because |\n| other | table |\n"
    assert argued(page) == {("core/lease.py", "grant", "a | b < 1", "a | b <= 1"): "because"}
    assert unknown_arguments(page) == ["core/lease.py | grant | a | b < 1 | a | b <= 1"]
