"""Mail as it is composed: to one address whatever is asked for, and no words of anybody's make it fail otherwise."""

from __future__ import annotations

import email
import email.policy

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from purser.core.address import is_email
from purser.outbound.mail import compose
from purser.outbound.messages import Message, Undelivered
from tests.core.test_address import BAD, GOOD

FROM = "Purser <billing@example.com>"


def message(to: str, subject: str = "Hello", body: str = "Hello.\n") -> Message:
    return Message("msg_1", to, subject, body, 0)


@pytest.mark.parametrize("address", [bad for bad in BAD if isinstance(bad, str)], ids=repr)
def test_what_is_not_one_address_gets_no_mail(address: str) -> None:
    """An account that was opened before addresses were looked at closely may have any."""
    with pytest.raises(Undelivered, match="is not one mail address") as failed:
        compose(message(address), FROM)
    assert failed.value.final


@pytest.mark.parametrize("address", GOOD)
def test_one_address_gets_it_alone(address: str) -> None:
    read = email.message_from_bytes(compose(message(address), FROM).as_bytes(), policy=email.policy.default)
    assert [each.addr_spec for each in read["To"].addresses] == [address]
    assert [each.addr_spec for each in read["From"].addresses] == ["billing@example.com"]


@pytest.mark.parametrize(
    "sender", ["billing@example.com", '"Billing, [Ltd] @ home" <billing@example.com>', "Zoë <b@c>"]
)
def test_a_sender_has_any_name(sender: str) -> None:
    read = email.message_from_bytes(compose(message("ada@example.com"), sender).as_bytes(), policy=email.policy.default)
    assert len(read["From"].addresses) == 1


@given(to=st.one_of(st.sampled_from(GOOD), st.text()), subject=st.text(), body=st.text(), sender=st.text())
@example(to="a@[", subject="", body="", sender="a@[")
@example(to="a@b", subject="=?utf-8?q?=00?=\ud800", body="\ud800", sender="a@b")
def test_composing_answers_a_mail_or_why_there_is_none(to: str, subject: str, body: str, sender: str) -> None:
    for who in (FROM, sender):
        try:
            mail = compose(message(to, subject, body), who)
        except Undelivered:
            continue
        assert is_email(to)
        assert mail.as_bytes().count(b"\nTo:") == 1
