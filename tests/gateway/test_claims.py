"""A request that its client gave an id to runs once, whichever process it meets (correctness §2, C2)."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from purser.flows import claims
from purser.store import schema
from purser.store.writers import Writer
from tests.gateway.beside import beside
from tests.gateway.rig import Answered, Rig, engine_log
from tests.gateway.test_endings import in_threads

LONG = "go on [[tokens=60]] [[pace=200]]"


def claimed(rig: Rig) -> set[tuple[str, int]]:
    """The ids claimed in the store, each with its writer."""
    with rig.db.read() as conn:
        return {(row.id, row.writer) for row in conn.execute(sa.select(schema.claims))}


def named(id_: str) -> dict[str, str]:
    return {"x-request-id": id_}


def test_one_id_sent_to_two_processes_at_once_runs_once(rig: Rig) -> None:
    with beside(rig) as other:
        for n in range(5):
            turn = iter([rig, other] * 4)
            answers = in_threads(8, lambda n=n, turn=turn: next(turn).chat(LONG, headers=named(f"mine-{n}")))
            assert sorted(answer.status for answer in answers) == [200] + [409] * 7
            assert {answer.error["code"] for answer in answers if answer.status == 409} <= {
                "request_open",
                "request_settled",
            }
        assert len(engine_log(rig)) == 5, "nothing runs twice"
        assert len(rig.events()) == 5


def test_an_id_served_elsewhere_is_refused_with_its_cost(rig: Rig) -> None:
    with beside(rig) as other:
        first = rig.chat("hi", headers=named("mine"), max_tokens=3)
        again = other.chat("hi", headers=named("mine"), max_tokens=3)
        assert (first.status, again.status, again.error["code"]) == (200, 409, "request_settled")
        assert again.error["cost_usd"] == first.headers["x-purser-cost-usd"]
        assert len(engine_log(rig)) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("directive", "status"), [("status=500", 500), ("status=429", 429), ("refuse", 502), ("garbage", 502)]
)
def test_what_failed_may_be_sent_again_at_once_to_whomever(rig: Rig, directive: str, status: int, stream: bool) -> None:
    with beside(rig) as other:
        for n, ask in enumerate((other.chat, rig.chat, other.chat)):
            failed = rig.chat("hi", headers={**named(f"mine-{n}"), "x-model-fail": directive}, stream=stream)
            assert failed.status == status
            assert ask("hi", headers=named(f"mine-{n}"), max_tokens=3).status == 200


def test_what_was_refused_may_be_sent_again(rig: Rig) -> None:
    refused = rig.chat("hi", headers={**named("mine"), "x-purser-fit": "refuse"}, model="dear", max_tokens=2000, n=100)
    assert refused.status == 402
    with beside(rig) as other:
        assert other.chat("hi", headers=named("mine"), max_tokens=3).status == 200


def test_claims_go_when_requests_have_ended(rig: Rig) -> None:
    for n in range(3):
        assert rig.chat("hi", headers=named(f"mine-{n}"), max_tokens=3).status == 200
    assert rig.eventually(lambda: claimed(rig) == set())


def test_requests_without_a_name_claim_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("claimed")

    monkeypatch.setattr(claims, "claim", never)
    assert rig.chat("hi", max_tokens=3).status == 200
    assert rig.chat("hi", max_tokens=3, stream=True).is_done
    assert rig.chat("hi", headers=named("mine"), max_tokens=3).status == 503


def test_what_a_process_ran_when_it_died_runs_again_when_its_writer_is_closed(rig: Rig) -> None:
    dead = Writer(rig.db, rig.world, rig.policy, host="here", pid=3)
    dead.run(lambda tx: claims.claim(tx, "ada", "mine"))
    refused = rig.chat("hi", headers=named("mine"), max_tokens=3)
    assert (refused.status, refused.error["code"]) == (409, "request_open")
    assert claimed(rig) == {("mine", dead.id)}
    dead.close()
    assert rig.chat("hi", headers=named("mine"), max_tokens=3).status == 200
    assert rig.eventually(lambda: claimed(rig) == set())


def test_the_claims_of_the_dead_are_tidied_away(rig: Rig) -> None:
    dead = Writer(rig.db, rig.world, rig.policy, host="here", pid=3)
    dead.run(lambda tx: claims.claim(tx, "ada", "mine"))
    assert claimed(rig)
    dead.close()
    with beside(rig):
        assert rig.eventually(lambda: claimed(rig) == set())


def test_a_running_id_is_refused_while_it_runs_and_settled_after(rig: Rig) -> None:
    found: list[Answered] = []
    asking = threading.Thread(target=lambda: found.append(rig.chat(LONG, headers=named("mine"), stream=True)))
    with beside(rig) as other:
        asking.start()
        assert rig.eventually(lambda: rig.on_loop(lambda: rig.gateway.held("ada")) > 0)
        for asked in (rig, other):
            refused = asked.chat("hi", headers=named("mine"))
            assert (refused.status, refused.error["code"]) == (409, "request_open")
        asking.join()
        assert found[0].is_done
        assert other.chat("hi", headers=named("mine")).error["code"] == "request_settled"
