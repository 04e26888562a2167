"""Messages: what is told by mail or webhook, how they end, and when a failed attempt is made again."""

from __future__ import annotations

from purser.core.period import DAY, HOUR, MINUTE, SECOND

MAIL, WEBHOOK = "mail", "webhook"
PENDING, SENT, GIVEN_UP = "pending", "sent", "given up"

SUSPENDED, REINSTATED = "account.suspended", "account.reinstated"
CLOSING, CLOSED, REOPENED = "account.closing", "account.closed", "account.reopened"
DEPLETED = "credits.depleted"
ALERT = "alert.reached"
INVOICE_ISSUED, INVOICE_PAID, INVOICE_FAILED = "invoice.issued", "invoice.paid", "invoice.payment_failed"
PERSON_LINK, INVITED = "person.link", "person.invited"  # to people, by mail alone
INCREASE_ASKED, INCREASE_DECIDED = "increase.asked", "increase.decided"  # of a user's cap, by mail alone
DEPLOYMENT_WARNING, DEPLOYMENT_STOPPED = "deployment.warning", "deployment.stopped"
DEPLOYMENT_DELETED = "deployment.deleted"
TOPICS = (
    *(SUSPENDED, REINSTATED, ALERT, DEPLETED, INVOICE_ISSUED, INVOICE_PAID, INVOICE_FAILED),
    *(CLOSING, CLOSED, REOPENED, DEPLOYMENT_WARNING, DEPLOYMENT_STOPPED, DEPLOYMENT_DELETED),
)

CLAIM = 5 * MINUTE  # for so long a message is whose claimed it; afterwards anybody sends it again
LATE = 3 * DAY  # what could not be tried by then says nothing any more
KEPT = 90 * DAY  # from when it was written; of what has ended nothing is kept for longer
WAITS = (5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY)


def next_attempt_at(attempts: int, now: int) -> int | None:
    """When to try again after so many failed attempts, None after the last: in all about two days."""
    return now + WAITS[attempts - 1] if attempts <= len(WAITS) else None
