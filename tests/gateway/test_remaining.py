"""What remains as answers and quotes tell it: the account's headroom, whoever leases it (H2, H9)."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest

from purser.core.money import format_usd
from purser.core.policy import Policy
from purser.flows import accounts, credits, payments, requests
from purser.flows.lessee import Lessee, remaining_of
from purser.flows.payments import Card
from purser.flows.requests import Need, Taken
from tests.gateway.beside import beside
from tests.gateway.rig import Answered, Rig, running

CARD = Card("pm_card_visa", "visa", "4242", 12, 2034, "fp")
CHAT = "/v1/chat/completions"
HI: dict[str, Any] = {"model": "tiny", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}


def told(answer: Answered) -> str:
    """The headroom that an answer tells."""
    assert answer.status == 200, answer.body
    return answer.headers["x-purser-headroom-usd"]


def true(rig: Rig) -> str:
    """The headroom of the balance."""
    left = rig.balance().headroom
    return "unlimited" if left is None else format_usd(left)


def quoted(rig: Rig) -> Any:
    """The headroom that a quote tells."""
    return rig.send("/v1/quote", {"path": CHAT, "body": HI}).json["headroomUsd"]


def test_an_answer_tells_all_that_is_left_and_not_what_is_leased(rig: Rig) -> None:
    for n in range(5):
        assert told(rig.chat(f"hello {n} [[tokens=40]]", max_tokens=100)) == true(rig)
    assert told(rig.chat("no cap [[tokens=3]]")) == true(rig)
    assert quoted(rig) == true(rig)


def test_what_runs_counts_as_held(rig: Rig) -> None:
    found: list[Answered] = []
    slow = threading.Thread(
        target=lambda: found.append(rig.chat("go [[tokens=200]] [[pace=100]]", model="dear", stream=True))
    )
    slow.start()
    assert rig.eventually(lambda: rig.on_loop(lambda: rig.gateway.held("ada")) > 0)
    for _ in range(3):
        assert told(rig.chat("meanwhile", max_tokens=3)) == true(rig)
        assert quoted(rig) == true(rig)
    slow.join()
    assert Decimal(told(found[0])) < Decimal(1)
    assert told(rig.chat("after", max_tokens=3)) == true(rig)


def test_every_change_is_told_by_the_next_answer(rig: Rig) -> None:
    rig.chat("hi", max_tokens=3)
    changes: list[Any] = [
        lambda tx: credits.give_credit(tx, "ada", 3_000_000_000),
        lambda tx: accounts.set_limit(tx, "ada", "2"),
        lambda tx: payments.add_method(tx, "ada", CARD),
        lambda tx: accounts.set_limit(tx, "ada", "50"),
        lambda tx: accounts.set_limit(tx, "ada", "1"),
    ]
    for change in changes:
        rig.write(change)
        assert told(rig.chat("hi", max_tokens=3)) == true(rig)
        assert quoted(rig) == true(rig)


def test_nothing_limits_a_contract(rig: Rig) -> None:
    bob = rig.write(lambda tx: accounts.open_account(tx, "bob", "bob@example.com", billing_mode="contract"))
    assert told(rig.send(CHAT, HI, key=bob.secret)) == "unlimited"
    quote = rig.send("/v1/quote", {"path": CHAT, "body": HI}, key=bob.secret).json
    assert quote["headroomUsd"] is None


def test_a_limit_of_nothing_leaves_nothing_to_quote(rig: Rig) -> None:
    """What is leased beyond the new limit may still be spent, but it is not there to be promised."""
    rig.write(lambda tx: payments.add_method(tx, "ada", CARD))
    assert rig.chat("hi", max_tokens=3).status == 200
    rig.write(lambda tx: accounts.set_limit(tx, "ada", "0"))
    assert quoted(rig) == "0.00" == true(rig)


def test_what_another_writer_has_spare_is_left_and_what_it_used_is_not(rig: Rig) -> None:
    with beside(rig) as other:
        for n in range(3):
            assert other.chat(f"one {n} [[tokens=50]]", max_tokens=60).status == 200
        assert rig.eventually(lambda: told(rig.chat("hi", max_tokens=3)) == true(rig), 2)
        other.chat("two [[tokens=60]]", max_tokens=60)
        assert rig.eventually(lambda: told(rig.chat("hi", max_tokens=3)) == true(rig), 2)
        assert rig.eventually(lambda: told(other.chat("hi", max_tokens=3)) == true(rig), 2)
        assert rig.eventually(lambda: quoted(rig) == true(rig), 2)
    assert rig.eventually(lambda: told(rig.chat("hi", max_tokens=3)) == true(rig), 2)


@pytest.mark.parametrize("seed", [1, 2])
def test_it_is_right_after_a_crowd(tmp_path: Any, seed: int) -> None:
    """Leases grow, are recalled and given back all the while; at every rest the figure is exact."""
    with running(tmp_path, Policy(requests_per_minute_unverified=10**6, lease_nanos=2_000_000 * seed)) as rig:

        def crowd() -> None:
            for n in range(10):
                rig.chat(f"{n} [[tokens={n * seed}]]", model="dear", max_tokens=20)

        for _ in range(3):
            threads = [threading.Thread(target=crowd) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert rig.eventually(lambda: rig.balance().held == 0)
            assert told(rig.chat("hi", max_tokens=1)) == true(rig)


def test_idle_leases_go_back_and_it_stays_right(rig: Rig) -> None:
    rig.chat("hi", max_tokens=3)
    gateway = rig.gateway

    async def give_back() -> None:
        await gateway.cashier.give_back("2026-03", 2**62, [])

    rig.run_on_loop(give_back())
    assert told(rig.chat("hi", max_tokens=3)) == true(rig)


# ── the figures themselves ───────────────────────────────────────────────────────────────────────────────────────
KEYS = requests.path("ada", "2026-03")


def leased(share: int, left: int | None) -> Lessee:
    """A lessee that was granted so much of each row, of which the store has so much left."""
    lessee = Lessee()
    lessee.apply(Taken(dict.fromkeys(KEYS, share), dict.fromkeys(KEYS, left)))
    return lessee


def left_of(lessee: Lessee) -> int | None:
    """What remains on the path."""
    return remaining_of(lessee.share(key) for key in KEYS)


def test_what_is_on_its_way_back_remains_all_the_while() -> None:
    lessee = leased(100, 900)
    hold = lessee.hold("r1", "ada", "2026-03", 1, 30)
    assert left_of(lessee) == 970
    returns = lessee.start_returns("2026-03", -1, KEYS)
    assert left_of(lessee) == 970
    lessee.end_returns(returns)
    assert left_of(lessee) == 970
    lessee.settled(hold, 10, 0)
    assert left_of(lessee) == 990


def test_what_was_read_before_something_moved_is_not_believed() -> None:
    """Only what others use is: of what is left the own commits tell more."""
    for move in ("taken", "returned", "changed", "nothing"):
        lessee = leased(100, 900)
        turns = lessee.turns("ada")
        needs = [Need(key, 1, 1, 1) for key in KEYS]
        if move == "taken":
            lessee.ask(needs)
            lessee.end_ask(needs)
            lessee.apply(Taken(dict.fromkeys(KEYS, 50), dict.fromkeys(KEYS, 850)))
        elif move == "returned":
            lessee.end_returns(lessee.start_returns("2026-03", -1, KEYS))
        elif move == "changed":
            lessee.forget_left("ada")
        for key in KEYS:
            lessee.hear(key, 500, 7, 1, turns.get(key))
        assert left_of(lessee) == (607 if move == "nothing" else 1007), move
        assert lessee.share(KEYS[0]).known is (move != "changed")


def test_nothing_is_read_of_what_moves_just_now() -> None:
    lessee = leased(100, 900)
    needs = [Need(key, 1, 1, 1) for key in KEYS]
    lessee.ask(needs)
    assert lessee.turns("ada") == {}
    lessee.end_ask(needs)
    assert set(lessee.turns("ada")) == set(KEYS)


def test_more_taken_than_there_is_by_now_leaves_less_than_what_is_leased() -> None:
    lessee = leased(100, 900)
    lessee.forget_left("ada")
    for key, turn in lessee.turns("ada").items():
        lessee.hear(key, -40, 0, 1, turn)
    assert left_of(lessee) == 60
    assert lessee.spare(KEYS) == 100, "money already leased may still be spent (L5)"
    for key, turn in lessee.turns("ada").items():
        lessee.hear(key, -400, 0, 1, turn)
    assert left_of(lessee) == 0
