"""Our sums beside those of the genai-prices package: equal, or different for a reason that the page tells (P1, P2)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from purser.core.money import Rate
from purser.core.pricebook import read_price
from purser.core.rating import Charge, rate
from purser.core.usage import CACHED, INPUT, OUTPUT, Measured, normalise
from purser.inbound.cli import price_sources
from tests.prices import beside_genai, beside_litellm, differences
from tests.prices.differences import Tally

pytestmark = pytest.mark.once  # what is compared here is sums, and nothing keeps them

PAGE = Path(__file__).parents[2] / "docs" / "prices.md"
SEED, ROUNDS = 1, 6


@pytest.fixture(scope="module")
def tally() -> Tally:
    """What came of every model that can be taken over."""
    return beside_genai.compare(SEED, ROUNDS)


def test_our_sums_are_those_of_genai_prices_or_different_for_a_known_reason(tally: Tally) -> None:
    assert tally.unexplained == []
    assert len(tally.models) > 1_000
    assert tally.usages > 10_000
    assert tally.equal > tally.usages // 2
    assert len({model.split(": ")[0] for model in tally.models}) > 20, "of many providers"


def test_every_reason_is_met_and_is_on_the_page(tally: Tally) -> None:
    page = PAGE.read_text()
    for reason in beside_genai.REASONS:
        assert tally.explained[reason.says] > 0, f"{reason.says}: it explains nothing, so it could hide something"
    assert tally.refused.keys() == {differences.UNPRICED, beside_genai.UNTOLD}
    reasons = (*beside_genai.REASONS, *beside_litellm.REASONS)
    for says in (*(one.says for one in reasons), beside_litellm.OTHER_ENTRY, *tally.refused):
        assert f"| {says} |" in page


# ── the comparison notices ───────────────────────────────────────────────────────────────────────────────────────
def _a_third_for_cached(model: str, given: Any, _real: Callable[..., Any] = read_price) -> Any:
    rates = _real(model, given)
    if CACHED in rates and "cached_input" not in given:
        rates[CACHED] = Rate(rates[INPUT].nanos, 3 * rates[INPUT].per)
    return rates


def _reasoning_twice(usage: Any, _real: Callable[..., Measured | None] = normalise) -> Measured | None:
    measured = _real(usage)
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens", 0)
    if measured is None or not reasoning:
        return measured
    used = measured.quantities
    return Measured({**used, OUTPUT: used.get(OUTPUT, 0) + reasoning}, estimated=False)


def _a_nano_more(used: Any, rates: Any, _real: Callable[..., Charge] = rate) -> Charge:
    charge = _real(used, rates)
    return Charge(charge.amount_nanos + 1, charge.parts)


@pytest.mark.parametrize(
    ("name", "fault"), [("read_price", _a_third_for_cached), ("normalise", _reasoning_twice), ("rate", _a_nano_more)]
)
def test_what_nobody_can_explain_is_told(monkeypatch: pytest.MonkeyPatch, name: str, fault: Any) -> None:
    monkeypatch.setattr(differences, name, fault)
    unexplained = beside_genai.compare(SEED, 1).unexplained
    assert len(unexplained) > 50
    assert "costs" in unexplained[0]


def test_a_price_that_is_taken_over_wrongly_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(price_sources._GENAI, "cache_write_1h_mtok", price_sources._GENAI["cache_write_5m_mtok"])
    assert beside_genai.compare(SEED, 1).unexplained, "P1"
