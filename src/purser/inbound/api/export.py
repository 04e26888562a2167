"""The ledger as a text for hledger or Beancount, streamed from one snapshot: one account's or everybody's."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Annotated

from litestar.params import QueryParameter
from litestar.types import ASGIApp

from purser.core.errors import Invalid
from purser.core.plain_text import FORMATS
from purser.flows import standing
from purser.flows.export import export_ledger
from purser.inbound.api.auth import MEMBER, OPERATOR
from purser.inbound.api.call import Call
from purser.inbound.api.exports import Headers, stream
from purser.inbound.api.routes import get
from purser.inbound.api.wire import Name
from purser.inbound.desk import Desk
from purser.store import ledger
from purser.store.db import Connection

_COUNTED = 200_000  # entries at most, before they are exported
TRANSACTIONS = "x-purser-transactions"
FormatName = Annotated[str, QueryParameter(name="format", description='"hledger" or "beancount".')]


@get("/operator/v1/ledger/:export", OPERATOR, media_type="text/plain", refuses=(429,))
def export_whole_ledger(request: Call, format_: FormatName) -> ASGIApp:
    """Export every account's ledger as plain-text accounting, its balances asserted at the end of each account's."""
    return _stream(request.desk, format_, None)


@get("/v1/accounts/{account:str}/ledger/:export", MEMBER, media_type="text/plain", refuses=(429,))
def export_account_ledger(request: Call, account: Name, format_: FormatName) -> ASGIApp:
    """Export an account's ledger as plain-text accounting, its balances asserted at the end."""
    return _stream(request.desk, format_, account)


def _stream(desk: Desk, format_: str, account: str | None) -> ASGIApp:
    if format_ not in FORMATS:
        raise Invalid(f'format must be "hledger" or "beancount", not {format_!r:.40}', field="format")

    def begin(conn: Connection) -> tuple[Headers, Generator[bytes]]:
        if account is not None:
            standing.require(conn, account)
        headers = {"content-type": "text/plain; charset=utf-8"}
        count = ledger.count_transactions(conn, account, _COUNTED)
        if count < _COUNTED:  # about how many entries, for who shows how far it has come
            headers[TRANSACTIONS] = str(count)
        return headers, _encode(export_ledger(conn, FORMATS[format_], account))

    return stream(desk, account or "", begin)


def _encode(parts: Generator[str]) -> Generator[bytes]:
    with closing(parts):
        for part in parts:
            yield part.encode()


ROUTES = [export_whole_ledger, export_account_ledger]
