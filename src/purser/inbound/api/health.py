"""Health: whether the process lives, whether it can serve, and figures for Prometheus."""

from __future__ import annotations

from litestar import Response

from purser import __version__
from purser.core.errors import Unavailable
from purser.core.period import format_instant
from purser.inbound.api.auth import PUBLIC
from purser.inbound.api.call import Call
from purser.inbound.api.routes import get
from purser.inbound.api.wire import View
from purser.store import figures

_PROMETHEUS = "text/plain; version=0.0.4"
_USD = 1_000_000_000
_COUNTS = {
    "accounts": "Accounts.",
    "api_keys": "Live API keys of accounts.",
    "writers": "Open database writers.",
    "payments_waiting": "Payments that the provider has not answered.",
    "price_books": "Versions of the price book.",
}


class Health(View):
    """The process's own word."""

    status: str


class Status(View):
    """What a status page shows."""

    status: str
    version: str
    now: str
    manual_clock: bool


@get("/healthz", PUBLIC)
def healthz() -> Health:
    """Say that the process lives."""
    return Health("ok")


@get("/readyz", PUBLIC)
def readyz(request: Call) -> Health:
    """Say whether money can be held: the database can be read and the writer is open."""
    _check(request)
    return Health("ready")


def _check(call: Call) -> None:
    if not call.desk.queue.writer.open:
        raise Unavailable("the writer is closed; this process is about to end")
    with call.desk.read() as conn:
        figures.count_causes(conn)


@get("/status", PUBLIC)
def status(request: Call) -> Status:
    """Tell the version and the billing time."""
    _check(request)
    clock = request.desk.clock
    return Status("ok", __version__, format_instant(clock.now()), clock.manual)


def _line(name: str, value: int | str, **labels: str) -> str:
    inner = ",".join(f'{key}="{text}"' for key, text in labels.items())
    return f"{name}{{{inner}}} {value}" if inner else f"{name} {value}"


def _family(name: str, text: str, lines: list[str], kind: str = "gauge") -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *lines]


def _money(nanos: int) -> str:
    return f"{nanos // _USD}.{nanos % _USD:09d}"


@get("/metrics", PUBLIC, media_type=_PROMETHEUS)
def metrics(request: Call) -> Response[str]:
    """Figures over the whole database, and of this process, in Prometheus's text format; they name no account."""
    with request.desk.read() as conn:
        counts, causes = figures.count_rows(conn), figures.count_causes(conn)
        unpaid, money = figures.count_invoices(conn), figures.sum_money(conn)
    lines: list[str] = []
    for name, text in _COUNTS.items():
        lines += _family(f"purser_{name}", text, [_line(f"purser_{name}", counts[name])])
    suspended = [_line("purser_suspended_accounts", value, cause=cause) for cause, value in sorted(causes.items())]
    lines += _family("purser_suspended_accounts", "Accounts suspended now, by cause.", suspended)
    waiting = [_line("purser_unpaid_invoices", value, state=state.lower()) for state, value in sorted(unpaid.items())]
    lines += _family("purser_unpaid_invoices", "Invoices that wait for their money.", waiting)
    lines += _family(
        "purser_leased_usd", "Set aside by writers and not used.", [_line("purser_leased_usd", _money(money["leased"]))]
    )
    lines += _family(
        "purser_unbilled_usd",
        "Work whose writer died before billing it.",
        [_line("purser_unbilled_usd", _money(money["unbilled"]))],
    )
    backlog = _line("purser_write_backlog", request.desk.queue.backlog())
    lines += _family("purser_write_backlog", "Transactions that wait in this process.", [backlog])
    ended = [_line("purser_requests_total", count, ended=how) for how, count in request.desk.ended().items()]
    lines += _family("purser_requests_total", "Requests that this process ended, by how.", ended, "counter")
    return Response("\n".join(lines) + "\n", media_type=_PROMETHEUS)


ROUTES = [healthz, readyz, status, metrics]
