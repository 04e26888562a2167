"""Quotas: the monthly spend limit, requests per minute and GPUs, as the compatible API shows them (L1–L5, Q3)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from litestar import Response
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from purser.core.deployment import QUOTAS, quota_of
from purser.core.errors import Forbidden, Invalid, NotFound
from purser.core.limits import PREPAID
from purser.core.money import NANOS_PER_USD
from purser.core.period import SECOND, format_instant, month_of
from purser.flows import accounts, deployments, fleet, rates, reports, standing
from purser.inbound.api.auth import ADMIN, MEMBER
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.routes import get, patch
from purser.inbound.api.wire import Compatible, Name, PageSize, PageToken, View, instant, page
from purser.inbound.desk import Desk
from purser.store import deployments as deployment_rows
from purser.store import headroom
from purser.store.db import Connection
from purser.store.headroom import month_key
from purser.store.writers import Tx

MONTHLY_SPEND, REQUESTS = "monthly-spend-usd", "serverless-inference-rpm"
_PATH = "/v1/accounts/{account:str}/quotas"


class ChangedQuota(Compatible):
    """What is to change of a quota: its value, whole dollars as an int64 string."""

    value: str | int | None = None
    max_value: str | int | None = None


class QuotaView(View):
    """A quota: `value` is the limit in force and `maxValue` the most it can be, each absent where unlimited."""

    name: str
    usage: float
    create_time: str
    update_time: str
    value: str | UnsetType = UNSET
    max_value: str | UnsetType = UNSET
    effective_at: str | UnsetType | None = UNSET


class QuotaList(View):
    """A page of quotas."""

    quotas: list[QuotaView]
    next_page_token: str
    total_size: int


def _dollars(nanos: int | None) -> str | UnsetType:
    return UNSET if nanos is None else str(nanos // NANOS_PER_USD)


def _spend(conn: Connection, desk: Desk, account: str, now: int) -> QuotaView:
    found = reports.view_account(conn, account, desk.policy)
    row = found.row
    key = month_key(account, month_of(now))
    most = None if found.tier is None or row.billing_mode == PREPAID else found.tier.limit_nanos
    if found.limit_nanos is None:
        most = None
    month = headroom.get_row(conn, key)
    in_force = month is None or month.taken <= month.amount or not headroom.get_writers_spare(conn, key)
    effective_at = row.limit_effective_at if row.limit_effective_at is not None else (now if in_force else None)
    return QuotaView(
        name=f"accounts/{account}/quotas/{MONTHLY_SPEND}",
        usage=headroom.get_used(conn, key) / NANOS_PER_USD,
        create_time=format_instant(row.created_at),
        update_time=format_instant(row.updated_at),
        value=_dollars(found.limit_nanos),
        max_value=_dollars(most),
        effective_at=UNSET if row.limit_nanos is None else instant(effective_at),
    )


def _requests(conn: Connection, desk: Desk, account: str, now: int) -> QuotaView:
    most = rates.requests_per_minute(conn, account, desk.policy, now)
    counted = rates.get_counted(conn, account, int(desk.queue.writer.monotonic() * SECOND))
    row = standing.require(conn, account)
    return QuotaView(
        name=f"accounts/{account}/quotas/{REQUESTS}",
        usage=counted + desk.recent_requests(account),
        create_time=format_instant(row.created_at),
        update_time=format_instant(row.updated_at),
        value=str(most),
        max_value=str(most),
    )


def _gpus(conn: Connection, desk: Desk, account: str, now: int, *, accelerator: str) -> QuotaView:
    row = standing.require(conn, account)
    most, since = deployment_rows.get_quota(conn, account, accelerator)
    return QuotaView(
        name=f"accounts/{account}/quotas/{quota_of(accelerator)}",
        usage=fleet.gpus_in_use(conn, account, accelerator),
        create_time=format_instant(row.created_at),
        update_time=format_instant(row.created_at if since is None else since),
        value=str(most),
        max_value=str(most),
    )


_VIEWS: dict[str, Callable[..., QuotaView]] = {
    MONTHLY_SPEND: _spend,
    REQUESTS: _requests,
    **{quota: partial(_gpus, accelerator=accelerator) for quota, accelerator in QUOTAS.items()},
}


def view(conn: Connection, desk: Desk, account: str, quota: str, now: int) -> QuotaView:
    """One quota; raises NotFound."""
    if quota not in _VIEWS:
        raise NotFound(f"there is no quota {quota!r:.60}; there are {', '.join(_VIEWS)}", field="quota")
    return _VIEWS[quota](conn, desk, account, now)


@get(_PATH, MEMBER, counted=False)
def list_quotas(request: Call, account: Name, page_size: PageSize = None, page_token: PageToken = None) -> QuotaList:
    """List an account's quotas."""
    desk = request.desk
    with desk.read() as conn:
        rows = [view(conn, desk, account, quota, desk.clock.now()) for quota in _VIEWS]
    some, more = page(rows, page_size, page_token)
    return QuotaList(list(some), more, len(rows))


@get(_PATH + "/{quota:str}", MEMBER, counted=False)
def get_quota(request: Call, account: Name, quota: Name) -> QuotaView:
    """Get a quota."""
    with request.desk.read() as conn:
        return view(conn, request.desk, account, quota, request.desk.clock.now())


@patch(_PATH + "/{quota:str}", ADMIN, counted=False)
def update_quota(
    request: Call, account: Name, quota: Name, data: JSONBody[ChangedQuota], dry_run: DryRun = False
) -> Response[QuotaView]:
    """Set the monthly spend limit, in force at once: whole dollars from 0 to the tier's maximum (L5).

    The operator sets the GPUs of a kind that the account may have at once, by `maxValue`.
    """
    desk = request.desk
    if quota not in _VIEWS:
        raise NotFound(f"there is no quota {quota!r:.60}; there are {', '.join(_VIEWS)}", field="quota")
    if quota in QUOTAS:
        return _update_gpus(request, account, quota, data, dry_run=dry_run)
    if data.max_value is not None:
        if not request.caller.operator:
            raise Forbidden("maxValue follows from the account's tier; set value")
        raise Invalid(
            "maxValue follows from the account's tier; to lift it, PATCH /operator/v1/accounts/{a} "
            'with {"unlimited": true}',
            field="maxValue",
        )
    if quota != MONTHLY_SPEND:
        raise Forbidden(f"{quota} is read-only: it follows from the payment method on file")
    if data.value is None:
        raise Invalid('value is missing: whole dollars as a string, such as "200"', field="value")

    def change(tx: Tx) -> QuotaView:
        accounts.set_limit(tx, account, data.value)
        return view(tx.conn, desk, account, quota, tx.now)

    return once(request, change, dry_run=dry_run)


def _update_gpus(request: Call, account: str, quota: str, data: ChangedQuota, *, dry_run: bool) -> Response[QuotaView]:
    """How many GPUs an account may have at once is the operator's to say."""
    if not request.caller.operator:
        raise Forbidden(f"{quota} is the operator's to change")
    text = str(data.value if data.max_value is None else data.max_value)
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Invalid('maxValue must be a number of GPUs as a string, such as "16"', field="maxValue")

    def change(tx: Tx) -> QuotaView:
        deployments.set_quota(tx, account, QUOTAS[quota], int(text))
        return view(tx.conn, request.desk, account, quota, tx.now)

    return once(request, change, dry_run=dry_run)


ROUTES = [list_quotas, get_quota, update_quota]
