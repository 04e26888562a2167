"""The lease protocol keeps its invariants in any order of transitions (A1, A2, A6, A9, H7, L5, S22)."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from purser.core.errors import Broken
from purser.core.lease import (
    Asked,
    Granted,
    Headroom,
    Lease,
    change,
    check,
    close,
    give_back,
    grant,
    grant_path,
    lapse,
    settle,
    use_after,
)

# grant: (rule, row, least, most, given or None)
GRANTS = [
    ("A2 all of it", Headroom(100, True), 1, 100, 100),
    ("A2 no more than is there", Headroom(100, True, taken=40, used=40), 1, 100, 60),
    ("A2 exactly the least", Headroom(100, True, taken=90, used=90), 10, 10, 10),
    ("A2 one short of the least", Headroom(100, True, taken=91, used=91), 10, 10, None),
    ("A2 nothing left", Headroom(100, True, taken=100, used=100), 1, 50, None),
    ("A2 over the amount", Headroom(100, True, taken=130, used=130, over=30), 1, 50, None),
    ("A2 nothing needed", Headroom(100, True, taken=130, used=130, over=30), 0, 50, 0),
    ("H2 not enforced", Headroom(0, False), 1, 50, 50),
]


@pytest.mark.parametrize("rule_, row, least, most, given_", GRANTS)
def test_a_grant_takes_what_is_there_or_nothing(
    rule_: str, row: Headroom, least: int, most: int, given_: int | None
) -> None:
    granted = grant(row, Lease(5, 5), least, most)
    if given_ is None:
        assert granted is None, rule_
        return
    assert granted is not None, rule_
    after, lease, got = granted
    assert got == given_, rule_
    assert lease == Lease(5 + given_, 5)
    assert after == Headroom(row.amount, row.enforced, row.taken + given_, row.used, row.over), (
        "A1: over is not written"
    )


ROOM, FULL = Headroom(100, True), Headroom(100, True, taken=100, used=100)


def test_a_path_is_granted_on_every_row() -> None:
    granted, short = grant_path([Asked(ROOM, Lease(), 1, 70), Asked(FULL, Lease(), 0, 5), Asked(ROOM, Lease(9), 2, 3)])
    assert short is None
    assert granted == [
        Granted(Headroom(100, True, taken=70), Lease(70), 70),
        Granted(FULL, Lease(), 0),
        Granted(Headroom(100, True, taken=3), Lease(12), 3),
    ]


def test_a_path_falls_short_at_the_first_row_that_does() -> None:
    granted, short = grant_path([Asked(ROOM, Lease(), 1, 70), Asked(FULL, Lease(3), 1, 5), Asked(FULL, Lease(), 2, 2)])
    assert short == 1, "A8: nothing is to be written on any row"
    assert granted[0] == Granted(Headroom(100, True, taken=70), Lease(70), 70)
    assert granted[1:] == [Granted(FULL, Lease(3), None), Granted(FULL, Lease(), None)], "these as they were"
    assert grant_path([Asked(FULL, Lease(), 1, 1), Asked(ROOM, Lease(), 1, 1)])[1] == 0
    assert grant_path([]) == ([], None)


def test_two_writers_never_share_a_nano_dollar() -> None:
    row, mine, given_ = grant(Headroom(100, True), Lease(), 1, 70) or pytest.fail("there is room")
    assert given_ == 70
    row, yours, given_ = grant(row, Lease(), 1, 70) or pytest.fail("there is room")
    assert (given_, mine.share + yours.share, row.available) == (30, 100, 0), "A2"
    assert grant(row, Lease(), 1, 1) is None


def test_what_is_settled_is_used_and_never_beyond_the_share() -> None:
    lease = settle(Lease(100, 40), 60)
    assert lease == Lease(100, 100)
    assert lease.spare == 0
    assert settle(lease, 0) == lease
    for cost in (1, -1):
        with pytest.raises(Broken, match="does not fit"):
            settle(lease, cost)


def test_only_spare_can_be_given_back() -> None:
    row, lease = give_back(Headroom(100, True, taken=100), Lease(100, 40), 60)
    assert (row, lease) == (Headroom(100, True, taken=40), Lease(40, 40)), "A9"
    for spare in (1, -1):
        with pytest.raises(Broken, match="cannot give back"):
            give_back(row, lease, spare)


def test_a_closed_writers_use_stays_and_its_spare_comes_back_as_unbilled() -> None:
    row = close(Headroom(100, True, taken=90, used=10, unbilled=3), Lease(80, 30))
    assert row == Headroom(100, True, taken=40, used=40, unbilled=53), "correctness §2.6"


def test_usage_after_the_fact_is_always_accepted() -> None:
    row = use_after(Headroom(100, True, taken=90, used=90), 30)
    assert row == Headroom(100, True, taken=120, used=120, over=20), "H7"
    assert grant(row, Lease(), 1, 1) is None
    with pytest.raises(Broken):
        use_after(row, -1)


def test_a_lower_limit_is_in_force_at_once_but_what_is_leased_may_be_spent() -> None:
    row = change(Headroom(100, True, taken=80), 50, True)
    assert row == Headroom(50, True, taken=80, over=30), "S22, L5"
    assert grant(row, Lease(80, 0), 1, 1) is None
    assert settle(Lease(80, 0), 80).spare == 0
    row, lease = give_back(row, Lease(80, 0), 20)
    assert (row.over, lease.share) == (10, 60), "over shrinks as leases come back"
    assert give_back(row, lease, 20)[0].over == 0, "nothing is over once no more is taken than there is"
    assert close(row, Lease(60, 45)) == Headroom(50, True, taken=45, used=45, unbilled=15)
    assert change(row, 100, True).over == 0, "a higher limit leaves nothing over"


def test_enforcing_a_row_counts_what_was_taken_before() -> None:
    free, _, _ = grant(Headroom(10, False), Lease(), 50, 50) or pytest.fail("not enforced")
    assert free.over == 0
    assert change(free, 10, True) == Headroom(10, True, taken=50, over=40), "A4: the last payment method is removed"


# lapse: (rule, row, remaining of the grant, lapsed now)
LAPSES = [
    ("A3 unused", Headroom(100, True), 40, 40),
    ("A3 all", Headroom(100, True), 100, 100),
    ("A3 not what is held", Headroom(100, True, taken=80, used=30), 40, 20),
    ("A3 all held", Headroom(100, True, taken=100), 40, 0),
    ("A3 over", Headroom(100, True, taken=120, used=120, over=20), 40, 0),
    ("A3 nothing remains", Headroom(100, True), 0, 0),
]


@pytest.mark.parametrize("rule_, row, remaining, lapsed", LAPSES)
def test_credit_lapses_as_far_as_running_requests_do_not_hold_it(
    rule_: str, row: Headroom, remaining: int, lapsed: int
) -> None:
    after = Headroom(row.amount - lapsed, row.enforced, row.taken, row.used, row.over, row.unbilled)
    assert lapse(row, remaining) == (after, lapsed), rule_


def test_no_credit_below_zero_lapses() -> None:
    with pytest.raises(Broken):
        lapse(Headroom(100, True), -1)


@pytest.mark.parametrize(
    "row",
    [
        Headroom(100, True, taken=101),
        Headroom(100, True, taken=111, over=10),
        Headroom(100, False, taken=-1),
        Headroom(100, True, used=-1),
        Headroom(100, True, over=-1),
    ],
)
def test_a_row_out_of_bounds_is_broken(row: Headroom) -> None:
    with pytest.raises(Broken, match="out of bounds"):
        check(row)


@pytest.mark.parametrize("row", [Headroom(100, True, 100), Headroom(100, True, 110, over=10), Headroom(0, False, 7)])
def test_a_row_within_bounds_is_answered(row: Headroom) -> None:
    assert check(row) is row, "A1"


AMOUNT = st.integers(0, 100)
OWNER = st.sampled_from("abc")


class Protocol(RuleBasedStateMachine):
    """One row and the leases of three writers, against sums kept beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.row = Headroom(100, True)
        self.leases: dict[str, Lease] = {}
        self.granted = self.settled = self.after = self.returned = self.closed_spare = 0

    @rule(owner=OWNER, least=AMOUNT, more=AMOUNT)
    def grant(self, owner: str, least: int, more: int) -> None:
        before = self.row
        room = before.amount - before.taken
        granted = grant(before, self.leases.get(owner, Lease()), least, least + more)
        fits = not before.enforced or least <= max(0, room)
        assert (granted is not None) == fits, "A2"
        if granted is not None:
            self.row, self.leases[owner], given = granted
            assert least <= given <= least + more
            assert not before.enforced or given <= max(0, room), "A2"
            assert given == least + more or (before.enforced and given == max(0, room)), "no less than it could"
            assert self.row.over == before.over, "A1: a grant never writes over"
            self.granted += given

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), cost=AMOUNT)
    def settle(self, data: st.DataObject, cost: int) -> None:
        owner = data.draw(st.sampled_from(sorted(self.leases)))
        cost = min(cost, self.leases[owner].spare)
        self.leases[owner] = settle(self.leases[owner], cost)
        self.settled += cost

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), spare=AMOUNT)
    def give_back(self, data: st.DataObject, spare: int) -> None:
        owner = data.draw(st.sampled_from(sorted(self.leases)))
        spare = min(spare, self.leases[owner].spare)
        before = self.row
        self.row, self.leases[owner] = give_back(before, self.leases[owner], spare)
        assert self.row.over <= before.over
        self.returned += spare

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(sorted(self.leases)))
        before, lease = self.row, self.leases.pop(owner)
        self.row = close(before, lease)
        assert self.row.over <= before.over
        self.closed_spare += lease.spare

    @rule(cost=AMOUNT)
    def use_after(self, cost: int) -> None:
        self.row = use_after(self.row, cost)
        assert self.row.over == max(0, self.row.taken - self.row.amount)
        self.after += cost

    @rule(amount=st.integers(0, 300), enforced=st.booleans())
    def change(self, amount: int, enforced: bool) -> None:
        taken, used = self.row.taken, self.row.used
        self.row = change(self.row, amount, enforced)
        assert (self.row.taken, self.row.used) == (taken, used), "A9"
        assert self.row.over == max(0, taken - amount)

    @rule(remaining=AMOUNT)
    def lapse(self, remaining: int) -> None:
        before = self.row
        self.row, lapsed = lapse(before, remaining)
        assert 0 <= lapsed <= remaining
        assert self.row.amount == before.amount - lapsed
        assert self.row.amount >= min(before.amount, before.taken), "never what is taken"
        assert lapsed == remaining or self.row.amount <= self.row.taken, "no less than it could"

    @invariant()
    def the_row_is_within_bounds(self) -> None:
        row = self.row
        assert min(row.taken, row.used, row.over, row.unbilled, row.available) >= 0, "A1"
        assert not row.enforced or row.taken <= row.amount + row.over, "A1"
        assert not row.enforced or row.over <= max(0, row.taken - row.amount), "over is never kept for later"

    @invariant()
    def the_sums_agree(self) -> None:
        row, leases = self.row, self.leases.values()
        assert all(0 <= lease.used <= lease.share for lease in leases)
        assert row.taken == row.used + sum(lease.share for lease in leases), "A6"
        assert row.used + sum(lease.used for lease in leases) == self.settled + self.after, "all that was ever used"
        assert row.unbilled == self.closed_spare
        assert row.taken == self.granted + self.after - self.returned - self.closed_spare, "A9"


Protocol.TestCase.settings = settings(max_examples=150, stateful_step_count=30)
TestProtocol = Protocol.TestCase
