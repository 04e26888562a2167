"""Credit grants as rows."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from purser.core.credits import CreditGrant
from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection, Row
from purser.store.prepared import Prepared


@Prepared
def _GRANTS(account: Any, above: Any) -> sa.Select[Any]:
    c = t.grants.c
    return sa.select(t.grants).where(c.account == account, c.remaining > above).order_by(c.created_at, c.id)


def list_grants(conn: Connection, account: str, *, with_spent: bool = False) -> list[CreditGrant]:
    """An account's grants, those with nothing remaining only on request, oldest first."""
    return [
        CreditGrant(row.id, row.kind, row.granted, row.remaining, row.created_at, row.expires_at)
        for row in _GRANTS.run(conn, account, -1 if with_spent else 0)
    ]


def list_grant_rows(conn: Connection, account: str) -> list[Row]:
    """Every grant an account ever had, newest first, with what lapsed of it and where it came from."""
    c = t.grants.c
    query = sa.select(t.grants).where(c.account == account)
    return list(conn.execute(query.order_by(c.created_at.desc(), c.id.desc())))


def insert_grant(conn: Connection, account: str, grant: CreditGrant, source: str) -> None:
    """A new grant; `source` says where it came from (sign-up, operator, a payment's id)."""
    row = {
        "account": account,
        "id": grant.id,
        "kind": grant.kind,
        "granted": grant.granted_nanos,
        "remaining": grant.remaining_nanos,
        "created_at": grant.created_at,
        "expires_at": grant.expires_at,
        "source": source,
    }
    seals.insert(conn, t.grants, row)


def draw(conn: Connection, account: str, grant: str, drawn: int, *, lapsed: int = 0) -> None:
    """Take from what remains of a grant: `drawn` was used, `lapsed` expired."""
    c = t.grants.c
    left = {"remaining": c.remaining - drawn - lapsed, "lapsed": c.lapsed + lapsed}
    seals.update(conn, t.grants, c.account == account, c.id == grant, **left)
