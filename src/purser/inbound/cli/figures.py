"""Figures as people read them: dollars with the decimals that matter, whole numbers, instants and spans."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from purser.core.money import format_usd, from_wire, parse_usd
from purser.inbound.cli.failure import clean

_FEWEST, _USUAL, _ALL = 2, 6, 9
_LAST_DIGIT = Decimal("1e-12")  # of a price per million: half of half a nano-dollar has eleven


def nanos_of(value: Any) -> int | None:
    """Nano-dollars of a decimal string or a Money object of the API; None where there is none."""
    if value is None or value == "":
        return None
    return from_wire(value, "money") if isinstance(value, dict) else parse_usd(str(value), "money", negative=True)


def plain_usd(value: Any) -> str:
    """Dollars for a program to read: "1234.5678", and "" where there are none."""
    nanos = nanos_of(value)
    return "" if nanos is None else format_usd(nanos)


def dollars(values: Sequence[Any]) -> list[str]:
    """A column of the API's dollars, "$1,234.50", as `dollars_of` spells them."""
    return dollars_of([nanos_of(value) for value in values])


def dollars_of(amounts: Sequence[int | None]) -> list[str]:
    """A column of nano-dollars with their points in line: two decimals, up to six where a figure needs them."""
    known = [nanos for nanos in amounts if nanos]
    tiny = any(abs(nanos) < 10 ** (_ALL - _USUAL) for nanos in known)  # these would be shown as nothing
    most = _ALL if tiny else _USUAL
    rounded = [None if nanos is None else _round(nanos, most) for nanos in amounts]
    decimals = max((_decimals(nanos) for nanos in rounded if nanos is not None), default=_FEWEST)
    return ["–" if nanos is None else _spell(nanos, decimals) for nanos in rounded]


def usd(value: Any) -> str:
    """One figure in dollars; "–" where there is none."""
    return dollars([value])[0].rstrip()


def _decimals(nanos: int) -> int:
    return len(format_usd(nanos).partition(".")[2])


def _round(nanos: int, decimals: int) -> int:
    step: int = 10 ** (_ALL - decimals)
    rounded = (abs(nanos) + step // 2) // step * step
    return -rounded if nanos < 0 else rounded


def _spell(nanos: int, decimals: int) -> str:
    whole, fraction = format_usd(abs(nanos)).split(".")
    return f"{'−' if nanos < 0 else ''}${int(whole):,}.{fraction.ljust(decimals)}"


def count(value: Any) -> str:
    """A whole number, "1,234"; "–" where there is none."""
    if value is None or value == "":
        return "–"
    try:
        return f"{int(value):,}"
    except (TypeError, ValueError):
        return clean(value)


def when(value: Any) -> str:
    """An instant of the API to the minute, "2026-03-01 09:00", in UTC; "–" where there is none."""
    text = clean(value or "")
    return text[:16].replace("T", " ") if text else "–"


def day(value: Any) -> str:
    """The day of an instant, "2026-03-01"; "–" where there is none."""
    return clean(value or "")[:10] or "–"


def unit_price(value: Any, unit: str) -> str:
    """The price of a unit, of as many as prices are per: "$0.20 / 1M" tokens, "$3.89 / GPU-hour"."""
    from purser.core.pricebook import price_of

    known = price_of(unit)
    per, of = (1, "") if known is None else (known.per, f" / {known.short}")
    exact = (Decimal(str(value)) * per).quantize(_LAST_DIGIT)  # a second's share of an hour's price goes on for ever
    whole, _, fraction = f"{exact:f}".partition(".")
    return f"${int(whole):,}.{fraction.rstrip('0').ljust(2, '0')}{of}"
