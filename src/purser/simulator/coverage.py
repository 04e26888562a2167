"""Coverage: the situations that many runs must have met, for a simulator that never meets one proves nothing of it."""

from __future__ import annotations

from collections.abc import Mapping

ENOUGH_SEEDS = 100  # from so many runs on, every situation must have come up
REQUIRED = (
    # processes
    "a process started again",
    "a process stopped gracefully",
    "a process died with requests running",
    "a process died before its commit with settlements in it",
    "a process died between its commit and the reply with settlements in it",
    "a dead writer was closed",
    "a commit failed with settlements in it",
    "the reply to a commit was lost with settlements in it",
    "the store was out of reach with requests running",
    "a live writer was closed with requests open",
    "a live writer was closed with settlements on their way",
    "a closed process registered anew",
    "a clock jumped ahead",
    "a clock jumped back",
    "a night with nobody there",
    "a month turned with nobody there",
    # messages
    "a request was lost on its way",
    "an answer was lost on its way",
    "a request was sent twice at once",
    "a request of the same id was still running",
    "a request sent again had been settled",
    "a connection broke within an answer",
    "a client hung up",
    "a request went the express way",
    "a stream ended with an error",
    # money
    "the last of a limit was granted",
    "others were asked for spare",
    "spare came back with requests running",
    "a stream was cut at the limit",
    "answered 402",
    "answered 402 for a key's budget",
    "answered 402 for a user's cap",
    "a budget was changed",
    "a user's cap was changed",
    "a hold by API was placed",
    "a hold by API was refused",
    "a hold by API was settled",
    "a hold by API was settled after its time",
    "a hold by API was given back",
    "a hold by API ended with nothing billed",
    "answered 412",
    "answered 503",
    "suspended: BLOCKED_BY_ABUSE_RULE",
    "suspended: CREDIT_DEPLETED",
    "suspended: MONTHLY_SPEND_LIMIT_EXCEEDED",
    "an account was let in again",
    "a limit was changed",
    "a limit fell below what was taken",
    "what was over a limit came back",
    "credit was given",
    "credit lapsed",
    "a card was taken away",
    "usage was reported after the fact",
    "usage was reported twice",
    "late usage went over a limit",
    "usage was quarantined",
    "usage was estimated",
    # time
    "a request kept the prices of its beginning",
    "a request was settled in the month after its own",
    "a lease of a month gone came back",
    "a month was closed into an invoice",
)


def missing(situations: Mapping[str, int]) -> list[str]:
    """What did not come up."""
    return [name for name in REQUIRED if not situations.get(name)]
