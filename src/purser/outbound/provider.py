"""What a payment provider does for us: accept a card, charge it; our id is the charge's idempotency key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CardDetails:
    """An accepted card as the provider describes it; never its number.

    `fingerprint` is the same wherever the same card is added; where the card is `anybodys`, it tells nobody apart.
    """

    token: str
    brand: str
    last4: str
    exp_month: int
    exp_year: int
    fingerprint: str
    anybodys: bool = False


class Declined(Exception):
    """The provider declined; `code` is its reason, the text is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Unreachable(Exception):
    """The provider did not answer: the outcome is unknown, and asking again with the same key is safe."""


class PaymentProvider(Protocol):
    """A payment provider."""

    def attach(self, token: str) -> CardDetails:
        """Accept a card for later charges; raises Declined, Unreachable."""

    def look(self, token: str) -> CardDetails:
        """Say what `attach` would, as far as that is known without it, and accept nothing."""

    def charge(self, token: str, amount_nanos: int, key: str) -> str:
        """Charge a card once per key; answers the provider's id of the charge. Raises Declined, Unreachable."""
