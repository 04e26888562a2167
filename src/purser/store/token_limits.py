"""Token limits as rows: how many tokens a minute an account may use of a model, and what moves that (Q2)."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from purser.core.adaptive import Limit
from purser.store import schema as t
from purser.store.bulk import insert_new
from purser.store.db import Connection
from purser.store.rates import Bucket


class LimitKey(NamedTuple):
    """Whose limit of what."""

    account: str
    model: str
    metric: str

    @property
    def bucket(self) -> Bucket:
        """What is counted against the limit."""
        return Bucket(self.account, f"{self.metric}:{self.model}")


_c = t.token_limits.c
_COLUMNS = (_c.tokens, _c.changed_at, _c.known_since, _c.traffic_at, _c.minute_at, _c.used, _c.samples)


def _where(key: LimitKey) -> sa.ColumnElement[bool]:
    return sa.and_(_c.account == key.account, _c.model == key.model, _c.metric == key.metric)


def _limit(row: Any) -> Limit:
    samples = msgspec.json.decode(row.samples, type=tuple[tuple[int, int], ...])
    return Limit(row.tokens, row.changed_at, row.known_since, row.traffic_at, row.minute_at, row.used, samples)


def get_limit(conn: Connection, key: LimitKey) -> Limit | None:
    """A limit as it was when something was last noted; None where nothing was yet."""
    row = conn.execute(sa.select(*_COLUMNS).where(_where(key))).first()
    return None if row is None else _limit(row)


def lock_limit(conn: Connection, key: LimitKey, otherwise: Limit) -> Limit:
    """A limit as it is and stays until this transaction ends; `otherwise` where there is none yet."""
    insert_new(conn, "token_limits", {**key._asdict(), **_values(otherwise)})
    return _limit(conn.execute(sa.select(*_COLUMNS).where(_where(key)).with_for_update()).one())


def put_limit(conn: Connection, key: LimitKey, limit: Limit) -> None:
    """Write a limit, which is there."""
    conn.execute(sa.update(t.token_limits).where(_where(key)).values(_values(limit)))


def list_limits(conn: Connection, account: str) -> dict[LimitKey, Limit]:
    """An account's limits by model and metric."""
    found = conn.execute(
        sa.select(_c.model, _c.metric, *_COLUMNS).where(_c.account == account).order_by(_c.model, _c.metric)
    )
    return {LimitKey(account, row.model, row.metric): _limit(row) for row in found}


def _values(limit: Limit) -> dict[str, Any]:
    return {
        "tokens": limit.tokens,
        "changed_at": limit.changed_at,
        "known_since": limit.known_since,
        "traffic_at": limit.traffic_at,
        "minute_at": limit.minute_at,
        "used": limit.used,
        "samples": msgspec.json.encode(limit.samples).decode(),
    }
