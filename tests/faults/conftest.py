"""The small books, and a PostgreSQL server of a module's own, for the tests of what a machine can do to both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from purser.main.process import raise_file_limit
from tests import postgres
from tests.store.conftest import books, copied, spoilt

__all__ = ["books", "copied", "spoilt"]


@pytest.fixture(scope="session", autouse=True)
def many_connections() -> None:
    """A crowd of clients has more connections than a laptop's usual limit of open files."""
    raise_file_limit()


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL server that nobody else uses, so that it may be killed."""
    found = postgres.start()
    yield found
    found.stop()
