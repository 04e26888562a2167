"""Keys are looked up by a keyed hash alone, so that how long it takes says nothing of a key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from purser.core.errors import Unauthenticated
from purser.core.ids import digest_key
from purser.flows import access, accounts
from tests import databases
from tests.statements import told
from tests.store.small_books import Books

LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"


@pytest.mark.once
def test_keys_that_are_nearly_alike_have_nothing_in_common_where_they_are_looked_up() -> None:
    key, salt = "pk_" + "0" * 40, bytes(32)
    digests = [digest_key(key[:place] + "1" + key[place + 1 :], salt) for place in range(3, 43)]
    whole = int.from_bytes(digest_key(key, salt))
    distances = [(whole ^ int.from_bytes(digest)).bit_count() for digest in digests]
    assert all(80 < bits < 176 for bits in distances), distances
    assert len({digest[:4] for digest in digests}) == len(digests)
    assert digest_key(key, salt) != digest_key(key, bytes(31) + b"\1"), "nor can it be computed elsewhere"


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """A database without an account."""
    books = Books(databases.at(tmp_path / "purser.db"))
    yield books
    books.close()


def test_nothing_of_the_key_itself_reaches_the_database(books: Books) -> None:
    """Neither for a right key nor for a wrong one: what is asked is one digest, found in an index."""
    secret = books.writer.run(lambda tx: accounts.open_account(tx, "ada", "ada@example.com")).secret
    asked: list[tuple[str, Any]] = []
    with books.db.read() as conn:
        salt = access.pepper(conn)
        near = secret[:-1] + next(letter for letter in LETTERS if letter != secret[-1])
        with told(conn, lambda statement, values: asked.append((statement, values))):
            assert access.authenticate(conn, secret, 0, salt).account == "ada"
            with pytest.raises(Unauthenticated):
                access.authenticate(conn, near, 0, salt)
    assert any(digest_key(secret, salt) in _values(values) for _, values in asked)
    assert any(digest_key(near, salt) in _values(values) for _, values in asked)
    for statement, values in asked:
        texts = [value for value in _values(values) if isinstance(value, str) and len(value) >= 8]
        assert not any(text[:8] in secret + near for text in texts), statement


def _values(given: Any) -> list[Any]:
    """The values of a statement, as they were before a driver wrapped them."""
    wrapped = given.values() if isinstance(given, dict) else given
    values = [getattr(each, "obj", each) for each in wrapped]
    return [bytes(each) if isinstance(each, memoryview) else each for each in values]
