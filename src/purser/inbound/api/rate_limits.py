"""Rate limits: what an account may send in a minute as it stands: requests, tokens by model and metric (Q1, Q2)."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from purser.core.adaptive import GENERATED, PROMPT, UNCACHED
from purser.core.period import SECOND, format_instant
from purser.core.ratelimit import WINDOW_SECONDS, Rate
from purser.flows import rates, token_limits
from purser.flows.token_limits import InForce
from purser.inbound.api.auth import MEMBER
from purser.inbound.api.call import Call
from purser.inbound.api.routes import get
from purser.inbound.api.wire import Name, PageSize, PageToken, View, instant, page
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

    `limit` moves between `start` and `ceiling` by what is used where its `source` is ADAPTIVE. Where that is CUSTOM the
    operator has set it: it does not move, all three are the same, and absent where there is no limit; model "*" is
    every one that has none of its own. `peak` are the tokens of the busiest minute of the last three days, `used` those
    of the latest one that was reported.
    """

    model: str
    metric: str
    source: str
    used: str
    peak: str
    shared_out: str
    minute: str | None
    change_time: str
    limit: str | UnsetType = UNSET
    start: str | UnsetType = UNSET
    ceiling: str | UnsetType = UNSET


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
    limit, custom = found.limit, found.custom
    bounds = (limit.tokens, found.start, found.most) if custom is None else (custom.tokens,) * 3
    told = [UNSET if tokens is None else str(tokens) for tokens in bounds]
    changed_at = limit.changed_at if custom is None or custom.set_at is None else custom.set_at
    return TokenRate(
        model=found.key.model,
        metric=_NAMES[found.key.metric],
        source="ADAPTIVE" if custom is None else "CUSTOM",
        limit=told[0],
        start=told[1],
        ceiling=told[2],
        used=str(limit.used),
        peak=str(limit.peak),
        shared_out=str(_shared_out(rows.get_rate(conn, found.key.bucket, monotonic))),
        minute=instant(limit.minute_at or None),
        change_time=format_instant(changed_at),
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
