"""People: addresses as identities, and the names that follow from them."""

from __future__ import annotations

import pytest

from purser.core.errors import Invalid
from purser.core.people import lower, mailbox, read_address, short_name


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("ada@example.com", "ada@example.com"),
        (" Ada.B+x@Example.COM ", "ada.b+x@example.com"),
        ("a@b", "a@b"),
        (f"{'A' * 64}@b", f"{'a' * 64}@b"),
    ],
)
def test_an_address(given: str, address: str) -> None:
    assert read_address(given) == address


@pytest.mark.parametrize(
    "given",
    [
        *(None, 7, "", "ada", "@example.com", "ada@", "a@b@c", "ada@example.com,eve@example.com"),
        *("Ada <ada@example.com>", "a b@c", "ada@example.com\nBcc: x@y", "ada@exa\0mple", '"a"@b', "a;b@c"),
        *(f"{'a' * 65}@b", "ÄDA@example.com"),
    ],
)
def test_no_address(given: object) -> None:
    with pytest.raises(Invalid, match="email must be one e-mail address"):
        read_address(given)


def test_small_letters() -> None:
    assert lower("Ada@ÉX.com") == "ada@Éx.com"


@pytest.mark.parametrize(
    ("address", "box"),
    [
        ("ada@example.com", "ada@example.com"),
        ("ada+1+2@example.com", "ada@example.com"),
        ("+x@example.com", "+x@example.com"),
    ],
)
def test_a_mailbox(address: str, box: str) -> None:
    assert mailbox(address) == box


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("Ada.B+x@example.com", "ada-b"),
        ("_@example.com", "user"),
        ("ÄÖ@example.com", "user"),
        ("a" * 60 + "@b", "a" * 40),
    ],
)
def test_a_short_name(address: str, name: str) -> None:
    assert short_name(address) == name
