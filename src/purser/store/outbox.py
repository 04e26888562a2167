"""The outbox as rows: messages written with the fact they tell, claimed by whoever sends them, and how they ended."""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa

from purser.core.message import MAIL, PENDING, WEBHOOK
from purser.store import schema as t
from purser.store import seals
from purser.store.bulk import TEXT, ForEach
from purser.store.db import Connection, Row

c = t.outbox.c
_ENDED = c.due_at.is_(None)  # what is pending, and nothing else, is due some time
_DELETE = ForEach(
    (TEXT, TEXT),
    sqlite="DELETE FROM outbox WHERE account = ? AND id = ? AND due_at IS NULL",
    postgresql="DELETE FROM outbox o USING {v} WHERE o.account = v.c1 AND o.id = v.c2 AND o.due_at IS NULL",
)
PRUNED = "outbox_pruned"  # of what is deleted by now, when the newest was made
_PAGE = 20  # for each message that is wanted, so many are looked through at a time


def insert_once(conn: Connection, **values: Any) -> bool:
    """A new message; answers False, and changes nothing, where the fact was told in this way before."""
    return seals.insert_once(conn, t.outbox, values)


def get(conn: Connection, account: str, id_: str) -> Row | None:
    """One message."""
    return conn.execute(sa.select(t.outbox).where(c.account == account, c.id == id_)).first()


def is_due(conn: Connection, kind: str, now: int) -> bool:
    """Whether there is a message of a kind to send now."""
    return conn.execute(_due(kind, now).limit(1)).first() is not None


def list_due(conn: Connection, kind: str, now: int, most: int, each: int) -> list[tuple[str, str]]:
    """Messages of a kind to send now, the longest due first: (account, id), at most `each` for one account.

    The longest due are looked through in parts, each without the accounts that have their share by then.
    """
    found: dict[tuple[str, str], int] = {}
    share = Counter[str]()
    while True:
        full = [account for account, count in share.items() if count >= each]
        page = conn.execute(_due(kind, now).where(c.account.not_in(full)).limit(most * _PAGE)).all()
        for account, id_, due_at in page:
            if share[account] < each and (account, id_) not in found:
                share[account] += 1
                found[account, id_] = due_at
        if len(found) >= most or len(page) < most * _PAGE:
            return sorted(found, key=lambda place: (found[place], place[1]))[:most]


def _due(kind: str, now: int) -> sa.Select[Any]:
    """Messages of a kind that are due, the longest due first: account, id, due_at, all of them in one index."""
    due = sa.select(c.account, c.id, c.due_at).where(c.kind == kind, c.due_at <= now)
    return due.order_by(c.due_at, c.id)


def claim(conn: Connection, row: Row, until: int) -> bool:
    """Take a message that is due for oneself until then; answers False where another has taken it first."""
    there = (c.account == row.account, c.id == row.id, c.state == PENDING, c.due_at == row.due_at)
    return seals.update(conn, t.outbox, *there, attempts=row.attempts + 1, due_at=until) == 1


def end_attempt(conn: Connection, account: str, id_: str, attempts: int | None, **values: Any) -> bool:
    """Say how an attempt ended, of a message not sent yet; with `attempts`, only where that was the last one made."""
    there = [c.account == account, c.id == id_, c.state == PENDING]
    if attempts is not None:
        there.append(c.attempts == attempts)
    return seals.update(conn, t.outbox, *there, **values) == 1


def put_again(conn: Connection, account: str, id_: str, now: int) -> None:
    """Send a message once more, as if it were new."""
    values = {"state": PENDING, "attempts": 0, "due_at": now, "written_at": now, "sent_at": None, "failure": None}
    seals.update(conn, t.outbox, c.account == account, c.id == id_, **values)


def list_for(conn: Connection, account: str, target: str, most: int, before: str | None = None) -> list[Row]:
    """The messages to one target, newest first; `before` is the id to go on from."""
    query = sa.select(t.outbox).where(c.account == account, c.target == target)
    if before is not None:
        query = query.where(c.id < before)
    return list(conn.execute(query.order_by(c.id.desc()).limit(most)))


def list_late(conn: Connection, before: int, most: int) -> list[Row]:
    """Messages that were due before an instant and are not sent."""
    late = [
        sa.select(t.outbox).where(c.kind == kind, c.due_at < before).order_by(c.due_at, c.id).limit(most)
        for kind in (MAIL, WEBHOOK)
    ]
    return [row for query in late for row in conn.execute(query)][:most]


def prune(conn: Connection, before: int, most: int) -> list[int]:
    """Delete messages that have ended and were written before an instant; answers when each was made."""
    over = sa.select(c.account, c.id, c.created_at).where(_ENDED, c.written_at < before)
    found = conn.execute(over.order_by(c.written_at).limit(most)).all()
    if found:
        _DELETE.run(conn, [(account, id_) for account, id_, _ in found])
    return [int(created_at) for _, _, created_at in found]


def count(conn: Connection) -> dict[tuple[str, str], int]:
    """How many messages there are, by kind and state."""
    found = conn.execute(sa.select(c.kind, c.state, sa.func.count()).group_by(c.kind, c.state))
    return {(str(kind), str(state)): int(n) for kind, state, n in found}
