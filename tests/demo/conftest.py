"""One demo for a whole module of tests: alone, or with four workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from purser.main.process import raise_file_limit
from tests.demo.program import Program, demo


@pytest.fixture(scope="session", autouse=True)
def many_connections() -> None:
    """The crowd of clients is larger than a laptop's usual limit of open files."""
    raise_file_limit()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A demo in one process; at its end the audit finds nothing wrong."""
    with demo(tmp_path_factory.mktemp("alone")) as found:
        yield found
        assert found.violations() == []


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A demo with four workers on one database; at its end the audit finds nothing wrong."""
    with demo(tmp_path_factory.mktemp("workers"), "--workers", "4") as found:
        yield found
        assert found.violations() == []
