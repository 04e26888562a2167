"""Requests per minute over two gateways on the same books, and what answers say of them (Q1, S39–S41)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from purser.core.policy import Policy
from purser.core.ratelimit import Part
from purser.flows import payments
from purser.store.rates import get_rate, requests_of
from purser.store.writers import close_writer
from tests.flows.books import VISA
from tests.gateway.beside import beside
from tests.gateway.rig import Answered, Rig, model, running
from tests.gateway.upstreams import keeping

SECOND = 1_000_000
SHARED = Policy(requests_per_minute=200, requests_per_minute_unverified=5)


def ask_all(ask: Callable[[str], Answered], times: int) -> list[int]:
    return [ask("hello").status for _ in range(times)]


def add_card(rig: Rig) -> str:
    return str(rig.write(lambda tx: payments.add_method(tx, "ada", VISA)))


def test_a_small_rate_is_one_over_two_gateways(tmp_path: Path) -> None:
    """S39: exactly so many, whoever is asked, and each of them can say how long to wait."""
    with running(tmp_path, SHARED) as rig, beside(rig) as other:
        answers = [(rig.chat if n % 2 else other.chat)("hello") for n in range(7)]
        assert [answer.status for answer in answers] == [200] * 5 + [429] * 2
        assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == [*"43210", "0", "0"]
        for answer in answers[5:]:
            assert 50 <= int(answer.headers["retry-after"]) <= 60
            assert answer.headers["ratelimit-policy"] == '"requests";q=5;w=60'
            assert answer.headers["ratelimit"] == f'"requests";r=0;t={answer.headers["retry-after"]}'
            assert answer.error["code"] == "rate_limit_exceeded"
        assert answers[0].headers["ratelimit"] == '"requests";r=4'


def test_a_large_rate_is_there_to_the_last_through_either(tmp_path: Path) -> None:
    """S40: what one has and does not use the other gets, and together it is the rate."""
    with running(tmp_path, SHARED) as rig:
        add_card(rig)
        with beside(rig) as other:
            statuses = ask_all(rig.chat, 20) + ask_all(other.chat, 20)
            assert statuses == [200] * 40
            told = rig.chat("hello").headers
            assert told["ratelimit-policy"] == '"requests";q=200;w=60'
            assert told["ratelimit"] == f'"requests";r={told["x-ratelimit-remaining-requests"]}'
            statuses = [200] * 41 + ask_all(rig.chat, 170)
            assert statuses.count(200) == 200, "and the spare of the other came over"
            assert statuses[-1] == 429
            assert other.chat("hello").status == 429
            assert rig.chat("hello").headers["x-ratelimit-limit-requests"] == "200"


def test_a_card_lifts_the_rate_at_once(tmp_path: Path) -> None:
    with running(tmp_path, SHARED) as rig:
        assert ask_all(rig.chat, 6) == [200] * 5 + [429]
        method = add_card(rig)
        assert rig.eventually(lambda: rig.chat("hello").status == 200, 1)
        assert ask_all(rig.chat, 20) == [200] * 20
        rig.write(lambda tx: payments.remove_method(tx, "ada", method))
        assert rig.eventually(lambda: rig.chat("hello").status == 429, 1), "what was let through counts on"
        assert rig.eventually(lambda: [part.share for part in shares(rig)] == [used(rig)]), "the spare goes back"


def shares(rig: Rig) -> list[Part]:
    with rig.db.read() as conn:
        return list(get_rate(conn, requests_of("ada"), 0).parts)


def used(rig: Rig) -> int:
    return rig.gateway.recent_requests("ada")


def test_the_share_of_a_writer_that_was_closed_alive_is_not_used_again(tmp_path: Path) -> None:
    """What it let through counts on in the store, and it starts with nothing."""
    with running(tmp_path, SHARED) as rig:
        add_card(rig)
        assert ask_all(rig.chat, 10) == [200] * 10
        closed = rig.writer.id
        with beside(rig) as other:
            other.queue.run(lambda tx: close_writer(tx, closed))
            [share] = [part.share for part in shares(rig) if part.free_at]
            assert share >= 10, "what was let through by it is in it"
            assert rig.eventually(lambda: rig.writer.id != closed)
            statuses = ask_all(rig.chat, 200)
            assert statuses.count(200) == 200 - share
            assert {part.writer for part in shares(rig) if part.free_at} == {closed}


def test_what_an_upstream_says_of_its_own_rates_is_not_passed_on(tmp_path: Path) -> None:
    head = (
        b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nratelimit: "their";r=1\r\n'
        b"x-ratelimit-limit-tokens: 9\r\nx-ratelimit-remaining-requests: 9\r\n"
    )
    body = b'{"model":"tiny","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
    answer = head + b"content-length: %d\r\n\r\n" % len(body) + body
    with (
        keeping(lambda _: answer) as url,
        running(tmp_path, models=(model("tiny", (url,)),)) as rig,
    ):
        for _ in range(3):
            told = rig.chat("hello").headers
            assert told["ratelimit"].startswith('"requests";r=59')
            assert "x-ratelimit-limit-tokens" not in told
            assert told["x-ratelimit-remaining-requests"].startswith("59")


@pytest.mark.once
def test_a_control_plane_call_counts_too(tmp_path: Path) -> None:
    with running(tmp_path, SHARED) as rig:

        async def count() -> list[int]:
            return [(await rig.gateway.count_control_request("ada")).wait for _ in range(3)]

        assert rig.run_on_loop(count()) == [0, 0, 0]
        assert ask_all(rig.chat, 3) == [200, 200, 429]
