"""Usage over time from the roll-ups, and the statement: the account's own journal in plain rows (D4)."""

from __future__ import annotations

from typing import Annotated, Any

from litestar.params import QueryParameter
from msgspec import UNSET, UnsetType

from purser.core.errors import Invalid
from purser.core.money import format_usd, format_usd_exact
from purser.core.period import DAY, HOUR, NEVER, format_instant, month_of, month_start, parse_instant
from purser.inbound.api.auth import MEMBER
from purser.inbound.api.call import Call
from purser.inbound.api.routes import get
from purser.inbound.api.wire import DEFAULT_PAGE, Name, PageSize, PageToken, View, read_token, write_token
from purser.store import ledger
from purser.store import usage as rows

_PATH = "/v1/accounts/{account:str}"
_SPANS = {"1h": HOUR, "1d": DAY}
MOST_BUCKETS = 1_000
Start = Annotated[str | None, QueryParameter(description="From when, RFC 3339; this month's start by default.")]
End = Annotated[str | None, QueryParameter(description="Until when, RFC 3339; now by default.")]
BucketSpan = Annotated[str, QueryParameter(description='"1h" or "1d"; buckets begin at whole hours or days, UTC.')]
GroupBy = Annotated[str | None, QueryParameter(name="groupBy", description='"model", or nothing.')]


class UsageRow(View):
    """What was used within one bucket."""

    start: str
    quantities: dict[str, int]
    amount_usd: str
    model: str | UnsetType = UNSET


class UsageView(View):
    """Usage over a span of time."""

    start: str
    end: str
    bucket: str
    rows: list[UsageRow]
    total_usd: str


class PostingView(View):
    """One side of a journal entry."""

    ledger: str
    side: str
    amount_usd: str


class StatementRow(View):
    """One thing that happened to the account's money."""

    at: str
    kind: str
    text: str
    amount_usd: str
    key: str
    postings: list[PostingView]


class StatementView(View):
    """A page of the account's journal, newest first."""

    rows: list[StatementRow]
    next_page_token: str


_TEXTS = {
    "settled": "Usage",
    "drawn": "Usage paid from credit, the rest owed",
    "granted": "Credit granted",
    "purchased": "Money received for credit",
    "paid": "Money received for an invoice",
    "lapsed": "Credit expired",
    "invoiced": "Usage put on an invoice",
}


def _window(call: Call, start: str | None, end: str | None, bucket: str) -> tuple[int, int, int]:
    """The span asked for, widened to whole buckets: start, end, bucket, microseconds."""
    if bucket not in _SPANS:
        raise Invalid(f'bucket must be "1h" or "1d": usage is summed by hour, not by {bucket!r:.40}', field="bucket")
    span = _SPANS[bucket]
    now = call.desk.clock.now()
    end_at = now + 1 if end is None else parse_instant(end, "end")  # the bucket of this instant is in
    start_at = month_start(month_of(min(now, end_at))) if start is None else parse_instant(start, "start")
    if start_at >= end_at:
        raise Invalid("start must lie before end", field="start")
    start_at -= start_at % span
    end_at = min(-(-end_at // span) * span, NEVER)
    if (end_at - start_at) // span > MOST_BUCKETS:
        raise Invalid(f"at most {MOST_BUCKETS} buckets at once: choose a shorter span or a longer bucket", field="end")
    return start_at, end_at, span


@get(_PATH + "/usage", MEMBER, counted=False)
def get_usage(
    request: Call,
    account: Name,
    start: Start = None,
    end: End = None,
    bucket: BucketSpan = "1d",
    group_by: GroupBy = None,
) -> UsageView:
    """Sum an account's usage by hour or day, and by model where asked."""
    start_at, end_at, span = _window(request, start, end, bucket)
    if group_by not in (None, "", "model"):
        raise Invalid(
            f'groupBy must be "model" or absent: usage is summed by model, not by {group_by!r:.40}', field="groupBy"
        )
    by_model = group_by == "model"
    with request.desk.read() as conn:
        found = rows.sum_buckets(conn, account, start_at, end_at, span, by_model)
    merged: dict[tuple[int, str], tuple[dict[str, int], int]] = {}
    for part in found:
        quantities, amount = merged.get((part.start_at, part.model), ({}, 0))
        merged[part.start_at, part.model] = (quantities | {part.unit: part.quantity}, amount + part.amount_nanos)
    return UsageView(
        format_instant(start_at),
        format_instant(end_at),
        bucket,
        [
            UsageRow(format_instant(at), quantities, format_usd_exact(amount), model if by_model else UNSET)
            for (at, model), (quantities, amount) in sorted(merged.items(), key=lambda item: item[0])
        ],
        format_usd_exact(sum(part.amount_nanos for part in found)),
    )


def view_entry(entry: dict[str, Any]) -> StatementRow:
    """One journal entry as a row that people can read."""
    sides = entry["postings"]
    return StatementRow(
        at=format_instant(entry["at"]),
        kind=entry["kind"],
        text=_TEXTS.get(entry["kind"], str(entry["kind"])),
        amount_usd=format_usd(sum(amount for _, side, amount in sides if side == "D")),
        key=entry["key"],
        postings=[
            PostingView(name, "debit" if side == "D" else "credit", format_usd_exact(amount))
            for name, side, amount in sides
        ],
    )


@get(_PATH + "/statement", MEMBER, counted=False)
def get_statement(
    request: Call, account: Name, page_size: PageSize = None, page_token: PageToken = None
) -> StatementView:
    """List what happened to an account's money, newest first, each with its double entry."""
    place = read_token(page_token, int, str)
    most = page_size or DEFAULT_PAGE
    with request.desk.read() as conn:
        after = None if place is None else (place[0], place[1])
        entries = ledger.list_transactions(conn, account, most + 1, after)
    last = entries[most - 1] if len(entries) > most else None
    return StatementView(
        [view_entry(entry) for entry in entries[:most]],
        "" if last is None else write_token(last["at"], last["key"]),
    )


ROUTES = [get_usage, get_statement]
