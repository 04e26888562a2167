"""Holds: money set aside for work that runs elsewhere, then settled with what it used, or given back (transition 9)."""

from __future__ import annotations

import time
import uuid

from litestar import Response
from litestar.params import JSONBody

from purser.core.errors import Insufficient, Invalid, NotFound, Suspended
from purser.core.explain import CONSTRAINTS, insufficient_message, suspended_message
from purser.core.money import format_usd, format_usd_exact, parse_usd
from purser.core.period import format_instant
from purser.core.usage import AMOUNT, Quantities, check_reported
from purser.flows import holds
from purser.flows.holds import Refused
from purser.inbound.api.auth import METERING
from purser.inbound.api.call import Call
from purser.inbound.api.once import converge, once
from purser.inbound.api.problem import MORE
from purser.inbound.api.routes import get, post
from purser.inbound.api.wire import Body, Name, View
from purser.store.holds import Held

_WAIT_SECONDS, _PAUSE_SECONDS = 0.25, 0.05  # for what gateways have spare of a row that falls short


class NewHold(Body):
    """Money to set aside: what the work could use at most, in quantities or in dollars."""

    account: str
    model: str
    quantities: dict[str, int] | None = None
    amount_usd: str | None = None
    ttl_seconds: int | None = None


class Used(Body):
    """What the work used, in quantities or in dollars."""

    quantities: dict[str, int] | None = None
    amount_usd: str | None = None


class HoldView(View):
    """A hold: open until it is settled, given back or expired."""

    id: str
    account: str
    model: str
    state: str
    held_usd: str
    cost_usd: str | None
    price_version: int
    placed_at: str
    expires_at: str


def view(held: Held) -> HoldView:
    """A hold as the API shows it."""
    return HoldView(
        id=held.id,
        account=held.account,
        model=held.model,
        state=held.state.upper(),
        held_usd=format_usd(held.amount),
        cost_usd=None if held.cost is None else format_usd_exact(held.cost),
        price_version=held.version,
        placed_at=format_instant(held.placed_at),
        expires_at=format_instant(held.expires_at),
    )


def _own(call: Call) -> str | None:
    return None if call.caller.operator else call.caller.account


def _read(quantities: dict[str, int] | None, amount_usd: str | None) -> Quantities:
    """What was asked for, in quantities; a sum of money is so many nano-dollars. Raises Invalid for both or neither."""
    if (quantities is None) == (amount_usd is None):
        raise Invalid(
            'give either quantities, such as {"input_tokens": 120}, or amountUsd, such as "0.25"', field="quantities"
        )
    if quantities is not None:
        return check_reported(quantities)
    amount = parse_usd(amount_usd, "amountUsd")
    return {AMOUNT: amount} if amount else {}


def _refuse(account: str, refused: Refused) -> None:
    taken = refused.taken
    if taken is None or taken.short is None:
        raise Suspended(suspended_message(account, refused.causes, prepaid=refused.prepaid))
    constraint, left = CONSTRAINTS[taken.short.kind], max(0, taken.left[taken.short] or 0)
    short = Insufficient(insufficient_message(constraint, left, refused.hold_nanos, 0, refused.held_nanos))
    more = {
        "cause": constraint,
        "headroomUsd": format_usd(left),
        "heldUsd": format_usd(refused.held_nanos),
        "holdUsd": format_usd(refused.hold_nanos),
    }
    setattr(short, MORE, more)
    raise short


@post("/v1/holds", METERING, status=201, refuses=(402, 404, 412))
def place_hold(request: Call, data: JSONBody[NewHold]) -> Response[HoldView]:
    """Hold an account's money for work that runs elsewhere; it goes back by itself after `ttlSeconds` (600).

    402 where it is not there, 412 where the account is suspended: nothing is held then. What gateways have set aside
    and do not need is waited for, for a quarter of a second.
    """
    most, seconds = _read(data.quantities, data.amount_usd), holds.check_seconds(data.ttl_seconds)
    if _own(request) not in (None, data.account):
        raise NotFound(f"there is no account {data.account!r:.70}", field="account")

    def place(id_: str | None) -> HoldView:
        name = id_ or f"hold_{uuid.uuid4().hex}"
        end = time.monotonic() + _WAIT_SECONDS
        while True:
            made = request.desk.write(lambda tx: holds.place(tx, name, data.account, data.model, most, seconds))
            if isinstance(made, Held):
                return view(made)
            if made.taken is None or not made.taken.others or time.monotonic() > end:
                _refuse(data.account, made)
            time.sleep(_PAUSE_SECONDS)

    return converge(request, "hold", place, status=201, keeps_declined=False)


@get("/v1/holds/{hold:str}", METERING)
def get_hold(request: Call, hold: Name) -> HoldView:
    """Get a hold: whether it is open, and what it cost once it is settled."""
    with request.desk.read() as conn:
        return view(holds.require(conn, hold, _own(request)))


@post("/v1/holds/{hold:str}/:settle", METERING)
def settle_hold(request: Call, hold: Name, data: JSONBody[Used]) -> Response[HoldView]:
    """Bill what the work used, at the prices of when it was held, and give back the rest.

    Never more than is held; after the hold expired, whatever was used, as usage after the fact.
    """
    used = _read(data.quantities, data.amount_usd)
    return once(request, lambda tx: view(holds.settle(tx, hold, used, _own(request))))


@post("/v1/holds/{hold:str}/:void", METERING)
def void_hold(request: Call, hold: Name) -> Response[HoldView]:
    """Give back what is held, with nothing to bill."""
    return once(request, lambda tx: view(holds.void(tx, hold, _own(request))))


ROUTES = [place_hold, get_hold, settle_hold, void_hold]
