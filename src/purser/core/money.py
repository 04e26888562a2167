"""Money as whole nano-dollars: reading, writing, exact rates and the one place that rounds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from purser.core.errors import Invalid

NANOS_PER_USD = 1_000_000_000
NANOS_PER_CENT = 10_000_000
LARGEST_NANOS = 2**62  # keeps sums inside a signed 64-bit column; about 4.6 billion dollars

_DECIMAL = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """A price: `nanos` nano-dollars per `per` units (1,000,000 tokens, 3,600 GPU-seconds, 1 image)."""

    nanos: int
    per: int


def parse_usd(text: object, field: str = "amountUsd", *, negative: bool = False) -> int:
    """Read a decimal string of dollars, such as "12.345", as nano-dollars.

    Raises Invalid naming `field` for anything but a plain decimal string with at most nine decimals.
    """
    found = _DECIMAL.match(text) if isinstance(text, str) else None
    if found is None:
        raise Invalid(
            f'{field} must be dollars as a decimal string such as "12.50" (at most 9 decimals), not {text!r:.60}',
            field=field,
        )
    sign, units, fraction = found.groups()
    nanos = int(units) * NANOS_PER_USD + int((fraction or "").ljust(9, "0"))
    if sign and nanos and not negative:
        raise Invalid(f"{field} must not be negative, got {text}", field=field)
    if nanos > LARGEST_NANOS:
        most = LARGEST_NANOS // NANOS_PER_USD
        raise Invalid(f"{field} is too large: at most {most:,} dollars, got {text}", field=field)
    return -nanos if sign else nanos


def format_usd(nanos: int) -> str:
    """Dollars as a decimal string, at least two decimals and no trailing zeros: "1.00", "0.003675"."""
    if nanos < 0:
        return "-" + format_usd(-nanos)
    text = "%d.%09d" % divmod(nanos, NANOS_PER_USD)  # noqa: UP031 - half the time of the other ways, in every answer
    return text[:-7] + text[-7:].rstrip("0")


def format_usd_exact(nanos: int) -> str:
    """Dollars as a decimal string with all nine decimals: "0.003675000"."""
    sign = "-" if nanos < 0 else ""
    units, fraction = divmod(abs(nanos), NANOS_PER_USD)
    return f"{sign}{units}.{fraction:09d}"


def to_wire(nanos: int) -> dict[str, Any]:
    """The compatible API's Money object (rule M5): int64 `units` as a string, signed `nanos`."""
    units, fraction = divmod(abs(nanos), NANOS_PER_USD)
    sign = -1 if nanos < 0 else 1
    return {"currencyCode": "USD", "units": str(sign * units), "nanos": sign * fraction}


def from_wire(value: object, field: str) -> int:
    """Read a Money object as nano-dollars; raises Invalid naming `field`."""
    if not isinstance(value, dict):
        raise Invalid(
            f'{field} must be a Money object such as {{"currencyCode":"USD","units":"12","nanos":0}}',
            field=field,
        )
    units, nanos = value.get("units", "0"), value.get("nanos", 0)
    if value.get("currencyCode", "USD") != "USD":
        raise Invalid(f"{field}.currencyCode must be USD", field=f"{field}.currencyCode")
    if not re.fullmatch(r"-?\d{1,12}", str(units), re.ASCII) or isinstance(units, bool):
        raise Invalid(f'{field}.units must be an integer as a string, such as "12"', field=f"{field}.units")
    if not isinstance(nanos, int) or isinstance(nanos, bool) or abs(nanos) >= NANOS_PER_USD:
        raise Invalid(f"{field}.nanos must be an integer under 1000000000 in size", field=f"{field}.nanos")
    whole = int(units)
    if whole * nanos < 0:
        raise Invalid(f"{field}: units and nanos must have the same sign", field=field)
    total = whole * NANOS_PER_USD + nanos
    if abs(total) > LARGEST_NANOS:
        most = LARGEST_NANOS // NANOS_PER_USD
        raise Invalid(f"{field} is too large: at most {most:,} dollars", field=field)
    return total


def round_half_even(numerator: int, denominator: int) -> int:
    """`numerator` over `denominator` (> 0) as the nearest integer, ties to the even one."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient


def floor_cents(nanos: int) -> int:
    """The whole cents in `nanos`, rounded down, as nano-dollars."""
    return nanos - nanos % NANOS_PER_CENT
