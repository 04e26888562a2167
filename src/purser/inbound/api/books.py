"""The operator's routes on the books: prices, months, the clock, the audit, and what writers have set aside."""

from __future__ import annotations

from typing import Any

from litestar import Response
from litestar.params import JSONBody

from purser.core.errors import Invalid
from purser.core.money import format_usd
from purser.core.period import DAY, format_instant, parse_instant, parse_month
from purser.core.pricebook import PriceBook, in_force, show_price
from purser.flows import audit, pricing
from purser.inbound.api.auth import OPERATOR
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, converge, fresh, once
from purser.inbound.api.routes import get, post
from purser.inbound.api.wire import Body, Name, View
from purser.inbound.trying import try_close_month
from purser.inbound.world import require_movable
from purser.store import figures, invoices, prices
from purser.store.db import Row
from purser.store.writers import Tx

_PATH = "/operator/v1"
_FARTHEST_DAYS = 3_660
_MOST_LEASES = 1_000


class NewPrices(Body):
    """A new version of the price book: models not named keep their rates."""

    models: dict[str, Any]
    effective_at: str | None = None


class PricesView(View):
    """One version of the price book: each model's prices, dollars per million tokens, image, minute and the like."""

    version: int
    effective_at: str
    models: dict[str, dict[str, str]]


class PricesList(View):
    """The price book in force, and every version."""

    version: int | None
    effective_at: str | None
    models: dict[str, dict[str, str]]
    versions: list[PricesView]


class ClosedInvoice(View):
    """A month-end invoice in short."""

    account: str
    id: str
    number: str
    state: str
    total_usd: str
    amount_due_usd: str


class ClosedMonth(View):
    """A month closed: its invoices, and the accounts whose requests of that month still run."""

    month: str
    invoices: list[ClosedInvoice]
    waiting: list[str]


class ClockView(View):
    """Billing time, and whether it is set by hand."""

    now: str
    manual: bool


class NewTime(Body):
    """When to move a manual clock to."""

    to: str


class CheckView(View):
    """An invariant that was checked, and how many rows it looked at."""

    name: str
    title: str
    rows: int


class ViolationView(View):
    """A place where an invariant does not hold."""

    check: str
    where: str
    message: str


class AuditView(View):
    """What the audit checked and found; no violations is what is expected."""

    checks: list[CheckView]
    violations: list[ViolationView]


class WriterView(View):
    """A database writer: a process that holds leases. `unbilledUsd` is what its closing left unbilled at most."""

    id: int
    host: str
    pid: int
    state: str
    seq: int
    heard_at: str
    unbilled_usd: str


class LeaseView(View):
    """What a writer or hold has set aside on one constraint of an account, and whether others want its spare back."""

    account: str
    kind: str
    window: str
    owner: str
    share_usd: str
    used_usd: str
    spare_usd: str
    wanted: bool


class LeaseList(View):
    """Writers and their leases; of all there are, not only of those listed, what is set aside and what is unbilled."""

    writers: list[WriterView]
    leases: list[LeaseView]
    set_aside_usd: str
    unbilled_usd: str


def _view(book: PriceBook) -> PricesView:
    models = {name: show_price(rates) for name, rates in sorted(book.models.items())}
    return PricesView(book.version, format_instant(book.effective_at), models)


@get(_PATH + "/prices", OPERATOR)
def list_prices(request: Call) -> PricesList:
    """Show the prices in force and every version of the price book."""
    with request.desk.read() as conn:
        books = prices.list_books(conn)
    now = in_force(books, request.desk.clock.now())
    current = None if now is None else _view(now)
    return PricesList(
        version=None if current is None else current.version,
        effective_at=None if current is None else current.effective_at,
        models={} if current is None else current.models,
        versions=[_view(book) for book in reversed(books)],
    )


@post(_PATH + "/prices", OPERATOR)
def publish_prices(request: Call, data: JSONBody[NewPrices], dry_run: DryRun = False) -> Response[PricesView]:
    """Publish a new version of the price book; in force at once, or from `effectiveAt` on."""
    at = None if data.effective_at is None else parse_instant(data.effective_at, "effectiveAt")
    if any(ord(letter) < 32 for name in data.models for letter in name):
        raise Invalid("a model's name must be printable", field="models")
    return once(request, lambda tx: _publish(tx, data.models, at), dry_run=dry_run)


def _publish(tx: Tx, models: dict[str, Any], at: int | None) -> PricesView:
    return _view(pricing.publish(tx, models, at))


@post(_PATH + "/months/{month:str}/:close", OPERATOR)
def close_month(request: Call, month: Name, dry_run: DryRun = False) -> Response[ClosedMonth]:
    """Close a month into invoices and charge them; refused before the month's end, safe to repeat.

    A dry run answers the invoices as they would be before they are charged.
    """
    parse_month(month)
    worker = request.desk.worker
    if dry_run:
        return fresh(_closed(month, *try_close_month(request.desk, month)))

    def close(_: str | None) -> ClosedMonth:
        waiting = worker.close_month(month)
        worker.run_due()
        with request.desk.read() as conn:
            rows = invoices.list_of_month(conn, month)
        return _closed(month, rows, waiting)

    return converge(request, "month", close)


def _closed(month: str, rows: list[Row], waiting: list[str]) -> ClosedMonth:
    shown = [
        ClosedInvoice(row.account, row.id, row.number, row.state, format_usd(row.total), format_usd(row.amount_due))
        for row in rows
    ]
    return ClosedMonth(month, shown, waiting)


@get(_PATH + "/clock", OPERATOR)
def get_clock(request: Call) -> ClockView:
    """Tell the billing time."""
    clock = request.desk.clock
    return ClockView(format_instant(clock.now()), clock.manual)


@post(_PATH + "/clock/:advance", OPERATOR)
def advance_clock(request: Call, data: JSONBody[NewTime], dry_run: DryRun = False) -> Response[ClockView]:
    """Move a manual clock forward; answers when all that falls due until then is done.

    A dry run answers the time that it would be, and nothing of what falls due until then.
    """
    to = parse_instant(data.to, "to")
    desk = request.desk
    if to > desk.clock.now() + _FARTHEST_DAYS * DAY:
        raise Invalid("to may lie at most ten years ahead of the clock", field="to")

    if dry_run:
        require_movable(desk.clock, to)
        return fresh(ClockView(format_instant(to), desk.clock.manual))

    def advance(_: str | None) -> ClockView:
        desk.worker.advance(to)
        return ClockView(format_instant(desk.clock.now()), desk.clock.manual)

    return converge(request, "clock", advance)


@post(_PATH + "/audit", OPERATOR, changes_nothing=True)
def run_audit(request: Call) -> AuditView:
    """Check every invariant over the whole database, in one snapshot."""
    with request.desk.read() as conn:
        found = audit.audit(conn)
    return AuditView(
        [CheckView(check.name, check.title, check.rows) for check in found.checks],
        [ViolationView(one.check, one.where, one.message) for one in found.violations],
    )


@get(_PATH + "/leases", OPERATOR)
def list_leases(request: Call) -> LeaseList:
    """List the writers, what they have set aside, what others want back of it, and what is unbilled."""
    with request.desk.read() as conn:
        writers = figures.list_writers(conn, _MOST_LEASES)
        leases = figures.list_leases(conn, _MOST_LEASES)
        money = figures.sum_money(conn)
    return LeaseList(
        [
            WriterView(
                row.id, row.host, row.pid, row.state, row.seq, format_instant(row.heard_at), format_usd(row.unbilled)
            )
            for row in writers
        ],
        [
            LeaseView(
                account=row.account,
                kind=row.kind,
                window=row.window,
                owner=row.owner,
                share_usd=format_usd(row.share),
                used_usd=format_usd(row.used),
                spare_usd=format_usd(row.share - row.used),
                wanted=row.wanted_at is not None,
            )
            for row in leases
        ],
        set_aside_usd=format_usd(money["leased"]),
        unbilled_usd=format_usd(money["unbilled"]),
    )


ROUTES = [list_prices, publish_prices, close_month, get_clock, advance_clock, run_audit, list_leases]
