"""The built-in test provider: takes Stripe's test tokens, moves no money, answers at once and always the same.

The tokens are anybody's. With a name behind it, such as "pm_card_visa@ada", one stands for that person's own card.
"""

from __future__ import annotations

from purser.outbound.provider import CardDetails, Declined

_CARDS = {
    "pm_card_visa": ("visa", "4242"),
    "pm_card_visa_debit": ("visa", "5556"),
    "pm_card_mastercard": ("mastercard", "4444"),
    "pm_card_mastercard_debit": ("mastercard", "3222"),
    "pm_card_amex": ("amex", "8431"),
    "pm_card_discover": ("discover", "9424"),
    "pm_card_diners": ("diners", "3237"),
    "pm_card_jcb": ("jcb", "0505"),
    "pm_card_unionpay": ("unionpay", "0005"),
    "pm_card_chargeCustomerFail": ("visa", "0341"),
}
_DECLINED_WHEN_ADDED = {
    "pm_card_chargeDeclined": ("card_declined", "The card was declined."),
    "pm_card_visa_chargeDeclined": ("card_declined", "The card was declined."),
    "pm_card_chargeDeclinedInsufficientFunds": ("insufficient_funds", "The card has insufficient funds."),
    "pm_card_visa_chargeDeclinedInsufficientFunds": ("insufficient_funds", "The card has insufficient funds."),
    "pm_card_chargeDeclinedLostCard": ("lost_card", "The card was reported lost."),
    "pm_card_chargeDeclinedStolenCard": ("stolen_card", "The card was reported stolen."),
    "pm_card_chargeDeclinedExpiredCard": ("expired_card", "The card has expired."),
    "pm_card_chargeDeclinedIncorrectCvc": ("incorrect_cvc", "The card's security code is incorrect."),
    "pm_card_chargeDeclinedProcessingError": ("processing_error", "The card could not be processed; try again."),
}
_DECLINED_WHEN_CHARGED = {"pm_card_chargeCustomerFail": ("card_declined", "The card was declined.")}


class TestProvider:
    """Answers by the token alone, so that the same charge with the same key always ends the same."""

    __test__ = False  # not a test case, whatever pytest thinks of its name

    def attach(self, token: str) -> CardDetails:
        """Accept one of the test tokens; raises Declined for those that stand for a bad card, and for any other."""
        card, _, holder = token.partition("@")
        if card in _DECLINED_WHEN_ADDED:
            raise Declined(*_DECLINED_WHEN_ADDED[card])
        if card not in _CARDS:
            known = ", ".join(sorted(_CARDS)[:4])
            raise Declined(
                "resource_missing", f"No such payment method {token!r:.60}; the test provider knows {known} …"
            )
        brand, last4 = _CARDS[card]
        fingerprint = f"test_{brand}_{last4}" + (f"_{holder}" if holder else "")
        return CardDetails(token, brand, last4, 12, 2034, fingerprint, anybodys=not holder)

    def look(self, token: str) -> CardDetails:
        """The same as `attach`, which keeps nothing either."""
        return self.attach(token)

    def charge(self, token: str, amount_nanos: int, key: str) -> str:
        """Charge a test card; raises Declined for the token that stands for a charge that fails."""
        card = token.partition("@")[0]
        if card in _DECLINED_WHEN_CHARGED:
            raise Declined(*_DECLINED_WHEN_CHARGED[card])
        if amount_nanos <= 0:
            raise Declined("amount_too_small", "The amount must be above zero.")
        return f"test_{key}"
