"""Alerts: what of a month's spend is told, and was; the notification settings of the compatible API (L7)."""

from __future__ import annotations

from typing import Any

from litestar import Response
from litestar.params import JSONBody

from purser.core.alerts import FORECAST, SPEND, share_of
from purser.core.errors import Invalid
from purser.core.money import format_usd, from_wire, parse_usd, to_wire
from purser.core.period import format_instant, month_of
from purser.flows import alerts, standing
from purser.inbound.api.auth import ADMIN, MEMBER
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.routes import get, patch, post
from purser.inbound.api.wire import Body, Compatible, Name, View, instant
from purser.store import alerts as rows
from purser.store import headroom
from purser.store.db import Connection
from purser.store.headroom import month_key
from purser.store.writers import Tx

_ACCOUNT = "/v1/accounts/{account:str}"


class NewAlert(Body):
    """An amount of a month's spend that is to be told."""

    threshold_usd: str


class AlertView(View):
    """One alert of this month: `kind` is "limit" (80 % of it), "threshold" or "forecast" (at this pace the limit is
    reached before the month ends); `reachedAt` is null while there is nothing to tell."""

    kind: str
    threshold_usd: str
    month: str
    used_usd: str | None
    reached_at: str | None


class AlertList(View):
    """This month's alerts, what was told and what will be, by amount."""

    alerts: list[AlertView]


class ChangedSettings(Compatible):
    """What is to change: all thresholds, as Money objects ([]: none), and whether a forecast is told."""

    monthly_spend_thresholds: list[dict[str, Any]] | None = None
    forecast_alert: bool | None = None


class SettingsView(View):
    """What is told of a month's spend, besides 80 % of the limit, which always is."""

    name: str
    monthly_spend_thresholds: list[dict[str, Any]]
    forecast_alert: bool
    update_time: str


def _list(conn: Connection, account: str, now: int) -> list[AlertView]:
    standing.require(conn, account)
    month, wish = month_of(now), rows.get_wish(conn, account)[0]
    row = headroom.get_row(conn, month_key(account, month))
    limit = row.amount if row is not None and row.enforced else None
    kinds: dict[tuple[str, int], str] = {(SPEND, amount): "threshold" for amount in wish.thresholds}
    share = share_of(limit)
    if share is not None and limit is not None:
        kinds[SPEND, share] = "limit"
        if wish.forecast:
            kinds[FORECAST, limit] = "forecast"
    told = {(each.kind, each.amount): each for each in rows.list_told(conn, account, month)}
    for (kind, amount), each in told.items():
        kinds.setdefault((kind, amount), "forecast" if kind == FORECAST else "limit" if each.of_limit else "threshold")
    found = []
    for place, kind in sorted(kinds.items(), key=lambda item: (item[0][1], item[0][0])):
        was = told.get(place)
        used, at = (None, None) if was is None else (format_usd(was.used), instant(was.at))
        found.append(AlertView(kind, format_usd(place[1]), month, used, at))
    return found


@get(f"{_ACCOUNT}/alerts", MEMBER)
def list_alerts(request: Call, account: Name) -> AlertList:
    """List this month's alerts: what is told by default and by the account's wish, and when it was."""
    with request.desk.read() as conn:
        return AlertList(_list(conn, account, request.desk.clock.now()))


@post(f"{_ACCOUNT}/alerts", ADMIN, status=201)
def add_alert(request: Call, account: Name, data: JSONBody[NewAlert], dry_run: DryRun = False) -> Response[AlertView]:
    """Have an amount of each month's spend told once; one that is there already stays."""
    amount = parse_usd(data.threshold_usd, "thresholdUsd")
    if not amount:
        raise Invalid("thresholdUsd must be above 0", field="thresholdUsd")

    def add(tx: Tx) -> AlertView:
        alerts.set_wish(tx, account, [*rows.get_wish(tx.conn, account)[0].thresholds, amount])
        found = _list(tx.conn, account, tx.now)
        return next(each for each in found if each.threshold_usd == format_usd(amount) and each.kind != "forecast")

    return once(request, add, 201, dry_run=dry_run)


def _settings(conn: Connection, account: str) -> SettingsView:
    row = standing.require(conn, account)
    wish, at = rows.get_wish(conn, account)
    return SettingsView(
        f"accounts/{account}/notificationSettings",
        [to_wire(amount) for amount in wish.thresholds],
        wish.forecast,
        format_instant(row.created_at if at is None else at),
    )


@get(f"{_ACCOUNT}/notificationSettings", MEMBER)
def get_settings(request: Call, account: Name) -> SettingsView:
    """Get what is told of an account's spend."""
    with request.desk.read() as conn:
        return _settings(conn, account)


@patch(f"{_ACCOUNT}/notificationSettings", ADMIN)
def update_settings(
    request: Call, account: Name, data: JSONBody[ChangedSettings], dry_run: DryRun = False
) -> Response[SettingsView]:
    """Set the thresholds that are told, all of them at once; 80 % of the limit is told in any case."""
    field = "monthlySpendThresholds"
    given = data.monthly_spend_thresholds
    if given is None and data.forecast_alert is None:
        raise Invalid(f"say what to change: {field}, a list of Money objects, or forecastAlert", field=field)
    amounts = None if given is None else [from_wire(each, f"{field}[{n}]") for n, each in enumerate(given)]

    def change(tx: Tx) -> SettingsView:
        alerts.set_wish(tx, account, amounts, data.forecast_alert)
        return _settings(tx.conn, account)

    return once(request, change, dry_run=dry_run)


ROUTES = [list_alerts, add_alert, get_settings, update_settings]
