"""Closing an account and opening it again (A10)."""

from __future__ import annotations

from litestar import Response
from litestar.params import JSONBody

from purser.core.leaving import DELETING, Blocked, reopenable_until
from purser.core.money import format_usd
from purser.flows import leaving, standing
from purser.inbound.api.auth import ADMIN
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.problem import MORE
from purser.inbound.api.routes import post
from purser.inbound.api.wire import Body, Name, View, instant
from purser.store.db import Connection
from purser.store.writers import Tx

_ONE = "/v1/accounts/{account:str}"


class Closing(Body):
    """How to close: giveUpCredit lets purchased credit lapse that is left."""

    give_up_credit: bool = False


class ClosingView(View):
    """How far an account is closed: closedAt is set when its final invoice is paid."""

    account: str
    state: str
    closing_at: str | None
    closed_at: str | None
    reopenable_until: str | None


class ReopenedKey(View):
    """A key, shown this once."""

    key_id: str
    key: str


class ReopenedView(View):
    """An account that is open again, and a key for its owner; none where it was open."""

    account: str
    state: str
    api_key: ReopenedKey | None


def _view(conn: Connection, account: str) -> ClosingView:
    row = standing.require(conn, account)
    until = reopenable_until(row.closing_at) if row.state == DELETING else None
    return ClosingView(account, row.state, instant(row.closing_at), instant(row.closed_at), instant(until))


@post(_ONE + "/:close", ADMIN, counted=False)
def close_account(
    request: Call, account: Name, data: JSONBody[Closing | None] = None, dry_run: DryRun = False
) -> Response[ClosingView]:
    """Close an account: its keys end within a second, what runs ends, and the final invoice is made and charged.

    Whatever stands in the way is listed, all of it, in `blockers` of the 409. Credit that was given lapses. Doing it
    again changes nothing. The operator can open the account again until the end of the month after.
    """
    running = sum(request.desk.held(account).values())
    give_up = data is not None and data.give_up_credit

    def close(tx: Tx) -> ClosingView:
        leaving.close(tx, account, running_nanos=running, give_up=give_up)
        return _view(tx.conn, account)

    try:
        answer = once(request, close, dry_run=dry_run)
    except Blocked as blocked:
        listed = [
            {"code": each.code, "message": each.message, "amountUsd": format_usd(each.amount_nanos)}
            for each in blocked.blockers
        ]
        setattr(blocked, MORE, {"blockers": listed})
        raise
    request.desk.worker.poke()
    return answer


@post(_ONE + "/:reopen", ADMIN, counted=False)
def reopen_account(request: Call, account: Name, dry_run: DryRun = False) -> Response[ReopenedView]:
    """Open an account again, with a new key for its owner; keys that ended and credit that lapsed stay so.

    Since its keys have ended this is the operator's. Refused once its time is over, and while its final invoice bills
    the month that runs.
    """

    def reopen(tx: Tx) -> ReopenedView:
        key = leaving.reopen(tx, account)
        state = standing.require(tx.conn, account).state
        if key is None:
            return ReopenedView(account, state, None)
        return ReopenedView(account, state, ReopenedKey(key.id, key.secret))

    return once(request, reopen, dry_run=dry_run)


ROUTES = [close_account, reopen_account]
