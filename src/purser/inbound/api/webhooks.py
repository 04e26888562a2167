"""Webhook endpoints: added with a secret shown once, listed, removed; their deliveries listed, sent again."""

from __future__ import annotations

from litestar import Response
from litestar.params import JSONBody

from purser.core.period import format_instant
from purser.core.webhook import show_secret
from purser.flows import standing, webhooks
from purser.inbound.api.auth import ADMIN
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.routes import delete, get, post
from purser.inbound.api.wire import (
    DEFAULT_PAGE,
    Body,
    Empty,
    Name,
    PageSize,
    PageToken,
    View,
    instant,
    read_token,
    write_token,
)
from purser.store import endpoints, outbox
from purser.store.db import Row
from purser.store.writers import Tx

_PATH = "/v1/accounts/{account:str}/webhookEndpoints"


class NewEndpoint(Body):
    """Where to tell what happens, and what of it: all, unless event types are named."""

    url: str
    event_types: tuple[str, ...] = ()


class EndpointView(View):
    """An endpoint; `disabledAt` since it said that it is gone (410)."""

    id: str
    url: str
    event_types: list[str]
    created_at: str
    disabled_at: str | None


class MadeEndpoint(EndpointView):
    """A new endpoint, with the secret that signs what it is sent; it is shown this once."""

    secret: str


class EndpointList(View):
    """The endpoints of an account, newest first."""

    webhook_endpoints: list[EndpointView]


class DeliveryView(View):
    """A delivery: its id is the `webhook-id`; `state` is "pending", "sent" or "given up"."""

    id: str
    event_type: str
    state: str
    attempts: int
    created_at: str
    next_attempt_at: str | None
    sent_at: str | None
    status: int | None
    failure: str | None


class DeliveryList(View):
    """A page of deliveries, newest first."""

    deliveries: list[DeliveryView]
    next_page_token: str


def _topics(row: Row) -> list[str]:
    return row.topics.split(",") if row.topics else []


def _view(row: Row) -> EndpointView:
    return EndpointView(row.id, row.url, _topics(row), format_instant(row.created_at), instant(row.disabled_at))


def _delivery(row: Row) -> DeliveryView:
    return DeliveryView(
        id=row.id,
        event_type=row.topic,
        state=row.state,
        attempts=row.attempts,
        created_at=format_instant(row.created_at),
        next_attempt_at=instant(row.due_at),
        sent_at=instant(row.sent_at),
        status=row.status,
        failure=row.failure,
    )


@get(_PATH, ADMIN)
def list_endpoints(request: Call, account: Name) -> EndpointList:
    """List the webhook endpoints."""
    with request.desk.read() as conn:
        standing.require(conn, account)
        return EndpointList([_view(row) for row in endpoints.list_endpoints(conn, account)])


@post(_PATH, ADMIN, status=201)
def add_endpoint(
    request: Call, account: Name, data: JSONBody[NewEndpoint], dry_run: DryRun = False
) -> Response[MadeEndpoint]:
    """Add a webhook endpoint; the answer alone holds the secret that signs its deliveries."""

    def add(tx: Tx) -> MadeEndpoint:
        id_, secret = webhooks.add_endpoint(tx, account, data.url, data.event_types)
        row = webhooks.require(tx.conn, account, id_)
        created = format_instant(row.created_at)
        return MadeEndpoint(id_, row.url, _topics(row), created, None, secret=show_secret(secret))

    return once(request, add, 201, dry_run=dry_run)


@get(_PATH + "/{endpoint:str}", ADMIN)
def get_endpoint(request: Call, account: Name, endpoint: Name) -> EndpointView:
    """Get a webhook endpoint."""
    with request.desk.read() as conn:
        return _view(webhooks.require(conn, account, endpoint))


@delete(_PATH + "/{endpoint:str}", ADMIN)
def remove_endpoint(request: Call, account: Name, endpoint: Name, dry_run: DryRun = False) -> Response[Empty]:
    """Remove a webhook endpoint; what waits for it is not sent any more."""

    def remove(tx: Tx) -> Empty:
        webhooks.remove_endpoint(tx, account, endpoint)
        return Empty()

    return once(request, remove, dry_run=dry_run)


@get(_PATH + "/{endpoint:str}/deliveries", ADMIN)
def list_deliveries(
    request: Call, account: Name, endpoint: Name, page_size: PageSize = None, page_token: PageToken = None
) -> DeliveryList:
    """List what was sent to an endpoint, or is to be, newest first."""
    place, most = read_token(page_token, str), page_size or DEFAULT_PAGE
    with request.desk.read() as conn:
        webhooks.require(conn, account, endpoint)
        found = outbox.list_for(conn, account, endpoint, most + 1, place[0] if place else None)
    more = write_token(found[most - 1].id) if len(found) > most else ""
    return DeliveryList([_delivery(row) for row in found[:most]], more)


@post(_PATH + "/{endpoint:str}/deliveries/{delivery:str}/:replay", ADMIN)
def replay_delivery(
    request: Call, account: Name, endpoint: Name, delivery: Name, dry_run: DryRun = False
) -> Response[DeliveryView]:
    """Send a delivery that has ended once more, under its own id; an endpoint that was disabled is enabled."""
    return once(request, lambda tx: _delivery(webhooks.replay(tx, account, endpoint, delivery)), dry_run=dry_run)


ROUTES = [list_endpoints, add_endpoint, get_endpoint, remove_endpoint, list_deliveries, replay_delivery]
