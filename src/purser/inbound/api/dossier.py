"""The data export of an account, streamed as one zip from one snapshot."""

from __future__ import annotations

from collections.abc import Generator

from litestar.types import ASGIApp

from purser.flows import dossier, standing
from purser.inbound.api.auth import ADMIN
from purser.inbound.api.call import Call
from purser.inbound.api.exports import Headers, stream
from purser.inbound.api.routes import get
from purser.inbound.api.wire import Name
from purser.store.db import Connection

PARTS = "x-purser-parts"


@get("/v1/accounts/{account:str}/:export", ADMIN, media_type="application/zip", refuses=(429,))
def export_account(request: Call, account: Name) -> ASGIApp:
    """Export all data of an account as a zip of JSON lines: users, keys without secrets, usage, ledger, documents, log.

    Money is exact decimal dollars, instants are RFC 3339. It works for a closed account, too.
    """
    desk = request.desk

    def begin(conn: Connection) -> tuple[Headers, Generator[bytes]]:
        standing.require(conn, account)
        headers = {"content-type": "application/zip", "content-disposition": f'attachment; filename="{account}.zip"'}
        parts = dossier.count_parts(conn, account)
        if parts is not None:  # about how many files, for who shows how far it has come
            headers[PARTS] = str(parts)
        return headers, dossier.export_account(conn, account, desk.clock.now())

    return stream(desk, account, begin)


ROUTES = [export_account]
