"""The judge of `make bench-overspend` finds a cheat: it goes by what was done and what stands in the books."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.overspend import refusals, report
from bench.overspend.asking import Answer, Ask
from bench.overspend.cases import Case, play
from bench.overspend.contestant import Key
from bench.overspend.judge import Seen, factor, faults, price
from bench.overspend.ours import Purser
from bench.overspend.work import Upstream, upstream

BUDGET = 10_000_000


# ── what is told of a case, and the verdict ──────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("seen", "fault"),
    [
        (Seen(BUDGET, done=BUDGET + 1, billed=BUDGET + 1), "billed $0.000000001 over the budget"),
        (Seen(BUDGET, done=64 * BUDGET, billed=64 * BUDGET), "billed $0.63 over the budget"),
        (Seen(BUDGET, done=64 * BUDGET, billed=BUDGET), "$0.63 unbilled"),
        (Seen(BUDGET, done=BUDGET, billed=BUDGET - 1), "$0.000000001 unbilled"),
        (Seen(BUDGET, done=9_000_000, billed=9_000_001), "billed $0.000000001 for nothing"),
        (Seen(BUDGET, done=8_000_000, billed=8_000_000, served=9_000_000), "$0.001 unbilled"),
        (Seen(BUDGET, done=9_000_000, billed=7_000_000, excused=1_000_000), "$0.002 unbilled"),
        (Seen(BUDGET, done=9_000_000, billed=9_000_000, kept_back=1_000), "$0.000001 of the budget out of reach"),
        (Seen(BUDGET, done=BUDGET + 65, billed=BUDGET + 65, grain=64), "billed $0.000000065 over the budget"),
    ],
)
def test_a_fault_is_found(seen: Seen, fault: str) -> None:
    assert faults(seen) == [fault]


@pytest.mark.parametrize(
    "seen",
    [
        Seen(BUDGET, done=0, billed=0),
        Seen(BUDGET, done=BUDGET, billed=BUDGET, served=BUDGET),
        Seen(BUDGET, done=9_000_000, billed=8_000_000, excused=1_000_000),
        Seen(BUDGET, done=BUDGET + 64, billed=BUDGET + 64, grain=64),
    ],
)
def test_what_is_as_it_should_be_passes(seen: Seen) -> None:
    assert faults(seen) == []


# ── a gateway that cheats, played against the real model server ──────────────────────────────────────────────────────
class Cheat:
    """A gateway that passes every request on, and whose books say whatever it likes."""

    name, how, grain, quiet_seconds = "cheat", "", 0, 0.0

    def __init__(self, url: str, billed: int) -> None:
        self.urls, self._billed = [url], billed

    def start(self) -> None:
        """Runs already."""

    def stop(self) -> None:
        """Goes with the model server."""

    def kill(self) -> None:
        """Is not killed here."""

    def open(self, budget: int) -> Key:
        return Key("none")

    def billed(self, key: Key) -> int:
        return self._billed

    def written_off(self, key: Key) -> int:
        return 0

    def kept_back(self, key: Key) -> int:
        return 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with upstream(10_000, str(tmp_path_factory.mktemp("upstream") / "log")) as running:
        yield running


MANY = Case("twenty at once", BUDGET, [Ask(100, 100), Ask(100, None, stream=True)] * 10)


def test_a_gateway_that_serves_more_than_its_budget_and_keeps_quiet_about_it_fails(server: Upstream) -> None:
    found = play(MANY, Cheat(server.url, billed=BUDGET), server)
    assert found.count() == {"whole": 20, "short": 0, "refused": 0, "others": 0}
    assert 2.0 < factor(found.seen) < 2.1
    assert report.fails(found)
    assert report.verdict(found).startswith("FAIL: $0.0105")
    assert "2.05× FAIL" in report.at_a_glance({"cheat": {MANY.name: found}}, [MANY.name])


def test_a_gateway_that_bills_what_it_served_beyond_the_budget_fails(server: Upstream) -> None:
    honest = play(MANY, Cheat(server.url, billed=0), server).seen.done
    found = play(MANY, Cheat(server.url, billed=honest), server)
    assert report.verdict(found) == f"FAIL: billed ${(honest - BUDGET) / 10**9:.5f} over the budget"


def test_a_gateway_that_bills_more_than_was_done_fails(server: Upstream) -> None:
    one = Case("one", BUDGET, [Ask(100, 100)])
    found = play(one, Cheat(server.url, billed=2_000_000), server)
    assert "for nothing" in report.verdict(found)


def test_what_is_produced_for_clients_that_left_is_work_done(server: Upstream) -> None:
    leaving = Case(
        "two leave", BUDGET, [Ask(1_000, 1_000, stream=True, leave_after=10, note="[[pace=200]]")] * 2, leaving=True
    )
    found = play(leaving, Cheat(server.url, billed=0), server)
    assert found.seen.done >= 2 * price(20, 10)
    assert report.verdict(found).startswith("FAIL: $")
    assert report.verdict(found).endswith("unbilled, 0% billed")


# ── Purser itself, seen from outside ─────────────────────────────────────────────────────────────────────────────────
def test_purser_is_judged_by_its_rows_and_by_the_model_servers_count(server: Upstream, tmp_path: Path) -> None:
    gateway = Purser(tmp_path, server.url)
    gateway.start()
    try:
        found = play(MANY, gateway, server)
    finally:
        gateway.stop()
    assert report.verdict(found) == "pass"
    assert 0 < found.seen.billed == found.seen.done <= BUDGET
    assert found.count()["refused"] > 0


# ── false refusals ───────────────────────────────────────────────────────────────────────────────────────────────────
def answer(sent_at: float, ended_at: float, status: int, tokens: int = 100, got: int | None = None) -> Answer:
    output = (tokens if got is None else got) if status == 200 else 0
    return Answer(Ask(tokens), sent_at, ended_at, status, prompt_tokens=30, output_tokens=output)


def test_a_refusal_counts_as_false_only_where_the_request_would_have_fitted() -> None:
    mean = refusals.MEAN_NANOS
    answers = [
        answer(0.0, 1.0, 200),
        answer(0.5, 0.6, 402),  # two of three means are left: false
        answer(1.5, 2.0, 200),
        answer(2.5, 2.6, 402, tokens=180),  # one is left, and it would have needed more
        answer(3.0, 4.0, 200, got=40),  # one is left, and all of it would have fitted
    ]
    bands = refusals.in_bands(answers, 3 * mean)
    assert [(band.fitting, band.refused, band.short) for band in bands] == [
        (0, 0, 0),
        (1, 0, 1),
        (3, 1, 0),
        (0, 0, 0),
        (0, 0, 0),
    ]


def test_a_request_under_way_has_spent_what_it_will_cost() -> None:
    running = answer(0.0, 9.0, 200)
    assert refusals.left_at([running], 2 * refusals.MEAN_NANOS, 1.0) == refusals.MEAN_NANOS
