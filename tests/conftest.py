"""Which database the tests run on, and which tests that concerns."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import databases, postgres

# What these are about keeps no books, or keeps them in memory, so that once, on SQLite, is enough.
WITHOUT_DATABASE = (
    "bench",
    "core",
    "http",
    "model",
    "modelserver",
    "outbound",
    "simulator",
    "test_imports.py",
    "test_mutants.py",
    "test_settings.py",
    "test_tidy.py",
)

# What takes longest comes first, so that the processes of the tests end together.
LONGEST = ("crash", "simulator", "properties", "faults", "demo", "steady", "model", "stories")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--database` and `--long`."""
    kinds = (databases.SQLITE, databases.POSTGRESQL)
    parser.addoption(
        "--database", choices=kinds, default=databases.SQLITE, help="what the tests that keep books run on"
    )
    parser.addoption("--long", action="store_true", help="also the tests that take minutes")


def pytest_configure(config: pytest.Config) -> None:
    """Start a PostgreSQL server where one is needed, once for all processes of the tests."""
    kind = config.getoption("--database")
    databases.use(kind)
    databases.share_what_is_compiled()
    if kind == databases.POSTGRESQL and databases.VARIABLE not in os.environ:
        try:
            server = postgres.start()
        except postgres.CannotStart as error:
            raise pytest.UsageError(str(error)) from None
        os.environ[databases.VARIABLE] = server.url
        config.add_cleanup(server.stop)
    config.add_cleanup(databases.close)  # before its server is stopped


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Do not even look at what has nothing to do with the database chosen."""
    below = collection_path.is_relative_to(Path(__file__).parent) and collection_path != Path(__file__).parent
    return True if below and not databases.is_sqlite() and _part(collection_path) in WITHOUT_DATABASE else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what has nothing to do with the database chosen, and what takes minutes where that is not asked for."""
    long = config.getoption("--long")
    concerned: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        wanted = long or item.get_closest_marker("long") is None
        (concerned if wanted and _concerned(item) else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = sorted(concerned, key=_place)


def _concerned(item: pytest.Item) -> bool:
    if databases.is_sqlite():
        return item.get_closest_marker("postgresql") is None
    return item.get_closest_marker("once") is None and item.get_closest_marker("sqlite") is None


def _place(item: pytest.Item) -> int:
    part = _part(item.path)
    return LONGEST.index(part) if part in LONGEST else len(LONGEST)


def _part(path: Path) -> str:
    return path.relative_to(Path(__file__).parent).parts[0]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a program that is missing."""
    if item.get_closest_marker("hledger") and shutil.which("hledger") is None:
        assert not ("CI" in os.environ and os.geteuid() == 0), "hledger is missing, and .ci/run could not install it"
        pytest.skip("hledger is not installed")


@pytest.fixture(autouse=True)
def own_databases() -> Iterator[None]:
    """What a test has made of databases is gone after it; what was made for its whole module stays until the end."""
    with databases.dropped_afterwards():
        yield


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was run on, and what tests have measured."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"measured: {name}: {value}")
