"""Token usage: how many tokens of each model an account used by minute, hour or day, by what they were (D4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Annotated, NamedTuple

from litestar.params import QueryParameter

from purser.core.errors import Invalid
from purser.core.period import HOUR, format_instant
from purser.core.usage import BATCH, CACHED, INPUT, MORE_INPUT, OUTPUT, OUTPUT_KINDS, PRIORITY, TOKENS
from purser.inbound.api.auth import MEMBER
from purser.inbound.api.call import Call
from purser.inbound.api.routes import get
from purser.inbound.api.usage import End, Start, read_window
from purser.inbound.api.wire import DEFAULT_PAGE, Name, PageSize, PageToken, View, page
from purser.store import spending, usage
from purser.store.db import Connection

# Each metric, in the order in which a model's are listed, with the units that it counts.
METRICS = {
    "TOKENS_PROMPT": (INPUT, CACHED),
    "TOKENS_CACHED_PROMPT": (CACHED,),
    "TOKENS_UNCACHED_PROMPT": (INPUT,),
    "TOKENS_GENERATED": (OUTPUT,),
}
MOST_VALUES = 20_000  # in one answer, which has fewer series where they are long
# What every unit counts as: tokens of whatever kind, at whatever tier.
_KINDS = {CACHED: CACHED, **dict.fromkeys((INPUT, *MORE_INPUT), INPUT), **dict.fromkeys(OUTPUT_KINDS, OUTPUT)}
_PLAIN = _KINDS | {tier[unit]: plain for tier in (BATCH, PRIORITY) for unit, plain in _KINDS.items()}
Interval = Annotated[str, QueryParameter(description='"1m", "1h" or "1d"; intervals begin at whole ones, UTC.')]
Model = Annotated[str | None, QueryParameter(max_length=200, description="Of this model alone.")]
Metric = Annotated[str | None, QueryParameter(description=f"Of this alone: {', '.join(METRICS)}.")]


class TokenValue(View):
    """The tokens of one interval, which begins at `timestamp`."""

    timestamp: str
    value: str


class TokenSeries(View):
    """The tokens of one model and metric over time, oldest first; an interval that is not there used none."""

    model: str
    metric: str
    total: str
    values: list[TokenValue]


class TokenUsage(View):
    """What was used over a span of time: a page of series, by model and metric, of those that used any."""

    start: str
    end: str
    interval: str
    serverless_token_usage: list[TokenSeries]
    next_page_token: str
    total_size: int


class _Part(NamedTuple):
    at: int
    model: str
    unit: str  # plain, whatever kind it was of and tier it was used at
    tokens: int


def _parts(conn: Connection, account: str, start_at: int, end_at: int, span: int) -> Iterator[_Part]:
    """What was used, oldest first, hours and days from the roll-ups; a unit may come more than once."""
    if span >= HOUR:
        for found in usage.sum_buckets(conn, account, start_at, end_at, span, True):
            if found.unit in _PLAIN:
                yield _Part(found.start_at, found.model, _PLAIN[found.unit], found.quantity)
        return
    for used in spending.sum_tokens(conn, account, start_at, end_at, ["MINUTE", spending.MODEL]):
        at, model = used.dimensions
        for unit, tokens in zip(TOKENS, (used.input, used.cached, used.output), strict=True):
            yield _Part(at, model, unit, tokens)


@get("/v1/accounts/{account:str}/serverlessTokenUsage", MEMBER, counted=False)
def get_token_usage(
    request: Call,
    account: Name,
    start: Start = None,
    end: End = None,
    interval: Interval = "1h",
    model: Model = None,
    metric: Metric = None,
    page_size: PageSize = None,
    page_token: PageToken = None,
) -> TokenUsage:
    """Get the tokens used of each model over time: of prompts, read from cache and not, and generated.

    What was used in batches and at the priority price is in. A page has fewer series where they are long.
    """
    if metric is not None and metric not in METRICS:
        raise Invalid(f"metric must be one of {', '.join(METRICS)}, not {metric!r:.40}", field="metric")
    start_at, end_at, span = read_window(request, start, end, interval, "interval")
    found: dict[tuple[str, str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    with request.desk.read() as conn:
        for part in _parts(conn, account, start_at, end_at, span):
            for name, units in METRICS.items():
                if part.tokens and part.unit in units and model in (None, part.model) and metric in (None, name):
                    found[part.model, name][part.at] += part.tokens
    order = [*METRICS].index
    names = sorted(found, key=lambda each: (each[0], order(each[1])))
    most = max(1, MOST_VALUES * span // (end_at - start_at))
    some, more = page(names, min(page_size or DEFAULT_PAGE, most), page_token)
    return TokenUsage(
        format_instant(start_at),
        format_instant(end_at),
        interval,
        [_series(*name, found[name]) for name in some],
        more,
        len(names),
    )


def _series(model: str, metric: str, tokens: dict[int, int]) -> TokenSeries:
    values = [TokenValue(format_instant(at), str(tokens[at])) for at in sorted(tokens)]
    return TokenSeries(model, metric, str(sum(tokens.values())), values)


ROUTES = [get_token_usage]
