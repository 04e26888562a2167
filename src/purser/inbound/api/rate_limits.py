"""Rate limits: what an account may send in a minute as it stands: requests, tokens by model and metric (Q1, Q2)."""

from __future__ import annotations

from purser.core.adaptive import GENERATED, PROMPT, UNCACHED
from purser.core.period import SECOND, format_instant
from purser.core.ratelimit import WINDOW_SECONDS, Rate
from purser.flows import rates, token_limits
from purser.flows.token_limits import InForce
from purser.inbound.api.auth import MEMBER
from purser.inbound.api.call import Call
from purser.inbound.api.routes import get
from purser.inbound.api.wire import Name, PageSize, PageToken, View, page
from purser.inbound.desk import Desk
from purser.store import rates as rows
from purser.store.db import Connection

_NAMES = {PROMPT: "TOKENS_PROMPT", UNCACHED: "TOKENS_UNCACHED_PROMPT", GENERATED: "TOKENS_GENERATED"}


class RequestRate(View):
    """Requests per minute over all endpoints: the limit, and what of it is neither counted nor shared out to workers.

    `counted` are the requests of the last minute that the database counts, `shared_out` what workers may let through
    by themselves in any minute, used or not.
    """

    limit: str
    window_seconds: int
    counted: str
    shared_out: str
    left: str


class TokenRate(View):
    """Tokens per minute with one model, of one metric.

    `limit` moves between `start` and `ceiling` by what is used; `peak` are the tokens of the busiest minute of the last
    three days, `used` those of the latest one that was reported.
    """

    model: str
    metric: str
    limit: str
    start: str
    ceiling: str
    used: str
    peak: str
    shared_out: str
    minute: str
    change_time: str


class RateLimits(View):
    """The rate limits in force: of requests, and a page of those of tokens, by model."""

    requests: RequestRate
    serverless_rate_limits: list[TokenRate]
    next_page_token: str
    total_size: int


def _requests(conn: Connection, desk: Desk, account: str, monotonic: int) -> RequestRate:
    most = rates.requests_per_minute(conn, account, desk.policy, desk.clock.now())
    rate = rows.get_rate(conn, rows.requests_of(account), monotonic)
    return RequestRate(
        limit=str(most),
        window_seconds=WINDOW_SECONDS,
        counted=str(len(rate.seen)),
        shared_out=str(_shared_out(rate)),
        left=str(max(0, most - rate.taken)),
    )


def _shared_out(rate: Rate) -> int:
    return sum(part.share for part in rate.parts)


def _tokens(conn: Connection, found: InForce, monotonic: int) -> TokenRate:
    limit = found.limit
    return TokenRate(
        model=found.key.model,
        metric=_NAMES[found.key.metric],
        limit=str(limit.tokens),
        start=str(found.start),
        ceiling=str(found.most),
        used=str(limit.used),
        peak=str(limit.peak),
        shared_out=str(_shared_out(rows.get_rate(conn, found.key.bucket, monotonic))),
        minute=format_instant(limit.minute_at),
        change_time=format_instant(limit.changed_at),
    )


@get("/v1/accounts/{account:str}/serverlessRateLimits", MEMBER, counted=False)
def get_rate_limits(
    request: Call, account: Name, page_size: PageSize = None, page_token: PageToken = None
) -> RateLimits:
    """Get the rate limits in force: requests per minute, and tokens per minute of each model that was used."""
    desk = request.desk
    monotonic = int(desk.queue.writer.monotonic() * SECOND)
    with desk.read() as conn:
        found = token_limits.list_in_force(conn, account, desk.policy, desk.clock.now())
        some, more = page(found, page_size, page_token)
        tokens = [_tokens(conn, each, monotonic) for each in some]
        return RateLimits(_requests(conn, desk, account, monotonic), tokens, more, len(found))


ROUTES = [get_rate_limits]
