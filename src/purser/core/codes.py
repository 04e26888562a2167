"""Credit codes: how a code is spelt and read, what one gives, and why it gives nothing."""

from __future__ import annotations

from dataclasses import dataclass

from purser.core.errors import Conflict, Invalid, NotFound
from purser.core.ids import base32
from purser.core.money import format_usd
from purser.core.period import DAY, format_instant

CODE_BITS = 100
MOST_REDEMPTIONS, MOST_DAYS = 1_000_000, 3_660
_GROUP, _LONGEST = 4, 100
_ALIKE = str.maketrans("ilo", "110")  # no code has these letters, which people read for digits


@dataclass(frozen=True, slots=True)
class Code:
    """What an operator offers: so much credit, to so many accounts, until the code expires or is ended.

    The credit lapses `credit_days` after it was redeemed, None meaning never.
    """

    id: str
    amount_nanos: int
    redemptions: int
    redeemed: int = 0
    expires_at: int | None = None
    credit_days: int | None = None
    ended_at: int | None = None


def spell_code(entropy: int) -> str:
    """A code of 100 random bits as people type it: "7K3M-0QRT-…", five groups of four."""
    letters = base32(entropy, CODE_BITS // 5).upper()
    return "-".join(letters[start : start + _GROUP] for start in range(0, len(letters), _GROUP))


def read_code(given: object, field: str = "code") -> str:
    """A code as it is known by, however it was typed: small, without dashes and spaces; raises Invalid for no text."""
    if not isinstance(given, str) or not given.strip() or len(given) > _LONGEST:
        raise Invalid(f"{field} must be a credit code, such as 7K3M-0QRT-…", field=field)
    return "".join(given.lower().replace("-", " ").split()).translate(_ALIKE)


def check_code(code: Code, now: int) -> Code:
    """A new code; raises Invalid for one that could give nothing, or never end."""
    if code.amount_nanos <= 0:
        raise Invalid(f"amountUsd must be above 0, not {format_usd(code.amount_nanos)}", field="amountUsd")
    if not 1 <= code.redemptions <= MOST_REDEMPTIONS:
        raise Invalid(f"redemptions must be from 1 to {MOST_REDEMPTIONS}, not {code.redemptions}", field="redemptions")
    if code.expires_at is not None and code.expires_at <= now:
        raise Invalid("expiresAt must lie in the future", field="expiresAt")
    if code.credit_days is not None and not 1 <= code.credit_days <= MOST_DAYS:
        raise Invalid(f"creditDays must be from 1 to {MOST_DAYS}, not {code.credit_days}", field="creditDays")
    return code


def check_offer(code: Code | None, now: int, *, before: bool) -> Code:
    """The code, if it gives an account something; `before`: the account has redeemed it already.

    Raises NotFound for one that is not known, and Conflict for why it gives nothing, with no field where that is the
    account's own doing.
    """
    if code is None:
        raise NotFound("this credit code is not known here; look whether it is typed as it was given", field="code")
    if before:
        raise Conflict("this credit code was redeemed by this account already, which an account can do once")
    why = ""
    if code.ended_at is not None:
        why = f"was ended at {format_instant(code.ended_at)}"
    elif code.expires_at is not None and code.expires_at <= now:
        why = f"expired at {format_instant(code.expires_at)}"
    elif code.redeemed >= code.redemptions:
        why = "is used up: as many accounts have redeemed it as it was made for"
    if why:
        raise Conflict(f"this credit code {why}", field="code", code="FAILED_PRECONDITION")
    return code


def credit_expires_at(code: Code, now: int) -> int | None:
    """When the credit lapses that is redeemed now."""
    return None if code.credit_days is None else now + code.credit_days * DAY
