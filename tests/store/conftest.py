"""The small books, for each module of these tests, and a copy of them for each test that spoils it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from purser.store.db import Database
from tests import databases
from tests.store.small_books import Books, copy, tell_story


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    made = Books(databases.at(tmp_path_factory.mktemp("books") / "purser.db"))
    tell_story(made)
    yield made
    made.close()


@pytest.fixture(scope="module")
def copied(books: Books, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the books that nobody has open."""
    path = tmp_path_factory.mktemp("copy") / "purser.db"
    copy(books.db, path).dispose()
    return path


@pytest.fixture
def spoilt(copied: Path, tmp_path: Path) -> Iterator[Database]:
    """A copy of the books, to be spoilt."""
    made = Database(databases.at(tmp_path / "copy.db", like=copied))
    yield made
    made.dispose()
