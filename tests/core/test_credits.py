"""Credit burns down in its documented order and never loses a nano-dollar (A3, B5, B7, S1, S5, S6, S8)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core.credits import PROMOTIONAL, PURCHASED, CreditGrant, Draw, burn_down, order
from tests.core.rates import MILLION

USD = 1_000_000_000


def bought(id_: str, nanos: int, created_at: int = 0, expires_at: int | None = None) -> CreditGrant:
    """A purchased grant."""
    return CreditGrant(id_, PURCHASED, nanos, nanos, created_at, expires_at)


def free(id_: str, nanos: int, created_at: int = 0, expires_at: int | None = None) -> CreditGrant:
    """A promotional grant."""
    return CreditGrant(id_, PROMOTIONAL, nanos, nanos, created_at, expires_at)


# (rule, grants, the order in which they burn)
ORDERS = [
    ("A3 earliest expiry", [free("late", 1, 0, 20), bought("soon", 1, 5, 10), free("never", 1)], "soon late never"),
    ("A3 an expiry before none", [free("never", 1, 0), bought("ends", 1, 9, 10**15)], "ends never"),
    ("A3 then promotional", [bought("bought", 1, 0), free("free", 1, 9)], "free bought"),
    ("A3 the same with an expiry", [bought("bought", 1, 0, 10), free("free", 1, 9, 10)], "free bought"),
    ("A3 then oldest", [bought("new", 1, 2), bought("old", 1, 1)], "old new"),
    ("A3 then by id", [bought("b", 1), bought("a", 1)], "a b"),
]


@pytest.mark.parametrize("rule, grants, names", ORDERS)
def test_the_order_of_burn_down(rule: str, grants: list[CreditGrant], names: str) -> None:
    assert [grant.id for grant in order(grants)] == names.split(), rule
    assert [draw.grant for draw in burn_down(grants, len(grants))[0]] == names.split(), rule


# (scenario, grants, usage, draws, what no grant covers)
BURNS = [
    ("S1", [bought("g", 20 * USD)], 83 * USD, [Draw("g", 20 * USD)], 63 * USD),
    ("S5", [free("g", USD)], USD, [Draw("g", USD)], 0),
    ("S6", [free("g", USD)], 99 * USD // 100, [Draw("g", 990 * MILLION)], 0),
    ("S8", [free("g", USD)], 15 * USD // 10, [Draw("g", USD)], USD // 2),
    ("A3 over two", [bought("b", 5), free("f", 3)], 4, [Draw("f", 3), Draw("b", 1)], 0),
    ("A3 an empty one draws nothing", [CreditGrant("e", PROMOTIONAL, 9, 0, 0), bought("b", 5)], 4, [Draw("b", 4)], 0),
    ("no usage", [free("g", USD)], 0, [], 0),
    ("no credit", [], 7, [], 7),
]


@pytest.mark.parametrize("rule, grants, usage, draws, beyond", BURNS)
def test_usage_is_drawn_from_credit_first(
    rule: str, grants: list[CreditGrant], usage: int, draws: list[Draw], beyond: int
) -> None:
    assert burn_down(grants, usage) == (draws, beyond), rule


GRANTS = st.lists(
    st.builds(
        CreditGrant,
        id=st.uuids().map(str),
        kind=st.sampled_from([PROMOTIONAL, PURCHASED]),
        granted_nanos=st.just(100),
        remaining_nanos=st.integers(0, 100),
        created_at=st.integers(0, 3),
        expires_at=st.one_of(st.none(), st.integers(0, 3)),
    ),
    max_size=8,
    unique_by=lambda grant: grant.id,
)


def burns_before(one: CreditGrant, other: CreditGrant) -> bool:
    """A3 as it is written, clause by clause."""
    if one.expires_at != other.expires_at:
        return other.expires_at is None or (one.expires_at is not None and one.expires_at < other.expires_at)
    if one.kind != other.kind:
        return one.kind == PROMOTIONAL
    return one.created_at < other.created_at


@given(GRANTS, st.integers(0, 1_000))
def test_what_is_drawn_and_what_is_beyond_sum_to_the_usage(grants: list[CreditGrant], usage: int) -> None:
    draws, beyond = burn_down(grants, usage)
    drawn = {draw.grant: draw.amount_nanos for draw in draws}
    assert len(drawn) == len(draws)
    assert sum(drawn.values()) + beyond == usage, "B7"
    assert beyond == max(0, usage - sum(grant.remaining_nanos for grant in grants)), "credit is used first for all"
    for grant in grants:
        assert 0 <= drawn.get(grant.id, 0) <= grant.remaining_nanos, "B5"
    assert all(amount > 0 for amount in drawn.values())


@given(GRANTS, st.integers(0, 1_000))
def test_no_grant_is_touched_while_one_before_it_has_credit(grants: list[CreditGrant], usage: int) -> None:
    drawn = {draw.grant: draw.amount_nanos for draw in burn_down(grants, usage)[0]}
    for later in grants:
        for earlier in grants:
            if drawn.get(later.id) and burns_before(earlier, later):
                assert drawn.get(earlier.id, 0) == earlier.remaining_nanos, "B7"


@given(GRANTS, st.lists(st.integers(0, 100), max_size=6))
def test_usage_drawn_in_pieces_leaves_what_it_leaves_at_once(grants: list[CreditGrant], pieces: list[int]) -> None:
    left, beyond = {grant.id: grant for grant in grants}, 0
    for piece in pieces:
        draws, rest = burn_down(left.values(), piece)
        beyond += rest
        for draw in draws:
            old = left[draw.grant]
            remaining = old.remaining_nanos - draw.amount_nanos
            left[draw.grant] = CreditGrant(old.id, old.kind, 100, remaining, old.created_at, old.expires_at)
    at_once, beyond_at_once = burn_down(grants, sum(pieces))
    taken = {draw.grant: draw.amount_nanos for draw in at_once}
    assert beyond == beyond_at_once, "B8"
    assert [g.remaining_nanos - taken.get(g.id, 0) for g in grants] == [left[g.id].remaining_nanos for g in grants]
