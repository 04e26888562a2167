"""The ledger as a text for hledger or Beancount, streamed from one snapshot: one account's or everybody's."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import Annotated

from litestar.concurrency import sync_to_thread
from litestar.params import QueryParameter
from litestar.types import ASGIApp, Receive, Scope, Send

from purser.core.errors import Invalid
from purser.core.plain_text import FORMATS
from purser.flows import standing
from purser.flows.export import export_ledger
from purser.inbound.api.auth import MEMBER, OPERATOR
from purser.inbound.api.call import Call
from purser.inbound.api.routes import get
from purser.inbound.api.wire import Name
from purser.inbound.desk import Desk
from purser.store import ledger

_PIECE = 64 * 1024  # characters sent at a time
TRANSACTIONS = "x-purser-transactions"
FormatName = Annotated[str, QueryParameter(name="format", description='"hledger" or "beancount".')]


@get("/operator/v1/ledger/:export", OPERATOR, media_type="text/plain")
def export_whole_ledger(request: Call, format_: FormatName) -> ASGIApp:
    """Export every account's ledger as plain-text accounting, its balances asserted at the end of each account's."""
    return _stream(request.desk, format_, None)


@get("/v1/accounts/{account:str}/ledger/:export", MEMBER, media_type="text/plain")
def export_account_ledger(request: Call, account: Name, format_: FormatName) -> ASGIApp:
    """Export an account's ledger as plain-text accounting, its balances asserted at the end."""
    return _stream(request.desk, format_, account)


def _stream(desk: Desk, format_: str, account: str | None) -> ASGIApp:
    if format_ not in FORMATS:
        raise Invalid(f'format must be "hledger" or "beancount", not {format_!r:.40}', field="format")
    with desk.read() as conn:
        if account is not None:
            standing.require(conn, account)
        count = ledger.count_transactions(conn, account)

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        pieces = _pieces(desk, format_, account)
        try:
            piece = await sync_to_thread(next, pieces, "")
            # About how many entries, for who shows how far it has come.
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (TRANSACTIONS.encode(), b"%d" % count)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while piece:
                await send({"type": "http.response.body", "body": piece.encode(), "more_body": True})
                piece = await sync_to_thread(next, pieces, "")
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:  # whoever hung up holds no snapshot
            await sync_to_thread(pieces.close)

    return answer


def _pieces(desk: Desk, format_: str, account: str | None) -> Generator[str]:
    with desk.read() as conn, closing(export_ledger(conn, FORMATS[format_], account)) as parts:
        yield from gather(parts, _PIECE)


def gather(parts: Iterable[str], least: int) -> Iterator[str]:
    """The same text in pieces of at least that many characters, but the last."""
    held: list[str] = []
    size = 0
    for part in parts:
        held.append(part)
        size += len(part)
        if size >= least:
            yield "".join(held)
            held, size = [], 0
    if held:
        yield "".join(held)


ROUTES = [export_whole_ledger, export_account_ledger]
