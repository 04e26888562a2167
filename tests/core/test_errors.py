"""Each refusal has one HTTP status and one stable code; a broken invariant is no refusal (H6, U2, H3)."""

from __future__ import annotations

import pytest

from purser.core import errors
from purser.core.errors import Broken, PurserError

# (rule, error, HTTP status, code)
ERRORS = [
    ("H6", errors.Invalid, 400, "INVALID_ARGUMENT"),
    ("H6", errors.Unauthenticated, 401, "UNAUTHENTICATED"),
    ("H3", errors.Insufficient, 402, "insufficient_headroom"),
    ("H6", errors.Forbidden, 403, "PERMISSION_DENIED"),
    ("H6", errors.NotFound, 404, "NOT_FOUND"),
    ("C3", errors.Conflict, 409, "ALREADY_EXISTS"),
    ("U2", errors.Suspended, 412, "PRECONDITION_FAILED"),
    ("H6", errors.TooLarge, 413, "request_too_large"),
    ("Q1", errors.TooMany, 429, "RESOURCE_EXHAUSTED"),
    ("S51", errors.Unimplemented, 501, "UNIMPLEMENTED"),
    ("correctness, Time", errors.Unavailable, 503, "UNAVAILABLE"),
]


@pytest.mark.parametrize("rule, kind, status, code", ERRORS)
def test_a_refusal_has_its_status_and_code(rule: str, kind: type[PurserError], status: int, code: str) -> None:
    error = kind("what is wrong", field="amountUsd")
    assert (error.status, error.code) == (status, code), rule
    assert (str(error), error.message, error.field) == ("what is wrong", "what is wrong", "amountUsd")


def test_every_refusal_is_listed_here_and_in_the_tree() -> None:
    listed = {kind for _, kind, *_ in ERRORS}
    assert listed == {kind for kind in PurserError.__subclasses__() if kind.__module__ == PurserError.__module__}
    for kind in listed:
        line = next(line for line in (errors.__doc__ or "").splitlines() if f"─ {kind.__name__} " in line)
        assert f"({kind.status})" in line


def test_a_code_of_ones_own_holds_for_one_error_only() -> None:
    assert errors.Conflict("not yet", code="FAILED_PRECONDITION").code == "FAILED_PRECONDITION"
    assert errors.Conflict("exists").code == "ALREADY_EXISTS"
    assert errors.Conflict("exists").field is None


def test_a_broken_invariant_is_never_taken_for_a_refusal() -> None:
    assert not issubclass(Broken, PurserError)
