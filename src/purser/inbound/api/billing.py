"""Cost and usage reports as the compatible API has them: the billing summary, billing usage, and usage costs (D4)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from purser.core.errors import Forbidden, Invalid
from purser.core.money import NANOS_PER_USD
from purser.core.period import DAY, format_instant, parse_instant
from purser.core.rating import rate_of
from purser.inbound.api.auth import MEMBER
from purser.inbound.api.call import Call
from purser.inbound.api.permissions import manages
from purser.inbound.api.routes import get, post
from purser.inbound.api.wire import DEFAULT_PAGE, MOST_PAGE, Compatible, Name, View, page
from purser.store import accounts, prices, slices, spending, usage
from purser.store.db import Connection
from purser.store.spending import API_KEY, MODEL, SPANS, USER

_PATH = "/v1/accounts/{account:str}"
MOST_DAYS = 31
SERVERLESS, _USAGE_TYPE = "SERVERLESS", "TEXT_COMPLETION_INFERENCE_USAGE"
_LONGEST_ZONE, _MOST_VALUES = 64, 1_000
_NO_USER = "unattributed"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
StartTime = Annotated[str, QueryParameter(name="startTime", description="From when, RFC 3339.")]
EndTime = Annotated[str, QueryParameter(name="endTime", description="Until when, RFC 3339; that instant is not in.")]
Zone = Annotated[str, QueryParameter(name="timezone", description="Whose days: an IANA name such as Europe/Berlin.")]
UsageType = Annotated[
    str | None, QueryParameter(name="usageType", description='"SERVERLESS" or nothing; there is no other usage here.')
]
Groups = Annotated[
    str | None,
    QueryParameter(
        name="groupBy",
        description="Of model_name, api_key_id, api_key_name, accelerator_type and deployment_name, with commas.",
    ),
]


class Money(View):
    """An amount: whole units and billionths of one, both with its sign."""

    currency_code: str
    units: str
    nanos: int


class LineItem(View):
    """What one model's units cost at one price."""

    category: str
    grouping_key: str
    grouping_value: str
    secondary_grouping_key: str
    secondary_grouping_value: str
    quantity: str
    unit_amount: Money
    total_cost: Money


class SummaryView(View):
    """What usage cost, line by line."""

    start_time: str
    end_time: str
    line_items: list[LineItem]
    total_cost: Money


class ServerlessUsage(View):
    """What was used within one day, in tokens."""

    start_time: str
    end_time: str
    usage_type: str
    prompt_tokens: str
    cached_prompt_tokens: str
    uncached_prompt_tokens: str
    completion_tokens: str
    model_name: str | UnsetType = UNSET
    api_key_id: str | UnsetType = UNSET
    api_key_name: str | UnsetType = UNSET


class DedicatedUsage(View):
    """What was used within one day, in seconds of accelerators."""

    start_time: str
    end_time: str
    usage_type: str
    accelerator_seconds: str
    accelerator_type: str | UnsetType = UNSET
    deployment_name: str | UnsetType = UNSET


class UsageReport(View):
    """Quantities by day: of tokens, and of the accelerators of deployments."""

    serverless_costs: list[ServerlessUsage]
    dedicated_costs: list[DedicatedUsage]


class CostFilter(Compatible):
    """What to restrict costs to: any value of each list, and all of the lists."""

    models: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    api_keys: tuple[str, ...] = ()


class CostQuery(Compatible):
    """A question about costs."""

    start_time: str
    end_time: str
    scope: str = "SELF"
    group_by: tuple[str, ...] = ()
    filter: CostFilter | None = None
    page_size: int | None = None
    page_token: str | None = None


class CostRow(View):
    """What usage of one kind cost."""

    dimensions: dict[str, str]
    subtotal: Money


class CostReport(View):
    """A page of costs, and what all of them are together."""

    rows: list[CostRow]
    subtotal: Money
    next_page_token: str
    total_size: int
    evaluation_time: str
    attribution_completeness: str


def money(nanos: int, per: int = 1) -> Money:
    """An amount of nano-dollars, or of one unit where they are for `per`, to the nearest below."""
    units, rest = divmod(abs(nanos) // per, NANOS_PER_USD)
    sign = -1 if nanos < 0 else 1
    return Money("USD", str(sign * units), sign * rest)


def require_admin(call: Call, needed: bool, what: str) -> None:
    """Raises Forbidden where something of the whole account is asked for, person by person, by anybody but an admin."""
    if needed and not (call.caller.operator or manages(call.caller.role)):
        raise Forbidden(f"the role admin is needed {what}; this key's user is {call.caller.role}")


def _span(start: str, end: str, names: tuple[str, str] = ("startTime", "endTime")) -> tuple[int, int]:
    """A span of at most 31 days; raises Invalid."""
    start_at, end_at = parse_instant(start, names[0]), parse_instant(end, names[1])
    if start_at >= end_at:
        raise Invalid(f"{names[0]} must lie before {names[1]}", field=names[0])
    if end_at - start_at > MOST_DAYS * DAY:
        raise Invalid(f"at most {MOST_DAYS} days at once: choose a later {names[0]}", field=names[1])
    return start_at, end_at


# ── billing/summary ──────────────────────────────────────────────────────────────────────────────────────────────
@get(_PATH + "/billing/summary", MEMBER)
def get_billing_summary(request: Call, account: Name, start_time: StartTime, end_time: EndTime) -> SummaryView:
    """Get what the usage of some days cost, by model and unit. Only the dates of the times count, in UTC."""
    start_at, end_at = (parse_instant(time, name) for time, name in ((start_time, "startTime"), (end_time, "endTime")))
    start_at, end_at = start_at - start_at % DAY, end_at - end_at % DAY
    if start_at >= end_at:
        raise Invalid("startTime must lie on a day before that of endTime, which is not in", field="startTime")
    if end_at - start_at > MOST_DAYS * DAY:
        raise Invalid(f"at most {MOST_DAYS} days at once: choose a later startTime", field="endTime")
    with request.desk.read() as conn:
        books = {book.version: book for book in prices.list_books(conn)}
        found = usage.sum_span(conn, account, start_at, end_at)
    items, total = [], 0
    for model, unit, version, quantity, amount in found:
        price = rate_of(unit, books[version].models[model])
        nanos, per = (1, 1) if price is None else (price.nanos, price.per)
        total += amount
        items.append(
            LineItem(
                category=SERVERLESS,
                grouping_key="model_name",
                grouping_value=model,
                secondary_grouping_key="unit",
                secondary_grouping_value=unit,
                quantity=str(quantity),
                unit_amount=money(nanos, per),
                total_cost=money(amount),
            )
        )
    return SummaryView(format_instant(start_at), format_instant(end_at), items, money(total))


# ── billingUsage ─────────────────────────────────────────────────────────────────────────────────────────────────
_GROUPS = {"model_name": MODEL, "api_key_id": API_KEY, "api_key_name": API_KEY}
_DEDICATED, _DEDICATED_GROUPS = "DEDICATED_DEPLOYMENT", ("accelerator_type", "deployment_name")


@get(_PATH + "/billingUsage", MEMBER)
def get_billing_usage(
    request: Call,
    account: Name,
    start_time: StartTime,
    end_time: EndTime,
    usage_type: UsageType = None,
    group_by: Groups = None,
    timezone: Zone = "UTC",
) -> UsageReport:
    """Get the tokens used on each of up to 31 days, of whatever time zone, by model and by key where asked.

    And the seconds of accelerators that deployments used, by accelerator and by deployment where asked.
    """
    start_at, end_at = _span(start_time, end_time)
    if usage_type not in (None, "", "USAGE_TYPE_UNSPECIFIED", SERVERLESS, _DEDICATED):
        raise Invalid(f"usageType must be SERVERLESS or absent, not {usage_type!r:.40}", field="usageType")
    zone = _zone(timezone)
    asked = [name for name in (group_by or "").split(",") if name]
    known = (*_GROUPS, *_DEDICATED_GROUPS)
    unknown = next((name for name in asked if name not in known), None)
    if unknown is not None:
        raise Invalid(f"groupBy must be of {', '.join(known)}, not {unknown!r:.40}", field="groupBy")
    dedicated = []
    if usage_type != SERVERLESS:
        dedicated = _dedicated(request, account, start_at, end_at, zone, asked)
    if usage_type == _DEDICATED:
        return UsageReport([], dedicated)
    by = list(dict.fromkeys(_GROUPS[name] for name in asked if name in _GROUPS))
    require_admin(request, API_KEY in by, "to group by key")
    with request.desk.read() as conn:
        found = spending.sum_tokens(conn, account, start_at, end_at, ["QUARTER", *by])
        names = _key_names(conn, account) if "api_key_name" in asked else {}
    days: dict[tuple[Any, ...], list[int]] = {}
    for part in found:
        sums = days.setdefault((_day_start(part.dimensions[0], zone), *part.dimensions[1:]), [0, 0, 0])
        for n, count in enumerate((part.input, part.cached, part.output)):
            sums[n] += count
    report = []
    for (day, *values), (fresh, cached, output) in sorted(days.items(), key=lambda item: _sorting(item[0])):
        if not (fresh or cached or output):
            continue  # what was charged as a sum of money has no tokens
        named = dict(zip(by, values, strict=True))
        key = named.get(API_KEY)
        report.append(
            ServerlessUsage(
                start_time=format_instant(max(day, start_at)),
                end_time=format_instant(min(_day_end(day, zone), end_at)),
                usage_type=_USAGE_TYPE,
                prompt_tokens=str(fresh + cached),
                cached_prompt_tokens=str(cached),
                uncached_prompt_tokens=str(fresh),
                completion_tokens=str(output),
                model_name=named.get(MODEL, UNSET),
                api_key_id=(key or "") if "api_key_id" in asked else UNSET,
                api_key_name=names.get(key or "", "") if "api_key_name" in asked else UNSET,
            )
        )
    return UsageReport(report, dedicated)


def _dedicated(
    call: Call, account: str, start_at: int, end_at: int, zone: ZoneInfo, asked: list[str]
) -> list[DedicatedUsage]:
    """What deployments used by day, a slice on the day on which it starts."""
    days: dict[tuple[int, str, str], int] = {}
    with call.desk.read() as conn:
        for deployment, accelerator, at, seconds in slices.list_billed(conn, account, start_at, end_at):
            by = (accelerator if "accelerator_type" in asked else "", deployment if "deployment_name" in asked else "")
            day = (_day_start(at, zone), *by)
            days[day] = days.get(day, 0) + seconds
    return [
        DedicatedUsage(
            start_time=format_instant(max(day, start_at)),
            end_time=format_instant(min(_day_end(day, zone), end_at)),
            usage_type=_DEDICATED,
            accelerator_seconds=str(seconds),
            accelerator_type=accelerator or UNSET,
            deployment_name=f"accounts/{account}/deployments/{deployment}" if deployment else UNSET,
        )
        for (day, accelerator, deployment), seconds in sorted(days.items())
    ]


def _zone(name: str) -> ZoneInfo:
    try:
        if len(name) > _LONGEST_ZONE:
            raise ValueError(name)
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(
            f"timezone must be an IANA name such as Europe/Berlin, not {name!r:.60}", field="timezone"
        ) from None


def _day_start(at: int, zone: ZoneInfo) -> int:
    local = (_EPOCH + timedelta(microseconds=at)).astimezone(zone)
    return _instant(datetime(local.year, local.month, local.day, tzinfo=zone))


def _day_end(day: int, zone: ZoneInfo) -> int:
    local = (_EPOCH + timedelta(microseconds=day)).astimezone(zone).date()
    following = local + timedelta(days=1)
    return _instant(datetime(following.year, following.month, following.day, tzinfo=zone))


def _instant(local: datetime) -> int:
    return (local.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)


def _sorting(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple("" if value is None else value for value in key)


def _key_names(conn: Connection, account: str) -> dict[str, str]:
    return {str(row.id): str(row.display_name) for row in accounts.list_keys(conn, account, None)}


# ── usageCosts:query ─────────────────────────────────────────────────────────────────────────────────────────────
_DIMENSIONS = ("HOUR", "DAY", MODEL, USER, API_KEY)


@post(_PATH + "/usageCosts/:query", MEMBER, changes_nothing=True)
def query_usage_costs(request: Call, account: Name, data: JSONBody[CostQuery]) -> CostReport:
    """Ask what usage cost, by up to two of HOUR or DAY, MODEL, USER and API_KEY.

    Scope SELF is the caller's own usage; ACCOUNT is everybody's, and an admin's to ask for.
    """
    start_at, end_at = _span(data.start_time, data.end_time)
    by = _grouping(data.group_by)
    only = _filters(data.filter)
    caller = request.caller
    require_admin(request, data.scope == "ACCOUNT", "for scope ACCOUNT")
    if data.scope not in ("ACCOUNT", "SELF"):
        raise Invalid(f"scope must be ACCOUNT or SELF, not {data.scope!r:.40}", field="scope")
    if data.scope == "SELF" and not caller.operator:
        only[USER] = [caller.user] if only.get(USER, [caller.user]).count(caller.user) else []
    if data.page_size is not None and not 1 <= data.page_size <= MOST_PAGE:
        raise Invalid(f"pageSize must be a whole number from 1 to {MOST_PAGE}", field="pageSize")
    with request.desk.read() as conn:
        found = spending.sum_costs(conn, account, start_at, end_at, by, only)
    some, more = page(found, data.page_size or DEFAULT_PAGE, data.page_token)
    return CostReport(
        rows=[CostRow(_dimensions(by, cost.dimensions), money(cost.amount_nanos)) for cost in some],
        subtotal=money(sum(cost.amount_nanos for cost in found)),
        next_page_token=more,
        total_size=len(found),
        evaluation_time=format_instant(request.desk.clock.now()),
        attribution_completeness="COMPLETE",
    )


def _grouping(asked: Sequence[str]) -> list[str]:
    unknown = next((name for name in asked if name not in _DIMENSIONS), None)
    if unknown is not None:
        raise Invalid(f"groupBy must be of {', '.join(_DIMENSIONS)}, not {unknown!r:.40}", field="groupBy")
    if len(asked) > 2 or len(set(asked)) < len(asked):
        raise Invalid("groupBy may name at most two different dimensions", field="groupBy")
    if {"HOUR", "DAY"} <= set(asked):
        raise Invalid("groupBy may name HOUR or DAY, not both", field="groupBy")
    return list(asked)


def _filters(given: CostFilter | None) -> dict[str, list[str]]:
    if given is None:
        return {}
    named = {MODEL: given.models, USER: given.users, API_KEY: given.api_keys}
    if any(len(values) > _MOST_VALUES for values in named.values()):
        raise Invalid(f"filter may name at most {_MOST_VALUES:,} values of a kind", field="filter")
    return {name: list(values) for name, values in named.items() if values}


def _dimensions(by: Sequence[str], values: Sequence[Any]) -> dict[str, str]:
    return {
        name: format_instant(value) if name in SPANS else _NO_USER if value is None else str(value)
        for name, value in zip(by, values, strict=True)
    }


ROUTES = [get_billing_summary, get_billing_usage, query_usage_costs]
