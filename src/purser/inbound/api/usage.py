"""Usage over time from the roll-ups, and the statement: the account's own journal in plain rows (D4)."""

from __future__ import annotations

from typing import Annotated, Any

from litestar.params import QueryParameter
from msgspec import UNSET, UnsetType

from purser.core.errors import Invalid
from purser.core.money import format_usd, format_usd_exact
from purser.core.period import DAY, HOUR, MINUTE, NEVER, format_instant, month_of, month_start, parse_instant
from purser.inbound.api.auth import MEMBER
from purser.inbound.api.billing import require_admin
from purser.inbound.api.call import Call
from purser.inbound.api.routes import get
from purser.inbound.api.wire import DEFAULT_PAGE, Name, PageSize, PageToken, View, read_token, write_token
from purser.store import ledger, spending
from purser.store import usage as rows
from purser.store.db import Connection
from purser.store.spending import Used

_PATH = "/v1/accounts/{account:str}"
_SPANS = {"1m": ("MINUTE", MINUTE), "1h": ("HOUR", HOUR), "1d": ("DAY", DAY)}
_GROUPS = {"model": spending.MODEL, "key": spending.API_KEY, "user": spending.USER}
MOST_BUCKETS = 1_000
Start = Annotated[str | None, QueryParameter(description="From when, RFC 3339; this month's start by default.")]
End = Annotated[str | None, QueryParameter(description="Until when, RFC 3339; now by default.")]
BucketSpan = Annotated[str, QueryParameter(description='"1m", "1h" or "1d"; buckets begin at whole ones, UTC.')]
GroupBy = Annotated[
    str | None, QueryParameter(name="groupBy", description='Of "model", "key" and "user", with commas.')
]


class UsageRow(View):
    """What was used within one bucket; where it is grouped by key or user, null stands for usage without one."""

    start: str
    quantities: dict[str, int]
    amount_usd: str
    model: str | UnsetType = UNSET
    key: str | UnsetType | None = UNSET
    user: str | UnsetType | None = UNSET


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


def read_window(
    call: Call, start: str | None, end: str | None, bucket: str, field: str = "bucket"
) -> tuple[int, int, int]:
    """The span asked for, widened to whole buckets: start, end, bucket, microseconds.

    Raises Invalid, also for too many buckets; `field` is what the bucket is called there.
    """
    if bucket not in _SPANS:
        raise Invalid(f'{field} must be "1m", "1h" or "1d", not {bucket!r:.40}', field=field)
    _, span = _SPANS[bucket]
    now = call.desk.clock.now()
    end_at = now + 1 if end is None else parse_instant(end, "end")  # the bucket of this instant is in
    start_at = month_start(month_of(min(now, end_at))) if start is None else parse_instant(start, "start")
    if start_at >= end_at:
        raise Invalid("start must lie before end", field="start")
    start_at -= start_at % span
    end_at = min(-(-end_at // span) * span, NEVER)
    if (end_at - start_at) // span > MOST_BUCKETS:
        raise Invalid(
            f"at most {MOST_BUCKETS} {field}s at once: choose a shorter span or a longer {field}", field="end"
        )
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
    """Sum an account's usage by minute, hour or day, and by model, key and user where asked."""
    start_at, end_at, span = read_window(request, start, end, bucket)
    groups = [name for name in (group_by or "").split(",") if name]
    unknown = next((name for name in groups if name not in _GROUPS), None)
    if unknown is not None or len(set(groups)) < len(groups):
        raise Invalid(
            f"groupBy must be of {', '.join(_GROUPS)}, each once, with commas; not {group_by!r:.60}", field="groupBy"
        )
    require_admin(request, bool({"key", "user"} & set(groups)), "to group by key or user")
    with request.desk.read() as conn:
        if span >= HOUR and not {"key", "user"} & set(groups):
            found = _rolled_up(conn, account, (start_at, end_at, span), "model" in groups)
        else:
            by = [_SPANS[bucket][0], *(_GROUPS[name] for name in groups)]
            found = spending.sum_used(conn, account, start_at, end_at, by)
    return UsageView(
        format_instant(start_at),
        format_instant(end_at),
        bucket,
        [
            UsageRow(
                format_instant(used.dimensions[0]),
                used.quantities,
                format_usd_exact(used.amount_nanos),
                **dict(zip(groups, used.dimensions[1:], strict=True)),
            )
            for used in found
        ],
        format_usd_exact(sum(used.amount_nanos for used in found)),
    )


def _rolled_up(conn: Connection, account: str, window: tuple[int, int, int], by_model: bool) -> list[Used]:
    """The same from the roll-ups, which are summed by hour and model: as fast for a million events as for one."""
    merged: dict[tuple[Any, ...], Used] = {}
    for part in rows.sum_buckets(conn, account, *window, by_model):
        key = (part.start_at, part.model) if by_model else (part.start_at,)
        before = merged.get(key, Used(key, {}, 0))
        quantities = before.quantities | {part.unit: part.quantity}
        merged[key] = Used(key, quantities, before.amount_nanos + part.amount_nanos)
    return [merged[key] for key in sorted(merged)]


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
