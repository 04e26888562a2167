"""Ids carry their kind and sort by time; ids given by callers have a shape (X2)."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core import ids
from purser.core.errors import Invalid
from purser.core.period import month_start

AT = month_start("2026-03")
MILLISECONDS = st.integers(0, 2**50 - 1)
ENTROPY = st.integers(0, 2**80 - 1)


def test_an_id_shows_its_kind_and_has_a_fixed_length() -> None:
    assert ids.make_id("inv", 0, 0) == "inv_" + "0" * 26
    assert ids.make_id("hold", 0, 31) == "hold_" + "0" * 25 + "z"
    assert len(ids.make_id("inv", AT, 2**80 - 1)) == len("inv_") + 26


@given(MILLISECONDS, MILLISECONDS, ENTROPY, ENTROPY)
def test_ids_sort_as_their_instants_do(first: int, second: int, some: int, other: int) -> None:
    one, two = ids.make_id("inv", first * 1000, some), ids.make_id("inv", second * 1000, other)
    assert (one < two) == ((first, some) < (second, other))
    assert (one == two) == ((first, some) == (second, other))


@given(ENTROPY, ENTROPY)
def test_ids_of_one_millisecond_differ_where_their_entropy_does(some: int, other: int) -> None:
    assert (ids.make_id("inv", AT, some) == ids.make_id("inv", AT + 999, other)) == (some == other)


@given(st.integers(0, 2**200 - 1), st.integers(0, 2**200 - 1))
def test_no_bit_of_a_secret_is_lost(some: int, other: int) -> None:
    one, two = ids.make_secret("pk", some), ids.make_secret("pk", other)
    assert one.startswith("pk_")
    assert len(one) == 43
    assert (one == two) == (some == other)


def test_a_key_is_stored_as_a_keyed_hash_of_itself() -> None:
    digest = ids.digest_key("pk_1", b"pepper")
    assert digest == hashlib.blake2b(b"pk_1", key=b"pepper", digest_size=32).digest()
    assert len({digest, ids.digest_key("pk_2", b"pepper"), ids.digest_key("pk_1", b"other")}) == 3
    assert len(ids.digest_key("pk_1", b"x" * 100)) == 32, "a long pepper does not fail"
    assert len(ids.digest_key("\udcff", b"pepper")) == 32, "a key of bytes that are not UTF-8 does not fail"


@pytest.mark.parametrize("value", ["ada", "acme-2", "a" * 63, "123"])
def test_account_ids_that_pass(value: str) -> None:
    assert ids.check_account_id(value) == value


@pytest.mark.parametrize("value", ["", "ab", "a" * 64, "Ada", "ada_1", "ada.1", "ada\n", "äda", "a/b", 123, None, True])
def test_account_ids_that_are_refused(value: object) -> None:
    with pytest.raises(Invalid, match="3 to 63 characters") as refused:
        ids.check_account_id(value)
    assert refused.value.field == "id"


@pytest.mark.parametrize("value", ["a", "7b", "tiny", "tiny-1.5_x", "a" * 63])
def test_names_that_pass(value: str) -> None:
    assert ids.check_name(value, "model") == value


@pytest.mark.parametrize("value", ["", ".tiny", "-x", "_x", "a" * 64, "Tiny", "a b", "a/b", "tiny\n", 1, None])
def test_names_that_are_refused(value: object) -> None:
    with pytest.raises(Invalid, match="model must be 1 to 63 characters") as refused:
        ids.check_name(value, "model")
    assert refused.value.field == "model"


@pytest.mark.parametrize(
    "value, usable",
    [
        ("r1", True),
        ("A.b_c:d-e", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("r 1", False),
        ("r/1", False),
        ("r1\n", False),
        ("é", False),
    ],
)
def test_a_clients_request_id_is_used_only_where_it_is_plain(value: str, usable: bool) -> None:
    assert ids.is_request_id(value) is usable
