"""Webhook endpoints as rows: where an account wants to be told of what, and the secret that signs it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection, Row
from purser.store.prepared import Prepared

c = t.webhook_endpoints.c


@Prepared
def _THERE(account: Any) -> sa.Select[Any]:
    there = sa.select(t.webhook_endpoints).where(c.account == account, c.removed_at.is_(None))
    return there.order_by(c.created_at.desc(), c.id.desc())


def list_endpoints(conn: Connection, account: str) -> list[Row]:
    """The endpoints of an account that were not removed, newest first."""
    return list(_THERE.run(conn, account))


def get_endpoint(conn: Connection, account: str, endpoint: str) -> Row | None:
    """One endpoint that was not removed."""
    there = (c.account == account, c.id == endpoint, c.removed_at.is_(None))
    return conn.execute(sa.select(t.webhook_endpoints).where(*there)).first()


def insert_endpoint(conn: Connection, **values: Any) -> None:
    """A new endpoint."""
    seals.insert(conn, t.webhook_endpoints, values)


def update_endpoint(conn: Connection, account: str, endpoint: str, **values: Any) -> bool:
    """Change an endpoint that was not removed; answers whether it is there."""
    there = (c.account == account, c.id == endpoint, c.removed_at.is_(None))
    return seals.update(conn, t.webhook_endpoints, *there, **values) == 1
