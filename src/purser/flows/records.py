"""Records of models and datasets: made, changed and deleted by who may, which costs nothing (P9, X2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from purser.core.errors import Conflict, Forbidden, NotFound
from purser.core.records import MOST_RECORDS, NOUNS, blank, change, check_id
from purser.flows import standing
from purser.store import records
from purser.store.db import Connection, Row
from purser.store.writers import Tx


def require(conn: Connection, account: str, collection: str, id_: str) -> Row:
    """A record; raises NotFound."""
    row = records.get(conn, account, collection, id_)
    if row is None:
        noun = NOUNS[collection]
        raise NotFound(f"account {account} has no record of a {noun} {id_!r:.70}", field=noun)
    return row


def create(tx: Tx, account: str, collection: str, id_: str, given: Mapping[str, Any], by: str) -> None:
    """A new record by a user, or by the operator (""). Raises Invalid, NotFound, Conflict."""
    standing.lock_open(tx, account)
    field = f"{NOUNS[collection]}Id"
    check_id(id_, field)
    record = change(collection, blank(collection), given)
    if records.get(tx.conn, account, collection, id_) is not None:
        raise Conflict(f"account {account} has a record of a {NOUNS[collection]} {id_} already", field=field)
    if records.count(tx.conn, account, collection, {}) >= MOST_RECORDS:
        raise Conflict(
            f"account {account} has {MOST_RECORDS} records of {collection}, which is the most; delete some first",
            code="FAILED_PRECONDITION",
        )
    key = {"account": account, "collection": collection, "id": id_}
    records.insert(tx.conn, key, record, created_by=by, created_at=tx.now, updated_at=tx.now, made=tx.new_id("rec"))


def update(tx: Tx, account: str, collection: str, id_: str, given: Mapping[str, Any], only_of: str | None) -> None:
    """Change fields of a record; of one that user `only_of` made, unless that is None.

    Raises Invalid, NotFound, Forbidden, Conflict where the account is closed.
    """
    standing.lock_open(tx, account)
    row = _require_own(tx.conn, account, collection, id_, only_of)
    before = records.read(row)
    after = change(collection, before, given)
    if after != before:
        records.update(tx.conn, {"account": account, "collection": collection, "id": id_}, after, tx.now)


def remove(tx: Tx, account: str, collection: str, id_: str, only_of: str | None) -> None:
    """Delete a record, of those that user `only_of` made unless that is None. Raises NotFound, Forbidden."""
    standing.lock(tx, account)
    _require_own(tx.conn, account, collection, id_, only_of)
    records.remove(tx.conn, {"account": account, "collection": collection, "id": id_}, tx.now)


def _require_own(conn: Connection, account: str, collection: str, id_: str, only_of: str | None) -> Row:
    row = require(conn, account, collection, id_)
    if only_of not in (None, row.created_by):
        raise Forbidden(f"this needs the role user or admin: the record of {NOUNS[collection]} {id_} is another user's")
    return row
