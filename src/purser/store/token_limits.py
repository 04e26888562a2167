"""Token limits as rows: the tokens a minute that an account may use of a model, what moves them, what is set (Q2)."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from purser.core.adaptive import Custom, Limit
from purser.store import schema as t
from purser.store import seals
from purser.store.bulk import Statement, insert_new
from purser.store.db import Connection
from purser.store.prepared import Prepared
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


def _one(account: Any, model: Any, metric: Any) -> sa.Select[Any]:
    return sa.select(*_COLUMNS).where(_c.account == account, _c.model == model, _c.metric == metric)


def _of_account(account: Any) -> sa.Select[Any]:
    return sa.select(_c.model, _c.metric, *_COLUMNS).where(_c.account == account).order_by(_c.model, _c.metric)


_ONE, _OF_ACCOUNT = Prepared(_one), Prepared(_of_account)
_LOCKED = Prepared(lambda account, model, metric: _one(account, model, metric).with_for_update())
_PUT = Statement(
    f"UPDATE token_limits SET {', '.join(f'{column.name} = ?' for column in _COLUMNS)} "
    "WHERE account = ? AND model = ? AND metric = ?"
)


def _limit(row: Any) -> Limit:
    samples = msgspec.json.decode(row.samples, type=tuple[tuple[int, int], ...])
    return Limit(row.tokens, row.changed_at, row.known_since, row.traffic_at, row.minute_at, row.used, samples)


def get_limit(conn: Connection, key: LimitKey) -> Limit | None:
    """A limit as it was when something was last noted; None where nothing was yet."""
    row = _ONE.run(conn, *key).first()
    return None if row is None else _limit(row)


def lock_limit(conn: Connection, key: LimitKey, otherwise: Limit) -> Limit:
    """A limit as it is and stays until this transaction ends; `otherwise` where there is none yet."""
    insert_new(conn, "token_limits", {**key._asdict(), **_values(otherwise)})
    return _limit(_LOCKED.run(conn, *key).one())


def put_limit(conn: Connection, key: LimitKey, limit: Limit) -> None:
    """Write a limit, which is there."""
    _PUT.run(conn, *_values(limit).values(), *key)


def list_limits(conn: Connection, account: str) -> dict[LimitKey, Limit]:
    """An account's limits by model and metric."""
    return {LimitKey(account, row.model, row.metric): _limit(row) for row in _OF_ACCOUNT.run(conn, account)}


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


# ── what an operator has set ─────────────────────────────────────────────────────────────────────────────────────
FIXED, UNLIMITED, ADAPTIVE = "fixed", "unlimited", "adaptive"


def _set(account: Any) -> sa.Select[Any]:
    c = t.custom_token_limits.c
    found = sa.select(c.model, c.metric, c.tokens, c.set_at).where(c.account == account, c.kind != ADAPTIVE)
    return found.order_by(c.model, c.metric)


_SET = Prepared(_set)


def list_custom(conn: Connection, account: str) -> dict[tuple[str, str], Custom]:
    """What is set of an account's limits, by model and metric."""
    return {(row.model, row.metric): Custom(row.tokens, row.set_at) for row in _SET.run(conn, account)}


def put_custom(conn: Connection, key: LimitKey, custom: Custom | None, at: int) -> None:
    """Set a limit, or take away (None) what is set."""
    kind = ADAPTIVE if custom is None else UNLIMITED if custom.tokens is None else FIXED
    values = {"kind": kind, "tokens": None if custom is None else custom.tokens, "set_at": at}
    table = t.custom_token_limits
    if not seals.insert_once(conn, table, {**key._asdict(), **values}):
        seals.change(conn, table, key._asdict(), **values)
