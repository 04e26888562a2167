"""The test provider: whose cards its tokens are."""

from __future__ import annotations

import pytest

from purser.outbound.provider import Declined
from purser.outbound.testpay import TestProvider


def test_a_token_is_anybodys_card_unless_it_names_a_person() -> None:
    provider = TestProvider()
    cards = [provider.attach(token) for token in ("pm_card_visa", "pm_card_visa@ada", "pm_card_visa@bob")]
    assert [card.anybodys for card in cards] == [True, False, False]
    assert len({card.fingerprint for card in cards}) == 3
    assert provider.attach("pm_card_visa@ada") == cards[1], "the same wherever it is added"
    assert provider.attach("pm_card_visa@").anybodys
    assert {(card.brand, card.last4) for card in cards} == {("visa", "4242")}


def test_a_persons_own_card_fails_as_anybodys_does() -> None:
    provider = TestProvider()
    for token in ("pm_card_chargeDeclined@ada", "pm_card_none@ada", "@ada"):
        with pytest.raises(Declined):
            provider.attach(token)
    card = provider.attach("pm_card_chargeCustomerFail@ada")
    with pytest.raises(Declined):
        provider.charge(card.token, 1_000, "pay_1")
    assert provider.charge("pm_card_visa@ada", 1_000, "pay_1") == "test_pay_1"
