"""The repository keeps the house rules, and each rule is shown to catch what it is there for."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tools import architecture, tidy
from tools.tidy import RULES, Finding, Source

ROOT = Path(__file__).resolve().parent.parent
BY_NAME = {rule.name: rule for rule in RULES}


@cache
def repository() -> tuple[Source, ...]:
    return tuple(tidy.repository(ROOT))


def report(findings: list[Finding]) -> str:
    return "\n".join(["", *map(str, findings)])


def expect_none(findings: list[Finding]) -> None:
    if findings:
        pytest.fail(report(findings), pytrace=False)


@pytest.mark.parametrize("name", BY_NAME)
def test_the_repository_keeps_the_rule(name: str) -> None:
    findings = [finding for source in repository() for finding in BY_NAME[name].findings(source)]
    expect_none(findings)


def test_every_module_is_used() -> None:
    expect_none(tidy.unused_modules(repository()))


def test_the_list_of_long_modules_is_still_needed() -> None:
    lengths = {source.path: len(source.text.splitlines()) for source in repository()}
    for path, reason in tidy.LONG_MODULES.items():
        assert reason.strip(), f"{path}: say why it may be long"
        assert lengths.get(path, 0) > tidy.MODULE_LINES, f"{path}: short or gone; take it off LONG_MODULES"


def test_the_repository_is_found() -> None:
    paths = {source.path for source in repository()}
    assert {"src/purser/__init__.py", "tests/test_tidy.py", "pyproject.toml", "Makefile", ".ci/run"} <= paths
    assert not [path for path in paths if ".venv" in path or "__pycache__" in path]


# Made of pieces, so that this file itself keeps the rules.
HOST = ".".join(["pypi", "org"])
HOME = "/".join(["", "home", "someone"])
NOTE = "".join(["TO", "DO"])
LONG_BODY = "\n".join(["def pay():", *["    x = 1"] * 60])

# Each rule catches: (rule, path, text, line of the finding).
CAUGHT = [
    ("module length", "src/purser/core/a.py", "x = 1\n" * 401, 401),
    ("function length", "src/purser/flows/a.py", LONG_BODY, 1),
    ("function length", "src/purser/flows/a.py", "async " + LONG_BODY, 1),
    ("banned names", "src/purser/core/utils.py", "x = 1", 1),
    ("banned names", "src/purser/common/a.py", "x = 1", 1),
    ("banned names", "src/purser/core/a.py", "class PaymentService: pass", 1),
    ("banned names", "src/purser/core/a.py", "class HTTPHandler: pass", 1),
    ("banned names", "src/purser/core/a.py", "x = 1\ndef _pay_impl(): pass", 2),
    ("banned names", "src/purser/core/a.py", "class A:\n    def base_price(self): pass", 2),
    ("banned names", "tests/core/a.py", "def helper(): pass", 1),
    ("docstring", "src/purser/core/a.py", "x = 1", 1),
    ("docstring", "src/purser/core/__init__.py", "", 1),
    ("docstring", "src/purser/core/a.py", '"""What is true"""', 1),
    ("docstring", "src/purser/core/a.py", '"""What is true\n\nA second paragraph.\n"""', 1),
    ("unfinished", "src/purser/core/a.py", f"x = 1  # {NOTE}: round", 1),
    ("unfinished", "docs/page.md", f"line\n{NOTE} write this\n", 2),
    ("machine paths", "src/purser/core/a.py", f"x = '{HOME}/purser.db'", 1),
    ("machine paths", "docs/page.md", "cd " + "/".join(["", "root", "purser"]), 1),
    ("machine paths", "Makefile", "x = " + "/".join(["", "work"]), 1),
    ("registry hosts", "pyproject.toml", f"url = 'https://{HOST}/simple'", 1),
    ("integers only", "src/purser/core/a.py", "x = 1\ny = 0.5", 2),
    ("integers only", "src/purser/core/a.py", "x = 1e9", 1),
    ("integers only", "src/purser/core/a.py", "x = float('1')", 1),
    ("integers only", "src/purser/core/a.py", "def pay(x: float) -> None: ...", 1),
    ("integers only", "src/purser/core/a.py", "x = 4 / 2", 1),
    ("integers only", "src/purser/core/a.py", "x = 4\nx /= 2", 2),
    ("integers only", "src/purser/core/a.py", "x = round(4)", 1),
    ("told", "src/purser/core/a.py", "import datetime\nx = datetime.datetime.now()", 2),
    ("told", "src/purser/flows/a.py", "from datetime import date\nx = date.today()", 2),
    ("told", "src/purser/store/a.py", "import time\ndef f(clock=time.time): ...", 2),
    ("told", "src/purser/store/a.py", "from time import time_ns", 1),
    ("told", "src/purser/flows/a.py", "import time\nx = time.monotonic()", 2),
    ("told", "src/purser/core/a.py", "import random", 1),
    ("told", "src/purser/flows/a.py", "from secrets import token_hex", 1),
    ("told", "src/purser/flows/a.py", "from uuid import uuid4", 1),
    ("told", "src/purser/flows/a.py", "import uuid\nx = uuid.uuid4()", 2),
    ("told", "src/purser/flows/a.py", "import os\nx = os.urandom(8)", 2),
    ("no assert", "src/purser/gateway/a.py", "assert True", 1),
    ("no print", "src/purser/gateway/a.py", "print('here')", 1),
    ("no bare except", "src/purser/gateway/a.py", "try:\n    x = 1\nexcept:\n    pass", 3),
    ("sql in store", "src/purser/flows/a.py", "from sqlalchemy import select", 1),
    ("sql in store", "src/purser/inbound/a.py", "def f():\n    import sqlalchemy.exc", 2),
    ("tests assert", "tests/core/test_a.py", "x = 1", 1),
    ("tests assert", "tests/core/test_a.py", "def test_b():\n    assert 1\n\ndef test_a():\n    f()", 4),
    ("tests assert", "tests/core/test_a.py", "assert 1\nasync def test_a():\n    recheck()", 2),
]

# And lets pass what only looks like it.
PASSED = [
    ("module length", "src/purser/core/a.py", "x = 1\n" * 400),
    ("module length", "src/purser/store/migrations/versions/0001_first.py", "x = 1\n" * 500),
    ("function length", "src/purser/flows/a.py", LONG_BODY.removesuffix("\n    x = 1")),
    (
        "function length",
        "src/purser/flows/a.py",
        'def pay():\n    """Pay.' + "\n" * 70 + '    """\n    return 1',
    ),
    ("banned names", "src/purser/inbound/api/service_accounts.py", "class ServiceAccount: pass"),
    ("banned names", "src/purser/core/a.py", "def serviceTier(): pass\ndef base_url(): pass"),
    ("banned names", "src/purser/core/a.py", "base = 1\nhandler = 2\ndef database(): pass"),
    ("banned names", "src/purser/core/a.py", "def simplify(): pass\ndef baseline(): pass"),
    ("banned names", "tests/core/test_a.py", "def test_what_they_have_in_common(): pass"),
    ("docstring", "src/purser/core/a.py", '"""HTTP/1.1, e.g. ours, on two\nlines. And more"""'),
    ("unfinished", "src/purser/core/a.py", "MAXXX = 1  # todos"),
    ("machine paths", "src/purser/inbound/a.py", f"x = '/v1/workers', '/workflow', 'docs{HOME}', '/home'"),
    ("integers only", "src/purser/core/a.py", "x = 7 // 2\ny = '1.5'  # a / b"),
    ("integers only", "src/purser/inbound/a.py", "x = 1 / 2"),
    (
        "told",
        "src/purser/core/a.py",
        "from datetime import datetime\nx = datetime.fromisoformat('2026-03-01')",
    ),
    ("told", "src/purser/store/a.py", "import time\nx = time.monotonic()"),
    ("told", "src/purser/gateway/a.py", "import secrets, time\nx = time.time()"),
    ("no print", "src/purser/inbound/cli/a.py", "print('here')"),
    ("no print", "src/purser/main.py", "print('here')"),
    ("no bare except", "src/purser/a.py", "try:\n    x = 1\nexcept ValueError:\n    pass"),
    ("sql in store", "src/purser/store/a.py", "import sqlalchemy"),
    (
        "tests assert",
        "tests/core/test_a.py",
        "def test_a():\n    with pytest.raises(ValueError):\n        f()",
    ),
    ("tests assert", "tests/core/test_a.py", "def test_a():\n    expect_balance(1)\n\ndef ask(): pass"),
    ("tests assert", "tests/core/ledger.py", "def book(): pass"),
]


@pytest.mark.parametrize(("name", "path", "text", "line"), CAUGHT)
def test_the_rule_catches(name: str, path: str, text: str, line: int) -> None:
    findings = BY_NAME[name].findings(Source(path, text))
    assert [finding.line for finding in findings] == [line], report(findings)
    assert str(findings[0]).startswith(f"{path}:{line}: ")


@pytest.mark.parametrize(("name", "path", "text"), PASSED)
def test_the_rule_lets_pass(name: str, path: str, text: str) -> None:
    expect_none(BY_NAME[name].findings(Source(path, text)))


def test_every_rule_is_shown_to_catch_something() -> None:
    assert {name for name, *_ in CAUGHT} == set(BY_NAME)


def test_unused_modules_are_found() -> None:
    sources = [
        Source("src/purser/__init__.py", ""),
        Source("src/purser/main.py", "from purser.flows import credits\nimport purser.core.money\n"),
        Source("src/purser/flows/__init__.py", ""),
        Source("src/purser/flows/credits.py", "from ..core import period\nLAZY = 'purser.inbound.status:app'"),
        Source("src/purser/flows/orphan.py", "from purser.flows import orphan"),
        Source("src/purser/core/money.py", ""),
        Source("src/purser/core/period.py", ""),
        Source("src/purser/inbound/status.py", ""),
        Source("src/purser/inbound/credits.py", ""),
        Source("src/purser/store/migrations/env.py", ""),
    ]
    assert [finding.path for finding in tidy.unused_modules(sources)] == [
        "src/purser/flows/orphan.py",
        "src/purser/inbound/credits.py",
    ]


# The architecture table


def test_the_architecture_table_has_packages_before_their_modules_in_import_order(tmp_path: Path) -> None:
    for name, text in {
        "__init__": "All of it.",
        "main": "The start. And more.",
        "core/__init__": "What is true.",
        "core/money": "Money, e.g. dollars | cents,\nas integers. Rounded once.",
        "zebra": "Unknown to the order, so last.",
    }.items():
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f'"""{text}"""\n')
    assert architecture.table(tmp_path).splitlines()[2:] == [
        "| **purser** | All of it. |",
        "| `main.py` | The start. |",
        "| **core** | What is true. |",
        r"| `core/money.py` | Money, e.g. dollars \| cents, as integers. |",
        "| `zebra.py` | Unknown to the order, so last. |",
    ]


def test_the_table_goes_between_the_markers_and_nowhere_else() -> None:
    page = f"before\n{architecture.BEGIN}\nold\n{architecture.END}\nafter\n"
    new = architecture.filled(page, "new")
    assert new == f"before\n{architecture.BEGIN}\nnew\n{architecture.END}\nafter\n"
    with pytest.raises(ValueError, match="each once"):
        architecture.filled("a page without markers", "new")


# The build files


def requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["dev"]]


def test_every_dependency_is_bounded_and_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    for pin in pins:
        assert re.fullmatch(r"[\w.\-]+==[\w.]+", pin), f"constraints.txt: {pin!r} must be name==version"
    pinned = {canonical(pin.split("==")[0]) for pin in pins}
    for requirement in requirements():
        name = re.split(r"[<>=~! \[;]", requirement)[0]
        assert ">=" in requirement, f"pyproject.toml: {requirement} needs a lower bound"
        assert "<" in requirement, f"pyproject.toml: {requirement} needs an upper bound"
        assert canonical(name) in pinned, f"constraints.txt: {name} is not pinned; run `make constraints`"


def test_every_run_time_dependency_has_its_paragraph_in_the_decision_record() -> None:
    record = (ROOT / "docs" / "decisions" / "0002-dependencies.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        name = re.split(r"[<>=~! \[;]", requirement)[0]
        assert f"**{name}**" in record, f"docs/decisions/0002-dependencies.md: say what {name} is needed for"


def test_the_installed_version_is_the_packages_own() -> None:
    import purser

    assert importlib.metadata.version("purser") == purser.__version__


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
