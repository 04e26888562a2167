"""The data export of an account, streamed as one zip from one snapshot."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

from litestar.concurrency import sync_to_thread
from litestar.types import ASGIApp, Receive, Scope, Send

from purser.flows import dossier, standing
from purser.inbound.api.auth import ADMIN
from purser.inbound.api.call import Call
from purser.inbound.api.routes import get
from purser.inbound.api.wire import Name
from purser.inbound.desk import Desk

PARTS = "x-purser-parts"


@get("/v1/accounts/{account:str}/:export", ADMIN, media_type="application/zip")
def export_account(request: Call, account: Name) -> ASGIApp:
    """Export all data of an account as a zip of JSON lines: users, keys without secrets, usage, ledger, documents, log.

    Money is exact decimal dollars, instants are RFC 3339. It works for a closed account, too.
    """
    desk = request.desk
    with desk.read() as conn:
        standing.require(conn, account)
        parts = dossier.count_parts(conn, account)

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        pieces = _pieces(desk, account)
        try:
            piece = await sync_to_thread(next, pieces, b"")
            headers = [
                (b"content-type", b"application/zip"),
                (b"content-disposition", f'attachment; filename="{account}.zip"'.encode()),
                (PARTS.encode(), b"%d" % parts),  # about how many files, for who shows how far it has come
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                piece = await sync_to_thread(next, pieces, b"")
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:  # whoever hung up holds no snapshot
            await sync_to_thread(pieces.close)

    return answer


def _pieces(desk: Desk, account: str) -> Generator[bytes]:
    """What is not empty of the export."""
    with desk.read() as conn, closing(dossier.export_account(conn, account, desk.clock.now())) as parts:
        yield from filter(None, parts)


ROUTES = [export_account]
