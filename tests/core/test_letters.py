"""Letters: what mails say."""

from __future__ import annotations

from purser.core import letters
from purser.core.alerts import FORECAST, SPEND, Alert
from purser.core.money import NANOS_PER_USD as USD
from purser.core.period import parse_instant
from purser.core.standing import CREDIT_DEPLETED

AT = parse_instant("2026-03-18T07:00:00Z")


def test_a_suspension_says_why_and_what_lifts_it() -> None:
    letter = letters.suspended("ada", {CREDIT_DEPLETED: ""}, prepaid=False)
    assert letter.subject == "Account ada is suspended"
    assert "its credit is used up" in letter.text
    assert "Add a payment method or credit" in letter.text
    assert "no longer suspended" in letters.reinstated("ada").text


def test_an_invoice_says_what_is_due_and_a_receipt_what_was_bought() -> None:
    due = letters.issued("ada", "ADA-0001", "2026-03", 63 * USD, 63 * USD, receipt=False)
    assert (due.subject, "$63.00 is due" in due.text) == ("Invoice ADA-0001: $63.00", True)
    assert "Nothing is due" in letters.issued("ada", "ADA-0002", "2026-03", 0, 0, receipt=False).text
    assert letters.issued("ada", "ADA-0003", "2026-03", 5 * USD, 0, receipt=True).subject == "Receipt ADA-0003: $5.00"


def test_an_alert_says_what_was_used_of_what_and_when_the_limit_is_reached() -> None:
    share = letters.alert("ada", "2026-03", Alert(SPEND, 160 * USD, 200 * USD), 161 * USD, 200 * USD, AT)
    assert share.subject == "Account ada has used 80 % of its limit for 2026-03"
    assert "has used $161.00 of its monthly limit of $200.00" in share.text
    assert "At this pace the limit is reached on 2026-03-18." in share.text
    threshold = letters.alert("ada", "2026-03", Alert(SPEND, 5 * USD), 6 * USD, None, None)
    assert threshold.subject == "Account ada has used $5.00 in 2026-03"
    assert "limit" not in threshold.text
    forecast = letters.alert("ada", "2026-03", Alert(FORECAST, 200 * USD, 200 * USD), 100 * USD, 200 * USD, AT)
    assert "at this pace the limit of $200.00 is reached before the month ends" in forecast.subject


def test_a_link_says_what_it_does_for_how_long_and_that_it_can_be_left_alone() -> None:
    letter = letters.link("https://x/dashboard/link?token=t", 15, opens_account=False)
    assert letter.subject == "Sign in"
    assert "signs you in; it works once, within 15 minutes:\n\nhttps://x/dashboard/link?token=t\n" in letter.text
    assert "you can ignore this mail" in letter.text
    letter = letters.link("https://x", 15, opens_account=True)
    assert (letter.subject, "This link opens your account" in letter.text) == ("Open your account", True)


def test_an_invitation_says_who_invites_to_what_until_when() -> None:
    letter = letters.invited("ada", "admin", "Eve", "https://x/i?token=t", AT)
    assert letter.subject == "You are invited to account ada"
    assert "Eve invites you to account ada, as admin." in letter.text
    assert "until 2026-03-18:\n\nhttps://x/i?token=t\n" in letter.text


def test_a_request_for_a_higher_limit_says_who_asks_for_how_much_and_what_became_of_it() -> None:
    asked = letters.increase_asked("ada", "eve", 40 * USD, 10 * USD, "until Friday")
    assert asked.subject == "Account ada: user eve asks for a limit of $40.00 a month"
    assert "may spend $10.00 a month, and asks for $40.00.\n\nThe reason given: until Friday\n\n" in asked.text
    assert "reason" not in letters.increase_asked("ada", "eve", 40 * USD, 10 * USD, "").text
    approved = letters.increase_decided("ada", "eve", 40 * USD, 30 * USD, "")
    assert approved.subject == "Account ada: your limit is $30.00 a month"
    assert approved.text == "User eve of account ada may spend $30.00 a month from now on.\n"
    rejected = letters.increase_decided("ada", "eve", 40 * USD, None, "not now")
    assert rejected.subject == "Account ada: your request for $40.00 a month is rejected"
    assert rejected.text == "User eve of account ada keeps its limit.\n\nnot now\n"


def test_a_closed_account_is_told_until_when_it_can_be_opened_again() -> None:
    until = parse_instant("2026-05-01T00:00:00Z")
    begun, done = letters.closing("ada", until), letters.closed("ada", until)
    assert (begun.subject, done.subject) == ("Account ada is being closed", "Account ada is closed")
    assert "its API keys have ended, and nothing new begins" in begun.text
    assert "what is left of its credit lapses, and what is owed comes on its final invoice" in begun.text
    assert "nothing is left to pay" in done.text
    for letter in (begun, done):
        assert "open it again until 2026-05-01T00:00:00Z." in letter.text
    again = letters.reopened("ada")
    assert again.subject == "Account ada is open again"
    assert "Keys that ended and credit that lapsed when it was closed stay so." in again.text


def test_what_becomes_of_a_deployment_is_told_with_what_can_be_done() -> None:
    at = parse_instant("2026-03-01T12:34:56Z")
    warning = letters.deployment_warning("ada", "llama", at)
    assert warning.subject == "Account ada: deployment llama stops at about 2026-03-01 12:34 UTC"
    assert "Raise the limit or add credit" in warning.text
    assert "the account is suspended" in letters.deployment_stopped("ada", "llama", None).text
    assert "no money is left" in letters.deployment_stopped("ada", "llama", "no money is left").text
    assert "purser deployment undelete llama" in letters.deployment_deleted("ada", "llama").text
