"""Reservations: GPUs that an account has for a time, which are not billed on demand; made by the operator."""

from __future__ import annotations

from litestar import Response
from litestar.params import JSONBody

from purser.core.period import DAY, format_instant, parse_instant
from purser.flows import deployments as flow
from purser.flows import standing
from purser.inbound.api.auth import MEMBER, OPERATOR
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.routes import delete, get, post
from purser.inbound.api.wire import Body, Empty, Name, PageSize, PageToken, View, page
from purser.store import deployments as rows
from purser.store.db import Connection, Row
from purser.store.writers import Tx

_YEAR = 365 * DAY


class NewReservation(Body):
    """GPUs to keep for an account; from the next midnight (UTC) and for a year if not said otherwise."""

    accelerator_type: str
    reserved_count: int
    start_time: str | None = None
    end_time: str | None = None


class ReservationView(View):
    """GPUs that an account has for a time."""

    name: str
    id: str
    accelerator_type: str
    reserved_count: int
    start_time: str
    end_time: str
    create_time: str


class ReservationList(View):
    """A page of reservations, newest first."""

    reservations: list[ReservationView]
    next_page_token: str
    total_size: int


def _view(row: Row) -> ReservationView:
    return ReservationView(
        name=f"accounts/{row.account}/reservations/{row.id}",
        id=row.id,
        accelerator_type=row.accelerator,
        reserved_count=row.gpus,
        start_time=format_instant(row.start_at),
        end_time=format_instant(row.end_at if row.ended_at is None else row.ended_at),
        create_time=format_instant(row.created_at),
    )


def _find(conn: Connection, account: str, id_: str) -> ReservationView:
    return next(_view(row) for row in rows.list_reservations(conn, account) if row.id == id_)


@get("/v1/accounts/{account:str}/reservations", MEMBER)
def list_reservations(
    request: Call, account: Name, page_size: PageSize = None, page_token: PageToken = None
) -> ReservationList:
    """List an account's reservations, also those that have ended."""
    with request.desk.read() as conn:
        standing.require(conn, account)
        found = rows.list_reservations(conn, account)
    some, more = page(found, page_size, page_token)
    return ReservationList([_view(row) for row in some], more, len(found))


@post("/operator/v1/accounts/{account:str}/reservations", OPERATOR, status=201)
def make_reservation(
    request: Call, account: Name, data: JSONBody[NewReservation], dry_run: DryRun = False
) -> Response[ReservationView]:
    """Keep GPUs for an account for a time: of its deployments so many are not billed on demand."""
    start = None if data.start_time is None else parse_instant(data.start_time, "startTime")
    end = None if data.end_time is None else parse_instant(data.end_time, "endTime")

    def make(tx: Tx) -> ReservationView:
        begins = (tx.now // DAY + 1) * DAY if start is None else start
        ends = begins + _YEAR if end is None else end
        id_ = flow.reserve(tx, account, data.accelerator_type, data.reserved_count, begins, ends)
        return _find(tx.conn, account, id_)

    return once(request, make, status=201, dry_run=dry_run)


@delete("/operator/v1/accounts/{account:str}/reservations/{reservation:str}", OPERATOR)
def end_reservation(request: Call, account: Name, reservation: Name, dry_run: DryRun = False) -> Response[Empty]:
    """End a reservation: from now on its GPUs are billed on demand."""

    def end(tx: Tx) -> Empty:
        flow.end_reservation(tx, account, reservation)
        return Empty()

    return once(request, end, dry_run=dry_run)


ROUTES = [list_reservations, make_reservation, end_reservation]
