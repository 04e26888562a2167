"""Claims as rows: which writer serves a request that its client gave an id to, from before it runs until it ended."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from purser.store import schema as t
from purser.store.bulk import INT, TEXT, ForEach, insert_new
from purser.store.db import Connection

_MINE = "WHERE account = {account} AND id = {id} AND writer = {writer}"
_DELETE = ForEach(
    (TEXT, TEXT, INT),
    sqlite=f"DELETE FROM claims {_MINE.format(account='?', id='?', writer='?')}",
    postgresql=f"DELETE FROM claims USING {{v}} {_MINE.format(account='v.c1', id='v.c2', writer='v.c3')}",
)
_OPEN = sa.select(t.writers.c.id).where(t.writers.c.state == "open")


def insert_claim(conn: Connection, account: str, id_: str, writer: int) -> bool:
    """Claim an id for a writer; answers False, and changes nothing, where it is claimed."""
    return insert_new(conn, "claims", {"account": account, "id": id_, "writer": writer})


def move_claim(conn: Connection, account: str, id_: str, writer: int) -> bool:
    """Take over the claim of a writer that is closed, or this writer's own; answers False where another holds it."""
    c = t.claims.c
    free = sa.or_(c.writer == writer, c.writer.not_in(_OPEN))
    moved = sa.update(t.claims).where(c.account == account, c.id == id_, free).values(writer=writer)
    return conn.execute(moved).rowcount == 1


def delete_claims(conn: Connection, ids: Iterable[tuple[str, str]], writer: int) -> None:
    """End a writer's own claims, each an account and an id."""
    _DELETE.run(conn, [(account, id_, writer) for account, id_ in ids])


def delete_closed(conn: Connection) -> int:
    """End the claims of writers that are closed; answers how many."""
    return conn.execute(sa.delete(t.claims).where(t.claims.c.writer.not_in(_OPEN))).rowcount
